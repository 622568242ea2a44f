//! A server's directory, `<data_dir>/servers/<server id>`: overlay, console log, and the domain as it was
//! rendered. Files are replaced by rename after a sync, so that a reader finds the old or the new one.

use drover_agent_core::domain::{self, DomainSpec, ReadError};
use drover_types::{ServerId, Sha256Digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The format that this version writes.
const FORMAT: u32 = 1;

/// What an agent keeps of a server beside its disk: enough to define its domain again, and to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFile {
    /// The format of this record.
    pub format: u32,
    /// The domain.
    pub spec: DomainSpec,
    /// The image's checksum: its name in the cache.
    pub image: Sha256Digest,
    /// Digest of the base file under the overlay, as converted.
    pub base: Sha256Digest,
    /// Virtual size of the root disk, in bytes.
    pub disk_bytes: u64,
}

impl ServerFile {
    /// The record of a server in this version's format.
    #[must_use]
    pub const fn new(spec: DomainSpec, image: Sha256Digest, base: Sha256Digest, disk_bytes: u64) -> Self {
        Self {
            format: FORMAT,
            spec,
            image,
            base,
            disk_bytes,
        }
    }
}

/// Why a server's directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The file system refused.
    #[error("could not {attempt} {}", path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The record cannot be written or read as JSON.
    #[error("{} is no record of a server that this agent can read", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The definition in a record cannot be read.
    #[error("{} holds no definition of a domain that this agent can read", path.display())]
    Definition {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// The record comes from a later version.
    #[error("{} has format {found}, this agent reads up to {FORMAT}; upgrade it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// The directory of one server; it need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerDirectory {
    path: PathBuf,
}

impl ServerDirectory {
    /// The directory of this server below `servers`.
    #[must_use]
    pub fn new(servers: &Path, server: ServerId) -> Self {
        Self {
            path: servers.join(server.to_string()),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root disk's overlay.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.path.join("disk.qcow2")
    }

    /// What the guest wrote to its first serial port.
    #[must_use]
    pub fn console_log(&self) -> PathBuf {
        self.path.join("console.log")
    }

    fn record(&self) -> PathBuf {
        self.path.join("server.json")
    }

    /// Makes the directory, if it is not there, and an empty console log.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn make(&self) -> Result<(), DirectoryError> {
        std::fs::create_dir_all(&self.path).map_err(file("make", &self.path))?;
        let log = self.console_log();
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&log)
            .map_err(file("make", &log))?;
        self.path.parent().map_or(Ok(()), sync_directory)
    }

    /// Writes the server's record and its domain's XML, and syncs both.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, server: &ServerFile) -> Result<(), DirectoryError> {
        let record = self.record();
        let json = serde_json::to_vec_pretty(server).map_err(|source| DirectoryError::Record {
            path: record.clone(),
            source,
        })?;
        replace(
            &self.path.join("domain.xml"),
            domain::render(&server.spec).as_bytes(),
        )?;
        replace(&record, &json)?;
        sync_directory(&self.path)
    }

    /// The server's record; none where there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self) -> Result<Option<ServerFile>, DirectoryError> {
        read_record(&self.record(), FORMAT, |server: &ServerFile| server.format)
    }

    /// Removes the directory with everything in it; one that is not there is a success.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self) -> Result<(), DirectoryError> {
        match std::fs::remove_dir_all(&self.path) {
            Ok(()) => self.path.parent().map_or(Ok(()), sync_directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(file("remove", &self.path)(source)),
        }
    }
}

pub(super) fn file(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::File {
        attempt,
        path,
        source,
    }
}

fn replace(path: &Path, content: &[u8]) -> Result<(), DirectoryError> {
    replace_as(path, content, std::fs::OpenOptions::new())
}

/// The same for a file that only the agent's user may read.
pub(super) fn replace_private(path: &Path, content: &[u8]) -> Result<(), DirectoryError> {
    let mut options = std::fs::OpenOptions::new();
    options.mode(0o600);
    replace_as(path, content, options)
}

fn replace_as(path: &Path, content: &[u8], mut options: std::fs::OpenOptions) -> Result<(), DirectoryError> {
    let new = path.with_extension("new");
    let mut write = || {
        let mut opened = options.write(true).create(true).truncate(true).open(&new)?;
        opened.write_all(content)?;
        opened.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(file("write", path))
}

pub(super) fn sync_directory(path: &Path) -> Result<(), DirectoryError> {
    std::fs::File::open(path)
        .and_then(|opened| opened.sync_all())
        .map_err(file("sync", path))
}
/// A record as JSON; none where there is none.
///
/// # Errors
/// When it is there and cannot be read, or is of a later format than `newest`.
pub(super) fn read_record<T: DeserializeOwned>(
    path: &Path,
    newest: u32,
    format: impl FnOnce(&T) -> u32,
) -> Result<Option<T>, DirectoryError> {
    let json = match std::fs::read(path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(file("read", path)(source)),
    };
    let path = path.to_owned();
    let record = match serde_json::from_slice(&json) {
        Ok(record) => record,
        Err(source) => return Err(DirectoryError::Record { path, source }),
    };
    let found = format(&record);
    if found > newest {
        return Err(DirectoryError::Format { path, found });
    }
    Ok(Some(record))
}
