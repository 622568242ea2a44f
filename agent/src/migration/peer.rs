//! `PeerService`: what agents say to each other during a migration. Each call counts only from the host that
//! was named when the migration was prepared.

use super::cold;
use super::desk::Desk;
use super::relay::{IN_FLIGHT, relay};
use super::sockets::Sockets;
use super::words::{
    destination_record, destination_word as read_destination, power_word, source_record,
    source_word as read_source,
};
use crate::agent::Agent;
use crate::operations::{chain, invalid};
use crate::server::ServerHere;
use crate::tls::Peer;
use drover_agent_core::handover::{
    DestinationLog, HandoverLog, HandoverSide, Heard, destination_word, source_word,
};
use drover_proto::field;
use drover_proto::v1::peer_service_server::PeerService;
use drover_proto::v1::tunnel_frame::Frame;
use drover_proto::v1::{
    ConfirmReadyResponse, HandoverRecord, HandoverRequest, HandoverState, TellHandoverRequest, TunnelChannel,
    TunnelFrame, TunnelOpen,
};
use drover_types::{Epoch, HostName, OperationId, ServerId};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long an answer waits for this side to act on what it was told.
const ACT: Duration = Duration::from_secs(20);

/// Where libvirtd listens on this host, the whole daemon or the modular one.
const LIBVIRT_SOCKETS: [&str; 2] = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];

/// Serves `PeerService`.
#[derive(Debug)]
pub struct Peers {
    agent: Arc<Agent>,
}

/// A hand-over as a request names it.
#[derive(Debug, Clone)]
struct Named {
    server: ServerId,
    operation: OperationId,
    epoch: Epoch,
    asked_by_source: bool,
    asker: HostName,
}

impl Peers {
    /// The service of this agent.
    #[must_use]
    pub fn new(agent: Arc<Agent>) -> Self {
        Self { agent }
    }

    /// What this side's log says to that asker.
    async fn state(&self, named: &Named) -> Result<HandoverState, Status> {
        let asked = named.clone();
        let data_dir = self.agent.config.data_dir.to_string_lossy().into_owned();
        let state = self.agent.operations.log().read(move |state| {
            let Named {
                server,
                operation,
                epoch,
                asked_by_source,
                asker,
            } = asked;
            if asked_by_source {
                let word = destination_word(state, server, operation, &asker);
                let settled = matches!(
                    state.handover(server, operation),
                    Some(HandoverLog {
                        side: HandoverSide::Destination(DestinationLog::Acquired(_)),
                        ..
                    })
                );
                let record = destination_record(word).into();
                return HandoverState {
                    record,
                    epoch: epoch.get(),
                    settled,
                    data_dir,
                    power_state: String::new(),
                    place: None,
                };
            }
            let (record, power) = source_record(source_word(state, server, operation, epoch, &asker));
            HandoverState {
                record: record.into(),
                epoch: epoch.get(),
                settled: false,
                data_dir: String::new(),
                power_state: power.map(power_word).unwrap_or_default().to_owned(),
                place: None,
            }
        });
        let unavailable = |error: &(dyn std::error::Error + 'static)| Status::unavailable(chain(error));
        let mut state = state.await.map_err(|error| unavailable(&error))?;
        if named.asked_by_source && state.record() == HandoverRecord::Prepared {
            let file = ServerHere::new(&self.agent, named.server).file().await;
            let file = file.map_err(|error| unavailable(&error))?;
            state.place = Some(super::place::to_wire(&file.spec.place));
        }
        Ok(state)
    }

    /// Refuses an asker that is not the peer named in this side's log of the hand-over. Where the log has none,
    /// the answer says so to everybody.
    async fn only_named(&self, named: &Named) -> Result<(), Status> {
        let (server, operation, asker) = (named.server, named.operation, named.asker.clone());
        let log = self.agent.operations.log();
        let strange = log
            .read(move |state| {
                state
                    .handover(server, operation)
                    .is_some_and(|handover| handover.peer != asker)
            })
            .await
            .map_err(|error| Status::unavailable(chain(&error)))?;
        if strange {
            return Err(Status::permission_denied(format!(
                "{} is not the peer of operation {operation}",
                named.asker
            )));
        }
        Ok(())
    }

    /// Lets this side's driver act, until its word is another than `before` says to go on from.
    async fn acted(
        &self,
        named: &Named,
        desk: &Desk,
        done: impl Fn(HandoverRecord) -> bool,
    ) -> Result<HandoverState, Status> {
        let mut movements = desk.movements();
        desk.nudge();
        let deadline = tokio::time::Instant::now() + ACT;
        loop {
            movements.mark_unchanged();
            let state = self.state(named).await?;
            if done(state.record()) {
                return Ok(state);
            }
            // Late or gone: the answer is what the log says now.
            match tokio::time::timeout_at(deadline, movements.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return self.state(named).await,
            }
        }
    }
}

fn asker<T>(request: &Request<T>) -> Result<HostName, Status> {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.ok_or_else(|| Status::unauthenticated("the connection carries no client certificate"))?;
    Ok(peer.identity.name.clone())
}

fn named(request: &HandoverRequest, asker: HostName) -> Result<Named, Status> {
    let bad = |error| invalid(&error);
    Ok(Named {
        server: field::parse("server_id", &request.server_id).map_err(bad)?,
        operation: field::parse("operation_id", &request.operation_id).map_err(bad)?,
        epoch: Epoch::new(request.epoch),
        asked_by_source: request.asked_by_source,
        asker,
    })
}

#[tonic::async_trait]
impl PeerService for Peers {
    type TunnelStream = BoxStream<'static, Result<TunnelFrame, Status>>;

