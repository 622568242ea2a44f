//! The source's side of one hand-over, driven until it is settled: look, take the one step that the table
//! gives, look again. It needs neither the planner nor the store, and goes on after a restart of the agent.

mod speech;

use crate::agent::Agent;
use crate::hypervisor::{DomainState, JobProgress};
use crate::migration::desk::{Backoff, Desk, End};
use crate::migration::destination::tidy;
use crate::migration::file::HandoverFile;
use crate::migration::link::{Link, LinkError};
use crate::migration::own_process::OwnProcess;
use crate::migration::transfer::{self, TransferError};
use crate::operations::chain;
use crate::server::{ServerHere, WorkError};
use drover_agent_core::handover::{
    HandoverLog, HandoverMode, HandoverSide, Patience, SourceDomain, SourceJob, SourceLog, SourceSight,
    SourceStep, source_step,
};
use drover_agent_core::oplog::Record;
use drover_proto::v1::{HandoverRequest, OperationProgress};
use drover_types::{Epoch, OperationId, PowerState, ServerId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

/// How long a transfer may go on: a guest that dirties memory faster than it is copied never ends.
const TRANSFER_LIMIT: Duration = Duration::from_secs(30 * 60);

/// How long a source waits, before it begins and after the transfer ended, for a destination that does not
/// answer. Afterwards it keeps the guest, which stands still meanwhile.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Between two reports of what an operator has to look at.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Between two looks at a transfer.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why a step could not be taken; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("the server could not be brought where it shall be")]
    Work(#[source] WorkError),
    #[error("the other side was not heard")]
    Link(#[source] LinkError),
    #[error("the disk {} could not be flushed", path.display())]
    Flush { path: PathBuf, source: std::io::Error },
    #[error("the other side gave an answer that makes no sense here: record {0}")]
    Answer(i32),
}

impl From<WorkError> for StepError {
    fn from(error: WorkError) -> Self {
        Self::Work(error)
    }
}

/// What follows a step.
pub(super) enum Next {
    /// Look again at once.
    Look,
    /// Look again after a while.
    Wait(Duration),
}

/// The source's side of one hand-over.
pub(super) struct Source {
    pub(super) agent: Arc<Agent>,
    pub(super) server: ServerId,
    pub(super) operation: OperationId,
    pub(super) desk: Arc<Desk>,
    pub(super) file: HandoverFile,
    pub(super) link: Link,
    /// Whether this agent began the hand-over itself; otherwise it found it in its log.
    pub(super) fresh: bool,
}

/// How a transfer ended.
type Transferred = Result<JobProgress, TransferError>;

struct Drive {
    source: Source,
    backoff: Backoff,
    transfer: Option<JoinHandle<Transferred>>,
    own_process: Arc<OwnProcess>,
    /// Whether the end of the own process was seen ahead of libvirt's final word, which is outstanding.
    confirming: bool,
    started: bool,
    waiting_since: Instant,
    figures: Option<JobProgress>,
    reason: String,
}

impl Source {
    /// Drives the hand-over until the log no longer has it open.
    pub(super) async fn drive(self) {
        let started = !self.fresh;
        let mut drive = Drive {
            source: self,
            backoff: Backoff::new(),
            transfer: None,
            own_process: Arc::default(),
            confirming: false,
            started,
            waiting_since: Instant::now(),
            figures: None,
            reason: "the destination did not take it".to_owned(),
        };
        let mut last = SourceLog::Offered;
        let mut shown = None;
        while let Some(log) = drive.source.log().await {
            let HandoverSide::Source {
                log: record,
                fallback,
            } = log.side
            else {
                return;
            };
            last = record;
            let sight = drive.sight(&log, record).await;
            let step = source_step(sight);
            if shown.replace((sight, step)) != Some((sight, step)) {
                tracing::debug!(operation = %drive.source.operation, ?sight, ?step, "source of a hand-over");
            }
            let next = match drive.take(step, &log, fallback).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(operation = %drive.source.operation, ?step, "{}", chain(&error));
                    Next::Wait(drive.backoff.failed())
                }
            };
            drive.source.desk.has_moved();
            if let Next::Wait(at_most) = next {
                drive.wait(at_most).await;
            }
        }
        let end = match last {
            SourceLog::PeerAcquired => End::Moved(drive.figures),
            SourceLog::Offered
            | SourceLog::Transferred
            | SourceLog::Released
            | SourceLog::Aborted
            | SourceLog::Reclaimed => End::Stayed(std::mem::take(&mut drive.reason)),
        };
        drive.source.desk.finish(end);
    }

    async fn log(&self) -> Option<HandoverLog> {
        let (server, operation) = (self.server, self.operation);
        let read = self
            .agent
            .operations
            .log()
            .read(move |state| state.handover(server, operation).cloned());
        // A closed log means that the agent ends; the hand-over goes on at its next start.
        read.await.ok().flatten()
    }

    fn here(&self) -> ServerHere<'_> {
        ServerHere::new(&self.agent, self.server)
    }

    fn question(&self, log: &HandoverLog) -> HandoverRequest {
        HandoverRequest {
            operation_id: self.operation.to_string(),
            server_id: self.server.to_string(),
            epoch: log.epoch.get(),
            asked_by_source: true,
        }
    }

    async fn write(&self, record: Record) -> Result<Next, StepError> {
        self.agent
            .operations
            .log()
            .append(vec![record])
            .await
            .map_err(WorkError::Log)?;
        Ok(Next::Look)
    }
}

