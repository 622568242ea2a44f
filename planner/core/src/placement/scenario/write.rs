//! A scenario out of the engine's input: what is written reads back as the same hosts, groups and requests.

use super::super::config::SchedulerConfig;
use super::super::devices::NumaCell;
use super::super::input::{Aggregate, Group, Host, Policy, Request, Resources};
use super::{
    FORMAT, Scenario, ScenarioAggregate, ScenarioAlias, ScenarioCell, ScenarioConfig, ScenarioDevices,
    ScenarioGroup, ScenarioHost, ScenarioInstance, ScenarioMetrics, ScenarioPages, ScenarioServer,
};
use std::collections::BTreeSet;

impl Scenario {
    /// The scenario of these hosts and requests, in these orders.
    #[must_use]
    pub fn of(
        name: &str,
        config: &SchedulerConfig,
        hosts: &[Host],
        aggregates: &[Aggregate],
        groups: &[Group],
        requests: &[Request],
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            name: name.to_owned(),
            config: of_config(config),
            hosts: hosts.iter().map(of_host).collect(),
            aggregates: aggregates.iter().map(of_aggregate).collect(),
            groups: groups.iter().map(of_group).collect(),
            servers: requests.iter().map(of_request).collect(),
            mistakes: Vec::new(),
        }
    }
}

/// What the engine accepts is far below the limit.
fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// GiB, and MiB beside them where these are no whole GiB.
fn disk(amount: &Resources) -> (i64, Option<i64>) {
    let mib = signed(amount.disk_mib);
    (mib / 1024, (mib % 1024 != 0).then_some(mib))
}

fn of_config(config: &SchedulerConfig) -> ScenarioConfig {
    let SchedulerConfig {
        profile: _,
        filters,
        weights,
        default_zone,
        max_instances_per_host,
        max_io_ops_per_host,
        isolation,
        image_isolation_prefix,
        default_architecture,
        metrics,
        pci_aliases,
        image_property_ratios,
    } = config;
    ScenarioConfig {
        filters: filters.iter().map(|filter| filter.name().to_owned()).collect(),
        default_az: default_zone.clone(),
        host_subset_size: 1,
        weights: weights
            .active()
            .map(|(weigher, multiplier)| (weigher.key().to_owned(), multiplier))
            .collect(),
        max_instances_per_host: signed(*max_instances_per_host),
        max_io_ops_per_host: signed(*max_io_ops_per_host),
        isolated_hosts: isolation.hosts.clone(),
        isolated_images: isolation.images.clone(),
        restrict_isolated_hosts_to_isolated_images: isolation.reserve_hosts,
        aggregate_image_properties_isolation_namespace: image_isolation_prefix.clone(),
        // What is set has it at its end; nothing set has the default, which means nothing then.
        aggregate_image_properties_isolation_separator: match image_isolation_prefix {
            Some(_) => String::new(),
            None => ".".to_owned(),
        },
        image_properties_default_architecture: default_architecture.clone(),
        metrics: ScenarioMetrics {
            weight_setting: metrics.ratios.clone().into_iter().collect(),
            weight_of_unavailable: metrics.unavailable,
        },
        pci_aliases: pci_aliases
            .iter()
            .flat_map(|(name, kinds)| kinds.iter().map(move |kind| (name, kind)))
            .map(|(name, kind)| ScenarioAlias {
                name: name.clone(),
                vendor_id: kind.vendor_id.to_string(),
                product_id: kind.product_id.to_string(),
            })
            .collect(),
        image_props_weight_setting: image_property_ratios.clone().into_iter().collect(),
    }
}

