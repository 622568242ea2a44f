//! The fleet as the placement engine knows it: hosts with what is left of them, groups, requests.

use super::build::Inputs;
use super::demand::{AsIt, demand, demand_of_flavor, findings as demand_findings, image_properties};
use super::requirements;
use super::seats::{cells, devices, seats};
use super::settings::{ratios, scheduler_config, settings_finding};
use super::types::Finding;
use super::unlooked;
use crate::diff::{FleetDiff, ServerDiff};
use crate::model::{FlavorSpec, HostInventory, HostNetwork, HostState, ObservedFleet, ServerSpec};
use crate::placement::{
    Aggregate, Filter, Group, Hides, Host, Hypervisor, InputError, InputErrors, Name, Needs, Network, Policy,
    Request, Resources, Scheduler, SchedulerConfig, Seated, Supported,
};
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A host's or server's name for the engine.
pub(super) fn name_of(text: &impl std::fmt::Display) -> Name {
    Name::from(text.to_string())
}

/// The size of a server as the engine counts it.
pub(super) fn resources(spec: &ServerSpec) -> Resources {
    Resources {
        vcpus: u64::from(spec.size.vcpus),
        ram_mib: spec.size.ram.mib_ceil(),
        disk_mib: spec.size.disk.mib_ceil(),
    }
}

/// What a server takes while it changes from one size to the other.
pub(super) fn larger(one: Resources, other: Resources) -> Resources {
    Resources {
        vcpus: one.vcpus.max(other.vcpus),
        ram_mib: one.ram_mib.max(other.ram_mib),
        disk_mib: one.disk_mib.max(other.disk_mib),
    }
}

/// What a host can give: what it has, less what is kept back.
pub(super) fn capacity(inventory: &HostInventory) -> Resources {
    let facts = &inventory.facts;
    Resources {
        vcpus: u64::from(facts.vcpus.saturating_sub(facts.reserved.vcpus)),
        ram_mib: facts.ram_mib.saturating_sub(facts.reserved.ram_mib),
        disk_mib: facts.disk_mib.saturating_sub(facts.reserved.disk_mib),
    }
}

/// What a host has given to others than `ours`, and how many they are.
pub(super) fn foreign(inventory: &HostInventory, ours: &BTreeSet<Uuid>) -> (Resources, u64) {
    let mut used = Resources {
        disk_mib: inventory.facts.image_cache_mib,
        ..Resources::default()
    };
    let mut instances = 0;
    for domain in inventory
        .domains
        .values()
        .filter(|domain| !ours.contains(&domain.uuid))
    {
        used.vcpus += u64::from(domain.vcpus);
        used.ram_mib = used.ram_mib.saturating_add(domain.ram_mib);
        used.disk_mib = used.disk_mib.saturating_add(domain.disk_mib);
        instances += 1;
    }
    (used, instances)
}

/// The ids of servers that are counted by their records, by the host on which each is.
pub(super) fn seated(servers: &BTreeMap<Address, ServerDiff>) -> BTreeMap<HostName, BTreeSet<Uuid>> {
    let mut seated: BTreeMap<HostName, BTreeSet<Uuid>> = BTreeMap::new();
    for server in servers.values() {
        if let Some(host) = where_counted(server) {
            seated.entry(host.clone()).or_default().insert(server.id.uuid());
        }
    }
    seated
}

/// The host on which a server takes room before anything is done.
pub(super) fn where_counted(server: &ServerDiff) -> Option<&HostName> {
    server
        .seat
        .as_ref()
        .map(|seat| &seat.host)
        .or(server.recorded_host.as_ref())
}

/// What runs on hosts and is counted apart: the servers' ids, and what they have taken of cells and devices.
struct Counted {
    ids: BTreeMap<HostName, BTreeSet<Uuid>>,
    seats: BTreeMap<HostName, BTreeMap<Name, Seated>>,
}

