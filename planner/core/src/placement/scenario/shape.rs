//! The shape of a scenario file: which keys its objects have, and what stands where a key is left out.

use super::read::{Fields, Mistakes, outermost};
use super::{
    Scenario, ScenarioAggregate, ScenarioAlias, ScenarioCell, ScenarioConfig, ScenarioDevices, ScenarioGroup,
    ScenarioHost, ScenarioInstance, ScenarioMetrics, ScenarioPages, ScenarioServer,
};
use crate::placement::input::Name;
use serde_json::Value;

impl From<Value> for Scenario {
    fn from(value: Value) -> Self {
        let mut mistakes = Mistakes::default();
        let mut fields = outermost(&value, &mut mistakes);
        let mut scenario = Self {
            format: fields.text("format"),
            name: fields.maybe_text("name").unwrap_or_default(),
            config: fields.needed("config", config),
            hosts: fields.needed_objects("hosts", host),
            aggregates: fields.objects("aggregates", aggregate),
            groups: fields.objects("groups", group),
            servers: fields.needed_objects("servers", server),
            mistakes: Vec::new(),
        };
        fields.finish();
        scenario.mistakes = mistakes.finish();
        scenario
    }
}

fn config(fields: &mut Fields<'_, '_>) -> ScenarioConfig {
    ScenarioConfig {
        filters: fields.needed_texts("filters"),
        default_az: fields
            .maybe_name("default_az")
            .unwrap_or_else(|| Name::from("nova")),
        host_subset_size: fields.whole_or("host_subset_size", 1),
        weights: fields.numbers_by_name("weights"),
        max_instances_per_host: fields.whole_or("max_instances_per_host", 50),
        max_io_ops_per_host: fields.whole_or("max_io_ops_per_host", 8),
        isolated_hosts: fields.name_set("isolated_hosts"),
        isolated_images: fields.name_set("isolated_images"),
        restrict_isolated_hosts_to_isolated_images: fields
            .truth_or("restrict_isolated_hosts_to_isolated_images", true),
        aggregate_image_properties_isolation_namespace: fields
            .maybe_text("aggregate_image_properties_isolation_namespace"),
        aggregate_image_properties_isolation_separator: fields
            .maybe_text("aggregate_image_properties_isolation_separator")
            .unwrap_or_else(|| ".".to_owned()),
        image_properties_default_architecture: fields.maybe_text("image_properties_default_architecture"),
        metrics: fields.inner("metrics", |metrics| ScenarioMetrics {
            weight_setting: metrics.numbers_by_name("weight_setting"),
            weight_of_unavailable: metrics.number_or("weight_of_unavailable", -10_000.0),
        }),
        pci_aliases: fields.objects("pci_aliases", |alias| ScenarioAlias {
            name: alias.name(),
            vendor_id: alias.text("vendor_id"),
            product_id: alias.text("product_id"),
        }),
        image_props_weight_setting: fields.numbers_by_name("image_props_weight_setting"),
    }
}

