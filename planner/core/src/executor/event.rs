//! What the executor is told and what it asks for: events in, commands out.

use super::request::{AgentRequest, AgentResult, FailureCode};
use crate::model::RecordedFleet;
use crate::record::{Key, Transaction};
use drover_types::{Address, FencingToken, HostName, OperationId};

/// Names one commit, so that its answer finds it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// How an operation goes on, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// In words: "fetching", "copying memory".
    pub phase: String,
    /// Bytes done.
    pub done_bytes: u64,
    /// In all; 0 where it is not known.
    pub total_bytes: u64,
    /// Bytes left to copy, of a migration.
    pub remaining_bytes: u64,
    /// Bytes the guest dirties per second.
    pub dirty_bytes_per_second: u64,
    /// Time so far, in milliseconds.
    pub elapsed_ms: u64,
}

/// The lock that the apply holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLock {
    /// The revision at which its key was created: each transaction compares it.
    pub create_revision: u64,
    /// The token that was raised with it.
    pub token: FencingToken,
    /// Who holds it: `user@host`, for claims.
    pub holder: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The lock is held and the fleet was read under it. Always the first event.
    Started {
        /// RFC 3339.
        now: String,
        /// The lock.
        lock: HeldLock,
        /// As read after the lock was taken.
        recorded: Box<RecordedFleet>,
    },
    /// A commit was carried out, at this revision.
    Committed {
        /// Which.
        ticket: Ticket,
        /// The store's revision after it.
        revision: u64,
    },
    /// A commit was refused because a comparison failed. The lock was looked at and still stands.
    CommitConflict {
        /// Which.
        ticket: Ticket,
        /// The keys whose comparisons failed.
        keys: Vec<Key>,
    },
    /// It is not known whether a commit was carried out, or the store does not answer any more.
    StoreUnavailable {
        /// Which.
        ticket: Ticket,
        /// Why.
        reason: String,
    },
    /// The agent has the operation in its log.
    Accepted {
        /// Which.
        operation: OperationId,
        /// By which host.
        host: HostName,
    },
    /// It goes on.
    Progress {
        /// Which.
        operation: OperationId,
        /// On which host.
        host: HostName,
        /// How far.
        progress: Progress,
    },
    /// It ended well.
    Succeeded {
        /// Which.
        operation: OperationId,
        /// On which host.
        host: HostName,
        /// With what.
        result: AgentResult,
    },
    /// It ended badly, or the agent refused it: the host's own word that it is not done.
    Failed {
        /// Which.
        operation: OperationId,
        /// On which host.
        host: HostName,
        /// Why, for programs.
        code: FailureCode,
        /// Why, for people.
        message: String,
        /// What to do next.
        hint: String,
    },
    /// The request provably never left: no connection was made.
    NeverSent {
        /// Which.
        operation: OperationId,
        /// To which host.
        host: HostName,
        /// Why.
        reason: String,
    },
    /// Sent, or maybe sent; the answer is not known and asking again did not help.
    Lost {
        /// Which.
        operation: OperationId,
        /// To which host.
        host: HostName,
        /// Why.
        reason: String,
    },
    /// Answer to [`Command::Watch`]: the host's log has no such operation.
    NotFound {
        /// Which.
        operation: OperationId,
        /// Which host.
        host: HostName,
    },
    /// Answer to [`Command::Withdraw`].
    Withdrawn {
        /// Which.
        operation: OperationId,
        /// Which host.
        host: HostName,
        /// The refusal is in its log: the operation never begins.
        withdrawn: bool,
        /// Where it had begun: whether it still runs.
        running: bool,
    },
    /// The lock is gone: nothing may be written or begun any more.
    LockLost {
        /// Why, and who holds it now.
        reason: String,
    },
    /// Ctrl-C. The first stops scheduling, the second detaches.
    Interrupt {
        /// RFC 3339.
        now: String,
    },
}

/// What to do. The `drover` crate carries each out and answers with events.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Carry the transaction out; answered by `Committed`, `CommitConflict` or `StoreUnavailable`.
    Commit {
        /// To be named in the answer.
        ticket: Ticket,
        /// What.
        transaction: Transaction,
    },
    /// Send the request with this operation id and follow its stream (asking again when it breaks);
    /// answered by any number of `Accepted` and `Progress`, then one of `Succeeded`, `Failed`, `NeverSent`,
    /// `Lost`.
    Call {
        /// Which.
        operation: OperationId,
        /// Where.
        host: HostName,
        /// What.
        request: AgentRequest,
    },
    /// Attach to an operation; answered as `Call`, or by `NotFound`. One that does not answer is `Lost`.
    Watch {
        /// Which.
        operation: OperationId,
        /// Where.
        host: HostName,
    },
    /// Have the host refuse the operation for ever; answered by `Withdrawn` or `Lost`.
    Withdraw {
        /// Which.
        operation: OperationId,
        /// Where.
        host: HostName,
    },
    /// Tell the host that these results are recorded. No answer is awaited; a failure is harmless.
    Acknowledge {
        /// Which host.
        host: HostName,
        /// Which operations.
        operations: Vec<OperationId>,
    },
    /// Show it to people.
    Report(ProgressEvent),
    /// The apply is over: release the lock (unless it is lost) and exit. Always the last command.
    Finish(Summary),
}

