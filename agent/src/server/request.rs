//! What a request wants a server to be, parsed into checked values.

use drover_agent_core::domain::{
    Attribute, CpuFeature, DeviceWish, FeaturePolicy, FrozenCpu, MachineType, ReadError, read_back,
};
use drover_agent_core::power::WantedPower;
use drover_numa::{GuestCell, NumaLimits};
use drover_proto::field::{self, FieldError};
use drover_proto::v1;
use drover_types::{
    Address, Architecture, ByteSize, FleetName, Generation, HypervisorType, PciKind, ProjectName, Ratio,
    ServerId, Sha256Digest,
};
use std::num::NonZeroU32;

/// A server as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WantedServer {
    /// The fleet.
    pub fleet: FleetName,
    /// The project.
    pub project: ProjectName,
    /// Its id.
    pub id: ServerId,
    /// Where it is declared.
    pub address: Address,
    /// The desired state that this belongs to.
    pub generation: Generation,
    /// Virtual CPUs.
    pub vcpus: NonZeroU32,
    /// Memory.
    pub memory: ByteSize,
    /// Virtual size of the root disk, in bytes.
    pub disk_bytes: u64,
    /// The image, as the cache is asked for it, and its checksum; none of a server that was taken over.
    pub image: Option<(v1::Image, Sha256Digest)>,
    /// On or off.
    pub power: WantedPower,
    /// What was frozen when it was created; none on first creation.
    pub frozen: Option<Frozen>,
    /// The architecture that the image asks for.
    pub architecture: Option<Architecture>,
    /// Its NUMA cells; none where it does not care.
    pub cells: Vec<GuestCell>,
    /// How often what the servers of a cell share may be promised.
    pub limits: NumaLimits,
    /// Its PCI devices.
    pub devices: Vec<DeviceWish>,
}

/// What is resolved when a server is created, and decides every later migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// The machine type.
    pub machine: MachineType,
    /// The CPU.
    pub cpu: FrozenCpu,
    /// The domain type.
    pub hypervisor: HypervisorType,
    /// The architecture.
    pub architecture: Architecture,
    /// Digest of the base file, as converted.
    pub base: Sha256Digest,
}

