//! Every open hand-over of this agent has one task that drives it, begun when the hand-over begins or the
//! agent starts.

use super::desk::Desk;
use super::destination::Destination;
use super::file::{HandoverFile, HandoverFileError};
use super::link::{Link, LinkError};
use super::source::Source;
use crate::agent::Agent;
use crate::operations::chain;
use crate::oplog::AppendError;
use drover_agent_core::handover::HandoverSide;
use drover_types::{OperationId, ServerId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why a hand-over is not driven.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttendError {
    #[error("the operation log cannot be read")]
    Log(#[source] AppendError),
    #[error("where the other agent is cannot be read")]
    File(#[source] HandoverFileError),
    #[error("the other agent's address cannot be used")]
    Link(#[source] LinkError),
}

/// The open hand-overs of this agent.
#[derive(Debug, Default)]
pub struct Handovers {
    desks: Mutex<BTreeMap<OperationId, Arc<Desk>>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Handovers {
    fn desks(&self) -> MutexGuard<'_, BTreeMap<OperationId, Arc<Desk>>> {
        // The map is whole after every statement that holds the lock.
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desk of a hand-over that is being driven.
    pub(super) fn desk(&self, operation: OperationId) -> Option<Arc<Desk>> {
        self.desks().get(&operation).map(Arc::clone)
    }

    /// Drives every hand-over that the log has open. To be called once, before requests are served.
    ///
    /// # Errors
    /// Where the log is closed.
    pub async fn resume(agent: &Arc<Agent>) -> Result<usize, AppendError> {
        let open: Vec<(ServerId, OperationId)> = agent
            .operations
            .log()
            .read(|state| {
                state
                    .handovers()
                    .map(|(server, operation, _)| (server, operation))
                    .collect()
            })
            .await?;
        for (server, operation) in &open {
            tracing::info!(%server, %operation, "taking up a hand-over after a restart");
            if let Err(error) = attend(agent, *server, *operation, false).await {
                tracing::error!(%server, %operation, "a hand-over cannot go on: {}", chain(&error));
            }
        }
        Ok(open.len())
    }

    /// Runs a relay for as long as this agent drives hand-overs.
    pub(super) fn spawn(&self, relay: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            // A relay that is cut ends its migration, which is then aborted.
            tokio::select! {
                () = relay => {}
                () = stopping.cancelled() => {}
            }
        });
    }

    /// Stops driving; every hand-over goes on at the next start.
    pub async fn shut_down(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Drives one hand-over that the log has open, unless it is driven already. `fresh`: it begins now.
pub(super) async fn attend(
    agent: &Arc<Agent>,
    server: ServerId,
    operation: OperationId,
    fresh: bool,
) -> Result<Option<Arc<Desk>>, AttendError> {
    let log = agent
        .operations
        .log()
        .read(move |state| state.handover(server, operation).cloned())
        .await
        .map_err(AttendError::Log)?;
    let Some(log) = log else {
        return Ok(None);
    };
    let file = HandoverFile::read(&agent.config.data_dir, operation).map_err(AttendError::File)?;
    let link = Link::new(log.peer.clone(), &file.peer_address).map_err(AttendError::Link)?;
    let desk = Arc::new(Desk::new());
    {
        let mut desks = agent.handovers.desks();
        if let Some(present) = desks.get(&operation) {
            return Ok(Some(Arc::clone(present)));
        }
        desks.insert(operation, Arc::clone(&desk));
    }
    let (agent_here, desk_here) = (Arc::clone(agent), Arc::clone(&desk));
    let driver = async move {
        let (agent, desk) = (Arc::clone(&agent_here), desk_here);
        let stopping = agent.handovers.stopping.clone();
        let drive = async {
            match log.side {
                HandoverSide::Source { .. } => {
                    Source {
                        agent,
                        server,
                        operation,
                        desk,
                        file,
                        link,
                        fresh,
                    }
                    .drive()
                    .await;
                }
                HandoverSide::Destination(_) => {
                    Destination {
                        agent,
                        server,
                        operation,
                        desk,
                        link,
                        asked: tokio::time::Instant::now(),
                    }
                    .drive()
                    .await;
                }
            }
        };
        // Stopping anywhere is safe: each step is in the log or is looked for again.
        tokio::select! {
            () = drive => {}
            () = stopping.cancelled() => {}
        }
        agent_here.handovers.desks().remove(&operation);
    };
    agent.handovers.tasks.spawn(driver);
    Ok(Some(desk))
}
