//! What a server's domain shall be: the planner's request with everything that the agent resolved. How it
//! is written is `render`'s.

use super::metadata::DomainMetadata;
use super::place::GuestPlace;
use drover_types::{Address, Architecture, ByteSize, HypervisorType, ServerId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// A server's domain. Frozen parts (machine type, CPU) are chosen once, when the server is created, and
/// travel with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSpec {
    /// The domain's name.
    pub name: DomainName,
    /// The server's id, which is the domain's UUID, and whose it is.
    pub metadata: DomainMetadata,
    /// Memory; rendered in whole KiB, rounded up.
    pub memory: ByteSize,
    /// Virtual CPUs.
    pub vcpus: NonZeroU32,
    /// Hardware virtualisation or emulation.
    pub hypervisor: HypervisorType,
    /// The guest's architecture.
    pub architecture: Architecture,
    /// The machine type in its versioned form, frozen.
    pub machine: MachineType,
    /// The CPU, frozen.
    pub cpu: FrozenCpu,
    /// The emulator's binary on this host.
    pub emulator: HostPath,
    /// The disks, the root disk first.
    pub disks: Vec<DiskSpec>,
    /// The file that the first serial port is logged to.
    pub console_log: HostPath,
    /// What happens when the guest crashes.
    pub on_crash: OnCrash,
    /// Where its processors and memory are.
    #[serde(default, skip_serializing_if = "GuestPlace::is_anywhere")]
    pub place: GuestPlace,
}

impl DomainSpec {
    /// The server's id.
    #[must_use]
    pub const fn id(&self) -> ServerId {
        self.metadata.id
    }

    /// Memory in KiB, as rendered.
    #[must_use]
    pub const fn memory_kib(&self) -> u64 {
        self.memory.bytes().div_ceil(1024)
    }
}

/// A domain's name on its host: letters, digits, `-`, `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DomainName(String);

/// Longest readable part of a domain's name, in characters.
const READABLE: usize = 40;

impl DomainName {
    /// `drover-`, the address in plain characters, and the first eight digits of the id, which make it unique.
    #[must_use]
    pub fn derive(address: &Address, id: ServerId) -> Self {
        let mut readable = String::new();
        let text = address.to_string();
        for character in text.strip_prefix("server.").unwrap_or(&text).chars() {
            let plain = character.is_ascii_alphanumeric() || character == '_';
            if plain {
                readable.push(character);
            } else if !readable.is_empty() && !readable.ends_with('-') {
                readable.push('-');
            }
        }
        let readable: String = readable.chars().take(READABLE).collect();
        let id: String = id.to_string().chars().take(8).collect();
        Self(format!("drover-{}-{id}", readable.trim_end_matches('-')))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A name from libvirt's vocabulary: a CPU model, a CPU feature, a machine type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word(String);

/// A machine type.
pub type MachineType = Word;

/// Why a text is none of libvirt's names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no CPU model, feature or machine type: 1 to 128 letters, digits, '.', '_', '+', '-' are")]
pub struct WordError(String);

impl Word {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
        if text.is_empty() || text.len() > 128 || !text.chars().all(allowed) {
            return Err(WordError(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Word {
    type Error = WordError;
    fn try_from(text: String) -> Result<Self, WordError> {
        text.parse()
    }
}

impl From<Word> for String {
    fn from(word: Word) -> String {
        word.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An absolute path on a host, without `..` and without characters that XML cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPath(String);

/// Why a text is no path that a domain may name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostPathError {
    /// Not from the root.
    #[error("{0:?} is not an absolute path; begin with '/'")]
    Relative(String),
    /// It climbs, or has an empty part.
    #[error("{0:?} holds \"..\", \".\" or an empty part; write the plain path")]
    NotPlain(String),
    /// Control characters, or what XML cannot carry.
    #[error("{0:?} holds a character that libvirt's XML cannot carry; rename the file or directory")]
    Character(String),
    /// Too long.
    #[error("a path has at most 4095 bytes, this one has {0}")]
    TooLong(usize),
}

impl HostPath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostPath {
    type Err = HostPathError;
    fn from_str(text: &str) -> Result<Self, HostPathError> {
        let shown = || text.chars().take(200).collect();
        if text.len() > 4095 {
            return Err(HostPathError::TooLong(text.len()));
        }
        let Some(parts) = text.strip_prefix('/') else {
            return Err(HostPathError::Relative(shown()));
        };
        if parts.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(HostPathError::NotPlain(shown()));
        }
        if text
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
        {
            return Err(HostPathError::Character(shown()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for HostPath {
    type Error = HostPathError;
    fn try_from(text: String) -> Result<Self, HostPathError> {
        text.parse()
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> String {
        path.0
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A CPU as it was when the server was created: a named model and what differs from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenCpu {
    /// The model, by libvirt's name.
    pub model: Word,
    /// Features beyond or short of the model, in the order of their names, each once.
    pub features: Vec<CpuFeature>,
}

/// A CPU feature beyond or short of the model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CpuFeature {
    /// Its name.
    pub name: Word,
    /// Whether the guest has it.
    pub policy: FeaturePolicy,
}

/// Whether the guest has a CPU feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeaturePolicy {
    /// It has.
    Require,
    /// It has not.
    Disable,
}

impl FeaturePolicy {
    /// libvirt's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Disable => "disable",
        }
    }
}

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// The device in the guest.
    pub target: DiskTarget,
    /// The file on the host: the server's overlay.
    pub file: HostPath,
    /// The file's format, always given, never probed.
    pub format: DiskFormat,
    /// How the guest sees it.
    pub bus: DiskBus,
}

/// Which disk of the guest: `vda`, `vdb`, ….
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiskTarget(u8);

impl DiskTarget {
    /// The root disk, `vda`.
    pub const ROOT: Self = Self(0);

    /// The disk with this number, from 0; `None` above 25 (`vdz`).
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 26 { Some(Self(number)) } else { None }
    }
}

impl fmt::Display for DiskTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A log may hold any number; beyond the alphabet libvirt refuses the name.
        write!(f, "vd{}", char::from(b'a'.saturating_add(self.0)))
    }
}

/// A disk file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    /// QEMU's copy-on-write format.
    Qcow2,
    /// Plain bytes.
    Raw,
}

impl DiskFormat {
    /// libvirt's and qemu-img's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// How a guest sees a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskBus {
    /// As a virtio block device.
    Virtio,
}

impl DiskBus {
    /// libvirt's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
        }
    }
}

/// What happens when a guest crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCrash {
    /// The domain is ended.
    Destroy,
    /// It is started again.
    Restart,
    /// It is kept for a look.
    Preserve,
}

impl OnCrash {
    /// libvirt's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Restart => "restart",
            Self::Preserve => "preserve",
        }
    }
}
