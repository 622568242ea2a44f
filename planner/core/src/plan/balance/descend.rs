//! Greedy descents: one step after another, each of which lowers the imbalance.

use super::board::Board;
use super::{BalanceLimits, SAME};
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
    let mut aims = aims.iter().copied();
    let mut aim = aims.next();
    while let Some(now) = aim {
        if hops.len() >= limits.max_moves || board.load.imbalance() <= mark + SAME {
            break;
        }
        let (pieces, targets) = if whole {
            (
                (0..board.pieces.len()).collect(),
                (0..board.hosts.len()).collect(),
            )
        } else {
            ends(board, &on)
        };
        let least_gain = limits.least_gain / (board.hosts.len() as f64).max(1.0);
        match step(board, &pieces, &targets, now, least_gain.max(SAME)) {
            Some(hop) => {
                board.make(hop.piece, hop.to);
                on[hop.from].remove(&hop.piece);
                on[hop.to].insert(hop.piece);
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

/// What is on the fullest hosts, and the emptiest hosts.
fn ends(board: &Board, on: &[BTreeSet<usize>]) -> (Vec<usize>, Vec<usize>) {
    let load = &board.load;
    let keys: [&dyn Fn(usize) -> f64; 4] = [
        &|host| load.fullest(host),
        &|host| load.one(host, 0),
        &|host| load.one(host, 1),
        &|host| load.one(host, 2),
    ];
    let mut full = BTreeSet::new();
    let mut empty = BTreeSet::new();
    for key in keys {
        let mut order: Vec<(f64, usize)> = (0..board.hosts.len()).map(|host| (key(host), host)).collect();
        order.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        empty.extend(order.iter().take(ENDS).map(|(_, host)| *host));
        let with_servers = order.iter().rev().filter(|(_, host)| !on[*host].is_empty());
        full.extend(with_servers.take(ENDS).map(|(_, host)| *host));
    }
    let mut pieces: Vec<usize> = full.iter().flat_map(|host| on[*host].iter().copied()).collect();
    pieces.sort_unstable();
    (pieces, empty.into_iter().collect())
}
