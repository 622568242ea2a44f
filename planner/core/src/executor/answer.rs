//! The agents' side of an apply: what follows from an answer, or from none.
//!
//! A grant to create or run a server is taken back only by the host's own logged word (it failed, or it will
//! refuse the operation for ever) or where the request provably never left. Everything else is unknown.

use super::event::{ActionFailure, Command, Event, JournalStep, ProgressEvent};
use super::node::{Failure, Node, Pending, Stand};
use super::request::FailureCode;
use super::state::State;
use crate::plan::ActionKind;
use drover_types::{HostName, OperationId};

/// Whether a failed fetch leaves creates the way to their alternates.
pub(super) fn lets_creates_go_on(node: &Node, failure: &ActionFailure) -> bool {
    matches!(node.action.kind, ActionKind::EnsureImage { .. })
        && !failure.code.is_some_and(FailureCode::is_everywhere)
}

impl State {
    /// The action that an answer is for, if it still waits for one from this host.
    fn waiting(&self, operation: OperationId, host: &HostName) -> Option<usize> {
        let at = *self.by_operation.get(&operation)?;
        let node = &self.nodes[at];
        let from = match node.stand {
            Stand::Calling | Stand::Watching | Stand::Withdrawing => node.host(),
            Stand::Preparing => node.destination(),
            Stand::Waiting
            | Stand::Ready
            | Stand::Writing
            | Stand::Done
            | Stand::Failed
            | Stand::NotBegun => None,
        };
        (from == Some(host) && node.operation() == operation).then_some(at)
    }