/// What libvirt says of the source's domain, in the table's words.
fn source_domain(state: &Result<Option<DomainState>, WorkError>) -> SourceDomain {
    let Ok(state) = state else {
        return SourceDomain::Unknown;
    };
    let Some(state) = state else {
        return SourceDomain::Absent;
    };
    match state.power {
        PowerState::Running | PowerState::Suspended | PowerState::NoState => SourceDomain::Running,
        // Its QEMU is ending, by the migration or by itself: in a moment libvirt says which.
        PowerState::ShuttingDown => SourceDomain::Unknown,
        PowerState::Paused if state.reason == "migrating" => SourceDomain::PausedByMigration,
        PowerState::Paused => SourceDomain::PausedOtherwise,
        PowerState::Shutdown if state.reason == "migrated" => SourceDomain::ShutOffMigrated,
        PowerState::Shutdown | PowerState::Crashed => SourceDomain::ShutOff,
    }
}

impl Drive {
    async fn sight(&mut self, log: &HandoverLog, record: SourceLog) -> SourceSight {
        if let Some(transfer) = self.transfer.take_if(|transfer| transfer.is_finished()) {
            let ended = transfer.await;
            self.has_ended(ended);
        }
        let domain = self.look().await;
        let job = match (&self.transfer, self.started) {
            (Some(_), _) if self.confirming => SourceJob::Confirming,
            (Some(_), _) => SourceJob::Running,
            (None, false) => SourceJob::NotStarted,
            (None, true) => self.left_over_job(log.mode).await,
        };
        let limit = match job {
            SourceJob::Running | SourceJob::Confirming => TRANSFER_LIMIT,
            SourceJob::NotStarted | SourceJob::Ended => ANSWER_LIMIT,
        };
        SourceSight {
            mode: log.mode,
            log: record,
            domain,
            job,
            destination: self.source.desk.destination_said(),
            patience: if self.waiting_since.elapsed() < limit {
                Patience::Left
            } else {
                Patience::Exhausted
            },
        }
    }

    /// What libvirt says of the domain. From the end of the own process on it answers no sooner than with its final
    /// word, and is not waited for.
    async fn look(&mut self) -> SourceDomain {
        let here = self.source.here();
        let state = tokio::select! {
            // A look that is dropped changes nothing.
            () = self.own_process.ended(), if self.transfer.is_some() => None,
            state = here.state() => Some(state),
        };
        self.confirming = self.transfer.is_some() && self.own_process.has_ended();
        match state {
            Some(state) if !self.confirming => source_domain(&state),
            Some(_) | None => SourceDomain::Unknown,
        }
    }

    /// A job that an earlier life of this agent began, whose sockets went with it.
    async fn left_over_job(&self, mode: HandoverMode) -> SourceJob {
        let server = self.source.server;
        match mode {
            HandoverMode::Cold => SourceJob::Ended,
            HandoverMode::Live => match self
                .source
                .agent
                .hypervisor
                .run("looking for a job", move |h| h.job(server))
                .await
            {
                Ok(Some(_)) => SourceJob::Running,
                Ok(None) | Err(_) => SourceJob::Ended,
            },
        }
    }

