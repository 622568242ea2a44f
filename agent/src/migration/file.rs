//! What an agent must remember of an open hand-over beside its operation log, so that it can go on after a
//! restart without the planner: where the other agent is. One file per hand-over, `<data_dir>/handovers/`.

use drover_types::{HostName, OperationId, ServerId};
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file of one hand-over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HandoverFile {
    pub(super) format: u32,
    pub(super) server: ServerId,
    pub(super) peer: HostName,
    /// `host:port` of the other agent.
    pub(super) peer_address: String,
    /// Longest stall of a live migration.
    #[serde(default)]
    pub(super) max_downtime_ms: u64,
    /// Limit of a live migration, where there is one.
    #[serde(default)]
    pub(super) bandwidth_mib_per_second: Option<u64>,
}

/// Why such a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum HandoverFileError {
    /// The file system refused.
    #[error("could not use the hand-over's file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It does not read.
    #[error("{} is no hand-over that this agent can read", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

fn path(data_dir: &Path, operation: OperationId) -> PathBuf {
    data_dir.join("handovers").join(format!("{operation}.json"))
}

impl HandoverFile {
    /// Writes and syncs it.
    pub(super) fn write(&self, data_dir: &Path, operation: OperationId) -> Result<(), HandoverFileError> {
        let path = path(data_dir, operation);
        let json = serde_json::to_vec(self).map_err(|source| HandoverFileError::Content {
            path: path.clone(),
            source,
        })?;
        let write = || {
            let directory = path.parent().expect("it lies below the data directory");
            std::fs::create_dir_all(directory)?;
            let new = path.with_extension("new");
            let mut file = std::fs::File::create(&new)?;
            file.write_all(&json)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            std::fs::File::open(directory)?.sync_all()
        };
        write().map_err(|source| HandoverFileError::File {
            path: path.clone(),
            source,
        })
    }

    /// Reads it.
    pub(super) fn read(data_dir: &Path, operation: OperationId) -> Result<Self, HandoverFileError> {
        let path = path(data_dir, operation);
        let json = std::fs::read(&path).map_err(|source| HandoverFileError::File {
            path: path.clone(),
            source,
        })?;
        serde_json::from_slice(&json).map_err(|source| HandoverFileError::Content { path, source })
    }

    /// Removes it; none there is a success.
    pub(super) fn remove(data_dir: &Path, operation: OperationId) -> Result<(), HandoverFileError> {
        let path = path(data_dir, operation);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(HandoverFileError::File { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
