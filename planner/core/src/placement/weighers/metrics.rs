//! As Nova's MetricsWeigher: what the host's monitors measure, each times its ratio; a host that lacks one is last.

use super::{Ask, Weigher};

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    let settings = &ask.fixed.config.metrics;
    let multiplier = Weigher::Metrics.multiplier(ask.facts, ask.fixed.config.weights.get(Weigher::Metrics));
    let mut value = 0.0;
    for (metric, ratio) in &settings.ratios {
        match ask.facts.host.metrics.get(metric) {
            Some(measured) => value += measured * ratio,
            None if ratio * multiplier != 0.0 => return settings.unavailable,
            None => {}
        }
    }
    value
}
