//! As Nova's AvailabilityZoneFilter: a host in no zone's aggregate is in the default zone alone.

use super::super::aggregates::ZONE_KEY;
use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let Some(wanted) = &ask.request.needs.zone else {
        return Ok(());
    };
    let default = &ask.fixed.config.default_zone;
    let zones = ask.facts.metadata.get(ZONE_KEY);
    let inside = match zones {
        Some(zones) => zones.contains(wanted.as_str()),
        None => wanted == default,
    };
    if inside {
        return Ok(());
    }
    Err(Rejection::Zone {
        wanted: wanted.clone(),
        found: zones.map_or_else(
            || vec![default.to_string()],
            |zones| zones.iter().cloned().collect(),
        ),
    })
}
