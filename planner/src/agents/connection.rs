//! One checked connection per host, opened when first needed and again after it broke.

use super::inventory;
use drover_core::model::{Endpoint, HostObservation, ObservedFleet, UnobservedReason};
use drover_proto::transport::{ConnectError, Credentials, Timeouts, connect};
use drover_proto::v1;
use drover_proto::v1::host_service_client::HostServiceClient;
use drover_types::{FleetName, HostName, Identity, IncarnationId, RequestId, Role};
use futures::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// How many hosts are asked at once, where nothing else is said: enough to hide their latency, few enough for one
/// process's sockets.
pub const FAN_OUT: u16 = 64;
/// How long one inventory may take.
const INVENTORY_DEADLINE: Duration = Duration::from_secs(30);
/// Largest inventory accepted: thousands of domains.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Why a call to an agent gave no answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection: nothing was sent.
    #[error("could not reach the agent of host {host}")]
    Connect {
        /// The host.
        host: HostName,
        /// Why not.
        source: ConnectError,
    },
    /// The agent refused, or the connection broke while the call was under way.
    #[error("the agent of host {host} did not carry out {method}")]
    Call {
        /// The host.
        host: HostName,
        /// The method.
        method: &'static str,
        /// Its status.
        source: Box<Status>,
    },
    /// There is no such host in the configuration or the store.
    #[error("host {0} is neither declared nor recorded, so it has no address")]
    UnknownHost(HostName),
}

#[derive(Debug)]
struct Host {
    endpoint: Endpoint,
    channel: Mutex<Option<Channel>>,
}

/// The agents of a fleet.
#[derive(Debug, Clone)]
pub struct Agents {
    fleet: FleetName,
    credentials: Arc<Credentials>,
    timeouts: Timeouts,
    request: RequestId,
    hosts: Arc<BTreeMap<HostName, Host>>,
    at_once: u16,
}

impl Agents {
    /// Agents at these addresses. Connects to none of them yet.
    #[must_use]
    pub fn new(
        fleet: FleetName,
        credentials: Arc<Credentials>,
        timeouts: Timeouts,
        request: RequestId,
        endpoints: BTreeMap<HostName, Endpoint>,
    ) -> Self {
        let hosts = endpoints
            .into_iter()
            .map(|(name, endpoint)| {
                (
                    name,
                    Host {
                        endpoint,
                        channel: Mutex::new(None),
                    },
                )
            })
            .collect();
        Self {
            fleet,
            credentials,
            timeouts,
            request,
            hosts: Arc::new(hosts),
            at_once: FAN_OUT,
        }
    }

    /// The same, of whom at most so many are asked for their inventory at once.
    #[must_use]
    pub fn at_once(self, at_once: u16) -> Self {
        Self { at_once, ..self }
    }

    /// The hosts known, in order.
    pub fn names(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.keys()
    }

    /// Where a host's agent listens.
    #[must_use]
    pub fn endpoint(&self, host: &HostName) -> Option<&Endpoint> {
        self.hosts.get(host).map(|known| &known.endpoint)
    }

    /// The id that this run's calls carry.
    #[must_use]
    pub fn request(&self) -> &RequestId {
        &self.request
    }

    /// A channel to the host's agent, checked to be that host.
    ///
    /// # Errors
    /// Where no connection can be had; nothing was sent then.
    pub async fn channel(&self, host: &HostName) -> Result<Channel, CallError> {
        let known = self
            .hosts
            .get(host)
            .ok_or_else(|| CallError::UnknownHost(host.clone()))?;
        let mut slot = known.channel.lock().await;
        if let Some(channel) = slot.as_ref() {
            return Ok(channel.clone());
        }
        let expected = Identity {
            fleet: self.fleet.clone(),
            role: Role::Agent,
            name: host.clone(),
        };
        let channel = connect(
            &known.endpoint.host,
            known.endpoint.port,
            &expected,
            &self.credentials,
            self.timeouts,
        )
        .await
        .map_err(|source| CallError::Connect {
            host: host.clone(),
            source,
        })?;
        *slot = Some(channel.clone());
        Ok(channel)
    }

