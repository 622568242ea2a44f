//! The declared attributes of each kind of resource, as files give them and the store records them.

use drover_types::{Address, ByteSize, HostName, Sha256Digest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// A place in a configuration file, for messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceLocation {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Where an agent listens: a host name or IP address, and a port (7443 where none is given).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address of an agent; write \"host.example:7443\" or \"[2001:db8::1]:7443\"")]
pub struct EndpointError(String);

impl Endpoint {
    /// The port that an agent listens on where nothing else is said.
    pub const DEFAULT_PORT: u16 = 7443;
}

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let bad = || EndpointError(text.chars().take(200).collect());
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or_else(bad)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            (
                host,
                after
                    .strip_prefix(':')
                    .or(after.is_empty().then_some(""))
                    .ok_or_else(bad)?,
            )
        } else {
            text.split_once(':').unwrap_or((text, ""))
        };
        let name_fits = !host.is_empty()
            && host.len() <= 253
            && (host.contains(':')
                || host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'));
        if !name_fits {
            return Err(bad());
        }
        let port = if port.is_empty() {
            Self::DEFAULT_PORT
        } else {
            port.parse().map_err(|_| bad())?
        };
        if port == 0 {
            return Err(bad());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;
    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What may happen on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// Takes new servers and keeps those it has.
    #[default]
    Active,
    /// Keeps the servers it has and takes no new ones, as a disabled nova-compute service.
    Disabled,
    /// Takes no new servers and gives up those it has.
    Drain,
}

impl HostState {
    /// The word in files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Drain => "drain",
        }
    }
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A `host` block's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    /// Where its agent listens.
    pub address: Endpoint,
    /// The zone it is in; a host without one is in the scheduler's default zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// The operator's own marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What may happen on it.
    pub state: HostState,
    /// Names of attributes whose values are hidden in what people read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sensitive: BTreeSet<String>,
}

/// A `flavor` block's attributes: the size of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FlavorSpec {
    /// Virtual processors, at least 1.
    pub vcpus: u32,
    /// Memory.
    pub ram: ByteSize,
    /// Size of the root disk.
    pub disk: ByteSize,
    /// What the host must offer, with Nova's operators.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_specs: BTreeMap<String, String>,
    /// Names of attributes whose values are hidden in what people read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sensitive: BTreeSet<String>,
}

/// Where an image's content comes from: an `https`, `http` or `file` URL without credentials in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageSource(String);

/// Why a text is not the source of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageSourceError {
    /// Another scheme, or none.
    #[error("{0:?} is not a source of an image; write a URL with https://, http:// or file:///")]
    Scheme(String),
    /// A file URL that names a host or is not absolute.
    #[error("a file source needs an absolute path on the hosts: file:///images/debian.qcow2")]
    RelativeFile,
    /// A user name or password in the URL.
    #[error("a source must not hold a user name or password")]
    Credentials,
    /// White space or control characters.
    #[error("a source must not hold white space or control characters")]
    Characters,
    /// Longer than 2,048 bytes.
    #[error("a source has at most 2,048 bytes")]
    TooLong,
}

impl ImageSource {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageSource {
    type Err = ImageSourceError;
    fn from_str(text: &str) -> Result<Self, ImageSourceError> {
        if text.len() > 2048 {
            return Err(ImageSourceError::TooLong);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ImageSourceError::Characters);
        }
        if let Some(path) = text.strip_prefix("file://") {
            let absolute = path.starts_with('/') && !path.split('/').any(|part| part == "..");
            return absolute
                .then(|| Self(text.to_owned()))
                .ok_or(ImageSourceError::RelativeFile);
        }
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or_else(|| ImageSourceError::Scheme(text.chars().take(200).collect()))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if authority.contains('@') {
            return Err(ImageSourceError::Credentials);
        }
        if authority.is_empty() {
            return Err(ImageSourceError::Scheme(text.chars().take(200).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ImageSource {
    type Error = ImageSourceError;
    fn try_from(text: String) -> Result<Self, ImageSourceError> {
        text.parse()
    }
}

impl From<ImageSource> for String {
    fn from(source: ImageSource) -> String {
        source.0
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The format that a source's content has. It is given, or read from the header; never guessed by qemu-img.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// Plain sectors.
    Raw,
    /// QEMU copy on write, version 2 or 3.
    Qcow2,
    /// VMware.
    Vmdk,
    /// VirtualBox.
    Vdi,
    /// Virtual PC.
    Vpc,
}

impl ImageFormat {
    /// Every format, by qemu-img's names.
    pub const ALL: &'static [Self] = &[Self::Raw, Self::Qcow2, Self::Vmdk, Self::Vdi, Self::Vpc];

    /// qemu-img's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Vpc => "vpc",
        }
    }
}

/// An `image` block's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Where agents fetch it.
    pub source: ImageSource,
    /// The digest of the source's bytes.
    pub checksum: Sha256Digest,
    /// The format of the source's content, where the file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ImageFormat>,
    /// Nova's image properties: architecture, hypervisor type, VM mode and others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Names of attributes whose values are hidden in what people read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sensitive: BTreeSet<String>,
}

/// How members of a group relate, by Nova's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupPolicy {
    /// All on one host.
    Affinity,
    /// Each on a host of its own.
    AntiAffinity,
    /// Together where possible.
    SoftAffinity,
    /// Apart where possible.
    SoftAntiAffinity,
}

impl GroupPolicy {
    /// Every policy.
    pub const ALL: &'static [Self] = &[
        Self::Affinity,
        Self::AntiAffinity,
        Self::SoftAffinity,
        Self::SoftAntiAffinity,
    ];