fn host(inputs: &Inputs<'_>, name: &HostName, counted: &Counted) -> Host {
    let spec = inputs.desired.hosts.get(name).map(|host| &host.spec);
    let zone = spec
        .and_then(|spec| spec.availability_zone.as_deref())
        .map(Name::from);
    let labels = spec.map(|spec| spec.labels.clone()).unwrap_or_default();
    let enabled = spec.is_some_and(|spec| spec.state == HostState::Active);
    let inventory = inputs
        .observed
        .get(name)
        .and_then(|observation| observation.inventory());
    let trusted = inputs
        .recorded
        .hosts
        .get(name)
        .and_then(|record| record.incarnation);
    let (ratios, _) = ratios(&inputs.desired.scheduler);
    let hides = hides_of_host(inputs, name);
    let Some(inventory) = inventory else {
        return Host {
            name: name_of(name),
            zone,
            ratios,
            stats: labels,
            enabled,
            hides,
            ..Host::default()
        };
    };
    let nobody = BTreeSet::new();
    let ours = counted.ids.get(name).unwrap_or(&nobody);
    let (used, instances) = foreign(inventory, ours);
    let facts = &inventory.facts;
    Host {
        name: name_of(name),
        zone,
        capacity: capacity(inventory),
        used,
        ratios,
        instances,
        io_ops: 0,
        hypervisor: Hypervisor {
            kind: facts.hypervisor_type.clone(),
            version: facts.hypervisor_version,
        },
        supported: facts
            .supported_guests
            .iter()
            .map(|guest| Supported {
                arch: guest.arch.clone(),
                hypervisor: guest.hypervisor_type.clone(),
                vm_mode: guest.vm_mode.clone(),
            })
            .collect(),
        stats: labels,
        cpu_info: Some(serde_json::json!({
            "arch": facts.cpu.arch,
            "model": facts.cpu.model,
            "vendor": facts.cpu.vendor,
            "features": facts.cpu.features,
            "topology": {
                "sockets": facts.cpu.topology[0],
                "cores": facts.cpu.topology[1],
                "threads": facts.cpu.topology[2],
            },
        })),
        address: spec.and_then(|spec| spec.address.host.parse().ok()),
        metrics: (inventory.metrics.iter())
            .map(|(name, value)| (name.to_string(), value.get()))
            .collect(),
        failed_builds: 0,
        residents: Vec::new(),
        numa: cells(inventory, ours),
        seated: counted.seats.get(name).cloned().unwrap_or_default(),
        pci: devices(inventory, ours),
        enabled,
        up: trusted.is_none_or(|trusted| trusted == inventory.incarnation),
        hides,
    }
}

/// What a host and its aggregates say and is sensitive.
fn hides_of_host(inputs: &Inputs<'_>, name: &HostName) -> Hides {
    let nothing = BTreeSet::new();
    let host = (inputs.desired.hosts.get(name)).map_or(&nothing, |host| &host.spec.sensitive);
    let aggregates = (inputs.desired.aggregates.values())
        .map(|aggregate| &aggregate.spec)
        .filter(|aggregate| !aggregate.sensitive.is_empty() && aggregate.hosts.contains(name))
        .map(|aggregate| &aggregate.sensitive);
    Hides::of_host(host, aggregates)
}

/// What a scheduler is made of.
pub(super) struct Parts {
    pub(super) config: SchedulerConfig,
    pub(super) hosts: Vec<Host>,
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) groups: Vec<Group>,
}

/// The scheduler over all hosts by name, nothing of ours placed yet; and what is wrong with its settings.
pub(super) fn scheduler(inputs: &Inputs<'_>, diff: &FleetDiff) -> (Option<Scheduler>, Vec<Finding>) {
    let (parts, mut findings) = parts(inputs, diff);
    let Parts {
        config,
        hosts,
        aggregates,
        groups,
    } = parts;
    match Scheduler::new(config, hosts, &aggregates, groups) {
        Ok(scheduler) => (Some(scheduler), findings),
        Err(InputErrors(errors)) => {
            // What metadata cannot say is told of its aggregate.
            let others = errors
                .iter()
                .filter(|error| !matches!(error, InputError::Metadata { .. }));
            findings.extend(others.map(input_finding));
            (None, findings)
        }
    }
}

/// All hosts by name, nothing of ours placed yet, and the settings; and what is wrong with these.
pub(super) fn parts(inputs: &Inputs<'_>, diff: &FleetDiff) -> (Parts, Vec<Finding>) {
    let settings = &inputs.desired.scheduler;
    let mut findings = unlooked::findings(inputs);
    findings.extend(demand_findings(inputs));
    findings.extend(requirements::findings(inputs.desired));
    let config = scheduler_config(settings, &mut findings);
    let counted = Counted {
        ids: seated(&diff.servers),
        seats: seats(inputs, &diff.servers),
    };
    let names: BTreeSet<&HostName> = inputs
        .desired
        .hosts
        .keys()
        .chain(inputs.recorded.hosts.keys())
        .collect();
    let hosts = names.iter().map(|name| host(inputs, name, &counted)).collect();
    let groups = inputs
        .desired
        .groups
        .iter()
        .map(|(address, group)| Group {
            name: name_of(address),
            policy: match group.spec.policy {
                crate::model::GroupPolicy::Affinity => Policy::Affinity,
                crate::model::GroupPolicy::AntiAffinity => Policy::AntiAffinity,
                crate::model::GroupPolicy::SoftAffinity => Policy::SoftAffinity,
                crate::model::GroupPolicy::SoftAntiAffinity => Policy::SoftAntiAffinity,
            },
            max_per_host: u64::from(group.spec.max_server_per_host),
        })
        .collect();
    let aggregates = aggregates(inputs, &names);
    let parts = Parts {
        config,
        hosts,
        aggregates,
        groups,
    };
    (parts, findings)
}

