//! As Nova's IoOpsWeigher: servers being built, resized or migrated there.

use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    ask.usage.io_ops as f64
}
