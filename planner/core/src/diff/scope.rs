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

impl<'a> Scope<'a> {
    pub(super) fn new(
        options: &'a PlanOptions,
        desired: &'a DesiredFleet,
        recorded: &'a RecordedFleet,
    ) -> Self {
        let mut scope = Self {
            options,
            targets: options.targets.iter().collect(),
            excludes: options.excludes.iter().collect(),
            dependents: BTreeSet::new(),
        };
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
        scope.dependents = specs
            .filter(|(address, spec)| covered(&scope.excludes, address) || refers(spec))
            .map(|(address, _)| address)
            .collect();
        // Instances of a block share the sets of what they wait for: each set is looked through once a round.
        loop {
            let mut looked: BTreeMap<*const BTreeSet<Address>, bool> = BTreeMap::new();
            let mut more = Vec::new();
            for (dependent, needs) in &desired.depends_on {
                let waits = needs.sets().any(|set| {
                    *looked
                        .entry(Arc::as_ptr(set))
                        .or_insert_with(|| set.iter().any(|needed| scope.dependents.contains(needed)))
                });
                if waits && !scope.dependents.contains(dependent) {
                    more.push(dependent);
                }
            }
            if more.is_empty() {
                break;
            }
            scope.dependents.extend(more);
        }
        scope
    }

    fn is_excluded(&self, address: &Address) -> bool {
        covered(&self.excludes, address) || self.dependents.contains(address)
    }

    /// Whether the resource itself is asked for.
    pub(super) fn covers(&self, address: &Address) -> bool {
        let targeted = self.options.targets.is_empty() || covered(&self.targets, address);
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
    }
}
