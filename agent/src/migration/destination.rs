//! The destination's side of one hand-over, driven until it is settled: look, take the one step that the table
//! gives, look again.

use super::desk::{Backoff, Desk};
use super::file::HandoverFile;
use super::link::{Link, LinkError};
use super::sockets::Sockets;
use super::source::{Next, StepError};
use super::words::{destination_record, source_word};
use crate::agent::Agent;
use crate::operations::chain;
use crate::server::{ServerHere, WorkError};
use drover_agent_core::handover::{
    DestinationDomain, DestinationLog, DestinationSight, DestinationStep, HandoverLog, HandoverMode,
    HandoverSide, Heard, Patience, SourceWord, destination_step,
};
use drover_agent_core::oplog::Record;
use drover_agent_core::power::WantedPower;
use drover_proto::v1::{HandoverRecord, HandoverRequest, HandoverState};
use drover_types::{OperationId, PowerState, ServerId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a prepared destination waits for the transfer to begin once the source knows of it.
const BEGIN_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long it waits for a source that knows nothing of it: the planner asks both within a moment.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(60);

/// Between two questions to the source while nothing comes.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Between two looks while the transfer is awaited or under way; the source's question cuts it short.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The same for a moment after the memory's stream has ended: the guest stands still, and the sooner its disk is
/// flushed and `ready` is in the log, beside the end of the source's QEMU, the sooner it goes on.
const LOOK_EVERY_AT_THE_END: Duration = Duration::from_millis(5);

/// How long that moment is at most.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Between two reports of what an operator has to look at.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The destination's side of one hand-over.
pub(super) struct Destination {
    pub(super) agent: Arc<Agent>,
    pub(super) server: ServerId,
    pub(super) operation: OperationId,
    pub(super) desk: Arc<Desk>,
    pub(super) link: Link,
    /// When the source was last asked, for want of anything better to do.
    pub(super) asked: Instant,
}

impl Destination {
    /// Drives the hand-over until the log no longer has it open.
    pub(super) async fn drive(mut self) {
        let mut backoff = Backoff::new();
        let mut waiting_since = Instant::now();
        let mut shown = None;
        while let Some(log) = self.log().await {
            let HandoverSide::Destination(record) = log.side else {
                return;
            };
            let domain = self.look(log.mode).await;
            if domain == DestinationDomain::Incoming {
                waiting_since = Instant::now();
            }
            let heard = self.desk.source_said();
            let limit = if heard == Heard::Said(SourceWord::Unknown) {
                UNKNOWN_LIMIT
            } else {
                BEGIN_LIMIT
            };
            let patience = waiting_since.elapsed() < limit;
            let sight = DestinationSight {
                mode: log.mode,
                log: record,
                domain,
                source: heard,
                patience: if patience {
                    Patience::Left
                } else {
                    Patience::Exhausted
                },
            };
            let step = destination_step(sight);
            if shown.replace((sight, step)) != Some((sight, step)) {
                tracing::debug!(operation = %self.operation, ?sight, ?step, "destination of a hand-over");
            }
            let next = match self.take(step, &log, record, &mut backoff).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(operation = %self.operation, ?step, "{}", chain(&error));
                    Next::Wait(backoff.failed())
                }
            };
            self.desk.has_moved();
            if let Next::Wait(at_most) = next {
                self.desk.wait(at_most).await;
            }
        }
        self.desk.has_moved();
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

    async fn look(&self, mode: HandoverMode) -> DestinationDomain {
        let Ok(state) = self.here().state().await else {
            return DestinationDomain::Unknown;
        };
        match (mode, state) {
            (HandoverMode::Cold, Some(state)) if state.is_active() => DestinationDomain::Running,
            (HandoverMode::Cold, Some(_) | None) => {
                if self.desk.is_cold_disk_arriving() {
                    DestinationDomain::Incoming
                } else if self.here().directory().disk().exists() {
                    DestinationDomain::Arrived
                } else {
                    DestinationDomain::Absent
                }
            }
            (HandoverMode::Live, None) => DestinationDomain::Absent,
            (HandoverMode::Live, Some(state)) => match state.power {
                PowerState::Shutdown | PowerState::Crashed => DestinationDomain::ShutOff,
                PowerState::Running
                | PowerState::ShuttingDown
                | PowerState::Suspended
                | PowerState::NoState => DestinationDomain::Running,
                PowerState::Paused if state.reason == "migrating" => DestinationDomain::Incoming,
                PowerState::Paused => self.look_at_paused().await,
            },
        }
    }

    /// libvirt makes an incoming domain persistent once it has all of it, and ends its job after that.
    async fn look_at_paused(&self) -> DestinationDomain {
        let server = self.server;
        let arrived = self
            .agent
            .hypervisor
            .run("looking at an incoming guest", move |h| {
                Ok(h.is_persistent(server)? && h.job(server)?.is_none())
            })
            .await;
        match arrived {
            Ok(true) => DestinationDomain::Arrived,
            Ok(false) => DestinationDomain::Incoming,
            Err(_) => DestinationDomain::Unknown,
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

    async fn take(
        &mut self,
        step: DestinationStep,
        log: &HandoverLog,
        record: DestinationLog,
        backoff: &mut Backoff,
    ) -> Result<Next, StepError> {
        let (server, operation, epoch) = (self.server, self.operation, log.epoch);
        match step {
            DestinationStep::Wait => {
                if self.asked.elapsed() > ASK_EVERY {
                    self.asked = Instant::now();
                    self.ask(log, backoff).await?;
                }
                Ok(Next::Wait(if self.desk.memory_ended_within(END_LIMIT) {
                    LOOK_EVERY_AT_THE_END
                } else {
                    LOOK_EVERY
                }))
            }
            DestinationStep::AskSource => self.ask(log, backoff).await,
            DestinationStep::TellSource => {
                let word = destination_record(record.word());
                let answer = self.link.tell(&self.agent, self.question(log), word, "").await;
                self.hear(answer, backoff)
            }
            DestinationStep::PauseForbiddenGuest => {
                tracing::warn!(%server, %operation, "pausing a guest that runs here before the server is this host's");
                self.here().pause().await?;
                Ok(Next::Look)
            }
            DestinationStep::FlushAndWriteReady => {
                self.flush().await?;
                if log.mode == HandoverMode::Cold {
                    let here = self.here();
                    here.define(&here.file().await?).await?;
                }
                // Heard before the source began, it would now look like a lost log.
                self.desk.forget_unknown_source();
                self.write(Record::Ready {
                    server,
                    operation,
                    epoch,
                })
                .await
            }
            DestinationStep::WriteAcquired(power) => {
                self.write(Record::Acquired {
                    server,
                    operation,
                    epoch,
                    power,
                })
                .await
            }
            DestinationStep::WriteDeclined => {
                self.write(Record::Declined {
                    server,
                    operation,
                    epoch,
                })
                .await
            }
            DestinationStep::RestoreGuest(power) => {
                self.restore(power).await?;
                Ok(Next::Look)
            }
            DestinationStep::Discard => {
                self.here().remove().await?;
                self.write(Record::Discarded {
                    server,
                    operation,
                    epoch,
                })
                .await
            }
            DestinationStep::Settle => self.settle(record).await,
            DestinationStep::Report(anomaly) => {
                // Only an answer of this moment counts as one.
                if let Next::Look = self.ask(log, backoff).await? {
                    return Ok(Next::Look);
                }
                tracing::error!(%server, %operation, "{anomaly}");
                Ok(Next::Wait(REPORT_EVERY))
            }
        }
    }

    fn question(&self, log: &HandoverLog) -> HandoverRequest {
        HandoverRequest {
            operation_id: self.operation.to_string(),
            server_id: self.server.to_string(),
            epoch: log.epoch.get(),
            asked_by_source: false,
        }
    }

    /// Asks the source, unless it speaks first: its answer may be lost where its own word is not.
    async fn ask(&mut self, log: &HandoverLog, backoff: &mut Backoff) -> Result<Next, StepError> {
        let question = self.question(log);
        // A question that is dropped changes nothing, and a nudge that is taken here is followed by a look.
        let answer = tokio::select! {
            answer = self.link.get(&self.agent, question) => answer,
            () = self.desk.nudged() => return Ok(Next::Look),
        };
        self.hear(answer, backoff)
    }

    fn hear(
        &self,
        answer: Result<HandoverState, LinkError>,
        backoff: &mut Backoff,
    ) -> Result<Next, StepError> {
        let state = match answer {
            Ok(state) => state,
            Err(error) => {
                self.desk.hear_source(Heard::NoAnswer);
                return Err(StepError::Link(error));
            }
        };
        let record = HandoverRecord::try_from(state.record).ok();
        let word = record.and_then(|record| source_word(record, &state.power_state));
        let word = word.ok_or(StepError::Answer(state.record))?;
        let before = self.desk.source_said();
        self.desk.hear_source(Heard::Said(word));
        if before == Heard::Said(word) {
            return Ok(Next::Wait(backoff.failed()));
        }
        backoff.worked();
        Ok(Next::Look)
    }

    /// Everything that the guest wrote is on this host's disk before the source may let go of its own.
    async fn flush(&self) -> Result<(), StepError> {
        let disk = self.here().directory().disk();
        let path = disk.clone();
        let synced = tokio::task::spawn_blocking(move || std::fs::File::open(&path)?.sync_all()).await;
        let synced = synced.expect("a sync does not panic and is not aborted");
        synced.map_err(|source| StepError::Flush { path: disk, source })
    }

    async fn restore(&self, power: WantedPower) -> Result<(), StepError> {
        let here = self.here();
        match power {
            WantedPower::On => here.run().await?,
            WantedPower::Paused => {
                if !here.is_active().await? {
                    here.run().await?;
                }
                here.pause().await?;
            }
            WantedPower::Off => here.end().await?,
        }
        Ok(())
    }

    async fn settle(&self, record: DestinationLog) -> Result<Next, StepError> {
        let (server, operation) = (self.server, self.operation);
        if let DestinationLog::Acquired(_) = record {
            // From now on it is an ordinary server of this host: its definition is the one rendered here.
            let here = self.here();
            let file = here.file().await?;
            here.define(&file).await?;
            if here.is_active().await? {
                here.mark_live(&file).await?;
            }
        }
        let next = self.write(Record::Settled { server, operation }).await?;
        tidy(&self.agent.config.data_dir, operation);
        Ok(next)
    }
}

/// Removes what a hand-over needs only while it is open.
pub(super) fn tidy(data_dir: &Path, operation: OperationId) {
    if let Err(error) = HandoverFile::remove(data_dir, operation) {
        tracing::warn!(%operation, "{}", chain(&error));
    }
    if let Err(error) = Sockets::new(operation).remove() {
        tracing::warn!(%operation, %error, "the migration's sockets stay behind");
    }
}
