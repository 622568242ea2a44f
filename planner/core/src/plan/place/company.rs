//! What creates wait for beside room: that a member of their group has left or is deleted, or that their company is
//! there; and what moves wait for of deletions.
//!
//! A host is chosen for a server that is created as if all migrations and deletions were done. Room it never shares
//! with one that leaves, as every server keeps its own until the end of its move; of groups and of servers that ask for
//! each other this must be seen to.

use super::super::world::where_counted;
use super::{Hop, Placer, is_deleted, is_let_go};
use crate::diff::{ServerDiff, ServerStep};
use crate::model::{GroupPolicy, ServerSpec};
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};

/// The members of a group on one host, over the time of an apply.
#[derive(Default)]
struct Members {
    /// Who is there before it.
    first: u64,
    /// Who is there all the time.
    stays: bool,
    /// Who comes to it.
    coming: u64,
    /// The migrations that take one away.
    leaving: Vec<Hop>,
    /// Those that are deleted, for good or because a successor is elsewhere.
    deleted: Vec<Address>,
    /// A migration that brings one for good.
    arrival: Option<Hop>,
}

/// What must be done before a server is created.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateWaits {
    /// Migrations.
    pub moves: Vec<Hop>,
    /// Deletions of servers.
    pub deleted: Vec<Address>,
}

impl CreateWaits {
    fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.deleted.is_empty()
    }
}

