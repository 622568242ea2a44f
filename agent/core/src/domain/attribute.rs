//! Everything that is rendered into a domain's XML, as one closed list.

use super::metadata::xml_text;
use super::spec::DomainSpec;
use drover_types::{HypervisorType, PciAddress};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// libvirt takes a device that is the guest's from the host's driver when it starts the guest, and gives it back.
pub(super) const MANAGED: &str = "yes";

/// One rendered attribute of a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The domain's type.
    Hypervisor,
    /// Its name.
    Name,
    /// Its UUID.
    Uuid,
    /// Metadata: the fleet.
    Fleet,
    /// Metadata: the project.
    Project,
    /// Metadata: the server's id.
    ServerId,
    /// Metadata: the server's address.
    Address,
    /// Metadata: the epoch it is held under.
    Epoch,
    /// Metadata: the desired state it belongs to.
    Generation,
    /// Memory in KiB.
    MemoryKib,
    /// Memory left to the guest by the balloon, in KiB.
    CurrentMemoryKib,
    /// Virtual CPUs.
    Vcpus,
    /// Virtual CPUs that are plugged in.
    CurrentVcpus,
    /// The host's processors that all of them share.
    Cpuset,
    /// Where one of them runs, by its number.
    VcpuPin(u32),
    /// Where the emulator's own threads run.
    EmulatorPin,
    /// The host's cells in which the memory is.
    NumaMemory,
    /// The host's cell in which one of the guest's is, by its number.
    NumaNode(u32),
    /// The processors of one of the guest's cells.
    CellCpus(u32),
    /// The memory of one of the guest's cells, in KiB.
    CellMemoryKib(u32),
    /// The size in KiB of pages set apart, by the guest's cells that are in them.
    HugePages(String),
    /// Whether libvirt takes one of the host's PCI devices from the host's driver and gives it back.
    HostDevice(PciAddress),
    /// The kind of guest code.
    OsType,
    /// The architecture.
    Architecture,
    /// The machine type.
    Machine,
    /// What it boots from.
    Boot,
    /// A hypervisor feature, by name.
    Feature(String),
    /// How the CPU is chosen.
    CpuMode,
    /// How exactly it must match.
    CpuMatch,
    /// How libvirt checks it before the start; libvirt rewrites it in a running domain.
    CpuCheck,
    /// The CPU model.
    CpuModel,
    /// Whether another model may stand in.
    CpuFallback,
    /// A CPU feature, by name.
    CpuFeature(String),
    /// The clock's offset.
    Clock,
    /// What happens when the guest powers off.
    OnPoweroff,
    /// What happens when the guest reboots.
    OnReboot,
    /// What happens when the guest crashes.
    OnCrash,
    /// The emulator.
    Emulator,
    /// A part of a disk.
    Disk {
        /// The device in the guest.
        target: String,
        /// Which part.
        part: DiskPart,
    },
    /// The kind of the first serial port.
    ConsoleType,
    /// The file it is logged to.
    ConsoleLog,
    /// Whether the log is continued at a start.
    ConsoleAppend,
    /// The guest agent's channel.
    AgentChannel,
    /// The memory balloon.
    Balloon,
}

/// A rendered part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskPart {
    /// Disk, CD-ROM, ….
    Device,
    /// The file.
    File,
    /// The file's format.
    Format,
    /// What a guest's discard does.
    Discard,
    /// The bus.
    Bus,
}

impl Attribute {
    /// Whether libvirt keeps the attribute as it was given once the domain runs.
    #[must_use]
    pub fn is_kept_when_running(&self) -> bool {
        *self != Self::CpuCheck
    }

    /// Whether a running domain takes another value of it without a restart.
    #[must_use]
    pub const fn is_changed_live(&self) -> bool {
        match self {
            Self::Fleet | Self::Project | Self::ServerId | Self::Address | Self::Epoch | Self::Generation => {
                true
            }
            Self::Hypervisor
            | Self::Name
            | Self::Uuid
            | Self::MemoryKib
            | Self::CurrentMemoryKib
            | Self::Vcpus
            | Self::CurrentVcpus
            | Self::Cpuset
            | Self::VcpuPin(_)
            | Self::EmulatorPin
            | Self::NumaMemory
            | Self::NumaNode(_)
            | Self::CellCpus(_)
            | Self::CellMemoryKib(_)
            | Self::HugePages(_)
            | Self::HostDevice(_)
            | Self::OsType
            | Self::Architecture
            | Self::Machine
            | Self::Boot
            | Self::Feature(_)
            | Self::CpuMode
            | Self::CpuMatch
            | Self::CpuCheck
            | Self::CpuModel
            | Self::CpuFallback
            | Self::CpuFeature(_)
            | Self::Clock
            | Self::OnPoweroff
            | Self::OnReboot
            | Self::OnCrash
            | Self::Emulator
            | Self::Disk { .. }
            | Self::ConsoleType
            | Self::ConsoleLog
            | Self::ConsoleAppend
            | Self::AgentChannel
            | Self::Balloon => false,
        }
    }

