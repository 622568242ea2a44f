//! Whether a request may begin an operation, given the log. No effect of its own: the caller appends and
//! syncs [`Admission::append`], applies it to its state, and then follows [`Admission::verdict`].

use super::record::{Began, OperationKind, OperationState, Outcome, Record, UnixMillis};
use super::state::State;
use drover_types::{
    Epoch, FencingToken, Generation, IncarnationId, OperationId, RequestId, ServerId, Sha256Digest,
};

/// A request for an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The operation.
    pub operation: OperationId,
    /// What it does.
    pub kind: OperationKind,
    /// The digest of the request's canonical bytes without token, deadline and request id.
    pub digest: Sha256Digest,
    /// The request itself, kept in the log so that the work can be continued after a restart.
    pub request: serde_json::Value,
    /// The token it is sent under.
    pub token: FencingToken,
    /// The life of this agent's log as the sender knows it; `None` from a sender that never met this agent.
    pub incarnation: Option<IncarnationId>,
    /// What it works on, and by what right.
    pub claim: EpochClaim,
    /// The command that sent it.
    pub request_id: RequestId,
    /// The agent's time.
    pub at: UnixMillis,
}

/// What an operation works on, and by what right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochClaim {
    /// The host itself: images.
    Host,
    /// A server that this grant gives to this host: create, or start after a fence.
    Grant {
        /// The server.
        server: ServerId,
        /// The new epoch.
        epoch: Epoch,
        /// The desired state it belongs to.
        generation: Generation,
    },
    /// A server that this host holds.
    Held {
        /// The server.
        server: ServerId,
        /// The epoch it is held under.
        epoch: Epoch,
        /// The desired state it belongs to.
        generation: Generation,
    },
    /// A server that another host holds and hands over to this one.
    Takeover {
        /// The server.
        server: ServerId,
        /// The epoch reserved for this host.
        epoch: Epoch,
        /// The desired state it belongs to.
        generation: Generation,
    },
    /// What may be left of a server here that this host does not hold, to be removed. Never touches a copy
    /// that this host holds.
    Remains {
        /// The server.
        server: ServerId,
        /// The desired state it belongs to.
        generation: Generation,
    },
}

impl EpochClaim {
    /// The server and the desired state, for work on a server.
    #[must_use]
    pub const fn server(self) -> Option<(ServerId, Generation)> {
        match self {
            Self::Host => None,
            Self::Grant {
                server, generation, ..
            }
            | Self::Held {
                server, generation, ..
            }
            | Self::Takeover {
                server, generation, ..
            }
            | Self::Remains { server, generation } => Some((server, generation)),
        }
    }
}

/// What follows from a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// Records to append and sync first, in this order; possibly none.
    pub append: Vec<Record>,
    /// What to do then.
    pub verdict: Verdict,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Begin the work: `began`, and a grant's epoch, are in [`Admission::append`].
    Start,
    /// It runs already: attach to its progress.
    Attach,
    /// It ended: this is its stored result.
    Replay(Outcome),
    /// Nothing is done.
    Refuse(Refusal),
}

