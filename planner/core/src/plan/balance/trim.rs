//! The same evenness for less: moves that are not needed go, and dear ones make way for cheap ones.

use super::SAME;
use super::board::Board;
use super::descend::Hop;
use super::load::Load;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Moves times servers times hosts up to which each move is compared with every other that might stand for it.
const EXCHANGED: usize = 20_000_000;

/// How often all moves are gone through.
const ROUNDS: usize = 8;

/// Lets `net` (where each server that moves ends) cost less, as long as the imbalance stays at or below the mark.
/// Only room and sums are looked at: [`in_order`] finds out whether it can be carried out.
pub(super) fn trim(board: &Board, net: &mut BTreeMap<usize, usize>, mark: f64) {
    let mut load = board.load.clone();
    for (piece, to) in net.iter() {
        load.shift(&board.pieces[*piece].size, board.pieces[*piece].home, *to);
    }
    let exchange = net
        .len()
        .saturating_mul(board.pieces.len())
        .saturating_mul(board.hosts.len())
        <= EXCHANGED;
    for _ in 0..ROUNDS {
        let mut dearest: Vec<usize> = net.keys().copied().collect();
        dearest.sort_by_key(|piece| (Reverse(board.pieces[*piece].mib), *piece));
        let mut changed = false;
        for piece in dearest {
            let (size, home) = (board.pieces[piece].size, board.pieces[piece].home);
            let to = net[&piece];
            load.shift(&size, to, home);
            if load.imbalance() <= mark + SAME && load.holds(home, &[0.0; 3], board.asked) {
                net.remove(&piece);
                changed = true;
            } else if let Some((other, target)) = exchange
                .then(|| cheaper(board, &load, net, piece, mark))
                .flatten()
            {
                net.remove(&piece);
                net.insert(other, target);
                load.shift(&board.pieces[other].size, board.pieces[other].home, target);
                changed = true;
            } else {
                load.shift(&size, home, to);
            }
        }
        if !changed {
            break;
        }
    }
}

/// The cheapest move that can stand for that of `piece`, which was taken back.
fn cheaper(
    board: &Board,
    load: &Load,
    net: &BTreeMap<usize, usize>,
    piece: usize,
    mark: f64,
) -> Option<(usize, usize)> {
    let mut best: Option<(u64, f64, usize, usize)> = None;
    for (other, it) in board.pieces.iter().enumerate() {
        let dear = it.mib >= best.map_or(board.pieces[piece].mib, |(mib, ..)| mib);
        if dear || !it.movable || it.is_tied() || net.contains_key(&other) {
            continue;
        }
        for to in (0..board.hosts.len()).filter(|to| *to != it.home) {
            let imbalance = load.imbalance_if(&it.size, it.home, to);
            let better = best.is_none_or(|(mib, least, ..)| it.mib < mib || imbalance < least);
            if imbalance <= mark + SAME
                && better
                && load.holds(to, &it.size, board.asked)
                && board.may(other, to)
            {
                best = Some((it.mib, imbalance, other, to));
            }
        }
    }
    best.map(|(_, _, other, to)| (other, to))
}

/// The moves one after another so that each is allowed at its turn; nothing where no such order was found.
pub(super) fn in_order(board: &Board, net: &BTreeMap<usize, usize>) -> Option<Vec<Hop>> {
    let mut board = board.clone();
    let mut hops = Vec::with_capacity(net.len());
    let mut left: Vec<(usize, usize)> = net.iter().map(|(piece, to)| (*piece, *to)).collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|(piece, to)| {
            if !board.allows(*piece, *to) {
                return true;
            }
            hops.push(Hop {
                piece: *piece,
                from: board.at[*piece],
                to: *to,
            });
            board.make(*piece, *to);
            false
        });
        if left.len() == before {
            return None;
        }
    }
    Some(hops)
}