    /// The word in files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Affinity => "affinity",
            Self::AntiAffinity => "anti-affinity",
            Self::SoftAffinity => "soft-affinity",
            Self::SoftAntiAffinity => "soft-anti-affinity",
        }
    }
}

/// A `group` block's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// How its members relate.
    pub policy: GroupPolicy,
    /// Under anti-affinity: how many members one host may hold.
    #[serde(default = "GroupSpec::one", skip_serializing_if = "GroupSpec::is_one")]
    pub max_server_per_host: u32,
}

impl GroupSpec {
    const fn one() -> u32 {
        1
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_one(number: &u32) -> bool {
        *number == 1
    }
}

/// An `aggregate` block's attributes: a set of hosts with metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregateSpec {
    /// Its hosts.
    pub hosts: BTreeSet<HostName>,
    /// What filters and weighers read, by Nova's keys; a value may list several, separated by commas.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Names of attributes whose values are hidden in what people read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sensitive: BTreeSet<String>,
}

/// Whether a server is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Running.
    #[default]
    On,
    /// Shut down, its disk kept.
    Off,
}

impl Power {
    /// The word in files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// The image that a server boots from, as it was declared when the server was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUse {
    /// The image block.
    pub address: Address,
    /// Its content; a change of this is a rebuild, a change of the source alone is none.
    pub checksum: Sha256Digest,
}

/// A `server` block's attributes for one instance, references resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// The name the guest and libvirt see: `name`, or label and instance key joined.
    pub name: String,
    /// The flavor block.
    pub flavor: Address,
    /// What the flavor says.
    pub size: FlavorSpec,
    /// The image it boots from; an imported server may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageUse>,
    /// The placement group it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Address>,
    /// The zone it must be in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// Whether it is to run.
    pub power: Power,
    /// The operator's own marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether a changed image may replace the root disk, losing what is on it.
    #[serde(default)]
    pub allow_rebuild: bool,
    /// Names of attributes whose values are hidden in what people read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sensitive: BTreeSet<String>,
    /// What it asks of the host's other servers and of the host's network, and what it is worth.
    #[serde(default, skip_serializing_if = "PlacementHints::is_empty")]
    pub hints: PlacementHints,
}

impl ServerSpec {
    /// The image block.
    #[must_use]
    pub fn image_address(&self) -> Option<&Address> {
        self.image.as_ref().map(|image| &image.address)
    }

    /// The image's content.
    #[must_use]
    pub fn image_checksum(&self) -> Option<Sha256Digest> {
        self.image.as_ref().map(|image| image.checksum)
    }
}

/// What Nova calls scheduler hints, and the order of servers that compete for room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementHints {
    /// On a host that holds one of these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub same_host: BTreeSet<Address>,
    /// On a host that holds none of these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub different_host: BTreeSet<Address>,
    /// On a host whose address is in this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<HostNetwork>,
    /// Higher is placed first.
    #[serde(default, skip_serializing_if = "PlacementHints::is_zero")]
    pub priority: i32,
}

impl PlacementHints {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_zero(number: &i32) -> bool {
        *number == 0
    }

    /// True where nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A network of hosts: `10.0.1.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostNetwork {
    /// An address in it.
    pub near: IpAddr,
    /// How many leading bits its addresses share.
    pub prefix: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network; write an address and a prefix: \"10.0.1.0/24\" or \"2001:db8::/64\"")]
pub struct HostNetworkError(String);

impl FromStr for HostNetwork {
    type Err = HostNetworkError;
    fn from_str(text: &str) -> Result<Self, HostNetworkError> {
        let bad = || HostNetworkError(text.chars().take(80).collect());
        let (near, prefix) = text.split_once('/').ok_or_else(bad)?;
        let near: IpAddr = near.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if prefix > if near.is_ipv4() { 32 } else { 128 } {
            return Err(bad());
        }
        Ok(Self { near, prefix })
    }
}

impl TryFrom<String> for HostNetwork {
    type Error = HostNetworkError;
    fn try_from(text: String) -> Result<Self, HostNetworkError> {
        text.parse()
    }
}

impl From<HostNetwork> for String {
    fn from(network: HostNetwork) -> String {
        network.to_string()
    }
}

impl fmt::Display for HostNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.near, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let read = |text: &str| text.parse::<Endpoint>().map(|e| e.to_string());
        assert_eq!(read("n1.example:7443").as_deref(), Ok("n1.example:7443"));
        assert_eq!(read("10.0.0.1").as_deref(), Ok("10.0.0.1:7443"));
        assert_eq!(read("[2001:db8::1]:80").as_deref(), Ok("[2001:db8::1]:80"));
        for bad in [
            "", ":1", "a:0", "a:70000", "a b", "[::1", "[x]:1", "a/b:1", "a:1:2",
        ] {
            assert!(read(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn image_sources() {
        let read = |text: &str| text.parse::<ImageSource>().map(|s| s.to_string());
        assert_eq!(read("file:///a/b.img").as_deref(), Ok("file:///a/b.img"));
        assert_eq!(read("https://x/y"), Ok("https://x/y".to_owned()));
        assert_eq!(read("file://a"), Err(ImageSourceError::RelativeFile));
        assert_eq!(read("file:///a/../b"), Err(ImageSourceError::RelativeFile));
        assert_eq!(read("https://u:p@x/y"), Err(ImageSourceError::Credentials));
        assert_eq!(
            read("https:///y"),
            Err(ImageSourceError::Scheme("https:///y".to_owned()))
        );
        assert_eq!(read("https://x/ y"), Err(ImageSourceError::Characters));
    }
}
