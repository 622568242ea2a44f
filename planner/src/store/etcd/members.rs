//! The members of the etcd cluster: one connection each, tried in turn, so that a failure can be laid at a
//! door and only what is known not to have been done is done again elsewhere.

use crate::store::StoreWarning;
use crate::store::error::{EndpointCause, EndpointFailure, StoreError};
use crate::store::settings::check_etcd;
use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Code, ConnectError, Status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// What one request may take; etcd itself gives up on a proposal after 7 s or so, and most take milliseconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the other members are given once one has answered the first question.
const GRACE: Duration = Duration::from_millis(500);
/// For how long all members are tried again: an election takes one to two seconds.
const RETRY_FOR: Duration = Duration::from_secs(10);
/// Between two rounds through all members.
const PAUSE: Duration = Duration::from_millis(200);
/// etcd's server refuses pings more frequent than every 5 s.
const PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// The oldest version that is still maintained; an older one gives a warning.
const MAINTAINED: (u32, u32) = (3, 5);

/// Whether a request may be sent again when its fate is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or twice is as good as once.
    Harmless,
    /// Only if it provably was not carried out.
    Never,
}

/// The paths of the TLS files.
#[derive(Debug, Clone)]
pub(in crate::store) struct TlsFiles {
    pub(in crate::store) ca: Option<PathBuf>,
    pub(in crate::store) cert: Option<PathBuf>,
    pub(in crate::store) key: Option<PathBuf>,
}

/// The cluster's members, in the order of the settings.
pub(super) struct Members {
    list: Vec<Member>,
    /// The member that answered last: asked first.
    preferred: AtomicUsize,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.list.iter().map(|member| &member.endpoint))
            .finish()
    }
}

struct Member {
    endpoint: String,
    client: Client,
}

/// What an error says about the request.
enum Fate {
    /// It was not carried out and will not be; another member may take it.
    NotDone,
    /// etcd will not carry it out, whoever is asked.
    Refused,
    /// Anything.
    Unknown,
}

impl Members {
    /// Connects to every member; one that answers is enough.
    pub(super) async fn connect(
        endpoints: &[String],
        files: &TlsFiles,
    ) -> Result<(Self, Vec<StoreWarning>), StoreError> {
        check_etcd(
            endpoints,
            files.ca.is_some(),
            files.cert.is_some(),
            files.key.is_some(),
        )?;
        let options = options(files).await?;
        let mut list = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            // Nothing is sent yet: a connection is made by the first request.
            let client = Client::connect([endpoint], Some(options.clone()))
                .await
                .map_err(|error| StoreError::Refused {
                    attempted: CONNECT,
                    source: failure(endpoint, error),
                })?;
            list.push(Member {
                endpoint: endpoint.clone(),
                client,
            });
        }
        let mut members = Self {
            list,
            preferred: AtomicUsize::new(0),
        };
        let warnings = members.greet().await?;
        Ok((members, warnings))
    }

    /// Asks every member for its version and cluster.
    async fn greet(&mut self) -> Result<Vec<StoreWarning>, StoreError> {
        let mut greetings: FuturesUnordered<_> = self
            .list
            .iter()
            .enumerate()
            .map(|(index, member)| async move {
                let mut client = member.client.clone();
                (index, answered(client.status()).await)
            })
            .collect();
        let mut first: Option<(usize, u64)> = None;
        let mut silent: Vec<usize> = (0..self.list.len()).collect();
        let mut failures = Vec::new();
        let mut warnings = Vec::new();
        let mut deadline = Instant::now() + REQUEST_TIMEOUT;
        while let Ok(Some((index, greeting))) = timeout_at(deadline, greetings.next()).await {
            silent.retain(|&other| other != index);
            let member = &self.list[index];
            let status = match greeting {
                Ok(status) => status,
                Err(cause) => {
                    let cause = over_tls(cause, &member.endpoint);
                    failures.push(EndpointFailure {
                        endpoint: member.endpoint.clone(),
                        cause,
                    });
                    continue;
                }
            };
            let cluster = status.header().map_or(0, etcd_client::ResponseHeader::cluster_id);
            match first {
                None => {
                    first = Some((index, cluster));
                    deadline = Instant::now() + GRACE;
                }
                Some((other, its_cluster)) if its_cluster != cluster => {
                    return Err(StoreError::DifferentClusters {
                        first: self.list[other].endpoint.clone(),
                        second: member.endpoint.clone(),
                    });
                }
                Some(_) => {}
            }
            if version_of(status.version()).is_some_and(|version| version < MAINTAINED) {
                warnings.push(StoreWarning::OldEtcd {
                    endpoint: member.endpoint.clone(),
                    version: status.version().to_owned(),
                });
            }
        }
        drop(greetings);
        let waited = if first.is_some() { GRACE } else { REQUEST_TIMEOUT };
        failures.extend(silent.into_iter().map(|index| EndpointFailure {
            endpoint: self.list[index].endpoint.clone(),
            cause: EndpointCause::NoAnswer(waited),
        }));
        let Some((index, _)) = first else {
            return Err(StoreError::Unreachable {
                attempted: CONNECT,
                failures,
            });
        };
        *self.preferred.get_mut() = index;
        warnings.extend(failures.into_iter().map(StoreWarning::MemberDown));
        Ok(warnings)
    }

    /// Sends a request to one member after another until one answers, for up to 10 s.
    pub(super) async fn call<T, F>(
        &self,
        attempted: &'static str,
        repeat: Repeat,
        request: impl Fn(Client) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + RETRY_FOR;
        loop {
            let mut failures = Vec::new();
            let start = self.preferred.load(Ordering::Relaxed);
            for step in 0..self.list.len() {
                let index = (start + step) % self.list.len();
                let member = &self.list[index];
                let cause = match answered(request(member.client.clone())).await {
                    Ok(answer) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(cause) => cause,
                };
                let fate = fate(&cause);
                let failure = EndpointFailure {
                    endpoint: member.endpoint.clone(),
                    cause,
                };
                match (fate, repeat) {
                    (Fate::NotDone, _) | (Fate::Unknown, Repeat::Harmless) => failures.push(failure),
                    (Fate::Refused, _) => {
                        return Err(StoreError::Refused {
                            attempted,
                            source: failure,
                        });
                    }
                    (Fate::Unknown, Repeat::Never) => {
                        // Whoever looks what became of it had better ask somebody else.
                        self.preferred
                            .store((index + 1) % self.list.len(), Ordering::Relaxed);
                        return Err(StoreError::OutcomeUnknown {
                            attempted,
                            source: Box::new(failure),
                        });
                    }
                }
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(StoreError::Unreachable { attempted, failures });
            }
            sleep(PAUSE).await;
        }
    }

    /// A client of the member that answered last, for streams that outlive one request.
    pub(super) fn current(&self) -> Client {
        self.list[self.preferred.load(Ordering::Relaxed)].client.clone()
    }
}

