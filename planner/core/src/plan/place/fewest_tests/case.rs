//! Fleets of a few servers with what is asked of them, in plain form: what may move where, and the fewest moves by trying
//! everything.

use super::super::super::tests::plan;
use super::super::super::{Plan, PlanOptions};
use super::super::moves_tests::{drain, fleet, resize, seated};
use crate::model::{GroupPolicy, HostObservation, Needs};
use crate::testing::{address, host, with_group, with_server};
use drover_numa::{Beside, CellUse, Cells, CpuPolicy, GuestCell, NumaCell, NumaLimits, ThreadPolicy};
use drover_types::{Address, Ratio};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub(super) const HOSTS: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// Where a server is that is yet to be created.
pub(super) const NOWHERE: usize = HOSTS.len();

/// What each host offers.
pub(super) const OFFERED_MIB: u64 = 6144;

/// The zones of hosts.
pub(super) const ZONES: [&str; 4] = ["left", "left", "right", "right"];

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) on: usize,
    pub(super) mib: u64,
    /// How much more it is to have.
    pub(super) grows_mib: u64,
    pub(super) zone: Option<&'static str>,
    pub(super) is_member: bool,
    pub(super) with: BTreeSet<usize>,
    pub(super) without: BTreeSet<usize>,
    /// Those that are to be there before it.
    pub(super) after: BTreeSet<usize>,
    /// Whether it is declared no longer.
    pub(super) goes: bool,
    /// The processors that it is pinned to, where it has its own.
    pub(super) pinned: Vec<CellUse>,
}

impl Server {
    /// Where it finds processors of its own among those that others leave, and nothing where it has none.
    pub(super) fn seat_on<'a>(&self, taken: impl Iterator<Item = &'a CellUse>) -> Option<Vec<CellUse>> {
        let mut cells = cells();
        for taken in taken {
            cells[taken.cell as usize].promise(taken);
        }
        let ratio = |ratio: f64| Ratio::try_from(ratio).expect("a ratio");
        let limits = NumaLimits {
            cpu_ratio: ratio(16.0),
            ram_ratio: ratio(1.5),
        };
        let seats = Cells::new(&cells).fit(&self.guest_cells(), limits, Beside::NOTHING);
        Some(seats.ok()?.into_iter().map(|seat| seat.taken).collect())
    }

    pub(super) fn own(&self) -> u64 {
        self.pinned.iter().map(|taken| taken.pinned.len() as u64).sum()
    }

    pub(super) fn guest_cells(&self) -> Vec<GuestCell> {
        let cell = GuestCell {
            vcpus: self.own(),
            numbers: Vec::new(),
            memory_mib: self.mib,
            policy: CpuPolicy::Dedicated,
            threads: ThreadPolicy::Prefer,
            page: None,
        };
        if self.pinned.is_empty() {
            Vec::new()
        } else {
            vec![cell]
        }
    }
}

/// Each host has two cells with two processors to pin servers to.
pub(super) fn cells() -> Vec<NumaCell> {
    let cell = |id: u32| NumaCell {
        id,
        dedicated_cpus: [2 * id, 2 * id + 1].into(),
        memory_mib: 8192,
        ..NumaCell::default()
    };
    vec![cell(0), cell(1)]
}

/// Servers of a fleet, and what is asked of it: hosts drained, zones named, one group declared, sizes changed.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) hosts: usize,
    pub(super) servers: Vec<Server>,
    pub(super) drained: Vec<bool>,
    pub(super) policy: GroupPolicy,
}

/// Where a server is, in which cells, and whether it has its later size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) host: usize,
    pub(super) grown: bool,
    pub(super) pinned: Vec<CellUse>,
}

impl Case {
    pub(super) fn first(&self) -> Vec<Place> {
        let servers = self.servers.iter();
        servers
            .map(|server| Place {
                host: server.on,
                grown: server.grows_mib == 0,
                pinned: server.pinned.clone(),
            })
            .collect()
    }

