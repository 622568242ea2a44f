//! As Nova's PCIWeigher: hosts with the fewest free devices first, so that servers without keep off the others.

use super::Ask;

/// As many free devices or more are no shortage.
const MANY: u64 = 100;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    let free = ask.sides.devices(ask.index).free_devices();
    (MANY - free.min(MANY - 1)) as f64
}
