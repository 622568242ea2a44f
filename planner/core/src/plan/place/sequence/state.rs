//! Who is where at one moment: what may move next, and how many moves are still needed at least.

use super::{Amount, Cells, Policy, Problem, Server, Step, add, difference, fits, take};
use crate::placement::{HostDevices, Taken};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who is where: all that later moves depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Places {
    /// Each server's host.
    at: Vec<u16>,
    /// Those that left their host and came back: they have their later size there.
    back: BTreeSet<usize>,
    /// What those that have moved took of cells and devices where they are.
    seats: BTreeMap<usize, Taken>,
}

/// Who is where, and what is left of each host.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) places: Places,
    free: Vec<Amount>,
    devices: Vec<Option<Arc<HostDevices>>>,
}

fn narrow(host: usize) -> u16 {
    u16::try_from(host).expect("a problem has fewer than 65,536 hosts")
}

impl State {
    pub(super) fn first(problem: &Problem) -> Self {
        Self {
            places: Places {
                at: problem.servers.iter().map(|server| narrow(server.at)).collect(),
                back: BTreeSet::new(),
                seats: BTreeMap::new(),
            },
            free: problem.hosts.iter().map(|host| host.free).collect(),
            devices: problem.hosts.iter().map(|host| host.devices.clone()).collect(),
        }
    }

    pub(super) fn host_of(&self, server: usize) -> usize {
        usize::from(self.places.at[server])
    }

    /// Whether the move keeps every rule, while it lasts and when it is done.
    pub(super) fn allows(&self, problem: &Problem, step: Step) -> bool {
        let server = &problem.servers[step.server];
        let host = &problem.hosts[step.to];
        server.movable
            && step.from != step.to
            && server.may[step.to]
            && fits(&server.then, &host.largest)
            && fits(&server.then, &self.free[step.to])
            && self.company_allows(server, step)
            && self.group_allows(problem, step)
            && self.cells_allow(server, step)
    }

    fn cells_allow(&self, server: &Server, step: Step) -> bool {
        let Some((devices, cells)) = self.devices[step.to].as_ref().zip(server.cells.as_ref()) else {
            return true;
        };
        let demand = cells.then.as_ref();
        demand.is_none_or(|demand| devices.fit(&cells.name, demand))
    }

    fn company_allows(&self, server: &Server, step: Step) -> bool {
        let is_there = |other: &usize| self.host_of(*other) == step.to;
        let with = server.with.as_ref();
        with.is_none_or(|with| with.iter().any(is_there)) && !server.without.iter().any(is_there)
    }

    fn group_allows(&self, problem: &Problem, step: Step) -> bool {
        let Some(group) = problem.servers[step.server].group else {
            return true;
        };
        let mut others = 0;
        let mut there = 0;
        for (other, server) in problem.servers.iter().enumerate() {
            if other != step.server && server.group == Some(group) {
                others += 1;
                there += usize::from(self.host_of(other) == step.to);
            }
        }
        match problem.groups[group] {
            Policy::Apart(limit) => there < limit,
            Policy::Together => others == 0 || there > 0,
        }
    }

    pub(super) fn make(&mut self, problem: &Problem, step: Step) {
        let server = &problem.servers[step.server];
        // What has moved before has its later size already.
        let was_back = self.places.back.remove(&step.server);
        let size = if step.from == server.at && !was_back {
            server.now
        } else {
            server.then
        };
        if step.to == server.at && server.grows() {
            self.places.back.insert(step.server);
        }
        add(&mut self.free[step.from], &size);
        take(&mut self.free[step.to], &server.then);
        self.places.at[step.server] = narrow(step.to);
        let Some(cells) = &server.cells else {
            return;
        };
        if let Some(devices) = &mut self.devices[step.from] {
            Arc::make_mut(devices).give_back(&cells.name);
        }
        self.places.seats.remove(&step.server);
        if let Some(devices) = &mut self.devices[step.to] {
            let devices = Arc::make_mut(devices);
            devices.take(&cells.name, cells.then.as_deref());
            let taken = devices.taken(&cells.name);
            self.places
                .seats
                .extend(taken.map(|taken| (step.server, taken.clone())));
        }
    }

    /// Whether the cells of a host hold those that grow there, one after another.
    fn cells_hold(&self, host: usize, growing: &[&Cells]) -> bool {
        let Some(devices) = self.devices[host].as_ref().filter(|_| !growing.is_empty()) else {
            return true;
        };
        let mut devices = HostDevices::clone(devices);
        growing.iter().all(|cells| {
            devices.give_back(&cells.name);
            let fit = cells
                .then
                .as_ref()
                .is_none_or(|demand| devices.fit(&cells.name, demand));
            devices.take(&cells.name, cells.then.as_deref());
            fit
        })
    }

    /// The fewest moves that can be enough; zero exactly where everything is in order.
    pub(super) fn at_least(&self, problem: &Problem) -> usize {
        let hosts = problem.hosts.len();
        let mut leaves = vec![false; hosts];
        let mut counted = 0;
        let mut stays: Vec<Vec<usize>> = vec![vec![0; hosts]; problem.groups.len()];
        let mut members = vec![0_usize; problem.groups.len()];
        let mut leaving = vec![0_usize; problem.groups.len()];
        let mut grows = vec![[0.0; 3]; hosts];
        let mut grow_in_cells: Vec<Vec<&Cells>> = vec![Vec::new(); hosts];
        for (number, server) in problem.servers.iter().enumerate() {
            let host = self.host_of(number);
            let must = server.movable && !server.may[host];
            if let Some(group) = server.group {
                members[group] += 1;
                leaving[group] += usize::from(must);
                if !must {
                    stays[group][host] += 1;
                }
            }
            if must {
                counted += 1;
                leaves[host] = true;
            }
            if host == server.at && !self.places.back.contains(&number) {
                add(&mut grows[host], &difference(&server.then, &server.now));
                grow_in_cells[host].extend(server.cells.iter().filter(|cells| cells.then != cells.now));
            }
        }
        for (group, policy) in problem.groups.iter().enumerate() {
            match policy {
                Policy::Apart(limit) => {
                    for (host, number) in stays[group].iter().enumerate() {
                        let excess = number.saturating_sub(*limit);
                        counted += excess;
                        leaves[host] |= excess > 0;
                    }
                }
                Policy::Together => {
                    let most = stays[group].iter().copied().max().unwrap_or(0);
                    // Those that must leave anyway are counted already; all others must come to one host.
                    let apart = members[group].saturating_sub(most).max(leaving[group]);
                    counted += apart - leaving[group];
                    if apart > leaving[group] {
                        for (host, number) in stays[group].iter().enumerate() {
                            leaves[host] |= *number > 0;
                        }
                    }
                }
            }
        }
        let overfull = (0..hosts).filter(|host| {
            let grows = &grows[*host];
            let more = grows.iter().any(|amount| *amount > 0.0);
            let crowded = || more && !fits(grows, &self.free[*host]);
            !leaves[*host] && (crowded() || !self.cells_hold(*host, &grow_in_cells[*host]))
        });
        counted + overfull.count()
    }
}
