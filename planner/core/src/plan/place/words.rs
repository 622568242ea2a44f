//! What the plan says about placements: why there, why nowhere, and what the search did.

use super::super::types::{Finding, HostRejection, Placement, Severity};
use super::Placer;
use crate::placement::{BatchOutcome, Conflict, Explanation, Filter, GivenUp, Method};
use drover_types::HostName;
use std::collections::BTreeMap;

/// Why a server goes where it goes, in a plan too large to explain each.
const UNEXPLAINED: &str = "best weight of the hosts that fit";

/// A place without its explanation.
pub(super) fn unexplained(host: HostName) -> Placement {
    Placement {
        host,
        alternates: Vec::new(),
        why: UNEXPLAINED.to_owned(),
        rejected: BTreeMap::new(),
        rejections: Vec::new(),
        weights: Vec::new(),
    }
}

/// The names of the constraints that cannot hold together.
///
/// Of a host that did not answer nothing is known, so that it seems to lack room too: what is said is that it is away.
pub(super) fn constraints(conflict: Option<&Conflict>) -> Vec<String> {
    let Some(conflict) = conflict else {
        return Vec::new();
    };
    let all_away = conflict.refused.contains(&(Filter::Compute, conflict.hosts));
    if all_away && conflict.filters.len() == 1 {
        return vec![Filter::Compute.name().to_owned()];
    }
    conflict
        .filters
        .iter()
        .map(|filter| filter.name().to_owned())
        .collect()
}

/// What would make it fit.
pub(super) fn hint(conflict: Option<&Conflict>, given_up_for: Option<&GivenUp>) -> String {
    let remedies: Vec<String> = conflict
        .into_iter()
        .flat_map(|conflict| &conflict.remedies)
        .map(ToString::to_string)
        .collect();
    let mut hint = if remedies.is_empty() {
        "make room, add a host, or relax the constraint named".to_owned()
    } else {
        format!("it would fit with {}", remedies.join(", or "))
    };
    if let Some(given_up_for) = given_up_for {
        hint.push_str(&format!("; {given_up_for}"));
    }
    hint
}

/// What was gained beyond placing one server after another, and how.
pub(super) fn method(outcome: &BatchOutcome) -> Option<Finding> {
    let (all, placed) = (outcome.placements.len(), outcome.order.len());
    let greedy = outcome.greedy_placed;
    let nobody_gave_way = outcome
        .unplaced
        .iter()
        .all(|unplaced| unplaced.given_up_for.is_none());
    if placed == greedy && nobody_gave_way {
        return None;
    }
    let message = match &outcome.method {
        Method::Greedy => return None,
        Method::Order { order } => format!(
            "in the order of addresses {greedy} of {all} servers find a host; placed in another ({order}), {placed} do"
        ),
        Method::Search { steps, .. } => format!(
            "in the order of addresses {greedy} of {all} servers find a host; arranged by a search ({steps} steps), \
             {placed} do"
        ),
    };
    Some(Finding {
        severity: Severity::Warning,
        address: None,
        message,
        hint: "`drover plan --explain` shows why each goes where it goes".to_owned(),
    })
}

impl Placer<'_> {
    pub(super) fn rejections(&self, explanation: &Explanation) -> Vec<HostRejection> {
        explanation
            .hosts
            .iter()
            .filter_map(|verdict| {
                // A host that is away or closed says so, whatever else it lacks.
                let refusal = verdict
                    .refusals
                    .iter()
                    .find(|refusal| refusal.filter == Filter::Compute)
                    .or_else(|| verdict.refusals.first())?;
                Some(HostRejection {
                    host: self.hosts.get(&verdict.host)?.clone(),
                    filter: refusal.filter.name().to_owned(),
                    why: refusal.rejection.to_string(),
                })
            })
            .collect()
    }

    pub(super) fn describe(&self, explanation: &Explanation, host: HostName) -> Placement {
        let mut weights: Vec<(HostName, f64)> = explanation
            .hosts
            .iter()
            .filter_map(|verdict| Some((self.hosts.get(&verdict.host)?.clone(), verdict.total?)))
            .collect();
        weights.sort_by(|one, other| other.1.total_cmp(&one.1));
        let rejections = self.rejections(explanation);
        let mut rejected: BTreeMap<String, u32> = BTreeMap::new();
        for rejection in &rejections {
            *rejected.entry(rejection.filter.clone()).or_insert(0) += 1;
        }
        let weighs = &self.inputs.desired.scheduler.weights;
        let by_memory = weighs.len() == 1 && weighs.get("ram").is_some_and(|multiplier| *multiplier > 0.0);
        let highest = weights.first().map(|(_, weight)| *weight);
        let equals = weights
            .iter()
            .take_while(|(_, weight)| Some(*weight) == highest)
            .count();
        let first = explanation.chosen.as_ref().and_then(|name| self.hosts.get(name));
        let why = match (weights.len(), by_memory) {
            (0 | 1, _) => "the only host that fits".to_owned(),
            (fits, _) if first.is_some_and(|first| *first != host) => {
                format!("one of {fits} hosts that fit, chosen so that other servers fit too")
            }
            (fits, _) if equals == fits => format!("the first of {fits} hosts that fit equally well"),
            (fits, _) if equals > 1 => format!("the first of the {equals} best of {fits} hosts that fit"),
            (fits, true) => format!("most free memory of {fits} hosts that fit"),
            (fits, false) => format!("best weight of {fits} hosts that fit"),
        };
        let keep = self.diff.options.explain;
        Placement {
            host,
            alternates: Vec::new(),
            why,
            rejected,
            rejections: if keep { rejections } else { Vec::new() },
            weights: if keep { weights } else { Vec::new() },
        }
    }
}