/// Why a request is refused; nothing was done for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another apply came after.
    #[error(
        "token {sent} is older than {seen}, which this agent has seen: another apply took over; plan again"
    )]
    StaleToken {
        /// The request's.
        sent: FencingToken,
        /// The highest seen.
        seen: FencingToken,
    },
    /// The operation id was used for something else.
    #[error("operation {0} was sent before with another request")]
    OtherRequestSameId(OperationId),
    /// The operation was withdrawn before it came.
    #[error("operation {0} was withdrawn before it arrived; plan again")]
    Withdrawn(OperationId),
    /// The result was acknowledged and is no longer kept.
    #[error("operation {0} ended and its result was acknowledged; plan again")]
    Acknowledged(OperationId),
    /// Another operation runs on the server.
    #[error("server {server} is busy with operation {operation} ({}); wait for it", .kind.as_str())]
    Busy {
        /// The server.
        server: ServerId,
        /// The operation that runs.
        operation: OperationId,
        /// What it does.
        kind: OperationKind,
    },
    /// A hand-over of the server is not settled.
    #[error("server {server} is being handed over by operation {operation}; wait for it")]
    HandingOver {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
    },
    /// A later desired state was already worked on.
    #[error(
        "generation {sent} of server {server} is older than {seen}, which this agent has worked on; plan again"
    )]
    StaleGeneration {
        /// The server.
        server: ServerId,
        /// The request's.
        sent: Generation,
        /// The latest worked on.
        seen: Generation,
    },
    /// This host does not hold the server.
    #[error("this host does not hold server {server}; plan again")]
    NotHolder {
        /// The server.
        server: ServerId,
    },
    /// This host holds the server.
    #[error("this host holds server {server} under epoch {held}; plan again")]
    Holder {
        /// The server.
        server: ServerId,
        /// The epoch it is held under.
        held: Epoch,
    },
    /// This host holds the server under another epoch.
    #[error("this host holds server {server} under epoch {held}, the request says {sent}; plan again")]
    EpochMismatch {
        /// The server.
        server: ServerId,
        /// The request's.
        sent: Epoch,
        /// The epoch it is held under.
        held: Epoch,
    },
    /// The epoch was used before.
    #[error("epoch {sent} of server {server} is used, as all up to {highest}; plan again")]
    EpochUsed {
        /// The server.
        server: ServerId,
        /// The request's.
        sent: Epoch,
        /// The highest used.
        highest: Epoch,
    },
    /// The agent's log was lost or restored.
    #[error(
        "this host's operation log was lost or restored and its rights are void; run `drover host readmit`"
    )]
    VoidEpochs,
    /// The sender knows another life of this log.
    #[error(
        "this agent's operation log is {current}, not {expected}: it was replaced; run `drover host readmit`"
    )]
    OtherIncarnation {
        /// The life the sender knows.
        expected: IncarnationId,
        /// The present one.
        current: IncarnationId,
    },
    /// The log is not open.
    #[error("this agent's operation log is not open yet; ask again")]
    NotOpen,
}

/// Decides about a request.
///
/// A higher token is recorded whatever the verdict, ahead of anything else: from then on the older apply is
/// refused here.
#[must_use]
pub fn admit(state: &State, incoming: &Incoming) -> Admission {
    if incoming.token < state.highest_token() {
        let stale = Refusal::StaleToken {
            sent: incoming.token,
            seen: state.highest_token(),
        };
        return Admission {
            append: Vec::new(),
            verdict: Verdict::Refuse(stale),
        };
    }
    let mut append = token_record(state, incoming.token);
    let verdict = match known(state, incoming).map_or_else(|| check(state, incoming), Ok) {
        Ok(verdict) => verdict,
        Err(refusal) => Verdict::Refuse(refusal),
    };
    match verdict {
        Verdict::Start => append.extend(first_records(incoming)),
        Verdict::Attach | Verdict::Replay(_) | Verdict::Refuse(_) => {}
    }
    Admission { append, verdict }
}

fn token_record(state: &State, token: FencingToken) -> Vec<Record> {
    if state.incarnation().is_some() && token > state.highest_token() {
        vec![Record::TokenSeen { token }]
    } else {
        Vec::new()
    }
}

fn first_records(incoming: &Incoming) -> Vec<Record> {
    let server = incoming.claim.server();
    let mut records = vec![Record::Began(Box::new(Began {
        operation: incoming.operation,
        server: server.map(|(server, _)| server),
        kind: incoming.kind,
        digest: incoming.digest,
        request: incoming.request.clone(),
        token: incoming.token,
        generation: server.map(|(_, generation)| generation),
        request_id: incoming.request_id.clone(),
        at: incoming.at,
    }))];
    if let EpochClaim::Grant { server, epoch, .. } = incoming.claim {
        records.push(Record::EpochGranted {
            server,
            epoch,
            operation: incoming.operation,
        });
    }
    records
}

/// The answer for an operation id that the log knows.
fn known(state: &State, incoming: &Incoming) -> Option<Verdict> {
    let operation = incoming.operation;
    if state.is_retired(operation) {
        return Some(Verdict::Refuse(Refusal::Acknowledged(operation)));
    }
    let other = || Verdict::Refuse(Refusal::OtherRequestSameId(operation));
    Some(match state.operation(operation)? {
        OperationState::Withdrawn { .. } => Verdict::Refuse(Refusal::Withdrawn(operation)),
        OperationState::Running(began) if began.digest == incoming.digest => Verdict::Attach,
        OperationState::Finished { began, outcome } if began.digest == incoming.digest => {
            Verdict::Replay(outcome.clone())
        }
        OperationState::Running(_) | OperationState::Finished { .. } => other(),
    })
}

