//! As Nova's DiskWeigher: free disk in MiB, without the allocation ratio.

use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    ask.usage.free_disk_mib as f64
}
