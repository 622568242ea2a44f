//! As Nova's NumInstancesWeigher: servers on the host; a negative multiplier spreads them.

use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    ask.usage.instances as f64
}