fn check(state: &State, incoming: &Incoming) -> Result<Verdict, Refusal> {
    let current = state.incarnation().ok_or(Refusal::NotOpen)?;
    let Some((server, generation)) = incoming.claim.server() else {
        return Ok(Verdict::Start);
    };
    if state.is_void() {
        return Err(Refusal::VoidEpochs);
    }
    if let Some(expected) = incoming.incarnation.filter(|expected| *expected != current) {
        return Err(Refusal::OtherIncarnation { expected, current });
    }
    if let Some(running) = state.running_on(server) {
        return Err(Refusal::Busy {
            server,
            operation: running.operation,
            kind: running.kind,
        });
    }
    if let Some((_, operation, _)) = state.handovers().find(|(handed, _, _)| *handed == server) {
        return Err(Refusal::HandingOver { server, operation });
    }
    if let Some(seen) = state.generation(server).filter(|seen| generation < *seen) {
        return Err(Refusal::StaleGeneration {
            server,
            sent: generation,
            seen,
        });
    }
    right(state, incoming.claim)?;
    Ok(Verdict::Start)
}

fn right(state: &State, claim: EpochClaim) -> Result<(), Refusal> {
    match claim {
        EpochClaim::Host => Ok(()),
        EpochClaim::Held { server, epoch, .. } => match state.held_epoch(server) {
            Some(held) if held == epoch => Ok(()),
            Some(held) => Err(Refusal::EpochMismatch {
                server,
                sent: epoch,
                held,
            }),
            None => Err(Refusal::NotHolder { server }),
        },
        EpochClaim::Grant { server, epoch, .. } | EpochClaim::Takeover { server, epoch, .. } => {
            if let Some(held) = state.held_epoch(server) {
                return Err(Refusal::Holder { server, held });
            }
            match state.highest_epoch(server) {
                Some(highest) if epoch <= highest => Err(Refusal::EpochUsed {
                    server,
                    sent: epoch,
                    highest,
                }),
                Some(_) | None => Ok(()),
            }
        }
        EpochClaim::Remains { server, .. } => match state.held_epoch(server) {
            Some(held) => Err(Refusal::Holder { server, held }),
            None => Ok(()),
        },
    }
}

/// The answer to a request to withdraw an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Withdrawal {
    /// It never began, and with these records synced it never will.
    Withdrawn {
        /// Records to append and sync before answering; none when it was withdrawn before.
        append: Vec<Record>,
    },
    /// It runs: wait for its result.
    Running(Box<Began>),
    /// It ended.
    Finished(Outcome),
    /// Nothing was done.
    Refused(Refusal),
}

/// Decides about a request to withdraw an operation. Repeating it gives the same answer.
#[must_use]
pub fn withdraw(state: &State, operation: OperationId, token: FencingToken) -> Withdrawal {
    if token < state.highest_token() {
        return Withdrawal::Refused(Refusal::StaleToken {
            sent: token,
            seen: state.highest_token(),
        });
    }
    if state.incarnation().is_none() {
        return Withdrawal::Refused(Refusal::NotOpen);
    }
    if state.is_void() {
        // A lost log cannot tell that the operation never began.
        return Withdrawal::Refused(Refusal::VoidEpochs);
    }
    if state.is_retired(operation) {
        return Withdrawal::Refused(Refusal::Acknowledged(operation));
    }
    let mut append = token_record(state, token);
    match state.operation(operation) {
        None => {
            append.push(Record::Withdrawn { operation, token });
            Withdrawal::Withdrawn { append }
        }
        Some(OperationState::Withdrawn { .. }) => Withdrawal::Withdrawn { append },
        Some(OperationState::Running(began)) => Withdrawal::Running(began.clone()),
        Some(OperationState::Finished { outcome, .. }) => Withdrawal::Finished(outcome.clone()),
    }
}
