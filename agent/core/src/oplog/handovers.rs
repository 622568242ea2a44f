//! How the records of a hand-over follow from one another: released xor aborted, never acquired and
//! declined, no epoch twice.

use super::record::{Record, ServerLog};
use super::state::{ApplyError, State};
use crate::handover::{DestinationLog, HandoverLog, HandoverSide, SourceLog};
use drover_types::{Epoch, OperationId, ServerId};

impl State {
    pub(super) fn apply_handover(&mut self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::Offered {
                server,
                operation,
                epoch,
                fallback,
                to,
                mode,
            } => {
                let held = self.servers.get(server).is_some_and(|log| log.held.is_some());
                if !held {
                    return Err(ApplyError::NotHeld {
                        server: *server,
                        record: "offered",
                    });
                }
                self.open_handover(
                    *server,
                    *operation,
                    *epoch,
                    "offered",
                    HandoverLog {
                        epoch: *epoch,
                        peer: to.clone(),
                        mode: *mode,
                        side: HandoverSide::Source {
                            log: SourceLog::Offered,
                            fallback: *fallback,
                        },
                    },
                )?;
                // Both are named here first; the fallback may be used by `reclaimed` alone.
                if let Some(log) = self.servers.get_mut(server) {
                    log.highest_epoch = log.highest_epoch.max(*fallback);
                }
                Ok(())
            }
            Record::PreparedIncoming {
                server,
                operation,
                epoch,
                from,
                mode,
            } => {
                if self.servers.get(server).is_some_and(|log| log.held.is_some()) {
                    return Err(bad(*server, *operation, "prepared_incoming"));
                }
                self.open_handover(
                    *server,
                    *operation,
                    *epoch,
                    "prepared_incoming",
                    HandoverLog {
                        epoch: *epoch,
                        peer: from.clone(),
                        mode: *mode,
                        side: HandoverSide::Destination(DestinationLog::Prepared),
                    },
                )
            }
            Record::Transferred { server, operation } => {
                self.source(*server, *operation, "transferred", None, |log, _| match log {
                    SourceLog::Offered => Some(SourceLog::Transferred),
                    SourceLog::Transferred
                    | SourceLog::Released
                    | SourceLog::Aborted
                    | SourceLog::PeerAcquired
                    | SourceLog::Reclaimed => None,
                })
            }
            Record::Released {
                server,
                operation,
                epoch,
                to: _,
            } => self.source(*server, *operation, "released", Some(*epoch), |log, server| {
                undecided(log).then(|| {
                    server.held = None;
                    server.released = Some(*epoch);
                    SourceLog::Released
                })
            }),
            Record::Aborted {
                server,
                operation,
                epoch,
            } => self.source(*server, *operation, "aborted", Some(*epoch), |log, _| {
                undecided(log).then_some(SourceLog::Aborted)
            }),
            Record::PeerAcquired { server, operation } => {
                self.source(*server, *operation, "peer_acquired", None, |log, _| {
                    (log == SourceLog::Released).then_some(SourceLog::PeerAcquired)
                })
            }
            Record::Reclaimed {
                server,
                operation,
                epoch,
            } => {
                let fallback = match self.handover(*server, *operation).map(|handover| handover.side) {
                    Some(HandoverSide::Source { fallback, .. }) => Some(fallback),
                    Some(HandoverSide::Destination(_)) | None => None,
                };
                if fallback != Some(*epoch) {
                    return Err(bad(*server, *operation, "reclaimed"));
                }
                self.source(*server, *operation, "reclaimed", None, |log, server| {
                    (log == SourceLog::Released).then(|| {
                        server.held = Some(*epoch);
                        server.released = None;
                        SourceLog::Reclaimed
                    })
                })
            }
            Record::Ready {
                server,
                operation,
                epoch,
            } => self.destination(*server, *operation, "ready", *epoch, |log, _| {
                (log == DestinationLog::Prepared).then_some(DestinationLog::Ready)
            }),
            Record::Acquired {
                server,
                operation,
                epoch,
                power,
            } => self.destination(*server, *operation, "acquired", *epoch, |log, server| {
                (log == DestinationLog::Ready).then(|| {
                    server.held = Some(*epoch);
                    server.wanted = Some(*power);
                    server.gone = false;
                    server.released = None;
                    DestinationLog::Acquired(*power)
                })
            }),
            Record::Declined {
                server,
                operation,
                epoch,
            } => self.destination(*server, *operation, "declined", *epoch, |log, _| match log {
                DestinationLog::Prepared | DestinationLog::Ready => Some(DestinationLog::Declined),
                DestinationLog::Acquired(_)
                | DestinationLog::Declined
                | DestinationLog::DeclinedDiscarded
                | DestinationLog::Discarded => None,
            }),
            Record::Discarded {
                server,
                operation,
                epoch,
            } => self.destination(*server, *operation, "discarded", *epoch, |log, _| match log {
                DestinationLog::Prepared | DestinationLog::Ready => Some(DestinationLog::Discarded),
                DestinationLog::Declined => Some(DestinationLog::DeclinedDiscarded),
                DestinationLog::Acquired(_)
                | DestinationLog::DeclinedDiscarded
                | DestinationLog::Discarded => None,
            }),
            Record::Settled { server, operation } => self.settle(*server, *operation),
            Record::Opened { .. }
            | Record::EpochsVoided
            | Record::Readmitted { .. }
            | Record::TokenSeen { .. }
            | Record::Began(_)
            | Record::Finished { .. }
            | Record::Withdrawn { .. }
            | Record::Acknowledged { .. }
            | Record::EpochGranted { .. }
            | Record::PowerWanted { .. }
            | Record::Gone { .. }
            | Record::Carried(_) => Ok(()),
        }
    }

    fn open_handover(
        &mut self,
        server: ServerId,
        operation: OperationId,
        epoch: Epoch,
        record: &'static str,
        handover: HandoverLog,
    ) -> Result<(), ApplyError> {
        if self
            .servers
            .get(&server)
            .is_some_and(|log| !log.handovers.is_empty())
        {
            return Err(bad(server, operation, record));
        }
        if let HandoverSide::Source { fallback, .. } = handover.side
            && fallback <= epoch
        {
            return Err(bad(server, operation, record));
        }
        self.use_epoch(server, epoch)?
            .handovers
            .insert(operation, handover);
        Ok(())
    }

    fn source(
        &mut self,
        server: ServerId,
        operation: OperationId,
        record: &'static str,
        epoch: Option<Epoch>,
        follow: impl FnOnce(SourceLog, &mut ServerLog) -> Option<SourceLog>,
    ) -> Result<(), ApplyError> {
        let error = || bad(server, operation, record);
        let log = self.servers.get_mut(&server).ok_or_else(error)?;
        let mut handover = log.handovers.get(&operation).cloned().ok_or_else(error)?;
        if epoch.is_some_and(|epoch| epoch != handover.epoch) {
            return Err(error());
        }
        match &mut handover.side {
            HandoverSide::Source { log: side, .. } => *side = follow(*side, log).ok_or_else(error)?,
            HandoverSide::Destination(_) => return Err(error()),
        }
        log.handovers.insert(operation, handover);
        Ok(())
    }

    fn destination(
        &mut self,
        server: ServerId,
        operation: OperationId,
        record: &'static str,
        epoch: Epoch,
        follow: impl FnOnce(DestinationLog, &mut ServerLog) -> Option<DestinationLog>,
    ) -> Result<(), ApplyError> {
        let error = || bad(server, operation, record);
        let log = self.servers.get_mut(&server).ok_or_else(error)?;
        let mut handover = log.handovers.get(&operation).cloned().ok_or_else(error)?;
        if epoch != handover.epoch {
            return Err(error());
        }
        match &mut handover.side {
            HandoverSide::Destination(side) => *side = follow(*side, log).ok_or_else(error)?,
            HandoverSide::Source { .. } => return Err(error()),
        }
        log.handovers.insert(operation, handover);
        Ok(())
    }

    fn settle(&mut self, server: ServerId, operation: OperationId) -> Result<(), ApplyError> {
        let settled = match self.handover(server, operation).map(|handover| handover.side) {
            Some(HandoverSide::Source { log, .. }) => match log {
                SourceLog::Aborted | SourceLog::PeerAcquired | SourceLog::Reclaimed => true,
                SourceLog::Offered | SourceLog::Transferred | SourceLog::Released => false,
            },
            Some(HandoverSide::Destination(log)) => match log {
                DestinationLog::Acquired(_)
                | DestinationLog::DeclinedDiscarded
                | DestinationLog::Discarded => true,
                DestinationLog::Prepared | DestinationLog::Ready | DestinationLog::Declined => false,
            },
            None => false,
        };
        let log = self.servers.get_mut(&server).filter(|_| settled);
        log.ok_or_else(|| bad(server, operation, "settled"))?
            .handovers
            .remove(&operation);
        Ok(())
    }
}

const fn bad(server: ServerId, operation: OperationId, record: &'static str) -> ApplyError {
    ApplyError::Handover {
        server,
        operation,
        record,
    }
}

const fn undecided(log: SourceLog) -> bool {
    match log {
        SourceLog::Offered | SourceLog::Transferred => true,
        SourceLog::Released | SourceLog::Aborted | SourceLog::PeerAcquired | SourceLog::Reclaimed => false,
    }
}
