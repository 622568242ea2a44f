//! Actions: the nodes of a plan's graph, each with everything that is needed to carry it out.

use super::reason::{Impact, Reason};
use crate::executor::{ImageOrder, ServerOrder};
use crate::model::{
    AggregateSpec, Endpoint, FlavorSpec, GroupSpec, HostSpec, ImageSpec, ImportId, Ownership, Power,
    ServerSpec,
};
use drover_types::{
    Address, Epoch, Generation, HostName, IncarnationId, OperationId, ServerId, Sha256Digest,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A host on which a create may be carried out, with what was reserved for it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The host.
    pub host: HostName,
    /// The operation on this host: each candidate has its own.
    pub operation: OperationId,
    /// Reserved for this host; burnt once it was written into the store.
    pub epoch: Epoch,
    /// The life of its agent's log when planned; kept with a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<IncarnationId>,
}

/// A change of one record that no agent takes part in; `None` removes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", content = "to", rename_all = "kebab-case")]
pub enum RecordChange {
    /// A host, and the life of its agent's log to trust.
    Host(Option<(HostSpec, Option<IncarnationId>)>),
    /// A flavor.
    Flavor(Option<FlavorSpec>),
    /// An image.
    Image(Option<ImageSpec>),
    /// A group.
    Group(Option<GroupSpec>),
    /// A set of hosts with metadata.
    Aggregate(Option<AggregateSpec>),
}

/// The size of a domain that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundSize {
    /// Processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// Of its disks in all, in MiB; 0 where it could not be told.
    pub disk_mib: u64,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ActionKind {
    /// Settles an operation that an earlier command left open: looks for its result and writes it down, or
    /// withdraws it.
    Settle {
        /// The open operation.
        operation: OperationId,
        /// The server it works on.
        server: Option<ServerId>,
    },
    /// Has an image in the host's cache.
    EnsureImage {
        /// The image.
        image: ImageOrder,
    },
    /// Takes an image out of the host's cache.
    DeleteImage {
        /// Its name there.
        checksum: Sha256Digest,
    },
    /// Creates a server on the first candidate, or on the next one where the host before provably refused
    /// or was never reached.
    CreateServer {
        /// The server as its agent is to have it.
        order: Box<ServerOrder>,
        /// To be recorded.
        spec: Box<ServerSpec>,
        /// How many servers its address had before it, plus one.
        incarnation: u64,
        /// At least one; the first is the host chosen, the others are its ranked alternates.
        candidates: Vec<Candidate>,
        /// The server whose place at the address it takes; that one stays until this one is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<ServerId>,
    },
    /// Takes a domain that is nobody's under management, as it is.
    Import {
        /// The server: the domain's UUID.
        server: ServerId,
        /// The domain.
        from: ImportId,
        /// To be recorded; it is on or off as it was found.
        spec: Box<ServerSpec>,
        /// How many servers its address had before it, plus one.
        incarnation: u64,
        /// To be recorded.
        generation: Generation,
        /// Reserved for the host.
        epoch: Epoch,
        /// Its size as it was found; its agent takes over no other.
        found: FoundSize,
    },
    /// Changes a server where it is.
    UpdateServer {
        /// The server as its agent is to have it.
        order: Box<ServerOrder>,
        /// To be recorded.
        spec: Box<ServerSpec>,
        /// Held by the host.
        epoch: Epoch,
    },
    /// Starts or stops a server.
    SetPower {
        /// The server.
        server: ServerId,
        /// Held by the host.
        epoch: Epoch,
        /// As it is to be.
        power: Power,
        /// To be recorded.
        spec: Box<ServerSpec>,
        /// To be recorded.
        generation: Generation,
    },
    /// Destroys a server.
    DeleteServer {
        /// The server.
        server: ServerId,
        /// Held by the host.
        epoch: Epoch,
        /// Whether its record goes too, or stays for the create that follows.
        keep: Keep,
        /// The domain that it was before it was imported: its disks stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        imported_from: Option<ImportId>,
    },
    /// Moves a server to another host: prepares the destination, then hands over.
    Migrate {
        /// The server as the destination is to have it: as recorded.
        order: Box<ServerOrder>,
        /// The source's endpoint.
        source_address: Endpoint,
        /// The destination.
        to: HostName,
        /// The destination's endpoint.
        destination_address: Endpoint,
        /// Held by the source.
        epoch: Epoch,
        /// Reserved for the destination.
        new_epoch: Epoch,
        /// Reserved for the source, should the destination decline.
        fallback_epoch: Epoch,
        /// The guest is off: only its disk moves.
        cold: bool,
        /// How much is copied where the disk is full, in bytes: it, and the memory of a guest that runs.
        copy_bytes: u64,
    },
    /// Writes down where a server is and under which epoch its host holds it; no agent is asked.
    Adopt {
        /// The server.
        server: ServerId,
        /// How many servers its address had before it, plus one.
        incarnation: u64,
        /// To be recorded, where the store has no record of it.
        spec: Option<Box<ServerSpec>>,
        /// To be recorded with it, of one that was imported.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        imported_from: Option<ImportId>,
        /// To be recorded.
        ownership: Ownership,
    },
    /// Grants the host a server whose domain is there already though its log does not hold it: one that was
    /// moved with virsh.
    TakeOver {
        /// The server as it is recorded.
        order: Box<ServerOrder>,
        /// To be recorded.
        spec: Box<ServerSpec>,
        /// How many servers its address had before it, plus one.
        incarnation: u64,
        /// Reserved for the host.
        epoch: Epoch,
    },
    /// Writes down a server's attributes that concern no agent.
    RecordServer {
        /// The server.
        server: ServerId,
        /// To be recorded.
        spec: Box<ServerSpec>,
        /// To be recorded.
        generation: Generation,
    },
    /// Removes the record of a server that exists nowhere.
    ForgetServer {
        /// The server.
        server: ServerId,
    },
    /// Files a record under another address; the resource stays as it is.
    Move {
        /// The address before.
        from: Address,
        /// The server, where it is one.
        server: Option<ServerId>,
    },
    /// Changes a record that no agent takes part in.
    Record(RecordChange),
}

