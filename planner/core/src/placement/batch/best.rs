//! The best arrangement there is, where not everybody finds a place: every choice is tried that could come to a better
//! one than is known (branch and bound).

use super::super::state::{HostIndex, Usage};
use super::Answer;
use super::board::{Board, Score};
use super::exact::{MAX_DEPTH, kinds};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// How the search ended.
pub(crate) struct Looked {
    /// Better than what was known.
    pub(crate) better: Option<Answer>,
    /// Questions asked.
    pub(crate) taken: u64,
    /// Whether everything was looked at.
    pub(crate) whole: bool,
}

struct Search<'b> {
    board: Board<'b>,
    /// The most important first, of these the largest.
    wanted: Vec<usize>,
    /// Host to a number shared by hosts that facts make interchangeable; empty when hosts must be told apart.
    kinds: Vec<usize>,
    limit: u64,
    best: Score,
    better: Option<Answer>,
    /// Arrangements of the wanted that were looked at, where the order of placing matters and comes to the same in the
    /// end.
    seen: Option<BTreeSet<Vec<Option<HostIndex>>>>,
}

/// Looks for an arrangement of `wanted` that is better than `known`, asking at most about `limit` questions.
pub(crate) fn better(board: Board<'_>, wanted: &[usize], known: &Answer, limit: u64) -> Looked {
    if wanted.len() > MAX_DEPTH {
        return Looked {
            better: None,
            taken: 0,
            whole: false,
        };
    }
    let items = board.items;
    let any_order = wanted.iter().any(|at| items[*at].ordered);
    let told_apart = any_order || board.world.fixed.asks.usage;
    let mut wanted = wanted.to_vec();
    wanted.sort_by(|one, other| {
        let (one, other) = (&items[*one], &items[*other]);
        let by_priority = Reverse(one.request.priority).cmp(&Reverse(other.request.priority));
        by_priority.then(other.size.total_cmp(&one.size))
    });
    // What one finds in cells depends on who came before.
    let in_cells = wanted.iter().any(|at| items[*at].request.demand.is_some());
    let mut search = Search {
        kinds: if told_apart {
            Vec::new()
        } else {
            kinds(&board, &wanted)
        },
        seen: (!in_cells).then(BTreeSet::new),
        best: known.score(items),
        better: None,
        board,
        wanted,
        limit,
    };
    if any_order {
        search.next_of_any();
    } else {
        search.place_from(0);
    }
    Looked {
        better: search.better,
        taken: search.board.steps,
        whole: search.board.steps <= limit,
    }
}

impl Search<'_> {
    /// Whether there is an end to look for: it is within the limit, and would be better if all of `open` were placed.
    fn is_promising(&mut self, open: &[usize]) -> bool {
        self.board.steps += 1 + open.len() as u64;
        let all = self.board.order.iter().chain(open);
        let items = self.board.items;
        self.board.steps <= self.limit && Score::of(all.map(|at| &items[*at])) > self.best
    }

    fn keep(&mut self) {
        let score = self.board.score();
        if score > self.best {
            self.best = score;
            self.better = Some(self.board.answer());
        }
    }

    /// Tries all hosts for the server at this position, and none, and then those after it. Who has no host now has none
    /// later.
    fn place_from(&mut self, position: usize) {
        let rest = self.wanted[position..].to_vec();
        let mut open = Vec::with_capacity(rest.len());
        for at in rest {
            if self.board.steps > self.limit {
                return;
            }
            if !self.hosts_for(at, 1).is_empty() {
                open.push(at);
            }
        }
        if !self.is_promising(&open) {
            return;
        }
        let Some(at) = open.first().copied() else {
            self.keep();
            return;
        };
        let position = position
            + self.wanted[position..]
                .iter()
                .position(|other| *other == at)
                .unwrap_or(0);
        // Of servers that are alike the first ones are placed.
        let alike = position > 0 && {
            let before = self.wanted[position - 1];
            self.board.hosts[before].is_none() && self.are_alike(before, at)
        };
        if !alike {
            let mut tried: BTreeSet<(usize, Usage)> = BTreeSet::new();
            for host in self.hosts_for(at, usize::MAX) {
                if let Some(kind) = self.kinds.get(host) {
                    let bare = !self.board.world.holds_members(host);
                    if bare && !tried.insert((*kind, self.board.world.usage_of(host))) {
                        continue;
                    }
                }
                self.board.put(at, host);
                self.place_from(position + 1);
                self.board.undo();
            }
        }
        self.place_from(position + 1);
    }

    fn are_alike(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.board.items[one], &self.board.items[other]);
        one.traits == other.traits
            && one.group == other.group
            && one.request.priority == other.request.priority
            && one.request.wants == other.request.wants
    }

    /// Tries every server that is not placed as the next one.
    fn next_of_any(&mut self) {
        let hosts = self.wanted.iter().map(|at| self.board.hosts[*at]).collect();
        if self.seen.as_mut().is_some_and(|seen| !seen.insert(hosts)) {
            return;
        }
        self.keep();
        let open: Vec<usize> = (self.wanted.iter().copied())
            .filter(|at| self.board.hosts[*at].is_none())
            .collect();
        if !self.is_promising(&open) {
            return;
        }
        for at in open {
            for host in self.hosts_for(at, usize::MAX) {
                if self.board.steps > self.limit {
                    return;
                }
                self.board.put(at, host);
                self.next_of_any();
                self.board.undo();
            }
        }
    }

    fn hosts_for(&mut self, at: usize, count: usize) -> Vec<HostIndex> {
        let eligible = std::rc::Rc::clone(&self.board.items[at].eligible);
        let hosts = eligible.iter().copied();
        hosts
            .filter(|host| self.board.fits(at, *host))
            .take(count)
            .collect()
    }
}
