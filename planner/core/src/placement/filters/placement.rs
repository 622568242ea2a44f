//! What Placement refuses before the scheduler's filters are asked (`modern` profile).
//!
//! Two things differ from the filters it replaced: a zone that no aggregate carries restricts nothing (the API is
//! expected to have refused it), and an amount of zero is not asked for, so it fits an overcommitted host.

use super::{Ask, Rejection, availability_zone, core, disk, ram};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    check_facts(ask)?;
    let wants = &ask.request.wants;
    if wants.ram_mib > 0 {
        ram::check(ask)?;
    }
    if wants.disk_mib > 0 {
        disk::check(ask)?;
    }
    if wants.vcpus > 0 {
        core::check(ask)?;
    }
    Ok(())
}

/// How many of the things that Placement looks at are amiss; it names the first alone.
pub(crate) fn obstacles(ask: &Ask<'_>) -> usize {
    let wants = &ask.request.wants;
    let amiss = [
        check_facts(ask).is_err(),
        wants.ram_mib > 0 && ram::check(ask).is_err(),
        wants.disk_mib > 0 && disk::check(ask).is_err(),
        wants.vcpus > 0 && core::check(ask).is_err(),
    ];
    amiss.iter().filter(|amiss| **amiss).count()
}

/// The part that no placement changes.
pub(super) fn check_facts(ask: &Ask<'_>) -> Result<(), Rejection> {
    if !ask.facts.host.enabled {
        return Err(Rejection::Disabled);
    }
    if let Some(zone) = ask
        .request
        .needs
        .zone
        .as_ref()
        .filter(|zone| ask.fixed.zones.contains(zone.as_str()))
    {
        if ask.facts.zones.is_empty() {
            return Err(Rejection::Zone {
                wanted: zone.clone(),
                found: vec!["no zone".to_owned()],
            });
        }
        availability_zone::check(ask)?;
    }
    Ok(())
}
