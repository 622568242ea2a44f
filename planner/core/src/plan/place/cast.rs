//! The part of a fleet that a search for moves is about: hosts and servers, put into its numbers.

use super::super::demand::larger as larger_demand;
use super::super::reason::Reason;
use super::super::world::{larger, name_of};
use super::sequence::{Amount, Cells, Host, Policy, Problem, Server};
use super::{Placer, able, is_let_go};
use crate::diff::{ServerDiff, ServerStep};
use crate::model::GroupPolicy;
use crate::placement::filters::Depends;
use crate::placement::{HostDevices, Name, Request, Resources, Scheduler};
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the search is about: the hosts and servers behind its numbers.
pub(super) struct Cast {
    pub(super) hosts: Vec<HostName>,
    pub(super) servers: Vec<Address>,
    pub(super) problem: Problem,
}

/// What a server asks of hosts, as it is and as it is to be.
pub(super) struct Sizes {
    pub(super) now: Request,
    pub(super) then: Request,
}

/// Where a server may go.
struct Reach {
    may: Vec<bool>,
    movable: bool,
    /// Whether it is to have its later size.
    grows: bool,
}

/// Whether facts alone keep a server off a host, whatever moves.
fn is_lasting(depends: Depends) -> bool {
    match depends {
        Depends::Facts | Depends::Specs | Depends::Usage => true,
        Depends::Ram
        | Depends::Disk
        | Depends::Vcpus
        | Depends::Members
        | Depends::Others
        | Depends::Devices
        | Depends::Placement => false,
    }
}

fn amount(request: &Request) -> Amount {
    let Resources {
        vcpus,
        ram_mib,
        disk_mib,
    } = request.wants;
    [ram_mib as f64, disk_mib as f64, vcpus as f64]
}

