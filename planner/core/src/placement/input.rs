//! What the engine is told: hosts, aggregates, groups and requests. It leaves checking to `validate`.

use super::devices::{Demand, NumaCell, PciPool, Seated};
use super::filters::Hides;
pub use drover_types::{Ratio, RatioError};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The text by which the caller knows a host, server, group, zone or aggregate; the engine only compares it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The allocation ratios of one host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratios {
    /// Of vCPUs; Nova's default is 16.0.
    pub cpu: Ratio,
    /// Of memory; Nova's default is 1.5.
    pub ram: Ratio,
    /// Of disk; Nova's default is 1.0.
    pub disk: Ratio,
}

impl Default for Ratios {
    fn default() -> Self {
        Self {
            cpu: Ratio::NOVA_CPU,
            ram: Ratio::NOVA_RAM,
            disk: Ratio::ONE,
        }
    }
}

/// An amount of each countable resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Virtual CPUs (of a host: physical threads).
    pub vcpus: u64,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// Disk in MiB.
    pub disk_mib: u64,
}

/// What a host runs guests with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hypervisor {
    /// For example `QEMU`.
    pub kind: String,
    /// libvirt's integer: 2.11.1 is 2011001; 0 when unknown.
    pub version: u64,
}

/// One combination a host can run, as libvirt's capabilities list them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[String; 3]", into = "[String; 3]")]
pub struct Supported {
    /// For example `x86_64`.
    pub arch: String,
    /// For example `kvm`.
    pub hypervisor: String,
    /// For example `hvm`.
    pub vm_mode: String,
}

impl From<[String; 3]> for Supported {
    fn from([arch, hypervisor, vm_mode]: [String; 3]) -> Self {
        Self {
            arch,
            hypervisor,
            vm_mode,
        }
    }
}

impl From<Supported> for [String; 3] {
    fn from(supported: Supported) -> Self {
        [supported.arch, supported.hypervisor, supported.vm_mode]
    }
}

/// A server that runs on a host before the first request; its size is in the host's `used`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resident {
    /// By which others may name it.
    pub name: Name,
    /// The group it is a member of.
    pub group: Option<Name>,
    /// Its image's properties.
    pub image: ImageProperties,
}

/// A host as it stands before the first request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Host {
    /// Unique among the hosts.
    pub name: Name,
    /// Its availability zone; `None` puts it in the configured default zone.
    pub zone: Option<Name>,
    /// What the machine has, less what is reserved for the machine itself.
    pub capacity: Resources,
    /// What already runs there takes this much.
    pub used: Resources,
    /// How far each resource may be promised more than once.
    pub ratios: Ratios,
    /// Servers that already run there.
    pub instances: u64,
    /// Servers being built, resized or migrated there now.
    pub io_ops: u64,
    /// What it runs guests with.
    pub hypervisor: Hypervisor,
    /// Which kinds of guest it can run.
    pub supported: Vec<Supported>,
    /// Free facts and labels, matched by `capabilities:` extra specs.
    pub stats: BTreeMap<String, String>,
    /// What libvirt says about the processor, descended into by `capabilities:cpu_info:…`.
    pub cpu_info: Option<serde_json::Value>,
    /// Its address in the management network.
    pub address: Option<IpAddr>,
    /// What its monitors measure, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Builds that failed there since one succeeded.
    pub failed_builds: u64,
    /// Servers there that others may name, or whose groups or images count; `used` and `instances` have them in.
    pub residents: Vec<Resident>,
    /// Its NUMA cells; empty where it does not report them.
    pub numa: Vec<NumaCell>,
    /// What servers that are there have taken of the cells, where the host reports it; any other is counted where it
    /// would fit.
    pub seated: BTreeMap<Name, Seated>,
    /// Its devices for passing through.
    pub pci: Vec<PciPool>,
    /// False once an operator disabled or drains it.
    pub enabled: bool,
    /// True when its agent answered.
    pub up: bool,
    /// What of it is not to be named.
    pub hides: Hides,
}

/// A named set of hosts with metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// Unique among the aggregates.
    pub name: Name,
    /// Names of hosts.
    pub hosts: Vec<Name>,
    /// Values may list several, separated by commas.
    pub metadata: BTreeMap<String, String>,
}

/// What a group asks of the hosts of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// All on one host.
    Affinity,
    /// No two on one host.
    AntiAffinity,
    /// On one host if possible.
    SoftAffinity,
    /// Apart if possible.
    SoftAntiAffinity,
}

/// A server group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Unique among the groups.
    pub name: Name,
    /// What it asks for.
    pub policy: Policy,
    /// Under anti-affinity: how many members one host may hold; 1 unless set, as Nova's `max_server_per_host`.
    pub max_per_host: u64,
}

/// An image's properties, by Glance's names: `hw_architecture`, `img_hv_type` and any others.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageProperties(pub BTreeMap<String, String>);

impl ImageProperties {
    /// The value of one that is set to something.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }
}

/// The network that a server wants its host to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// An address in it.
    pub near: IpAddr,
    /// How many leading bits its addresses share.
    pub prefix: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.near, self.prefix)
    }
}

impl Network {
    /// Whether an address is in it; one of the other family is not.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let ((near, width), (address, other)) = (bits(self.near), bits(address));
        let apart = 128 - u32::from(self.prefix.min(width));
        width == other && near.checked_shr(apart).unwrap_or(0) == address.checked_shr(apart).unwrap_or(0)
    }
}

/// What a server asks of a host's facts: equal needs have the same eligible hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Needs {
    /// The availability zone asked for.
    pub zone: Option<Name>,
    /// The flavor's extra specs, matched with Nova's operators.
    pub extra_specs: BTreeMap<String, String>,
    /// Its image's properties.
    pub image: ImageProperties,
    /// Its image's name, for isolation.
    pub image_name: Option<Name>,
    /// Its flavor's name, for aggregates that name flavors.
    pub flavor: Option<Name>,
    /// Its project, for aggregates that name projects.
    pub project: Option<Name>,
    /// The network its host must be in.
    pub network: Option<Network>,
    /// Hosts that already refused it.
    pub tried_hosts: BTreeSet<Name>,
}

/// One server that wants a host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Unique among the requests of a batch.
    pub name: Name,
    /// What it takes.
    pub wants: Resources,
    /// What it asks of the host's facts.
    pub needs: Needs,
    /// The group it is a member of.
    pub group: Option<Name>,
    /// On a host that holds one of these servers.
    pub same_host: BTreeSet<Name>,
    /// On a host that holds none of these servers.
    pub different_host: BTreeSet<Name>,
    /// What it asks of cells and devices, where a filter looks at them.
    pub demand: Option<Arc<Demand>>,
    /// Higher is placed first when a batch does not fit as a whole.
    pub priority: i64,
    /// What of it is not to be named.
    pub hides: Hides,
}

impl Request {
    /// Whether its answer depends on where servers are that it names.
    #[must_use]
    pub(crate) fn names_others(&self) -> bool {
        !(self.same_host.is_empty() && self.different_host.is_empty())
    }
}

impl Default for Name {
    fn default() -> Self {
        Self("".into())
    }
}
