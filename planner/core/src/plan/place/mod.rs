//! Chooses hosts for what a diff wants created or moved.
//!
//! What is there takes its room first, then servers that grow where they are, then moves, each in the order of
//! addresses, then creates as one batch; last, alternates are reserved for creates. Room that deletions give back
//! is used only by what found none otherwise, and then waits for them.

mod able;
mod carry;
mod cast;
mod company;
mod creates;
mod deletions;
#[cfg(test)]
mod fewest_tests;
mod moves;
#[cfg(test)]
mod moves_tests;
mod reorder;
mod sequence;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod waiting_tests;
mod words;

pub(super) use able::{cannot_take, may_help};
pub(super) use company::CreateWaits;

use super::build::Inputs;
use super::demand::{AsIt, demand};
use super::reason::Reason;
use super::types::{Blocked, BlockedBy, Finding, HostRejection, Placement, Severity};
use super::world::{larger, name_of, request, resources, scheduler, where_counted};
use crate::diff::{FleetDiff, Seat, ServerDiff, ServerStep};
use crate::placement::filters::Depends;
use crate::placement::{Explanation, Filter, Name, Request, Scheduler};
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};

/// One migration of a server, the first being 0.
pub type Hop = (Address, usize);

/// Where servers are and go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Placements {
    /// Every server's host after the apply, as far as it has one: what `server.x.host` is in outputs.
    pub hosts: BTreeMap<Address, HostName>,
    /// Of those created or moved, why there.
    pub chosen: BTreeMap<Address, Placement>,
    /// Why each of those that move does.
    pub moves: BTreeMap<Address, Reason>,
    /// The hosts on the way of those that do not go straight, in order.
    pub via: BTreeMap<Address, Vec<HostName>>,
    /// Migrations that must be done before a migration begins.
    pub waits: BTreeMap<Hop, Vec<Hop>>,
    /// Migrations that must be done before a server may grow where it is.
    pub growth_waits: BTreeMap<Address, Vec<Hop>>,
    /// What must be done before a server may be created.
    pub create_waits: BTreeMap<Address, CreateWaits>,
    /// Those that use room that deletions on their host give back.
    pub after_deletions: BTreeSet<Address>,
    /// Servers that may not change in place, because they would not fit.
    pub stuck: BTreeSet<Address>,
    /// What found no host.
    pub blocked: Vec<Blocked>,
    /// Where asked for: every host with every filter and weight, for each server that was looked at.
    pub explanations: BTreeMap<Address, Explanation>,
    /// What is wrong with the settings, and what else must be known.
    pub findings: Vec<Finding>,
    /// Policies that the fleet would break, for which there must be no plan.
    pub refused: Vec<Finding>,
}

/// Up to so many verdicts (servers times hosts) every placement is explained without being asked.
const EXPLAINED: usize = 20_000;

/// Why a host cannot be emptied: what was found when all its servers were to leave it.
struct Closed {
    /// The server that finds no room.
    blocked: Blocked,
    explanation: Option<Explanation>,
}

/// Chooses hosts. A drain one of whose servers finds no room is blocked as a whole: nothing leaves that host.
#[must_use]
pub fn place(inputs: &Inputs<'_>, diff: &FleetDiff) -> Placements {
    let mut closed: BTreeMap<HostName, Closed> = BTreeMap::new();
    loop {
        let mut placer = match Placer::new(inputs, diff, &closed) {
            Ok(placer) => placer,
            Err(findings) => {
                return Placements {
                    findings,
                    ..Placements::default()
                };
            }
        };
        placer.run();
        let Placer {
            emptying_failed,
            placements,
            ..
        } = placer;
        let before = closed.len();
        for (host, address) in emptying_failed {
            let mut blocked = placements.blocked.iter();
            if let Some(blocked) = blocked.find(|blocked| blocked.address == address) {
                closed.entry(host).or_insert_with(|| Closed {
                    blocked: blocked.clone(),
                    explanation: placements.explanations.get(&address).cloned(),
                });
            }
        }
        if closed.len() == before {
            let mut placements = placements;
            let broken = super::ahead::findings(inputs, diff, &placements);
            let (refused, told) = broken
                .into_iter()
                .partition(|finding| finding.severity == Severity::Error);
            placements.findings.extend::<Vec<_>>(told);
            placements.refused = refused;
            return placements;
        }
    }
}

