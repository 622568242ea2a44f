//! As Nova's AggregateTypeAffinityFilter: where the host's aggregates name flavors, only those come in.

use super::{Ask, Rejection};

const KEY: &str = "instance_type";

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let Some(allowed) = ask.facts.metadata.get(KEY) else {
        return Ok(());
    };
    let flavor = ask.request.needs.flavor.as_ref();
    if flavor.is_some_and(|flavor| allowed.contains(flavor.as_str())) {
        return Ok(());
    }
    Err(Rejection::Flavor {
        flavor: flavor.cloned().unwrap_or_default(),
        allowed: allowed.iter().cloned().collect(),
    })
}
