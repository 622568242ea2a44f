//! The beginning of an apply, and of each action: what is open is settled first, then what is ready begins.

use super::event::{Command, Event, HeldLock, JournalStep, ProgressEvent};
use super::journal::Journaled;
use super::node::{Failure, Joined, Node, Pending, Stand};
use super::precondition::{Check, check};
use super::state::{Outputs, State};
use crate::model::{OperationRecord, OperationStatus, RecordedFleet};
use crate::plan::ActionKind;
use drover_types::{HostName, OperationId};
use std::collections::BTreeMap;

/// How many journal entries are forgotten in one transaction.
const PRUNED_AT_ONCE: usize = 40;

fn is_open(record: &OperationRecord) -> bool {
    match record.status {
        OperationStatus::Intent | OperationStatus::Detached => true,
        OperationStatus::Succeeded | OperationStatus::Failed { .. } => false,
    }
}

impl State {
    pub(super) fn take(&mut self, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Started { now, lock, recorded } => self.start(now, lock, *recorded, out),
            Event::Interrupt { now } => self.interrupt(now, out),
            Event::LockLost { reason } => {
                self.finish(super::event::Ending::LockLost(reason), out);
            }
            Event::Committed { ticket, revision } => self.committed(ticket, revision, out),
            Event::CommitConflict { ticket, keys } => self.conflicted(ticket, &keys, out),
            Event::StoreUnavailable { reason, .. } => {
                self.finish(super::event::Ending::StoreUnavailable(reason), out);
            }
            Event::Accepted { .. }
            | Event::Progress { .. }
            | Event::Succeeded { .. }
            | Event::Failed { .. }
            | Event::NeverSent { .. }
            | Event::Lost { .. }
            | Event::NotFound { .. }
            | Event::Withdrawn { .. } => self.answer(event, out),
        }
    }

    fn start(&mut self, now: String, lock: HeldLock, recorded: RecordedFleet, out: &mut Vec<Command>) {
        if self.started {
            return;
        }
        self.started = true;
        self.now = now;
        self.lock = lock;
        self.fleet = recorded;
        let position: BTreeMap<OperationId, usize> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (node.action.id, at))
            .collect();
        let joined: BTreeMap<OperationId, usize> = (self.plan.joins.iter().enumerate())
            .map(|(at, join)| (join.id, at))
            .collect();
        for join in &self.plan.joins {
            let members = join.depends_on.iter().filter_map(|id| position.get(id));
            let mut waits = 0;
            for member in members {
                self.nodes[*member].joins.push(self.joins.len());
                waits += 1;
            }
            self.joins.push(Joined {
                waits,
                dependents: Vec::new(),
            });
        }
        for at in 0..self.nodes.len() {
            let needs = self.nodes[at].action.depends_on.clone();
            for id in &needs {
                if let Some(dependency) = position.get(id) {
                    self.nodes[*dependency].dependents.push(at);
                } else if let Some(join) = joined.get(id).filter(|join| self.joins[**join].waits > 0) {
                    self.joins[*join].dependents.push(at);
                } else {
                    continue;
                }
                self.nodes[at].waits += 1;
            }
        }
        self.prune(out);
        for at in 0..self.nodes.len() {
            if self.nodes[at].waits == 0 {
                self.make_ready(at);
            }
        }
        for at in 0..self.nodes.len() {
            self.resume(at, out);
        }
    }

    /// Forgets journal entries of earlier applies that are over. Their hosts are told once more that the results
    /// are recorded: the apply may have died before it could say so, and nobody asks about them after this.
    fn prune(&mut self, out: &mut Vec<Command>) {
        let mut over: Vec<OperationId> = Vec::new();
        let mut thanks: BTreeMap<HostName, Vec<OperationId>> = BTreeMap::new();
        let ended = |record: &&OperationRecord| !is_open(record) && record.plan != self.plan_id;
        for record in self.fleet.operations.values().filter(ended) {
            over.push(record.id);
            let journaled = Journaled::read(record).ok();
            let destination = journaled.and_then(|entry| Node::new(entry.action).destination().cloned());
            for host in [Some(record.host.clone()), destination].into_iter().flatten() {
                thanks.entry(host).or_default().push(record.id);
            }
        }
        for (host, operations) in thanks {
            out.push(Command::Acknowledge { host, operations });
        }
        for chunk in over.chunks(PRUNED_AT_ONCE) {
            self.queue.push_back(Pending::Prune(chunk.to_vec()));
        }
    }

    fn unready(&mut self, at: usize) {
        self.ready_records.remove(&at);
        for set in self.ready_on.values_mut() {
            set.remove(&at);
        }
    }

    /// Looks into the journal for what was begun of this action before.
    fn resume(&mut self, at: usize, out: &mut Vec<Command>) {
        if let ActionKind::Settle { operation, .. } = self.nodes[at].action.kind {
            self.settle(at, operation, out);
            return;
        }
        let operations: Vec<OperationId> = match &self.nodes[at].action.kind {
            ActionKind::CreateServer { candidates, .. } => {
                candidates.iter().map(|candidate| candidate.operation).collect()
            }
            _ => vec![self.nodes[at].action.id],
        };
        let last = operations.iter().enumerate().rev().find_map(|(candidate, id)| {
            self.fleet
                .operations
                .get(id)
                .map(|record| (candidate, record.clone()))
        });
        let Some((candidate, record)) = last else {
            return;
        };
        self.nodes[at].candidate = candidate;
        match record.status {
            OperationStatus::Intent | OperationStatus::Detached => {
                self.unready(at);
                self.nodes[at].maybe_sent = true;
                self.take_places(at);
                self.unsettled.insert(at);
                self.watch(at, out);
            }
            OperationStatus::Succeeded => {
                self.unready(at);
                self.was_done(at, out);
            }
            OperationStatus::Failed { reason } => {
                let more = candidate + 1 < operations.len();
                if more {
                    self.nodes[at].candidate = candidate + 1;
                    if self.nodes[at].stand == Stand::Ready {
                        self.unready(at);
                        self.nodes[at].stand = Stand::Waiting;
                        self.make_ready(at);
                    }
                } else {
                    self.unready(at);
                    let failure = self.failure_of(at, reason);
                    self.give_up(at, &failure, out);
                }
            }
        }
    }

    fn settle(&mut self, at: usize, operation: OperationId, out: &mut Vec<Command>) {
        self.unready(at);
        let Some(record) = self
            .fleet
            .operations
            .get(&operation)
            .filter(|record| is_open(record))
        else {
            self.was_done(at, out);
            return;
        };
        match Journaled::read(record) {
            Ok(journaled) => {
                let before = self.nodes[at].clone();
                let mut node = Node::new(journaled.action);
                (node.planned, node.dependents, node.joins) =
                    (before.planned, before.dependents, before.joins);
                node.candidate = journaled.candidate;
                node.settles = true;
                node.maybe_sent = true;
                self.nodes[at] = node;
                self.take_places(at);
                self.unsettled.insert(at);
                self.watch(at, out);
            }
            Err(error) => {
                let failure = self.failure_of(at, format!("its journal entry cannot be read: {error}"));
                self.give_up(at, &failure, out);
            }
        }
    }

    /// Begins what is ready, as far as places are free; nothing before all that was open is settled.
    pub(super) fn schedule(&mut self, out: &mut Vec<Command>) {
        if self.stopping || !self.unsettled.is_empty() {
            return;
        }
        while let Some(at) = self.ready_records.pop_first() {
            self.begin(at, out);
        }
        loop {
            let Some((host, at)) = self.next_ready() else {
                return;
            };
            if let Some(set) = self.ready_on.get_mut(&host) {
                set.remove(&at);
            }
            self.begin(at, out);
            while let Some(at) = self.ready_records.pop_first() {
                self.begin(at, out);
            }
        }
    }

    fn has_place(&self, host: &HostName) -> bool {
        self.running_on.get(host).copied().unwrap_or(0) < self.limits.per_host
    }

    fn next_ready(&self) -> Option<(HostName, usize)> {
        /// How far a host's queue is searched for a migration whose destination is free.
        const LOOK_AHEAD: usize = 16;
        if self.running >= self.limits.parallelism {
            return None;
        }
        self.ready_on
            .iter()
            .filter(|(host, _)| self.has_place(host))
            .filter_map(|(host, ready)| {
                let at = ready
                    .iter()
                    .take(LOOK_AHEAD)
                    .copied()
                    .find(|at| self.nodes[*at].destination().is_none_or(|to| self.has_place(to)))?;
                Some((at, host))
            })
            // The plan's order decides, so that no host is served before all others.
            .min()
            .map(|(at, host)| (host.clone(), at))
    }

    fn begin(&mut self, at: usize, out: &mut Vec<Command>) {
        match check(&self.nodes[at], &self.fleet) {
            Check::Done => self.was_done(at, out),
            Check::Conflict { expected, found } => {
                let mut failure =
                    self.failure_of(at, format!("expected that {expected}, and found that {found}"));
                "plan again".clone_into(&mut failure.hint);
                self.give_up(at, &failure, out);
            }
            Check::Ready => {
                let pending = if self.nodes[at].request().is_some() {
                    self.take_places(at);
                    Pending::Intent(at)
                } else {
                    Pending::Record(at)
                };
                self.stand(at, Stand::Writing);
                self.report_step(at, JournalStep::WritingIntent, out);
                self.queue.push_back(pending);
            }
        }
    }

    /// After a failed fetch: creates that can go to an alternate do, the others are returned.
    pub(super) fn creates_elsewhere(
        &mut self,
        fetch: usize,
        dependents: Vec<usize>,
        failure: &super::event::ActionFailure,
    ) -> Vec<usize> {
        let mut lost = Vec::new();
        for dependent in dependents {
            let node = &self.nodes[dependent];
            let alternate = match &node.action.kind {
                ActionKind::CreateServer { candidates, .. } => candidates.len() > node.candidate + 1,
                _ => false,
            };
            if node.stand != Stand::Waiting || !alternate || node.host() != self.nodes[fetch].host() {
                lost.push(dependent);
                continue;
            }
            let reason = Failure {
                code: failure.code,
                message: failure.message.clone(),
                hint: String::new(),
                logged: false,
            };
            let tried = self.writer().tried(node, &reason);
            let node = &mut self.nodes[dependent];
            node.tried.extend(tried);
            node.candidate += 1;
            node.waits -= 1;
            if node.waits == 0 {
                self.make_ready(dependent);
            }
        }
        lost
    }

    fn interrupt(&mut self, now: String, out: &mut Vec<Command>) {
        self.now = now;
        if self.stopping {
            self.detaching = true;
            let open = self.open_operations();
            self.queue.retain(|pending| match pending {
                Pending::Success(..) | Pending::Failure(..) => true,
                Pending::Intent(_)
                | Pending::Retry(..)
                | Pending::Record(_)
                | Pending::Prune(_)
                | Pending::Detach(_)
                | Pending::Outputs => false,
            });
            for chunk in open.chunks(PRUNED_AT_ONCE) {
                self.queue.push_back(Pending::Detach(chunk.to_vec()));
            }
            return;
        }
        self.stopping = true;
        let mut dropped = Vec::new();
        self.queue.retain(|pending| match pending {
            Pending::Intent(at) | Pending::Record(at) => {
                dropped.push(*at);
                false
            }
            Pending::Retry(..)
            | Pending::Success(..)
            | Pending::Failure(..)
            | Pending::Prune(_)
            | Pending::Detach(_)
            | Pending::Outputs => true,
        });
        for at in dropped {
            self.stand(at, Stand::NotBegun);
            self.not_begun.push((
                self.nodes[at].action.address.clone(),
                "the apply was stopped".to_owned(),
            ));
        }
        out.push(Command::Report(ProgressEvent::Stopping {
            running: self.under_way.len(),
        }));
    }

    /// Ends the apply once nothing is under way and nothing more may begin.
    pub(super) fn maybe_finish(&mut self, out: &mut Vec<Command>) {
        use super::event::Ending;
        if self.finished || self.in_flight.is_some() || !self.queue.is_empty() {
            return;
        }
        if self.detaching {
            self.finish(Ending::Detached, out);
            return;
        }
        if !self.under_way.is_empty() {
            return;
        }
        if self.stopping {
            self.finish(Ending::Interrupted, out);
            return;
        }
        let whole = self.failed.is_empty() && self.not_begun.is_empty();
        if whole && self.outputs == Outputs::Pending && !self.plan.outputs.is_empty() {
            self.outputs = Outputs::Writing;
            self.queue.push_back(Pending::Outputs);
            self.flush(out);
            return;
        }
        self.finish(Ending::Finished, out);
    }
}
