//! As Nova's ServerGroupAntiAffinityFilter, with its `max_server_per_host`.

use super::super::input::Policy;
use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let Some(group) = ask.group else {
        return match &ask.request.group {
            Some(name) => Err(Rejection::UnknownGroup { group: name.clone() }),
            None => Ok(()),
        };
    };
    let members = group.members.on(ask.index);
    let limit = group.group.max_per_host;
    if group.is(Policy::AntiAffinity) && members >= limit {
        return Err(Rejection::AntiAffinity {
            group: group.group.name.clone(),
            members,
            limit,
        });
    }
    Ok(())
}
