//! What is declared and would have no effect, because the filter or weigher that it is for is not configured: nobody is
//! placed as if it had not been said. As Nova refuses groups whose filter is not there (`UnsupportedPolicyException`).

use super::build::{Inputs, host_address};
use super::types::{Finding, Severity};
use crate::model::{DesiredFleet, GroupPolicy, HostState, ServerSpec};
use crate::placement::{Filter, Weigher};
use drover_types::Address;
use std::collections::BTreeSet;

/// A filter, the argument of servers that it alone looks at, and whether a server sets it.
type Row = (Filter, &'static str, fn(&ServerSpec) -> bool);

const ARGUMENTS: [Row; 4] = [
    (Filter::AvailabilityZone, "availability_zone", |spec| {
        spec.availability_zone.is_some()
    }),
    (Filter::SameHost, "same_host", |spec| {
        !spec.hints.same_host.is_empty()
    }),
    (Filter::DifferentHost, "different_host", |spec| {
        !spec.hints.different_host.is_empty()
    }),
    (Filter::Network, "host_network", |spec| {
        spec.hints.network.is_some()
    }),
];

/// Keys of aggregates' metadata that one filter alone looks at.
const METADATA: [(&str, Filter); 6] = [
    ("ram_allocation_ratio", Filter::AggregateRam),
    ("disk_allocation_ratio", Filter::AggregateDisk),
    ("cpu_allocation_ratio", Filter::AggregateCore),
    ("max_instances_per_host", Filter::AggregateNumInstances),
    ("max_io_ops_per_host", Filter::AggregateIoOps),
    ("instance_type", Filter::AggregateFlavors),
];

/// Of servers the first that sets an argument, every group that servers are in, and every host that is closed.
pub(super) fn findings(inputs: &Inputs<'_>) -> Vec<Finding> {
    let desired = inputs.desired;
    let is_there = |filter: Filter| {
        let mut filters = desired.scheduler.filters.iter();
        filters.any(|name| name == filter.name())
    };
    let unlooked = |address: &Address, says: &str, filter: Filter| Finding {
        severity: Severity::Error,
        address: Some(address.clone()),
        message: format!(
            "{says}, which {filter} alone looks at when servers are placed, and that is not configured"
        ),
        hint: format!("add \"{filter}\" to filters in the scheduler block"),
    };
    let mut findings = Vec::new();
    for (filter, argument, sets) in ARGUMENTS {
        let mut servers = desired.servers.iter();
        if !is_there(filter)
            && let Some((address, _)) = servers.find(|(_, server)| sets(&server.spec))
        {
            findings.push(unlooked(address, &format!("it sets {argument}"), filter));
        }
    }
    let used: BTreeSet<&Address> = desired
        .servers
        .values()
        .filter_map(|server| server.spec.group.as_ref())
        .collect();
    for (address, group) in desired
        .groups
        .iter()
        .filter(|(address, _)| used.contains(address))
    {
        let (policy, by) = decided_by(group.spec.policy);
        match by {
            By::Filter(filter) if !is_there(filter) => {
                findings.push(unlooked(address, &format!("its policy is {policy}"), filter));
            }
            By::Weigher(weigher) if !has_weight(desired, weigher) => findings.push(Finding {
                severity: Severity::Warning,
                address: Some(address.clone()),
                message: format!(
                    "its policy is {policy}, which the weigher {} alone looks at, and that has no weight",
                    weigher.key()
                ),
                hint: format!(
                    "add {} = 1.0 to weights in the scheduler block, beside those that are there",
                    weigher.key()
                ),
            }),
            By::Filter(_) | By::Weigher(_) => {}
        }
    }
    if !is_there(Filter::Compute) {
        let closed = desired
            .hosts
            .iter()
            .filter(|(_, host)| host.spec.state != HostState::Active);
        findings.extend(closed.map(|(name, host)| {
            let says = format!("its state is {}", host.spec.state);
            unlooked(&host_address(name), &says, Filter::Compute)
        }));
    }
    findings.extend(texts(desired, is_there));
    findings
}

/// Metadata and extra specs that mean something to one filter alone. They may be there for people, too: a warning.
fn texts(desired: &DesiredFleet, is_there: impl Fn(Filter) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |address: &Address, says: String, by: Option<Filter>| {
        let (message, hint) = match by {
            Some(filter) => (
                format!("{says}, which {filter} alone looks at, and that is not configured"),
                format!("add \"{filter}\" to filters in the scheduler block"),
            ),
            None => (
                format!("{says}, which no filter looks at"),
                "labels of hosts say the same: \"capabilities:ssd\" = \"true\"".to_owned(),
            ),
        };
        findings.push(Finding {
            severity: Severity::Warning,
            address: Some(address.clone()),
            message,
            hint,
        });
    };
    for (address, aggregate) in &desired.aggregates {
        for key in aggregate.spec.metadata.keys() {
            let by = METADATA.iter().find(|(name, _)| *name == key);
            let tenants = key
                .starts_with("filter_tenant_id")
                .then_some(Filter::AggregateTenants);
            if let Some(filter) = by
                .map(|(_, filter)| *filter)
                .or(tenants)
                .filter(|by| !is_there(*by))
            {
                let hidden = aggregate.spec.sensitive.contains("metadata");
                let says = if hidden { "something" } else { key };
                tell(address, format!("its metadata sets {says}"), Some(filter));
            }
        }
    }
    for (address, flavor) in &desired.flavors {
        for key in flavor.spec.extra_specs.keys() {
            let scope = key.split_once(':').map(|(scope, _)| scope);
            let by = match scope {
                Some("aggregate_instance_extra_specs") => Some(Filter::AggregateInstanceExtraSpecs),
                // Those of the placement service.
                Some("trait" | "resources") => None,
                Some(_) | None => continue,
            };
            if by.is_none_or(|filter| !is_there(filter)) {
                // A key may be as secret as its value.
                let says = if flavor.spec.sensitive.contains("extra_specs") {
                    format!("its extra_specs have one with {}:", scope.unwrap_or_default())
                } else {
                    format!("its extra_specs have {key}")
                };
                tell(address, says, by);
            }
        }
    }
    findings
}

enum By {
    Filter(Filter),
    Weigher(Weigher),
}

/// The policy's name, and what it holds by.
const fn decided_by(policy: GroupPolicy) -> (&'static str, By) {
    match policy {
        GroupPolicy::Affinity => ("affinity", By::Filter(Filter::GroupAffinity)),
        GroupPolicy::AntiAffinity => ("anti-affinity", By::Filter(Filter::GroupAntiAffinity)),
        GroupPolicy::SoftAffinity => ("soft-affinity", By::Weigher(Weigher::SoftAffinity)),
        GroupPolicy::SoftAntiAffinity => ("soft-anti-affinity", By::Weigher(Weigher::SoftAntiAffinity)),
    }
}

/// For some hosts at least: aggregates may give theirs another one.
fn has_weight(desired: &DesiredFleet, weigher: Weigher) -> bool {
    let everywhere = desired.scheduler.weights.get(weigher.key());
    let key = format!("{}_weight_multiplier", weigher.key());
    everywhere.is_some_and(|multiplier| *multiplier != 0.0)
        || (desired.aggregates.values()).any(|aggregate| aggregate.spec.metadata.contains_key(&key))
}
