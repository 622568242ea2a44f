//! As Nova's AvailabilityZoneFilter: a host in no zone's aggregate is in the default zone alone.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let Some(wanted) = &ask.request.needs.zone else {
        return Ok(());
    };
    let (zones, default) = (&ask.facts.zones, &ask.fixed.config.default_zone);
    if zones.contains(wanted.as_str()) || (zones.is_empty() && wanted == default) {
        return Ok(());
    }
    let found = if zones.is_empty() {
        vec![default.to_string()]
    } else {
        zones.iter().cloned().collect()
    };
    Err(Rejection::Zone {
        wanted: wanted.clone(),
        found,
    })
}
