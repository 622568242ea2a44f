//! A place for everybody, if there is one within the bound: depth first, the most constrained server first, and on
//! a dead end back to the latest choice that had a part in it (conflict-directed back-jumping).

use super::super::state::{HostIndex, Usage};
use super::Answer;
use super::board::Board;
use std::collections::{BTreeMap, BTreeSet};

/// The deepest the search goes: it recurses once per server.
pub(super) const MAX_DEPTH: usize = 400;

/// Depths of the choices that had a part in a dead end.
type Blame = BTreeSet<usize>;

enum End {
    Found,
    Blocked(Blame),
    Spent,
}

struct Search<'b> {
    board: Board<'b>,
    /// Servers not yet placed.
    open: Vec<usize>,
    /// Host to a number shared by hosts that facts make interchangeable; empty when hosts must be told apart.
    kinds: Vec<usize>,
    /// Whether the order of placing matters, so that every server must be tried as the next one.
    any_order: bool,
    limit: u64,
}

/// A host for each of `wanted`, and the steps taken.
pub(crate) fn everybody(board: Board<'_>, wanted: &[usize], limit: u64) -> (Option<Answer>, u64) {
    if wanted.len() > MAX_DEPTH {
        return (None, 0);
    }
    let any_order = wanted.iter().any(|at| board.items[*at].ordered);
    let limited = board.world.fixed.asks.usage;
    let kinds = if any_order || limited {
        Vec::new()
    } else {
        kinds(&board, wanted)
    };
    let mut search = Search {
        board,
        open: wanted.to_vec(),
        kinds,
        any_order,
        limit,
    };
    let end = search.descend();
    let found = matches!(end, End::Found).then(|| search.board.answer());
    (found, search.board.steps)
}

/// Hosts with the same facts, as far as these servers can tell.
pub(super) fn kinds(board: &Board<'_>, wanted: &[usize]) -> Vec<usize> {
    let traits: BTreeMap<usize, &[HostIndex]> = wanted
        .iter()
        .map(|at| (board.items[*at].traits, &*board.items[*at].eligible))
        .collect();
    let mut numbers = BTreeMap::new();
    (0..board.world.len())
        .map(|host| {
            let eligible: Vec<bool> = traits
                .values()
                .map(|hosts| hosts.binary_search(&host).is_ok())
                .collect();
            let ask = board.world.ask_usage(host);
            let ratios = ask.facts.host.ratios;
            let ratios = [ratios.cpu, ratios.ram, ratios.disk].map(|ratio| ratio.get().to_bits());
            let next = numbers.len();
            *numbers
                .entry((eligible, ask.facts.host.capacity, ratios))
                .or_insert(next)
        })
        .collect()
}

impl Search<'_> {
    fn descend(&mut self) -> End {
        if self.open.is_empty() {
            return End::Found;
        }
        if self.any_order {
            return self.try_each_next();
        }
        let Some((position, hosts)) = self.most_constrained() else {
            return End::Spent;
        };
        let at = self.open.swap_remove(position);
        let end = self.try_hosts(at, &hosts);
        if !matches!(end, End::Found) {
            self.open.push(at);
            let last = self.open.len() - 1;
            self.open.swap(position, last);
        }
        end
    }

    /// The open server with the fewest hosts, and these; `None` when the steps are used up.
    fn most_constrained(&mut self) -> Option<(usize, Vec<HostIndex>)> {
        let mut fewest: Option<(usize, Vec<HostIndex>)> = None;
        for position in 0..self.open.len() {
            let hosts = self.hosts_for(self.open[position])?;
            if fewest.as_ref().is_none_or(|(_, best)| hosts.len() < best.len()) {
                let none = hosts.is_empty();
                fewest = Some((position, hosts));
                if none {
                    break;
                }
            }
        }
        fewest
    }

    fn hosts_for(&mut self, at: usize) -> Option<Vec<HostIndex>> {
        if self.board.steps > self.limit {
            return None;
        }
        let eligible = std::rc::Rc::clone(&self.board.items[at].eligible);
        Some(
            eligible
                .iter()
                .copied()
                .filter(|host| self.board.fits(at, *host))
                .collect(),
        )
    }

    fn try_hosts(&mut self, at: usize, hosts: &[HostIndex]) -> End {
        let depth = self.board.order.len();
        let mut blame = self.blame(at);
        let mut tried: BTreeSet<(usize, Usage)> = BTreeSet::new();
        for host in hosts {
            if let Some(kind) = self.kinds.get(*host) {
                let bare = !self.board.world.holds_members(*host);
                if bare && !tried.insert((*kind, self.board.world.usage_of(*host))) {
                    continue;
                }
            }
            self.board.put(at, *host);
            let end = self.descend();
            match end {
                End::Found | End::Spent => {
                    if matches!(end, End::Spent) {
                        self.board.undo();
                    }
                    return end;
                }
                End::Blocked(deeper) => {
                    self.board.undo();
                    if !deeper.contains(&depth) {
                        return End::Blocked(deeper);
                    }
                    blame.extend(deeper.into_iter().filter(|other| *other != depth));
                }
            }
        }
        End::Blocked(blame)
    }

    /// Every choice that takes room on a host this server could use, or that binds its group.
    fn blame(&self, at: usize) -> Blame {
        let item = &self.board.items[at];
        let placed = self.board.order.iter().enumerate();
        placed
            .filter(|(_, other)| {
                let on_its_hosts =
                    self.board.hosts[**other].is_some_and(|host| item.eligible.binary_search(&host).is_ok());
                let same_group = item.group.is_some() && self.board.items[**other].group == item.group;
                on_its_hosts || same_group
            })
            .map(|(depth, _)| depth)
            .collect()
    }

    /// Where the order matters, dead ends say nothing about other orders: every server is tried as the next.
    fn try_each_next(&mut self) -> End {
        for position in 0..self.open.len() {
            let at = self.open[position];
            let Some(hosts) = self.hosts_for(at) else {
                return End::Spent;
            };
            self.open.remove(position);
            for host in hosts {
                self.board.put(at, host);
                match self.descend() {
                    End::Found => return End::Found,
                    End::Blocked(_) => self.board.undo(),
                    End::Spent => {
                        self.board.undo();
                        self.open.insert(position, at);
                        return End::Spent;
                    }
                }
            }
            self.open.insert(position, at);
        }
        End::Blocked(Blame::new())
    }
}