struct Placer<'a> {
    inputs: &'a Inputs<'a>,
    diff: &'a FleetDiff,
    /// Hosts that cannot be emptied.
    closed: &'a BTreeMap<HostName, Closed>,
    scheduler: Scheduler,
    hosts: BTreeMap<Name, HostName>,
    explain: bool,
    /// How many verdicts on hosts were looked at for servers that move.
    verdicts: usize,
    /// The constraints in conflict for servers that move and find no host, by what they ask.
    conflicts: BTreeMap<String, Vec<String>>,
    /// Where servers were asked to go.
    requested: BTreeMap<&'a Address, &'a HostName>,
    /// Whether the room of deleted servers was given back.
    credited: bool,
    /// What is deleted on each host.
    deletions: BTreeMap<HostName, Vec<Request>>,
    emptying_failed: BTreeMap<HostName, Address>,
    /// With whom others want no host in common: who is named in `different_host`, and by whom.
    shunned: BTreeMap<&'a Address, Vec<&'a Address>>,
    /// The members of every affinity group.
    together: BTreeMap<&'a Address, Vec<&'a Address>>,
    /// Movers for which no host was looked for yet.
    pending: BTreeSet<Address>,
    /// Servers that take their new size where they are.
    grown: BTreeSet<Address>,
    placements: Placements,
}

impl<'a> Placer<'a> {
    fn new(
        inputs: &'a Inputs<'a>,
        diff: &'a FleetDiff,
        closed: &'a BTreeMap<HostName, Closed>,
    ) -> Result<Self, Vec<Finding>> {
        let (scheduler, findings) = scheduler(inputs, diff);
        let Some(scheduler) = scheduler else {
            return Err(findings);
        };
        let hosts: BTreeMap<Name, HostName> = inputs
            .desired
            .hosts
            .keys()
            .chain(inputs.recorded.hosts.keys())
            .map(|host| (name_of(host), host.clone()))
            .collect();
        let options = &diff.options;
        let all = options.explain && options.explain_only.is_none();
        let explain = all || diff.servers.len() * hosts.len() <= EXPLAINED;
        Ok(Self {
            inputs,
            diff,
            closed,
            scheduler,
            hosts,
            explain,
            verdicts: 0,
            conflicts: BTreeMap::new(),
            requested: diff
                .options
                .migrate
                .iter()
                .filter_map(|request| Some((&request.address, request.to.as_ref()?)))
                .collect(),
            credited: false,
            deletions: BTreeMap::new(),
            emptying_failed: BTreeMap::new(),
            shunned: shunned(diff),
            together: moves::together(inputs, &diff.servers),
            pending: BTreeSet::new(),
            grown: BTreeSet::new(),
            placements: Placements {
                findings,
                ..Placements::default()
            },
        })
    }

    fn run(&mut self) {
        for (address, server) in &self.diff.servers {
            self.seat(address, server);
        }
        for (address, server) in &self.diff.servers {
            self.grow(address, server);
        }
        self.relocate_all();
        self.create_all();
        self.wait_for_company();
        self.explain_the_rest();
    }

    /// Chooses hosts for all that must leave theirs.
    fn relocate_all(&mut self) {
        let outgrown = &self.placements.moves;
        let movers: BTreeMap<Address, Reason> = self
            .diff
            .servers
            .iter()
            .filter_map(|(address, server)| {
                let why = outgrown.get(address).or(server.moves.as_ref())?;
                Some((address.clone(), why.clone()))
            })
            .collect();
        if movers.is_empty() {
            return;
        }
        let start = carry::Start {
            scheduler: self.scheduler.clone(),
            blocked: self.placements.blocked.len(),
        };
        if !self.follow(&start, &movers) {
            self.relocate_after_deletions(&start, &movers);
        }
        // Who must stay where it is takes its new size there, or keeps the old one.
        for address in movers.keys() {
            let stays = !self.placements.moves.contains_key(address) && !self.grown.contains(address);
            if !stays {
                continue;
            }
            let server = &self.diff.servers[address];
            match self.grow_here(address, server) {
                Growth::NoRoom => {
                    self.placements.stuck.insert(address.clone());
                }
                Growth::Taken if self.credited => {
                    self.placements.after_deletions.insert(address.clone());
                }
                Growth::Taken | Growth::None => {}
            }
        }
    }

    /// Whether this server's hosts are to be explained one by one.
    fn is_explained(&self, address: &Address) -> bool {
        let options = &self.diff.options;
        let asked = options.explain_only.as_ref();
        options.explain && asked.is_none_or(|asked| asked.covers(address))
    }

    fn keep_explanation(&mut self, address: &Address, explanation: Explanation) {
        if self.is_explained(address) {
            self.placements.explanations.insert(address.clone(), explanation);
        }
    }

