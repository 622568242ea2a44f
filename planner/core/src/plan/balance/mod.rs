//! Evening hosts out: the moves that lower the imbalance of a fleet, with as few gigabytes moved as can be found.
//!
//! The imbalance is the sum, over memory, disk and processors, of the standard deviation of what hosts have promised,
//! in percent of what they may promise at their ratios: 0 where all are equally full. Several greedy descents are
//! tried ([`descend`]): one takes the step that gains most, as Ganeti's hbal does, and sets the mark; others weigh
//! what a step gains against what it copies, and stop at the mark. What each of them found is trimmed ([`trim`]) as
//! long as the mark is kept, put into an order in which every step passes every filter, and the cheapest wins.

mod board;
mod descend;
mod ends;
mod load;
#[cfg(test)]
mod tests;
mod trim;

use super::build::Inputs;
use super::types::{Finding, MigrateRequest};
use crate::diff::FleetDiff;
use board::Board;
use descend::{Aim, Hop, descend};
use drover_types::HostName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is even enough, below which differences are those of rounding.
const SAME: f64 = 1e-9;

/// How far hosts are to be evened out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BalanceLimits {
    /// At most so many migrations.
    pub max_moves: usize,
    /// Nothing is moved once the imbalance is no higher.
    pub threshold: f64,
    /// A migration that lowers the imbalance by less than this, divided by the number of hosts, is not made: the more
    /// hosts there are, the less one of them can change.
    pub least_gain: f64,
}

/// How full a host is, in percent of what it may promise.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Shares {
    /// Memory.
    pub ram: f64,
    /// Disk.
    pub disk: f64,
    /// Processors.
    pub vcpus: f64,
}

/// A host before and after the moves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostBalance {
    /// The host.
    pub host: HostName,
    /// As it is.
    pub before: Shares,
    /// Once all have moved.
    pub after: Shares,
}

/// What moves do to a fleet's balance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// The imbalance as it is.
    pub before: f64,
    /// Once all have moved.
    pub after: f64,
    /// How many migrations there are.
    pub moves: usize,
    /// Memory and disk of the servers that move (of one that is off, its disk), in MiB: at most this is copied.
    pub moved_mib: u64,
    /// Every host that may take servers.
    pub hosts: Vec<HostBalance>,
}

/// Moves in their order, and what they do.
#[derive(Debug, Clone, PartialEq)]
pub struct Rebalance {
    /// One after another each passes every filter.
    pub moves: Vec<MigrateRequest>,
    /// What they do.
    pub balance: Balance,
}

/// The moves that even the hosts out.
///
/// # Errors
/// What is wrong with the scheduler's settings.
pub fn rebalance(
    inputs: &Inputs<'_>,
    diff: &FleetDiff,
    limits: &BalanceLimits,
) -> Result<Rebalance, Vec<Finding>> {
    let board = Board::new(inputs, diff)?;
    let hops = best(&board, limits);
    let mut after = board.load.clone();
    let mut moved_mib = 0_u64;
    for hop in &hops {
        after.shift(&board.pieces[hop.piece].size, hop.from, hop.to);
        moved_mib = moved_mib.saturating_add(board.pieces[hop.piece].mib);
    }
    let hosts = board.hosts.iter().enumerate();
    let hosts = hosts.map(|(at, host)| HostBalance {
        host: host.clone(),
        before: board.load.shares(at),
        after: after.shares(at),
    });
    Ok(Rebalance {
        balance: Balance {
            before: load::rounded(board.load.imbalance()),
            after: load::rounded(after.imbalance()),
            moves: hops.len(),
            moved_mib,
            hosts: hosts.collect(),
        },
        moves: hops
            .iter()
            .map(|hop| MigrateRequest {
                address: board.pieces[hop.piece].address.clone(),
                to: Some(board.hosts[hop.to].clone()),
            })
            .collect(),
    })
}

/// What a way costs, and where it ends.
struct Way {
    hops: Vec<Hop>,
    mib: u64,
    imbalance: f64,
}

impl Way {
    fn new(board: &Board, hops: Vec<Hop>) -> Self {
        let mut load = board.load.clone();
        let mut mib = 0_u64;
        for hop in &hops {
            load.shift(&board.pieces[hop.piece].size, hop.from, hop.to);
            mib = mib.saturating_add(board.pieces[hop.piece].mib);
        }
        Self {
            hops,
            mib,
            imbalance: load.imbalance(),
        }
    }

    fn is_better_than(&self, other: &Self) -> bool {
        (self.mib, self.hops.len()) < (other.mib, other.hops.len())
            || ((self.mib, self.hops.len()) == (other.mib, other.hops.len())
                && self.imbalance < other.imbalance - SAME)
    }
}

fn best(board: &Board, limits: &BalanceLimits) -> Vec<Hop> {
    if board.load.imbalance() <= limits.threshold {
        return Vec::new();
    }
    let steepest = descend(&mut board.clone(), &[Aim::Steepest], limits, limits.threshold);
    let mut winner = Way::new(board, steepest);
    // What the steepest way reaches is the mark: the threshold, where it gets there.
    let mark = winner.imbalance.max(limits.threshold);
    let mut ways: Vec<Vec<Hop>> = vec![winner.hops.clone()];
    for aim in [Aim::PerMib, Aim::Between] {
        let mut own = board.clone();
        let hops = descend(&mut own, &[aim, Aim::Steepest], limits, mark);
        if own.load.imbalance() <= mark + SAME {
            ways.push(hops);
        }
    }
    for hops in ways {
        let mut net: BTreeMap<usize, usize> = BTreeMap::new();
        for hop in &hops {
            net.insert(hop.piece, hop.to);
        }
        net.retain(|piece, to| board.pieces[*piece].home != *to);
        trim::trim(board, &mut net, mark);
        let mut candidates = vec![hops];
        candidates.extend(trim::in_order(board, &net));
        for hops in candidates {
            let way = Way::new(board, hops);
            if way.imbalance <= mark + SAME && way.is_better_than(&winner) {
                winner = way;
            }
        }
    }
    winner.hops
}
