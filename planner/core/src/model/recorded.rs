//! The fleet as the store records it: JSON records with a format version, all read at one revision.

use super::import::ImportId;
use super::spec::{AggregateSpec, FlavorSpec, GroupSpec, HostSpec, ImageSpec, ServerSpec};
use crate::record::Key;
use drover_types::{
    Address, Epoch, FencingToken, FleetName, Generation, HostName, IncarnationId, Lineage, OperationId,
    ServerId, Sha256Digest,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The store's own record: which history this is, and who may apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Version of the record format.
    pub format: u32,
    /// The fleet this store belongs to.
    pub fleet: FleetName,
    /// Chosen once, when the fleet was first written.
    pub lineage: Lineage,
    /// Raised in the transaction that takes the lock.
    pub token: FencingToken,
    /// Version of the drover that wrote last.
    pub drover_version: String,
    /// The apply that wrote last; whatever else writes sets none. A plan whose own apply this is, is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<ApplyMark>,
    /// Who wrote last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Author>,
}

/// A command that wrote to the store, for whoever comes upon what it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// `user@host`.
    pub who: String,
    /// The command: `apply`, `destroy`, …
    pub command: String,
    /// When it began, RFC 3339.
    pub since: String,
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, command, since } = self;
        write!(f, "{command} by {who}, begun {since}")
    }
}

/// Which apply every change since some revision belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyMark {
    /// The plan, by its digest.
    pub plan: Sha256Digest,
    /// The revision of `meta` that the plan was made from; absent for a store that was never applied to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
}

/// A recorded resource without life of its own: flavor, image or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainRecord<S> {
    /// Version of the record format.
    pub format: u32,
    /// Raised with each change of `spec`.
    pub generation: Generation,
    /// The attributes as last applied.
    pub spec: S,
}

/// A recorded host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Version of the record format.
    pub format: u32,
    /// Raised with each change of `spec`.
    pub generation: Generation,
    /// The attributes as last applied.
    pub spec: HostSpec,
    /// The life of its agent's operation log that the store trusts; another one voids its epochs until
    /// `drover host readmit`. Absent until the first apply that reached it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<IncarnationId>,
}

/// What was resolved when a guest was created, and decides every later migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenGuest {
    /// Machine type, versioned: `pc-q35-10.0`.
    pub machine: String,
    /// The CPU as libvirt XML (`<cpu …>…</cpu>`), expanded.
    pub cpu_xml: String,
    /// libvirt's domain type.
    pub hypervisor_type: String,
    /// Architecture.
    pub arch: String,
    /// Digest of the base file as the agent converted it; both sides of a migration must have the same.
    pub base_digest: Sha256Digest,
}

/// The stable result of what was done to a server, as Nova's `vm_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VmState {
    /// Recorded, not yet created anywhere: its create failed or has not finished.
    Building,
    /// Created and on.
    Active,
    /// Created and off.
    Stopped,
    /// A task failed and could not be rolled back.
    Error,
}

/// A command that has claimed one server for itself, as Nova's `task_state` with its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedTask {
    /// The operation that holds the claim; only it may release it.
    pub operation: OperationId,
    /// What it does: `reboot`, `migrate`, …
    pub name: String,
    /// Who asked: `user@host`.
    pub holder: String,
    /// When, RFC 3339.
    pub since: String,
}

/// A host on which creating a server failed, so that RetryFilter leaves it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedHost {
    /// The host.
    pub host: HostName,
    /// Its agent's incarnation then; a new one makes the host eligible again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<IncarnationId>,
    /// What it answered.
    pub reason: String,
    /// The plan whose apply tried it, by its digest.
    pub plan: String,
}

/// A recorded server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Version of the record format.
    pub format: u32,
    /// Its identity and its domain's UUID.
    pub id: ServerId,
    /// How many servers were created at this address before, plus one.
    pub incarnation: u64,
    /// Raised with each change of `spec`.
    pub generation: Generation,
    /// The attributes as last applied.
    pub spec: ServerSpec,
    /// Where it is placed; absent while no host has taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The domain that it was before it was imported; absent of one that Drover made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_from: Option<ImportId>,
    /// What was frozen when it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<FrozenGuest>,
    /// The stable result of what was done to it.
    pub vm_state: VmState,
    /// The command that has claimed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<ClaimedTask>,
    /// Hosts that refused it since its last success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<TriedHost>,
}

