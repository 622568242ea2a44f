//! The fleet as its hosts report it. A host that did not answer is explicit, never empty.

use drover_numa::{CellUse, NumaCell, PciDevice};
use drover_types::{
    Address, Epoch, FencingToken, FleetName, Generation, HostName, HypervisorType, IncarnationId, MetricName,
    MetricValue, OperationId, PciAddress, PowerState, ProjectName, ServerId, Sha256Digest,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use uuid::Uuid;

/// Why a host could not be observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnobservedReason {
    /// Nothing answered at its address in time.
    Unreachable(String),
    /// Something answered, but it is not this host's agent, or it refused us.
    Untrusted(String),
    /// The agent answered that it cannot report, for example because its libvirt is away.
    Unwell(String),
    /// The agent's version is not one this planner works with.
    Incompatible(String),
    /// It was not asked: the inventory file that is planned from does not have it.
    NotInInventory,
}

impl UnobservedReason {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "bring its agent back",
            Self::Untrusted(_) => "compare its address and the two certificates (drover pki show FILE)",
            Self::Unwell(_) => "see to that on the host",
            Self::Incompatible(_) => "bring its agent to a version that this drover works with",
            Self::NotInInventory => "save the inventory again",
        }
    }
}

impl fmt::Display for UnobservedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "does not answer: {why}"),
            Self::Untrusted(why) => write!(f, "is not trusted: {why}"),
            Self::Unwell(why) => write!(f, "cannot report: {why}"),
            Self::Incompatible(why) => write!(f, "cannot be worked with: {why}"),
            Self::NotInInventory => f.write_str("is not in the inventory file"),
        }
    }
}

/// What was learnt of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HostObservation {
    /// It answered.
    Reported(Box<HostInventory>),
    /// It did not: nothing is planned on it or away from it.
    Unobserved(UnobservedReason),
}

impl HostObservation {
    /// The inventory, where the host answered.
    #[must_use]
    pub fn inventory(&self) -> Option<&HostInventory> {
        match self {
            Self::Reported(inventory) => Some(inventory),
            Self::Unobserved(_) => None,
        }
    }
}

/// What of a host is kept back from servers (the agent's settings).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reserved {
    /// Processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// Disk in MiB.
    pub disk_mib: u64,
}

/// A guest that the host can run: one of Nova's `supported_instances`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GuestKind {
    /// Architecture, by libvirt's name.
    pub arch: String,
    /// Hypervisor type: `kvm`, `qemu`.
    pub hypervisor_type: String,
    /// VM mode: `hvm`.
    pub vm_mode: String,
}

/// The host's processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFacts {
    /// Architecture.
    pub arch: String,
    /// Model, by libvirt's name.
    pub model: String,
    /// Vendor.
    pub vendor: String,
    /// Features, sorted.
    pub features: Vec<String>,
    /// Sockets, cores and threads.
    pub topology: [u32; 3],
    /// Guest CPUs, by name, that this host can run under the domain type it uses.
    pub usable_models: Vec<String>,
}

/// What a host is and has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its own host name.
    pub hostname: String,
    /// Logical processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// Size in MiB of the file system that holds servers' disks.
    pub disk_mib: u64,
    /// Free on it, in MiB, as the file system says.
    pub disk_free_mib: u64,
    /// Used on it by what is neither a server's disk nor a foreign domain's, in MiB: the image cache.
    pub image_cache_mib: u64,
    /// Kept back from servers.
    pub reserved: Reserved,
    /// Processors.
    pub cpu: CpuFacts,
    /// The hypervisor's name as libvirt and Nova write it: `QEMU`.
    pub hypervisor_type: String,
    /// Its version as one number, as libvirt does: 10.0.2 is 10000002.
    pub hypervisor_version: u64,
    /// libvirt's version, likewise.
    pub libvirt_version: u64,
    /// The domain type that new servers get here.
    pub virt_type: HypervisorType,
    /// Guests it can run.
    pub supported_guests: Vec<GuestKind>,
    /// Versioned machine types it can run, for a server that was created elsewhere.
    pub machine_types: Vec<String>,
    /// Its NUMA cells, nothing of them taken but by imported servers that have lost their domain; empty where its agent reports none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<NumaCell>,
    /// Devices that its agent's settings let servers have, whoever has them; but those of imported servers that have
    /// lost their domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pci_devices: Vec<PciDevice>,
}

/// An image in a host's cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedImage {
    /// Digest of the source's bytes.
    pub checksum: Sha256Digest,
    /// Virtual size in bytes.
    pub virtual_size: u64,
    /// Size in bytes on the host's disk.
    pub disk_size: u64,
    /// How many overlays stand on it.
    pub used_by: u32,
}

