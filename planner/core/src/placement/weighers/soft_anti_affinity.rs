//! As Nova's ServerGroupSoftAntiAffinityWeigher: minus the members of the group on the host.

use super::super::input::Policy;
use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    let group = ask.group.filter(|group| group.is(Policy::SoftAntiAffinity));
    // From the integer, so that no members give 0 and not the double -0.0.
    group.map_or(0.0, |group| 0.0 - group.members.on(ask.index) as f64)
}
