//! As Nova's ComputeFilter: the host is enabled and its agent answers.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    if !ask.facts.host.enabled {
        return Err(Rejection::Disabled);
    }
    if ask.facts.host.up {
        Ok(())
    } else {
        Err(Rejection::Down)
    }
}
