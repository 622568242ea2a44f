//! Scenario files (`nova-scenario/1`): a fleet and the servers that want in, as text.
//!
//! Reading happens in two steps: the shape of the text (`shape`, over `read`), then its values (`load`). Neither
//! stops at the first mistake: each is reported with its place.

mod infinite;
mod load;
mod names;
mod read;
mod shape;
mod write;

use super::batch::{BatchOutcome, Conflict};
use super::config::Profile;
use super::explain::Explanation;
use super::input::{Name, Request, Supported};
use super::record::{BatchPart, DecisionRecord};
use super::scheduler::Scheduler;
use super::validate::{InputError, InputErrors};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The only format read.
pub const FORMAT: &str = "nova-scenario/1";

/// A scenario file as written. Keys it does not know are ignored: recordings carry their seed and kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Value")]
pub struct Scenario {
    /// [`FORMAT`].
    pub format: String,
    /// For people.
    pub name: String,
    /// The scheduler's settings.
    pub config: ScenarioConfig,
    /// In the order in which ties are decided.
    pub hosts: Vec<ScenarioHost>,
    /// Sets of hosts with metadata.
    pub aggregates: Vec<ScenarioAggregate>,
    /// Empty but for the instances that hosts name.
    pub groups: Vec<ScenarioGroup>,
    /// Placed strictly one after another.
    pub servers: Vec<ScenarioServer>,
    /// What was missing or of another type.
    #[serde(skip)]
    mistakes: Vec<InputError>,
}

/// Settings of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioConfig {
    /// Nova's names, in the order in which they are asked.
    pub filters: Vec<String>,
    /// The zone of hosts without one.
    pub default_az: Name,
    /// Only 1 is accepted: a plan is repeatable.
    pub host_subset_size: i64,
    /// Weigher key to multiplier; a missing one is 0.
    pub weights: IndexMap<String, f64>,
    /// For NumInstancesFilter.
    pub max_instances_per_host: i64,
    /// For IoOpsFilter.
    pub max_io_ops_per_host: i64,
    /// For IsolatedHostsFilter.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub isolated_hosts: BTreeSet<Name>,
    /// For IsolatedHostsFilter: names of images.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub isolated_images: BTreeSet<Name>,
    /// For IsolatedHostsFilter: whether isolated hosts run nothing else.
    pub restrict_isolated_hosts_to_isolated_images: bool,
    /// For AggregateImagePropertiesIsolation: what metadata keys begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_image_properties_isolation_namespace: Option<String>,
    /// For AggregateImagePropertiesIsolation: what stands behind the namespace.
    pub aggregate_image_properties_isolation_separator: String,
    /// For ImagePropertiesFilter: the architecture of images that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_properties_default_architecture: Option<String>,
    /// For MetricsFilter and the metrics weigher.
    pub metrics: ScenarioMetrics,
    /// For PciPassthroughFilter: what aliases stand for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pci_aliases: Vec<ScenarioAlias>,
    /// For the image properties weigher: what each property counts.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub image_props_weight_setting: IndexMap<String, f64>,
}

/// How hosts are weighed by what they measure.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioMetrics {
    /// What each metric counts.
    pub weight_setting: IndexMap<String, f64>,
    /// The weight of a host that lacks one.
    pub weight_of_unavailable: f64,
}

/// A name for a kind of device; several of one name stand for any of their kinds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioAlias {
    /// The name.
    pub name: Name,
    /// Vendor.
    pub vendor_id: String,
    /// Product.
    pub product_id: String,
}

/// One NUMA cell of a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioCell {
    /// Its number.
    pub id: i64,
    /// Processors for servers that share them.
    pub cpus: Vec<i64>,
    /// Processors to pin servers to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dedicated_cpus: Vec<i64>,
    /// Threads of one core each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<Vec<i64>>,
    /// MiB.
    pub memory_mb: i64,
    /// Pages by size.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<ScenarioPages>,
    /// Shared processors promised.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpus_used: i64,
    /// MiB promised.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory_used_mb: i64,
    /// Dedicated processors taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pinned_cpus: Vec<i64>,
}

/// Pages of one size in a cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioPages {
    /// KiB.
    pub size_kb: i64,
    /// In all.
    pub total: i64,
    /// Taken.
    pub used: i64,
}