    /// Forgets the host's connection, so that the next call opens a new one.
    pub async fn disconnect(&self, host: &HostName) {
        if let Some(known) = self.hosts.get(host) {
            known.channel.lock().await.take();
        }
    }

    /// Asks every host for its inventory, many at a time. Never fails: a host that gives none is
    /// unobserved, with the reason.
    pub async fn observe(&self, known: &BTreeMap<HostName, IncarnationId>) -> ObservedFleet {
        futures::stream::iter(self.hosts.keys().cloned().collect::<Vec<_>>())
            .map(|host| async move {
                let observation = self.observe_host(&host, known.get(&host).copied()).await;
                (host, observation)
            })
            .buffer_unordered(self.at_once.into())
            .collect()
            .await
    }

    async fn observe_host(&self, host: &HostName, known: Option<IncarnationId>) -> HostObservation {
        let channel = match self.channel(host).await {
            Ok(channel) => channel,
            Err(error) => return HostObservation::Unobserved(unobserved(&error)),
        };
        let mut client = HostServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let mut request = tonic::Request::new(v1::GetInventoryRequest {
            known_incarnation: known.map(|id| id.to_string()).unwrap_or_default(),
        });
        request.set_timeout(INVENTORY_DEADLINE);
        match client.get_inventory(request).await {
            Ok(answer) => match inventory::read(host, answer.into_inner()) {
                Ok(inventory) => HostObservation::Reported(Box::new(inventory)),
                Err(error) => HostObservation::Unobserved(UnobservedReason::Incompatible(chain(&error))),
            },
            Err(status) => {
                self.disconnect(host).await;
                HostObservation::Unobserved(unobserved(&CallError::Call {
                    host: host.clone(),
                    method: "GetInventory",
                    source: Box::new(status),
                }))
            }
        }
    }
}

/// Sorts a failed call by what it says of the host.
fn unobserved(error: &CallError) -> UnobservedReason {
    match error {
        CallError::Connect { source, .. } => match source {
            ConnectError::Unreachable { .. } => UnobservedReason::Unreachable(chain(source)),
            ConnectError::Untrusted { .. } | ConnectError::Refused { .. } | ConnectError::Credentials(_) => {
                UnobservedReason::Untrusted(chain(source))
            }
            ConnectError::Protocol { .. } => UnobservedReason::Incompatible(chain(source)),
        },
        CallError::UnknownHost(_) => UnobservedReason::Unreachable(chain(error)),
        CallError::Call { source, .. } => {
            if let Some(refusal) = tls_refusal(source) {
                return UnobservedReason::Untrusted(format!("it does not accept our certificate: {refusal}"));
            }
            let said = source.message().to_owned();
            match source.code() {
                Code::PermissionDenied | Code::Unauthenticated => UnobservedReason::Untrusted(said),
                Code::Unimplemented => UnobservedReason::Incompatible(said),
                Code::FailedPrecondition | Code::Internal | Code::ResourceExhausted => {
                    UnobservedReason::Unwell(said)
                }
                Code::Unavailable if source.metadata().contains_key("drover-agent") => {
                    UnobservedReason::Unwell(said)
                }
                code => UnobservedReason::Unreachable(format!("{code}: {}", chain(source.as_ref()))),
            }
        }
    }
}

/// With TLS 1.3 a server refuses a client's certificate after the client thinks the handshake done, so the
/// refusal arrives as a broken first call.
pub(super) fn tls_refusal(status: &Status) -> Option<String> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && let Some(tls) = io
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Some(tls.to_string());
        }
        // HTTP/2 keeps only the kind and the words of what its connection failed with.
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::InvalidData
            && io.to_string().starts_with("received fatal alert")
        {
            return Some(io.to_string());
        }
        next = error.source();
    }
    None
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}