/// Why a frozen CPU does not read.
#[derive(Debug, thiserror::Error)]
enum CpuError {
    #[error("it is no <cpu> element")]
    Xml(#[source] ReadError),
    #[error("it names no model")]
    NoModel,
    #[error("the feature {0} has no policy that a frozen CPU has")]
    Policy(String),
    #[error("it names something that libvirt has no such name for")]
    Word(#[source] drover_agent_core::domain::WordError),
}

/// A number of vCPUs must be above 0.
#[derive(Debug, thiserror::Error)]
#[error("a server has at least one virtual CPU")]
struct NoVcpu;

fn bad(field: &'static str) -> impl Fn(CpuError) -> FieldError {
    move |source| FieldError {
        field,
        source: Box::new(source),
    }
}

/// `on` or `off`.
///
/// # Errors
/// For any other word.
pub(crate) fn power(word: &str) -> Result<WantedPower, FieldError> {
    #[derive(Debug, thiserror::Error)]
    #[error("{0:?} is not a wanted power state; use on or off")]
    struct UnknownPower(String);
    match word {
        "on" => Ok(WantedPower::On),
        "off" => Ok(WantedPower::Off),
        other => {
            let source = Box::new(UnknownPower(other.chars().take(40).collect()));
            Err(FieldError {
                field: "power",
                source,
            })
        }
    }
}

impl WantedServer {
    /// Parses a request's server.
    ///
    /// # Errors
    /// The first field that does not hold what it must.
    pub(crate) fn parse(
        fleet: FleetName,
        project: ProjectName,
        server: v1::Server,
    ) -> Result<Self, FieldError> {
        let vcpus = NonZeroU32::new(server.vcpus).ok_or_else(|| FieldError {
            field: "server.vcpus",
            source: Box::new(NoVcpu),
        })?;
        let architecture = server.image_properties.get("hw_architecture");
        let (cells, limits) = cells(&server)?;
        let devices = server.devices.iter().map(devices).collect::<Result<_, _>>()?;
        Ok(Self {
            fleet,
            project,
            id: field::parse("server.server_id", &server.server_id)?,
            address: field::parse("server.address", &server.address)?,
            generation: Generation::new(server.generation),
            vcpus,
            memory: ByteSize::from_mib(server.ram_mib),
            disk_bytes: server.disk_bytes,
            image: server
                .image
                .map(|image| {
                    field::parse("server.image.checksum", &image.checksum).map(|checksum| (image, checksum))
                })
                .transpose()?,
            power: power(&server.power)?,
            frozen: server.frozen.as_ref().map(Frozen::parse).transpose()?,
            architecture: match architecture {
                Some(word) => field::parse_optional("server.image_properties.hw_architecture", word)?,
                None => None,
            },
            cells,
            limits,
            devices,
        })
    }
}

/// Why devices are none that could be given.
#[derive(Debug, thiserror::Error)]
#[error("at least one device of at least one kind must be asked for")]
struct NoDevice;

fn devices(wire: &v1::DeviceRequest) -> Result<DeviceWish, FieldError> {
    if wire.count == 0 || wire.kinds.is_empty() {
        return Err(FieldError {
            field: "server.devices",
            source: Box::new(NoDevice),
        });
    }
    let kind = |wire: &v1::PciKind| {
        Ok(PciKind {
            vendor_id: field::parse("server.devices.vendor_id", &wire.vendor_id)?,
            product_id: field::parse("server.devices.product_id", &wire.product_id)?,
        })
    };
    Ok(DeviceWish {
        alias: wire.alias.clone(),
        count: wire.count,
        kinds: wire.kinds.iter().map(kind).collect::<Result<_, FieldError>>()?,
    })
}

/// Why cells make no guest.
#[derive(Debug, thiserror::Error)]
#[error("the cells must have each of the server's processors once, some memory each, and its memory in all")]
struct NoGuest;

fn cells(server: &v1::Server) -> Result<(Vec<GuestCell>, NumaLimits), FieldError> {
    let no_guest = || FieldError {
        field: "server.cells",
        source: Box::new(NoGuest),
    };
    if server.cells.is_empty() {
        let (cpu_ratio, ram_ratio) = (Ratio::ONE, Ratio::ONE);
        let limits = NumaLimits { cpu_ratio, ram_ratio };
        return Ok((Vec::new(), limits));
    }
    let ratio = |field, number: f64| {
        Ratio::try_from(number).map_err(|source| FieldError {
            field,
            source: Box::new(source),
        })
    };
    let limits = NumaLimits {
        cpu_ratio: ratio("server.cpu_allocation_ratio", server.cpu_allocation_ratio)?,
        ram_ratio: ratio("server.ram_allocation_ratio", server.ram_allocation_ratio)?,
    };
    let mut cells = Vec::new();
    let (mut cpus, mut memory_mib) = (Vec::<u32>::new(), 0_u64);
    for cell in &server.cells {
        if cell.cpus.is_empty() || cell.memory_mib == 0 {
            return Err(no_guest());
        }
        cpus.extend(&cell.cpus);
        memory_mib = memory_mib.saturating_add(cell.memory_mib);
        cells.push(GuestCell {
            vcpus: cell.cpus.len() as u64,
            numbers: cell.cpus.clone(),
            memory_mib: cell.memory_mib,
            policy: field::parse("server.cells.cpu_policy", &cell.cpu_policy)?,
            threads: field::parse("server.cells.thread_policy", &cell.thread_policy)?,
            page: field::parse_optional("server.cells.page_size", &cell.page_size)?,
        });
    }
    cpus.sort_unstable();
    if !cpus.into_iter().eq(0..server.vcpus) || memory_mib != server.ram_mib {
        return Err(no_guest());
    }
    Ok((cells, limits))
}

impl WantedServer {
    /// The image that a server is made from, and its checksum.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn made_from(&self) -> Result<(&v1::Image, Sha256Digest), FieldError> {
        #[derive(Debug, thiserror::Error)]
        #[error("a server is made from an image")]
        struct NoImage;
        let (image, checksum) = self.image.as_ref().ok_or_else(|| FieldError {
            field: "server.image",
            source: Box::new(NoImage),
        })?;
        Ok((image, *checksum))
    }
}

impl Frozen {
    /// Parses what travels with a server.
    ///
    /// # Errors
    /// The first field that does not hold what it must.
    pub(crate) fn parse(frozen: &v1::FrozenGuest) -> Result<Self, FieldError> {
        Ok(Self {
            machine: field::parse("frozen.machine", &frozen.machine)?,
            cpu: read_cpu(&frozen.cpu_xml).map_err(bad("frozen.cpu_xml"))?,
            hypervisor: field::parse("frozen.hypervisor_type", &frozen.hypervisor_type)?,
            architecture: field::parse("frozen.arch", &frozen.arch)?,
            base: field::parse("frozen.base_digest", &frozen.base_digest)?,
        })
    }

