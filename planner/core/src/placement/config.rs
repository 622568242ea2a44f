//! The scheduler's settings: which filters, which weighers, which of Nova's two behaviours.

use super::filters::{Depends, Filter};
use super::input::Name;
use super::weighers::Weigher;
use drover_types::PciKind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Whose answers are given where Nova's releases differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Nova 14 to 19: every check is a filter of the scheduler.
    #[default]
    Legacy,
    /// Nova 22 and later: Placement checks resources and zones, and negative raw weights count as zero.
    Modern,
}

/// A multiplier per weigher; a weigher with multiplier zero is not asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights([f64; Weigher::COUNT]);

impl Weights {
    /// What a multiplier may be.
    pub const ALLOWED: std::ops::RangeInclusive<f64> = -1e9..=1e9;

    /// No weigher at all: the first host that passes wins.
    pub const NONE: Self = Self([0.0; Weigher::COUNT]);

    /// The same with this multiplier; it must be finite, which `validate` checks.
    #[must_use]
    pub fn with(mut self, weigher: Weigher, multiplier: f64) -> Self {
        self.0[weigher as usize] = multiplier;
        self
    }

    /// The multiplier of one weigher.
    #[must_use]
    pub fn get(&self, weigher: Weigher) -> f64 {
        self.0[weigher as usize]
    }

    /// The weighers with a multiplier other than zero, in the order in which Nova adds them up.
    pub fn active(&self) -> impl Iterator<Item = (Weigher, f64)> + '_ {
        Weigher::ALL
            .into_iter()
            .map(|weigher| (weigher, self.get(weigher)))
            .filter(|(_, multiplier)| *multiplier != 0.0)
    }
}

/// Free memory alone, as the design's default.
impl Default for Weights {
    fn default() -> Self {
        Self::NONE.with(Weigher::Ram, 1.0)
    }
}

/// The scheduler's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    /// Which of Nova's behaviours to follow.
    pub profile: Profile,
    /// Filters in the order in which they are asked.
    pub filters: Vec<Filter>,
    /// Multipliers of the weighers.
    pub weights: Weights,
    /// The zone of hosts without one.
    pub default_zone: Name,
    /// What NumInstancesFilter allows; Nova's default is 50.
    pub max_instances_per_host: u64,
    /// What IoOpsFilter allows; Nova's default is 8.
    pub max_io_ops_per_host: u64,
    /// What IsolatedHostsFilter keeps apart.
    pub isolation: Isolation,
    /// AggregateImagePropertiesIsolation looks only at metadata whose key begins so.
    pub image_isolation_prefix: Option<String>,
    /// The architecture of images that name none.
    pub default_architecture: Option<String>,
    /// What MetricsFilter and the metrics weigher look at.
    pub metrics: Metrics,
    /// What aliases of devices stand for.
    pub pci_aliases: BTreeMap<Name, Vec<PciKind>>,
    /// What each image property counts for the image properties weigher; empty: each counts 1.
    pub image_property_ratios: BTreeMap<String, f64>,
}

/// Images that run on certain hosts alone, as Nova's IsolatedHostsFilter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The hosts.
    pub hosts: BTreeSet<Name>,
    /// The images, by name.
    pub images: BTreeSet<Name>,
    /// Whether no other image runs on these hosts.
    pub reserve_hosts: bool,
}

impl Default for Isolation {
    fn default() -> Self {
        Self {
            hosts: BTreeSet::new(),
            images: BTreeSet::new(),
            reserve_hosts: true,
        }
    }
}

/// How hosts are weighed by what their monitors measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// What each metric counts.
    pub ratios: BTreeMap<String, f64>,
    /// The weight of a host that lacks one of them.
    pub unavailable: f64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            ratios: BTreeMap::new(),
            unavailable: -10_000.0,
        }
    }
}

impl SchedulerConfig {
    /// Whether a filter looks at cells or devices.
    #[must_use]
    pub fn reads_devices(&self) -> bool {
        self.filters
            .iter()
            .any(|filter| filter.row().depends == Depends::Devices)
    }

    /// The filters that are really asked: in the modern profile Placement stands for those it replaced.
    #[must_use]
    pub fn effective_filters(&self) -> Vec<Filter> {
        match self.profile {
            Profile::Legacy => self.filters.clone(),
            Profile::Modern => std::iter::once(Filter::Placement)
                .chain(self.filters.iter().copied().filter(|filter| !filter.is_legacy()))
                .collect(),
        }
    }
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            profile: Profile::Legacy,
            filters: Filter::DEFAULT.to_vec(),
            weights: Weights::default(),
            default_zone: Name::from("nova"),
            max_instances_per_host: 50,
            max_io_ops_per_host: 8,
            isolation: Isolation::default(),
            image_isolation_prefix: None,
            default_architecture: None,
            metrics: Metrics::default(),
            pci_aliases: BTreeMap::new(),
            image_property_ratios: BTreeMap::new(),
        }
    }
}
