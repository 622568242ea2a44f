//! As Nova's RAMWeigher: free memory in MiB, without the allocation ratio.

use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    ask.usage.free_ram_mib as f64
}
