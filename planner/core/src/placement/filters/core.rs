//! As Nova's CoreFilter and AggregateCoreFilter: enough vCPUs at the host's ratio, or at the least that its
//! aggregates set, and no server larger than the host itself.

use super::super::input::Ratio;
use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.facts.host.ratios.cpu)
}

pub(super) fn check_aggregate(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.facts.aggregate.ratios.cpu)
}

fn within(ask: &Ask<'_>, ratio: Ratio) -> Result<(), Rejection> {
    let wanted = ask.request.wants.vcpus;
    let total = ask.facts.host.capacity.vcpus;
    let free = ask.of_host().usable_vcpus(ratio);
    if wanted <= total && free >= wanted as f64 {
        return Ok(());
    }
    Err(Rejection::Vcpus {
        wanted,
        free,
        total,
        ratio: ratio.get(),
    })
}
