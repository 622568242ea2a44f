//! The transfer itself, at the source: libvirt's peer-to-peer migration over three unix sockets whose bytes we
//! carry to the other agent, or the disk of a server that is off.

use super::cold;
use super::desk::Desk;
use super::file::HandoverFile;
use super::link::{Link, LinkError};
use super::own_process::OwnProcess;
use super::paths::for_destination;
use super::place::{self, PlaceError};
use super::relay::{IN_FLIGHT, RelayError, relay};
use super::sockets::Sockets;
use crate::agent::Agent;
use crate::hypervisor::{HypervisorError, JobProgress, LiveMigration};
use crate::operations::chain;
use crate::server::{ServerHere, WorkError};
use drover_agent_core::domain::{DomainSpec, ReadError, render, with_place};
use drover_agent_core::handover::HandoverMode;
use drover_proto::v1;
use drover_proto::v1::tunnel_frame::Frame;
use drover_proto::v1::{HandoverRecord, HandoverRequest, TunnelChannel, TunnelFrame, TunnelOpen};
use drover_types::{Epoch, HostName, OperationId, ServerId};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// libvirt's default of 300 ms, where the planner gives none.
const DEFAULT_DOWNTIME_MS: u64 = 300;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    #[error("the destination could not be asked whether it is prepared")]
    Link(#[source] LinkError),
    #[error("the destination is not prepared; its record is {0:?}")]
    NotPrepared(HandoverRecord),
    #[error("the socket {} could not be made", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("the server's domain could not be read")]
    Work(#[source] WorkError),
    #[error("the destination says of no place that the guest could have there")]
    Place(#[source] PlaceError),
    #[error("the guest's configuration could not be read")]
    Xml(#[source] ReadError),
    #[error("libvirt could not migrate the guest")]
    Hypervisor(#[source] HypervisorError),
    #[error("the disk could not be copied")]
    Cold(#[source] cold::ColdError),
}

/// One transfer.
pub(super) struct Transfer {
    pub(super) agent: Arc<Agent>,
    pub(super) server: ServerId,
    pub(super) operation: OperationId,
    pub(super) epoch: Epoch,
    pub(super) mode: HandoverMode,
    pub(super) peer: HostName,
    pub(super) file: HandoverFile,
    pub(super) desk: Arc<Desk>,
    pub(super) own_process: Arc<OwnProcess>,
}

impl Transfer {
    /// Runs it to libvirt's final word.
    pub(super) async fn run(self) -> Result<JobProgress, TransferError> {
        let mut link = Link::new(self.peer.clone(), &self.file.peer_address).map_err(TransferError::Link)?;
        let question = HandoverRequest {
            operation_id: self.operation.to_string(),
            server_id: self.server.to_string(),
            epoch: self.epoch.get(),
            asked_by_source: true,
        };
        let state = link
            .get(&self.agent, question)
            .await
            .map_err(TransferError::Link)?;
        if state.record() != HandoverRecord::Prepared {
            return Err(TransferError::NotPrepared(state.record()));
        }
        match self.mode {
            HandoverMode::Live => {
                let place = state.place.unwrap_or_default();
                self.live(link, &state.data_dir, place).await
            }
            HandoverMode::Cold => {
                let here = ServerHere::new(&self.agent, self.server);
                let disk = here.directory().disk();
                let client = link.connect(&self.agent).await.map_err(TransferError::Link)?;
                cold::send(client, self.operation, &disk, &self.desk)
                    .await
                    .map_err(TransferError::Cold)
            }
        }
    }

    async fn live(
        self,
        link: Link,
        peer_data_dir: &str,
        place: v1::GuestPlace,
    ) -> Result<JobProgress, TransferError> {
        let here = ServerHere::new(&self.agent, self.server);
        let file = here.file().await.map_err(TransferError::Work)?;
        let server = self.server;
        let failed = TransferError::Hypervisor;
        let live_xml = self
            .agent
            .hypervisor
            .run("reading the guest's configuration", move |h| {
                h.migratable_xml(server)
            })
            .await
            .map_err(failed)?;
        let place = place::read(&file.spec.place, place).map_err(TransferError::Place)?;
        let live_xml = if place.is_anywhere() && file.spec.place.is_anywhere() {
            live_xml
        } else {
            with_place(&live_xml, &place).map_err(TransferError::Xml)?
        };
        let there = DomainSpec {
            place,
            ..file.spec.clone()
        };
        let held = file.spec.metadata.epoch;
        let own_data_dir = self.agent.config.data_dir.to_string_lossy().into_owned();
        let rewrite = |xml: &str| for_destination(xml, &own_data_dir, peer_data_dir, held, self.epoch);
        let description = self
            .agent
            .hypervisor
            .run("describing the host", |h| h.host())
            .await
            .map_err(failed)?;

        let sockets = Sockets::new(self.operation);
        let owner = description.qemu_owner();
        let in_directory = |source| TransferError::Socket {
            path: sockets.memory(),
            source,
        };
        sockets.make(owner).map_err(in_directory)?;
        let link = Arc::new(link);
        // Dropped at the end of this function, which ends every relay of this migration.
        let mut relays = JoinSet::new();
        let disconnected = self.own_process.disconnected();
        for (path, channel, closing) in [
            (sockets.control(), TunnelChannel::Control, disconnected.clone()),
            (sockets.memory(), TunnelChannel::Memory, CancellationToken::new()),
            (sockets.disk(), TunnelChannel::Disk, CancellationToken::new()),
        ] {
            let listener = listen(&path, owner).map_err(|source| TransferError::Socket { path, source })?;
            relays.spawn(accept(
                Arc::clone(&self.agent),
                Arc::clone(&link),
                listener,
                self.operation,
                channel,
                closing,
            ));
        }

        let migration = LiveMigration {
            libvirt_uri: format!("qemu+unix:///system?socket={}", sockets.control().display()),
            memory_uri: format!("unix://{}", sockets.memory().display()),
            disks_uri: format!("unix://{}", sockets.disk().display()),
            disks: file
                .spec
                .disks
                .iter()
                .map(|disk| disk.target.to_string())
                .collect(),
            live_xml: rewrite(&live_xml),
            persistent_xml: rewrite(&render(&there)),
            bandwidth_mib_per_second: self.file.bandwidth_mib_per_second,
        };
        let downtime = match self.file.max_downtime_ms {
            0 => DEFAULT_DOWNTIME_MS,
            given => given,
        };
        self.agent
            .hypervisor
            .run("limiting the guest's stall", move |h| {
                h.set_max_downtime(server, downtime)
            })
            .await
            .map_err(failed)?;
        let process = self
            .agent
            .hypervisor
            .run("finding the guest's process", move |h| h.process(server))
            .await
            .map_err(failed)?;
        if let Some(process) = process {
            self.own_process.is(process);
        }
        let migrated = self
            .agent
            .hypervisor
            .run_to_end("migrating a guest", move |h| h.migrate(server, &migration))
            .await;
        drop(relays);
        if let Err(error) = sockets.remove() {
            tracing::debug!(operation = %self.operation, %error, "the migration's sockets stay behind");
        }
        migrated.map_err(failed)?;
        let figures = self
            .agent
            .hypervisor
            .run("reading the migration's figures", move |h| h.finished_job(server))
            .await;
        Ok(figures.ok().flatten().unwrap_or_default())
    }
}

fn listen(path: &Path, owner: Option<(u32, u32)>) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group))?;
    }
    Ok(listener)
}

/// Carries every connection to this socket over a stream of its own.
async fn accept(
    agent: Arc<Agent>,
    link: Arc<Link>,
    listener: UnixListener,
    operation: OperationId,
    channel: TunnelChannel,
    closing: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        // Accepting is cancel-safe, and so is waiting for a finished relay.
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let (agent, link) = (Arc::clone(&agent), Arc::clone(&link));
                    let closing = closing.clone();
                    connections.spawn(async move {
                        carry(&agent, &link, socket, operation, channel, closing).await
                    });
                }
                Err(error) => {
                    tracing::warn!(%operation, ?channel, %error, "a connection of the migration was not accepted");
                    return;
                }
            },
            Some(ended) = connections.join_next() => match ended {
                Ok(Ok(())) => tracing::debug!(%operation, ?channel, "a stream of the migration ended"),
                Ok(Err(error)) => tracing::debug!(%operation, ?channel, "a stream of the migration broke: {}", chain(&error)),
                Err(error) => tracing::warn!(%operation, ?channel, %error, "a relay ended by a fault"),
            },
        }
    }
}

/// Why one connection was not carried to its end.
#[derive(Debug, thiserror::Error)]
enum CarryError {
    #[error("no connection to the other agent")]
    Link(#[source] LinkError),
    #[error("the other agent does not take the stream")]
    Open(#[source] Box<tonic::Status>),
    #[error("the stream broke")]
    Relay(#[source] RelayError),
}

async fn carry(
    agent: &Agent,
    link: &Link,
    socket: UnixStream,
    operation: OperationId,
    channel: TunnelChannel,
    closing: CancellationToken,
) -> Result<(), CarryError> {
    let mut client = link.connect(agent).await.map_err(CarryError::Link)?;
    let (outbound, frames) = mpsc::channel(IN_FLIGHT);
    let open = TunnelOpen {
        operation_id: operation.to_string(),
        channel: channel.into(),
    };
    let open = TunnelFrame {
        frame: Some(Frame::Open(open)),
    };
    outbound.try_send(open).expect("the channel was made empty above");
    let inbound = client
        .tunnel(ReceiverStream::new(frames))
        .await
        .map_err(|status| CarryError::Open(Box::new(status)))?;
    relay(socket, inbound.into_inner(), outbound, closing)
        .await
        .map_err(CarryError::Relay)
}
