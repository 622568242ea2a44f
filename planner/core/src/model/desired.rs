//! The fleet as its files declare it.

use super::import::Import;
use super::lifecycle::{Lifecycle, Removed, Repetition};
use super::recorded::{PlainRecord, RecordedFleet};
use super::spec::{AggregateSpec, FlavorSpec, GroupSpec, HostSpec, ImageSpec, ServerSpec, SourceLocation};
use drover_types::{Address, FleetName, HostName, MetricName, PciKind, ProjectName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A declared resource and where it is declared.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredResource<S> {
    /// Its attributes.
    pub spec: S,
    /// Its block.
    pub origin: SourceLocation,
}

/// The `scheduler` block: how servers are placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchedulerSettings {
    /// Names of the filters, in the order they are asked.
    pub filters: Vec<String>,
    /// Multiplier of each weigher by its name (`ram`, `cpu`, …); one that is missing does not weigh.
    pub weights: BTreeMap<String, f64>,
    /// How many times the memory of a host may be promised.
    pub ram_allocation_ratio: f64,
    /// How many times the disk of a host may be promised.
    pub disk_allocation_ratio: f64,
    /// How many times the processors of a host may be promised.
    pub cpu_allocation_ratio: f64,
    /// The zone of hosts that name none, as Nova's `default_availability_zone`.
    pub default_availability_zone: String,
    /// For NumInstancesFilter.
    pub max_instances_per_host: u32,
    /// For IoOpsFilter.
    pub max_io_ops_per_host: u32,
    /// For IsolatedHostsFilter: names of hosts.
    pub isolated_hosts: BTreeSet<String>,
    /// For IsolatedHostsFilter: names of images.
    pub isolated_images: BTreeSet<String>,
    /// For IsolatedHostsFilter: whether isolated hosts run nothing else.
    pub restrict_isolated_hosts_to_isolated_images: bool,
    /// For AggregateImagePropertiesIsolation, as Nova's options of these names: only metadata that begins so, namespace
    /// and separator, is looked at; all of it where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate_image_properties_isolation_namespace: Option<String>,
    /// What stands behind the namespace.
    #[serde(default = "dot", skip_serializing_if = "is_dot")]
    pub aggregate_image_properties_isolation_separator: String,
    /// For ImagePropertiesFilter: the architecture of images that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_properties_default_architecture: Option<String>,
    /// For the image_props weigher: what each image property counts; all count 1 where none is named, and otherwise
    /// those that are not named nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_props_weight_setting: BTreeMap<String, f64>,
    /// For the metrics weigher and MetricsFilter.
    pub metrics: MetricsSettings,
    /// For PciPassthroughFilter: what the names in flavors stand for, each for any of some kinds of devices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pci_aliases: BTreeMap<String, Vec<PciKind>>,
}

/// The `metrics` block of the scheduler: how hosts are weighed by what they measure, as Nova's options of these names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsSettings {
    /// What each metric is multiplied with before all are added up.
    pub weight_setting: BTreeMap<MetricName, f64>,
    /// The weight of a host that lacks one of them, where none is required.
    pub weight_of_unavailable: f64,
    /// Whether a host that lacks one of them gets no new servers while the weigher is used. Nova fails then.
    pub required: bool,
}

impl Default for MetricsSettings {
    /// Nova's defaults.
    fn default() -> Self {
        Self {
            weight_setting: BTreeMap::new(),
            weight_of_unavailable: -10_000.0,
            required: true,
        }
    }
}

impl Default for SchedulerSettings {
    /// The documents' filters with CoreFilter, Nova's ratios, and weighing by free memory.
    fn default() -> Self {
        let filters = [
            "RetryFilter",
            "AvailabilityZoneFilter",
            "RamFilter",
            "DiskFilter",
            "CoreFilter",
            "ComputeFilter",
            "ComputeCapabilitiesFilter",
            "ImagePropertiesFilter",
            "ServerGroupAntiAffinityFilter",
            "ServerGroupAffinityFilter",
        ];
        Self {
            filters: filters.map(str::to_owned).into(),
            weights: BTreeMap::from([("ram".to_owned(), 1.0)]),
            ram_allocation_ratio: 1.5,
            disk_allocation_ratio: 1.0,
            cpu_allocation_ratio: 16.0,
            default_availability_zone: "nova".to_owned(),
            max_instances_per_host: 50,
            max_io_ops_per_host: 8,
            isolated_hosts: BTreeSet::new(),
            isolated_images: BTreeSet::new(),
            restrict_isolated_hosts_to_isolated_images: true,
            aggregate_image_properties_isolation_namespace: None,
            aggregate_image_properties_isolation_separator: dot(),
            image_properties_default_architecture: None,
            image_props_weight_setting: BTreeMap::new(),
            metrics: MetricsSettings::default(),
            pci_aliases: BTreeMap::new(),
        }
    }
}

