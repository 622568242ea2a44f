//! As Nova's MetricsFilter: the host measures everything that the metrics weigher looks at.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let measured = &ask.facts.host.metrics;
    let mut wanted = ask.fixed.config.metrics.ratios.keys();
    match wanted.find(|name| !measured.contains_key(*name)) {
        Some(name) => Err(Rejection::NotMeasured { metric: name.clone() }),
        None => Ok(()),
    }
}
