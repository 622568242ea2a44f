//! One action on its way: where it stands, and what its operation is at this moment.

use super::event::{JournalStep, Ticket};
use super::request::{AgentRequest, AgentResult, Deletion, FailureCode};
use crate::model::TriedHost;
use crate::plan::{Action, ActionKind, Impact, Keep};
use drover_types::{HostName, OperationId};

/// How an action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// Something it needs is not done.
    Waiting,
    /// It can begin.
    Ready,
    /// A write of its own is queued or on its way.
    Writing,
    /// The destination of a migration prepares.
    Preparing,
    /// The agent was asked.
    Calling,
    /// The operation is looked at.
    Watching,
    /// The agent is asked to refuse it for ever.
    Withdrawing,
    /// Done.
    Done,
    /// Failed, or its outcome stays unknown.
    Failed,
    /// Never begun.
    NotBegun,
}

/// Why an operation ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: Option<FailureCode>,
    pub(super) message: String,
    pub(super) hint: String,
    /// The agent has it in its log, and may be told that it is recorded.
    pub(super) logged: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    /// As planned, or as journalled for one that is settled.
    pub(super) action: Action,
    /// The id under which the plan knows it.
    pub(super) planned: OperationId,
    /// It settles an operation of an earlier command.
    pub(super) settles: bool,
    /// Which candidate of a create.
    pub(super) candidate: usize,
    pub(super) stand: Stand,
    /// How many actions it waits for.
    pub(super) waits: usize,
    pub(super) dependents: Vec<usize>,
    /// Joins that it is a member of.
    pub(super) joins: Vec<usize>,
    /// An earlier process may have sent it.
    pub(super) maybe_sent: bool,
    /// It was withdrawn, or tried to be, once.
    pub(super) withdrew: bool,
    /// Why its agent refused to take it, where it did.
    pub(super) refused: Option<Failure>,
    /// Hosts on which it takes a place.
    pub(super) places: Vec<HostName>,
    /// Hosts that could not even begin, to be recorded with the intent.
    pub(super) tried: Vec<TriedHost>,
}

/// Actions that others wait for as one.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    /// How many of them are not done.
    pub(super) waits: usize,
    pub(super) dependents: Vec<usize>,
}

impl Node {
    pub(super) fn new(action: Action) -> Self {
        Self {
            planned: action.id,
            action,
            settles: false,
            candidate: 0,
            stand: Stand::Waiting,
            waits: 0,
            dependents: Vec::new(),
            joins: Vec::new(),
            maybe_sent: false,
            withdrew: false,
            refused: None,
            places: Vec::new(),
            tried: Vec::new(),
        }
    }

    /// The operation at this moment.
    pub(super) fn operation(&self) -> OperationId {
        match &self.action.kind {
            ActionKind::CreateServer { candidates, .. } => candidates
                .get(self.candidate)
                .map_or(self.action.id, |candidate| candidate.operation),
            ActionKind::Settle { operation, .. } => *operation,
            ActionKind::EnsureImage { .. }
            | ActionKind::DeleteImage { .. }
            | ActionKind::Import { .. }
            | ActionKind::UpdateServer { .. }
            | ActionKind::SetPower { .. }
            | ActionKind::DeleteServer { .. }
            | ActionKind::Migrate { .. }
            | ActionKind::Adopt { .. }
            | ActionKind::TakeOver { .. }
            | ActionKind::RecordServer { .. }
            | ActionKind::ForgetServer { .. }
            | ActionKind::Move { .. }
            | ActionKind::Record(_) => self.action.id,
        }
    }

    /// The host that carries it out at this moment; of a migration the source.
    pub(super) fn host(&self) -> Option<&HostName> {
        match &self.action.kind {
            ActionKind::CreateServer { candidates, .. } => {
                candidates.get(self.candidate).map(|candidate| &candidate.host)
            }
            ActionKind::Settle { .. }
            | ActionKind::EnsureImage { .. }
            | ActionKind::DeleteImage { .. }
            | ActionKind::Import { .. }
            | ActionKind::UpdateServer { .. }
            | ActionKind::SetPower { .. }
            | ActionKind::DeleteServer { .. }
            | ActionKind::Migrate { .. }
            | ActionKind::Adopt { .. }
            | ActionKind::TakeOver { .. }
            | ActionKind::RecordServer { .. }
            | ActionKind::ForgetServer { .. }
            | ActionKind::Move { .. }
            | ActionKind::Record(_) => self.action.host.as_ref(),
        }
    }

    /// The destination of a migration.
    pub(super) fn destination(&self) -> Option<&HostName> {
        if let ActionKind::Migrate { to, .. } = &self.action.kind {
            Some(to)
        } else {
            None
        }
    }

