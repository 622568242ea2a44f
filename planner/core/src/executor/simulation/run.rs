//! One fleet through many applies: every step in an order that the dice choose.

use super::super::event::{Command, Event, Summary, Ticket};
use super::super::request::{AgentRequest, AgentResult, FailureCode};
use super::super::state::{Limits, State, step};
use super::Dice;
use super::fake_agent::{Admitted, FakeAgent, Known, Outcome};
use super::fake_store::FakeStore;
use crate::diff::renames;
use crate::model::{DesiredFleet, HostObservation, Moved, ObservedFleet, UnobservedReason};
use crate::plan::tests::plan_renamed;
use crate::plan::{Plan, PlanOptions};
use crate::record::Transaction;
use crate::testing::host;
use drover_types::{FencingToken, HostName, OperationId, ServerId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is under way between the CLI and the rest.
#[derive(Debug, Clone)]
enum Todo {
    Commit(Ticket, Transaction),
    Call(OperationId, HostName, AgentRequest),
    Watch(OperationId, HostName),
    Withdraw(OperationId, HostName),
    Acknowledge(HostName, Vec<OperationId>),
}

/// How often things go wrong, once in so many times; none where absent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) lost: Option<usize>,
    pub(super) never_sent: Option<usize>,
    pub(super) aborted: Option<usize>,
    pub(super) killed: Option<usize>,
}

pub(super) struct FakeFleet {
    pub(super) store: FakeStore,
    pub(super) agents: BTreeMap<HostName, FakeAgent>,
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    /// Requests that are still on the wire although nobody waits for them.
    delayed: Vec<(FencingToken, OperationId, HostName, AgentRequest)>,
    /// What the files say was moved.
    pub(super) moved: Vec<Moved>,
    /// Hosts that do not answer while a plan is made.
    pub(super) silent: BTreeSet<HostName>,
    /// Steps at which an apply was killed.
    pub(super) killed_at: BTreeSet<&'static str>,
}

/// How an apply ended.
pub(super) enum Applied {
    Finished(Summary),
    Killed,
    Stale,
}

impl FakeFleet {
    pub(super) fn new(hosts: &[&str], seed: u64) -> Self {
        Self {
            store: FakeStore::new(),
            agents: hosts
                .iter()
                .map(|name| (host(name), FakeAgent::new(&host(name))))
                .collect(),
            dice: Dice::new(seed),
            faults: Faults::default(),
            delayed: Vec::new(),
            moved: Vec::new(),
            silent: BTreeSet::new(),
            killed_at: BTreeSet::new(),
        }
    }

    pub(super) fn observed(&self) -> ObservedFleet {
        self.agents
            .iter()
            .map(|(name, agent)| {
                let seen = if self.silent.contains(name) {
                    HostObservation::Unobserved(UnobservedReason::Unreachable("no answer".to_owned()))
                } else {
                    HostObservation::Reported(Box::new(agent.inventory()))
                };
                (name.clone(), seen)
            })
            .collect()
    }

    pub(super) fn plan(&self, desired: &DesiredFleet, options: &PlanOptions) -> Plan {
        let recorded = self.store.read();
        let renames = renames(&self.moved, Some(desired), &recorded).expect("moves that can be");
        plan_renamed(desired, &recorded, &self.observed(), options, &renames)
    }

    fn happens(&mut self, once_in: Option<usize>) -> bool {
        once_in.is_some_and(|times| self.dice.once_in(times))
    }

    pub(super) fn apply(&mut self, plan: &Arc<Plan>) -> Applied {
        let Some(lock) = self.store.lock(plan) else {
            return Applied::Stale;
        };
        let token = lock.token;
        let mut state = State::new(Arc::clone(plan), Limits::default());
        let mut events = vec![Event::Started {
            now: "2026-01-01T00:00:00Z".to_owned(),
            lock,
            recorded: Box::new(self.store.read()),
        }];
        let mut todo: Vec<Todo> = Vec::new();
        let mut attached: BTreeSet<(HostName, OperationId)> = BTreeSet::new();
        for _ in 0..200_000 {
            while let Some(event) = events.pop() {
                let (next, commands) = step(state, event);
                state = next;
                for command in commands {
                    if let Command::Finish(summary) = command {
                        for rest in todo {
                            if let Todo::Acknowledge(host, operations) = rest {
                                self.agent(&host).acknowledge(&operations);
                            }
                        }
                        return Applied::Finished(summary);
                    }
                    todo.extend(to_do(command));
                }
            }
            self.check();
            if self.happens(self.faults.killed) {
                self.kill(token, todo);
                return Applied::Killed;
            }
            if self.dice.once_in(20)
                && let Some((host, server, operation)) = self.forlorn().pop()
            {
                self.agent(&host).decline(server, operation);
            }
            let running = self.running();
            let choices = todo.len() + running.len() + self.delayed.len().min(1);
            assert!(
                choices > 0,
                "the apply waits for nothing and has not finished: {state:#?}"
            );
            let choice = self.dice.below(choices);
            if choice < todo.len() {
                let next = todo.swap_remove(choice);
                self.carry_out(token, next, &mut attached, &mut events);
            } else if let Some((at, operation)) = running.get(choice - todo.len()) {
                let outcome = self.finish_work(at, *operation);
                if attached.remove(&(at.clone(), *operation)) {
                    events.push(ended(*operation, at.clone(), outcome));
                }
            } else {
                self.deliver_late();
            }
        }
        panic!("an apply does not end");
    }