    /// Servers that stay where they are, where one of them was asked for by name: as if each were placed last.
    fn explain_the_rest(&mut self) {
        if self.diff.options.explain_only.is_none() {
            return;
        }
        for (address, server) in &self.diff.servers {
            let known = self.placements.explanations.contains_key(address);
            if !self.is_explained(address) || known || is_let_go(server) {
                continue;
            }
            let Some(request) = self.present(address, server) else {
                continue;
            };
            let host = where_counted(server).map(name_of);
            // One on a host that is neither declared nor recorded takes no room to give back.
            let seated = host
                .as_ref()
                .is_some_and(|host| self.scheduler.release(host, &request).is_ok());
            let mut explanation = self.scheduler.explain(&request);
            if let Some(host) = host.filter(|_| seated) {
                self.scheduler
                    .force(&host, &request)
                    .expect("it was just released there");
                explanation.choose(Some(host));
            } else {
                explanation.choose(None);
            }
            self.keep_explanation(address, explanation);
        }
    }

    fn wanted(&self, address: &Address, server: &ServerDiff) -> Option<Request> {
        let spec = server.desired.as_ref().or(server.recorded.as_ref())?;
        let retry_all = self.diff.options.retry_all;
        let mut request = request(self.inputs, address, server, spec, resources(spec), retry_all);
        // Nova asks the one that comes; here both are declared, and neither may come to the other.
        let shunned = self.shunned.get(address).into_iter().flatten();
        request.different_host.extend(shunned.map(name_of));
        Some(request)
    }

    /// As it is now: with its recorded size, cells and devices.
    fn present(&self, address: &Address, server: &ServerDiff) -> Option<Request> {
        let mut request = self.wanted(address, server)?;
        if let Some(spec) = &server.recorded {
            request.wants = resources(spec);
            request.demand = demand(self.inputs.desired, self.inputs.recorded, spec, AsIt::Is);
        }
        Some(request)
    }