    async fn tunnel(
        &self,
        request: Request<Streaming<TunnelFrame>>,
    ) -> Result<Response<Self::TunnelStream>, Status> {
        let asker = asker(&request)?;
        let mut inbound = request.into_inner();
        let first = inbound
            .next()
            .await
            .ok_or_else(|| Status::invalid_argument("the stream is empty"))??;
        let Some(Frame::Open(open)) = first.frame else {
            return Err(Status::invalid_argument(
                "the first message of a stream must name it",
            ));
        };
        let (server, operation) = self.expected(&open, asker).await?;
        let desk = self.agent.handovers.desk(operation);
        let desk = desk.ok_or_else(|| Status::unavailable("the hand-over is being taken up; ask again"))?;
        let sockets = Sockets::new(operation);
        let path = match open.channel() {
            TunnelChannel::Control => libvirt_socket(),
            TunnelChannel::Memory => sockets.memory(),
            TunnelChannel::Disk => sockets.disk(),
            TunnelChannel::ColdDisk => return self.receive_disk(server, &desk, inbound).await,
            TunnelChannel::Unspecified => {
                return Err(Status::invalid_argument(
                    "the stream names no channel of a migration",
                ));
            }
        };
        let socket = UnixStream::connect(&path).await.map_err(|error| {
            Status::unavailable(format!("{} cannot be connected to: {error}", path.display()))
        })?;
        let (outbound, frames) = mpsc::channel(IN_FLIGHT);
        let channel = open.channel();
        let closing = CancellationToken::new();
        if channel == TunnelChannel::Memory {
            let ended = closing.clone();
            self.agent.handovers.spawn(async move {
                ended.cancelled().await;
                desk.memory_has_ended();
            });
        }
        self.agent.handovers.spawn(async move {
            if let Err(error) = relay(socket, inbound, outbound, closing).await {
                tracing::debug!(%operation, ?channel, "a stream of the migration broke: {}", chain(&error));
            }
        });
        Ok(Response::new(ReceiverStream::new(frames).map(Ok).boxed()))
    }

    async fn confirm_ready(
        &self,
        request: Request<HandoverRequest>,
    ) -> Result<Response<ConfirmReadyResponse>, Status> {
        let named = named(request.get_ref(), asker(&request)?)?;
        self.only_named(&named).await?;
        let Some(desk) = self.agent.handovers.desk(named.operation) else {
            let reason = "this host has no such hand-over open".to_owned();
            return Ok(Response::new(ConfirmReadyResponse { ready: false, reason }));
        };
        let state = self
            .acted(&named, &desk, |record| record != HandoverRecord::Prepared)
            .await?;
        let ready = state.record() == HandoverRecord::Ready;
        let reason = if ready {
            String::new()
        } else {
            format!("the record is {:?}", state.record())
        };
        Ok(Response::new(ConfirmReadyResponse { ready, reason }))
    }

    async fn get_handover(
        &self,
        request: Request<HandoverRequest>,
    ) -> Result<Response<HandoverState>, Status> {
        let named = named(request.get_ref(), asker(&request)?)?;
        self.only_named(&named).await?;
        Ok(Response::new(self.state(&named).await?))
    }

