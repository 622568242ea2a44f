//! Placing a batch: Nova's answer where it succeeds, otherwise a bounded search for a better one.
//!
//! Nova places one server after another and fails where another order or another host would have fitted. Here the
//! other servers move over while they are still only planned. The search is deterministic: its random choices come
//! from a fixed seed and its bound counts steps, not time.

mod best;
mod board;
mod conflict;
mod exact;
mod improve;
mod orders;
mod report;

pub use conflict::{Conflict, Remedy};
pub(crate) use conflict::{conflict, key as conflict_key};
pub use report::alike;

use super::input::{Name, Request};
use super::scheduler::Scheduler;
use super::state::HostIndex;
use board::{Board, Item, Score};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

/// Questions "does this server fit that host" asked by the exact search before it gives up.
const EXACT_STEPS: u64 = 200_000;

/// The same for the proof that nothing is better than what was found.
const PROOF_STEPS: u64 = 200_000;

/// The same for the improving search.
const IMPROVE_STEPS: u64 = 1_500_000;

/// Servers times hosts for which other orders are tried; beyond, two orders have to do.
const ORDER_STEPS: u64 = 60_000_000;

/// Most servers that a search placed and that are looked at once more, each with all after it.
const SETTLED: usize = 400;

/// Distinct requests whose conflict is worked out; each costs a look at every host.
const MAX_CONFLICTS: usize = 200;

/// On few hosts more of them, up to so many verdicts.
const MAX_VERDICTS: usize = 2_000_000;

/// How the answer was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Method {
    /// One after another in the order given, as Nova.
    Greedy,
    /// One after another in another order.
    Order {
        /// Which.
        order: &'static str,
    },
    /// Servers were put elsewhere than Nova's weights say, so that more fit.
    Search {
        /// Fits looked at.
        steps: u64,
        /// True when it is proven that no answer places more of each priority, the highest first.
        proven: bool,
    },
}

/// Where the servers of a batch go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchOutcome {
    /// Per request, in the order given: its host.
    pub placements: Vec<Option<Name>>,
    /// Positions of the placed requests in an order in which every single step passes every filter.
    pub order: Vec<usize>,
    /// How it was found.
    #[serde(flatten)]
    pub method: Method,
    /// How many servers Nova would have placed in the order given.
    pub greedy_placed: usize,
    /// The servers without a host, in the order given.
    pub unplaced: Vec<Unplaced>,
}

/// A server that finds no host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unplaced {
    /// Its name.
    pub server: Name,
    /// True when no host would take it even if the rest of the batch were not there.
    pub even_alone: bool,
    /// Set when the order given would have placed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up_for: Option<GivenUp>,
    /// What stands in its way; `None` when the batch has too many distinct failures to look at each.
    pub conflict: Option<Conflict>,
}

/// Why a server that the order given would have placed has no place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenUp {
    /// What was gained.
    pub so_that: Gain,
    /// The first of the servers that have a place instead, at most [`GivenUp::NAMED`].
    pub servers: Vec<Name>,
    /// How many there are.
    pub count: usize,
}

/// What a batch gains where a server is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// Servers of a higher priority have a place.
    Priority,
    /// More servers have one.
    More,
    /// As many have one, and they are larger.
    Larger,
}

impl GivenUp {
    /// So many are named.
    pub const NAMED: usize = 3;
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        if self.count > names.len() {
            names.push(format!("{} more", self.count - names.len()));
        }
        let gain = match self.so_that {
            Gain::Priority => "servers of a higher priority have a place",
            Gain::More => "more servers fit",
            Gain::Larger => "larger servers fit",
        };
        write!(f, "it gave way so that {gain}: {} came in", names.join(", "))
    }
}

