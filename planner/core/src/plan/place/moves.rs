//! Servers that leave their host: each goes to the best host that its filters and its frozen guest allow.

use super::super::build::Inputs;
use super::super::demand::larger as larger_demand;
use super::super::reason::Reason;
use super::super::types::{Blocked, BlockedBy, HostRejection};
use super::super::world::{larger, name_of};
use super::words::{self, constraints, hint};
use super::{EXPLAINED, Placer, able};
use crate::diff::ServerDiff;
use crate::model::GroupPolicy;
use crate::placement::{Explanation, Filter, Name, Remedy, Request, conflict_key};
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};

/// The host that a reason wants emptied.
pub(super) fn emptied(why: &Reason) -> Option<&HostName> {
    if let Reason::HostDrained { host } | Reason::HostRemoved { host } = why {
        Some(host)
    } else {
        None
    }
}

impl Placer<'_> {
    pub(super) fn relocate(&mut self, address: &Address, server: &ServerDiff, why: Reason) {
        self.placements.moves.remove(address);
        let Some((seat, before, mut after)) = self.change_of(address, server) else {
            return;
        };
        if server.imported.is_some() {
            if let Some(host) = emptied(&why) {
                self.emptying_failed.insert(host.clone(), address.clone());
            }
            self.placements.blocked.push(Blocked {
                address: address.clone(),
                verb: "migrate".to_owned(),
                why,
                by: BlockedBy::Imported {
                    host: seat.host.clone(),
                },
                hint: "replace it (--replace), which makes a new server from its image, or take it out of the records \
                       with `drover state rm`"
                    .to_owned(),
            });
            return;
        }
        if able::is_tied(self.inputs, server) {
            if let Some(host) = emptied(&why) {
                self.emptying_failed.insert(host.clone(), address.clone());
            }
            self.placements.blocked.push(Blocked {
                address: address.clone(),
                verb: "migrate".to_owned(),
                why,
                by: BlockedBy::HasDevices {
                    host: seat.host.clone(),
                },
                hint:
                    "switch it off (power = \"off\") and plan again: it moves then with its disk, and takes \
                       devices of the host where it goes"
                        .to_owned(),
            });
            return;
        }
        if let Some(closed) = emptied(&why).and_then(|host| self.closed.get(host)) {
            let blocker = &closed.blocked.address;
            if blocker == address {
                // It finds room only because the others stay now; it stays with them.
                self.placements.blocked.push(closed.blocked.clone());
                if let Some(explanation) = &closed.explanation {
                    self.placements
                        .explanations
                        .insert(address.clone(), explanation.clone());
                }
                return;
            }
            self.placements.blocked.push(Blocked {
                address: address.clone(),
                verb: "migrate".to_owned(),
                why,
                by: BlockedBy::Needs {
                    address: blocker.clone(),
                },
                hint: "a host is emptied as a whole or not at all".to_owned(),
            });
            return;
        }
        after.wants = larger(before.wants, after.wants);
        after.demand = larger_demand(self.inputs.desired, before.demand.clone(), after.demand);
        let source = name_of(&seat.host);
        // The source keeps the server until the end of the move, but no longer as a member of its group.
        if self.scheduler.leave(&source, &before).is_err() {
            return;
        }
        let mut aside = before.clone();
        aside.group = None;
        let requested = self.requested(address).cloned();
        let joins = self.home_of_group(address, server);
        if !self.explain
            && !self.is_explained(address)
            && let Some(best) = self.best_for(server, &seat.host, &after, requested.as_ref(), joins.as_ref())
        {
            self.scheduler
                .force(&name_of(&best), &after)
                .expect("the engine named a host that it has");
            let placement = words::unexplained(best.clone());
            self.placements.hosts.insert(address.clone(), best);
            self.placements.chosen.insert(address.clone(), placement);
            self.placements.moves.insert(address.clone(), why);
            return;
        }
        self.verdicts += self.hosts.len();
        if self.verdicts > EXPLAINED && !self.is_explained(address) && !self.explain {
            // It finds no host, as so many before it; each host is looked at no more.
            let conflict = self.conflicts.get(&conflict_key(&after)).cloned();
            self.scheduler
                .release(&source, &aside)
                .expect("it is just leaving there");
            self.scheduler
                .force(&source, &before)
                .expect("it was just released there");
            let hint = "`drover plan --explain ADDRESS` shows every host".to_owned();
            self.stay(address, why, Vec::new(), conflict.unwrap_or_default(), hint);
            return;
        }
        let mut explanation = self.scheduler.explain(&after);
        let mut whole = explanation.clone();
        let mut refused = Vec::new();
        explanation.hosts.retain(|verdict| {
            let Some(host) = self.hosts.get(&verdict.host) else {
                return false;
            };
            let refusal = able::cannot_take(self.inputs, server, Some(&seat.host), host, requested.as_ref())
                .or_else(|| joins_nobody(host, joins.as_ref()));
            match refusal {
                Some((filter, reason)) => {
                    whole.bar(&verdict.host, &reason);
                    if *host != seat.host {
                        refused.push(HostRejection {
                            host: host.clone(),
                            filter: filter.to_owned(),
                            why: reason,
                        });
                    }
                    false
                }
                None => true,
            }
        });
        let best = best(&explanation);
        whole.choose(best.clone());
        self.keep_explanation(address, whole);
        let Some(best) = best else {
            let stuck = matches!(why, Reason::NoRoomHere { .. });
            let gone = "it is just leaving there";
            let mut conflict = None;
            if !stuck {
                conflict = self.scheduler.conflict(&after);
                if let Some(conflict) = &mut conflict {
                    // That the server could stay where it is helps nobody who wants it moved.
                    conflict
                        .remedies
                        .retain(|remedy| !matches!(remedy, Remedy::Mend { host, .. } if *host == source));
                }
            }
            self.scheduler.release(&source, &aside).expect(gone);
            let mut rejections = self.rejections(&explanation);
            rejections.extend(refused);
            if stuck {
                // One that is to grow may as well do so at home, without what it has there now.
                conflict = self.scheduler.conflict(&after);
                let here = self.scheduler.refusals(&source, &after).expect(gone);
                rejections.extend(here.iter().take(1).map(|refusal| HostRejection {
                    host: seat.host.clone(),
                    filter: refusal.filter.name().to_owned(),
                    why: refusal.rejection.to_string(),
                }));
            }
            self.scheduler.force(&source, &before).expect(gone);
            rejections.sort_by(|one, other| one.host.cmp(&other.host));
            let (filters, hint) = (constraints(conflict.as_ref()), hint(conflict.as_ref(), None));
            self.conflicts
                .entry(conflict_key(&after))
                .or_insert_with(|| filters.clone());
            self.stay(address, why, rejections, filters, hint);
            return;
        };
        self.scheduler
            .force(&best, &after)
            .expect("the engine named a host that it has");
        let to = self
            .hosts
            .get(&best)
            .expect("every host of the engine is in the map")
            .clone();
        let placement = self.describe(&explanation, to.clone());
        self.placements.hosts.insert(address.clone(), to);
        self.placements.chosen.insert(address.clone(), placement);
        self.placements.moves.insert(address.clone(), why);
    }

    /// Notes that a server finds no host, and stays where it is.
    fn stay(
        &mut self,
        address: &Address,
        why: Reason,
        rejections: Vec<HostRejection>,
        conflict: Vec<String>,
        hint: String,
    ) {
        if let Some(host) = emptied(&why) {
            self.emptying_failed.insert(host.clone(), address.clone());
        }
        let stuck = matches!(why, Reason::NoRoomHere { .. });
        if stuck {
            self.placements.stuck.insert(address.clone());
        }
        self.placements.blocked.push(Blocked {
            address: address.clone(),
            verb: if stuck { "update" } else { "migrate" }.to_owned(),
            why,
            by: BlockedBy::NoHost { rejections, conflict },
            hint,
        });
    }

    /// The hosts of those members of a server's affinity group that stay where they are, or have moved: whom it may
    /// join for good. Nothing where it need not, or all others have yet to move.
    fn home_of_group(&self, address: &Address, server: &ServerDiff) -> Option<BTreeSet<HostName>> {
        let members = self.together.get(affinity_group(self.inputs, server)?)?;
        let settled = members
            .iter()
            .filter(|other| **other != address && !self.pending.contains(**other));
        let hosts: BTreeSet<HostName> = settled
            .filter_map(|other| self.placements.hosts.get(*other).cloned())
            .collect();
        (!hosts.is_empty()).then_some(hosts)
    }

    /// The host that a server was asked to go to.
    pub(super) fn requested(&self, address: &Address) -> Option<&HostName> {
        self.requested.get(address).copied()
    }

    /// The best host for a server that leaves its own, found without asking every host.
    fn best_for(
        &mut self,
        server: &ServerDiff,
        source: &HostName,
        after: &Request,
        requested: Option<&HostName>,
        joins: Option<&BTreeSet<HostName>>,
    ) -> Option<HostName> {
        let mut count = 4;
        loop {
            let best = self
                .scheduler
                .ranked(&name_of(source), after, count)
                .expect("a seat is on a host that the engine has");
            let able = best.iter().filter_map(|name| self.hosts.get(name)).find(|host| {
                able::cannot_take(self.inputs, server, Some(source), host, requested).is_none()
                    && joins_nobody(host, joins).is_none()
            });
            if let Some(able) = able {
                return Some(able.clone());
            }
            if best.len() < count {
                return None;
            }
            count *= 16;
        }
    }
}

