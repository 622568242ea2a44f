//! The store's side of an apply: what is to be written goes into one transaction after the other.

use super::event::{Command, JournalStep, Ticket};
use super::node::{InFlight, Pending, Stand};
use super::state::{Outputs, State};
use super::write::RecordWrite;
use crate::model::OutputRecord;
use crate::record::{Compare, FORMAT, Guard, Key, Transaction, Write};
use drover_types::{HostName, OperationId};
use std::collections::{BTreeMap, BTreeSet};

/// Records in one transaction: with the lock and `meta` well below etcd's limit of 128 operations.
const MAX_WRITES: usize = 100;

/// Bytes in one transaction, below etcd's limit of 1.5 MiB per request with room for keys.
const MAX_BYTES: usize = 1 << 20;

impl State {
    fn writes_for(&self, pending: &Pending) -> Vec<RecordWrite> {
        let writer = self.writer();
        match pending {
            Pending::Intent(at) => writer.intent(&self.nodes[*at]),
            Pending::Retry(at, failure) => {
                let mut next = self.nodes[*at].clone();
                next.candidate += 1;
                writer.retry(&self.nodes[*at], failure, &next)
            }
            Pending::Success(at, result) => writer.success(&self.nodes[*at], result),
            Pending::Failure(at, failure) => writer.failure(&self.nodes[*at], failure),
            Pending::Record(at) => writer.record(&self.nodes[*at]),
            Pending::Prune(operations) => operations
                .iter()
                .map(|id| RecordWrite::Operation(*id, None))
                .collect(),
            Pending::Detach(operations) => writer.detach(operations),
            Pending::Outputs => self
                .plan
                .outputs
                .iter()
                .map(|(name, change)| {
                    let record = change.after.as_ref().and_then(|after| {
                        after.value.clone().map(|value| OutputRecord {
                            format: FORMAT,
                            value,
                            sensitive: after.sensitive,
                        })
                    });
                    RecordWrite::Output(name.clone(), record)
                })
                .collect(),
        }
    }

    /// Sends the next transaction, unless one is under way.
    pub(super) fn flush(&mut self, out: &mut Vec<Command>) {
        while self.in_flight.is_none() && !self.finished {
            let Some(batch) = self.next_batch() else {
                return;
            };
            if batch.iter().all(|(_, writes)| writes.is_empty()) {
                // Nothing to write, for example because there is nothing left to detach.
                for (pending, _) in batch {
                    self.written(pending, out);
                }
                self.schedule(out);
                continue;
            }
            let Some((meta, _)) = &self.fleet.meta else {
                let reason = "the store has no meta record although its lock is held".to_owned();
                self.finish(super::event::Ending::StoreUnavailable(reason), out);
                return;
            };
            let mut meta = meta.clone();
            meta.drover_version.clone_from(&self.plan.drover_version);
            meta.apply = Some(crate::model::ApplyMark {
                plan: self.plan.digest,
                parent: self.plan.parent.meta_revision,
            });
            let mut compares = vec![Compare {
                key: self.layout.lock(),
                guard: Guard::CreateRevision(self.lock.create_revision),
            }];
            let mut writes = vec![self.layout.put_meta(&meta)];
            for write in batch.iter().flat_map(|(_, writes)| writes) {
                let key = write.key(&self.layout);
                let guard = self
                    .fleet
                    .revision_of(&key)
                    .map_or(Guard::Absent, Guard::ModRevision);
                writes.push(write.write(&self.layout));
                compares.push(Compare { key, guard });
            }
            let ticket = self.ticket();
            self.in_flight = Some(InFlight { ticket, batch });
            out.push(Command::Commit {
                ticket,
                transaction: Transaction { compares, writes },
            });
        }
    }

    /// Takes as much from the queue as fits into one transaction, and writes no key twice.
    fn next_batch(&mut self) -> Option<Vec<(Pending, Vec<RecordWrite>)>> {
        let mut batch = Vec::new();
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        let mut bytes = 0;
        while let Some(pending) = self.queue.front() {
            let writes = self.writes_for(pending);
            let own: Vec<Key> = writes.iter().map(|write| write.key(&self.layout)).collect();
            let size: usize = writes
                .iter()
                .map(|write| match write.write(&self.layout) {
                    Write::Put { key, value } => key.as_str().len() + value.len(),
                    Write::Delete { key } => key.as_str().len(),
                })
                .sum();
            let full = keys.len() + own.len() > MAX_WRITES || bytes + size > MAX_BYTES;
            let overlaps = own.iter().any(|key| keys.contains(key));
            if !batch.is_empty() && (full || overlaps || self.singly > 0) {
                break;
            }
            bytes += size;
            keys.extend(own);
            let pending = self.queue.pop_front().expect("the front was just looked at");
            batch.push((pending, writes));
        }
        self.singly = self.singly.saturating_sub(batch.len());
        (!batch.is_empty()).then_some(batch)
    }

