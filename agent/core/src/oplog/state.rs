//! What the records of a log add up to, and the questions it answers. Whether a new request may begin is
//! `admission`'s; the file is the daemon's.

use super::record::{Began, Carried, FORMAT, OperationState, Outcome, Record, ServerLog};
use crate::handover::HandoverLog;
use crate::power::{OtherHolder, Standing, WantedPower};
use drover_types::{Epoch, FencingToken, Generation, HostName, IncarnationId, OperationId, ServerId};
use std::collections::BTreeMap;

/// Why a record does not follow from the records before it. A log that holds such a record was put together
/// wrongly: do not act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The log does not begin with `opened`.
    #[error("the operation log does not begin with the record `opened`")]
    NotOpened,
    /// It was written by a later version.
    #[error("the operation log has format {0}, this agent reads {FORMAT}; install the later agent again")]
    Format(u32),
    /// It belongs to another host.
    #[error("the operation log is of host {found}, this is {expected}; it was copied from there")]
    OtherHost {
        /// The host of the log so far.
        expected: HostName,
        /// The host in the record.
        found: HostName,
    },
    /// A token lower than one already seen.
    #[error("token {found} is recorded after {highest}")]
    TokenFell {
        /// The highest before.
        highest: FencingToken,
        /// The one recorded.
        found: FencingToken,
    },
    /// The operation is already there.
    #[error("operation {0} is recorded as begun or withdrawn although it is already known")]
    OperationKnown(OperationId),
    /// The operation does not run.
    #[error("operation {0} is recorded as finished or acknowledged although it does not stand so")]
    OperationState(OperationId),
    /// A second operation on one server.
    #[error("operation {operation} is recorded as begun on server {server} while {running} runs there")]
    Busy {
        /// The server.
        server: ServerId,
        /// The one recorded.
        operation: OperationId,
        /// The one that runs.
        running: OperationId,
    },
    /// The epoch was used before.
    #[error("epoch {epoch} of server {server} is recorded again although epochs up to {highest} are used")]
    EpochUsed {
        /// The server.
        server: ServerId,
        /// The epoch.
        epoch: Epoch,
        /// The highest used.
        highest: Epoch,
    },
    /// The record does not fit how far the hand-over came.
    #[error(
        "the record `{record}` of hand-over {operation} of server {server} does not follow from those before it"
    )]
    Handover {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The record's name.
        record: &'static str,
    },
    /// The server is not held here.
    #[error("the record `{record}` of server {server} needs this host to hold it, and it does not")]
    NotHeld {
        /// The server.
        server: ServerId,
        /// The record's name.
        record: &'static str,
    },
}

/// The state of one agent's log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub(super) opened: Option<(IncarnationId, HostName)>,
    pub(super) voided: bool,
    pub(super) highest_token: FencingToken,
    pub(super) operations: BTreeMap<OperationId, OperationState>,
    pub(super) retired: BTreeMap<OperationId, FencingToken>,
    pub(super) servers: BTreeMap<ServerId, ServerLog>,
}

/// The state after these records.
///
/// # Errors
/// The number of the first record that does not follow from those before it, and why.
pub fn replay(records: &[Record]) -> Result<State, (usize, ApplyError)> {
    let mut state = State::default();
    for (index, record) in records.iter().enumerate() {
        state.apply(record).map_err(|error| (index, error))?;
    }
    Ok(state)
}

impl State {
    /// Adds one record. On an error the state is unchanged.
    ///
    /// # Errors
    /// When the record does not follow from those before it; the caller has made or read a wrong log.
    pub fn apply(&mut self, record: &Record) -> Result<(), ApplyError> {
        if let Record::Opened {
            format,
            incarnation,
            host,
        } = record
        {
            return self.open(*format, *incarnation, host);
        }
        if self.opened.is_none() {
            return Err(ApplyError::NotOpened);
        }
        match record {
            Record::Opened { .. } => {}
            Record::EpochsVoided => self.voided = true,
            Record::Readmitted { token, held } => {
                self.raise_token(*token)?;
                self.readmit(held);
            }
            Record::TokenSeen { token } => self.raise_token(*token)?,
            Record::Began(began) => self.begin(began)?,
            Record::Finished { operation, outcome } => self.finish(*operation, outcome)?,
            Record::Withdrawn { operation, token } => {
                if self.operations.contains_key(operation) || self.retired.contains_key(operation) {
                    return Err(ApplyError::OperationKnown(*operation));
                }
                self.operations
                    .insert(*operation, OperationState::Withdrawn { token: *token });
            }
            Record::Acknowledged { operations } => self.acknowledge(operations)?,
            Record::EpochGranted {
                server,
                epoch,
                operation: _,
            } => {
                let log = self.use_epoch(*server, *epoch)?;
                log.held = Some(*epoch);
                log.gone = false;
                log.released = None;
            }
            Record::PowerWanted { server, power } => {
                let log = self.servers.get_mut(server).filter(|log| log.held.is_some());
                log.ok_or(ApplyError::NotHeld {
                    server: *server,
                    record: "power_wanted",
                })?
                .wanted = Some(*power);
            }
            Record::Gone { server } => {
                let log = self.servers.entry(*server).or_default();
                let kept = ServerLog {
                    highest_epoch: log.highest_epoch,
                    generation: log.generation,
                    gone: true,
                    ..ServerLog::default()
                };
                *log = kept;
            }
            Record::Carried(carried) => self.carry(carried),
            Record::Offered { .. }
            | Record::Transferred { .. }
            | Record::Released { .. }
            | Record::Aborted { .. }
            | Record::PeerAcquired { .. }
            | Record::Reclaimed { .. }
            | Record::PreparedIncoming { .. }
            | Record::Ready { .. }
            | Record::Acquired { .. }
            | Record::Declined { .. }
            | Record::Discarded { .. }
            | Record::Settled { .. } => self.apply_handover(record)?,
        }
        Ok(())
    }