    pub(super) fn used(&self, at: &[Place], on: usize) -> u64 {
        let here = self.servers.iter().zip(at).filter(|(_, at)| at.host == on);
        here.map(|(server, place)| server.mib + if place.grown { server.grows_mib } else { 0 })
            .sum()
    }

    /// What the move of a server to a host breaks for good, with everybody where they are, if anything.
    pub(super) fn is_wrong_at(&self, at: &[Place], server: usize, to: usize) -> Option<&'static str> {
        let it = &self.servers[server];
        let is_there = |other: &usize| at[*other].host == to;
        let members: Vec<usize> = (0..at.len())
            .filter(|other| it.is_member && self.servers[*other].is_member && *other != server)
            .filter(|other| at[*other].host != NOWHERE)
            .collect();
        // Who goes is in the way until then, and nobody's company.
        let stays = |other: &usize| !self.servers[*other].goes;
        let group = match self.policy {
            GroupPolicy::AntiAffinity => !members.iter().any(is_there),
            GroupPolicy::Affinity => {
                let mut company = members.iter().filter(|other| stays(other)).peekable();
                company.peek().is_none() || company.any(is_there)
            }
            GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity => true,
        };
        [
            ("active", !self.drained[to]),
            ("zone", it.zone.is_none_or(|zone| zone == ZONES[to])),
            (
                "company",
                it.with.is_empty() || it.with.iter().any(|other| stays(other) && is_there(other)),
            ),
            (
                "apart",
                !(0..at.len()).any(|other| {
                    let names = it.without.contains(&other) || self.servers[other].without.contains(&server);
                    names && is_there(&other)
                }),
            ),
            ("group", group),
        ]
        .into_iter()
        .find_map(|(what, holds)| (!holds).then_some(what))
    }

    /// The cells in which a server would be on a host.
    pub(super) fn seat(&self, at: &[Place], server: usize, to: usize) -> Option<Vec<CellUse>> {
        let there = at.iter().filter(|place| place.host == to);
        self.servers[server].seat_on(there.flat_map(|place| &place.pinned))
    }

    pub(super) fn may(&self, at: &[Place], server: usize, to: usize) -> bool {
        let it = &self.servers[server];
        let size = it.mib + it.grows_mib;
        // No server is promised more than there is at once, whatever the ratio.
        let fits = size <= 4096 && self.used(at, to) + size <= OFFERED_MIB;
        at[server].host != to && fits && self.is_wrong_at(at, server, to).is_none()
    }

    pub(super) fn in_order(&self, at: &[Place]) -> bool {
        let mut grown = at.to_vec();
        grown.iter_mut().for_each(|place| place.grown = true);
        let stays_well = |server: usize| {
            let (it, host) = (&self.servers[server], at[server].host);
            !self.drained[host] && it.zone.is_none_or(|zone| zone == ZONES[host])
        };
        let members = (0..at.len()).filter(|server| self.servers[*server].is_member);
        let of_group: Vec<usize> = members.map(|server| at[server].host).collect();
        let hosts: BTreeSet<usize> = of_group.iter().copied().collect();
        let group = match self.policy {
            GroupPolicy::AntiAffinity => hosts.len() == of_group.len(),
            GroupPolicy::Affinity => hosts.len() <= 1,
            GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity => true,
        };
        let room = (0..self.hosts).all(|host| {
            self.used(&grown, host) <= OFFERED_MIB || self.used(&grown, host) == self.used(at, host)
        });
        (0..at.len()).all(stays_well) && group && room
    }

    /// The fewest moves that bring everything in order, by looking at every state there is.
    pub(super) fn brute_force(&self) -> Option<usize> {
        let first = self.first();
        let mut seen = BTreeSet::from([first.clone()]);
        let mut queue = VecDeque::from([(first, 0)]);
        while let Some((at, moves)) = queue.pop_front() {
            if self.in_order(&at) {
                return Some(moves);
            }
            for server in 0..at.len() {
                for to in (0..self.hosts).filter(|to| self.may(&at, server, *to)) {
                    let Some(pinned) = self.seat(&at, server, to) else {
                        continue;
                    };
                    let mut next = at.clone();
                    next[server] = Place {
                        host: to,
                        grown: true,
                        pinned,
                    };
                    if seen.insert(next.clone()) {
                        queue.push_back((next, moves + 1));
                    }
                }
            }
        }
        None
    }

    pub(super) fn plan(&self) -> Plan {
        let name = |number: usize| format!("server.s{number}");
        let names: Vec<String> = (0..self.servers.len()).map(name).collect();
        let old = || names.iter().zip(&self.servers).filter(|(_, it)| it.on != NOWHERE);
        let sizes: Vec<(&str, u64)> = old().map(|(name, server)| (name.as_str(), server.mib)).collect();
        let mut fleet = fleet(&HOSTS[..self.hosts], &sizes);
        for (name, zone) in HOSTS.iter().zip(ZONES).take(self.hosts) {
            let declared = fleet.hosts.get_mut(&host(name)).expect("declared");
            declared.spec.availability_zone = Some(zone.to_owned());
        }
        let filters = ["SameHostFilter", "DifferentHostFilter", "NUMATopologyFilter"];
        fleet.scheduler.filters.extend(filters.map(str::to_owned));
        let seats: Vec<(&str, &str)> = old()
            .map(|(name, server)| (name.as_str(), HOSTS[server.on]))
            .collect();
        for (at, server) in old() {
            let declared = fleet.servers.get_mut(&address(at)).expect("declared");
            if !server.pinned.is_empty() {
                let pin = ("hw:cpu_policy".to_owned(), "dedicated".to_owned());
                declared.spec.size.extra_specs = [pin].into();
                declared.spec.size.vcpus = u32::try_from(server.own()).expect("few");
            }
        }
        let (mut recorded, mut observed) = seated(&fleet, &seats);
        for at in names
            .iter()
            .filter(|at| !recorded.servers.contains_key(&address(at)))
        {
            fleet = with_server(fleet, at, None);
        }
        for observation in observed.values_mut() {
            let HostObservation::Reported(inventory) = observation else {
                panic!("all hosts answer");
            };
            inventory.facts.cells = cells();
            for (at, server) in old() {
                let id = recorded.servers[&address(at)].id.uuid();
                if let Some(domain) = inventory.domains.get_mut(&id) {
                    domain.cells.clone_from(&server.pinned);
                }
            }
        }
        fleet = with_group(fleet, "group.g", self.policy);
        for (at, server) in names.iter().zip(&self.servers) {
            let declared = fleet.servers.get_mut(&address(at)).expect("declared");
            let named = |of: &BTreeSet<usize>| -> BTreeSet<Address> {
                of.iter().map(|other| address(&names[*other])).collect()
            };
            declared.spec.hints.same_host = named(&server.with);
            declared.spec.hints.different_host = named(&server.without);
            declared.spec.availability_zone = server.zone.map(str::to_owned);
            declared.spec.group = server.is_member.then(|| address("group.g"));
            resize(&mut fleet, at, server.mib + server.grows_mib);
            let first: BTreeSet<Address> = named(&server.after);
            if !first.is_empty() {
                let needs = Needs::all(vec![Arc::new(first)]);
                fleet.depends_on.insert(address(at), needs);
            }
        }
        for (at, _) in names.iter().zip(&self.servers).filter(|(_, server)| server.goes) {
            let declared = fleet.servers.remove(&address(at)).expect("declared");
            fleet.depends_on.remove(&address(at));
            let record = recorded.servers.get_mut(&address(at)).expect("it is there");
            record.spec.group = declared.spec.group;
        }
        let drained: Vec<&str> = (0..self.hosts)
            .filter(|at| self.drained[*at])
            .map(|at| HOSTS[at])
            .collect();
        drain(&mut fleet, &drained);
        plan(&fleet, &recorded, &observed, &PlanOptions::default())
    }
}