    pub(super) fn agent(&mut self, host: &HostName) -> &mut FakeAgent {
        self.agents.get_mut(host).expect("a host of this fleet")
    }

    fn running(&self) -> Vec<(HostName, OperationId)> {
        let agents = self.agents.iter();
        agents
            .flat_map(|(name, agent)| agent.running().into_iter().map(|id| (name.clone(), id)))
            .collect()
    }

    fn finish_work(&mut self, at: &HostName, operation: OperationId) -> Outcome {
        let request = self.agent(at).request(operation);
        let outcome = match &request {
            AgentRequest::MigrateServer { .. } => self.migrate(at, operation, &request),
            AgentRequest::EnsureImage { .. }
            | AgentRequest::DeleteImage { .. }
            | AgentRequest::CreateServer { .. }
            | AgentRequest::AdoptServer { .. }
            | AgentRequest::UpdateServer { .. }
            | AgentRequest::SetPower { .. }
            | AgentRequest::RebootServer { .. }
            | AgentRequest::DeleteServer { .. }
            | AgentRequest::PrepareMigration { .. } => self.agent(at).work(operation, &request),
        };
        self.agent(at).finish(operation, &outcome);
        outcome
    }

    /// The whole hand-over between the two agents.
    fn migrate(&mut self, from: &HostName, operation: OperationId, request: &AgentRequest) -> Outcome {
        let AgentRequest::MigrateServer {
            id,
            new_epoch,
            fallback_epoch,
            destination_host: to,
            cold,
            ..
        } = request
        else {
            unreachable!("only a migration comes here");
        };
        let (id, epoch) = (*id, *new_epoch);
        let aborted = self.happens(self.faults.aborted);
        self.agent(from)
            .offer(id, operation, (epoch, *fallback_epoch), (to, *cold));
        let awaited = self.agent(to).awaits(id, operation, epoch);
        if aborted || !awaited {
            self.agent(from).abort(id, operation, epoch);
            if awaited {
                self.agent(to).decline(id, operation);
            }
            return Err((FailureCode::MigrationAborted, "aborted".to_owned()));
        }
        let domain = self.agent(from).release(id, operation, epoch, to);
        self.agent(to).acquire(id, operation, epoch, domain);
        self.agent(from).peer_acquired(id, operation);
        Ok(AgentResult::Migrated {
            epoch,
            downtime_ms: 1,
            transferred_bytes: 1,
            elapsed_ms: 1,
        })
    }

    /// Prepared hand-overs that their source is not working on: their destinations lose patience.
    fn forlorn(&self) -> Vec<(HostName, ServerId, OperationId)> {
        let mut found = Vec::new();
        for (name, agent) in &self.agents {
            for (server, operation, source) in agent.prepared() {
                if !self.agents[&source].running().contains(&operation) {
                    found.push((name.clone(), server, operation));
                }
            }
        }
        found
    }

    fn deliver_late(&mut self) {
        if self.delayed.is_empty() {
            return;
        }
        let at = self.dice.below(self.delayed.len());
        let (token, operation, host, request) = self.delayed.swap_remove(at);
        let _ = self.agent(&host).admit(token, operation, &request);
    }

    /// Delivers everything that is late and lets agents finish: nothing may change for the worse.
    pub(super) fn calm_down(&mut self) {
        while !self.delayed.is_empty() {
            self.deliver_late();
        }
        for (host, operation) in self.running() {
            let _ = self.finish_work(&host, operation);
            self.check();
        }
        for (host, server, operation) in self.forlorn() {
            self.agent(&host).decline(server, operation);
        }
    }

