//! As Nova's DifferentHostFilter: the host holds none of the servers that the request names.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let mut named = ask.request.different_host.iter();
    match named.find(|name| ask.sides.holds_or_lets_go(name, ask.index)) {
        Some(server) => Err(Rejection::NotWithout {
            server: server.clone(),
        }),
        None => Ok(()),
    }
}
