//! As Nova's DiskFilter and AggregateDiskFilter: enough disk at the host's ratio, or at the least that its
//! aggregates set, and no server larger than the host itself.

use super::super::input::Ratio;
use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.facts.host.ratios.disk)
}

pub(super) fn check_aggregate(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.facts.aggregate.ratios.disk)
}

fn within(ask: &Ask<'_>, ratio: Ratio) -> Result<(), Rejection> {
    let wanted_mib = ask.request.wants.disk_mib;
    let total_mib = ask.facts.host.capacity.disk_mib;
    let free_mib = ask.of_host().usable_disk_mib(ratio);
    if wanted_mib <= total_mib && free_mib >= wanted_mib as f64 {
        return Ok(());
    }
    Err(Rejection::Disk {
        wanted_mib,
        free_mib,
        total_mib,
        ratio: ratio.get(),
    })
}