    /// What its agent is asked, for those that ask one; of a migration what the source is asked.
    pub(super) fn request(&self) -> Option<AgentRequest> {
        Some(match &self.action.kind {
            ActionKind::EnsureImage { image } => AgentRequest::EnsureImage { image: image.clone() },
            ActionKind::DeleteImage { checksum } => AgentRequest::DeleteImage { checksum: *checksum },
            ActionKind::CreateServer {
                order, candidates, ..
            } => AgentRequest::CreateServer {
                server: order.clone(),
                epoch: candidates.get(self.candidate)?.epoch,
                adopt: false,
            },
            ActionKind::Import {
                server,
                generation,
                epoch,
                found,
                ..
            } => AgentRequest::AdoptServer {
                id: *server,
                address: self.action.address.clone(),
                generation: *generation,
                epoch: *epoch,
                found: *found,
            },
            ActionKind::TakeOver { order, epoch, .. } => AgentRequest::CreateServer {
                server: order.clone(),
                epoch: *epoch,
                adopt: true,
            },
            ActionKind::UpdateServer { order, epoch, .. } => AgentRequest::UpdateServer {
                server: order.clone(),
                epoch: *epoch,
                keep_running: self.action.impact < Impact::Reboot,
            },
            ActionKind::SetPower {
                server,
                epoch,
                power,
                generation,
                ..
            } => AgentRequest::SetPower {
                id: *server,
                epoch: *epoch,
                power: *power,
                generation: *generation,
                grace_ms: GRACE_MS,
            },
            ActionKind::DeleteServer {
                server, epoch, keep, ..
            } => AgentRequest::DeleteServer {
                id: *server,
                epoch: *epoch,
                what: match keep {
                    Keep::Nothing | Keep::Record | Keep::Successor => Deletion::Server,
                    Keep::Leftover => Deletion::Leftover,
                    Keep::Guest => Deletion::Marks,
                },
            },
            ActionKind::Migrate {
                order,
                to,
                destination_address,
                epoch,
                new_epoch,
                fallback_epoch,
                cold,
                ..
            } => AgentRequest::MigrateServer {
                id: order.id,
                epoch: *epoch,
                new_epoch: *new_epoch,
                destination_host: to.clone(),
                destination_address: destination_address.clone(),
                cold: *cold,
                max_downtime_ms: MAX_DOWNTIME_MS,
                bandwidth_mib_per_second: 0,
                fallback_epoch: *fallback_epoch,
            },
            ActionKind::Settle { .. }
            | ActionKind::Adopt { .. }
            | ActionKind::RecordServer { .. }
            | ActionKind::ForgetServer { .. }
            | ActionKind::Move { .. }
            | ActionKind::Record(_) => return None,
        })
    }

    /// What the destination of a migration is asked first.
    pub(super) fn preparation(&self) -> Option<AgentRequest> {
        if let ActionKind::Migrate {
            order,
            source_address,
            new_epoch,
            cold,
            ..
        } = &self.action.kind
        {
            Some(AgentRequest::PrepareMigration {
                server: order.clone(),
                epoch: *new_epoch,
                source_host: self.action.host.clone()?,
                source_address: source_address.clone(),
                cold: *cold,
            })
        } else {
            None
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self.stand {
            Stand::Done | Stand::Failed | Stand::NotBegun => true,
            Stand::Waiting
            | Stand::Ready
            | Stand::Writing
            | Stand::Preparing
            | Stand::Calling
            | Stand::Watching
            | Stand::Withdrawing => false,
        }
    }

    /// Begun and not over.
    pub(super) fn is_under_way(&self) -> bool {
        !self.is_over() && self.stand != Stand::Waiting && self.stand != Stand::Ready
    }

    pub(super) fn step(&self) -> JournalStep {
        match self.stand {
            Stand::Waiting | Stand::Ready | Stand::Writing => JournalStep::WritingIntent,
            Stand::Preparing => JournalStep::Preparing,
            Stand::Calling => JournalStep::Sending,
            Stand::Watching => JournalStep::Settling,
            Stand::Withdrawing => JournalStep::Withdrawing,
            Stand::Done | Stand::Failed | Stand::NotBegun => JournalStep::Recorded,
        }
    }
}

/// How long a guest may take to shut down when it is stopped.
const GRACE_MS: u64 = 60_000;

/// The longest stall of a live migration that is asked for.
const MAX_DOWNTIME_MS: u64 = 300;

/// Something to be written into the store.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pending {
    /// An action's intent, with its reservation.
    Intent(usize),
    /// A candidate failed; the next one's intent.
    Retry(usize, Failure),
    /// An action's result.
    Success(usize, AgentResult),
    /// An action's failure.
    Failure(usize, Failure),
    /// All of an action that asks no agent.
    Record(usize),
    /// Journal entries of earlier applies that are over.
    Prune(Vec<OperationId>),
    /// Operations that agents carry on alone.
    Detach(Vec<OperationId>),
    /// Outputs.
    Outputs,
}

/// A commit whose answer is awaited.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    pub(super) ticket: Ticket,
    pub(super) batch: Vec<(Pending, Vec<super::write::RecordWrite>)>,
}