fn input_finding(error: &InputError) -> Finding {
    let finding = settings_finding(error.to_string());
    if let InputError::TooLarge { kind: "host", .. } = error {
        return Finding {
            hint: "this is what the host reports, with the domains on it: look there with virsh".to_owned(),
            ..finding
        };
    }
    finding
}

/// What a server asks of a host, with this size.
pub(super) fn request(
    inputs: &Inputs<'_>,
    address: &Address,
    server: &ServerDiff,
    spec: &ServerSpec,
    wants: Resources,
    retry_all: bool,
) -> Request {
    let image = spec
        .image_address()
        .and_then(|image| inputs.desired.images.get(image))
        .map(|image| &image.spec);
    let filters = &inputs.desired.scheduler.filters;
    // What no filter reads is left out, so that more servers share what is worked out once.
    let asked = |filter: Filter| filters.iter().any(|name| name == filter.name());
    let tried_hosts = server
        .tried
        .iter()
        .filter(|tried| !retry_all && still_tried(inputs.observed, tried))
        .map(|tried| name_of(&tried.host))
        .collect();
    Request {
        name: name_of(address),
        wants,
        needs: Needs {
            zone: spec.availability_zone.as_deref().map(Name::from),
            extra_specs: spec.size.extra_specs.clone(),
            image: image
                .map(|image| image_properties(&image.properties))
                .unwrap_or_default(),
            image_name: spec
                .image_address()
                .filter(|_| asked(Filter::IsolatedHosts))
                .map(short_name),
            flavor: asked(Filter::AggregateFlavors).then(|| short_name(&spec.flavor)),
            project: asked(Filter::AggregateTenants).then(|| name_of(&inputs.desired.project)),
            network: spec
                .hints
                .network
                .map(|HostNetwork { near, prefix }| Network { near, prefix }),
            tried_hosts,
        },
        group: spec
            .group
            .as_ref()
            .filter(|group| inputs.desired.groups.contains_key(*group))
            .map(name_of),
        same_host: spec.hints.same_host.iter().map(name_of).collect(),
        different_host: spec.hints.different_host.iter().map(name_of).collect(),
        demand: demand(inputs.desired, inputs.recorded, spec, AsIt::Shall),
        priority: i64::from(spec.hints.priority),
        hides: Hides::of_server(&spec.sensitive, image.map(|image| &image.sensitive)),
    }
}

/// What a server of this flavor asks of a host, whatever its image, zone and group.
pub(super) fn flavor_request(inputs: &Inputs<'_>, flavor: &Address, spec: &FlavorSpec) -> Request {
    let filters = &inputs.desired.scheduler.filters;
    let asked = |filter: Filter| filters.iter().any(|name| name == filter.name());
    let wants = Resources {
        vcpus: u64::from(spec.vcpus),
        ram_mib: spec.ram.mib_ceil(),
        disk_mib: spec.disk.mib_ceil(),
    };
    let needs = Needs {
        extra_specs: spec.extra_specs.clone(),
        flavor: asked(Filter::AggregateFlavors).then(|| short_name(flavor)),
        project: asked(Filter::AggregateTenants).then(|| name_of(&inputs.desired.project)),
        ..Needs::default()
    };
    let demand = demand_of_flavor(inputs.desired, &needs, &wants);
    Request {
        name: name_of(flavor),
        wants,
        needs,
        demand,
        ..Request::default()
    }
}

/// A flavor's or image's name as aggregates and settings write it: the address without its kind.
pub(super) fn short_name(address: &Address) -> Name {
    let full = address.to_string();
    let kind = format!("{}.", address.kind);
    Name::from(full.strip_prefix(&kind).unwrap_or(&full))
}

/// The declared aggregates. Hosts that are not declared or recorded were reported with the files.
fn aggregates(inputs: &Inputs<'_>, known: &BTreeSet<&HostName>) -> Vec<Aggregate> {
    let aggregates = inputs.desired.aggregates.iter();
    aggregates
        .map(|(address, aggregate)| {
            let hosts = aggregate.spec.hosts.iter();
            Aggregate {
                name: name_of(address),
                hosts: hosts.filter(|host| known.contains(host)).map(name_of).collect(),
                metadata: aggregate.spec.metadata.clone(),
            }
        })
        .collect()
}

/// Whether a host's refusal still counts: another life of its agent's log wipes it out.
fn still_tried(observed: &ObservedFleet, tried: &crate::model::TriedHost) -> bool {
    let now = observed
        .get(&tried.host)
        .and_then(|observation| observation.inventory())
        .map(|inventory| inventory.incarnation);
    match (tried.incarnation, now) {
        (Some(then), Some(now)) => then == now,
        (None, _) | (_, None) => true,
    }
}
