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
        image_isolation_prefix: (settings.aggregate_image_properties_isolation_namespace.as_ref())
            .filter(|namespace| !namespace.is_empty())
            .map(|namespace| {
                format!(
                    "{namespace}{}",
                    settings.aggregate_image_properties_isolation_separator
                )
            }),
        default_architecture: settings.image_properties_default_architecture.clone(),
        image_property_ratios: settings.image_props_weight_setting.clone(),
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

#[cfg(test)]
mod tests {
    use super::super::testing::Fleet;
    use crate::model::{DesiredFleet, SchedulerSettings};
    use crate::testing::{address, desired, host, with_aggregate, with_hosts, with_server};
    use drover_types::HostName;

    /// Two hosts, and a server whose image has this property.
    fn fleet(property: &str, value: &str) -> DesiredFleet {
        let mut fleet = with_hosts(desired(), &["n1", "n2"]);
        let image = fleet.images.get_mut(&address("image.debian")).expect("declared");
        image.spec.properties = [(property.to_owned(), value.to_owned())].into();
        fleet = with_server(fleet, "server.new", None);
        fleet.scheduler.weights.clear();
        fleet
    }

    /// Where the new server goes with these settings.
    fn chosen(mut fleet: DesiredFleet, set: impl Fn(&mut SchedulerSettings)) -> Option<HostName> {
        set(&mut fleet.scheduler);
        let seats = [(address("server.old"), host("n2"))];
        let seats = if fleet.servers.contains_key(&seats[0].0) {
            &seats[..]
        } else {
            &[]
        };
        let plan = Fleet::settled(fleet, seats).plan();
        let placement = plan.placements.get(&address("server.new"));
        placement.map(|placement| placement.host.clone())
    }

    #[test]
    fn an_image_without_an_architecture_has_the_default_one() {
        let fleet = fleet("os_distro", "debian");
        assert_eq!(chosen(fleet.clone(), |_| {}), Some(host("n1")));
        let of = |arch: &str| {
            chosen(fleet.clone(), |settings| {
                settings.image_properties_default_architecture = Some(arch.to_owned());
            })
        };
        assert_eq!(of("x86_64"), Some(host("n1")));
        assert_eq!(of("s390x"), None);
    }

    #[test]
    fn metadata_isolates_images_under_its_namespace() {
        let mut fleet = fleet("filter_os", "bsd");
        fleet = with_aggregate(fleet, "aggregate.a", &["n1"], ("filter_os", "linux"));
        let filter = "AggregateImagePropertiesIsolation";
        fleet.scheduler.filters.push(filter.to_owned());
        let under = |namespace: Option<&str>, separator: &str| {
            chosen(fleet.clone(), |settings| {
                settings.aggregate_image_properties_isolation_namespace = namespace.map(str::to_owned);
                settings.aggregate_image_properties_isolation_separator = separator.to_owned();
            })
        };
        assert_eq!(under(None, "."), Some(host("n2")));
        assert_eq!(under(Some("filter"), "_"), Some(host("n2")));
        assert_eq!(under(Some("filter"), "."), Some(host("n1")));
    }

    #[test]
    fn image_properties_count_as_they_are_set() {
        let mut fleet = with_server(fleet("os_distro", "debian"), "server.old", None);
        fleet.scheduler.weights = [("image_props".to_owned(), 1.0)].into();
        let counting = |ratios: &[(&str, f64)]| {
            chosen(fleet.clone(), |settings| {
                let ratios = ratios.iter().map(|(name, ratio)| ((*name).to_owned(), *ratio));
                settings.image_props_weight_setting = ratios.collect();
            })
        };
        assert_eq!(counting(&[]), Some(host("n2")));
        assert_eq!(counting(&[("os_distro", 2.0)]), Some(host("n2")));
        assert_eq!(counting(&[("os_distro", -2.0)]), Some(host("n1")));
        assert_eq!(counting(&[("os_type", 2.0)]), Some(host("n1")));
    }
}
