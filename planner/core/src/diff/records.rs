//! Hosts, flavors, images, groups and aggregates: declared against recorded.

use super::attributes;
use super::gone::Gone;
use super::scope::Scope;
use super::types::{FleetDiff, RecordDiff};
use crate::model::{DesiredFleet, DesiredResource, ObservedFleet, PlainRecord, RecordedFleet};
use crate::plan::{PlanMode, Reason};
use drover_types::Address;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn plain<S: Clone + PartialEq>(
    desired: &BTreeMap<Address, DesiredResource<S>>,
    recorded: &BTreeMap<Address, PlainRecord<S>>,
    (scope, gone): (&Scope<'_>, &Gone<'_>),
    needed: &BTreeSet<Address>,
    show: fn(&S) -> Value,
) -> BTreeMap<Address, RecordDiff<S>> {
    let mut changes = BTreeMap::new();
    for (address, resource) in desired {
        if !scope.covers_or_needs(address, needed) {
            continue;
        }
        let before = recorded.get(address);
        if before.is_some_and(|record| record.spec == resource.spec) {
            continue;
        }
        let why = match before {
            None => Reason::Declared,
            Some(record) => Reason::AttributesChanged {
                attributes: attributes::changed(&show(&record.spec), &show(&resource.spec)),
            },
        };
        changes.insert(
            address.clone(),
            RecordDiff {
                before: before.map(|record| record.spec.clone()),
                after: Some(resource.spec.clone()),
                generation: before.map(|record| record.generation),
                why,
            },
        );
    }
    for (address, record) in recorded {
        if !desired.contains_key(address) && scope.covers(address) {
            changes.insert(
                address.clone(),
                RecordDiff {
                    before: Some(record.spec.clone()),
                    after: None,
                    generation: Some(record.generation),
                    why: gone.why(address),
                },
            );
        }
    }
    changes
}

/// Fills in what changes among the records that no agent takes part in.
pub(super) fn diff_records(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
    (scope, gone): (&Scope<'_>, &Gone<'_>),
    diff: &mut FleetDiff,
) {
    if diff.options.mode == PlanMode::RefreshOnly {
        return;
    }
    let needed = scope.needed(desired);
    diff.flavors = plain(
        &desired.flavors,
        &recorded.flavors,
        (scope, gone),
        &needed,
        attributes::flavor,
    );
    diff.images = plain(
        &desired.images,
        &recorded.images,
        (scope, gone),
        &needed,
        attributes::image,
    );
    diff.aggregates = plain(
        &desired.aggregates,
        &recorded.aggregates,
        (scope, gone),
        &needed,
        attributes::aggregate,
    );
    diff.groups = plain(
        &desired.groups,
        &recorded.groups,
        (scope, gone),
        &needed,
        attributes::group,
    );
    for (name, resource) in &desired.hosts {
        let before = recorded.hosts.get(name);
        let found = observed
            .get(name)
            .and_then(|host| host.inventory())
            .map(|inventory| inventory.incarnation);
        let known = before.and_then(|record| record.incarnation);
        let incarnation = known.or(found);
        if before.is_some_and(|record| record.spec == resource.spec && record.incarnation == incarnation) {
            continue;
        }
        let why = match before {
            None => Reason::Declared,
            Some(record) if record.spec == resource.spec => Reason::HostReached,
            Some(record) => Reason::AttributesChanged {
                attributes: attributes::changed(
                    &attributes::host(&record.spec),
                    &attributes::host(&resource.spec),
                ),
            },
        };
        diff.hosts.insert(
            name.clone(),
            RecordDiff {
                before: before.map(|record| (record.spec.clone(), record.incarnation)),
                after: Some((resource.spec.clone(), incarnation)),
                generation: before.map(|record| record.generation),
                why,
            },
        );
    }
    for (name, record) in &recorded.hosts {
        if !desired.hosts.contains_key(name) && scope.covers_host(name) {
            diff.hosts.insert(
                name.clone(),
                RecordDiff {
                    before: Some((record.spec.clone(), record.incarnation)),
                    after: None,
                    generation: Some(record.generation),
                    why: match diff.options.mode {
                        PlanMode::Destroy => Reason::DestroyRequested,
                        PlanMode::Apply | PlanMode::RefreshOnly => Reason::NotDeclared,
                    },
                },
            );
        }
    }
}
