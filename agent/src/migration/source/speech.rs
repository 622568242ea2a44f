//! What a source says to its destination, and what it hears.

use super::{Drive, Next, StepError};
use crate::migration::link::LinkError;
use crate::migration::words::{destination_word, power_word};
use crate::server::WorkError;
use drover_agent_core::handover::{HandoverLog, HandoverSide, Heard, SourceLog, SourceStep};
use drover_agent_core::power::WantedPower;
use drover_proto::v1::{HandoverRecord, HandoverState};

impl Drive {
    async fn say(&mut self, step: SourceStep, log: &HandoverLog) -> Result<Next, StepError> {
        if step == SourceStep::AskDestination {
            self.ask(log).await
        } else {
            self.tell(log).await
        }
    }

    pub(super) async fn ask(&mut self, log: &HandoverLog) -> Result<Next, StepError> {
        let question = self.source.question(log);
        if self.started {
            // It looks at once, and flushes, before it answers.
            let confirmed = self
                .source
                .link
                .confirm_ready(&self.source.agent, question.clone())
                .await;
            if let Err(error) = confirmed {
                self.source.desk.hear_destination(Heard::NoAnswer);
                return Err(StepError::Link(error));
            }
        }
        let answer = self.source.link.get(&self.source.agent, question).await;
        self.hear(answer)
    }

    /// Asks or tells the destination. Where libvirt's final word is outstanding it ends that: a destination that has
    /// not got everything, or is not reached, answers late or never.
    pub(super) async fn speak(&mut self, step: SourceStep, log: &HandoverLog) -> Result<Next, StepError> {
        let Some(mut transfer) = self.transfer.take() else {
            return self.say(step, log).await;
        };
        // What is cut off here is said again, and a join handle may be polled again.
        tokio::select! {
            answer = self.say(step, log) => {
                self.transfer = Some(transfer);
                answer
            }
            ended = &mut transfer => {
                self.has_ended(ended);
                Ok(Next::Look)
            }
        }
    }

    async fn tell(&mut self, log: &HandoverLog) -> Result<Next, StepError> {
        let HandoverSide::Source { log: record, .. } = log.side else {
            return Ok(Next::Look);
        };
        let word = if record == SourceLog::Released {
            HandoverRecord::Released
        } else {
            HandoverRecord::Aborted
        };
        let server = self.source.server;
        let wanted = self
            .source
            .agent
            .operations
            .log()
            .read(move |state| state.wanted_power(server))
            .await;
        let power = wanted.map_err(WorkError::Log)?.unwrap_or(WantedPower::Off);
        let question = self.source.question(log);
        let answer = self
            .source
            .link
            .tell(&self.source.agent, question, word, power_word(power))
            .await;
        self.hear(answer)
    }

    fn hear(&mut self, answer: Result<HandoverState, LinkError>) -> Result<Next, StepError> {
        let state = match answer {
            Ok(state) => state,
            Err(error) => {
                self.source.desk.hear_destination(Heard::NoAnswer);
                return Err(StepError::Link(error));
            }
        };
        let word = HandoverRecord::try_from(state.record)
            .ok()
            .and_then(destination_word);
        let word = word.ok_or(StepError::Answer(state.record))?;
        let before = self.source.desk.destination_said();
        self.source.desk.hear_destination(Heard::Said(word));
        if before == Heard::Said(word) {
            return Ok(Next::Wait(self.backoff.failed()));
        }
        self.backoff.worked();
        Ok(Next::Look)
    }
}