impl Placer<'_> {
    /// Notes what each create waits for.
    pub(super) fn wait_for_company(&mut self) {
        self.keep_company_here();
        let paths = self.paths();
        let mut waits = BTreeMap::new();
        let members = self.members(&paths);
        let late: Vec<Address> = paths
            .iter()
            .filter(|(address, path)| self.meets_deleted(address, path, &members))
            .map(|(address, _)| (*address).clone())
            .collect();
        for (address, placement) in &self.placements.chosen {
            let server = &self.diff.servers[address];
            let Some(spec) = to_be(server).filter(|_| comes(server)) else {
                continue;
            };
            let mut before = CreateWaits::default();
            let mut words = "is there";
            let hosts = std::iter::once(&placement.host).chain(&placement.alternates);
            if let Some((group, policy, limit)) = self.hard_group(spec) {
                for members in hosts.filter_map(|host| members.get(&(group, host))) {
                    match policy {
                        GroupPolicy::AntiAffinity if members.first + members.coming > limit => {
                            before.moves.extend(members.leaving.iter().cloned());
                            let others = members.deleted.iter().filter(|other| {
                                // Both may come to where the other one was.
                                !(is_replaced(server) && is_replaced(&self.diff.servers[*other]))
                            });
                            before.deleted.extend(others.cloned());
                            words = "has left";
                        }
                        GroupPolicy::Affinity if !members.stays => {
                            before.moves.extend(members.arrival.clone());
                        }
                        GroupPolicy::AntiAffinity
                        | GroupPolicy::Affinity
                        | GroupPolicy::SoftAffinity
                        | GroupPolicy::SoftAntiAffinity => {}
                    }
                }
            }
            before.moves.extend(self.company(spec, &placement.host, &paths));
            if !before.is_empty() {
                waits.insert(address.clone(), (before, words));
            }
        }
        for (address, (before, words)) in waits {
            let moved = before.moves.iter().map(|(address, _)| address);
            let others: BTreeSet<&Address> = moved.chain(&before.deleted).collect();
            let first = others.first().expect("it waits for somebody");
            let more = match others.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            if let Some(placement) = self.placements.chosen.get_mut(&address) {
                placement.why.push_str(&format!(", once {first} {words}{more}"));
            }
            self.placements.create_waits.insert(address, before);
        }
        self.placements.after_deletions.extend(late);
    }

    /// A server that is created, and with which another one is to be that is created too, has no alternates: on another
    /// host it would be alone, and so would that one.
    fn keep_company_here(&mut self) {
        let mut named = BTreeSet::new();
        for address in self.placements.chosen.keys() {
            let server = &self.diff.servers[address];
            let spec = to_be(server).filter(|_| comes(server));
            named.extend(spec.into_iter().flat_map(|spec| &spec.hints.same_host).cloned());
        }
        for address in named {
            if let Some(placement) = self.placements.chosen.get_mut(&address) {
                placement.alternates.clear();
            }
        }
    }

    /// The hosts of each server that moves, from the first to the last.
    fn paths(&self) -> BTreeMap<&Address, Vec<&HostName>> {
        let moves = self.placements.moves.keys();
        let paths = moves.filter_map(|address| {
            let seat = self.diff.servers[address].seat.as_ref()?;
            let to = self.placements.chosen.get(address)?;
            let via = self.placements.via.get(address).into_iter().flatten();
            let path = std::iter::once(&seat.host).chain(via);
            Some((address, path.chain(std::iter::once(&to.host)).collect()))
        });
        paths.collect()
    }

    /// The hard policy that a server is under, and how many members a host may hold.
    fn hard_group<'s>(&self, spec: &'s ServerSpec) -> Option<(&'s Address, GroupPolicy, u64)> {
        let group = spec.group.as_ref()?;
        let declared = &self.inputs.desired.groups.get(group)?.spec;
        match declared.policy {
            GroupPolicy::AntiAffinity | GroupPolicy::Affinity => {
                Some((group, declared.policy, u64::from(declared.max_server_per_host)))
            }
            GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity => None,
        }
    }

    fn members<'s>(
        &'s self,
        paths: &BTreeMap<&'s Address, Vec<&'s HostName>>,
    ) -> BTreeMap<(&'s Address, &'s HostName), Members> {
        let mut all: BTreeMap<(&Address, &HostName), Members> = BTreeMap::new();
        for (address, server) in &self.diff.servers {
            let group = to_be(server).and_then(|spec| Some(self.hard_group(spec)?.0));
            let Some(group) = group else {
                continue;
            };
            let path = paths.get(address).map(Vec::as_slice);
            if let Some(host) = where_counted(server) {
                let here = all.entry((group, host)).or_default();
                here.first += 1;
                here.stays |= path.is_none() && !ends(server);
                let succeeded = is_replaced(server) && self.placements.chosen.contains_key(address);
                if succeeded || is_deleted(server) {
                    here.deleted.push(address.clone());
                }
            }
            let last = path.map_or(0, |path| path.len() - 1);
            for (hop, host) in path.into_iter().flatten().enumerate() {
                let here = all.entry((group, host)).or_default();
                here.coming += u64::from(hop > 0);
                if hop < last {
                    here.leaving.push((address.clone(), hop));
                } else if here.arrival.is_none() {
                    here.arrival = Some((address.clone(), hop - 1));
                }
            }
            let created = (self.placements.chosen.get(address)).filter(|_| comes(server));
            for host in created
                .into_iter()
                .flat_map(|it| std::iter::once(&it.host).chain(&it.alternates))
            {
                all.entry((group, host)).or_default().coming += 1;
            }
        }
        all
    }

    /// Whether a server that moves comes where a member of its group is yet to be deleted and may not be beside it.
    fn meets_deleted(
        &self,
        address: &Address,
        path: &[&HostName],
        members: &BTreeMap<(&Address, &HostName), Members>,
    ) -> bool {
        let spec = to_be(&self.diff.servers[address]);
        let Some((group, GroupPolicy::AntiAffinity, limit)) = spec.and_then(|spec| self.hard_group(spec))
        else {
            return false;
        };
        let mut there = path.iter().skip(1).filter_map(|host| members.get(&(group, host)));
        there.any(|members| !members.deleted.is_empty() && members.first + members.coming > limit)
    }

    /// The migration of the first of those servers with which this one is to be that are not there at first.
    fn company(
        &self,
        spec: &ServerSpec,
        host: &HostName,
        paths: &BTreeMap<&Address, Vec<&HostName>>,
    ) -> Option<Hop> {
        let named = || spec.hints.same_host.iter();
        let is_there = |address: &Address| {
            let server = self.diff.servers.get(address);
            let there = server.and_then(where_counted) == Some(host);
            there && !paths.contains_key(address) && server.is_some_and(|server| !ends(server))
        };
        if named().any(is_there) {
            return None;
        }
        named().find_map(|address| {
            let path = paths.get(address)?;
            (path.last() == Some(&host)).then(|| (address.clone(), path.len() - 2))
        })
    }
}

/// A server as it is to be.
fn to_be(server: &ServerDiff) -> Option<&ServerSpec> {
    server.desired.as_ref().or(server.recorded.as_ref())
}

/// Whether a guest comes to be on a host that is chosen for it.
fn comes(server: &ServerDiff) -> bool {
    let mut steps = server.steps.iter();
    steps.any(|step| matches!(step, ServerStep::Create { .. } | ServerStep::Replace { .. }))
}

fn is_replaced(server: &ServerDiff) -> bool {
    let mut steps = server.steps.iter();
    steps.any(|step| matches!(step, ServerStep::Replace { .. }))
}

/// Whether a server as it is now does not outlive the apply.
fn ends(server: &ServerDiff) -> bool {
    is_let_go(server) || is_replaced(server)
}