/// What Drover wrote into a domain's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainMark {
    /// Fleet.
    pub fleet: FleetName,
    /// Project.
    pub project: ProjectName,
    /// The server.
    pub id: ServerId,
    /// Where it was declared when the domain was written.
    pub address: Address,
    /// The epoch it was written under.
    pub epoch: Epoch,
    /// The generation it was written at.
    pub generation: Generation,
}

/// Which of a domain's two descriptions was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SavedConfiguration {
    /// Of the running guest.
    Live,
    /// What the next start will use.
    Persistent,
}

/// An attribute of a domain that is not as the agent rendered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeDrift {
    /// The attribute: `memory`, `vcpus`, `disk[vda].source`, …
    pub attribute: String,
    /// As rendered.
    pub expected: String,
    /// As found.
    pub found: String,
    /// Where it was found.
    pub configuration: SavedConfiguration,
    /// Whether an update puts it right without restarting the guest.
    #[serde(default)]
    pub heals_live: bool,
}

/// A hand-over that this host has not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MigrationSide {
    /// It is giving the server up.
    Source {
        /// The operation.
        operation: OperationId,
        /// The other host.
        to: HostName,
    },
    /// It is taking the server.
    Destination {
        /// The operation.
        operation: OperationId,
        /// The other host.
        from: HostName,
    },
}

/// A libvirt domain on a host, Drover's or foreign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedDomain {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// What the hypervisor says of it.
    pub power_state: PowerState,
    /// libvirt's reason for that state: `booted`, `user`, `migrated`, …
    pub reason: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// Virtual size of its disks in MiB.
    pub disk_mib: u64,
    /// Whether it survives a stop.
    pub persistent: bool,
    /// Drover's metadata, where it carries any.
    pub mark: Option<DomainMark>,
    /// The epoch that this host's operation log holds for it.
    pub held_epoch: Option<Epoch>,
    /// Of a server: what is not as it shall be. Of a domain that is nobody's: in what it does not run as it is
    /// defined.
    pub drift: Vec<AttributeDrift>,
    /// A hand-over that is not finished.
    pub migration: Option<MigrationSide>,
    /// Its disks and the media in its drives.
    #[serde(default)]
    pub disks: Vec<DomainDisk>,
    /// Architecture of the guest; empty where it is not known.
    #[serde(default)]
    pub arch: String,
    /// The highest epoch that this host's log ever named for it.
    #[serde(default)]
    pub highest_epoch: Option<Epoch>,
    /// What it takes of the host's NUMA cells, as far as it is bound to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellUse>,
    /// The host's devices that it has, of those that servers may have and of all others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pci_devices: BTreeSet<PciAddress>,
}

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainDisk {
    /// The device in the guest.
    pub target: String,
    /// `disk`, `cdrom`, ….
    pub device: String,
    /// File, block device or volume; empty where there is none, or of another kind.
    pub source: String,
    /// Virtual size in bytes; 0 where it could not be told.
    pub capacity_bytes: u64,
}

impl DomainDisk {
    /// Whether it is a disk of the guest's own, and no medium that lies in a drive.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self.device.as_str(), "disk" | "lun")
    }
}

impl ObservedDomain {
    /// Virtual size of the guest's own disks in all, in MiB, rounded up; 0 where it could not be told.
    #[must_use]
    pub fn own_disk_mib(&self) -> u64 {
        let own = self.disks.iter().filter(|disk| disk.is_own());
        own.fold(0_u64, |sum, disk| sum.saturating_add(disk.capacity_bytes))
            .div_ceil(1 << 20)
    }
}

/// An operation that an agent has begun and not finished, or finished and not been thanked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOperation {
    /// Its id.
    pub id: OperationId,
    /// What it does.
    pub kind: String,
    /// The server it works on.
    pub server: Option<ServerId>,
    /// Whether it is still running.
    pub running: bool,
}

/// Everything one host reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostInventory {
    /// The host's name by its certificate.
    pub host: HostName,
    /// The agent's version.
    pub agent_version: String,
    /// What the agent can do beyond the first version.
    pub capabilities: Vec<String>,
    /// The life of its operation log.
    pub incarnation: IncarnationId,
    /// The highest fencing token it has seen.
    pub token: FencingToken,
    /// What the host is and has.
    pub facts: HostFacts,
    /// All domains, by UUID.
    pub domains: BTreeMap<Uuid, ObservedDomain>,
    /// Servers whose epoch its log holds though libvirt knows no such domain.
    pub held_without_domain: BTreeMap<ServerId, Epoch>,
    /// The image cache.
    pub images: Vec<CachedImage>,
    /// Unfinished or unacknowledged operations.
    pub operations: Vec<OpenOperation>,
    /// What it measures. Other at every look: only where new servers go may depend on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<MetricName, MetricValue>,
}
