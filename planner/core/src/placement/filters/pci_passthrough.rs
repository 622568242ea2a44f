//! As Nova's PciPassthroughFilter: enough devices of each alias are free.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let demand = ask.request.demand.as_deref();
    let Some(demand) = demand.filter(|demand| !demand.devices.is_empty()) else {
        return Ok(());
    };
    let fits = ask
        .sides
        .devices(ask.index)
        .fit_devices(&ask.request.name, demand, &ask.terms());
    fits.map_err(|problem| Rejection::Devices { problem })
}
