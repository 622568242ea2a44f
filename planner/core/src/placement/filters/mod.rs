//! The filters: which hosts may hold a server.
//!
//! To add one: a file with one `check` function, a variant of [`Rejection`] that carries the numbers (with its words
//! in `words`), and a row in the table below.

mod aggregate_extra_specs;
mod aggregate_flavors;
mod aggregate_image_isolation;
mod aggregate_tenants;
mod availability_zone;
mod compute;
mod compute_capabilities;
mod core;
mod different_host;
mod disk;
mod group_affinity;
mod group_anti_affinity;
mod hides;
mod image_properties;
mod instances;
mod io_ops;
mod isolated_hosts;
mod metrics;
mod network;
mod numa_topology;
mod pci_passthrough;
mod placement;
mod ram;
mod rejection;
mod retry;
mod same_host;
mod words;

pub use hides::Hides;
pub(crate) use placement::obstacles as placement_obstacles;
pub use rejection::{Rejection, Unmet};
pub(crate) use words::{Effort, at_least_mib, human_mib, short};

use super::input::Request;
use super::state::Ask;
use serde::{Serialize, Serializer};
use std::fmt;

/// What a filter's answer depends on, so that it is asked again only when that may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depends {
    /// On facts of the host that no placement changes.
    Facts,
    /// On facts, unless an extra spec names something that placements change.
    Specs,
    /// On the memory left.
    Ram,
    /// On the disk left.
    Disk,
    /// On the vCPUs left.
    Vcpus,
    /// On where the group's members are.
    Members,
    /// On where the servers are that the request names.
    Others,
    /// On what is left of cells and devices.
    Devices,
    /// On what else placements change.
    Usage,
    /// On facts and on each resource asked for.
    Placement,
}

type Check = fn(&Ask<'_>) -> Result<(), Rejection>;

/// What is to be known about a filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    name: &'static str,
    /// What people call what it looks at.
    label: &'static str,
    check: Check,
    pub(crate) depends: Depends,
    /// It says nothing about a server that is there already.
    for_newcomers: bool,
    /// Nova has it no more: Placement took the check over, or it went.
    legacy: bool,
}

impl Row {
    const fn new(name: &'static str, label: &'static str, check: Check, depends: Depends) -> Self {
        Self {
            name,
            label,
            check,
            depends,
            for_newcomers: false,
            legacy: false,
        }
    }

    const fn for_newcomers(mut self) -> Self {
        self.for_newcomers = true;
        self
    }

    const fn legacy(mut self) -> Self {
        self.legacy = true;
        self
    }
}

