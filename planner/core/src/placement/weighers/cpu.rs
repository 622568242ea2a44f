//! As Nova's CPUWeigher: vCPUs left at the host's ratio.

use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    ask.of_host().usable_vcpus(ask.facts.host.ratios.cpu)
}