impl Command {
    /// A stable name, for failpoints and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Commit { .. } => "commit",
            Self::Call { .. } => "call",
            Self::Watch { .. } => "watch",
            Self::Withdraw { .. } => "withdraw",
            Self::Acknowledge { .. } => "acknowledge",
            Self::Report(_) => "report",
            Self::Finish(_) => "finish",
        }
    }
}

/// Which step of an action is being taken: stable names for people, logs and failpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JournalStep {
    /// An operation of an earlier command is looked at.
    Settling,
    /// Its intent is being written.
    WritingIntent,
    /// Its intent is written; it is being sent.
    Sending,
    /// The agent has it.
    Running,
    /// The destination of a migration is preparing.
    Preparing,
    /// It is being withdrawn from a host.
    Withdrawing,
    /// Its result is being written.
    WritingResult,
    /// Its result is written.
    Recorded,
}

impl JournalStep {
    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settling => "settling",
            Self::WritingIntent => "writing-intent",
            Self::Sending => "sending",
            Self::Running => "running",
            Self::Preparing => "preparing",
            Self::Withdrawing => "withdrawing",
            Self::WritingResult => "writing-result",
            Self::Recorded => "recorded",
        }
    }
}

/// Something to show.
#[derive(Debug, Clone, PartialEq)]
pub enum ProgressEvent {
    /// An action came to a step.
    Step {
        /// Of what.
        address: Address,
        /// `create`, `migrate`, …
        verb: &'static str,
        /// On which host, where it is on one.
        host: Option<HostName>,
        /// Its operation.
        operation: OperationId,
        /// Which.
        step: JournalStep,
    },
    /// An agent reports how far it is.
    Progress {
        /// Of what.
        address: Address,
        /// `create`, `migrate`, …
        verb: &'static str,
        /// On which host.
        host: HostName,
        /// Its operation.
        operation: OperationId,
        /// How far.
        progress: Progress,
    },
    /// An action is done.
    Done {
        /// Of what.
        address: Address,
        /// `create`, `migrate`, …
        verb: &'static str,
        /// On which host.
        host: Option<HostName>,
        /// Its operation.
        operation: OperationId,
    },
    /// A create moves to its next alternate.
    NextAlternate {
        /// Of what.
        address: Address,
        /// The host that could not.
        from: HostName,
        /// The host tried next.
        to: HostName,
        /// Why the first could not.
        why: String,
    },
    /// An action failed, or its outcome stayed unknown.
    Failed(ActionFailure),
    /// No new action begins; running ones are waited for.
    Stopping {
        /// How many run.
        running: usize,
    },
}

/// An action that did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionFailure {
    /// Of what.
    pub address: Address,
    /// `create`, `migrate`, …
    pub verb: &'static str,
    /// On which host.
    pub host: Option<HostName>,
    /// Its operation.
    pub operation: OperationId,
    /// Why, for programs; absent where no agent said anything.
    pub code: Option<FailureCode>,
    /// Why, for people.
    pub message: String,
    /// What to do next, or nothing.
    pub hint: String,
    /// The outcome is not known: the next apply settles it first.
    pub unknown: bool,
}

/// Why an apply ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Nothing was left to begin.
    Finished,
    /// The first interrupt: what ran was waited for.
    Interrupted,
    /// The second interrupt: agents go on, the journal says so.
    Detached,
    /// The lock was lost.
    LockLost(String),
    /// The store does not answer.
    StoreUnavailable(String),
}

/// How an apply went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Why it ended.
    pub ending: Ending,
    /// Actions done.
    pub done: Vec<OperationId>,
    /// Those among them that an earlier apply of this plan had done, or that were so already.
    pub already: Vec<OperationId>,
    /// Actions failed or unknown.
    pub failed: Vec<ActionFailure>,
    /// Actions that were not begun because something they need failed or the apply was stopped.
    pub not_begun: Vec<(Address, String)>,
    /// Operations that agents still carry out.
    pub detached: Vec<OperationId>,
}

impl Summary {
    /// Whether everything that was planned is done: exit status 0, else 5.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ending == Ending::Finished && self.failed.is_empty() && self.not_begun.is_empty()
    }
}