    fn open(&mut self, format: u32, incarnation: IncarnationId, host: &HostName) -> Result<(), ApplyError> {
        if format > FORMAT {
            return Err(ApplyError::Format(format));
        }
        match &self.opened {
            Some((_, expected)) if expected != host => {
                return Err(ApplyError::OtherHost {
                    expected: expected.clone(),
                    found: host.clone(),
                });
            }
            // A new life for an old log: what it held may have gone elsewhere since.
            Some((before, _)) if *before != incarnation => self.voided = true,
            Some(_) | None => {}
        }
        self.opened = Some((incarnation, host.clone()));
        Ok(())
    }

    fn readmit(&mut self, held: &BTreeMap<ServerId, Epoch>) {
        for log in self.servers.values_mut() {
            log.held = None;
            log.handovers.clear();
        }
        for (server, epoch) in held {
            let log = self.servers.entry(*server).or_default();
            log.held = Some(*epoch);
            log.highest_epoch = log.highest_epoch.max(*epoch);
            log.released = None;
            log.gone = false;
        }
        self.voided = false;
    }

    fn raise_token(&mut self, token: FencingToken) -> Result<(), ApplyError> {
        if token < self.highest_token {
            return Err(ApplyError::TokenFell {
                highest: self.highest_token,
                found: token,
            });
        }
        self.highest_token = token;
        self.retired.retain(|_, sent| *sent >= token);
        Ok(())
    }

    fn begin(&mut self, began: &Began) -> Result<(), ApplyError> {
        if began.token > self.highest_token {
            // `token_seen` comes first: a log cut between the two must not have had the effect.
            return Err(ApplyError::TokenFell {
                highest: began.token,
                found: self.highest_token,
            });
        }
        if self.operations.contains_key(&began.operation) || self.retired.contains_key(&began.operation) {
            return Err(ApplyError::OperationKnown(began.operation));
        }
        if let Some(server) = began.server {
            if let Some(running) = self.running_on(server) {
                return Err(ApplyError::Busy {
                    server,
                    operation: began.operation,
                    running: running.operation,
                });
            }
            let log = self.servers.entry(server).or_default();
            log.generation = log.generation.max(began.generation);
        }
        self.operations
            .insert(began.operation, OperationState::Running(Box::new(began.clone())));
        Ok(())
    }

    fn finish(&mut self, operation: OperationId, outcome: &Outcome) -> Result<(), ApplyError> {
        match self.operations.get(&operation) {
            Some(OperationState::Running(began)) => {
                let finished = OperationState::Finished {
                    began: began.clone(),
                    outcome: outcome.clone(),
                };
                self.operations.insert(operation, finished);
                Ok(())
            }
            Some(OperationState::Finished { .. } | OperationState::Withdrawn { .. }) | None => {
                Err(ApplyError::OperationState(operation))
            }
        }
    }

    fn acknowledge(&mut self, operations: &[OperationId]) -> Result<(), ApplyError> {
        for operation in operations {
            match self.operations.get(operation) {
                Some(OperationState::Finished { .. } | OperationState::Withdrawn { .. }) => {}
                Some(OperationState::Running(_)) | None => {
                    return Err(ApplyError::OperationState(*operation));
                }
            }
        }
        for operation in operations {
            let token = match self.operations.remove(operation) {
                Some(OperationState::Finished { began, .. } | OperationState::Running(began)) => began.token,
                Some(OperationState::Withdrawn { token }) => token,
                None => continue,
            };
            if token >= self.highest_token {
                self.retired.insert(*operation, token);
            }
        }
        Ok(())
    }

    fn carry(&mut self, carried: &Carried) {
        match carried {
            Carried::Operation { operation, state } => {
                self.operations.insert(*operation, state.clone());
            }
            Carried::Retired { operations } => self.retired.extend(operations),
            Carried::Server { server, log } => {
                self.servers.insert(*server, log.clone());
            }
        }
    }

    /// The server's log after naming a new epoch for it.
    pub(super) fn use_epoch(&mut self, server: ServerId, epoch: Epoch) -> Result<&mut ServerLog, ApplyError> {
        let highest = self.highest_epoch(server);
        if highest.is_some_and(|highest| epoch <= highest) {
            return Err(ApplyError::EpochUsed {
                server,
                epoch,
                highest: highest.unwrap_or(epoch),
            });
        }
        let log = self.servers.entry(server).or_default();
        log.highest_epoch = epoch;
        Ok(log)
    }

