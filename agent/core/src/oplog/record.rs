//! The records of the operation log and the values they carry. What they add up to is `state`'s.

use crate::handover::{HandoverLog, HandoverMode};
use crate::power::WantedPower;
use drover_types::{
    Epoch, FencingToken, Generation, HostName, IncarnationId, OperationId, RequestId, ServerId, Sha256Digest,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format that this version writes; an agent refuses a log of a later one.
pub const FORMAT: u32 = 1;

/// A point in time as milliseconds since 1970-01-01 UTC, given by the caller's clock; for display only,
/// nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Brings an image into the cache.
    FetchImage,
    /// Takes an image out of the cache.
    RemoveImage,
    /// Makes a server's disk and domain.
    CreateServer,
    /// Removes a server's domain and disk.
    DeleteServer,
    /// Starts a server.
    StartServer,
    /// Stops a server.
    StopServer,
    /// Restarts a server.
    RebootServer,
    /// Takes an existing domain under management.
    AdoptServer,
    /// Redefines a server's domain after drift or a change.
    UpdateServer,
    /// Hands a server over to another host.
    MigrateOut,
    /// Takes a server over from another host.
    MigrateIn,
}

impl OperationKind {
    /// The word that stands in the log and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FetchImage => "fetch_image",
            Self::RemoveImage => "remove_image",
            Self::CreateServer => "create_server",
            Self::DeleteServer => "delete_server",
            Self::StartServer => "start_server",
            Self::StopServer => "stop_server",
            Self::RebootServer => "reboot_server",
            Self::AdoptServer => "adopt_server",
            Self::UpdateServer => "update_server",
            Self::MigrateOut => "migrate_out",
            Self::MigrateIn => "migrate_in",
        }
    }
}

/// Why an operation failed, as `drover.agent.v1.FailureCode` has it, where each is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The host has not the room that the planner thought it had.
    NoRoom,
    /// The source's bytes have another digest.
    Checksum,
    /// The image was refused for what its header says.
    ImageRefused,
    /// The source could not be read.
    Fetch,
    /// libvirt or QEMU could not do it.
    Hypervisor,
    /// Another state was found than expected.
    Conflict,
    /// This host does not hold the epoch that the action needs.
    NotHolder,
    /// The migration was aborted; the guest is where it was.
    MigrationAborted,
    /// The hosts do not match: CPU, machine type, image.
    Incompatible,
    /// The operation was withdrawn before it began.
    Withdrawn,
    /// The host's disk, file system or other system part failed.
    System,
    /// The guest did not do what was asked in time.
    GuestTimeout,
    /// The agent was stopped in the middle, and nothing of it is left.
    CutShort,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what was asked; the value is the stored answer.
    Succeeded(serde_json::Value),
    /// It did not; what it had begun was undone or is described by the message.
    Failed {
        /// The kind of failure.
        code: FailureCode,
        /// What happened, on which object.
        message: String,
        /// What to do next; empty where the agent does not know.
        #[serde(default)]
        hint: String,
    },
}

