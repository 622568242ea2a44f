//! As Nova's RetryFilter: no host twice for one server.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    if ask.request.needs.tried_hosts.contains(&ask.facts.host.name) {
        Err(Rejection::Tried)
    } else {
        Ok(())
    }
}
