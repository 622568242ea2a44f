//! As Nova's ComputeCapabilitiesFilter: the host's facts meet the flavor's extra specs.

use super::super::config::Profile;
use super::super::input::Host;
use super::super::matching::{matches, python_json, python_text};
use super::{Ask, Rejection, Unmet};
use serde_json::Value;
use std::borrow::Cow;

/// A flavor's wish that newer Novas compare with the processor's facts.
const ADDRESS_BITS: &str = "hw:maxphysaddr_bits";

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let specs = &ask.request.needs.extra_specs;
    let bits = match ask.fixed.config.profile {
        Profile::Legacy => None,
        Profile::Modern => specs.get(ADDRESS_BITS),
    };
    let bits = bits.and_then(|bits| compare(ask, "cpu_info:maxphysaddr:bits", &format!(">= {bits}")));
    let others = specs.iter().filter_map(|(key, requirement)| {
        let path = path_of(&ask.facts.host, key)?;
        compare(ask, path, requirement)
    });
    Unmet::none_of(bits.into_iter().chain(others), |unmet| Rejection::Capability {
        unmet,
    })
}

/// `None` where the host's fact meets the requirement.
fn compare(ask: &Ask<'_>, path: &str, requirement: &str) -> Option<Unmet> {
    let found = look_up(ask, path).map(|value| python_text(&value));
    let met = found.as_deref().is_some_and(|found| matches(found, requirement));
    (!met).then(|| Unmet {
        key: path.to_owned(),
        wanted: requirement.to_owned(),
        found: found.into_iter().collect(),
    })
}

/// The path to look up, or `None` when the key is not this filter's business.
fn path_of<'k>(host: &Host, key: &'k str) -> Option<&'k str> {
    match key.split_once(':') {
        Some(("capabilities", path)) => Some(path),
        Some(_) => None,
        None => (Attribute::named(key).is_some() || host.stats.contains_key(key)).then_some(key),
    }
}

/// Whether the answer to this extra spec changes when servers are placed.
pub(crate) fn depends_on_usage(key: &str) -> bool {
    let path = key.strip_prefix("capabilities:").unwrap_or(key);
    Attribute::named(path.split(':').next().unwrap_or(path)).is_some_and(Attribute::changes)
}

/// The attributes of Nova's HostState that an extra spec may name.
#[derive(Clone, Copy)]
enum Attribute {
    FreeRamMb,
    FreeDiskMb,
    TotalUsableRamMb,
    TotalUsableDiskGb,
    VcpusTotal,
    VcpusUsed,
    NumInstances,
    NumIoOps,
    HostName,
    HypervisorType,
    HypervisorVersion,
    CpuInfo,
    SupportedInstances,
    FailedBuilds,
    CpuRatio,
    RamRatio,
    DiskRatio,
    Stats,
}

impl Attribute {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "free_ram_mb" => Self::FreeRamMb,
            "free_disk_mb" => Self::FreeDiskMb,
            "total_usable_ram_mb" => Self::TotalUsableRamMb,
            "total_usable_disk_gb" => Self::TotalUsableDiskGb,
            "vcpus_total" => Self::VcpusTotal,
            "vcpus_used" => Self::VcpusUsed,
            "num_instances" => Self::NumInstances,
            "num_io_ops" => Self::NumIoOps,
            "host" | "nodename" | "hypervisor_hostname" => Self::HostName,
            "hypervisor_type" => Self::HypervisorType,
            "hypervisor_version" => Self::HypervisorVersion,
            "cpu_info" => Self::CpuInfo,
            "supported_instances" => Self::SupportedInstances,
            "failed_builds" => Self::FailedBuilds,
            "cpu_allocation_ratio" => Self::CpuRatio,
            "ram_allocation_ratio" => Self::RamRatio,
            "disk_allocation_ratio" => Self::DiskRatio,
            "stats" => Self::Stats,
            _ => return None,
        })
    }

    const fn changes(self) -> bool {
        match self {
            Self::FreeRamMb | Self::FreeDiskMb | Self::VcpusUsed | Self::NumInstances | Self::NumIoOps => {
                true
            }
            Self::TotalUsableRamMb
            | Self::TotalUsableDiskGb
            | Self::VcpusTotal
            | Self::HostName
            | Self::HypervisorType
            | Self::HypervisorVersion
            | Self::CpuInfo
            | Self::SupportedInstances
            | Self::FailedBuilds
            | Self::CpuRatio
            | Self::RamRatio
            | Self::DiskRatio
            | Self::Stats => false,
        }
    }

    fn value<'h>(self, ask: &Ask<'h>) -> Option<Cow<'h, Value>> {
        let (host, usage) = (&ask.facts.host, ask.usage);
        let value = match self {
            Self::FreeRamMb => Value::from(usage.free_ram_mib),
            Self::FreeDiskMb => Value::from(usage.free_disk_mib),
            Self::TotalUsableRamMb => Value::from(host.capacity.ram_mib),
            Self::TotalUsableDiskGb => Value::from(host.capacity.disk_mib / 1024),
            Self::VcpusTotal => Value::from(host.capacity.vcpus),
            Self::VcpusUsed => Value::from(usage.vcpus_used),
            Self::NumInstances => Value::from(usage.instances),
            Self::NumIoOps => Value::from(usage.io_ops),
            Self::HostName => Value::from(host.name.as_str()),
            Self::HypervisorType => Value::from(host.hypervisor.kind.as_str()),
            Self::HypervisorVersion => Value::from(host.hypervisor.version),
            Self::CpuInfo => return host.cpu_info.as_ref().map(Cow::Borrowed),
            Self::SupportedInstances => Value::from_iter(
                host.supported
                    .iter()
                    .map(|kind| Value::from_iter(<[String; 3]>::from(kind.clone()))),
            ),
            Self::FailedBuilds => Value::from(host.failed_builds),
            Self::CpuRatio => Value::from(host.ratios.cpu.get()),
            Self::RamRatio => Value::from(host.ratios.ram.get()),
            Self::DiskRatio => Value::from(host.ratios.disk.get()),
            Self::Stats => {
                let stats = host.stats.iter();
                Value::from_iter(stats.map(|(name, text)| (name.clone(), Value::from(text.as_str()))))
            }
        };
        Some(Cow::Owned(value))
    }
}

/// First part: an attribute or a stat; further parts descend into JSON, also into JSON inside a string. As a whole
/// the processor is the text that Nova keeps of it.
fn look_up<'h>(ask: &Ask<'h>, path: &str) -> Option<Cow<'h, Value>> {
    let mut parts = path.split(':');
    let first = parts.next().unwrap_or(path);
    let stat = || {
        ask.facts
            .host
            .stats
            .get(first)
            .map(|text| Cow::Owned(Value::from(text.as_str())))
    };
    if let ("cpu_info", Some(whole)) = (path, &ask.facts.host.cpu_info) {
        let text = if whole.is_string() {
            whole.clone()
        } else {
            Value::from(python_json(whole))
        };
        return Some(Cow::Owned(text));
    }
    let mut value = Attribute::named(first)
        .and_then(|attribute| attribute.value(ask))
        .or_else(stat)?;
    for part in parts {
        if let Value::String(text) = value.as_ref() {
            value = Cow::Owned(serde_json::from_str(text).ok()?);
        }
        value = match value {
            Cow::Borrowed(Value::Object(entries)) => Cow::Borrowed(entries.get(part)?),
            Cow::Owned(Value::Object(mut entries)) => Cow::Owned(entries.shift_remove(part)?),
            Cow::Borrowed(_) | Cow::Owned(_) => return None,
        };
    }
    (!value.is_null()).then_some(value)
}