/// An admitted operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Began {
    /// The operation.
    pub operation: OperationId,
    /// The server it works on; none for work on the host, such as fetching an image.
    pub server: Option<ServerId>,
    /// What it does.
    pub kind: OperationKind,
    /// The digest of the request without token, deadline and request id.
    pub digest: Sha256Digest,
    /// The request, so that the work can be continued after a restart.
    pub request: serde_json::Value,
    /// The token it was sent under.
    pub token: FencingToken,
    /// The desired state it belongs to, for work on a server.
    pub generation: Option<Generation>,
    /// The command that sent it.
    pub request_id: RequestId,
    /// When it was admitted.
    pub at: UnixMillis,
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first record of a log, and again when a restored log is opened under a new incarnation.
    Opened {
        /// The format of the records that follow.
        format: u32,
        /// The life of this log.
        incarnation: IncarnationId,
        /// The host it belongs to.
        host: HostName,
    },
    /// The log was lost or restored: nothing may be started or handed over until the host is readmitted.
    EpochsVoided,
    /// An administrator readmitted the host. Requests under a lower token are stale, and what the log held
    /// or was handing over counts no more: only what the store confirms.
    Readmitted {
        /// The store's token at that time.
        token: FencingToken,
        /// The servers that this host holds by the store's records, each with its epoch.
        held: BTreeMap<ServerId, Epoch>,
    },
    /// A higher token was seen; always ahead of the first effect under it.
    TokenSeen {
        /// The token.
        token: FencingToken,
    },
    /// An operation was admitted.
    Began(Box<Began>),
    /// An operation ended.
    Finished {
        /// The operation.
        operation: OperationId,
        /// How.
        outcome: Outcome,
    },
    /// An operation that never began was refused for ever: its request starts nothing when it arrives later.
    Withdrawn {
        /// The operation.
        operation: OperationId,
        /// The token of the withdrawal.
        token: FencingToken,
    },
    /// The store holds these results; they need not be kept.
    Acknowledged {
        /// The operations.
        operations: Vec<OperationId>,
    },
    /// This host may run the server (create, or a grant after a fence).
    EpochGranted {
        /// The server.
        server: ServerId,
        /// The epoch it is held under.
        epoch: Epoch,
        /// The operation that brought the grant.
        operation: OperationId,
    },
    /// The power state that the server shall have.
    PowerWanted {
        /// The server.
        server: ServerId,
        /// The state.
        power: WantedPower,
    },
    /// As source: the hand-over of a server to another host began.
    Offered {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The epoch reserved for the destination.
        epoch: Epoch,
        /// The epoch reserved for this host should the destination decline after the release.
        fallback: Epoch,
        /// The destination.
        to: HostName,
        /// With or without a running guest.
        mode: HandoverMode,
    },
    /// As source: libvirt's final word was success, or the destination's `ready` came while this side's copy
    /// stood paused by the migration; the guest's latest state is the destination's.
    Transferred {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
    },
    /// As source: the right to run the server went to the destination. Excludes `aborted`.
    Released {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The destination's epoch.
        epoch: Epoch,
        /// The destination.
        to: HostName,
    },
    /// As source: the right to run the server stays here. Excludes `released`.
    Aborted {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The destination's epoch, burnt.
        epoch: Epoch,
    },
    /// As source: the destination said that it acquired.
    PeerAcquired {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
    },
    /// As source: the destination declined after the release; this host runs the server again, from its kept
    /// disk and under the fallback epoch.
    Reclaimed {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The fallback epoch.
        epoch: Epoch,
    },
    /// As destination: overlay and sockets are prepared.
    PreparedIncoming {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The epoch reserved for this host.
        epoch: Epoch,
        /// The source, the only one whose word counts.
        from: HostName,
        /// With or without a running guest.
        mode: HandoverMode,
    },
    /// As destination: transfer complete, guest paused, disk flushed.
    Ready {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The epoch reserved for this host.
        epoch: Epoch,
    },
    /// As destination: this host runs the server from now on.
    Acquired {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The epoch it is held under.
        epoch: Epoch,
        /// The power state that the guest had, to be restored.
        power: WantedPower,
    },
    /// As destination: this host never takes this hand-over. Never after `acquired`.
    Declined {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The epoch, burnt.
        epoch: Epoch,
    },
    /// As destination: the incoming copy is removed.
    Discarded {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
        /// The epoch, burnt.
        epoch: Epoch,
    },
    /// Nothing is left to do or to say about a hand-over.
    Settled {
        /// The server.
        server: ServerId,
        /// The hand-over.
        operation: OperationId,
    },
    /// The server was deleted; its epochs stay used for ever.
    Gone {
        /// The server.
        server: ServerId,
    },
    /// What compaction carried over.
    Carried(Box<Carried>),
}

/// One part of the state, written by compaction in place of the records that led to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carried {
    /// An operation that is not acknowledged.
    Operation {
        /// The operation.
        operation: OperationId,
        /// What is known of it.
        state: OperationState,
    },
    /// Acknowledged operations whose requests are not yet made stale by a higher token.
    Retired {
        /// Each operation with the token it was sent under.
        operations: BTreeMap<OperationId, FencingToken>,
    },
    /// A server.
    Server {
        /// The server.
        server: ServerId,
        /// What is known of it.
        log: ServerLog,
    },
}

/// What the log knows of an operation that is not acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// It began and has no result.
    Running(Box<Began>),
    /// It has a result.
    Finished {
        /// How it began.
        began: Box<Began>,
        /// How it ended.
        outcome: Outcome,
    },
    /// It never began and never will.
    Withdrawn {
        /// The token of the withdrawal.
        token: FencingToken,
    },
}

/// What the log knows of a server, deleted ones included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLog {
    /// The epoch under which this host may run it.
    pub held: Option<Epoch>,
    /// The highest epoch ever named for it; none up to here is granted again.
    pub highest_epoch: Epoch,
    /// The latest desired state that an admitted operation belonged to.
    pub generation: Option<Generation>,
    /// The power state it shall have.
    pub wanted: Option<WantedPower>,
    /// The epoch under which it went to another host since it was last held here.
    pub released: Option<Epoch>,
    /// Whether it was deleted here.
    pub gone: bool,
    /// Hand-overs that are not settled.
    pub handovers: BTreeMap<OperationId, HandoverLog>,
}