    /// Where a server is, and what it asks as it is and as it is to be.
    fn change_of<'s>(
        &self,
        address: &Address,
        server: &'s ServerDiff,
    ) -> Option<(&'s Seat, Request, Request)> {
        let seat = server.seat.as_ref()?;
        Some((
            seat,
            self.present(address, server)?,
            self.wanted(address, server)?,
        ))
    }

    fn seat(&mut self, address: &Address, server: &ServerDiff) {
        let (Some(host), Some(mut request)) = (where_counted(server), self.present(address, server)) else {
            return;
        };
        // One that is replaced keeps its room to the end, but no longer as a member of its group.
        if server
            .steps
            .iter()
            .any(|step| matches!(step, ServerStep::Replace { .. }))
        {
            request.group = None;
        }
        // A server recorded on a host that is neither declared nor recorded takes no room anywhere.
        if self.scheduler.force(&name_of(host), &request).is_err() {
            return;
        }
        if is_let_go(server) {
            // So does one that goes for good; nor is it anybody's company any more.
            self.scheduler
                .leave(&name_of(host), &request)
                .expect("it was just put there");
        }
        if is_deleted(server) {
            // Its group it has left.
            request.group = None;
            self.deletions.entry(host.clone()).or_default().push(request);
        } else {
            self.placements.hosts.insert(address.clone(), host.clone());
        }
    }

    /// A server that gets larger does so where it is, or leaves.
    fn grow(&mut self, address: &Address, server: &ServerDiff) {
        if server.moves.is_some() {
            return;
        }
        if let Some(ServerStep::Rebuild { why }) = server.steps.iter().find(|step| is_rebuild(step)) {
            self.rebuild_here(address, server, why);
            return;
        }
        if let (Some(seat), Growth::NoRoom) = (&server.seat, self.grow_here(address, server)) {
            if self.grow_after_deletions(address, server, &seat.host) {
                return;
            }
            let why = Reason::NoRoomHere {
                host: seat.host.clone(),
            };
            self.placements.moves.insert(address.clone(), why);
        }
    }

    /// A server that gets larger where it is once others on its host are deleted: it waits for them and need not move.
    /// The host is fuller than it is until then, so that nobody else counts on that room.
    fn grow_after_deletions(&mut self, address: &Address, server: &ServerDiff, host: &HostName) -> bool {
        let deleted: Vec<Request> = self.deletions.get(host).cloned().unwrap_or_default();
        if deleted.is_empty() {
            return false;
        }
        let (name, known) = (name_of(host), "a server with a deletion was put there");
        for request in &deleted {
            self.scheduler.release(&name, request).expect(known);
        }
        let grows = self.grow_here(address, server) == Growth::Taken;
        for request in &deleted {
            self.scheduler.force(&name, request).expect(known);
            self.scheduler.leave(&name, request).expect(known);
        }
        if grows {
            self.placements.after_deletions.insert(address.clone());
        }
        grows
    }

    /// One that is made anew on its host finds there what it asks then, or stays as it is.
    fn rebuild_here(&mut self, address: &Address, server: &ServerDiff, why: &Reason) {
        let Some((seat, before, mut after)) = self.change_of(address, server) else {
            return;
        };
        after.wants = larger(before.wants, after.wants);
        let host = name_of(&seat.host);
        if self.scheduler.release(&host, &before).is_err() {
            return;
        }
        // Of what it has it keeps nothing: it is asked about as somebody who comes.
        let comes = Request {
            name: name_of(&server.id),
            ..after.clone()
        };
        let refusals = self.scheduler.refusals(&host, &comes);
        let mut refusals = refusals.expect("it was just released there");
        // Where the host was overfull before, one that asks for no more is not to blame.
        refusals.retain(|refusal| match refusal.filter.row().depends {
            Depends::Ram => after.wants.ram_mib > before.wants.ram_mib,
            Depends::Disk => after.wants.disk_mib > before.wants.disk_mib,
            Depends::Vcpus => after.wants.vcpus > before.wants.vcpus,
            Depends::Devices => true,
            Depends::Facts
            | Depends::Specs
            | Depends::Usage
            | Depends::Members
            | Depends::Others
            | Depends::Placement => false,
        });
        let taken = if refusals.is_empty() { &after } else { &before };
        self.scheduler
            .force(&host, taken)
            .expect("it was just released there");
        if refusals.is_empty() {
            return;
        }
        self.placements.stuck.insert(address.clone());
        self.placements.blocked.push(Blocked {
            address: address.clone(),
            verb: "replace".to_owned(),
            why: why.clone(),
            by: BlockedBy::NoHost {
                conflict: refusals
                    .iter()
                    .map(|refusal| refusal.filter.name().to_owned())
                    .collect(),
                rejections: refusals
                    .iter()
                    .map(|refusal| HostRejection {
                        host: seat.host.clone(),
                        filter: refusal.filter.name().to_owned(),
                        why: refusal.rejection.to_string(),
                    })
                    .collect(),
            },
            hint: "it is made anew where it is: make room there, move it first (drover server migrate), or ask for less"
                .to_owned(),
        });
    }

    /// Takes the room for a server's new size on its host, where there is any.
    fn grow_here(&mut self, address: &Address, server: &ServerDiff) -> Growth {
        let Some((seat, before, mut after)) = self.change_of(address, server) else {
            return Growth::None;
        };
        after.wants = larger(before.wants, after.wants);
        let same = after.wants == before.wants && after.demand == before.demand;
        if !cast::updates(server) || same {
            return Growth::None;
        }
        let host = name_of(&seat.host);
        if self.scheduler.release(&host, &before).is_err() {
            return Growth::None;
        }
        let refusals = self.scheduler.refusals(&host, &after);
        let lacks_room =
            refusals.is_ok_and(|refusals| refusals.iter().any(|refusal| is_room(refusal.filter)));
        let taken = if lacks_room { &before } else { &after };
        self.scheduler
            .force(&host, taken)
            .expect("it was just released there");
        if lacks_room {
            return Growth::NoRoom;
        }
        self.grown.insert(address.clone());
        Growth::Taken
    }
}

/// Whether a server's new size was found room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// It does not get larger here.
    None,
    /// It has the room.
    Taken,
    /// Its host has too little.
    NoRoom,
}

/// Who is named in `different_host`, and by whom.
fn shunned(diff: &FleetDiff) -> BTreeMap<&Address, Vec<&Address>> {
    let mut shunned: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for (address, server) in &diff.servers {
        let named = server.desired.iter().flat_map(|spec| &spec.hints.different_host);
        for other in named {
            shunned.entry(other).or_default().push(address);
        }
    }
    shunned
}

fn is_deleted(server: &ServerDiff) -> bool {
    let mut steps = server.steps.iter();
    steps.any(|step| matches!(step, ServerStep::Delete { .. }))
}

/// Whether a server is Drover's no longer, whether its guest goes or stays.
fn is_let_go(server: &ServerDiff) -> bool {
    let mut steps = server.steps.iter();
    steps.any(|step| {
        matches!(
            step,
            ServerStep::Delete { .. } | ServerStep::Release { .. } | ServerStep::Forget { .. }
        )
    })
}

const fn is_rebuild(step: &ServerStep) -> bool {
    matches!(step, ServerStep::Rebuild { .. })
}

/// Whether a filter asks for room, and not for what kind of host it is.
fn is_room(filter: Filter) -> bool {
    matches!(
        filter.row().depends,
        Depends::Ram | Depends::Disk | Depends::Vcpus | Depends::Devices
    )
}
