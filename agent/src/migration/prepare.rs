//! What destination and source do before a hand-over is open: check, make what the transfer needs, log it.

use super::desk::{Desk, End};
use super::file::HandoverFile;
use super::registry::attend;
use super::sockets::Sockets;
use crate::agent::Agent;
use crate::operations::{Failure, OperationHandle};
use crate::server::{
    ServerFile, ServerHere, WantedServer, WorkError, check_frozen, domain_spec, make_overlay,
};
use drover_agent_core::domain::Before;
use drover_agent_core::handover::HandoverMode;
use drover_agent_core::oplog::{FailureCode, Record};
use drover_proto::v1;
use drover_types::{Epoch, HostName, OperationId, ServerId};
use std::sync::Arc;

/// A server that is to come here.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) wanted: WantedServer,
    pub(super) epoch: Epoch,
    pub(super) source: HostName,
    pub(super) source_address: String,
    pub(super) mode: HandoverMode,
}

/// A server that is to leave.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) server: ServerId,
    pub(super) new_epoch: Epoch,
    pub(super) fallback: Epoch,
    pub(super) destination: HostName,
    pub(super) destination_address: String,
    pub(super) mode: HandoverMode,
    pub(super) max_downtime_ms: u64,
    pub(super) bandwidth_mib_per_second: Option<u64>,
}

/// Prepares this host for a server. On failure nothing of it is left.
pub(super) async fn prepare(
    agent: &Arc<Agent>,
    incoming: Incoming,
    operation: &OperationHandle,
) -> Result<v1::MigrationPrepared, WorkError> {
    let (server, epoch) = (incoming.wanted.id, incoming.epoch);
    let here = ServerHere::new(agent, server);
    if let Some(found) = here.report().await? {
        return Err(WorkError::Conflict {
            server,
            expected: "no domain of this id",
            found: format!("one that is {}", found.state.power),
        });
    }
    if let Err(error) = make(agent, &here, &incoming, operation).await {
        here.remove_directory().await?;
        super::destination::tidy(&agent.config.data_dir, operation.id());
        return Err(error);
    }
    attended(attend(agent, server, operation.id(), true).await, server)?;
    Ok(v1::MigrationPrepared {
        server_id: server.to_string(),
        epoch: epoch.get(),
    })
}

async fn make(
    agent: &Arc<Agent>,
    here: &ServerHere<'_>,
    incoming: &Incoming,
    operation: &OperationHandle,
) -> Result<(), WorkError> {
    let wanted = &incoming.wanted;
    let server = wanted.id;
    if incoming.mode == HandoverMode::Live && !wanted.devices.is_empty() {
        return Err(WorkError::Conflict {
            server,
            expected: "a guest without PCI devices of its host, since others do not move while they run",
            found: "one that has such devices".to_owned(),
        });
    }
    operation.phase("checking that the server can run here");
    let frozen = wanted.frozen.clone().ok_or_else(|| WorkError::Conflict {
        server,
        expected: "what was frozen when the server was created",
        found: "nothing in the request".to_owned(),
    })?;
    let profile = agent
        .profiles
        .get(&agent.hypervisor)
        .await
        .map_err(WorkError::Profile)?;
    check_frozen(&agent.hypervisor, &profile, server, &frozen).await?;
    check_room(agent, server, wanted.disk_bytes)?;
    operation.phase("getting the image");
    let base = agent.base_file(wanted, operation).await?;
    if base.digest != frozen.base {
        return Err(WorkError::Incompatible {
            server,
            what: "the base file",
            wanted: frozen.base.to_string(),
            available: base.digest.to_string(),
        });
    }
    operation.phase("making room for the server");
    here.make_directory().await?;
    let directory = here.directory();
    match incoming.mode {
        HandoverMode::Live => {
            make_overlay(
                &directory.disk(),
                &base.path,
                base.virtual_size,
                wanted.disk_bytes,
            )
            .await
            .map_err(|source| WorkError::Disk { server, source })?;
        }
        // The overlay comes as it lies; until it is whole there is no disk.
        HandoverMode::Cold => {}
    }
    let claim = agent.claim().await;
    let place = agent.place(wanted, &profile, Before::Nothing, &claim).await?;
    let spec = domain_spec(&profile, wanted, &frozen, incoming.epoch, &directory, place)?;
    let (_, image) = wanted.made_from().map_err(WorkError::Request)?;
    here.write_file(ServerFile::new(spec, image, base.digest, wanted.disk_bytes))
        .await?;
    drop(claim);
    Sockets::new(operation.id())
        .make(profile.description.qemu_owner())
        .map_err(|source| WorkError::Sockets { server, source })?;
    let file = HandoverFile {
        format: 1,
        server,
        peer: incoming.source.clone(),
        peer_address: incoming.source_address.clone(),
        max_downtime_ms: 0,
        bandwidth_mib_per_second: None,
    };
    file.write(&agent.config.data_dir, operation.id())
        .map_err(|source| WorkError::HandoverFile { server, source })?;
    let record = Record::PreparedIncoming {
        server,
        operation: operation.id(),
        epoch: incoming.epoch,
        from: incoming.source.clone(),
        mode: incoming.mode,
    };
    operation.log().append(vec![record]).await.map_err(WorkError::Log)
}

