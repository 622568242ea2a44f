//! As Nova's HypervisorVersionWeigher: newer hypervisors first.

use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    ask.facts.host.hypervisor.version as f64
}