    pub(super) fn answer(&mut self, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Accepted { operation, host } => {
                if let Some(at) = self.waiting(operation, &host) {
                    self.report_step(at, JournalStep::Running, out);
                }
            }
            Event::Progress {
                operation,
                host,
                progress,
            } => {
                if let Some(at) = self.waiting(operation, &host) {
                    let node = &self.nodes[at];
                    out.push(Command::Report(ProgressEvent::Progress {
                        address: node.action.address.clone(),
                        verb: node.action.kind.verb(),
                        host,
                        operation,
                        progress,
                    }));
                }
            }
            Event::Succeeded {
                operation,
                host,
                result,
            } => {
                if let Some(at) = self.waiting(operation, &host) {
                    self.succeeded(at, result, out);
                }
            }
            Event::Failed {
                operation,
                host,
                code,
                message,
                hint,
            } => {
                if let Some(at) = self.waiting(operation, &host) {
                    let action = &self.nodes[at].action;
                    let failure = Failure {
                        code: Some(code),
                        message: action.conceal(message),
                        hint: action.conceal(hint),
                        logged: true,
                    };
                    self.refused(at, failure, out);
                }
            }
            Event::NeverSent {
                operation,
                host,
                reason,
            } => {
                if let Some(at) = self.waiting(operation, &host) {
                    self.never_sent(at, &reason, out);
                }
            }
            Event::Lost {
                operation,
                host,
                reason,
            } => {
                if let Some(at) = self.waiting(operation, &host) {
                    self.lost(at, &host, &reason, out);
                }
            }
            Event::NotFound { operation, host } => {
                if let Some(at) = self.waiting(operation, &host) {
                    self.not_found(at, out);
                }
            }
            Event::Withdrawn {
                operation,
                host,
                withdrawn,
                ..
            } => {
                if let Some(at) = self.waiting(operation, &host) {
                    self.withdrawn(at, &host, withdrawn, out);
                }
            }
            Event::Started { .. }
            | Event::Committed { .. }
            | Event::CommitConflict { .. }
            | Event::StoreUnavailable { .. }
            | Event::LockLost { .. }
            | Event::Interrupt { .. } => {}
        }
    }

    fn write_result(&mut self, at: usize, pending: Pending, out: &mut Vec<Command>) {
        self.stand(at, Stand::Writing);
        self.report_step(at, JournalStep::WritingResult, out);
        self.queue.push_back(pending);
    }

    fn succeeded(&mut self, at: usize, result: super::AgentResult, out: &mut Vec<Command>) {
        match self.nodes[at].stand {
            Stand::Preparing => {
                let node = &self.nodes[at];
                if let (Some(host), Some(request)) = (node.host().cloned(), node.request()) {
                    self.send(at, host, request, Stand::Calling, out);
                }
            }
            Stand::Calling | Stand::Watching => self.write_result(at, Pending::Success(at, result), out),
            Stand::Waiting
            | Stand::Ready
            | Stand::Writing
            | Stand::Withdrawing
            | Stand::Done
            | Stand::Failed
            | Stand::NotBegun => {}
        }
    }

    fn refused(&mut self, at: usize, failure: Failure, out: &mut Vec<Command>) {
        // A refusal of the call itself is in no log: an earlier copy of the request may still arrive.
        let in_no_log = failure.code == Some(FailureCode::Refused);
        match self.nodes[at].stand {
            Stand::Calling | Stand::Watching if in_no_log && !self.nodes[at].withdrew => {
                self.nodes[at].refused = Some(failure);
                self.withdraw(at, out);
            }

            Stand::Calling | Stand::Watching if in_no_log => self.unknown(at, &failure.message, out),
            Stand::Calling | Stand::Watching => self.fail(at, failure, out),
            Stand::Preparing => {
                if self.nodes[at].maybe_sent {
                    self.withdraw(at, out);
                } else {
                    self.fail(at, failure, out);
                }
            }
            Stand::Withdrawing => self.unknown(at, &failure.message, out),
            Stand::Waiting
            | Stand::Ready
            | Stand::Writing
            | Stand::Done
            | Stand::Failed
            | Stand::NotBegun => {}
        }
    }

    fn never_sent(&mut self, at: usize, reason: &str, out: &mut Vec<Command>) {
        let failure = Failure {
            code: None,
            message: format!("it was never reached: {reason}"),
            hint: String::new(),
            logged: false,
        };
        let first = matches!(self.nodes[at].stand, Stand::Calling | Stand::Preparing);
        if first && !self.nodes[at].maybe_sent {
            self.fail(at, failure, out);
        } else {
            let host = match self.nodes[at].stand {
                Stand::Preparing => self.nodes[at].destination().cloned(),
                _ => self.nodes[at].host().cloned(),
            };
            if let Some(host) = host {
                self.lost(at, &host, reason, out);
            }
        }
    }

    fn lost(&mut self, at: usize, host: &HostName, reason: &str, out: &mut Vec<Command>) {
        match self.nodes[at].stand {
            Stand::Calling | Stand::Watching if !self.nodes[at].withdrew => self.withdraw(at, out),
            Stand::Calling | Stand::Watching | Stand::Withdrawing => self.unknown(at, reason, out),
            Stand::Preparing => {
                if self.nodes[at].maybe_sent {
                    // An earlier process may have asked the source as well.
                    self.withdraw(at, out);
                } else {
                    // The source was never asked, so it stays the holder whatever the destination did.
                    let operation = self.nodes[at].operation();
                    out.push(Command::Withdraw {
                        operation,
                        host: host.clone(),
                    });
                    let failure = Failure {
                        code: None,
                        message: format!("{host} does not answer: {reason}"),
                        hint: String::new(),
                        logged: false,
                    };
                    self.fail(at, failure, out);
                }
            }
            Stand::Waiting
            | Stand::Ready
            | Stand::Writing
            | Stand::Done
            | Stand::Failed
            | Stand::NotBegun => {}
        }
    }

    fn not_found(&mut self, at: usize, out: &mut Vec<Command>) {
        match self.nodes[at].stand {
            Stand::Watching => {
                let node = &self.nodes[at];
                if node.withdrew {
                    self.unknown(at, "the host withdrew nothing and knows nothing of it", out);
                } else if node.settles || self.stopping {
                    self.withdraw(at, out);
                } else {
                    // Of this very plan, and still wanted: the same request under the same id.
                    self.call(at, out);
                }
            }
            Stand::Waiting
            | Stand::Ready
            | Stand::Writing
            | Stand::Preparing
            | Stand::Calling
            | Stand::Withdrawing
            | Stand::Done
            | Stand::Failed
            | Stand::NotBegun => {}
        }
    }

    fn withdrawn(&mut self, at: usize, host: &HostName, withdrawn: bool, out: &mut Vec<Command>) {
        let operation = self.nodes[at].operation();
        match self.nodes[at].stand {
            Stand::Withdrawing if withdrawn => {
                let refused = self.nodes[at].refused.take();
                let failure = Failure {
                    code: Some(FailureCode::Withdrawn),
                    message: refused.as_ref().map_or_else(
                        || format!("{host} had not begun it, and will not"),
                        |refused| refused.message.clone(),
                    ),
                    hint: refused.map(|refused| refused.hint).unwrap_or_default(),
                    logged: true,
                };
                self.fail(at, failure, out);
            }
            Stand::Withdrawing => {
                self.stand(at, Stand::Watching);
                self.report_step(at, JournalStep::Running, out);
                out.push(Command::Watch {
                    operation,
                    host: host.clone(),
                });
            }
            Stand::Waiting
            | Stand::Ready
            | Stand::Writing
            | Stand::Preparing
            | Stand::Calling
            | Stand::Watching
            | Stand::Done
            | Stand::Failed
            | Stand::NotBegun => {}
        }
    }

    /// An operation failed for certain: the next candidate, or the end.
    fn fail(&mut self, at: usize, failure: Failure, out: &mut Vec<Command>) {
        let node = &self.nodes[at];
        let everywhere = failure.code.is_some_and(FailureCode::is_everywhere);
        let alternate = match &node.action.kind {
            ActionKind::CreateServer { candidates, .. } => node.candidate + 1 < candidates.len(),
            _ => false,
        };
        if let (Some(to), ActionKind::Migrate { .. }) = (node.destination().cloned(), &node.action.kind)
            && node.stand != Stand::Preparing
        {
            // So that a preparation that is or comes there is not kept for ever. Its answer changes nothing.
            out.push(Command::Withdraw {
                operation: node.operation(),
                host: to,
            });
        }
        let pending = if alternate && !everywhere && !node.settles && !self.stopping {
            Pending::Retry(at, failure)
        } else {
            Pending::Failure(at, failure)
        };
        self.write_result(at, pending, out);
    }

    /// Nobody can say how it ended: it stays open in the journal.
    fn unknown(&mut self, at: usize, reason: &str, out: &mut Vec<Command>) {
        let host = self.nodes[at].host().map(ToString::to_string).unwrap_or_default();
        let mut failure = self.failure_of(at, format!("{host} does not say how it ended: {reason}"));
        failure.unknown = true;
        "apply again when the host answers: it is settled first then".clone_into(&mut failure.hint);
        self.give_up(at, &failure, out);
    }
}
