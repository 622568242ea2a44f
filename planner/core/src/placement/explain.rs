//! One decision in full: every host asked by every filter, the survivors' weights, the winner's margin.
//!
//! This is also the plain statement of the rules: the fast path of `scheduler` must choose what this chooses.

use super::filters::{Filter, Rejection};
use super::input::{Name, Request};
use super::state::{HostIndex, World};
use super::weighers::{Span, Weigher};
use serde::Serialize;

/// Why a server goes where it goes, or nowhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The server.
    pub server: Name,
    /// The filters that were asked, in order.
    pub filters: Vec<Filter>,
    /// One entry per host, in the order given.
    pub hosts: Vec<HostVerdict>,
    /// The weighers that counted; empty when fewer than two hosts passed, as Nova then does not weigh.
    pub weighers: Vec<WeigherColumn>,
    /// The best host, or `None` when none passed.
    pub chosen: Option<Name>,
    /// How far the winner's total is above the next best; zero for a tie, `None` without a second host, and below zero
    /// where a batch as a whole needed another host than the best.
    pub margin: Option<f64>,
}

impl Explanation {
    /// The same where the server is on, or was given, another host than the best; or none.
    pub(crate) fn choose(&mut self, host: Option<Name>) {
        self.margin = host.as_ref().and_then(|host| self.margin_of(host));
        self.chosen = host;
    }

    /// Notes that a host is out of question although it may pass every filter.
    pub(crate) fn bar(&mut self, host: &Name, why: &str) {
        if let Some(verdict) = self.hosts.iter_mut().find(|verdict| verdict.host == *host) {
            verdict.barred = Some(why.to_owned());
        }
    }

    /// How far a host's total is above the best of the others; below zero where another is better.
    fn margin_of(&self, host: &Name) -> Option<f64> {
        let own = self.hosts.iter().find(|verdict| verdict.host == *host)?.total?;
        let others = self
            .hosts
            .iter()
            .filter(|verdict| verdict.host != *host && verdict.barred.is_none());
        others
            .filter_map(|verdict| verdict.total)
            .reduce(f64::max)
            .map(|other| own - other)
    }
}

/// What became of one host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostVerdict {
    /// The host.
    pub host: Name,
    /// Every filter it fails when each is asked alone, in order; the first is the one that removed it.
    pub refusals: Vec<Refusal>,
    /// The sum of its weights, if it passed.
    pub total: Option<f64>,
    /// Why it is out of question although it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barred: Option<String>,
}

impl HostVerdict {
    /// True when no filter refused it.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// One filter's no.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refusal {
    /// The filter.
    pub filter: Filter,
    /// Its reason.
    #[serde(flatten)]
    pub rejection: Rejection,
}

/// One weigher's view of the hosts that passed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeigherColumn {
    /// The weigher.
    pub weigher: Weigher,
    /// Its multiplier as configured; a host's aggregates may set another.
    pub multiplier: f64,
    /// Per host that passed, in the order given: the value before and after normalisation.
    pub values: Vec<(f64, f64)>,
    /// Per host that passed, in the order given: what is added to its total.
    pub weights: Vec<f64>,
}

pub(crate) fn explain(world: &World, request: &Request) -> Explanation {
    let filters = world.fixed.filters.clone();
    let mut passed: Vec<HostIndex> = Vec::new();
    let mut hosts: Vec<HostVerdict> = Vec::with_capacity(world.len());
    for index in 0..world.len() {
        let ask = world.ask(index, request);
        let refusals: Vec<Refusal> = filters
            .iter()
            .filter_map(|filter| {
                filter.check(&ask).err().map(|rejection| Refusal {
                    filter: *filter,
                    rejection,
                })
            })
            .collect();
        if refusals.is_empty() {
            passed.push(index);
        }
        hosts.push(HostVerdict {
            host: ask.facts.host.name.clone(),
            refusals,
            total: None,
            barred: None,
        });
    }
    let (weighers, totals) = weigh(world, request, &passed);
    for (index, total) in passed.iter().zip(&totals) {
        hosts[*index].total = Some(*total);
    }
    let best = first_of_best(&totals);
    let runner_up = |best: usize| {
        let others = totals.iter().enumerate().filter(|(at, _)| *at != best);
        others.map(|(_, total)| *total).reduce(f64::max)
    };
    Explanation {
        server: request.name.clone(),
        filters,
        weighers,
        chosen: best.map(|at| hosts[passed[at]].host.clone()),
        margin: best.and_then(|at| runner_up(at).map(|second| totals[at] - second)),
        hosts,
    }
}

/// As Nova's `get_weighed_objects`: with one host left nothing is weighed and its total is 0.
fn weigh(world: &World, request: &Request, passed: &[HostIndex]) -> (Vec<WeigherColumn>, Vec<f64>) {
    let mut totals = vec![0.0; passed.len()];
    if passed.len() < 2 {
        return (Vec::new(), totals);
    }
    let mut columns = Vec::new();
    for (weigher, multiplier) in world.fixed.weighers.iter().copied() {
        let raws: Vec<f64> = passed
            .iter()
            .map(|index| weigher.raw(&world.ask(*index, request)))
            .collect();
        let low = raws.iter().copied().fold(f64::INFINITY, f64::min);
        let high = raws.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let span = Span::new(weigher.row().scale, low, high);
        let values: Vec<(f64, f64)> = raws.into_iter().map(|raw| (raw, span.normalise(raw))).collect();
        let weights: Vec<f64> = passed
            .iter()
            .zip(&values)
            .map(|(index, (_, normalised))| {
                weigher.multiplier(&world.fixed.hosts[*index], multiplier) * normalised
            })
            .collect();
        for (total, weight) in totals.iter_mut().zip(&weights) {
            *total += weight;
        }
        columns.push(WeigherColumn {
            weigher,
            multiplier,
            values,
            weights,
        });
    }
    (columns, totals)
}

/// The first of the highest totals: ties go to the host given first.
fn first_of_best(totals: &[f64]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (at, total) in totals.iter().enumerate() {
        if best.is_none_or(|best| *total > totals[best]) {
            best = Some(at);
        }
    }
    best
}