    fn carry_out(
        &mut self,
        token: FencingToken,
        todo: Todo,
        attached: &mut BTreeSet<(HostName, OperationId)>,
        events: &mut Vec<Event>,
    ) {
        let reason = || "the dice".to_owned();
        match todo {
            Todo::Commit(ticket, transaction) => events.push(match self.store.commit(&transaction) {
                Ok(revision) => Event::Committed { ticket, revision },
                Err(keys) => Event::CommitConflict { ticket, keys },
            }),
            Todo::Call(operation, host, request) => {
                if self.happens(self.faults.never_sent) {
                    events.push(Event::NeverSent {
                        operation,
                        host,
                        reason: reason(),
                    });
                    return;
                }
                let lost = self.happens(self.faults.lost);
                if lost && self.dice.once_in(2) {
                    self.delayed.push((token, operation, host.clone(), request));
                    events.push(Event::Lost {
                        operation,
                        host,
                        reason: reason(),
                    });
                    return;
                }
                if self.dice.once_in(5) && self.faults.lost.is_some() {
                    self.delayed
                        .push((token, operation, host.clone(), request.clone()));
                }
                let admitted = self.agent(&host).admit(token, operation, &request);
                match admitted {
                    _ if lost => events.push(Event::Lost {
                        operation,
                        host,
                        reason: reason(),
                    }),
                    Admitted::Running => {
                        attached.insert((host, operation));
                    }
                    Admitted::Ended(outcome) => events.push(ended(operation, host, outcome)),
                    Admitted::Refused(message) => events.push(Event::Failed {
                        operation,
                        host,
                        code: FailureCode::Refused,
                        message,
                        hint: String::new(),
                    }),
                }
            }
            Todo::Watch(operation, host) => {
                if self.happens(self.faults.lost) {
                    events.push(Event::Lost {
                        operation,
                        host,
                        reason: reason(),
                    });
                    return;
                }
                match self.agent(&host).known(operation) {
                    Known::Unknown => events.push(Event::NotFound { operation, host }),
                    Known::Running => {
                        attached.insert((host, operation));
                    }
                    Known::Ended(outcome) => events.push(ended(operation, host, outcome)),
                    Known::Withdrawn => events.push(Event::Failed {
                        operation,
                        host,
                        code: FailureCode::Withdrawn,
                        message: "withdrawn".to_owned(),
                        hint: String::new(),
                    }),
                }
            }
            Todo::Withdraw(operation, host) => {
                let lost = self.happens(self.faults.lost);
                let answer = self.agent(&host).withdraw(token, operation);
                let running = self.agent(&host).running().contains(&operation);
                events.push(match answer {
                    Some(withdrawn) if !lost => Event::Withdrawn {
                        operation,
                        host,
                        withdrawn,
                        running,
                    },
                    Some(_) | None => Event::Lost {
                        operation,
                        host,
                        reason: reason(),
                    },
                });
            }
            Todo::Acknowledge(host, operations) => self.agent(&host).acknowledge(&operations),
        }
    }

    /// The CLI dies: what it had given away may still arrive.
    fn kill(&mut self, token: FencingToken, todo: Vec<Todo>) {
        for rest in todo {
            let arrives = self.dice.once_in(2);
            self.killed_at.insert(match &rest {
                Todo::Commit(..) => "commit",
                Todo::Call(..) => "call",
                Todo::Watch(..) => "watch",
                Todo::Withdraw(..) => "withdraw",
                Todo::Acknowledge(..) => "acknowledge",
            });
            match rest {
                Todo::Commit(_, transaction) if arrives => {
                    let _ = self.store.commit(&transaction);
                }
                Todo::Call(operation, host, request) if arrives => {
                    self.delayed.push((token, operation, host, request));
                }
                Todo::Commit(..)
                | Todo::Call(..)
                | Todo::Watch(..)
                | Todo::Withdraw(..)
                | Todo::Acknowledge(..) => {}
            }
        }
    }

    /// What must hold at every moment.
    pub(super) fn check(&self) {
        let mut holders: BTreeMap<ServerId, &HostName> = BTreeMap::new();
        let mut copies: BTreeMap<ServerId, &HostName> = BTreeMap::new();
        for (name, agent) in &self.agents {
            for id in agent.held().into_keys() {
                if let Some(other) = holders.insert(id, name) {
                    panic!("{id} is granted to {other} and to {name}");
                }
            }
            let mut ram = 0;
            for (id, domain) in &agent.domains {
                ram += domain.order.ram_mib;
                if domain.running
                    && let Some(other) = copies.insert(*id, name)
                {
                    panic!("{id} runs on {other} and on {name}");
                }
            }
            assert!(ram <= 6144, "{name} has given {ram} MiB away");
        }
    }
}

fn to_do(command: Command) -> Option<Todo> {
    match command {
        Command::Commit { ticket, transaction } => Some(Todo::Commit(ticket, transaction)),
        Command::Call {
            operation,
            host,
            request,
        } => Some(Todo::Call(operation, host, request)),
        Command::Watch { operation, host } => Some(Todo::Watch(operation, host)),
        Command::Withdraw { operation, host } => Some(Todo::Withdraw(operation, host)),
        Command::Acknowledge { host, operations } => Some(Todo::Acknowledge(host, operations)),
        Command::Report(_) | Command::Finish(_) => None,
    }
}

fn ended(operation: OperationId, host: HostName, outcome: Outcome) -> Event {
    match outcome {
        Ok(result) => Event::Succeeded {
            operation,
            host,
            result,
        },
        Err((code, message)) => Event::Failed {
            operation,
            host,
            code,
            message,
            hint: String::new(),
        },
    }
}
