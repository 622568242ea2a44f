//! Greedy descents: one step after another, each of which lowers the imbalance.

use super::board::Board;
use super::ends::Ends;
use super::load::Change;
use super::{BalanceLimits, SAME};
use std::collections::{BTreeMap, BTreeSet};

/// Servers times hosts up to which every step of every server is looked at.
const WHOLE: usize = 200_000;

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

/// What is looked at in a step.
struct Look {
    pieces: Vec<usize>,
    targets: Vec<usize>,
}

/// Steps until the imbalance is no higher than `mark`, or no step helps. Where one aim finds no step, the next one
/// goes on.
pub(super) fn descend(board: &mut Board, aims: &[Aim], limits: &BalanceLimits, mark: f64) -> Vec<Hop> {
    let mut hops = Vec::new();
    let hosts = board.hosts.len();
    let whole = (board.pieces.len().saturating_mul(hosts) <= WHOLE).then(|| Look {
        pieces: (0..board.pieces.len()).collect(),
        targets: (0..hosts).collect(),
    });
    let mut ends = Ends::new(&board.load, hosts);
    let mut on: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); hosts];
    for (piece, at) in board.at.iter().enumerate() {
        if board.pieces[piece].movable {
            on[*at].insert(piece);
        }
    }
    let kinds = kinds(board);
    let mut aims = aims.iter().copied();
    let mut aim = aims.next();
    while let Some(now) = aim {
        if hops.len() >= limits.max_moves || board.load.imbalance() <= mark + SAME {
            break;
        }
        let in_part;
        let look = if let Some(whole) = &whole {
            whole
        } else {
            in_part = at_the_ends(&ends, &on);
            &in_part
        };
        let least_gain = limits.least_gain / (hosts as f64).max(1.0);
        match step(board, look, &kinds, now, least_gain.max(SAME)) {
            Some(hop) => {
                board.make(hop.piece, hop.to);
                for host in [hop.from, hop.to] {
                    ends.update(&board.load, host);
                }
                on[hop.from].remove(&hop.piece);
                on[hop.to].insert(hop.piece);
                hops.push(hop);
            }
            None => aim = aims.next(),
        }
    }
    hops
}

/// With each server the number of its kind: those of one kind weigh the same, and cost the same to move.
fn kinds(board: &Board) -> Vec<usize> {
    let mut known: BTreeMap<([u64; 3], u64), usize> = BTreeMap::new();
    let kinds = board.pieces.iter().map(|piece| {
        let next = known.len();
        *known
            .entry((piece.size.map(f64::to_bits), piece.mib))
            .or_insert(next)
    });
    kinds.collect()
}

fn step(board: &mut Board, look: &Look, kinds: &[usize], aim: Aim, least_gain: f64) -> Option<Hop> {
    let now = board.load.imbalance();
    let mut best: Option<(f64, Hop)> = None;
    // What coming to each target does, by the kind of who comes.
    let mut takes: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
    // Where a server of a kind might have gone wherever that is worth it, another of the kind is worth no more.
    let mut settled: BTreeSet<(usize, usize)> = BTreeSet::new();
    for piece in look.pieces.iter().copied() {
        let (it, from, kind) = (&board.pieces[piece], board.at[piece], kinds[piece]);
        if !it.movable || settled.contains(&(from, kind)) {
            continue;
        }
        let (size, mib) = (it.size, it.mib);
        let gives = board.load.gives(from, &size);
        let takes = takes.entry(kind).or_insert_with(|| {
            let targets = look.targets.iter();
            targets.map(|to| board.load.takes(*to, &size)).collect()
        });
        let mut refused = false;
        for (to, takes) in look.targets.iter().copied().zip(&*takes) {
            let gain = now - board.load.imbalance_with(&gives, takes);
            if to == from || gain < least_gain {
                continue;
            }
            let merit = aim.merit(gain, mib);
            // The first of equals, up to rounding, so that sums in another order choose the same.
            let better = best
                .as_ref()
                .is_none_or(|(least, _)| merit > least * (1.0 + 1e-9));
            if better && board.allows(piece, to) {
                best = Some((merit, Hop { piece, from, to }));
            } else {
                refused |= better;
            }
        }
        if !refused {
            settled.insert((from, kind));
        }
    }
    best.map(|(_, hop)| hop)
}

/// What is on the fullest hosts, and the emptiest hosts.
fn at_the_ends(ends: &Ends, on: &[BTreeSet<usize>]) -> Look {
    let full = ends.full(|host| !on[host].is_empty());
    let mut pieces: Vec<usize> = full.iter().flat_map(|host| on[*host].iter().copied()).collect();
    pieces.sort_unstable();
    Look {
        pieces,
        targets: ends.empty().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, NO_LIMIT};
    use super::*;

    /// Every step of every server, one by one.
    fn plain(board: &mut Board, aim: Aim) -> Option<Hop> {
        let now = board.load.imbalance();
        let mut best: Option<(f64, Hop)> = None;
        for piece in 0..board.pieces.len() {
            let from = board.at[piece];
            for to in (0..board.hosts.len()).filter(|to| *to != from) {
                let (size, mib) = (board.pieces[piece].size, board.pieces[piece].mib);
                let gain = now - board.load.imbalance_if(&size, from, to);
                let merit = aim.merit(gain, mib);
                let better = best
                    .as_ref()
                    .is_none_or(|(least, _)| merit > least * (1.0 + 1e-9));
                if gain >= SAME && better && board.allows(piece, to) {
                    best = Some((merit, Hop { piece, from, to }));
                }
            }
        }
        best.map(|(_, hop)| hop)
    }

    /// What is left out because another of its kind was looked at would not have been chosen.
    #[test]
    fn the_same_steps_as_where_all_are_looked_at() {
        for seed in 500..530 {
            for aim in [Aim::Steepest, Aim::PerMib, Aim::Between] {
                let case = Case::of_sizes(seed, [2, 2, 1]);
                let inputs = case.fleet.inputs();
                let first = Board::new(&inputs, &case.fleet.diff()).expect("fair settings");
                let hops = descend(&mut first.clone(), &[aim], &NO_LIMIT, 0.0);
                let mut board = first;
                let mut expected = Vec::new();
                while let Some(hop) = plain(&mut board, aim) {
                    board.make(hop.piece, hop.to);
                    expected.push(hop);
                }
                assert_eq!(hops, expected, "seed {seed}, {aim:?}");
            }
        }
    }
}