/// Devices of one kind on a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioDevices {
    /// Vendor.
    pub vendor_id: String,
    /// Product.
    pub product_id: String,
    /// The cell they are at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<i64>,
    /// Free ones.
    pub count: i64,
}

/// One host of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioHost {
    /// Unique.
    pub name: Name,
    /// Its zone.
    pub az: Option<Name>,
    /// Threads.
    pub vcpus: i64,
    /// MiB.
    pub ram_mb: i64,
    /// GiB.
    pub disk_gb: i64,
    /// In place of `disk_gb`: MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<i64>,
    /// Allocation ratio of vCPUs.
    pub cpu_ratio: f64,
    /// Allocation ratio of memory.
    pub ram_ratio: f64,
    /// Allocation ratio of disk.
    pub disk_ratio: f64,
    /// Taken by what already runs there.
    pub vcpus_used: i64,
    /// MiB taken.
    pub ram_used_mb: i64,
    /// GiB taken.
    pub disk_used_gb: i64,
    /// In place of `disk_used_gb`: MiB taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_used_mb: Option<i64>,
    /// Servers there.
    pub num_instances: i64,
    /// Builds and moves under way there.
    pub io_ops: i64,
    /// For example `QEMU`.
    pub hypervisor_type: String,
    /// 2011001 is 2.11.1.
    pub hypervisor_version: i64,
    /// For people.
    pub arch: String,
    /// Architecture, hypervisor type and VM mode.
    pub supported_instances: Vec<Supported>,
    /// Free facts.
    pub stats: BTreeMap<String, String>,
    /// The processor.
    pub cpu_info: Option<Value>,
    /// Its address, for SimpleCIDRAffinityFilter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// What its monitors measure.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub metrics: IndexMap<String, f64>,
    /// Builds that failed there since one succeeded.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed_builds: i64,
    /// Servers there that others may name, or whose groups or images count; the `*_used` have their sizes in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<ScenarioInstance>,
    /// Its NUMA cells, for NUMATopologyFilter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numa_cells: Vec<ScenarioCell>,
    /// Its devices, for PciPassthroughFilter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pci_devices: Vec<ScenarioDevices>,
    /// Not disabled.
    pub enabled: bool,
    /// Answering.
    pub up: bool,
}

/// A server that runs on a host from the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioInstance {
    /// Its name.
    pub name: Name,
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Name>,
    /// Its image's properties.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub image: BTreeMap<String, String>,
}

/// One aggregate of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioAggregate {
    /// Unique.
    pub name: Name,
    /// Names of hosts.
    pub hosts: Vec<Name>,
    /// Values may list several, separated by commas.
    pub metadata: BTreeMap<String, String>,
}

/// One server group of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioGroup {
    /// Unique.
    pub name: Name,
    /// affinity, anti-affinity, soft-affinity or soft-anti-affinity.
    pub policy: String,
    /// Under anti-affinity: members one host may hold.
    #[serde(skip_serializing_if = "is_one")]
    pub max_server_per_host: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(number: &i64) -> bool {
    *number == 1
}