    async fn take(
        &mut self,
        step: SourceStep,
        log: &HandoverLog,
        fallback: Epoch,
    ) -> Result<Next, StepError> {
        let (server, operation) = (self.source.server, self.source.operation);
        match step {
            SourceStep::AwaitLibvirt => {
                if self.confirming {
                    return Ok(Next::Wait(LOOK_EVERY));
                }
                // The figures of a transfer that is over are of no use to anybody.
                tokio::select! {
                    () = self.sample() => Ok(Next::Wait(LOOK_EVERY)),
                    () = self.own_process.ended(), if self.transfer.is_some() => Ok(Next::Look),
                }
            }
            SourceStep::CancelTransfer => {
                self.reason = format!("it took longer than {} minutes", TRANSFER_LIMIT.as_secs() / 60);
                let aborted = self
                    .source
                    .agent
                    .hypervisor
                    .run("aborting", move |h| h.abort_job(server))
                    .await;
                let failed = |source| WorkError::Hypervisor {
                    attempt: "abort the migration of",
                    server,
                    source,
                };
                aborted.map_err(failed)?;
                Ok(Next::Wait(LOOK_EVERY))
            }
            SourceStep::StartTransfer => {
                self.start_transfer(log);
                Ok(Next::Look)
            }
            SourceStep::AskDestination | SourceStep::TellDestination => self.speak(step, log).await,
            SourceStep::WriteTransferred => {
                self.source.write(Record::Transferred { server, operation }).await
            }
            SourceStep::EndPausedGuest => {
                self.source.here().end().await?;
                Ok(Next::Look)
            }
            SourceStep::WriteReleased => {
                let (epoch, to) = (log.epoch, log.peer.clone());
                tracing::info!(%server, %operation, %to, "the destination is ready: letting go of the server");
                fail::fail_point!("before-released");
                let released = Record::Released {
                    server,
                    operation,
                    epoch,
                    to,
                };
                let next = self.source.write(released).await?;
                tracing::info!(%server, %operation, "the server is released");
                fail::fail_point!("after-released");
                Ok(next)
            }
            SourceStep::WriteAborted => {
                self.source
                    .write(Record::Aborted {
                        server,
                        operation,
                        epoch: log.epoch,
                    })
                    .await
            }
            SourceStep::RestoreGuest => {
                tracing::info!(%server, %operation, "the server stays here; its guest goes on, or is started from its disk");
                self.source.here().run().await?;
                Ok(Next::Look)
            }
            SourceStep::StopForbiddenGuest => {
                tracing::warn!(%server, %operation, "stopping a copy that runs here although the server was released");
                self.source.here().end().await?;
                Ok(Next::Look)
            }
            SourceStep::Undefine => {
                self.source.here().undefine().await?;
                Ok(Next::Look)
            }
            SourceStep::WritePeerAcquired => {
                self.source
                    .write(Record::PeerAcquired { server, operation })
                    .await
            }
            SourceStep::WriteReclaimed => {
                "the destination lost its copy after the release; the server was started from its kept disk"
                    .clone_into(&mut self.reason);
                self.source
                    .write(Record::Reclaimed {
                        server,
                        operation,
                        epoch: fallback,
                    })
                    .await
            }
            SourceStep::DeleteDiskAndSettle => {
                self.source.here().remove_directory().await?;
                self.settle().await
            }
            SourceStep::Settle => self.settle().await,
            SourceStep::Report(anomaly) => {
                // Only an answer of this moment counts as one.
                if let Next::Look = self.ask(log).await? {
                    return Ok(Next::Look);
                }
                tracing::error!(%server, %operation, "{anomaly}");
                Ok(Next::Wait(REPORT_EVERY))
            }
        }
    }

    async fn settle(&mut self) -> Result<Next, StepError> {
        let (server, operation) = (self.source.server, self.source.operation);
        let next = self.source.write(Record::Settled { server, operation }).await?;
        tidy(&self.source.agent.config.data_dir, operation);
        Ok(next)
    }

    fn start_transfer(&mut self, log: &HandoverLog) {
        let source = &self.source;
        let job = transfer::Transfer {
            agent: Arc::clone(&source.agent),
            server: source.server,
            operation: source.operation,
            epoch: log.epoch,
            mode: log.mode,
            peer: log.peer.clone(),
            file: source.file.clone(),
            desk: Arc::clone(&source.desk),
            own_process: Arc::clone(&self.own_process),
        };
        self.started = true;
        self.waiting_since = Instant::now();
        self.transfer = Some(tokio::spawn(job.run()));
    }

    async fn sample(&self) {
        let server = self.source.server;
        let job = self
            .source
            .agent
            .hypervisor
            .run("looking at a migration", move |h| h.job(server))
            .await;
        if let Ok(Some(job)) = job {
            self.source.desk.report(OperationProgress {
                phase: "copying memory and disk".to_owned(),
                done_bytes: job.processed_bytes,
                total_bytes: job.total_bytes,
                remaining_bytes: job.remaining_bytes,
                dirty_bytes_per_second: job.dirty_bytes_per_second,
                elapsed_ms: job.elapsed_ms,
            });
        }
    }

    async fn wait(&mut self, at_most: Duration) {
        let Some(transfer) = self.transfer.as_mut() else {
            self.source.desk.wait(at_most).await;
            return;
        };
        // A join handle may be polled again; a nudge that is lost here is followed by a look.
        let ended = tokio::select! {
            ended = transfer => ended,
            () = self.own_process.ended(), if !self.confirming => return,
            () = self.source.desk.wait(at_most) => return,
        };
        self.transfer = None;
        self.has_ended(ended);
    }

    fn has_ended(&mut self, ended: Result<Transferred, JoinError>) {
        self.waiting_since = Instant::now();
        self.backoff.worked();
        match ended {
            Ok(Ok(figures)) => self.figures = Some(figures),
            Ok(Err(error)) => {
                self.reason = chain(&error);
                tracing::warn!(operation = %self.source.operation, "the transfer failed: {}", self.reason);
            }
            Err(error) => self.reason = format!("the transfer ended by a fault in the agent: {error}"),
        }
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // The agent stops: without its relays the transfer ends, and the next start looks what became of it.
        if let Some(transfer) = &self.transfer {
            transfer.abort();
        }
    }
}
