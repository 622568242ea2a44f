//! As Nova's ServerGroupAffinityFilter: where members are, or anywhere while there are none.

use super::super::input::Policy;
use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let Some(group) = ask.group.filter(|group| group.is(Policy::Affinity)) else {
        return Ok(());
    };
    if group.members.is_empty() || group.members.on(ask.index) > 0 {
        return Ok(());
    }
    Err(Rejection::Affinity {
        group: group.group.name.clone(),
        hosts: group
            .members
            .hosts()
            .map(|host| ask.fixed.hosts[host].host.name.clone())
            .collect(),
    })
}
