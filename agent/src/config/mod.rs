//! `agent.hcl`: what an agent is told about its host.

mod problem;
mod read;

pub use problem::{ConfigError, Problem};

use drover_agent_core::inventory::{CpuSets, PciRule};
use drover_proto::transport::CredentialFiles;
use drover_types::{ByteSize, FleetName, HostName, VirtType};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The agent's configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This host's name in the fleet.
    pub host: HostName,
    /// The fleet whose certificates are accepted.
    pub fleet: FleetName,
    /// Where the one port listens.
    pub listen: SocketAddr,
    /// Images, servers and the operation log live below it; absolute.
    pub data_dir: PathBuf,
    /// The hypervisor's address.
    pub libvirt_uri: String,
    /// The domain type of new servers.
    pub virt_type: VirtType,
    /// Certificate, key and authority.
    pub tls: CredentialFiles,
    /// What the host keeps for itself.
    pub reserved: Reserved,
    /// Which processors serve whom.
    pub cpus: CpuSets,
    /// Which PCI devices servers may be given; none: no device.
    pub pci_devices: Vec<PciRule>,
    /// Limits on fetching images.
    pub images: ImageLimits,
    /// How long running operations may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// How log lines are written.
    pub log_format: LogFormat,
}

/// What the host keeps for itself: it is reported, and never given to servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserved {
    /// Processors.
    pub vcpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// Disk below the data directory.
    pub disk: ByteSize,
}

/// Limits on fetching images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLimits {
    /// The largest source file.
    pub max_size: ByteSize,
    /// How long a connection to a source may take to be made.
    pub connect_timeout: Duration,
    /// How long a source may send nothing.
    pub stall_timeout: Duration,
    /// How long a whole fetch may take.
    pub total_timeout: Duration,
    /// The directories below which `file://` sources may lie; none: no such source.
    pub file_roots: Vec<PathBuf>,
    /// Authorities for `https://` sources beside the system's.
    pub extra_ca_file: Option<PathBuf>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `timestamp level module [request id] message`.
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Reads and checks the file. Relative paths in it are relative to its directory.
    ///
    /// # Errors
    /// Every mistake in it at once, each with its place; or that it cannot be read.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        read::config(file, &text)
    }

    /// The servers' directories: `<data_dir>/servers/<server id>`.
    #[must_use]
    pub fn servers_dir(&self) -> PathBuf {
        self.data_dir.join("servers")
    }

    /// The image cache.
    #[must_use]
    pub fn images_dir(&self) -> PathBuf {
        self.data_dir.join("images")
    }

    /// The operation log.
    #[must_use]
    pub fn operation_log(&self) -> PathBuf {
        self.data_dir.join("operations.log")
    }
}
