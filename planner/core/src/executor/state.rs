//! The executor's state and its step.
//!
//! ```text
//! Started ─► settle open operations ─► begin what is ready, as places allow ─► outputs ─► Finish
//!
//! one action:  intent committed ─► agent asked ─► result ─► result committed ─► acknowledged
//!                                      │ lost
//!                                      └─► withdraw ─► refused for ever: it failed, an alternate may follow
//!                                              └─► it had begun: watch, its result decides
//!                                              └─► lost again: unknown, the next apply settles it
//! ```
//!
//! One commit is under way at a time; what comes meanwhile goes into the next as one batch.

use super::event::{
    ActionFailure, Command, Ending, Event, HeldLock, JournalStep, ProgressEvent, Summary, Ticket,
};
use super::node::{InFlight, Joined, Node, Pending, Stand};
use super::records::Writer;
use crate::model::{OperationStatus, RecordedFleet};
use crate::plan::Plan;
use crate::record::Layout;
use drover_types::{Address, HostName, InstanceKey, OperationId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How much happens at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Operations in all.
    pub parallelism: usize,
    /// Operations on one host.
    pub per_host: usize,
}

impl Default for Limits {
    /// Ten in all, as Terraform; five on one host.
    fn default() -> Self {
        Self {
            parallelism: 10,
            per_host: 5,
        }
    }
}

/// The host that a host's address names.
pub(super) fn host_of(address: &Address) -> HostName {
    let text = match &address.key {
        Some(InstanceKey::Key(name)) => name.as_str(),
        Some(InstanceKey::Index(_)) | None => address.name.as_str(),
    };
    text.parse()
        .expect("a plan makes the addresses of hosts from their names")
}

/// Where outputs stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outputs {
    Pending,
    Writing,
    Written,
}

/// An apply.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) plan: Arc<Plan>,
    pub(super) plan_id: String,
    pub(super) layout: Layout,
    pub(super) limits: Limits,
    pub(super) started: bool,
    pub(super) now: String,
    pub(super) lock: HeldLock,
    pub(super) fleet: RecordedFleet,
    pub(super) nodes: Vec<Node>,
    pub(super) joins: Vec<Joined>,
    pub(super) by_operation: BTreeMap<OperationId, usize>,
    pub(super) queue: VecDeque<Pending>,
    pub(super) in_flight: Option<InFlight>,
    /// A commit of several failed, nobody knows by whom: they go one by one.
    pub(super) singly: usize,
    pub(super) next_ticket: u64,
    pub(super) ready_on: BTreeMap<HostName, BTreeSet<usize>>,
    pub(super) ready_records: BTreeSet<usize>,
    pub(super) running: usize,
    pub(super) running_on: BTreeMap<HostName, usize>,
    /// Begun and not over.
    pub(super) under_way: BTreeSet<usize>,
    /// Open operations of earlier commands, or of an earlier run of this plan, that are not settled.
    pub(super) unsettled: BTreeSet<usize>,
    pub(super) stopping: bool,
    pub(super) detaching: bool,
    pub(super) outputs: Outputs,
    pub(super) done: Vec<OperationId>,
    pub(super) already: Vec<OperationId>,
    pub(super) failed: Vec<ActionFailure>,
    pub(super) not_begun: Vec<(Address, String)>,
    pub(super) finished: bool,
}

impl State {
    /// An apply of this plan that has not started: its first event is [`Event::Started`].
    #[must_use]
    pub fn new(plan: Arc<Plan>, limits: Limits) -> Self {
        Self {
            plan_id: plan.digest.to_string(),
            layout: Layout::new(&plan.fleet, &plan.project),
            limits: Limits {
                parallelism: limits.parallelism.max(1),
                per_host: limits.per_host.max(1),
            },
            started: false,
            now: String::new(),
            lock: HeldLock {
                create_revision: 0,
                token: drover_types::FencingToken::new(0),
                holder: String::new(),
            },
            fleet: RecordedFleet::empty(0),
            nodes: plan.actions.iter().cloned().map(Node::new).collect(),
            joins: Vec::new(),
            by_operation: BTreeMap::new(),
            queue: VecDeque::new(),
            in_flight: None,
            singly: 0,
            next_ticket: 0,
            ready_on: BTreeMap::new(),
            ready_records: BTreeSet::new(),
            running: 0,
            running_on: BTreeMap::new(),
            under_way: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            stopping: false,
            detaching: false,
            outputs: Outputs::Pending,
            done: Vec::new(),
            already: Vec::new(),
            failed: Vec::new(),
            not_begun: Vec::new(),
            finished: false,
            plan,
        }
    }

