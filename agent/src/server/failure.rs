//! Why work on a server or a migration failed, as a kind that a planner can decide on.

use super::directory::DirectoryError;
use super::disk::DiskError;
use crate::hypervisor::HypervisorError;
use crate::inventory::ProfileError;
use crate::operations::Failure;
use crate::oplog::AppendError;
use drover_agent_core::domain::HostPathError;
use drover_agent_core::inventory::CpuChoiceError;
use drover_agent_core::oplog::FailureCode;
use drover_numa::Misfit;
use drover_proto::field::FieldError;
use drover_types::{PowerState, ServerId};

/// Why work on a server failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The request does not read.
    #[error("the request cannot be read")]
    Request(#[source] FieldError),
    /// libvirt did not answer, or refused.
    #[error("could not {attempt} server {server}")]
    Hypervisor {
        /// What was attempted.
        attempt: &'static str,
        /// The server.
        server: ServerId,
        /// Why not.
        source: HypervisorError,
    },
    /// The domains cannot be listed.
    #[error("could not list the domains of this host")]
    Domains {
        /// Why not.
        source: HypervisorError,
    },
    /// The server's directory.
    #[error("could not use the directory of server {server}")]
    Directory {
        /// The server.
        server: ServerId,
        /// Why not.
        source: DirectoryError,
    },
    /// The server's disk.
    #[error("could not use the disk of server {server}")]
    Disk {
        /// The server.
        server: ServerId,
        /// Why not.
        source: DiskError,
    },
    /// The host cannot say what it can run.
    #[error("this host's abilities are not known")]
    Profile(#[source] ProfileError),
    /// There is no CPU for the guest.
    #[error("no CPU could be chosen for server {server}")]
    Cpu {
        /// The server.
        server: ServerId,
        /// Why not.
        source: CpuChoiceError,
    },
    /// A path below the data directory cannot stand in a domain.
    #[error("the data directory cannot be used in a domain")]
    Path(#[source] HostPathError),
    /// The image could not be brought into the cache.
    #[error(transparent)]
    Image(Failure),
    /// The operation log refused.
    #[error("the operation log did not take a record")]
    Log(#[source] AppendError),
    /// What was expected is not so.
    #[error("server {server}: expected {expected}, found {found}")]
    Conflict {
        /// The server.
        server: ServerId,
        /// What the action needs.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The server cannot run on this host.
    #[error("server {server} cannot run here: {what} {wanted} is not among those of this host ({available})")]
    Incompatible {
        /// The server.
        server: ServerId,
        /// What does not match.
        what: &'static str,
        /// What it needs.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// The file system has not the room.
    #[error("server {server} needs {needed} bytes of disk, {free} are free below {directory}")]
    NoRoom {
        /// The server.
        server: ServerId,
        /// Needed.
        needed: u64,
        /// Free.
        free: u64,
        /// Where.
        directory: String,
    },
    /// The host's NUMA cells do not hold the server's.
    #[error("server {server} does not fit into the NUMA cells of this host")]
    NoCells {
        /// The server.
        server: ServerId,
        /// Why not.
        source: Misfit,
    },
    /// The host has too few free devices.
    #[error("server {server} asks for {wanted} of {alias}, and this host has {free} free")]
    NoDevices {
        /// The server.
        server: ServerId,
        /// The name that its flavor uses.
        alias: String,
        /// Asked for.
        wanted: u64,
        /// Free, and near enough to its cells.
        free: u64,
    },
    /// Every processor is kept for servers that are pinned.
    #[error("server {server} shares processors, and this host keeps all of its own for servers that do not")]
    NoSharedCpus {
        /// The server.
        server: ServerId,
    },
    /// Free space could not be told.
    #[error("could not find out the free space below {directory}")]
    FreeSpace {
        /// Where.
        directory: String,
        /// Why not.
        source: nix::Error,
    },
    /// The guest did not do what was asked.
    #[error("server {server} is still {state} after it was ended")]
    StillActive {
        /// The server.
        server: ServerId,
        /// Its state.
        state: PowerState,
    },
    /// The migration ended without handing the server over.
    #[error("the migration of server {server} was aborted and it is where it was: {reason}")]
    Aborted {
        /// The server.
        server: ServerId,
        /// Why.
        reason: String,
    },
    /// The hand-over's own file.
    #[error("could not note the hand-over of server {server}")]
    HandoverFile {
        /// The server.
        server: ServerId,
        /// Why not.
        source: crate::migration::HandoverFileError,
    },
    /// A directory for the migration's sockets.
    #[error("could not make the sockets of the migration of server {server}")]
    Sockets {
        /// The server.
        server: ServerId,
        /// Why not.
        source: std::io::Error,
    },
}

impl WorkError {
    const fn code(&self) -> FailureCode {
        match self {
            Self::Hypervisor { .. } | Self::Domains { .. } | Self::Profile(_) => FailureCode::Hypervisor,
            Self::StillActive { .. } => FailureCode::GuestTimeout,
            Self::Image(failure) => failure.code,
            Self::Request(_) | Self::Conflict { .. } => FailureCode::Conflict,
            Self::Incompatible { .. } | Self::Cpu { .. } => FailureCode::Incompatible,
            Self::NoRoom { .. }
            | Self::NoCells { .. }
            | Self::NoDevices { .. }
            | Self::NoSharedCpus { .. } => FailureCode::NoRoom,
            Self::Disk { source, .. } => match source {
                DiskError::SmallerThanImage { .. } => FailureCode::ImageRefused,
                DiskError::WouldShrink { .. } => FailureCode::Conflict,
                DiskError::Run { .. } | DiskError::Refused { .. } | DiskError::Described { .. } => {
                    FailureCode::System
                }
            },
            Self::Aborted { .. } => FailureCode::MigrationAborted,
            Self::Directory { .. }
            | Self::Path(_)
            | Self::Log(_)
            | Self::FreeSpace { .. }
            | Self::HandoverFile { .. }
            | Self::Sockets { .. } => FailureCode::System,
        }
    }
}

impl From<WorkError> for Failure {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Image(failure) => failure,
            other => Self::from_error(other.code(), &other),
        }
    }
}