    /// The life of this log, once it is opened.
    #[must_use]
    pub fn incarnation(&self) -> Option<IncarnationId> {
        self.opened.as_ref().map(|(incarnation, _)| *incarnation)
    }

    /// The host this log belongs to, once it is opened.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        self.opened.as_ref().map(|(_, host)| host)
    }

    /// Whether its epochs are void until the host is readmitted.
    #[must_use]
    pub const fn is_void(&self) -> bool {
        self.voided
    }

    /// The highest token seen.
    #[must_use]
    pub const fn highest_token(&self) -> FencingToken {
        self.highest_token
    }

    /// The epoch under which this host may run the server; `None` also while the log is void.
    #[must_use]
    pub fn held_epoch(&self, server: ServerId) -> Option<Epoch> {
        self.servers.get(&server)?.held.filter(|_| !self.voided)
    }

    /// The highest epoch ever named for the server here.
    #[must_use]
    pub fn highest_epoch(&self, server: ServerId) -> Option<Epoch> {
        self.servers.get(&server).map(|log| log.highest_epoch)
    }

    /// The power state the server shall have.
    #[must_use]
    pub fn wanted_power(&self, server: ServerId) -> Option<WantedPower> {
        self.servers.get(&server)?.wanted
    }

    /// The latest desired state that an admitted operation on the server belonged to.
    #[must_use]
    pub fn generation(&self, server: ServerId) -> Option<Generation> {
        self.servers.get(&server)?.generation
    }

    /// Every server the log knows, deleted and handed-over ones included.
    pub fn servers(&self) -> impl Iterator<Item = (ServerId, &ServerLog)> {
        self.servers.iter().map(|(server, log)| (*server, log))
    }

    /// What is known of an operation that is not acknowledged.
    #[must_use]
    pub fn operation(&self, operation: OperationId) -> Option<&OperationState> {
        self.operations.get(&operation)
    }

    /// Every operation that is not acknowledged.
    pub fn operations(&self) -> impl Iterator<Item = (OperationId, &OperationState)> {
        self.operations
            .iter()
            .map(|(operation, state)| (*operation, state))
    }

    /// Whether the operation was acknowledged, as long as its request is not yet stale.
    #[must_use]
    pub fn is_retired(&self, operation: OperationId) -> bool {
        self.retired.contains_key(&operation)
    }

    /// The result of an operation that ended and is not acknowledged.
    #[must_use]
    pub fn outcome(&self, operation: OperationId) -> Option<&Outcome> {
        match self.operations.get(&operation)? {
            OperationState::Finished { outcome, .. } => Some(outcome),
            OperationState::Running(_) | OperationState::Withdrawn { .. } => None,
        }
    }

    /// Every operation that began and has no result.
    pub fn running(&self) -> impl Iterator<Item = &Began> {
        self.operations.values().filter_map(|state| match state {
            OperationState::Running(began) => Some(&**began),
            OperationState::Finished { .. } | OperationState::Withdrawn { .. } => None,
        })
    }

    /// The operation that runs on the server.
    #[must_use]
    pub fn running_on(&self, server: ServerId) -> Option<&Began> {
        self.running().find(|began| began.server == Some(server))
    }

    /// How far a hand-over came.
    #[must_use]
    pub fn handover(&self, server: ServerId, operation: OperationId) -> Option<&HandoverLog> {
        self.servers.get(&server)?.handovers.get(&operation)
    }

    /// Every hand-over that is not settled.
    pub fn handovers(&self) -> impl Iterator<Item = (ServerId, OperationId, &HandoverLog)> {
        self.servers.iter().flat_map(|(server, log)| {
            log.handovers
                .iter()
                .map(|(operation, handover)| (*server, *operation, handover))
        })
    }

    /// Who decides about the server's domain at the moment, for [`crate::power::decide_start`].
    #[must_use]
    pub fn standing(&self, server: ServerId) -> Standing {
        if self.voided {
            return Standing::Void;
        }
        if self
            .servers
            .get(&server)
            .is_some_and(|log| !log.handovers.is_empty())
        {
            return Standing::HandingOver;
        }
        if self.running_on(server).is_some() {
            Standing::Busy
        } else {
            Standing::Settled
        }
    }

    /// Whether this log itself proves that another host holds the server whose copy here is `marked`: it
    /// was held here and went elsewhere. A copy marked with the epoch under which it went, or a later one, is
    /// none that stayed behind: somebody brought it back from its holder, and the log proves nothing of it.
    #[must_use]
    pub fn other_holder(&self, server: ServerId, marked: Option<Epoch>) -> OtherHolder {
        match self.servers.get(&server).and_then(|log| log.released) {
            Some(released) if marked.is_none_or(|marked| marked < released) => OtherHolder::Proven,
            Some(_) | None => OtherHolder::NotProven,
        }
    }
}
