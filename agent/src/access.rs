//! Who may call what: one table, applied to every request before any service sees it.

use crate::tls::Peer;
use drover_proto::Method;
use drover_types::{FleetName, Role};
use futures::future::{Either, Ready, ready};
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// The paths of `grpc.health.v1`, open to every role.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// The roles that may call a method. A method that is not here does not compile.
#[must_use]
pub const fn allowed(method: Method) -> &'static [Role] {
    const READ: &[Role] = &[Role::Reader, Role::Operator, Role::Admin];
    const CHANGE: &[Role] = &[Role::Operator, Role::Admin];
    match method {
        Method::HostGetInventory
        | Method::ServerGetConsoleLog
        | Method::OperationWatchOperation
        | Method::OperationListOperations => READ,
        Method::HostReadmitHost => &[Role::Admin],
        Method::ImageEnsureImage
        | Method::ImageDeleteImage
        | Method::ServerCreateServer
        | Method::ServerAdoptServer
        | Method::ServerUpdateServer
        | Method::ServerSetPower
        | Method::ServerRebootServer
        | Method::ServerDeleteServer
        | Method::MigrationPrepareMigration
        | Method::MigrationMigrateServer
        | Method::OperationAcknowledgeOperations
        | Method::OperationWithdrawOperation => CHANGE,
        Method::PeerTunnel
        | Method::PeerConfirmReady
        | Method::PeerGetHandover
        | Method::PeerTellHandover => &[Role::Agent],
    }
}

/// Lets a request through, or says why not.
fn check(fleet: &FleetName, peer: Option<&Peer>, path: &str) -> Result<(), Status> {
    let Some(Peer { identity, .. }) = peer else {
        return Err(Status::unauthenticated(
            "the connection carries no client certificate",
        ));
    };
    if &identity.fleet != fleet {
        return Err(Status::permission_denied(format!(
            "{identity} is not of fleet {fleet}, to which this agent belongs"
        )));
    }
    if path.starts_with(HEALTH) {
        return Ok(());
    }
    let Some(method) = Method::from_path(path) else {
        let known: String = path.chars().take(200).collect();
        return Err(Status::unimplemented(format!("this agent has no method {known}")));
    };
    let roles = allowed(method);
    if roles.contains(&identity.role) {
        return Ok(());
    }
    let may: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    Err(Status::permission_denied(format!(
        "{identity} may not call {path}; a certificate of role {} may",
        may.join(" or ")
    )))
}

/// Puts the table in front of every service.
#[derive(Debug, Clone)]
pub struct AccessLayer {
    fleet: FleetName,
}

impl AccessLayer {
    /// For an agent of this fleet.
    #[must_use]
    pub const fn new(fleet: FleetName) -> Self {
        Self { fleet }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            fleet: self.fleet.clone(),
            inner,
        }
    }
}

/// A service behind the table.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    fleet: FleetName,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        match check(&self.fleet, peer, request.uri().path()) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => {
                let address = peer.map(|peer| peer.address.to_string()).unwrap_or_default();
                tracing::warn!(address, "refused: {}", status.message());
                Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_types::Identity;

    fn peer(uri: &str) -> Peer {
        Peer {
            identity: uri.parse::<Identity>().expect("an identity"),
            address: ([127, 0, 0, 1], 1).into(),
        }
    }

    fn answer(uri: &str, path: &str) -> Result<(), String> {
        let fleet = "prod".parse().expect("a name");
        check(&fleet, Some(&peer(uri)), path).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn the_table_in_words() {
        for method in Method::ALL {
            let roles = allowed(*method);
            let peer_method = method.path().contains(".PeerService/");
            assert_eq!(roles.contains(&Role::Agent), peer_method, "{method:?}");
            assert_eq!(roles.contains(&Role::Admin), !peer_method, "{method:?}");
            let by_operator = !peer_method && *method != Method::HostReadmitHost;
            assert_eq!(roles.contains(&Role::Operator), by_operator, "{method:?}");
            if roles.contains(&Role::Reader) {
                let name = method.path().rsplit('/').next().expect("a last part");
                let reads = ["Get", "List", "Watch"].iter().any(|verb| name.starts_with(verb));
                assert!(reads, "{method:?} is open to readers");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_caller_and_who_may() {
        let refusal = answer("spiffe://prod/reader/ann", Method::ServerCreateServer.path());
        insta::assert_snapshot!(refusal.expect_err("a reader creates nothing"), @"spiffe://prod/reader/ann may not call /drover.agent.v1.ServerService/CreateServer; a certificate of role operator or admin may");
    }

    #[test]
    fn another_fleet_and_unknown_paths_are_refused() {
        let path = Method::HostGetInventory.path();
        assert_eq!(answer("spiffe://prod/reader/ann", path), Ok(()));
        assert_eq!(
            answer("spiffe://prod/agent/n2", "/grpc.health.v1.Health/Check"),
            Ok(())
        );
        for (uri, path) in [
            ("spiffe://test/admin/ann", path),
            ("spiffe://test/admin/ann", "/grpc.health.v1.Health/Check"),
            ("spiffe://prod/admin/ann", "/drover.agent.v1.HostService/Nope"),
            ("spiffe://prod/admin/ann", "/"),
        ] {
            assert!(answer(uri, path).is_err(), "{uri} called {path}");
        }
        let fleet = "prod".parse().expect("a name");
        assert_eq!(
            check(&fleet, None, path).expect_err("nobody").code(),
            tonic::Code::Unauthenticated
        );
    }
}
