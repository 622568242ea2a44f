//! More servers in less room: clear a few hosts, put everybody back in another way, keep what is no worse.

use super::super::state::HostIndex;
use super::Answer;
use super::board::Board;
use super::orders::Shuffler;
use std::cmp::Reverse;
use std::rc::Rc;

/// The best arrangement found within `limit` steps, and the steps taken; it ends early once `most` are placed, or
/// when nothing has come of many rounds.
pub(crate) fn improve(mut board: Board<'_>, wanted: &[usize], most: usize, limit: u64) -> (Answer, u64) {
    let patience = 100 + 25 * wanted.len();
    let mut idle = 0;
    let mut shuffler = Shuffler::new(0x0d20_7e25);
    let mut best = board.answer();
    let mut best_score = board.score();
    let mut current_score = best_score.clone();
    while board.steps < limit {
        let out: Vec<usize> = wanted
            .iter()
            .copied()
            .filter(|at| board.hosts[*at].is_none())
            .collect();
        if board.order.len() >= most || idle > patience {
            break;
        }
        idle += 1;
        // Copying and scoring the board costs too, and a round in which nothing is asked still counts.
        board.steps += 1 + (board.hosts.len() + board.world.len()) as u64 / 4;
        let before = board.clone();
        round(&mut board, &out, &mut shuffler);
        let score = board.score();
        if score < current_score || !board.replays() {
            let steps = board.steps;
            board = Board { steps, ..before };
            continue;
        }
        if score > best_score {
            best = board.answer();
            best_score = score.clone();
            idle = 0;
        }
        current_score = score;
    }
    (best, board.steps)
}

/// Clears up to three hosts that one of the servers left `out` could use, and fills up again.
fn round(board: &mut Board<'_>, out: &[usize], shuffler: &mut Shuffler) {
    let lead = out[shuffler.below(out.len())];
    let eligible = Rc::clone(&board.items[lead].eligible);
    if eligible.is_empty() {
        return;
    }
    let count = 1 + shuffler.below(3);
    let mut cleared: Vec<HostIndex> = (0..count)
        .map(|_| eligible[shuffler.below(eligible.len())])
        .collect();
    // A group whose members must be together or apart keeps the leader out as a whole.
    let group = board.items[lead].group;
    let with_group = group.is_some() && shuffler.below(2) == 0;
    if shuffler.below(3) == 0 {
        cleared.push(shuffler.below(board.world.len()));
    }
    let items = board.items;
    let mut loose =
        board.take_off(|at, host| cleared.contains(&host) || (with_group && items[at].group == group));
    loose.push(lead);
    // Of those that stayed outside a few come along, so that room left over is used.
    for _ in 0..4 {
        let other = out[shuffler.below(out.len())];
        if !loose.contains(&other) {
            loose.push(other);
        }
    }
    shuffler.shuffle(&mut loose);
    match shuffler.below(4) {
        0 => loose.sort_by(|a, b| items[*b].size.total_cmp(&items[*a].size)),
        1 => loose.sort_by(|a, b| items[*a].size.total_cmp(&items[*b].size)),
        2 => loose.sort_by_key(|at| items[*at].eligible.len()),
        _ => {}
    }
    if shuffler.below(2) == 0 {
        loose.sort_by_key(|at| *at != lead);
    }
    loose.sort_by_key(|at| Reverse(items[*at].request.priority));
    let tight = shuffler.below(4) != 0;
    for at in loose {
        place(board, at, &cleared, tight, shuffler);
    }
}

/// The host with the least left over, or any; hosts just cleared are asked first in large fleets.
fn place(board: &mut Board<'_>, at: usize, cleared: &[HostIndex], tight: bool, shuffler: &mut Shuffler) {
    /// Beyond this many hosts a sample has to do.
    const SAMPLE: usize = 64;
    let eligible = Rc::clone(&board.items[at].eligible);
    let mut hosts: Vec<HostIndex> = if eligible.len() <= SAMPLE {
        eligible.to_vec()
    } else {
        let sample = (0..SAMPLE).map(|_| eligible[shuffler.below(eligible.len())]);
        let cleared = cleared
            .iter()
            .copied()
            .filter(|host| eligible.binary_search(host).is_ok());
        cleared.chain(sample).collect()
    };
    hosts.retain(|host| board.fits(at, *host));
    if hosts.is_empty() {
        return;
    }
    let chosen = if tight {
        let slack = |host: &HostIndex| board.world.slack_after(*host, &board.items[at].request.wants);
        let slacks: Vec<f64> = hosts.iter().map(slack).collect();
        let least = (0..hosts.len()).min_by(|a, b| slacks[*a].total_cmp(&slacks[*b]));
        least.map_or(hosts[0], |least| hosts[least])
    } else {
        hosts[shuffler.below(hosts.len())]
    };
    board.put(at, chosen);
}