fn check_room(agent: &Agent, server: ServerId, needed: u64) -> Result<(), WorkError> {
    let directory = agent.config.data_dir.display().to_string();
    let disk = nix::sys::statvfs::statvfs(&agent.config.data_dir).map_err(|source| WorkError::FreeSpace {
        directory: directory.clone(),
        source,
    })?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if free < needed {
        return Err(WorkError::NoRoom {
            server,
            needed,
            free,
            directory,
        });
    }
    Ok(())
}

/// Offers a server, drives the hand-over, and waits for its end. Once it is offered it goes on without us.
pub(super) async fn hand_over(
    agent: &Arc<Agent>,
    outgoing: Outgoing,
    operation: &OperationHandle,
) -> Result<v1::MigrationResult, WorkError> {
    let server = outgoing.server;
    let here = ServerHere::new(agent, server);
    let active = here.is_active().await?;
    let (expected, fits) = match outgoing.mode {
        HandoverMode::Live => ("a guest that runs", active),
        HandoverMode::Cold => ("a server that is off", !active),
    };
    if !fits {
        let state = here.state().await?;
        let found = state.map_or_else(|| "no domain".to_owned(), |state| state.power.to_string());
        return Err(WorkError::Conflict {
            server,
            expected,
            found,
        });
    }
    let file = HandoverFile {
        format: 1,
        server,
        peer: outgoing.destination.clone(),
        peer_address: outgoing.destination_address,
        max_downtime_ms: outgoing.max_downtime_ms,
        bandwidth_mib_per_second: outgoing.bandwidth_mib_per_second,
    };
    file.write(&agent.config.data_dir, operation.id())
        .map_err(|source| WorkError::HandoverFile { server, source })?;
    let record = Record::Offered {
        server,
        operation: operation.id(),
        epoch: outgoing.new_epoch,
        fallback: outgoing.fallback,
        to: outgoing.destination,
        mode: outgoing.mode,
    };
    operation
        .log()
        .append(vec![record])
        .await
        .map_err(WorkError::Log)?;
    let desk = attended(attend(agent, server, operation.id(), true).await, server)?;
    let Some(desk) = desk else {
        return Err(WorkError::Aborted {
            server,
            reason: "it is not open any more".to_owned(),
        });
    };
    await_end(&desk, server, outgoing.new_epoch, operation).await
}

fn attended(
    attended: Result<Option<Arc<Desk>>, super::registry::AttendError>,
    server: ServerId,
) -> Result<Option<Arc<Desk>>, WorkError> {
    attended.map_err(|error| WorkError::Aborted {
        server,
        reason: crate::operations::chain(&error),
    })
}

/// Passes the progress on until the hand-over is settled.
pub(super) async fn await_end(
    desk: &Desk,
    server: ServerId,
    epoch: Epoch,
    operation: &OperationHandle,
) -> Result<v1::MigrationResult, WorkError> {
    let (mut end, mut progress) = (desk.end(), desk.progress());
    loop {
        // Both only wait for a change of a value that stays.
        tokio::select! {
            ended = end.wait_for(Option::is_some) => {
                let ended = ended.map(|end| end.clone()).ok().flatten();
                return match ended {
                    Some(End::Moved(figures)) => {
                        let figures = figures.unwrap_or_default();
                        Ok(v1::MigrationResult {
                            server_id: server.to_string(),
                            epoch: epoch.get(),
                            downtime_ms: figures.downtime_ms,
                            transferred_bytes: figures.processed_bytes,
                            elapsed_ms: figures.elapsed_ms,
                        })
                    }
                    Some(End::Stayed(reason)) => Err(WorkError::Aborted { server, reason }),
                    None => Err(WorkError::Aborted { server, reason: "the agent is stopping".to_owned() }),
                };
            }
            Ok(()) = progress.changed() => {
                let latest = progress.borrow_and_update().clone();
                operation.progress(latest);
            }
        }
    }
}

/// Removes what an interrupted preparation left, unless it was finished.
pub(super) async fn finish_or_undo(
    agent: &Arc<Agent>,
    server: ServerId,
    operation: OperationId,
) -> Result<v1::MigrationPrepared, Failure> {
    let log = agent
        .operations
        .log()
        .read(move |state| {
            (
                state.handover(server, operation).cloned(),
                state.held_epoch(server),
            )
        })
        .await
        .map_err(WorkError::Log)?;
    match log {
        (Some(handover), _) => Ok(v1::MigrationPrepared {
            server_id: server.to_string(),
            epoch: handover.epoch.get(),
        }),
        // Taken over and settled, before this operation's own end was written.
        (None, Some(epoch)) => Ok(v1::MigrationPrepared {
            server_id: server.to_string(),
            epoch: epoch.get(),
        }),
        (None, None) => {
            let here = ServerHere::new(agent, server);
            if here.report().await?.is_none() {
                here.remove_directory().await?;
            }
            super::destination::tidy(&agent.config.data_dir, operation);
            let message = format!(
                "the agent was restarted while it prepared for server {server}; nothing of it is left"
            );
            Err(Failure::new(FailureCode::System, message).hint("apply again"))
        }
    }
}