    /// Whether [`Command::Finish`] was given.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    pub(super) fn writer(&self) -> Writer<'_> {
        Writer {
            fleet: &self.fleet,
            lock: &self.lock,
            now: &self.now,
            plan: &self.plan_id,
        }
    }

    pub(super) fn report_step(&self, at: usize, step: JournalStep, out: &mut Vec<Command>) {
        let node = &self.nodes[at];
        out.push(Command::Report(ProgressEvent::Step {
            address: node.action.address.clone(),
            verb: node.action.kind.verb(),
            host: node.host().cloned(),
            operation: node.operation(),
            step,
        }));
    }

    /// Puts an action into another stand, and keeps count of those under way.
    pub(super) fn stand(&mut self, at: usize, stand: Stand) {
        self.nodes[at].stand = stand;
        if self.nodes[at].is_under_way() {
            self.under_way.insert(at);
        } else {
            self.under_way.remove(&at);
        }
        if self.nodes[at].is_over() {
            self.unsettled.remove(&at);
            self.free_places(at);
        }
    }

    pub(super) fn take_places(&mut self, at: usize) {
        let node = &self.nodes[at];
        let hosts: Vec<HostName> = node
            .host()
            .into_iter()
            .chain(node.destination())
            .cloned()
            .collect();
        for host in &hosts {
            *self.running_on.entry(host.clone()).or_insert(0) += 1;
        }
        self.running += 1;
        self.nodes[at].places = hosts;
    }

    pub(super) fn free_places(&mut self, at: usize) {
        let places = std::mem::take(&mut self.nodes[at].places);
        if places.is_empty() {
            return;
        }
        self.running -= 1;
        for host in places {
            if let Some(count) = self.running_on.get_mut(&host) {
                *count -= 1;
            }
        }
    }

    pub(super) fn call(&mut self, at: usize, out: &mut Vec<Command>) {
        let node = &self.nodes[at];
        let (host, request, stand) = match (node.destination().cloned(), node.preparation()) {
            (Some(to), Some(request)) => (to, request, Stand::Preparing),
            (None | Some(_), None | Some(_)) => match (node.host().cloned(), node.request()) {
                (Some(host), Some(request)) => (host, request, Stand::Calling),
                (None | Some(_), None | Some(_)) => return,
            },
        };
        self.send(at, host, request, stand, out);
    }

    pub(super) fn send(
        &mut self,
        at: usize,
        host: HostName,
        request: super::AgentRequest,
        stand: Stand,
        out: &mut Vec<Command>,
    ) {
        let operation = self.nodes[at].operation();
        self.by_operation.insert(operation, at);
        self.stand(at, stand);
        self.report_step(at, self.nodes[at].step(), out);
        out.push(Command::Call {
            operation,
            host,
            request,
        });
    }

    pub(super) fn watch(&mut self, at: usize, out: &mut Vec<Command>) {
        let operation = self.nodes[at].operation();
        let Some(host) = self.nodes[at].host().cloned() else {
            return;
        };
        self.by_operation.insert(operation, at);
        self.stand(at, Stand::Watching);
        self.report_step(at, JournalStep::Settling, out);
        out.push(Command::Watch { operation, host });
    }

    pub(super) fn withdraw(&mut self, at: usize, out: &mut Vec<Command>) {
        let operation = self.nodes[at].operation();
        let Some(host) = self.nodes[at].host().cloned() else {
            return;
        };
        self.nodes[at].withdrew = true;
        self.stand(at, Stand::Withdrawing);
        self.report_step(at, JournalStep::Withdrawing, out);
        out.push(Command::Withdraw { operation, host });
    }

    /// An action was done before this apply came to it.
    pub(super) fn was_done(&mut self, at: usize, out: &mut Vec<Command>) {
        self.already.push(self.nodes[at].planned);
        self.succeed(at, out);
    }

    /// An action is done: what waited for it may begin.
    pub(super) fn succeed(&mut self, at: usize, out: &mut Vec<Command>) {
        self.stand(at, Stand::Done);
        let node = &self.nodes[at];
        self.done.push(node.planned);
        out.push(Command::Report(ProgressEvent::Done {
            address: node.action.address.clone(),
            verb: node.action.kind.verb(),
            host: node.destination().or(node.host()).cloned(),
            operation: node.operation(),
        }));
        let mut dependents = self.nodes[at].dependents.clone();
        for join in self.nodes[at].joins.clone() {
            let joined = &mut self.joins[join];
            joined.waits -= 1;
            if joined.waits == 0 {
                dependents.append(&mut joined.dependents);
            }
        }
        for dependent in dependents {
            self.nodes[dependent].waits -= 1;
            if self.nodes[dependent].waits == 0 {
                self.make_ready(dependent);
            }
        }
    }

    pub(super) fn make_ready(&mut self, at: usize) {
        if self.nodes[at].stand != Stand::Waiting {
            return;
        }
        self.nodes[at].stand = Stand::Ready;
        match self.nodes[at]
            .host()
            .filter(|_| self.nodes[at].request().is_some())
        {
            Some(host) => {
                self.ready_on.entry(host.clone()).or_default().insert(at);
            }
            None => {
                self.ready_records.insert(at);
            }
        }
    }

    /// Ends an action badly; everything that waits for it is not begun.
    pub(super) fn give_up(&mut self, at: usize, failure: &ActionFailure, out: &mut Vec<Command>) {
        self.stand(at, Stand::Failed);
        out.push(Command::Report(ProgressEvent::Failed(failure.clone())));
        let why = format!("{} could not be done", failure.address);
        let fetch_failed = super::answer::lets_creates_go_on(&self.nodes[at], failure);
        self.failed.push(failure.clone());
        let mut stack = self.nodes[at].dependents.clone();
        if fetch_failed {
            stack = self.creates_elsewhere(at, stack, failure);
        }
        self.never_joined(at, &mut stack);
        while let Some(dependent) = stack.pop() {
            if self.nodes[dependent].stand != Stand::Waiting {
                continue;
            }
            self.stand(dependent, Stand::NotBegun);
            self.not_begun
                .push((self.nodes[dependent].action.address.clone(), why.clone()));
            stack.extend(self.nodes[dependent].dependents.iter().copied());
            self.never_joined(dependent, &mut stack);
        }
    }

    /// What waits for a join with this action among its members; looked through once.
    fn never_joined(&mut self, at: usize, stack: &mut Vec<usize>) {
        for join in self.nodes[at].joins.clone() {
            stack.append(&mut self.joins[join].dependents);
        }
    }

    pub(super) fn failure_of(&self, at: usize, message: String) -> ActionFailure {
        let node = &self.nodes[at];
        ActionFailure {
            address: node.action.address.clone(),
            verb: node.action.kind.verb(),
            host: node.host().cloned(),
            operation: node.operation(),
            code: None,
            message,
            hint: String::new(),
            unknown: false,
        }
    }

    /// The journal's open operations that this apply has to do with.
    pub(super) fn open_operations(&self) -> Vec<OperationId> {
        self.under_way
            .iter()
            .map(|at| self.nodes[*at].operation())
            .filter(|id| {
                self.fleet
                    .operations
                    .get(id)
                    .is_some_and(|record| match record.status {
                        OperationStatus::Intent | OperationStatus::Detached => true,
                        OperationStatus::Succeeded | OperationStatus::Failed { .. } => false,
                    })
            })
            .collect()
    }

    pub(super) fn finish(&mut self, ending: Ending, out: &mut Vec<Command>) {
        if self.finished {
            return;
        }
        self.finished = true;
        let detached = self.open_operations();
        for node in &self.nodes {
            if matches!(node.stand, Stand::Waiting | Stand::Ready) {
                self.not_begun
                    .push((node.action.address.clone(), "the apply was stopped".to_owned()));
            }
        }
        out.push(Command::Finish(Summary {
            ending,
            done: std::mem::take(&mut self.done),
            already: std::mem::take(&mut self.already),
            failed: std::mem::take(&mut self.failed),
            not_begun: std::mem::take(&mut self.not_begun),
            detached,
        }));
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

/// Takes one event. After [`Command::Finish`] no event changes anything.
#[must_use]
pub fn step(mut state: State, event: Event) -> (State, Vec<Command>) {
    let mut out = Vec::new();
    if !state.finished {
        state.take(event, &mut out);
        if state.started && !state.finished {
            state.schedule(&mut out);
            state.flush(&mut out);
            state.maybe_finish(&mut out);
        }
    }
    (state, out)
}