fn host(fields: &mut Fields<'_, '_>) -> ScenarioHost {
    ScenarioHost {
        name: fields.name(),
        az: fields.maybe_name("az"),
        vcpus: fields.whole("vcpus"),
        ram_mb: fields.whole("ram_mb"),
        disk_gb: disk_gb(fields),
        disk_mb: fields.maybe_whole("disk_mb"),
        cpu_ratio: fields.number("cpu_ratio"),
        ram_ratio: fields.number("ram_ratio"),
        disk_ratio: fields.number("disk_ratio"),
        vcpus_used: fields.whole_or("vcpus_used", 0),
        ram_used_mb: fields.whole_or("ram_used_mb", 0),
        disk_used_gb: fields.whole_or("disk_used_gb", 0),
        disk_used_mb: fields.maybe_whole("disk_used_mb"),
        num_instances: fields.whole_or("num_instances", 0),
        io_ops: fields.whole_or("io_ops", 0),
        hypervisor_type: fields.maybe_text("hypervisor_type").unwrap_or_default(),
        hypervisor_version: fields.whole_or("hypervisor_version", 0),
        arch: fields.maybe_text("arch").unwrap_or_default(),
        supported_instances: fields
            .tuples("supported_instances")
            .into_iter()
            .map(Into::into)
            .collect(),
        stats: fields.texts_by_name("stats"),
        cpu_info: fields.any("cpu_info"),
        host_ip: fields.address("host_ip"),
        metrics: fields.numbers_by_name("metrics"),
        failed_builds: fields.whole_or("failed_builds", 0),
        instances: fields.objects("instances", |instance| ScenarioInstance {
            name: instance.name(),
            group: instance.maybe_name("group"),
            image: instance.texts_by_name("image"),
        }),
        numa_cells: fields.objects("numa_cells", cell),
        pci_devices: fields.objects("pci_devices", |devices| ScenarioDevices {
            vendor_id: devices.text("vendor_id"),
            product_id: devices.text("product_id"),
            numa_node: devices.maybe_whole("numa_node"),
            count: devices.whole("count"),
        }),
        enabled: fields.truth_or("enabled", true),
        up: fields.truth_or("up", true),
    }
}

/// GiB, which must be there unless MiB are.
fn disk_gb(fields: &mut Fields<'_, '_>) -> i64 {
    if fields.has("disk_mb") {
        fields.whole_or("disk_gb", 0)
    } else {
        fields.whole("disk_gb")
    }
}

fn cell(fields: &mut Fields<'_, '_>) -> ScenarioCell {
    ScenarioCell {
        id: fields.whole("id"),
        cpus: fields.wholes("cpus"),
        dedicated_cpus: fields.wholes("dedicated_cpus"),
        siblings: fields.lists_of_wholes("siblings"),
        memory_mb: fields.whole("memory_mb"),
        pages: fields.objects("pages", |pages| ScenarioPages {
            size_kb: pages.whole("size_kb"),
            total: pages.whole("total"),
            used: pages.whole_or("used", 0),
        }),
        cpus_used: fields.whole_or("cpus_used", 0),
        memory_used_mb: fields.whole_or("memory_used_mb", 0),
        pinned_cpus: fields.wholes("pinned_cpus"),
    }
}

fn aggregate(fields: &mut Fields<'_, '_>) -> ScenarioAggregate {
    ScenarioAggregate {
        name: fields.name(),
        hosts: fields.names("hosts"),
        metadata: fields.texts_by_name("metadata"),
    }
}

fn group(fields: &mut Fields<'_, '_>) -> ScenarioGroup {
    let rule = fields.inner("rules", |rules| rules.maybe_whole("max_server_per_host"));
    ScenarioGroup {
        name: fields.name(),
        policy: fields.text("policy"),
        max_server_per_host: fields.whole_or("max_server_per_host", rule.unwrap_or(1)),
    }
}

fn server(fields: &mut Fields<'_, '_>) -> ScenarioServer {
    ScenarioServer {
        name: fields.name(),
        vcpus: fields.whole("vcpus"),
        ram_mb: fields.whole("ram_mb"),
        disk_gb: disk_gb(fields),
        disk_mb: fields.maybe_whole("disk_mb"),
        az: fields.maybe_name("az"),
        extra_specs: fields.texts_by_name("extra_specs"),
        image: fields.texts_by_name("image"),
        group: fields.maybe_name("group"),
        tried_hosts: fields.names("tried_hosts"),
        project_id: fields.maybe_name("project_id"),
        flavor: fields.maybe_name("flavor"),
        image_id: fields.maybe_name("image_id"),
        same_host: fields.name_set("same_host"),
        different_host: fields.name_set("different_host"),
        build_near_host_ip: fields.address("build_near_host_ip"),
        cidr: fields.maybe_text("cidr"),
        priority: fields.whole_or("priority", 0),
    }
}
