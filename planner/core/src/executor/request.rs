//! What is asked of an agent: the requests of the wire contract, in core's own types.
//!
//! The `drover` crate turns each into its protobuf message and adds the header (token, request id, fleet,
//! project). A request is written into the journal before it is sent, so that it can be asked again.

use crate::model::{Endpoint, FrozenGuest, ImageFormat, ImageSource, Power};
use crate::plan::FoundSize;
use drover_numa::{GuestCell, NumaLimits};
use drover_types::{Address, Epoch, Generation, HostName, PciKind, ServerId, Sha256Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An image as an agent is to fetch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOrder {
    /// Where from.
    pub source: ImageSource,
    /// The digest of the source's bytes, and its name in the cache.
    pub checksum: Sha256Digest,
    /// The format, where it is declared.
    pub format: Option<ImageFormat>,
    /// The largest virtual size accepted, in bytes.
    pub max_virtual_size: u64,
}

/// The NUMA cells of a server, which its host fits onto its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumaOrder {
    /// Each with the numbers of its processors.
    pub cells: Vec<GuestCell>,
    /// How often the host may promise what servers share.
    pub limits: NumaLimits,
}

/// PCI devices of a server, which its host chooses from its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceOrder {
    /// The name that its flavor uses.
    pub alias: String,
    /// How many.
    pub count: u64,
    /// Each of one of these kinds.
    pub kinds: Vec<PciKind>,
}

/// A server as an agent is to have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerOrder {
    /// Its identity.
    pub id: ServerId,
    /// Where it is declared.
    pub address: Address,
    /// The name that people see.
    pub name: String,
    /// Its desired state's generation.
    pub generation: Generation,
    /// Processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// Virtual size of the root disk in bytes.
    pub disk_bytes: u64,
    /// What it boots from; nothing of an imported server.
    pub image: Option<ImageOrder>,
    /// Whether it is to run.
    pub power: Power,
    /// What was frozen when it was first created.
    pub frozen: Option<FrozenGuest>,
    /// The image's properties.
    pub image_properties: BTreeMap<String, String>,
    /// Its NUMA cells, where it asks for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa: Option<NumaOrder>,
    /// Its PCI devices, where it asks for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceOrder>,
}

/// How much of a server a host gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deletion {
    /// The guest, its domain and its disk.
    Server,
    /// What it left behind: it runs elsewhere.
    Leftover,
    /// Drover's marks and the epoch: guest, domain and disk stay.
    Marks,
}

/// One request to one agent. Each says in `agent.v1` when it is legal and what repeating it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum AgentRequest {
    /// Has the image in the cache afterwards.
    EnsureImage {
        /// The image.
        image: ImageOrder,
    },
    /// Takes an image out of the cache.
    DeleteImage {
        /// Its name there.
        checksum: Sha256Digest,
    },
    /// Creates the server and grants the epoch.
    CreateServer {
        /// The server.
        server: Box<ServerOrder>,
        /// Granted with it.
        epoch: Epoch,
        /// The domain is there already and is taken over as it is.
        adopt: bool,
    },
    /// Takes a domain over as it is, and grants the epoch.
    AdoptServer {
        /// The domain's UUID, and the server's id.
        id: ServerId,
        /// Where it is declared.
        address: Address,
        /// Its desired state's generation.
        generation: Generation,
        /// Granted with it.
        epoch: Epoch,
        /// As it was found; another size is refused.
        found: FoundSize,
    },
    /// Changes the server in place.
    UpdateServer {
        /// The server as it is to be.
        server: Box<ServerOrder>,
        /// Held by the host.
        epoch: Epoch,
        /// The plan promised that the guest is not restarted: refused where the change needs it.
        #[serde(default)]
        keep_running: bool,
    },
    /// Starts or stops it.
    SetPower {
        /// The server.
        id: ServerId,
        /// Held by the host.
        epoch: Epoch,
        /// As it is to be.
        power: Power,
        /// The desired state's generation.
        generation: Generation,
        /// How long a guest may take to shut down, in milliseconds.
        grace_ms: u64,
    },
    /// Reboots it.
    RebootServer {
        /// The server.
        id: ServerId,
        /// Held by the host.
        epoch: Epoch,
        /// At once, without asking the guest.
        hard: bool,
        /// How long a soft reboot may take, in milliseconds.
        grace_ms: u64,
    },
    /// Destroys it and gives the epoch up.
    DeleteServer {
        /// The server.
        id: ServerId,
        /// Held by the host.
        epoch: Epoch,
        /// How much goes.
        what: Deletion,
    },
    /// On the destination, before [`AgentRequest::MigrateServer`] with the same operation id.
    PrepareMigration {
        /// The server.
        server: Box<ServerOrder>,
        /// Reserved for the destination.
        epoch: Epoch,
        /// The source.
        source_host: HostName,
        /// Where its agent listens.
        source_address: Endpoint,
        /// Only the disk moves.
        cold: bool,
    },
    /// On the source.
    MigrateServer {
        /// The server.
        id: ServerId,
        /// Held by the source.
        epoch: Epoch,
        /// Reserved for the destination.
        new_epoch: Epoch,
        /// The destination.
        destination_host: HostName,
        /// Where its agent listens.
        destination_address: Endpoint,
        /// Only the disk moves.
        cold: bool,
        /// Longest stall in milliseconds.
        max_downtime_ms: u64,
        /// 0: no limit.
        bandwidth_mib_per_second: u64,
        /// Reserved for the source, should the destination decline after the release.
        fallback_epoch: Epoch,
    },
}

