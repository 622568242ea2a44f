//! As Nova's ServerGroupSoftAffinityWeigher: members of the group on the host.

use super::super::input::Policy;
use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    let group = ask.group.filter(|group| group.is(Policy::SoftAffinity));
    group.map_or(0.0, |group| group.members.on(ask.index) as f64)
}
