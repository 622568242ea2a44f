//! The most that can be in one place at one moment of a plan, whatever the order in which it is carried out.

use super::types::Plan;
use drover_types::OperationId;
use std::collections::{BTreeMap, BTreeSet};

/// Something that an action adds to a place, or takes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) amount: u64,
    pub(super) action: OperationId,
}

/// What waits for what, directly.
pub(super) struct Ancestors<'a> {
    depends_on: BTreeMap<OperationId, &'a [OperationId]>,
}

impl<'a> Ancestors<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        Self {
            depends_on: plan
                .actions
                .iter()
                .map(|action| (action.id, action.depends_on.as_slice()))
                .chain((plan.joins.iter()).map(|join| (join.id, join.depends_on.as_slice())))
                .collect(),
        }
    }

    /// Everything that must be done before an action begins.
    pub(super) fn before(&self, action: OperationId) -> BTreeSet<OperationId> {
        let mut found = BTreeSet::new();
        let mut open = vec![action];
        while let Some(next) = open.pop() {
            for dependency in self.depends_on.get(&next).copied().unwrap_or_default() {
                if found.insert(*dependency) {
                    open.push(*dependency);
                }
            }
        }
        found
    }
}

/// `base`, and the most that the changes can add to it at any moment: an arrival counts from its beginning, by which
/// all departures that it waits for are done; other departures may come last.
///
/// Whichever arrivals are under way, the departures that any of them waits for are done. The set of arrivals that is
/// worst is a closure of greatest weight, found as a least cut between the two sides.
pub(super) fn worst(base: u64, arrivals: &[Change], departures: &[Change], ancestors: &Ancestors<'_>) -> u64 {
    let position: BTreeMap<OperationId, usize> = departures
        .iter()
        .enumerate()
        .map(|(at, change)| (change.action, at))
        .collect();
    let mut free = base;
    let mut bound: Vec<(u64, Vec<usize>)> = Vec::new();
    for arrival in arrivals {
        let waits: Vec<usize> = if position.is_empty() {
            Vec::new()
        } else {
            ancestors
                .before(arrival.action)
                .iter()
                .filter_map(|action| position.get(action).copied())
                .collect()
        };
        if waits.is_empty() {
            free = free.saturating_add(arrival.amount);
        } else {
            bound.push((arrival.amount, waits));
        }
    }
    let gain: u64 = bound
        .iter()
        .map(|(amount, _)| *amount)
        .fold(0, u64::saturating_add);
    let give: Vec<u64> = departures.iter().map(|change| change.amount).collect();
    free.saturating_add(gain.saturating_sub(flow(&bound, &give)))
}

/// How much of the arrivals' amounts the departures that they wait for can make up for, each departure once: the
/// greatest flow from arrivals to departures.
fn flow(arrivals: &[(u64, Vec<usize>)], departures: &[u64]) -> u64 {
    let mut left: Vec<u64> = departures.to_vec();
    // What of each departure went to which arrival, so that it can be taken back.
    let mut given: Vec<BTreeMap<usize, u64>> = vec![BTreeMap::new(); departures.len()];
    let mut total = 0;
    for (number, (amount, _)) in arrivals.iter().enumerate() {
        let mut wanted = *amount;
        while wanted > 0 {
            let Some(path) = path(number, arrivals, &left, &given) else {
                break;
            };
            let end = path[path.len() - 1].1;
            let taken = path
                .windows(2)
                .map(|pair| given[pair[0].1].get(&pair[1].0).copied().unwrap_or(0))
                .fold(wanted.min(left[end]), u64::min);
            for pair in path.windows(2) {
                let (departure, next) = (pair[0].1, pair[1].0);
                if let Some(had) = given[departure].get_mut(&next) {
                    *had -= taken;
                }
            }
            given.iter_mut().for_each(|given| given.retain(|_, had| *had > 0));
            for (arrival, departure) in &path {
                *given[*departure].entry(*arrival).or_insert(0) += taken;
            }
            left[end] -= taken;
            wanted -= taken;
            total += taken;
        }
    }
    total
}

/// A way from an arrival to a departure that has something left, by arrivals that could take from another one.
fn path(
    from: usize,
    arrivals: &[(u64, Vec<usize>)],
    left: &[u64],
    given: &[BTreeMap<usize, u64>],
) -> Option<Vec<(usize, usize)>> {
    let mut seen = vec![false; left.len()];
    let mut open = vec![vec![(from, usize::MAX)]];
    while let Some(way) = open.pop() {
        let (arrival, _) = way[way.len() - 1];
        for departure in &arrivals[arrival].1 {
            if std::mem::replace(&mut seen[*departure], true) {
                continue;
            }
            let mut way = way.clone();
            let last = way.len() - 1;
            way[last].1 = *departure;
            if left[*departure] > 0 {
                return Some(way);
            }
            for other in given[*departure].keys() {
                let mut next = way.clone();
                next.push((*other, usize::MAX));
                open.push(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: usize) -> OperationId {
        OperationId::from_uuid(uuid::Uuid::from_u128(number as u128 + 1))
    }

    proptest! {
        /// The same as trying every set of arrivals.
        #[test]
        fn as_bad_as_the_worst_of_all_sets(
            base in 0..5_u64,
            amounts in prop::collection::vec((1..6_u64, 0..16_u32), 1..6),
            gives in prop::collection::vec(1..6_u64, 0..4),
        ) {
            let waits = |mask: u32| -> Vec<OperationId> {
                (0..gives.len()).filter(|at| mask & (1 << at) != 0).map(|at| id(100 + at)).collect()
            };
            let waiting: Vec<Vec<OperationId>> = amounts.iter().map(|(_, mask)| waits(*mask)).collect();
            let ancestors = Ancestors {
                depends_on: waiting.iter().enumerate().map(|(at, waits)| (id(at), waits.as_slice())).collect(),
            };
            let arrivals: Vec<Change> = amounts
                .iter()
                .enumerate()
                .map(|(at, (amount, _))| Change { amount: *amount, action: id(at) })
                .collect();
            let departures: Vec<Change> = gives
                .iter()
                .enumerate()
                .map(|(at, amount)| Change { amount: *amount, action: id(100 + at) })
                .collect();
            let worst_of_all = (0..1_u32 << arrivals.len())
                .map(|set| {
                    let here = (0..arrivals.len()).filter(|at| set & (1 << at) != 0);
                    let (mut sum, mut gone) = (0, 0_u32);
                    for at in here {
                        sum += amounts[at].0;
                        gone |= amounts[at].1;
                    }
                    let back: u64 = (0..gives.len()).filter(|at| gone & (1 << at) != 0).map(|at| gives[at]).sum();
                    (base + sum).saturating_sub(back)
                })
                .max()
                .unwrap_or(base)
                .max(base);
            prop_assert_eq!(worst(base, &arrivals, &departures, &ancestors), worst_of_all);
        }
    }
}
