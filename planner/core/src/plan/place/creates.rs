//! Servers that are created: placed as one batch, then alternates are reserved for them.
//!
//! One after another in the order of addresses, as Nova does, stands where it places everybody; otherwise the
//! engine's bounded search looks for an arrangement that places more, and the plan says so.

use super::super::reason::Reason;
use super::super::types::{Blocked, BlockedBy, Finding, Severity};
use super::super::world::name_of;
use super::{EXPLAINED, Placer, words};
use crate::diff::ServerStep;
use crate::placement::{BatchOutcome, Request, Scheduler, Unplaced};
use drover_types::Address;

/// How many alternates a create carries at most.
const ALTERNATES: usize = 2;

/// A server to be created.
struct Create<'a> {
    address: &'a Address,
    why: &'a Reason,
    /// What is blocked where it finds no host.
    verb: &'static str,
}

/// Creates placed together.
struct Batch {
    /// Positions among the creates.
    members: Vec<usize>,
    /// Before any of them was placed.
    start: Scheduler,
    outcome: BatchOutcome,
    /// With the room that deletions give back.
    credited: bool,
}

impl Batch {
    fn place(scheduler: &mut Scheduler, members: Vec<usize>, requests: &[Request], credited: bool) -> Self {
        let start = scheduler.clone();
        let wanted: Vec<Request> = members.iter().map(|at| requests[*at].clone()).collect();
        let outcome = scheduler.place_batch(&wanted);
        Self {
            members,
            start,
            outcome,
            credited,
        }
    }

    fn placed(&self) -> usize {
        self.outcome.order.len()
    }

    /// Positions among the creates of those without a host.
    fn left(&self) -> Vec<usize> {
        let all = self.members.iter().zip(&self.outcome.placements);
        all.filter(|(_, host)| host.is_none())
            .map(|(at, _)| *at)
            .collect()
    }
}

impl<'a> Placer<'a> {
    pub(super) fn create_all(&mut self) {
        let (creates, requests) = self.creates();
        let everybody: Vec<usize> = (0..creates.len()).collect();
        let first = Batch::place(&mut self.scheduler, everybody, &requests, self.credited);
        let left = first.left();
        let last = if left.is_empty() || self.deletions.is_empty() || self.credited {
            first
        } else {
            self.with_deletions(&creates, &requests, &first)
        };
        self.accept(&creates, &requests, &last);
        self.refuse(&creates, &requests, &last);
        for (create, request) in creates.iter().zip(&requests) {
            self.reserve_alternates(create.address, request);
        }
    }