fn dot() -> String {
    ".".to_owned()
}

fn is_dot(text: &str) -> bool {
    text == "."
}

/// How much it matters that a policy is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strictness {
    /// It is not looked at.
    #[default]
    Off,
    /// It is said.
    Warning,
    /// There is no plan.
    Error,
}

impl Strictness {
    /// All.
    pub const ALL: &'static [Self] = &[Self::Off, Self::Warning, Self::Error];

    /// The word in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The `policy` block: what must be true of the fleet as a plan leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicySettings {
    /// That the servers of any one host would fit on the others.
    pub n_plus_one: Strictness,
}

/// What must be there before a server. All instances of a block share their sets, so that ten thousand servers that
/// wait for ten thousand others are no burden.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs(Vec<Arc<BTreeSet<Address>>>);

impl Needs {
    /// Everything in these sets.
    #[must_use]
    pub fn all(sets: Vec<Arc<BTreeSet<Address>>>) -> Self {
        Self(sets)
    }

    /// The sets, as they are shared.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<BTreeSet<Address>>> {
        self.0.iter()
    }

    /// Each address; one that is in several sets is repeated.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter().flat_map(|set| set.iter())
    }
}

/// Everything that the files declare, references resolved and values known. A server's host is not among
/// it: that is chosen by placement.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredFleet {
    /// The fleet's name.
    pub fleet: FleetName,
    /// The project's name.
    pub project: ProjectName,
    /// How servers are placed.
    pub scheduler: SchedulerSettings,
    /// What must be true of the fleet as a plan leaves it.
    pub policy: PolicySettings,
    /// Hosts; the label is the host's name.
    pub hosts: BTreeMap<HostName, DesiredResource<HostSpec>>,
    /// Sizes.
    pub flavors: BTreeMap<Address, DesiredResource<FlavorSpec>>,
    /// Images.
    pub images: BTreeMap<Address, DesiredResource<ImageSpec>>,
    /// Groups.
    pub groups: BTreeMap<Address, DesiredResource<GroupSpec>>,
    /// Sets of hosts with metadata.
    pub aggregates: BTreeMap<Address, DesiredResource<AggregateSpec>>,
    /// Servers.
    pub servers: BTreeMap<Address, DesiredResource<ServerSpec>>,
    /// Between servers, what the files say must be there first (`depends_on`), by the dependent's address.
    pub depends_on: BTreeMap<Address, Needs>,
    /// What `lifecycle` blocks say, of resources that have one.
    pub lifecycle: BTreeMap<Address, Lifecycle>,
    /// How the instances of each declared block are made, by the block's address: also of blocks that have none.
    pub blocks: BTreeMap<Address, Repetition>,
    /// What becomes of things that are no longer declared.
    pub removed: Vec<Removed>,
    /// Domains that become servers, by the servers' addresses.
    pub imports: BTreeMap<Address, Import>,
}

impl DesiredFleet {
    /// A fleet that declares nothing: what `destroy` compares with.
    #[must_use]
    pub fn empty(fleet: FleetName, project: ProjectName) -> Self {
        Self {
            fleet,
            project,
            scheduler: SchedulerSettings::default(),
            policy: PolicySettings::default(),
            hosts: BTreeMap::new(),
            flavors: BTreeMap::new(),
            images: BTreeMap::new(),
            groups: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            servers: BTreeMap::new(),
            depends_on: BTreeMap::new(),
            lifecycle: BTreeMap::new(),
            blocks: BTreeMap::new(),
            removed: Vec::new(),
            imports: BTreeMap::new(),
        }
    }
    /// A fleet that declares exactly what is recorded: then all that differs from it is drift.
    #[must_use]
    pub fn as_recorded(fleet: FleetName, project: ProjectName, recorded: &RecordedFleet) -> Self {
        Self {
            hosts: (recorded.hosts.iter())
                .map(|(name, record)| (name.clone(), as_declared(&record.spec)))
                .collect(),
            flavors: plain(&recorded.flavors),
            images: plain(&recorded.images),
            groups: plain(&recorded.groups),
            aggregates: plain(&recorded.aggregates),
            servers: (recorded.servers.iter())
                .map(|(address, record)| (address.clone(), as_declared(&record.spec)))
                .collect(),
            ..Self::empty(fleet, project)
        }
    }
}

fn plain<S: Clone>(records: &BTreeMap<Address, PlainRecord<S>>) -> BTreeMap<Address, DesiredResource<S>> {
    records
        .iter()
        .map(|(address, record)| (address.clone(), as_declared(&record.spec)))
        .collect()
}

fn as_declared<S: Clone>(spec: &S) -> DesiredResource<S> {
    DesiredResource {
        spec: spec.clone(),
        origin: SourceLocation {
            file: Arc::from("(recorded)"),
            line: 1,
            column: 1,
        },
    }
}