    async fn tell_handover(
        &self,
        request: Request<TellHandoverRequest>,
    ) -> Result<Response<HandoverState>, Status> {
        let asker = asker(&request)?;
        let message = request.into_inner();
        let record = message.record();
        let handover = field::required("handover", message.handover).map_err(|error| invalid(&error))?;
        let named = named(&handover, asker)?;
        self.only_named(&named).await?;
        let before = self.state(&named).await?;
        // Where the log has no such hand-over, the peer is told so.
        let desk = self.agent.handovers.desk(named.operation);
        let Some(desk) = desk.filter(|_| before.record() != HandoverRecord::None) else {
            return Ok(Response::new(before));
        };
        let senseless = || Status::invalid_argument(format!("{record:?} is not what that side can say"));
        if named.asked_by_source {
            let word = read_source(record, &message.power_state).ok_or_else(senseless)?;
            desk.hear_source(Heard::Said(word));
        } else {
            let word = read_destination(record).ok_or_else(senseless)?;
            desk.hear_destination(Heard::Said(word));
        }
        let state = match record {
            HandoverRecord::Released => {
                let waits = |found| matches!(found, HandoverRecord::Prepared | HandoverRecord::Ready);
                self.acted(&named, &desk, |found| !waits(found)).await?
            }
            HandoverRecord::Aborted => {
                let waits = |found| matches!(found, HandoverRecord::Prepared | HandoverRecord::Ready);
                self.acted(&named, &desk, |found| !waits(found)).await?
            }
            HandoverRecord::Acquired => {
                self.acted(&named, &desk, |found| found != HandoverRecord::Released)
                    .await?
            }
            HandoverRecord::Declined => {
                let waits = |found| matches!(found, HandoverRecord::Released | HandoverRecord::Prepared);
                self.acted(&named, &desk, |found| !waits(found)).await?
            }
            HandoverRecord::Unspecified
            | HandoverRecord::None
            | HandoverRecord::Prepared
            | HandoverRecord::Ready
            | HandoverRecord::Discarded => {
                desk.nudge();
                self.state(&named).await?
            }
        };
        Ok(Response::new(state))
    }
}

impl Peers {
    /// The hand-over that a stream belongs to: open here as destination, from that very host, and undecided.
    async fn expected(&self, open: &TunnelOpen, asker: HostName) -> Result<(ServerId, OperationId), Status> {
        let operation: OperationId =
            field::parse("open.operation_id", &open.operation_id).map_err(|error| invalid(&error))?;
        let found = self.agent.operations.log().read(move |state| {
            state.handovers().find_map(|(server, open, log)| {
                let expected = open == operation
                    && log.peer == asker
                    && log.side == HandoverSide::Destination(DestinationLog::Prepared);
                expected.then_some((server, operation))
            })
        });
        let found = found.await.map_err(|error| Status::unavailable(chain(&error)))?;
        found.ok_or_else(|| {
            Status::permission_denied(format!(
                "this host does not wait for operation {operation} from you"
            ))
        })
    }

    async fn receive_disk(
        &self,
        server: ServerId,
        desk: &Arc<Desk>,
        inbound: Streaming<TunnelFrame>,
    ) -> Result<Response<BoxStream<'static, Result<TunnelFrame, Status>>>, Status> {
        let claim = desk.receive_cold_disk().ok_or_else(|| {
            Status::aborted("the disk is being received already; wait for that stream to end")
        })?;
        let here = ServerHere::new(&self.agent, server);
        let failed = |error: &dyn std::error::Error| Status::internal(error.to_string());
        let file = here.file().await.map_err(|error| failed(&error))?;
        let base = self.agent.base_path(file.image);
        let disk = here.directory().disk();
        let (answer, frames) = mpsc::channel(1);
        self.agent.handovers.spawn(async move {
            let received = cold::receive(inbound, &disk, &base, claim).await;
            let received = received.map_err(|error| {
                tracing::warn!(%server, "the disk did not arrive: {}", chain(&error));
                Status::data_loss(chain(&error))
            });
            // The source may be gone; what arrived is looked at by the driver.
            let _unheard = answer.send(received).await;
        });
        Ok(Response::new(ReceiverStream::new(frames).boxed()))
    }
}

fn libvirt_socket() -> PathBuf {
    let present = LIBVIRT_SOCKETS.iter().map(Path::new).find(|path| path.exists());
    present.unwrap_or(Path::new(LIBVIRT_SOCKETS[0])).to_owned()
}