fn of_host(host: &Host) -> ScenarioHost {
    let Host {
        name,
        zone,
        capacity,
        used,
        ratios,
        instances,
        io_ops,
        hypervisor,
        supported,
        stats,
        cpu_info,
        address,
        metrics,
        failed_builds,
        residents,
        numa,
        // The form has no place for it: what is seated is in the cells' own numbers.
        seated: _,
        pci,
        enabled,
        up,
        // A scenario is to be simulated: it holds every value.
        hides: _,
    } = host;
    let (disk_gb, disk_mb) = disk(capacity);
    let (disk_used_gb, disk_used_mb) = disk(used);
    ScenarioHost {
        name: name.clone(),
        az: zone.clone(),
        vcpus: signed(capacity.vcpus),
        ram_mb: signed(capacity.ram_mib),
        disk_gb,
        disk_mb,
        cpu_ratio: ratios.cpu.get(),
        ram_ratio: ratios.ram.get(),
        disk_ratio: ratios.disk.get(),
        vcpus_used: signed(used.vcpus),
        ram_used_mb: signed(used.ram_mib),
        disk_used_gb,
        disk_used_mb,
        num_instances: signed(*instances),
        io_ops: signed(*io_ops),
        hypervisor_type: hypervisor.kind.clone(),
        hypervisor_version: signed(hypervisor.version),
        arch: cpu_info
            .as_ref()
            .and_then(|info| info["arch"].as_str())
            .unwrap_or_default()
            .to_owned(),
        supported_instances: supported.clone(),
        stats: stats.clone(),
        cpu_info: cpu_info.clone(),
        host_ip: *address,
        metrics: metrics.clone().into_iter().collect(),
        failed_builds: signed(*failed_builds),
        instances: residents
            .iter()
            .map(|resident| ScenarioInstance {
                name: resident.name.clone(),
                group: resident.group.clone(),
                image: resident.image.0.clone(),
            })
            .collect(),
        numa_cells: numa.iter().map(of_cell).collect(),
        pci_devices: pci
            .iter()
            .map(|pool| ScenarioDevices {
                vendor_id: pool.kind.vendor_id.to_string(),
                product_id: pool.kind.product_id.to_string(),
                numa_node: pool.numa_node.map(i64::from),
                count: signed(pool.free),
            })
            .collect(),
        enabled: *enabled,
        up: *up,
    }
}

fn of_cell(cell: &NumaCell) -> ScenarioCell {
    let list = |numbers: &BTreeSet<u32>| numbers.iter().copied().map(i64::from).collect::<Vec<i64>>();
    ScenarioCell {
        id: i64::from(cell.id),
        cpus: list(&cell.cpus),
        dedicated_cpus: list(&cell.dedicated_cpus),
        siblings: cell.siblings.iter().map(list).collect(),
        memory_mb: signed(cell.memory_mib),
        pages: cell
            .pages
            .iter()
            .map(|pages| ScenarioPages {
                size_kb: signed(pages.size_kib),
                total: signed(pages.total),
                used: signed(pages.used),
            })
            .collect(),
        cpus_used: signed(cell.cpus_used),
        memory_used_mb: signed(cell.memory_used_mib),
        pinned_cpus: list(&cell.pinned_cpus),
    }
}

fn of_aggregate(aggregate: &Aggregate) -> ScenarioAggregate {
    ScenarioAggregate {
        name: aggregate.name.clone(),
        hosts: aggregate.hosts.clone(),
        metadata: aggregate.metadata.clone(),
    }
}

fn of_group(group: &Group) -> ScenarioGroup {
    ScenarioGroup {
        name: group.name.clone(),
        policy: match group.policy {
            Policy::Affinity => "affinity",
            Policy::AntiAffinity => "anti-affinity",
            Policy::SoftAffinity => "soft-affinity",
            Policy::SoftAntiAffinity => "soft-anti-affinity",
        }
        .to_owned(),
        max_server_per_host: signed(group.max_per_host),
    }
}

fn of_request(request: &Request) -> ScenarioServer {
    let Request {
        name,
        wants,
        needs,
        group,
        same_host,
        different_host,
        // The extra specs say it.
        demand: _,
        priority,
        hides: _,
    } = request;
    let (disk_gb, disk_mb) = disk(wants);
    ScenarioServer {
        name: name.clone(),
        vcpus: signed(wants.vcpus),
        ram_mb: signed(wants.ram_mib),
        disk_gb,
        disk_mb,
        az: needs.zone.clone(),
        extra_specs: needs.extra_specs.clone(),
        image: needs.image.0.clone(),
        group: group.clone(),
        tried_hosts: needs.tried_hosts.iter().cloned().collect(),
        project_id: needs.project.clone(),
        flavor: needs.flavor.clone(),
        image_id: needs.image_name.clone(),
        same_host: same_host.clone(),
        different_host: different_host.clone(),
        build_near_host_ip: needs.network.map(|network| network.near),
        cidr: needs.network.map(|network| format!("/{}", network.prefix)),
        priority: *priority,
    }
}
