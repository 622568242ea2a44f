//! Greedy descents: one step after another, each of which lowers the imbalance.

use super::board::Board;
use super::{BalanceLimits, SAME};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Servers times hosts up to which every step of every server is looked at.
const WHOLE: usize = 200_000;

/// In larger fleets so many of the fullest, and of the emptiest, hosts are looked at, by each resource and by all.
const ENDS: usize = 12;

/// What is looked for in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// What lowers the imbalance most.
    Steepest,
    /// What lowers it most for each MiB that is copied.
    PerMib,
    /// Something between the two.
    Between,
}

impl Aim {
    fn merit(self, gain: f64, mib: u64) -> f64 {
        let mib = (mib as f64).max(1.0);
        match self {
            Self::Steepest => gain,
            Self::PerMib => gain / mib,
            Self::Between => gain / mib.sqrt(),
        }
    }
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) piece: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Steps until the imbalance is no higher than `mark`, or no step helps. Where one aim finds no step, the next one
/// goes on.
pub(super) fn descend(board: &mut Board, aims: &[Aim], limits: &BalanceLimits, mark: f64) -> Vec<Hop> {
    let mut hops = Vec::new();
    let whole = board.pieces.len().saturating_mul(board.hosts.len()) <= WHOLE;
    let mut on: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); board.hosts.len()];
    for (piece, at) in board.at.iter().enumerate() {
        if board.pieces[piece].movable {
            on[*at].insert(piece);
        }
    }
    let mut sorted = (!whole).then(|| Ends::new(board));
    let mut aims = aims.iter().copied();
    let mut aim = aims.next();
    while let Some(now) = aim {
        if hops.len() >= limits.max_moves || board.load.imbalance() <= mark + SAME {
            break;
        }
        let (pieces, targets) = match &sorted {
            Some(ends) => ends.look(&on),
            None => (
                (0..board.pieces.len()).collect(),
                (0..board.hosts.len()).collect(),
            ),
        };
        let least_gain = limits.least_gain / (board.hosts.len() as f64).max(1.0);
        match step(board, &pieces, &targets, now, least_gain.max(SAME)) {
            Some(hop) => {
                board.make(hop.piece, hop.to);
                on[hop.from].remove(&hop.piece);
                on[hop.to].insert(hop.piece);
                for host in [hop.from, hop.to] {
                    if let Some(ends) = &mut sorted {
                        ends.update(board, host);
                    }
                }
                hops.push(hop);
            }
            None => aim = aims.next(),
        }
    }
    hops
}

fn step(board: &mut Board, pieces: &[usize], targets: &[usize], aim: Aim, least_gain: f64) -> Option<Hop> {
    let now = board.load.imbalance();
    let mut best: Option<(f64, Hop)> = None;
    for piece in pieces.iter().copied() {
        let (it, from) = (&board.pieces[piece], board.at[piece]);
        if !it.movable {
            continue;
        }
        let (size, mib) = (it.size, it.mib);
        for to in targets.iter().copied().filter(|to| *to != from) {
            let gain = now - board.load.imbalance_if(&size, from, to);
            if gain < least_gain {
                continue;
            }
            let merit = aim.merit(gain, mib);
            // The first of equals, up to rounding, so that sums in another order choose the same.
            let better = best
                .as_ref()
                .is_none_or(|(least, _)| merit > least * (1.0 + 1e-9));
            if better && board.allows(piece, to) {
                best = Some((merit, Hop { piece, from, to }));
            }
        }
    }
    best.map(|(_, hop)| hop)
}

/// How full a host is, as something to sort by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fill(f64);

impl Eq for Fill {}

impl Ord for Fill {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Fill {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Hosts from the emptiest to the fullest: by the fullest of their resources, and by each.
struct Ends {
    fills: Vec<[Fill; 4]>,
    orders: [BTreeSet<(Fill, usize)>; 4],
}

impl Ends {
    fn new(board: &Board) -> Self {
        let fills: Vec<[Fill; 4]> = (0..board.hosts.len()).map(|host| fills(board, host)).collect();
        let orders = std::array::from_fn(|key| {
            let hosts = fills.iter().enumerate();
            hosts.map(|(host, fills)| (fills[key], host)).collect()
        });
        Self { fills, orders }
    }

    /// A host became fuller or emptier.
    fn update(&mut self, board: &Board, host: usize) {
        let now = fills(board, host);
        let before = std::mem::replace(&mut self.fills[host], now);
        for ((order, before), now) in self.orders.iter_mut().zip(before).zip(now) {
            order.remove(&(before, host));
            order.insert((now, host));
        }
    }

    /// What is on the fullest hosts, and the emptiest hosts.
    fn look(&self, on: &[BTreeSet<usize>]) -> (Vec<usize>, Vec<usize>) {
        let mut full = BTreeSet::new();
        let mut empty = BTreeSet::new();
        for order in &self.orders {
            empty.extend(order.iter().take(ENDS).map(|(_, host)| *host));
            let with_servers = order.iter().rev().filter(|(_, host)| !on[*host].is_empty());
            full.extend(with_servers.take(ENDS).map(|(_, host)| *host));
        }
        let mut pieces: Vec<usize> = full.iter().flat_map(|host| on[*host].iter().copied()).collect();
        pieces.sort_unstable();
        (pieces, empty.into_iter().collect())
    }
}

fn fills(board: &Board, host: usize) -> [Fill; 4] {
    let load = &board.load;
    [
        load.fullest(host),
        load.one(host, 0),
        load.one(host, 1),
        load.one(host, 2),
    ]
    .map(Fill)
}