/// A server whose place at its address another has taken, and that is still to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeposedServer {
    /// Version of the record format.
    pub format: u32,
    /// The address that was its own.
    pub address: Address,
    /// As it was recorded there.
    pub server: ServerRecord,
}

/// Who may run a server, and where that right is going.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Version of the record format.
    pub format: u32,
    /// The holder.
    pub host: HostName,
    /// The epoch it holds.
    pub epoch: Epoch,
    /// The highest epoch ever reserved; never below `epoch`, and never used again once reserved.
    pub burnt: Epoch,
    /// Where the right stands.
    pub state: OwnershipState,
}

/// Where the right to run a server stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum OwnershipState {
    /// Granted with a create whose result is not known yet.
    Granted {
        /// The create.
        operation: OperationId,
    },
    /// The holder has confirmed it.
    Held,
    /// On its way to another host.
    Migrating {
        /// The destination.
        to: HostName,
        /// The migration.
        operation: OperationId,
        /// The epoch reserved for the destination.
        epoch: Epoch,
    },
}

/// Where an operation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum OperationStatus {
    /// About to be sent or sent; its result is not known.
    Intent,
    /// Left running by a command that detached or died; settled by the next apply.
    Detached,
    /// Done.
    Succeeded,
    /// Refused or failed, with what the agent said.
    Failed {
        /// The agent's words.
        reason: String,
    },
}

/// An operation in the journal: the intent is written before it is sent, the result with the new record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Version of the record format.
    pub format: u32,
    /// Its id.
    pub id: OperationId,
    /// What it works on.
    pub address: Address,
    /// The server, where it works on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerId>,
    /// The host that carries it out.
    pub host: HostName,
    /// The action of the plan as it was sent: enough to ask again.
    pub action: serde_json::Value,
    /// The fencing token of the apply that wrote it.
    pub token: FencingToken,
    /// The plan it belongs to, by its digest.
    pub plan: String,
    /// When it was written, RFC 3339.
    pub at: String,
    /// By which command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Author>,
    /// Where it stands.
    #[serde(flatten)]
    pub status: OperationStatus,
}

/// An output's last applied value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputRecord {
    /// Version of the record format.
    pub format: u32,
    /// The value.
    pub value: serde_json::Value,
    /// Whether it is hidden in what people read.
    pub sensitive: bool,
}

/// Everything that the store records of one fleet and project, at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedFleet {
    /// The store's revision at which all of it was read.
    pub revision: u64,
    /// `meta`, and the revision of its last change; absent in a store that was never applied to.
    pub meta: Option<(Meta, u64)>,
    /// Hosts.
    pub hosts: BTreeMap<HostName, HostRecord>,
    /// Flavors.
    pub flavors: BTreeMap<Address, PlainRecord<FlavorSpec>>,
    /// Images.
    pub images: BTreeMap<Address, PlainRecord<ImageSpec>>,
    /// Groups.
    pub groups: BTreeMap<Address, PlainRecord<GroupSpec>>,
    /// Sets of hosts with metadata.
    pub aggregates: BTreeMap<Address, PlainRecord<AggregateSpec>>,
    /// Servers.
    pub servers: BTreeMap<Address, ServerRecord>,
    /// Servers that were replaced and are still to be destroyed.
    pub deposed: BTreeMap<ServerId, DeposedServer>,
    /// Who may run which server; a row outlives its server until the host has confirmed the deletion.
    pub ownership: BTreeMap<ServerId, Ownership>,
    /// How many servers were ever created at an address.
    pub incarnations: BTreeMap<Address, u64>,
    /// The journal.
    pub operations: BTreeMap<OperationId, OperationRecord>,
    /// Output values.
    pub outputs: BTreeMap<String, OutputRecord>,
    /// When each key was last changed: what transactions compare.
    pub revisions: BTreeMap<Key, u64>,
}

impl RecordedFleet {
    /// A store that was never applied to, at this revision.
    #[must_use]
    pub const fn empty(revision: u64) -> Self {
        Self {
            revision,
            meta: None,
            hosts: BTreeMap::new(),
            flavors: BTreeMap::new(),
            images: BTreeMap::new(),
            groups: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            servers: BTreeMap::new(),
            deposed: BTreeMap::new(),
            ownership: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            operations: BTreeMap::new(),
            outputs: BTreeMap::new(),
            revisions: BTreeMap::new(),
        }
    }
}