    /// Places with the room of deleted servers what found none without, alone if that is enough.
    fn with_deletions(&mut self, creates: &[Create<'_>], requests: &[Request], first: &Batch) -> Batch {
        self.credited = true;
        self.credit();
        let second = Batch::place(&mut self.scheduler, first.left(), requests, true);
        if !second.left().is_empty() {
            // The room to come may be of more use to a server that has a host already.
            let apart = std::mem::replace(&mut self.scheduler, first.start.clone());
            self.credit();
            let together = Batch::place(&mut self.scheduler, first.members.clone(), requests, true);
            if together.placed() > first.placed() + second.placed() {
                return together;
            }
            self.scheduler = apart;
        }
        self.accept(creates, requests, first);
        second
    }

    /// What is to be created, with what it asks; a size that makes no sense is reported and left out.
    fn creates(&mut self) -> (Vec<Create<'a>>, Vec<Request>) {
        let diff = self.diff;
        let mut creates = Vec::new();
        let mut requests = Vec::new();
        for (address, server) in &diff.servers {
            let create = server.steps.iter().find_map(|step| match step {
                ServerStep::Create { why } => Some(Create {
                    address,
                    why,
                    verb: "create",
                }),
                ServerStep::Replace { why } => Some(Create {
                    address,
                    why,
                    verb: "replace",
                }),
                ServerStep::Import { .. }
                | ServerStep::Delete { .. }
                | ServerStep::Release { .. }
                | ServerStep::Forget { .. }
                | ServerStep::Rebuild { .. }
                | ServerStep::Adopt { .. }
                | ServerStep::TakeOver { .. }
                | ServerStep::Update { .. }
                | ServerStep::SetPower { .. }
                | ServerStep::Record { .. } => None,
            });
            let (Some(create), Some(request)) = (create, self.wanted(address, server)) else {
                continue;
            };
            if let Err(error) = self.scheduler.check(std::slice::from_ref(&request)) {
                self.placements.findings.push(Finding {
                    severity: Severity::Error,
                    address: Some(address.clone()),
                    message: error.to_string(),
                    hint: "correct its flavor".to_owned(),
                });
                continue;
            }
            creates.push(create);
            requests.push(request);
        }
        (creates, requests)
    }

    /// Gives the room of deleted servers back: what uses it waits for their deletion.
    pub(super) fn credit(&mut self) {
        for (host, deleted) in &self.deletions {
            for request in deleted {
                self.scheduler
                    .release(&name_of(host), request)
                    .expect("a server with a deletion was put there");
            }
        }
    }

    /// Notes the hosts that a batch was given, and says where the search had a part in it.
    fn accept(&mut self, creates: &[Create<'_>], requests: &[Request], batch: &Batch) {
        let explain = self.explain || self.diff.options.explain;
        let mut replay = explain.then(|| batch.start.clone());
        for at in &batch.outcome.order {
            let position = batch.members[*at];
            let (address, request) = (creates[position].address, &requests[position]);
            let name = batch.outcome.placements[*at]
                .as_ref()
                .expect("only placed servers are in the order");
            let host = self
                .hosts
                .get(name)
                .expect("every host of the engine is in the map")
                .clone();
            let placement = match &mut replay {
                Some(replay) if self.explain || self.is_explained(address) => {
                    let mut explanation = replay.explain(request);
                    replay
                        .force(name, request)
                        .expect("the engine named a host that it has");
                    let placement = self.describe(&explanation, host.clone());
                    explanation.choose(Some(name.clone()));
                    self.keep_explanation(address, explanation);
                    placement
                }
                Some(replay) => {
                    replay
                        .force(name, request)
                        .expect("the engine named a host that it has");
                    words::unexplained(host.clone())
                }
                None => words::unexplained(host.clone()),
            };
            if batch.credited && self.deletions.contains_key(&host) {
                self.placements.after_deletions.insert(address.clone());
            }
            self.placements.hosts.insert(address.clone(), host);
            self.placements.chosen.insert(address.clone(), placement);
        }
        self.placements.findings.extend(words::method(&batch.outcome));
    }

    /// Says of each server without a host what stands in its way.
    fn refuse(&mut self, creates: &[Create<'_>], requests: &[Request], batch: &Batch) {
        let mut verdicts = 0;
        for (position, unplaced) in batch.left().into_iter().zip(&batch.outcome.unplaced) {
            let Unplaced {
                server: _,
                even_alone: _,
                given_up_for,
                conflict,
            } = unplaced;
            verdicts += self.hosts.len();
            // Every host for every one of thousands helps nobody; the conflict still says what is wrong.
            let rejections = if verdicts <= EXPLAINED || self.diff.options.explain {
                let explanation = self.scheduler.explain(&requests[position]);
                let rejections = self.rejections(&explanation);
                self.keep_explanation(creates[position].address, explanation);
                rejections
            } else {
                Vec::new()
            };
            self.placements.blocked.push(Blocked {
                address: creates[position].address.clone(),
                verb: creates[position].verb.to_owned(),
                why: creates[position].why.clone(),
                by: BlockedBy::NoHost {
                    rejections,
                    conflict: words::constraints(conflict.as_ref()),
                },
                hint: words::hint(conflict.as_ref(), given_up_for.as_ref()),
            });
        }
    }

    fn reserve_alternates(&mut self, address: &Address, request: &Request) {
        let Some(placement) = self.placements.chosen.get_mut(address) else {
            return;
        };
        let alternates = self
            .scheduler
            .reserve_alternates(&name_of(&placement.host), request, ALTERNATES)
            .expect("the engine chose this host");
        placement.alternates = alternates
            .iter()
            .filter_map(|name| self.hosts.get(name).cloned())
            .collect();
        let waits = self.credited
            && placement
                .alternates
                .iter()
                .any(|host| self.deletions.contains_key(host));
        if waits {
            self.placements.after_deletions.insert(address.clone());
        }
    }
}