impl Scheduler {
    /// Places a batch and consumes what its servers take.
    ///
    /// Higher priorities come first: no server is given up for one of lower priority. Within a priority as many as
    /// possible are placed, and of equally many the larger ones. Small batches are placed so without exception; of
    /// others it is what was found within a bound, and [`Method::Search`] says whether it is proven.
    pub fn place_batch(&mut self, requests: &[Request]) -> BatchOutcome {
        let start = self.world.clone();
        let given: Vec<usize> = (0..requests.len()).collect();
        let greedy = self.greedy(requests, &given);
        let greedy_placed = greedy.placed();
        if greedy_placed == requests.len() {
            // Everybody has a host, and what each takes is consumed.
            let name = |host: HostIndex| self.world.name(host).clone();
            return BatchOutcome {
                placements: greedy.hosts.iter().map(|host| host.map(name)).collect(),
                order: greedy.order,
                method: Method::Greedy,
                greedy_placed,
                unplaced: Vec::new(),
            };
        }
        let items = self.items(requests);
        let hopeless: Vec<bool> = items
            .iter()
            .map(|item| !item.ordered && !item.fits_anywhere(&start))
            .collect();
        let wanted = hopeless.iter().filter(|hopeless| !**hopeless).count();

        let mut best = greedy.clone();
        let mut method = Method::Greedy;
        if greedy_placed < wanted {
            let order = self.best_order(&start, requests, &items, wanted, &mut best);
            if let Some(order) = order {
                method = Method::Order { order };
            }
            if best.placed() < wanted {
                let (found, steps, proven) = search(&start, &items, &hopeless, &best);
                if found.score(&items) > best.score(&items) || proven {
                    method = Method::Search { steps, proven };
                    best = found;
                }
            }
        }

        self.world = start.clone();
        self.chooser.reset();
        for item in &best.order {
            let host = best.hosts[*item].expect("only placed requests are in the order");
            self.consume(host, &requests[*item]);
        }
        self.fill_up(requests, &mut best);
        match method {
            Method::Search { .. } => self.settle(&start, requests, &mut best),
            Method::Greedy | Method::Order { .. } => {}
        }
        let unplaced = self.unplaced(&start, requests, &greedy, &best);
        let name = |host: HostIndex| self.world.name(host).clone();
        BatchOutcome {
            placements: best.hosts.iter().map(|host| host.map(name)).collect(),
            order: best.order,
            method,
            greedy_placed,
            unplaced,
        }
    }

    /// Whoever still fits where the search left room gets it, the most important first.
    fn fill_up(&mut self, requests: &[Request], answer: &mut Answer) {
        let mut out: Vec<usize> = (0..requests.len())
            .filter(|at| answer.hosts[*at].is_none())
            .collect();
        out.sort_by_key(|at| Reverse(requests[*at].priority));
        for at in out {
            if let Some(host) = self.chooser.choose(&self.world, &requests[at]) {
                self.consume(host, &requests[at]);
                answer.hosts[at] = Some(host);
                answer.order.push(at);
            }
        }
    }

    /// A search puts servers elsewhere than on their best hosts so that others fit. Who may as well have its best goes
    /// there after all: at each turn the best host is taken where everybody after it still passes on its own.
    fn settle(&mut self, start: &super::state::World, requests: &[Request], answer: &mut Answer) {
        if answer.order.len() > SETTLED {
            return;
        }
        self.world = start.clone();
        self.chooser.reset();
        for (turn, at) in answer.order.iter().copied().enumerate() {
            let own = answer.hosts[at].expect("only placed requests are in the order");
            let best = self.chooser.choose(&self.world, &requests[at]);
            if let Some(best) = best.filter(|best| *best != own) {
                let mut tried = self.world.clone();
                tried.consume(best, &requests[at], tried.group_of(&requests[at]));
                let rest = &answer.order[turn + 1..];
                let all_pass = rest.iter().all(|later| {
                    let (host, request) = (answer.hosts[*later], &requests[*later]);
                    let host = host.expect("only placed requests are in the order");
                    let ask = tried.ask(host, request);
                    let mut filters = tried.fixed.filters.iter();
                    let passes = filters.all(|filter| filter.check(&ask).is_ok());
                    tried.consume(host, request, tried.group_of(request));
                    passes
                });
                if all_pass {
                    answer.hosts[at] = Some(best);
                }
            }
            let host = answer.hosts[at].expect("it has one still");
            self.consume(host, &requests[at]);
        }
    }