impl Placer<'_> {
    pub(super) fn sizes(&self, address: &Address) -> Option<Sizes> {
        let server = &self.diff.servers[address];
        let mut now = self.present(address, server)?;
        let mut then = self.wanted(address, server)?;
        then.wants = larger(now.wants, then.wants);
        then.demand = larger_demand(self.inputs.desired, now.demand.clone(), then.demand);
        if self.grown.contains(address) {
            now.wants = then.wants;
            now.demand.clone_from(&then.demand);
        } else if !updates(server) && !self.placements.moves.contains_key(address) {
            then.wants = now.wants;
            then.demand.clone_from(&now.demand);
        }
        Some(Sizes { now, then })
    }

    pub(super) fn where_is(
        &self,
        address: &Address,
        server: &ServerDiff,
        at: &BTreeMap<Address, HostName>,
    ) -> Option<HostName> {
        let moved = at.get(address).cloned();
        moved.or_else(|| server.seat.as_ref().map(|seat| seat.host.clone()))
    }

    /// Whether what no move changes lets a server be on a host.
    pub(super) fn may_be_on(
        &self,
        scheduler: &Scheduler,
        server: &ServerDiff,
        source: &HostName,
        host: &HostName,
        then: &Request,
    ) -> bool {
        if able::cannot_take(self.inputs, server, Some(source), host, None).is_some() {
            return false;
        }
        let refusals = scheduler.refusals(&name_of(host), then);
        refusals.is_ok_and(|refusals| {
            refusals
                .iter()
                .all(|refusal| !is_lasting(refusal.filter.row().depends))
        })
    }

    /// Puts these hosts, and everybody on them, before the search. `wanted` are the movers that must be helped; all
    /// other servers may help, but those whose move is not to be.
    pub(super) fn cast(
        &self,
        scheduler: &Scheduler,
        hosts: Vec<HostName>,
        movers: &BTreeMap<Address, Reason>,
        wanted: &BTreeSet<&Address>,
        at: &BTreeMap<Address, HostName>,
    ) -> Option<Cast> {
        let targets = hosts.clone();
        self.assemble(scheduler, hosts, at, |address, server, host, then| {
            let mover = movers.get(address);
            let is_wanted = wanted.contains(address);
            let movable = if is_wanted {
                !able::is_fixed(self.inputs, server)
            } else {
                mover.is_none() && able::may_help(self.inputs, address, server)
            };
            let requested = self.requested(address);
            let leaves = is_wanted
                && at.get(address).is_none()
                && mover.is_some_and(|why| {
                    matches!(
                        why,
                        Reason::HostDrained { .. }
                            | Reason::HostRemoved { .. }
                            | Reason::ZoneBroken { .. }
                            | Reason::Requested
                            | Reason::Balances
                    )
                });
            let may = targets
                .iter()
                .map(|to| {
                    if to == host {
                        !leaves
                    } else {
                        movable
                            && requested.is_none_or(|wanted| wanted == to)
                            && self.may_be_on(scheduler, server, host, to, then)
                    }
                })
                .collect();
            Reach {
                may,
                movable,
                grows: mover.is_none() || is_wanted,
            }
        })
    }

    /// The same where nobody is to be moved any further.
    pub(super) fn cast_as_it_is(&self, scheduler: &Scheduler, hosts: Vec<HostName>) -> Option<Cast> {
        self.assemble(scheduler, hosts, &BTreeMap::new(), |_, _, _, _| Reach {
            may: Vec::new(),
            movable: false,
            grows: true,
        })
    }

    fn assemble(
        &self,
        scheduler: &Scheduler,
        hosts: Vec<HostName>,
        at: &BTreeMap<Address, HostName>,
        reach: impl Fn(&Address, &ServerDiff, &HostName, &Request) -> Reach,
    ) -> Option<Cast> {
        let number: BTreeMap<&HostName, usize> = hosts.iter().zip(0..).collect();
        let devices: Option<Vec<Option<Arc<HostDevices>>>> = hosts
            .iter()
            .map(|host| Some(scheduler.host_devices(&name_of(host)).ok()?.map(Arc::new)))
            .collect();
        let devices = devices?;
        let mut groups: BTreeMap<Name, usize> = BTreeMap::new();
        let mut policies = Vec::new();
        let mut addresses = Vec::new();
        let mut servers = Vec::new();
        let mut named: Vec<(BTreeSet<Name>, BTreeSet<Name>)> = Vec::new();
        for (address, server) in &self.diff.servers {
            let Some(host) = self.where_is(address, server, at) else {
                continue;
            };
            let Some(here) = number.get(&host).copied() else {
                continue;
            };
            let Sizes { now, mut then } = self.sizes(address)?;
            let Reach { may, movable, grows } = reach(address, server, &host, &then);
            if !grows {
                then.wants = now.wants;
                then.demand.clone_from(&now.demand);
            }
            if is_let_go(server) {
                then.group = None;
                then.same_host.clear();
                then.different_host.clear();
            }
            let group = then.group.as_ref().and_then(|name| {
                let policy = self.policy_of(server)?;
                Some(*groups.entry(name.clone()).or_insert_with(|| {
                    policies.push(policy);
                    policies.len() - 1
                }))
            });
            addresses.push(address.clone());
            let taken = devices[here].as_ref();
            let taken = taken.and_then(|devices| devices.taken(&name_of(address)));
            let has_cells = now.demand.is_some() || then.demand.is_some() || taken.is_some();
            let moved = at.contains_key(address);
            servers.push(Server {
                at: here,
                now: amount(if moved { &then } else { &now }),
                then: amount(&then),
                may,
                group,
                movable,
                cells: has_cells.then(|| Cells {
                    name: name_of(address),
                    now: if moved { then.demand.clone() } else { now.demand },
                    then: then.demand,
                }),
                with: None,
                without: Vec::new(),
            });
            named.push((then.same_host, then.different_host));
        }
        if named
            .iter()
            .any(|(with, without)| !(with.is_empty() && without.is_empty()))
        {
            let positions: BTreeMap<Name, usize> = addresses.iter().map(name_of).zip(0..).collect();
            let known = |names: &BTreeSet<Name>| -> Vec<usize> {
                names
                    .iter()
                    .filter_map(|name| positions.get(name).copied())
                    .collect()
            };
            for (server, (with, without)) in servers.iter_mut().zip(&named) {
                server.with = (!with.is_empty()).then(|| known(with));
                server.without = known(without);
            }
        }
        let rooms: Option<Vec<Host>> = hosts
            .iter()
            .zip(devices)
            .map(|(host, devices)| {
                let room = scheduler.room(&name_of(host)).ok()?;
                Some(Host {
                    free: room.free,
                    largest: room.largest,
                    devices,
                })
            })
            .collect();
        Some(Cast {
            problem: Problem {
                hosts: rooms?,
                servers,
                groups: policies,
            },
            hosts,
            servers: addresses,
        })
    }

    fn policy_of(&self, server: &ServerDiff) -> Option<Policy> {
        let spec = server.desired.as_ref().or(server.recorded.as_ref())?;
        let group = self.inputs.desired.groups.get(spec.group.as_ref()?)?;
        match group.spec.policy {
            GroupPolicy::AntiAffinity => Some(Policy::Apart(group.spec.max_server_per_host as usize)),
            GroupPolicy::Affinity => Some(Policy::Together),
            GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity => None,
        }
    }
}

/// Whether the server is changed where it is.
pub(super) fn updates(server: &ServerDiff) -> bool {
    let mut steps = server.steps.iter();
    steps.any(|step| matches!(step, ServerStep::Update { .. }))
}
