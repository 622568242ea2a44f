//! As Nova's NUMATopologyFilter: cells of the host hold the server's, with its processors and pages.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let demand = ask.request.demand.as_deref();
    let Some(demand) = demand.filter(|demand| !demand.cells.is_empty()) else {
        return Ok(());
    };
    let fits = ask
        .sides
        .devices(ask.index)
        .fit_cells(&ask.request.name, demand, &ask.terms());
    fits.map_err(|problem| Rejection::Devices { problem })
}