/// The members of every affinity group.
pub(super) fn together<'a>(
    inputs: &'a Inputs<'_>,
    servers: &'a BTreeMap<Address, ServerDiff>,
) -> BTreeMap<&'a Address, Vec<&'a Address>> {
    let mut together: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for (address, server) in servers {
        if let Some(group) = affinity_group(inputs, server) {
            together.entry(group).or_default().push(address);
        }
    }
    together
}

fn affinity_group<'a>(inputs: &Inputs<'_>, server: &'a ServerDiff) -> Option<&'a Address> {
    let spec = server.desired.as_ref().or(server.recorded.as_ref())?;
    let group = spec.group.as_ref()?;
    let policy = inputs.desired.groups.get(group)?.spec.policy;
    (policy == GroupPolicy::Affinity).then_some(group)
}

/// Why a server does not move to members of its group who will not stay there.
fn joins_nobody(host: &HostName, joins: Option<&BTreeSet<HostName>>) -> Option<(&'static str, String)> {
    let homeless = joins.is_some_and(|joins| !joins.contains(host));
    homeless.then(|| {
        let filter = Filter::GroupAffinity.name();
        (filter, "no member of its group stays there".to_owned())
    })
}

/// The first of the hosts with the highest weight.
fn best(explanation: &Explanation) -> Option<Name> {
    let mut best: Option<(&Name, f64)> = None;
    for verdict in &explanation.hosts {
        if let Some(total) = verdict.total
            && best.is_none_or(|(_, highest)| total > highest)
        {
            best = Some((&verdict.host, total));
        }
    }
    best.map(|(name, _)| name.clone())
}
