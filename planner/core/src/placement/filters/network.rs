//! As Nova's SimpleCIDRAffinityFilter: the host's address is in the network that the request names.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let Some(wanted) = ask.request.needs.network else {
        return Ok(());
    };
    let found = ask.facts.host.address;
    if found.is_some_and(|address| wanted.contains(address)) {
        return Ok(());
    }
    Err(Rejection::Network { wanted, found })
}
