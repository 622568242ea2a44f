//! What a plan is about: the targets, less what is excluded and what needs that.

use crate::model::{DesiredFleet, RecordedFleet, ServerSpec};
use crate::plan::{PlanMode, PlanOptions};
use drover_types::{Address, HostName, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which resources a plan may change.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    options: &'a PlanOptions,
    targets: BTreeSet<&'a Address>,
    /// Servers without which the targets cannot be there by `depends_on`, or that cannot be there without them where
    /// all are destroyed.
    implied: BTreeSet<&'a Address>,
    excludes: BTreeSet<&'a Address>,
    /// Servers that are excluded because something they need is.
    dependents: BTreeSet<&'a Address>,
}

/// Whether one of them names the address, or the block whose instance it is, as [`Address::covers`] has it.
fn covered(by: &BTreeSet<&Address>, address: &Address) -> bool {
    if by.is_empty() {
        return false;
    }
    let block = || Address {
        key: None,
        ..address.clone()
    };
    by.contains(address) || (address.key.is_some() && by.contains(&block()))
}

/// These and all that wait for one of them by `depends_on`.
fn with_dependents<'a>(desired: &'a DesiredFleet, mut all: BTreeSet<&'a Address>) -> BTreeSet<&'a Address> {
    // Instances of a block share the sets of what they wait for: each set is looked through once a round.
    loop {
        let mut looked: BTreeMap<*const BTreeSet<Address>, bool> = BTreeMap::new();
        let mut more = Vec::new();
        for (dependent, needs) in &desired.depends_on {
            let waits = needs.sets().any(|set| {
                *looked
                    .entry(Arc::as_ptr(set))
                    .or_insert_with(|| set.iter().any(|needed| all.contains(needed)))
            });
            if waits && !all.contains(dependent) {
                more.push(dependent);
            }
        }
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// These and all that one of them waits for by `depends_on`.
fn with_needs<'a>(desired: &'a DesiredFleet, mut all: BTreeSet<&'a Address>) -> BTreeSet<&'a Address> {
    let mut open: Vec<&Address> = all.iter().copied().collect();
    // Instances of a block share the sets of what they wait for: each set is looked through once.
    let mut looked: BTreeSet<*const BTreeSet<Address>> = BTreeSet::new();
    while let Some(address) = open.pop() {
        let Some(needs) = desired.depends_on.get(address) else {
            continue;
        };
        for set in needs.sets().filter(|set| looked.insert(Arc::as_ptr(set))) {
            open.extend(set.iter().filter(|needed| all.insert(needed)));
        }
    }
    all
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        options: &'a PlanOptions,
        desired: &'a DesiredFleet,
        recorded: &'a RecordedFleet,
    ) -> Self {
        let mut scope = Self {
            options,
            targets: options.targets.iter().collect(),
            implied: BTreeSet::new(),
            excludes: options.excludes.iter().collect(),
            dependents: BTreeSet::new(),
        };
        // A command on single servers is about these alone.
        let single = !options.migrate.is_empty() || options.balance.is_some() || options.import.is_some();
        if !options.targets.is_empty() && !single {
            let targeted = desired.servers.keys().chain(recorded.servers.keys());
            let targeted = targeted
                .filter(|address| covered(&scope.targets, address))
                .collect();
            scope.implied = match options.mode {
                PlanMode::Destroy => with_dependents(desired, targeted),
                PlanMode::Apply | PlanMode::RefreshOnly => with_needs(desired, targeted),
            };
        }
        if options.excludes.is_empty() {
            return scope;
        }
        let specs = recorded
            .servers
            .iter()
            .map(|(address, record)| (address, &record.spec));
        let specs = specs.chain(
            desired
                .servers
                .iter()
                .map(|(address, server)| (address, &server.spec)),
        );
        let refers = |spec: &ServerSpec| {
            covered(&scope.excludes, &spec.flavor)
                || spec
                    .image_address()
                    .is_some_and(|image| covered(&scope.excludes, image))
                || spec
                    .group
                    .as_ref()
                    .is_some_and(|group| covered(&scope.excludes, group))
        };
        let excluded = specs
            .filter(|(address, spec)| covered(&scope.excludes, address) || refers(spec))
            .map(|(address, _)| address)
            .collect();
        scope.dependents = with_dependents(desired, excluded);
        scope
    }

    fn is_excluded(&self, address: &Address) -> bool {
        covered(&self.excludes, address) || self.dependents.contains(address)
    }

    /// Whether the resource itself is asked for.
    pub(super) fn covers(&self, address: &Address) -> bool {
        let targeted = self.options.targets.is_empty()
            || covered(&self.targets, address)
            || self.implied.contains(address);
        targeted && !self.is_excluded(address)
    }

    /// Whether the resource is asked for, or needed by one that is and not excluded.
    pub(super) fn covers_or_needs(&self, address: &Address, needed: &BTreeSet<Address>) -> bool {
        self.covers(address) || (needed.contains(address) && !self.is_excluded(address))
    }

    /// Whether the record of a host that is no longer declared may go.
    pub(super) fn covers_host(&self, host: &HostName) -> bool {
        let named = |by: &[Address]| {
            by.iter()
                .any(|one| one.kind == Kind::Host && one.name.as_str() == host.as_str())
        };
        // What is excluded from a destroy stays on its host.
        let kept = self.options.mode == PlanMode::Destroy && !self.options.excludes.is_empty();
        let targeted = self.options.targets.is_empty() || named(&self.options.targets);
        targeted && !kept && !named(&self.options.excludes)
    }

    /// What the servers that are asked for refer to.
    pub(super) fn needed(&self, desired: &DesiredFleet) -> BTreeSet<Address> {
        let mut needed = BTreeSet::new();
        for (_, server) in desired.servers.iter().filter(|(address, _)| self.covers(address)) {
            needed.insert(server.spec.flavor.clone());
            needed.extend(server.spec.image_address().cloned());
            needed.extend(server.spec.group.clone());
        }
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Needs;
    use crate::testing::{address, desired, with_server};
    use proptest::prelude::*;

    #[test]
    fn what_needs_something_excluded_is_excluded_too() {
        let mut fleet = desired();
        for at in ["server.a", "server.b", "server.c", "server.d"] {
            fleet = with_server(fleet, at, None);
        }
        let small = fleet.flavors[&address("flavor.small")].clone();
        fleet.flavors.insert(address("flavor.large"), small);
        fleet
            .servers
            .get_mut(&address("server.d"))
            .expect("declared")
            .spec
            .flavor = address("flavor.large");
        for (dependent, needed) in [("server.b", "server.a"), ("server.c", "server.b")] {
            let needs = Needs::all(vec![Arc::new(BTreeSet::from([address(needed)]))]);
            fleet.depends_on.insert(address(dependent), needs);
        }
        let recorded = RecordedFleet::empty(1);
        let left = |excludes: &[&str], targets: &[&str]| {
            let options = PlanOptions {
                excludes: excludes.iter().map(|at| address(at)).collect(),
                targets: targets.iter().map(|at| address(at)).collect(),
                ..PlanOptions::default()
            };
            let scope = Scope::new(&options, &fleet, &recorded);
            let kept = fleet.servers.keys().filter(|at| scope.covers(at));
            kept.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(left(&["server.b"], &[]), ["server.a", "server.d"]);
        assert_eq!(left(&["server.a"], &[]), ["server.d"]);
        assert_eq!(left(&["flavor.large"], &[]), ["server.a", "server.b", "server.c"]);
        assert_eq!(left(&["server.b"], &["server.a", "server.c"]), ["server.a"]);
        assert_eq!(left(&[], &["server.c"]), ["server.a", "server.b", "server.c"]);
        assert_eq!(left(&[], &["server.d"]), ["server.d"]);
    }

    proptest! {
        #[test]
        fn the_targets_of_a_plan_come_with_all_that_they_need(
            edges in prop::collection::vec((0..12_usize, 0..12_usize), 0..20),
            targets in prop::collection::btree_set(0..12_usize, 1..4),
            destroy in any::<bool>(),
        ) {
            let name = |number: usize| address(&format!("server.s{number:02}"));
            let mut fleet = desired();
            for number in 0..12 {
                fleet = with_server(fleet, &name(number).to_string(), None);
            }
            // A server waits for later ones only, so that there is no cycle.
            let edges: BTreeSet<(usize, usize)> = edges.into_iter().filter(|(from, to)| from < to).collect();
            for number in 0..12 {
                let of = edges.iter().filter(|(from, _)| *from == number);
                let needs: BTreeSet<Address> = of.map(|(_, to)| name(*to)).collect();
                if !needs.is_empty() {
                    fleet.depends_on.insert(name(number), Needs::all(vec![Arc::new(needs)]));
                }
            }
            let options = PlanOptions {
                targets: targets.iter().map(|number| name(*number)).collect(),
                mode: if destroy { PlanMode::Destroy } else { PlanMode::Apply },
                ..PlanOptions::default()
            };
            let recorded = RecordedFleet::empty(1);
            let scope = Scope::new(&options, &fleet, &recorded);
            let within: BTreeSet<usize> = (0..12).filter(|number| scope.covers(&name(*number))).collect();
            prop_assert!(targets.is_subset(&within));
            for (from, to) in edges {
                let (one, other) = if destroy { (to, from) } else { (from, to) };
                prop_assert!(!within.contains(&one) || within.contains(&other), "{one} without {other}");
            }
            // And with nothing else: whatever is in it is a target, or in it for another.
            for number in within.difference(&targets) {
                let reached = fleet_edges(&fleet).into_iter().any(|(from, to)| {
                    let (one, other) = if destroy { (to, from) } else { (from, to) };
                    other == name(*number) && scope.covers(&one)
                });
                prop_assert!(reached, "{number} is there for nothing");
            }
        }
    }

    fn fleet_edges(fleet: &DesiredFleet) -> Vec<(Address, Address)> {
        let of = |(from, needs): (&Address, &Needs)| {
            let from = from.clone();
            needs
                .iter()
                .map(|to| (from.clone(), to.clone()))
                .collect::<Vec<_>>()
        };
        fleet.depends_on.iter().flat_map(of).collect()
    }
}
