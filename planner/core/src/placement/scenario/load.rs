//! From a scenario as written to the engine's input: every value is checked, and every mistake is kept.

use super::super::config::{Isolation, Metrics, Profile, SchedulerConfig, Weights};
use super::super::devices::{Demand, NumaCell, Pages, PciPool};
use super::super::filters::{Filter, Hides};
use super::super::input::{
    Aggregate, Group, Host, Hypervisor, ImageProperties, Name, Needs, Network, Policy, Ratio, Ratios,
    Request, Resident, Resources,
};
use super::super::scheduler::Scheduler;
use super::super::validate::{self, Hint, InputError, InputErrors};
use super::super::weighers::Weigher;
use super::{
    Scenario, ScenarioAggregate, ScenarioAlias, ScenarioCell, ScenarioConfig, ScenarioDevices, ScenarioGroup,
    ScenarioHost, ScenarioServer, names,
};
use drover_types::{PciError, PciId, PciKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A scheduler over the scenario's hosts, and the requests of its servers in order; or every mistake.
pub(super) fn load(scenario: &Scenario, profile: Profile) -> Result<(Scheduler, Vec<Request>), InputErrors> {
    let mut errors = InputErrors(scenario.mistakes.clone());
    let config = scenario.config.load(profile, &mut errors);
    let hosts: Vec<Host> = scenario.hosts.iter().map(|host| host.load(&mut errors)).collect();
    let aggregates: Vec<Aggregate> = scenario.aggregates.iter().map(ScenarioAggregate::load).collect();
    let groups: Vec<Group> = scenario
        .groups
        .iter()
        .filter_map(|group| group.load(&mut errors))
        .collect();
    let mut requests: Vec<Request> = scenario
        .servers
        .iter()
        .map(|server| server.load(&mut errors))
        .collect();
    if config.reads_devices() {
        for request in &mut requests {
            request.demand = demand(request, &config, &mut errors);
        }
    }
    let declared: BTreeSet<&Name> = scenario.groups.iter().map(|group| &group.name).collect();
    names::check(scenario, &mut errors);
    let more = [
        validate::world(&config, &hosts, &aggregates, &groups).err(),
        validate::requests(&requests, |name| declared.contains(name)).err(),
    ];
    errors
        .0
        .extend(more.into_iter().flatten().flat_map(|more| more.0));
    errors.into_result()?;
    Ok((Scheduler::new(config, hosts, &aggregates, groups)?, requests))
}

/// What a request asks of cells and devices.
fn demand(request: &Request, config: &SchedulerConfig, errors: &mut InputErrors) -> Option<Arc<Demand>> {
    let mut wrong = |problem: String| {
        let place = format!("server {:?}: extra_specs:", request.name);
        errors.0.push(InputError::Shape { place, problem });
    };
    match Demand::of(&request.needs, &request.wants) {
        Ok(demand) => {
            let demand = demand?;
            for (alias, _) in &demand.devices {
                if !config.pci_aliases.contains_key(alias) {
                    wrong(format!(
                        "no device is known as {alias}; add it to config.pci_aliases"
                    ));
                }
            }
            Some(Arc::new(demand))
        }
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| wrong(mistake.to_string()));
            None
        }
    }
}

/// Where a signed number is read from, for the message.
struct At<'a> {
    kind: &'static str,
    name: &'a Name,
    errors: &'a mut InputErrors,
}

