//! As Nova's NumInstancesFilter and AggregateNumInstancesFilter: no more servers on a host than configured.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.fixed.config.max_instances_per_host)
}

pub(super) fn check_aggregate(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.facts.aggregate.max_instances)
}

fn within(ask: &Ask<'_>, limit: u64) -> Result<(), Rejection> {
    let instances = ask.usage.instances;
    if instances < limit {
        Ok(())
    } else {
        Err(Rejection::Instances { instances, limit })
    }
}
