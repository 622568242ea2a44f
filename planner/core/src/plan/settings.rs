//! The scheduler's settings as the placement engine takes them, and what is wrong with them.

use super::types::{Finding, Severity};
use super::world::name_of;
use crate::model::{MetricsSettings, SchedulerSettings};
use crate::placement::{
    Filter, Isolation, Metrics, Name, Ratio, RatioError, Ratios, SchedulerConfig, Weigher, Weights,
};

pub(super) fn settings_finding(message: String) -> Finding {
    Finding {
        severity: Severity::Error,
        address: None,
        message,
        hint: "correct the scheduler block".to_owned(),
    }
}

/// The settings' ratios; for one that is none Nova's own, beside the error that [`scheduler_config`] reports.
pub(super) fn ratios(scheduler: &SchedulerSettings) -> (Ratios, Vec<RatioError>) {
    let mut errors = Vec::new();
    let otherwise = Ratios::default();
    let mut ratio = |number: f64, otherwise: Ratio| {
        Ratio::try_from(number).unwrap_or_else(|error| {
            errors.push(error);
            otherwise
        })
    };
    let ratios = Ratios {
        cpu: ratio(scheduler.cpu_allocation_ratio, otherwise.cpu),
        ram: ratio(scheduler.ram_allocation_ratio, otherwise.ram),
        disk: ratio(scheduler.disk_allocation_ratio, otherwise.disk),
    };
    (ratios, errors)
}

/// The settings; what of them is wrong is added to the findings, and left out.
pub(super) fn scheduler_config(settings: &SchedulerSettings, findings: &mut Vec<Finding>) -> SchedulerConfig {
    let mut refuse = |message: String| findings.push(settings_finding(message));
    let mut filters = Vec::new();
    for name in &settings.filters {
        match Filter::named(name) {
            Some(filter) => filters.push(filter),
            None => refuse(format!("{name:?} is not a filter")),
        }
    }
    let mut weights = Weights::NONE;
    for (key, multiplier) in &settings.weights {
        match Weigher::named(key) {
            Some(weigher) => weights = weights.with(weigher, *multiplier),
            None => refuse(format!("{key:?} is not a weigher")),
        }
    }
    // Nova would fail where the weigher finds nothing on a host; here that host is refused.
    let weighed = weights.get(Weigher::Metrics) != 0.0;
    if weighed && settings.metrics.required && !filters.contains(&Filter::Metrics) {
        filters.push(Filter::Metrics);
    }
    let config = SchedulerConfig {
        filters,
        weights,
        default_zone: Name::from(settings.default_availability_zone.as_str()),
        max_instances_per_host: u64::from(settings.max_instances_per_host),
        max_io_ops_per_host: u64::from(settings.max_io_ops_per_host),
        isolation: Isolation {
            hosts: settings.isolated_hosts.iter().map(name_of).collect(),
            images: settings.isolated_images.iter().map(name_of).collect(),
            reserve_hosts: settings.restrict_isolated_hosts_to_isolated_images,
        },
        metrics: metrics(&settings.metrics),
        pci_aliases: (settings.pci_aliases.iter())
            .map(|(alias, kinds)| (name_of(alias), kinds.clone()))
            .collect(),
        ..SchedulerConfig::default()
    };
    for error in ratios(settings).1 {
        refuse(error.to_string());
    }
    config
}

fn metrics(settings: &MetricsSettings) -> Metrics {
    let ratios = settings.weight_setting.iter();
    Metrics {
        ratios: ratios.map(|(name, ratio)| (name.to_string(), *ratio)).collect(),
        unavailable: settings.weight_of_unavailable,
    }
}
