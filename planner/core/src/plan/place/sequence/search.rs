//! Best-first search for the fewest moves.

use super::state::{Places, State};
use super::{Problem, Step};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// How the search ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Answer {
    /// These moves, in order; there is no way with fewer.
    Steps {
        /// In order.
        steps: Vec<Step>,
    },
    /// Nothing brings everything in order; or nothing was found before the budget was spent.
    Nothing {
        /// Whether there is nothing to be found.
        proven: bool,
    },
}

/// A state that was reached: the way there is the chain of its parents.
struct Reached {
    parent: Option<usize>,
    step: Option<Step>,
    moves: usize,
}

/// Looks for the fewest moves. `budget` bounds the questions "may this server go to that host".
pub(in super::super) fn solve(problem: &Problem, budget: u64) -> Answer {
    let mut reached = vec![Reached {
        parent: None,
        step: None,
        moves: 0,
    }];
    let first = State::first(problem);
    let mut best: BTreeMap<Places, usize> = BTreeMap::from([(first.places.clone(), 0)]);
    // Fewest moves in all first; among equals those that are nearest to the end, then those found first.
    let mut open = BinaryHeap::from([Reverse((first.at_least(problem), 0, 0_usize))]);
    // Of two ways with as many moves the one that begins with less to copy is found first.
    let mut smallest_first: Vec<usize> = (0..problem.servers.len()).collect();
    smallest_first
        .sort_by(|one, other| problem.servers[*one].then[0].total_cmp(&problem.servers[*other].then[0]));
    let mut spent = 0_u64;
    let cost = (problem.servers.len() as u64 * problem.hosts.len() as u64).max(1);
    while let Some(Reverse((_, _, number))) = open.pop() {
        let state = replay(problem, &first, &reached, number);
        if best.get(&state.places) != Some(&reached[number].moves) {
            // A shorter way to the same was found since.
            continue;
        }
        if state.at_least(problem) == 0 {
            return Answer::Steps {
                steps: way(&reached, number),
            };
        }
        spent += cost;
        if spent > budget {
            return Answer::Nothing { proven: false };
        }
        let moves = reached[number].moves + 1;
        for server in smallest_first.iter().copied() {
            for to in 0..problem.hosts.len() {
                let step = Step {
                    server,
                    from: state.host_of(server),
                    to,
                };
                if !state.allows(problem, step) {
                    continue;
                }
                let mut next = state.clone();
                next.make(problem, step);
                if best.get(&next.places).is_some_and(|known| *known <= moves) {
                    continue;
                }
                let left = next.at_least(problem);
                best.insert(next.places, moves);
                reached.push(Reached {
                    parent: Some(number),
                    step: Some(step),
                    moves,
                });
                open.push(Reverse((moves + left, left, reached.len() - 1)));
            }
        }
    }
    Answer::Nothing { proven: true }
}

fn way(reached: &[Reached], number: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut next = Some(number);
    while let Some(number) = next {
        steps.extend(reached[number].step);
        next = reached[number].parent;
    }
    steps.reverse();
    steps
}

fn replay(problem: &Problem, first: &State, reached: &[Reached], number: usize) -> State {
    let mut state = first.clone();
    for step in way(reached, number) {
        state.make(problem, step);
    }
    state
}
