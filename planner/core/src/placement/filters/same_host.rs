//! As Nova's SameHostFilter: the host holds one of the servers that the request names.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let named = &ask.request.same_host;
    if named.is_empty() || named.iter().any(|name| ask.sides.holds(name, ask.index)) {
        return Ok(());
    }
    let places = named
        .iter()
        .flat_map(|name| ask.sides.hosts_of(name))
        .map(|host| ask.fixed.hosts[host].host.name.clone());
    let mut hosts: Vec<_> = places.collect();
    hosts.sort();
    hosts.dedup();
    Err(Rejection::NotWith {
        servers: named.iter().cloned().collect(),
        hosts,
    })
}
