//! The fewest migrations that bring a fleet in order, one after another, none of which breaks anything.
//!
//! A server that moves takes room on both hosts until it has arrived. What must leave a full or crowded host may
//! so need others to go first, or a third host on the way. This is a best-first search (A*) over who is where: its
//! answer has the fewest moves whenever it ends within its budget, and it is the same for the same input. It knows hosts
//! and servers by number only; what they are is `super::reorder`'s to say.

mod search;
mod state;
#[cfg(test)]
mod tests;

pub(super) use search::{Answer, solve};

use crate::placement::{Demand, HostDevices, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Memory, disk and processors, as the filters count them; where no filter asks for one, it is without end.
pub(super) type Amount = [f64; 3];

/// A host.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// What is left with everybody where they are, at their present sizes; below zero where too much is promised.
    pub(super) free: Amount,
    /// The largest server that it may take at all.
    pub(super) largest: Amount,
    /// What is left of its cells and devices, where filters ask for them.
    pub(super) devices: Option<Arc<HostDevices>>,
}

/// What a server asks of cells and devices, or has of them without asking.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cells {
    /// Under which hosts know it.
    pub(super) name: Name,
    /// What it asks as it is.
    pub(super) now: Option<Arc<Demand>>,
    /// What it asks once it has moved, or has grown where it is.
    pub(super) then: Option<Arc<Demand>>,
}

/// A server that is on one of the hosts.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Its host.
    pub(super) at: usize,
    /// What it takes as it is.
    pub(super) now: Amount,
    /// What it takes once it has moved, or has grown where it is.
    pub(super) then: Amount,
    /// Whether what no move changes lets it be on a host.
    pub(super) may: Vec<bool>,
    /// The group that it is a member of.
    pub(super) group: Option<usize>,
    /// Whether it may be moved.
    pub(super) movable: bool,
    /// Where it has to do with cells: these are not amounts, and what fits beside what depends on who came first.
    pub(super) cells: Option<Cells>,
    /// Where it asks for the company of others: on a host of one of these alone.
    pub(super) with: Option<Vec<usize>>,
    /// On no host of one of these.
    pub(super) without: Vec<usize>,
}

impl Server {
    /// Whether it is to have another size, or other cells.
    fn grows(&self) -> bool {
        self.then != self.now || self.cells.as_ref().is_some_and(|cells| cells.then != cells.now)
    }
}

/// What a group asks for, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// At most so many members on one host.
    Apart(usize),
    /// All on one host.
    Together,
}

/// Who is where, and what must be true in the end.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) hosts: Vec<Host>,
    pub(super) servers: Vec<Server>,
    pub(super) groups: Vec<Policy>,
}

/// One migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    pub(super) server: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Positions of steps that must be done before others begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waits {
    /// For each step.
    pub(super) steps: Vec<Vec<usize>>,
    /// For each server that grows where it is and has to wait.
    pub(super) growths: Vec<(usize, Vec<usize>)>,
}

