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
