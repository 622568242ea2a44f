//! As Nova's IsolatedHostsFilter: certain images on certain hosts alone, and these hosts for them alone if so set.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let isolation = &ask.fixed.config.isolation;
    let host = isolation.hosts.contains(&ask.facts.host.name);
    let image = ask.request.needs.image_name.as_ref();
    let image = image.is_some_and(|image| isolation.images.contains(image));
    if image && !host {
        return Err(Rejection::ImageIsolated);
    }
    if host && !image && isolation.reserve_hosts {
        return Err(Rejection::HostIsolated);
    }
    Ok(())
}