/// Whether the record of a deleted server stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// It goes.
    Nothing,
    /// It stays: a create of the same server follows (rebuild).
    Record,
    /// It stays, and names another host: only what was left behind goes.
    Leftover,
    /// It goes, and the guest and its disks stay: they are no longer Drover's.
    Guest,
    /// The record at its address is its successor's and stays; its own, as a replaced server, goes.
    Successor,
}

impl ActionKind {
    /// A stable word for it.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Settle { .. } => "settle",
            Self::EnsureImage { .. } => "fetch",
            Self::DeleteImage { .. } => "evict",
            Self::CreateServer { .. } => "create",
            Self::Import { .. } => "import",
            Self::UpdateServer { .. } => "update",
            Self::SetPower { power, .. } => match power {
                Power::On => "start",
                Power::Off => "stop",
            },
            Self::DeleteServer {
                keep: Keep::Guest, ..
            } => "forget",
            Self::DeleteServer { .. } => "destroy",
            Self::Migrate { .. } => "migrate",
            Self::Adopt { .. } | Self::TakeOver { .. } => "adopt",
            Self::RecordServer { .. } | Self::Record(_) => "record",
            Self::ForgetServer { .. } => "forget",
            Self::Move { .. } => "move",
        }
    }

    /// What a host is told to make of a server.
    #[must_use]
    pub fn order(&self) -> Option<&ServerOrder> {
        match self {
            Self::CreateServer { order, .. }
            | Self::UpdateServer { order, .. }
            | Self::TakeOver { order, .. }
            | Self::Migrate { order, .. } => Some(order),
            Self::Settle { .. }
            | Self::Move { .. }
            | Self::SetPower { .. }
            | Self::DeleteServer { .. }
            | Self::Adopt { .. }
            | Self::RecordServer { .. }
            | Self::Import { .. }
            | Self::ForgetServer { .. }
            | Self::EnsureImage { .. }
            | Self::DeleteImage { .. }
            | Self::Record(_) => None,
        }
    }

    /// The server it works on.
    #[must_use]
    pub fn server(&self) -> Option<ServerId> {
        match self {
            Self::Settle { server, .. } | Self::Move { server, .. } => *server,
            Self::CreateServer { order, .. }
            | Self::UpdateServer { order, .. }
            | Self::TakeOver { order, .. }
            | Self::Migrate { order, .. } => Some(order.id),
            Self::SetPower { server, .. }
            | Self::DeleteServer { server, .. }
            | Self::Adopt { server, .. }
            | Self::RecordServer { server, .. }
            | Self::Import { server, .. }
            | Self::ForgetServer { server } => Some(*server),
            Self::EnsureImage { .. } | Self::DeleteImage { .. } | Self::Record(_) => None,
        }
    }
}

/// What must be recorded when an action begins. If it is not, the action is done already (its outcome is
/// recorded) or conflicts, and then it is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "expect", rename_all = "kebab-case")]
pub enum Precondition {
    /// The operation is open.
    Open,
    /// Nothing: the agent looks for itself.
    AgentLooks,
    /// No host holds the server: it has no record, or one without a host.
    Unplaced,
    /// Another server is recorded at the address, at this host and held under this epoch: the one to be replaced.
    Replaces {
        /// That one.
        server: ServerId,
        /// The host.
        host: HostName,
        /// The epoch.
        epoch: Epoch,
    },
    /// The server is recorded at this host, held under this epoch.
    Held {
        /// The host.
        host: HostName,
        /// The epoch.
        epoch: Epoch,
    },
    /// The record has this generation, or is absent.
    Recorded {
        /// The generation.
        generation: Option<Generation>,
    },
    /// The resource is recorded at this address, and nothing at the action's own.
    RecordedAt {
        /// That one.
        address: Address,
    },
    /// The server is recorded so, whatever is true of its hosts.
    Placed {
        /// The host recorded, if any.
        host: Option<HostName>,
    },
}

/// Names of attributes whose values are sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hidden {
    /// In what is there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub before: BTreeSet<String>,
    /// In what will be there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<String>,
}

impl Hidden {
    /// What is to be hidden from now on is not shown as it was either.
    #[must_use]
    pub fn new(before: Option<&BTreeSet<String>>, after: Option<&BTreeSet<String>>) -> Self {
        let all = |names: Option<&BTreeSet<String>>| names.cloned().unwrap_or_default();
        let after = all(after);
        let mut before = all(before);
        before.extend(after.iter().cloned());
        Self { before, after }
    }

    /// Whether nothing is hidden.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

/// One node of a plan's graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Derived from the plan's parent and the action, so that a plan made twice carries the same.
    pub id: OperationId,
    /// What it works on.
    pub address: Address,
    /// The host that carries it out; none for what is only recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// What it does.
    pub kind: ActionKind,
    /// What must hold when it begins.
    pub precondition: Precondition,
    /// Why.
    pub why: Reason,
    /// The attributes it changes, as they are; null where there is nothing yet.
    pub before: serde_json::Value,
    /// The attributes it changes, as they will be; null where nothing is left.
    pub after: serde_json::Value,
    /// Which attributes of both sides are hidden in what is printed.
    #[serde(default, skip_serializing_if = "Hidden::is_empty")]
    pub hidden: Hidden,
    /// What it does to the guest.
    pub impact: Impact,
    /// Actions that must be done first.
    pub depends_on: Vec<OperationId>,
}
