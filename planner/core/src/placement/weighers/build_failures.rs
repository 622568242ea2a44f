//! As Nova's BuildFailureWeigher: builds that failed there; its multiplier counts against the host.

use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    ask.facts.host.failed_builds as f64
}