impl Problem {
    /// What each step and each growth must wait for. Where all that comes to a host fits beside all that is there,
    /// nothing waits for room.
    pub(super) fn waits(&self, steps: &[Step]) -> Waits {
        let mut arrives = vec![[0.0; 3]; self.hosts.len()];
        for step in steps {
            let size = self.servers[step.server].then;
            add(&mut arrives[step.to], &size);
        }
        let mut moved = vec![false; self.servers.len()];
        for step in steps {
            moved[step.server] = true;
        }
        for (server, _) in self.servers.iter().zip(&moved).filter(|(_, moved)| !**moved) {
            let more = difference(&server.then, &server.now);
            add(&mut arrives[server.at], &more);
        }
        let crowded: Vec<bool> = self
            .hosts
            .iter()
            .zip(&arrives)
            .map(|(host, arrives)| !fits(arrives, &host.free))
            .collect();
        let mut waits: Vec<Vec<usize>> = Vec::with_capacity(steps.len());
        let mut left: Vec<Vec<usize>> = vec![Vec::new(); self.hosts.len()];
        let mut came: Vec<Vec<usize>> = vec![Vec::new(); self.hosts.len()];
        let mut last: Vec<Option<usize>> = vec![None; self.servers.len()];
        // Where a member stays, others of its group may come and go in any order.
        let stay = self.servers.iter().zip(&moved).filter(|(_, moved)| !**moved);
        let anchored: BTreeSet<(usize, usize)> = stay
            .filter_map(|(server, _)| Some((server.group?, server.at)))
            .collect();
        let acquainted = self.acquainted();
        let mut of_server: Vec<Vec<usize>> = vec![Vec::new(); self.servers.len()];
        for (at, step) in steps.iter().enumerate() {
            let mut before: Vec<usize> = last[step.server].into_iter().collect();
            let in_cells = self.in_cells(step);
            let tight = crowded[step.to] || in_cells;
            let makes_way = |earlier: &&usize| tight || self.kept_apart(&steps[**earlier], step);
            before.extend(left[step.to].iter().filter(makes_way));
            let joined = |earlier: &&usize| self.kept_together(&steps[**earlier], step);
            let group = self.servers[step.server].group;
            // Those that came for its company come before it leaves.
            for host in [step.to, step.from] {
                if group.is_some_and(|group| !anchored.contains(&(group, host))) {
                    before.extend(came[host].iter().filter(joined));
                }
            }
            if in_cells {
                // As they were chosen: what one finds in cells depends on who is there, and on who was.
                let both = came[step.to].iter().chain(&came[step.from]);
                before.extend(both.filter(|earlier| self.in_cells(&steps[**earlier])));
            }
            let acquainted = acquainted.get(&step.server).into_iter().flatten();
            let earlier = acquainted.flat_map(|other| &of_server[*other]);
            before.extend(earlier.filter(|earlier| self.in_company(&steps[**earlier], step)));
            before.sort_unstable();
            before.dedup();
            waits.push(before);
            left[step.from].push(at);
            came[step.to].push(at);
            last[step.server] = Some(at);
            of_server[step.server].push(at);
        }
        let growths = self
            .servers
            .iter()
            .enumerate()
            .filter(|(at, server)| {
                let crowded = crowded[server.at] || server.cells.is_some();
                !moved[*at] && server.grows() && crowded
            })
            .map(|(at, server)| {
                let mut before = left[server.at].clone();
                let came = came[server.at].iter().copied();
                before.extend(came.filter(|step| server.cells.is_some() && self.in_cells(&steps[*step])));
                before.sort_unstable();
                (at, before)
            })
            .collect();
        Waits {
            steps: waits,
            growths,
        }
    }

    fn in_cells(&self, step: &Step) -> bool {
        self.servers[step.server].cells.is_some()
    }

    /// With each server those that it names and those that name it.
    fn acquainted(&self) -> BTreeMap<usize, BTreeSet<usize>> {
        let mut acquainted: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (number, server) in self.servers.iter().enumerate() {
            for other in server.with.iter().flatten().chain(&server.without) {
                acquainted.entry(number).or_default().insert(*other);
                acquainted.entry(*other).or_default().insert(number);
            }
        }
        acquainted
    }

    fn same_group(&self, one: &Step, other: &Step) -> Option<Policy> {
        let group = self.servers[one.server].group?;
        (self.servers[other.server].group == Some(group)).then(|| self.groups[group])
    }

    /// Whether one step would not be allowed if the other did not come before, or came before, because one of the two
    /// servers names the other.
    fn in_company(&self, earlier: &Step, later: &Step) -> bool {
        let with = |server: usize, other: usize| {
            let with = self.servers[server].with.as_ref();
            with.is_some_and(|with| with.contains(&other))
        };
        let without = |server: usize, other: usize| self.servers[server].without.contains(&other);
        let (one, other) = (earlier.server, later.server);
        (with(other, one) && earlier.to == later.to)
            || (without(other, one) && earlier.from == later.to)
            || (with(one, other) && later.from == earlier.to)
            || (without(one, other) && later.to == earlier.to)
    }

    fn kept_apart(&self, one: &Step, other: &Step) -> bool {
        matches!(self.same_group(one, other), Some(Policy::Apart(_)))
    }

    fn kept_together(&self, one: &Step, other: &Step) -> bool {
        matches!(self.same_group(one, other), Some(Policy::Together))
    }
}

fn add(sum: &mut Amount, more: &Amount) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

fn take(sum: &mut Amount, less: &Amount) {
    for (sum, less) in sum.iter_mut().zip(less) {
        *sum -= less;
    }
}

fn difference(one: &Amount, other: &Amount) -> Amount {
    std::array::from_fn(|of| one[of] - other[of])
}

fn fits(wanted: &Amount, free: &Amount) -> bool {
    wanted.iter().zip(free).all(|(wanted, free)| wanted <= free)
}