const CONNECT: &str = "connect to the store";

async fn answered<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, EndpointCause> {
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(EndpointCause::Etcd(Box::new(error))),
        Err(_elapsed) => Err(EndpointCause::NoAnswer(REQUEST_TIMEOUT)),
    }
}

fn failure(endpoint: &str, error: Error) -> EndpointFailure {
    EndpointFailure {
        endpoint: endpoint.to_owned(),
        cause: EndpointCause::Etcd(Box::new(error)),
    }
}

fn fate(cause: &EndpointCause) -> Fate {
    let error = match cause {
        EndpointCause::NoAnswer(_) | EndpointCause::HungUp(_) => return Fate::Unknown,
        EndpointCause::Etcd(error) => error.as_ref(),
    };
    match error {
        Error::GRpcStatus(status) if never_sent(status) => Fate::NotDone,
        Error::GRpcStatus(status) => match status.code() {
            // Said by the member's interceptor, before it looks at the request.
            Code::Unavailable if status.message() == "etcdserver: no leader" => Fate::NotDone,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Fate::Refused,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Fate::Unknown,
        },
        Error::InvalidArgs(_)
        | Error::InvalidUri(_)
        | Error::InvalidMetadataValue(_)
        | Error::EndpointError(_)
        | Error::EndpointsNotManaged => Fate::Refused,
        Error::IoError(_)
        | Error::TransportError(_)
        | Error::WatchError(_)
        | Error::Utf8Error(_)
        | Error::LeaseKeepAliveError(_)
        | Error::ElectError(_)
        | Error::Internal(_) => Fate::Unknown,
    }
}

/// A first request that fails on the way, not at etcd, once the connection was made.
fn over_tls(cause: EndpointCause, endpoint: &str) -> EndpointCause {
    let EndpointCause::Etcd(error) = cause else {
        return cause;
    };
    match error.as_ref() {
        // Only a status made on this side has a source.
        Error::GRpcStatus(status)
            if endpoint.starts_with("https:")
                && !never_sent(status)
                && std::error::Error::source(status).is_some() =>
        {
            EndpointCause::HungUp(error)
        }
        _ => EndpointCause::Etcd(error),
    }
}

/// Whether no connection could be made, so that no byte of the request left.
fn never_sent(status: &Status) -> bool {
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        if error.is::<ConnectError>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn version_of(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

async fn options(files: &TlsFiles) -> Result<ConnectOptions, StoreError> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_keep_alive(PING.0, PING.1)
        // A member cut off from the others says so instead of keeping the request.
        .with_require_leader(true);
    let mut tls = TlsOptions::new();
    let Some(ca) = &files.ca else {
        return Ok(options);
    };
    tls = tls.ca_certificate(Certificate::from_pem(
        read_pem("ca_file", ca, Pem::Certificate).await?,
    ));
    if let (Some(cert), Some(key)) = (&files.cert, &files.key) {
        tls = tls.identity(Identity::from_pem(
            read_pem("cert_file", cert, Pem::Certificate).await?,
            read_pem("key_file", key, Pem::PrivateKey).await?,
        ));
    }
    options = options.with_tls(tls);
    Ok(options)
}

#[derive(Debug, Clone, Copy)]
enum Pem {
    Certificate,
    PrivateKey,
}

async fn read_pem(setting: &'static str, path: &Path, expected: Pem) -> Result<Vec<u8>, StoreError> {
    let text = tokio::fs::read(path)
        .await
        .map_err(|source| StoreError::ReadFile {
            setting,
            path: path.to_owned(),
            source,
        })?;
    let (present, expected) = match expected {
        Pem::Certificate => (CertificateDer::from_pem_slice(&text).is_ok(), "certificate"),
        Pem::PrivateKey => (PrivateKeyDer::from_pem_slice(&text).is_ok(), "private key"),
    };
    if present {
        Ok(text)
    } else {
        Err(StoreError::NotPem {
            setting,
            path: path.to_owned(),
            expected,
        })
    }
}