    pub(super) fn committed(&mut self, ticket: Ticket, revision: u64, out: &mut Vec<Command>) {
        let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.ticket == ticket) else {
            return;
        };
        self.fleet.revision = self.fleet.revision.max(revision);
        if let Some((meta, at)) = &mut self.fleet.meta {
            *at = revision;
            meta.apply = Some(crate::model::ApplyMark {
                plan: self.plan.digest,
                parent: self.plan.parent.meta_revision,
            });
        }
        let mut thanks: BTreeMap<HostName, Vec<OperationId>> = BTreeMap::new();
        for (pending, writes) in in_flight.batch {
            for write in writes {
                write.apply(&self.layout, &mut self.fleet, revision);
            }
            self.thank(&pending, &mut thanks);
            self.written(pending, out);
        }
        for (host, operations) in thanks {
            out.push(Command::Acknowledge { host, operations });
        }
    }

    /// Notes whom to tell that a result is recorded.
    fn thank(&self, pending: &Pending, thanks: &mut BTreeMap<HostName, Vec<OperationId>>) {
        let at = match pending {
            Pending::Success(at, _) => *at,
            Pending::Failure(at, failure) | Pending::Retry(at, failure) if failure.logged => *at,
            Pending::Failure(..)
            | Pending::Retry(..)
            | Pending::Intent(_)
            | Pending::Record(_)
            | Pending::Prune(_)
            | Pending::Detach(_)
            | Pending::Outputs => return,
        };
        let node = &self.nodes[at];
        for host in node.host().into_iter().chain(node.destination()) {
            thanks.entry(host.clone()).or_default().push(node.operation());
        }
    }

    /// Goes on after a write.
    fn written(&mut self, pending: Pending, out: &mut Vec<Command>) {
        match pending {
            Pending::Intent(at) => self.call(at, out),
            Pending::Retry(at, failure) => {
                let from = self.nodes[at].host().cloned();
                self.free_places(at);
                let node = &mut self.nodes[at];
                node.candidate += 1;
                node.withdrew = false;
                node.refused = None;
                node.maybe_sent = false;
                self.take_places(at);
                if let (Some(from), Some(to)) = (from, self.nodes[at].host().cloned()) {
                    out.push(Command::Report(super::event::ProgressEvent::NextAlternate {
                        address: self.nodes[at].action.address.clone(),
                        from,
                        to,
                        why: failure.message,
                    }));
                }
                self.call(at, out);
            }
            Pending::Success(at, _) => {
                self.report_step(at, JournalStep::Recorded, out);
                self.succeed(at, out);
            }
            Pending::Record(at) => self.succeed(at, out),
            Pending::Failure(at, failure) => {
                // What was left open is settled now, whichever way it ended.
                if self.nodes[at].settles {
                    self.succeed(at, out);
                } else {
                    let mut reported = self.failure_of(at, failure.message);
                    reported.code = failure.code;
                    reported.hint = failure.hint;
                    self.give_up(at, &reported, out);
                }
            }
            Pending::Prune(_) | Pending::Detach(_) => {}
            Pending::Outputs => self.outputs = Outputs::Written,
        }
    }

    pub(super) fn conflicted(&mut self, ticket: Ticket, keys: &[Key], out: &mut Vec<Command>) {
        let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.ticket == ticket) else {
            return;
        };
        if keys.contains(&self.layout.lock()) {
            let reason = "its key was replaced".to_owned();
            self.finish(super::event::Ending::LockLost(reason), out);
            return;
        }
        let several = in_flight.batch.len() > 1;
        if keys.is_empty() && several {
            self.singly = in_flight.batch.len();
        }
        let mut again = Vec::new();
        for (pending, writes) in in_flight.batch {
            let hit = if keys.is_empty() {
                !several
            } else {
                writes.iter().any(|write| keys.contains(&write.key(&self.layout)))
            };
            if hit {
                self.clash(&pending, out);
            } else {
                again.push(pending);
            }
        }
        for pending in again.into_iter().rev() {
            self.queue.push_front(pending);
        }
    }

    /// Somebody else changed a record that an action was about to write.
    fn clash(&mut self, pending: &Pending, out: &mut Vec<Command>) {
        let (at, unknown) = match pending {
            Pending::Intent(at) | Pending::Record(at) => (*at, false),
            Pending::Retry(at, _) | Pending::Success(at, _) | Pending::Failure(at, _) => (*at, true),
            Pending::Prune(_) | Pending::Detach(_) => return,
            Pending::Outputs => {
                self.outputs = Outputs::Written;
                return;
            }
        };
        let message = if unknown {
            "its record was changed by somebody else while it ran, and its result could not be written"
        } else {
            "its record was changed by somebody else"
        };
        let mut failure = self.failure_of(at, message.to_owned());
        failure.unknown = unknown;
        "plan again".clone_into(&mut failure.hint);
        self.stand(at, Stand::Failed);
        self.give_up(at, &failure, out);
    }
}