/// One server of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioServer {
    /// Unique.
    pub name: Name,
    /// vCPUs.
    pub vcpus: i64,
    /// MiB.
    pub ram_mb: i64,
    /// GiB of root disk.
    pub disk_gb: i64,
    /// In place of `disk_gb`: MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<i64>,
    /// The zone asked for.
    pub az: Option<Name>,
    /// The flavor's.
    pub extra_specs: BTreeMap<String, String>,
    /// The image's properties, by Glance's names.
    pub image: BTreeMap<String, String>,
    /// The group's name.
    pub group: Option<Name>,
    /// Hosts that refused it.
    pub tried_hosts: Vec<Name>,
    /// Its project, for AggregateMultiTenancyIsolation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<Name>,
    /// Its flavor's name, for AggregateTypeAffinityFilter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flavor: Option<Name>,
    /// Its image's name or id, for IsolatedHostsFilter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<Name>,
    /// For SameHostFilter: servers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub same_host: BTreeSet<Name>,
    /// For DifferentHostFilter: servers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub different_host: BTreeSet<Name>,
    /// For SimpleCIDRAffinityFilter: an address of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_near_host_ip: Option<IpAddr>,
    /// For SimpleCIDRAffinityFilter: the network's prefix, `/24` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Higher is placed first when a batch does not fit as a whole.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Why a text is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Not JSON.
    #[error("the scenario is not JSON")]
    Syntax(#[source] serde_json::Error),
    /// Another format.
    #[error("the scenario's format is {0:?}; only {FORMAT:?} is known")]
    Format(String),
    /// What is missing, of another type, or makes no sense, all of it.
    #[error("the scenario has {} mistake(s)", .0.0.len())]
    Invalid(#[source] InputErrors),
}

impl Scenario {
    /// Reads a scenario; what is wrong beyond its format is told by [`Self::load`].
    ///
    /// # Errors
    /// Not JSON, or another format.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        // Editors put a mark of the encoding in front, which is no part of the JSON.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value: Value = serde_json::from_str(text).or_else(|error| {
            let quoted = serde_json::from_str(&infinite::quoted(text));
            quoted.map_err(|_| ScenarioError::Syntax(error))
        })?;
        let scenario = Self::from(value);
        if scenario.format == FORMAT {
            Ok(scenario)
        } else {
            Err(ScenarioError::Format(scenario.format))
        }
    }

    /// A scheduler over the scenario's hosts, and the requests of its servers in order.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(&self, profile: Profile) -> Result<(Scheduler, Vec<Request>), ScenarioError> {
        load::load(self, profile).map_err(ScenarioError::Invalid)
    }

    /// One decision per server, in order, each turned into what is to be kept of it: all hosts of all decisions may be
    /// more than fits into memory. A server that finds no host is skipped, with what stood in its way.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn decide<T>(
        &self,
        profile: Profile,
        keep: impl Fn(Explanation, Option<Conflict>) -> T,
    ) -> Result<Vec<T>, ScenarioError> {
        let (mut scheduler, requests) = self.load(profile)?;
        let decided = requests.iter().map(|request| {
            let explanation = scheduler.decide(request);
            let skipped = explanation.chosen.is_none();
            let conflict = skipped.then(|| scheduler.conflict(request)).flatten();
            keep(explanation, conflict)
        });
        Ok(decided.collect())
    }

    /// As [`Self::decide`], in the form of recorded decisions.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn simulate(&self, profile: Profile) -> Result<Vec<DecisionRecord>, ScenarioError> {
        self.decide(profile, |explanation, _| DecisionRecord::from(&explanation))
    }

    /// All servers placed as one batch; `keep` as for [`Self::decide`].
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn decide_batch<T>(
        &self,
        profile: Profile,
        keep: impl Fn(Explanation) -> T,
    ) -> Result<BatchSimulation<T>, ScenarioError> {
        let (start, requests) = self.load(profile)?;
        let mut end = start.clone();
        let outcome = end.place_batch(&requests);
        let mut turn = start;
        let mut decisions: Vec<Option<T>> = requests.iter().map(|_| None).collect();
        for at in &outcome.order {
            let host = outcome.placements[*at]
                .as_ref()
                .expect("only placed servers have a turn");
            let mut explanation = turn.explain(&requests[*at]);
            explanation.choose(Some(host.clone()));
            turn.force(host, &requests[*at])
                .expect("the batch names hosts of the scenario");
            decisions[*at] = Some(keep(explanation));
        }
        let decisions = decisions.into_iter().zip(&requests);
        Ok(BatchSimulation {
            decisions: decisions
                .map(|(decision, request)| decision.unwrap_or_else(|| keep(turn.explain(request))))
                .collect(),
            outcome,
        })
    }
}

/// A scenario whose servers were placed as one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchSimulation<T> {
    /// What was kept of one decision per server, in the order given, each as the hosts stood when its turn came; of
    /// those without a host as they stood in the end.
    pub decisions: Vec<T>,
    /// What became of the batch.
    pub outcome: BatchOutcome,
}

impl<T> BatchSimulation<T> {
    /// The part of each server in the batch, in the order given.
    #[must_use]
    pub fn parts(&self) -> Vec<BatchPart> {
        let mut turns: Vec<Option<usize>> = vec![None; self.decisions.len()];
        for (turn, at) in self.outcome.order.iter().enumerate() {
            turns[*at] = Some(turn);
        }
        let mut unplaced = self.outcome.unplaced.iter();
        let parts = turns.into_iter().map(|turn| {
            let unplaced = if turn.is_none() { unplaced.next() } else { None };
            BatchPart {
                turn,
                method: self.outcome.method.clone(),
                unplaced: unplaced.cloned(),
            }
        });
        parts.collect()
    }
}