impl At<'_> {
    fn amount(&mut self, field: &'static str, value: i64) -> u64 {
        u64::try_from(value).unwrap_or_else(|_| {
            let (kind, name) = (self.kind, self.name.clone());
            self.errors.0.push(InputError::Negative {
                kind,
                name,
                field,
                value,
            });
            0
        })
    }

    /// An amount of which sums stay exact.
    fn below(&mut self, field: &'static str, value: i64) -> u64 {
        let value = self.amount(field, value);
        if value > validate::MAX_MIB {
            let (kind, name) = (self.kind, self.name.clone());
            self.errors.0.push(InputError::TooLarge {
                kind,
                name,
                field,
                value,
                limit: validate::MAX_MIB,
            });
            return 0;
        }
        value
    }

    /// The number of a cell or processor.
    fn number(&mut self, field: &'static str, value: i64) -> u32 {
        u32::try_from(self.below(field, value)).unwrap_or(u32::MAX)
    }

    fn numbers(&mut self, field: &'static str, values: &[i64]) -> BTreeSet<u32> {
        values.iter().map(|value| self.number(field, *value)).collect()
    }

    /// GiB to MiB; what would overflow is left above the limit for `validate` to refuse.
    fn gib(&mut self, field: &'static str, value: i64) -> u64 {
        self.amount(field, value).saturating_mul(1024)
    }

    /// The MiB where they are given, else the GiB.
    fn disk(&mut self, [(gib, in_gib), (mib, in_mib)]: [(&'static str, Option<i64>); 2]) -> u64 {
        match in_mib {
            Some(value) => self.amount(mib, value),
            None => self.gib(gib, in_gib.unwrap_or(0)),
        }
    }

    fn ratio(&mut self, field: &'static str, value: f64) -> Ratio {
        Ratio::try_from(value).unwrap_or_else(|_| {
            let host = self.name.clone();
            self.errors.0.push(InputError::Ratio { host, field, value });
            Ratio::ONE
        })
    }
}

impl ScenarioConfig {
    pub(super) fn load(&self, profile: Profile, errors: &mut InputErrors) -> SchedulerConfig {
        let mut filters = Vec::with_capacity(self.filters.len());
        for name in &self.filters {
            match Filter::named(name) {
                Some(filter) if !filters.contains(&filter) => filters.push(filter),
                Some(_) => {
                    errors.0.push(InputError::Twice {
                        kind: "filter",
                        name: Name::from(name.as_str()),
                    });
                }
                None => errors.0.push(unknown(
                    "config.filters",
                    "filter",
                    name,
                    &Filter::CONFIGURABLE.map(Filter::name),
                )),
            }
        }
        let mut weights = Weights::NONE;
        for (key, multiplier) in &self.weights {
            match Weigher::named(key) {
                Some(weigher) => weights = weights.with(weigher, *multiplier),
                None => errors.0.push(unknown(
                    "config.weights",
                    "weigher",
                    key,
                    &Weigher::ALL.map(Weigher::key),
                )),
            }
        }
        if self.host_subset_size != 1 {
            let (option, value) = ("host_subset_size", self.host_subset_size);
            errors.0.push(InputError::Unsupported {
                option,
                value,
                only: 1,
            });
        }
        let name = Name::from("scheduler");
        let mut at = At {
            kind: "config of",
            name: &name,
            errors,
        };
        let max_instances_per_host = at.amount("max_instances_per_host", self.max_instances_per_host);
        let max_io_ops_per_host = at.amount("max_io_ops_per_host", self.max_io_ops_per_host);
        SchedulerConfig {
            profile,
            filters,
            weights,
            default_zone: self.default_az.clone(),
            max_instances_per_host,
            max_io_ops_per_host,
            isolation: Isolation {
                hosts: self.isolated_hosts.clone(),
                images: self.isolated_images.clone(),
                reserve_hosts: self.restrict_isolated_hosts_to_isolated_images,
            },
            image_isolation_prefix: self
                .aggregate_image_properties_isolation_namespace
                .as_ref()
                .filter(|namespace| !namespace.is_empty())
                .map(|namespace| {
                    format!(
                        "{namespace}{}",
                        self.aggregate_image_properties_isolation_separator
                    )
                }),
            default_architecture: self.image_properties_default_architecture.clone(),
            metrics: Metrics {
                ratios: self.metrics.weight_setting.clone().into_iter().collect(),
                unavailable: self.metrics.weight_of_unavailable,
            },
            pci_aliases: {
                let mut aliases: BTreeMap<Name, Vec<PciKind>> = BTreeMap::new();
                for ScenarioAlias {
                    name,
                    vendor_id,
                    product_id,
                } in &self.pci_aliases
                {
                    let kind = kind(
                        errors,
                        || format!("config.pci_aliases: {name}:"),
                        vendor_id,
                        product_id,
                    );
                    aliases.entry(name.clone()).or_default().push(kind);
                }
                aliases
            },
            image_property_ratios: self.image_props_weight_setting.clone().into_iter().collect(),
        }
    }
}

fn unknown(place: &str, kind: &'static str, name: &str, known: &[&str]) -> InputError {
    InputError::Unknown {
        place: place.to_owned(),
        kind,
        name: name.to_owned(),
        hint: Hint::nearest(name, known.iter().copied()),
    }
}

impl ScenarioHost {
    pub(super) fn load(&self, errors: &mut InputErrors) -> Host {
        let mut at = At {
            kind: "host",
            name: &self.name,
            errors,
        };
        Host {
            name: self.name.clone(),
            zone: self.az.clone(),
            capacity: Resources {
                vcpus: at.amount("vcpus", self.vcpus),
                ram_mib: at.amount("ram_mb", self.ram_mb),
                disk_mib: at.disk([("disk_gb", Some(self.disk_gb)), ("disk_mb", self.disk_mb)]),
            },
            used: Resources {
                vcpus: at.amount("vcpus_used", self.vcpus_used),
                ram_mib: at.amount("ram_used_mb", self.ram_used_mb),
                disk_mib: at.disk([
                    ("disk_used_gb", Some(self.disk_used_gb)),
                    ("disk_used_mb", self.disk_used_mb),
                ]),
            },
            ratios: Ratios {
                cpu: at.ratio("cpu_ratio", self.cpu_ratio),
                ram: at.ratio("ram_ratio", self.ram_ratio),
                disk: at.ratio("disk_ratio", self.disk_ratio),
            },
            instances: at.amount("num_instances", self.num_instances),
            io_ops: at.amount("io_ops", self.io_ops),
            hypervisor: Hypervisor {
                kind: self.hypervisor_type.clone(),
                version: at.amount("hypervisor_version", self.hypervisor_version),
            },
            supported: self.supported_instances.clone(),
            stats: self.stats.clone(),
            cpu_info: self.cpu_info.clone(),
            address: self.host_ip,
            metrics: self.metrics.clone().into_iter().collect(),
            failed_builds: at.amount("failed_builds", self.failed_builds),
            seated: BTreeMap::new(),
            numa: self.numa_cells.iter().map(|cell| cell.load(&mut at)).collect(),
            pci: self
                .pci_devices
                .iter()
                .map(|devices| devices.load(&mut at))
                .collect(),
            residents: self
                .instances
                .iter()
                .map(|instance| Resident {
                    name: instance.name.clone(),
                    group: instance.group.clone(),
                    image: ImageProperties(instance.image.clone()),
                })
                .collect(),
            enabled: self.enabled,
            up: self.up,
            hides: Hides::default(),
        }
    }
}

/// A kind of device out of the texts for its vendor and its product.
fn kind(errors: &mut InputErrors, place: impl Fn() -> String, vendor: &str, product: &str) -> PciKind {
    let mut read = |text: &str| {
        let id: Result<PciId, PciError> = text.parse();
        id.unwrap_or_else(|error| {
            let (place, problem) = (place(), error.to_string());
            errors.0.push(InputError::Shape { place, problem });
            PciId::default()
        })
    };
    PciKind {
        vendor_id: read(vendor),
        product_id: read(product),
    }
}

impl ScenarioCell {
    fn load(&self, at: &mut At<'_>) -> NumaCell {
        NumaCell {
            id: at.number("numa_cells: id", self.id),
            cpus: at.numbers("numa_cells: cpus", &self.cpus),
            dedicated_cpus: at.numbers("numa_cells: dedicated_cpus", &self.dedicated_cpus),
            siblings: self
                .siblings
                .iter()
                .map(|core| at.numbers("numa_cells: siblings", core))
                .collect(),
            memory_mib: at.below("numa_cells: memory_mb", self.memory_mb),
            pages: self
                .pages
                .iter()
                .map(|pages| Pages {
                    size_kib: at.below("numa_cells: pages: size_kb", pages.size_kb),
                    total: at.below("numa_cells: pages: total", pages.total),
                    used: at.below("numa_cells: pages: used", pages.used),
                })
                .collect(),
            cpus_used: at.below("numa_cells: cpus_used", self.cpus_used),
            memory_used_mib: at.below("numa_cells: memory_used_mb", self.memory_used_mb),
            pinned_cpus: at.numbers("numa_cells: pinned_cpus", &self.pinned_cpus),
        }
    }
}

impl ScenarioDevices {
    fn load(&self, at: &mut At<'_>) -> PciPool {
        PciPool {
            kind: {
                let place = || format!("{} {:?}: pci_devices:", at.kind, at.name);
                kind(at.errors, place, &self.vendor_id, &self.product_id)
            },
            numa_node: self
                .numa_node
                .map(|node| at.number("pci_devices: numa_node", node)),
            free: at.below("pci_devices: count", self.count),
        }
    }
}

impl ScenarioAggregate {
    pub(super) fn load(&self) -> Aggregate {
        Aggregate {
            name: self.name.clone(),
            hosts: self.hosts.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

impl ScenarioGroup {
    pub(super) fn load(&self, errors: &mut InputErrors) -> Option<Group> {
        const POLICIES: [(&str, Policy); 4] = [
            ("affinity", Policy::Affinity),
            ("anti-affinity", Policy::AntiAffinity),
            ("soft-affinity", Policy::SoftAffinity),
            ("soft-anti-affinity", Policy::SoftAntiAffinity),
        ];
        let max_per_host = At {
            kind: "group",
            name: &self.name,
            errors,
        }
        .amount("max_server_per_host", self.max_server_per_host);
        let policy = POLICIES
            .iter()
            .find(|(name, _)| *name == self.policy)
            .map(|(_, policy)| *policy);
        if policy.is_none() {
            let place = format!("group {:?}", self.name);
            errors.0.push(unknown(
                &place,
                "policy",
                &self.policy,
                &POLICIES.map(|(name, _)| name),
            ));
        }
        Some(Group {
            name: self.name.clone(),
            policy: policy?,
            max_per_host,
        })
    }
}

impl ScenarioServer {
    pub(super) fn load(&self, errors: &mut InputErrors) -> Request {
        let network = self.network().unwrap_or_else(|problem| {
            let place = format!("server {:?}: cidr", self.name);
            errors.0.push(InputError::Shape { place, problem });
            None
        });
        let mut at = At {
            kind: "server",
            name: &self.name,
            errors,
        };
        Request {
            name: self.name.clone(),
            wants: Resources {
                vcpus: at.amount("vcpus", self.vcpus),
                ram_mib: at.amount("ram_mb", self.ram_mb),
                disk_mib: at.disk([("disk_gb", Some(self.disk_gb)), ("disk_mb", self.disk_mb)]),
            },
            needs: Needs {
                // As Nova, for which an empty text asks for none.
                zone: self.az.clone().filter(|zone| !zone.as_str().is_empty()),
                extra_specs: self.extra_specs.clone(),
                image: ImageProperties(self.image.clone()),
                image_name: self.image_id.clone(),
                flavor: self.flavor.clone(),
                project: self.project_id.clone(),
                network,
                tried_hosts: self.tried_hosts.iter().cloned().collect(),
            },
            group: self.group.clone(),
            same_host: self.same_host.clone(),
            different_host: self.different_host.clone(),
            demand: None,
            priority: self.priority,
            hides: Hides::default(),
        }
    }

    /// As Nova joins the two hints: `/24` where only the address is given.
    fn network(&self) -> Result<Option<Network>, String> {
        let given = self.cidr.as_deref().unwrap_or("/24");
        let Some(near) = self.build_near_host_ip else {
            return Ok(None);
        };
        let width = if near.is_ipv4() { 32 } else { 128 };
        let prefix = given.strip_prefix('/').and_then(|prefix| prefix.parse().ok());
        let prefix = prefix.filter(|prefix| *prefix <= width);
        let problem = || format!("is {given:?}; it must be a prefix from \"/0\" to \"/{width}\"");
        let prefix = prefix.ok_or_else(problem)?;
        Ok(Some(Network { near, prefix }))
    }
}