    /// As it travels with a server.
    #[must_use]
    pub(crate) fn to_wire(&self) -> v1::FrozenGuest {
        v1::FrozenGuest {
            machine: self.machine.to_string(),
            cpu_xml: cpu_xml(&self.cpu),
            hypervisor_type: self.hypervisor.to_string(),
            arch: self.architecture.to_string(),
            base_digest: self.base.to_string(),
        }
    }
}

/// A frozen CPU as a `<cpu>` element. Its words hold no character that XML would need escaped.
#[must_use]
pub(crate) fn cpu_xml(cpu: &FrozenCpu) -> String {
    let features: String = cpu
        .features
        .iter()
        .map(|feature| {
            format!(
                "<feature policy='{}' name='{}'/>",
                feature.policy.as_str(),
                feature.name
            )
        })
        .collect();
    format!(
        "<cpu mode='custom' match='exact'><model fallback='forbid'>{}</model>{features}</cpu>",
        cpu.model
    )
}

fn read_cpu(xml: &str) -> Result<FrozenCpu, CpuError> {
    let attributes = read_back(&format!("<domain>{xml}</domain>")).map_err(CpuError::Xml)?;
    let model = attributes.get(&Attribute::CpuModel).ok_or(CpuError::NoModel)?;
    let mut cpu = FrozenCpu {
        model: model.parse().map_err(CpuError::Word)?,
        features: Vec::new(),
    };
    for (attribute, value) in &attributes {
        if let Attribute::CpuFeature(name) = attribute {
            let policy = [FeaturePolicy::Require, FeaturePolicy::Disable]
                .into_iter()
                .find(|policy| policy.as_str() == value)
                .ok_or_else(|| CpuError::Policy(name.chars().take(80).collect()))?;
            cpu.features.push(CpuFeature {
                name: name.parse().map_err(CpuError::Word)?,
                policy,
            });
        }
    }
    cpu.features.sort();
    Ok(cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_cpu_survives_the_wire() {
        let feature = |name: &str, policy| CpuFeature {
            name: name.parse().expect("a word"),
            policy,
        };
        let cpu = FrozenCpu {
            model: "EPYC-Rome".parse().expect("a word"),
            features: vec![
                feature("svm", FeaturePolicy::Disable),
                feature("x2apic", FeaturePolicy::Require),
            ],
        };
        let xml = cpu_xml(&cpu);
        assert_eq!(
            xml,
            "<cpu mode='custom' match='exact'><model fallback='forbid'>EPYC-Rome</model>\
             <feature policy='disable' name='svm'/><feature policy='require' name='x2apic'/></cpu>"
        );
        assert_eq!(read_cpu(&xml).expect("readable"), cpu);
        assert!(matches!(read_cpu("<cpu/>"), Err(CpuError::NoModel)));
        assert!(matches!(read_cpu("<cpu"), Err(CpuError::Xml(_))));
        assert!(power("maybe").is_err());
    }
}