    /// Whether one that we did not render is a change somebody made, rather than something libvirt adds.
    #[must_use]
    pub fn is_drift_when_added(&self) -> bool {
        match self {
            Self::Disk { part, .. } => match part {
                DiskPart::Device => true,
                // One line for an added disk says it all.
                DiskPart::File | DiskPart::Format | DiskPart::Discard | DiskPart::Bus => false,
            },
            // libvirt completes the CPU with what QEMU reports, and features with the machine type's.
            Self::CpuFeature(_) | Self::Feature(_) => false,
            Self::Hypervisor
            | Self::Name
            | Self::Uuid
            | Self::Fleet
            | Self::Project
            | Self::ServerId
            | Self::Address
            | Self::Epoch
            | Self::Generation
            | Self::MemoryKib
            | Self::CurrentMemoryKib
            | Self::Vcpus
            | Self::CurrentVcpus
            | Self::Cpuset
            | Self::VcpuPin(_)
            | Self::EmulatorPin
            | Self::NumaMemory
            | Self::NumaNode(_)
            | Self::CellCpus(_)
            | Self::CellMemoryKib(_)
            | Self::HugePages(_)
            | Self::HostDevice(_)
            | Self::OsType
            | Self::Architecture
            | Self::Machine
            | Self::Boot
            | Self::CpuMode
            | Self::CpuMatch
            | Self::CpuCheck
            | Self::CpuModel
            | Self::CpuFallback
            | Self::Clock
            | Self::OnPoweroff
            | Self::OnReboot
            | Self::OnCrash
            | Self::Emulator
            | Self::ConsoleType
            | Self::ConsoleLog
            | Self::ConsoleAppend
            | Self::AgentChannel
            | Self::Balloon => true,
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Hypervisor => "hypervisor_type",
            Self::Name => "name",
            Self::Uuid => "uuid",
            Self::Fleet => "metadata.fleet",
            Self::Project => "metadata.project",
            Self::ServerId => "metadata.id",
            Self::Address => "metadata.address",
            Self::Epoch => "metadata.epoch",
            Self::Generation => "metadata.generation",
            Self::MemoryKib => "memory_kib",
            Self::CurrentMemoryKib => "current_memory_kib",
            Self::Vcpus => "vcpus",
            Self::CurrentVcpus => "current_vcpus",
            Self::Cpuset => "vcpus.cpuset",
            Self::VcpuPin(number) => return write!(f, "cputune.vcpu.{number}"),
            Self::EmulatorPin => "cputune.emulator",
            Self::NumaMemory => "numatune.memory",
            Self::NumaNode(cell) => return write!(f, "numatune.cell.{cell}"),
            Self::CellCpus(cell) => return write!(f, "cpu.numa.{cell}.cpus"),
            Self::CellMemoryKib(cell) => return write!(f, "cpu.numa.{cell}.memory_kib"),
            Self::HugePages(cells) => return write!(f, "hugepages.{cells}"),
            Self::HostDevice(address) => return write!(f, "hostdev.{address}"),
            Self::OsType => "os.type",
            Self::Architecture => "os.architecture",
            Self::Machine => "os.machine",
            Self::Boot => "os.boot",
            Self::Feature(name) => return write!(f, "features.{name}"),
            Self::CpuMode => "cpu.mode",
            Self::CpuMatch => "cpu.match",
            Self::CpuCheck => "cpu.check",
            Self::CpuModel => "cpu.model",
            Self::CpuFallback => "cpu.fallback",
            Self::CpuFeature(name) => return write!(f, "cpu.feature.{name}"),
            Self::Clock => "clock",
            Self::OnPoweroff => "on_poweroff",
            Self::OnReboot => "on_reboot",
            Self::OnCrash => "on_crash",
            Self::Emulator => "emulator",
            Self::Disk { target, part } => {
                return write!(
                    f,
                    "disk.{target}.{}",
                    match part {
                        DiskPart::Device => "device",
                        DiskPart::File => "file",
                        DiskPart::Format => "format",
                        DiskPart::Discard => "discard",
                        DiskPart::Bus => "bus",
                    }
                );
            }
            Self::ConsoleType => "console.type",
            Self::ConsoleLog => "console.log",
            Self::ConsoleAppend => "console.append",
            Self::AgentChannel => "agent_channel",
            Self::Balloon => "balloon",
        };
        f.pad(word)
    }
}

