//! The way to the other agent of a hand-over: its mutual-TLS port, and nobody but the host that was named.

use crate::agent::Agent;
use drover_proto::transport::{ConnectError, Timeouts, connect};
use drover_proto::v1::peer_service_client::PeerServiceClient;
use drover_proto::v1::{
    ConfirmReadyResponse, HandoverRecord, HandoverRequest, HandoverState, TellHandoverRequest,
};
use drover_types::{HostName, Identity, Role};
use std::time::Duration;
use tonic::Status;
use tonic::transport::Channel;

/// Longest answer to a question; a destination may flush a disk for it.
const ANSWER: Duration = Duration::from_secs(30);

/// Why the other agent could not be asked. What it did not answer is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the address {0:?} of the other agent is not of the form host:port")]
    Address(String),
    #[error("the agent of host {peer} cannot be reached")]
    Connect {
        peer: HostName,
        source: Box<ConnectError>,
    },
    #[error("the agent of host {peer} did not answer within {} s", ANSWER.as_secs())]
    Late { peer: HostName },
    #[error("the agent of host {peer} refused")]
    Refused { peer: HostName, source: Box<Status> },
}

/// Whom to ask, and the connection that was last used for it.
pub(super) struct Link {
    peer: HostName,
    host: String,
    port: u16,
    client: Option<PeerServiceClient<Channel>>,
}

impl Link {
    pub(super) fn new(peer: HostName, address: &str) -> Result<Self, LinkError> {
        let wrong = || LinkError::Address(address.chars().take(200).collect());
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            peer,
            host: host.to_owned(),
            port: port.parse().map_err(|_| wrong())?,
            client: None,
        })
    }

    /// A connection of its own, for a stream that must not wait behind others.
    pub(super) async fn connect(&self, agent: &Agent) -> Result<PeerServiceClient<Channel>, LinkError> {
        let expected = Identity {
            fleet: agent.config.fleet.clone(),
            role: Role::Agent,
            name: self.peer.clone(),
        };
        let loaded = agent.credentials.borrow().clone();
        let channel = connect(
            &self.host,
            self.port,
            &expected,
            &loaded.credentials,
            Timeouts::default(),
        )
        .await
        .map_err(|source| LinkError::Connect {
            peer: self.peer.clone(),
            source: Box::new(source),
        })?;
        Ok(PeerServiceClient::new(channel))
    }

    async fn ask<T, F, W>(&mut self, agent: &Agent, question: F) -> Result<T, LinkError>
    where
        F: FnOnce(PeerServiceClient<Channel>) -> W,
        W: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect(agent).await?,
        };
        // Put back only after an answer: a connection that failed once is made anew.
        match tokio::time::timeout(ANSWER, question(client.clone())).await {
            Ok(Ok(answer)) => {
                self.client = Some(client);
                Ok(answer.into_inner())
            }
            Ok(Err(status)) => Err(LinkError::Refused {
                peer: self.peer.clone(),
                source: Box::new(status),
            }),
            Err(_elapsed) => Err(LinkError::Late {
                peer: self.peer.clone(),
            }),
        }
    }

    pub(super) async fn confirm_ready(
        &mut self,
        agent: &Agent,
        handover: HandoverRequest,
    ) -> Result<ConfirmReadyResponse, LinkError> {
        self.ask(
            agent,
            |mut client| async move { client.confirm_ready(handover).await },
        )
        .await
    }

    pub(super) async fn get(
        &mut self,
        agent: &Agent,
        handover: HandoverRequest,
    ) -> Result<HandoverState, LinkError> {
        self.ask(
            agent,
            |mut client| async move { client.get_handover(handover).await },
        )
        .await
    }

    pub(super) async fn tell(
        &mut self,
        agent: &Agent,
        handover: HandoverRequest,
        record: HandoverRecord,
        power: &str,
    ) -> Result<HandoverState, LinkError> {
        let message = TellHandoverRequest {
            handover: Some(handover),
            record: record.into(),
            power_state: power.to_owned(),
        };
        self.ask(
            agent,
            |mut client| async move { client.tell_handover(message).await },
        )
        .await
    }
}