/// Makes the list of filters out of the table, so that a filter is one row.
macro_rules! filters {
    ($($(#[$doc:meta])* $filter:ident = $row:expr;)*) => {
        /// A filter, by Nova's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Filter {
            /// What Placement checks in the modern profile: resources, zone, disabled hosts. Never configured by name.
            Placement,
            $($(#[$doc])* $filter,)*
        }

        impl Filter {
            /// Every filter that can be configured.
            pub const CONFIGURABLE: [Self; [$(stringify!($filter)),*].len()] = [$(Self::$filter),*];

            pub(crate) const fn row(self) -> Row {
                match self {
                    Self::Placement => Row::new("Placement", "placement", placement::check, Depends::Placement),
                    $(Self::$filter => $row,)*
                }
            }
        }
    };
}

filters! {
    /// Not tried already.
    Retry = Row::new("RetryFilter", "retry", retry::check, Depends::Facts).for_newcomers().legacy();
    /// In the zone asked for.
    AvailabilityZone =
        Row::new("AvailabilityZoneFilter", "zone", availability_zone::check, Depends::Facts).legacy();
    /// Enough memory.
    Ram = Row::new("RamFilter", "RAM", ram::check, Depends::Ram).legacy();
    /// Enough disk.
    Disk = Row::new("DiskFilter", "disk", disk::check, Depends::Disk).legacy();
    /// Enough vCPUs.
    Core = Row::new("CoreFilter", "CPU", core::check, Depends::Vcpus).legacy();
    /// Up and enabled.
    Compute = Row::new("ComputeFilter", "host", compute::check, Depends::Facts);
    /// Facts meet the extra specs.
    ComputeCapabilities = Row::new(
        "ComputeCapabilitiesFilter", "capability", compute_capabilities::check, Depends::Specs);
    /// Aggregates' metadata meets the extra specs.
    AggregateInstanceExtraSpecs = Row::new(
        "AggregateInstanceExtraSpecsFilter", "aggregate", aggregate_extra_specs::check, Depends::Facts);
    /// Can run what the image needs.
    ImageProperties = Row::new("ImagePropertiesFilter", "image", image_properties::check, Depends::Facts);
    /// Holds no other member of an anti-affinity group.
    GroupAntiAffinity = Row::new(
        "ServerGroupAntiAffinityFilter", "anti-affinity", group_anti_affinity::check, Depends::Members);
    /// Holds the members of an affinity group.
    GroupAffinity = Row::new("ServerGroupAffinityFilter", "affinity", group_affinity::check, Depends::Members);
    /// Fewer servers than `max_instances_per_host`.
    NumInstances = Row::new("NumInstancesFilter", "servers", instances::check, Depends::Usage);
    /// The same with the limit that its aggregates set.
    AggregateNumInstances = Row::new(
        "AggregateNumInstancesFilter", "servers", instances::check_aggregate, Depends::Usage);
    /// Fewer builds and moves than `max_io_ops_per_host`.
    IoOps = Row::new("IoOpsFilter", "builds", io_ops::check, Depends::Usage).for_newcomers();
    /// The same with the limit that its aggregates set.
    AggregateIoOps =
        Row::new("AggregateIoOpsFilter", "builds", io_ops::check_aggregate, Depends::Usage).for_newcomers();
    /// Enough memory at the ratio that its aggregates set.
    AggregateRam = Row::new("AggregateRamFilter", "RAM", ram::check_aggregate, Depends::Ram).legacy();
    /// Enough disk at the ratio that its aggregates set.
    AggregateDisk = Row::new("AggregateDiskFilter", "disk", disk::check_aggregate, Depends::Disk).legacy();
    /// Enough vCPUs at the ratio that its aggregates set.
    AggregateCore = Row::new("AggregateCoreFilter", "CPU", core::check_aggregate, Depends::Vcpus).legacy();
    /// Holds a server that the request names.
    SameHost = Row::new("SameHostFilter", "same host", same_host::check, Depends::Others);
    /// Holds none of the servers that the request names.
    DifferentHost = Row::new("DifferentHostFilter", "different host", different_host::check, Depends::Others);
    /// In the network that the request names.
    Network = Row::new("SimpleCIDRAffinityFilter", "network", network::check, Depends::Facts);
    /// Its aggregates allow the image's properties.
    AggregateImageIsolation = Row::new(
        "AggregateImagePropertiesIsolation", "image", aggregate_image_isolation::check, Depends::Facts);
    /// Its aggregates allow the project.
    AggregateTenants = Row::new(
        "AggregateMultiTenancyIsolation", "project", aggregate_tenants::check, Depends::Facts);
    /// Its aggregates allow the flavor.
    AggregateFlavors = Row::new(
        "AggregateTypeAffinityFilter", "flavor", aggregate_flavors::check, Depends::Facts);
    /// Isolated images on isolated hosts.
    IsolatedHosts = Row::new("IsolatedHostsFilter", "isolation", isolated_hosts::check, Depends::Facts);
    /// Its cells hold the server's.
    NumaTopology = Row::new("NUMATopologyFilter", "NUMA", numa_topology::check, Depends::Devices);
    /// Has the devices free.
    PciPassthrough = Row::new("PciPassthroughFilter", "devices", pci_passthrough::check, Depends::Devices);
    /// Measures what the metrics weigher looks at.
    Metrics = Row::new("MetricsFilter", "metrics", metrics::check, Depends::Facts);
}

impl Filter {
    /// The filters asked unless configured otherwise.
    pub const DEFAULT: [Self; 10] = [
        Self::Retry,
        Self::AvailabilityZone,
        Self::Ram,
        Self::Disk,
        Self::Core,
        Self::Compute,
        Self::ComputeCapabilities,
        Self::ImageProperties,
        Self::GroupAntiAffinity,
        Self::GroupAffinity,
    ];

    /// Nova's name of the filter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether it says nothing about a server that is there already: that the host was tried before, or is busy.
    #[must_use]
    pub const fn is_for_newcomers(self) -> bool {
        self.row().for_newcomers
    }

    /// What people call what it looks at.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// The filter of that name, if it can be configured.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::CONFIGURABLE
            .into_iter()
            .find(|filter| filter.name() == name)
    }

    /// Whether the modern profile does not ask it: Placement took the check over.
    pub(crate) const fn is_legacy(self) -> bool {
        self.row().legacy
    }

    /// Whether the host passes as far as facts decide it, now and for as long as the scheduler lives.
    pub(crate) fn facts_pass(self, ask: &Ask<'_>) -> bool {
        match self.row().depends {
            Depends::Facts => self.check(ask).is_ok(),
            Depends::Specs => reads_usage(ask.request) || self.check(ask).is_ok(),
            Depends::Placement => placement::check_facts(ask).is_ok(),
            Depends::Ram
            | Depends::Disk
            | Depends::Vcpus
            | Depends::Members
            | Depends::Others
            | Depends::Devices
            | Depends::Usage => true,
        }
    }

    pub(crate) fn check(self, ask: &Ask<'_>) -> Result<(), Rejection> {
        (self.row().check)(ask).map_err(|rejection| {
            let hidden = (ask.request.hides.from(self)).or_else(|| ask.facts.host.hides.from(self));
            hidden.map_or(rejection, |what| Rejection::Hidden { what })
        })
    }
}

/// Whether an extra spec of the request names something that placements change.
pub(crate) fn reads_usage(request: &Request) -> bool {
    request
        .needs
        .extra_specs
        .keys()
        .any(|key| compute_capabilities::depends_on_usage(key))
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