    fn items<'r>(&mut self, requests: &'r [Request]) -> Vec<Item<'r>> {
        let mut shared = BTreeMap::new();
        let items = requests
            .iter()
            .map(|request| Item::new(&self.world, &mut self.chooser, &mut shared, request));
        items.collect()
    }

    /// Nova's loop over the requests in this order.
    fn greedy(&mut self, requests: &[Request], order: &[usize]) -> Answer {
        let mut answer = Answer {
            hosts: vec![None; requests.len()],
            order: Vec::new(),
        };
        for at in order {
            if let Some(host) = self.chooser.choose(&self.world, &requests[*at]) {
                self.consume(host, &requests[*at]);
                answer.hosts[*at] = Some(host);
                answer.order.push(*at);
            }
        }
        answer
    }

    /// Improves `best` by placing in other orders; the name of the order that won.
    fn best_order(
        &mut self,
        start: &super::state::World,
        requests: &[Request],
        items: &[Item<'_>],
        wanted: usize,
        best: &mut Answer,
    ) -> Option<&'static str> {
        let cost = (requests.len() as u64)
            .saturating_mul(self.world.len() as u64)
            .max(1);
        let affordable = usize::try_from(ORDER_STEPS / cost).unwrap_or(usize::MAX).max(2);
        let mut winner = None;
        for (name, order) in orders::orders(items).take(affordable) {
            self.world = start.clone();
            self.chooser.reset();
            let answer = self.greedy(requests, &order);
            if answer.score(items) > best.score(items) {
                *best = answer;
                winner = Some(name);
            }
            if best.placed() >= wanted {
                break;
            }
        }
        winner
    }

    fn unplaced(
        &self,
        start: &super::state::World,
        requests: &[Request],
        greedy: &Answer,
        best: &Answer,
    ) -> Vec<Unplaced> {
        let newly: Vec<&Request> = (0..requests.len())
            .filter(|at| best.hosts[*at].is_some() && greedy.hosts[*at].is_none())
            .map(|at| &requests[at])
            .collect();
        let as_high = |answer: &Answer, priority: i64| {
            let placed = answer.order.iter();
            placed.filter(|at| requests[**at].priority >= priority).count()
        };
        let instead_of = |request: &Request| {
            let higher: Vec<&&Request> = newly
                .iter()
                .filter(|other| other.priority > request.priority)
                .collect();
            let (so_that, others) = if !higher.is_empty() {
                (Gain::Priority, higher)
            } else if as_high(best, request.priority) > as_high(greedy, request.priority) {
                (Gain::More, newly.iter().collect())
            } else {
                (Gain::Larger, newly.iter().collect())
            };
            let named = others.iter().take(GivenUp::NAMED);
            GivenUp {
                so_that,
                servers: named.map(|other| other.name.clone()).collect(),
                count: others.len(),
            }
        };
        let hosts = self.world.fixed.hosts.len().max(1);
        let most = MAX_CONFLICTS.max(MAX_VERDICTS / hosts);
        let mut known: BTreeMap<String, (bool, Option<Conflict>)> = BTreeMap::new();
        let mut unplaced = Vec::new();
        for (at, request) in requests
            .iter()
            .enumerate()
            .filter(|(at, _)| best.hosts[*at].is_none())
        {
            let key = conflict::key(request);
            let (even_alone, conflict) = known.get(&key).cloned().unwrap_or_else(|| {
                let answer = if known.len() < most {
                    let before = conflict(start, request);
                    let even_alone = before.is_some();
                    let after = conflict(&self.world, request);
                    // What would help is said with all the others where they are now.
                    let conflict = match (before, after) {
                        (Some(before), Some(after)) => Some(Conflict {
                            remedies: after.remedies,
                            ..before
                        }),
                        (before, after) => before.or(after),
                    };
                    (even_alone, conflict)
                } else {
                    (false, None)
                };
                known.insert(key, answer.clone());
                answer
            });
            let given_up = greedy.hosts[at].is_some();
            unplaced.push(Unplaced {
                server: request.name.clone(),
                even_alone,
                given_up_for: given_up.then(|| instead_of(request)),
                conflict,
            });
        }
        unplaced
    }
}

/// Hosts for some of the requests.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    hosts: Vec<Option<HostIndex>>,
    /// The placed ones, in the order in which they were placed.
    order: Vec<usize>,
}

impl Answer {
    fn placed(&self) -> usize {
        self.order.len()
    }

    fn score(&self, items: &[Item<'_>]) -> Score {
        Score::of(self.order.iter().map(|at| &items[*at]))
    }
}

/// The exact search for a place for everybody, then the improving one, then the proof that nothing is better, which
/// may find it. Steps taken, and whether the end is proven.
fn search(
    start: &super::state::World,
    items: &[Item<'_>],
    hopeless: &[bool],
    best: &Answer,
) -> (Answer, u64, bool) {
    let hopeful: Vec<usize> = (0..items.len()).filter(|at| !hopeless[*at]).collect();
    let most = board::at_most(start, items, &hopeful);
    let mut steps = 0;
    if most == hopeful.len() {
        let (found, taken) = exact::everybody(Board::new(start.clone(), items), &hopeful, EXACT_STEPS);
        steps += taken;
        if let Some(found) = found {
            return (found, steps, true);
        }
    }
    let board = Board::with(start.clone(), items, best);
    let (found, taken) = improve::improve(board, &hopeful, most, IMPROVE_STEPS);
    steps += taken;
    let board = Board::new(start.clone(), items);
    let best::Looked { better, taken, whole } = best::better(board, &hopeful, &found, PROOF_STEPS);
    let found = better.unwrap_or(found);
    let mut priorities = hopeful.iter().map(|at| items[*at].request.priority);
    let first = priorities.next();
    let alike = priorities.all(|priority| Some(priority) == first);
    let proven = whole || (alike && found.placed() == most);
    (found, steps + taken, proven)
}