/// The name of the guest agent's channel, as qemu-guest-agent expects it.
pub(super) const AGENT_CHANNEL: &str = "org.qemu.guest_agent.0";

/// How libvirt checks the CPU before the start: emulation has no host CPU to compare with.
pub(super) const fn cpu_check(hypervisor: HypervisorType) -> &'static str {
    match hypervisor {
        HypervisorType::Kvm => "partial",
        HypervisorType::Qemu => "none",
    }
}

/// The hypervisor features that are rendered for this architecture.
pub(super) const fn features(architecture: drover_types::Architecture) -> &'static [&'static str] {
    use drover_types::Architecture;
    match architecture {
        Architecture::I686 | Architecture::X86_64 => &["acpi", "apic"],
        Architecture::Aarch64 | Architecture::Ppc64le | Architecture::S390x | Architecture::Riscv64 => &[],
    }
}

/// Every attribute that [`super::render`] writes for this domain.
#[must_use]
pub fn attributes(spec: &DomainSpec) -> BTreeMap<Attribute, String> {
    let mut all = BTreeMap::new();
    let mut put = |attribute: Attribute, value: &dyn fmt::Display| {
        all.insert(attribute, value.to_string());
    };
    put(Attribute::Hypervisor, &spec.hypervisor);
    put(Attribute::Name, &spec.name);
    put(Attribute::Uuid, &spec.metadata.id);
    put(Attribute::Fleet, &spec.metadata.fleet);
    put(Attribute::Project, &spec.metadata.project);
    put(Attribute::ServerId, &spec.metadata.id);
    put(Attribute::Address, &xml_text(&spec.metadata.address.to_string()));
    put(Attribute::Epoch, &spec.metadata.epoch);
    put(Attribute::Generation, &spec.metadata.generation);
    put(Attribute::MemoryKib, &spec.memory_kib());
    put(Attribute::CurrentMemoryKib, &spec.memory_kib());
    put(Attribute::Vcpus, &spec.vcpus);
    put(Attribute::CurrentVcpus, &spec.vcpus);
    if let Some(cpuset) = &spec.place.cpuset {
        put(Attribute::Cpuset, cpuset);
    }
    for (number, cpus) in spec.place.pins() {
        put(Attribute::VcpuPin(number), cpus);
    }
    if !spec.place.cells.is_empty() {
        put(Attribute::EmulatorPin, &spec.place.emulator());
        put(Attribute::NumaMemory, &format!("strict {}", spec.place.nodes()));
    }
    for (number, cell) in (0..).zip(&spec.place.cells) {
        put(
            Attribute::NumaNode(number),
            &format!("strict {}", cell.taken.cell),
        );
        put(Attribute::CellCpus(number), &cell.guest_cpus());
        put(Attribute::CellMemoryKib(number), &cell.memory_kib());
    }
    for (size, cells) in spec.place.huge_pages() {
        put(Attribute::HugePages(cells.to_string()), &size);
    }
    for address in spec.place.pci_devices() {
        put(Attribute::HostDevice(address), &MANAGED);
    }
    put(Attribute::OsType, &"hvm");
    put(Attribute::Architecture, &spec.architecture);
    put(Attribute::Machine, &spec.machine);
    put(Attribute::Boot, &"hd");
    for name in features(spec.architecture) {
        put(Attribute::Feature((*name).to_owned()), &"on");
    }
    put(Attribute::CpuMode, &"custom");
    put(Attribute::CpuMatch, &"exact");
    put(Attribute::CpuCheck, &cpu_check(spec.hypervisor));
    put(Attribute::CpuModel, &spec.cpu.model);
    put(Attribute::CpuFallback, &"forbid");
    for feature in &spec.cpu.features {
        put(
            Attribute::CpuFeature(feature.name.to_string()),
            &feature.policy.as_str(),
        );
    }
    put(Attribute::Clock, &"utc");
    put(Attribute::OnPoweroff, &"destroy");
    put(Attribute::OnReboot, &"restart");
    put(Attribute::OnCrash, &spec.on_crash.as_str());
    put(Attribute::Emulator, &spec.emulator);
    for disk in &spec.disks {
        let part = |part| Attribute::Disk {
            target: disk.target.to_string(),
            part,
        };
        put(part(DiskPart::Device), &"disk");
        put(part(DiskPart::File), &disk.file);
        put(part(DiskPart::Format), &disk.format.as_str());
        put(part(DiskPart::Discard), &"unmap");
        put(part(DiskPart::Bus), &disk.bus.as_str());
    }
    put(Attribute::ConsoleType, &"pty");
    put(Attribute::ConsoleLog, &spec.console_log);
    put(Attribute::ConsoleAppend, &"on");
    put(Attribute::AgentChannel, &AGENT_CHANNEL);
    put(Attribute::Balloon, &"virtio");
    all
}