impl AgentRequest {
    /// A stable name: for logs, failpoints and the journal.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::EnsureImage { .. } => "ensure-image",
            Self::DeleteImage { .. } => "delete-image",
            Self::CreateServer { .. } => "create-server",
            Self::AdoptServer { .. } => "adopt-server",
            Self::UpdateServer { .. } => "update-server",
            Self::SetPower { .. } => "set-power",
            Self::RebootServer { .. } => "reboot-server",
            Self::DeleteServer { .. } => "delete-server",
            Self::PrepareMigration { .. } => "prepare-migration",
            Self::MigrateServer { .. } => "migrate-server",
        }
    }
}

/// What an agent answered when an operation ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum AgentResult {
    /// Of [`AgentRequest::EnsureImage`].
    Image {
        /// In bytes.
        virtual_size: u64,
        /// It was there already.
        cached: bool,
    },
    /// Of a request on a server; `frozen` after a create.
    Server {
        /// The epoch that the host holds now.
        epoch: Epoch,
        /// libvirt's state word.
        power_state: drover_types::PowerState,
        /// What was resolved.
        frozen: Option<FrozenGuest>,
    },
    /// Of [`AgentRequest::PrepareMigration`].
    Prepared,
    /// Of [`AgentRequest::MigrateServer`].
    Migrated {
        /// Held by the destination now.
        epoch: Epoch,
        /// The stall at the end, in milliseconds.
        downtime_ms: u64,
        /// Bytes moved.
        transferred_bytes: u64,
        /// In milliseconds.
        elapsed_ms: u64,
    },
    /// Of a request that has nothing to say: `DeleteImage`, `DeleteServer`.
    Done,
}

/// Why an operation failed, as `agent.v1.FailureCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// The host has not the room.
    NoRoom,
    /// The source's bytes have another digest.
    Checksum,
    /// The image was refused for what its header says.
    ImageRefused,
    /// The source could not be read.
    Fetch,
    /// libvirt or QEMU could not do it.
    Hypervisor,
    /// The precondition does not hold.
    Conflict,
    /// The host does not hold the epoch.
    NotHolder,
    /// The migration was aborted; the guest is where it was.
    MigrationAborted,
    /// The hosts do not match.
    Incompatible,
    /// It was withdrawn before it began.
    Withdrawn,
    /// A system part failed.
    System,
    /// The guest did not do it in time.
    GuestTimeout,
    /// The agent was stopped in the middle; nothing of it is left, and nothing speaks against the host.
    CutShort,
    /// The agent refused the request itself (gRPC status), so nothing of it began: its token is older than
    /// one the agent has seen, its arguments are not valid, its certificate may not do this.
    Refused,
}

impl FailureCode {
    /// Whether another host would fail as well.
    #[must_use]
    pub const fn is_everywhere(self) -> bool {
        match self {
            Self::Checksum | Self::ImageRefused => true,
            Self::NoRoom
            | Self::Fetch
            | Self::Hypervisor
            | Self::Conflict
            | Self::NotHolder
            | Self::MigrationAborted
            | Self::Incompatible
            | Self::Withdrawn
            | Self::System
            | Self::GuestTimeout
            | Self::CutShort
            | Self::Refused => false,
        }
    }

    /// The word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoom => "no-room",
            Self::Checksum => "checksum",
            Self::ImageRefused => "image-refused",
            Self::Fetch => "fetch",
            Self::Hypervisor => "hypervisor",
            Self::Conflict => "conflict",
            Self::NotHolder => "not-holder",
            Self::MigrationAborted => "migration-aborted",
            Self::Incompatible => "incompatible",
            Self::Withdrawn => "withdrawn",
            Self::System => "system",
            Self::GuestTimeout => "guest-timeout",
            Self::CutShort => "cut-short",
            Self::Refused => "refused",
        }
    }
}
