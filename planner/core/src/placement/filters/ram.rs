//! As Nova's RamFilter and AggregateRamFilter: enough memory at the host's ratio, or at the least that its
//! aggregates set, and no server larger than the host itself.

use super::super::input::Ratio;
use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.facts.host.ratios.ram)
}

pub(super) fn check_aggregate(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.facts.aggregate.ratios.ram)
}

fn within(ask: &Ask<'_>, ratio: Ratio) -> Result<(), Rejection> {
    let wanted_mib = ask.request.wants.ram_mib;
    let total_mib = ask.facts.host.capacity.ram_mib;
    let free_mib = ask.of_host().usable_ram_mib(ratio);
    if wanted_mib <= total_mib && free_mib >= wanted_mib as f64 {
        return Ok(());
    }
    Err(Rejection::Ram {
        wanted_mib,
        free_mib,
        total_mib,
        ratio: ratio.get(),
    })
}
