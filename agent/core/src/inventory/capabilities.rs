//! `virConnectGetCapabilities`: the host's CPU and NUMA cells, and the guests it can run.

use super::InventoryError;
use crate::domain::{HostPath, MachineType};
use crate::domain::{child, children, parse, root, text_of};
use drover_numa::{CpuSet, NumaCell, Pages};
use drover_types::{Architecture, HypervisorType};
use roxmltree::Node;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const DOCUMENT: &str = "capabilities";

/// What the host is and can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCapabilities {
    /// Its CPU, as far as libvirt knows it.
    pub cpu: HostCpu,
    /// Its NUMA cells, every processor for servers of both kinds; none where libvirt tells of none.
    pub cells: Vec<NumaCell>,
    /// What guests it can run, in libvirt's order.
    pub guests: Vec<GuestMode>,
}

/// The host's CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCpu {
    /// The architecture by libvirt's name; it need not be one that guests are made for.
    pub architecture: String,
    /// The nearest model that libvirt knows; none where it knows none.
    pub model: Option<String>,
    /// The vendor.
    pub vendor: Option<String>,
    /// Features beyond the model, sorted.
    pub features: Vec<String>,
}

/// One kind of guest that the host can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestMode {
    /// The triple that placement compares.
    pub guest: SupportedGuest,
    /// The emulator's binary.
    pub emulator: HostPath,
    /// Its machine types.
    pub machines: Vec<MachineAlias>,
}

/// A kind of guest as Nova's `supported_instances` has it: architecture, hypervisor type, VM mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SupportedGuest {
    /// The guest's architecture.
    pub architecture: Architecture,
    /// How it is executed.
    pub hypervisor: HypervisorType,
    /// How it meets the hypervisor.
    pub mode: VmMode,
}

/// How a guest meets the hypervisor, by Nova's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VmMode {
    /// Fully virtualised.
    Hvm,
}

impl VmMode {
    /// Nova's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hvm => "hvm",
        }
    }
}

/// A machine type, and the versioned one it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineAlias {
    /// The name, such as `q35`.
    pub name: MachineType,
    /// The versioned name, such as `pc-q35-10.0`; the same for one that is versioned.
    pub canonical: MachineType,
}

impl HostCapabilities {
    /// The triples, each once, sorted.
    #[must_use]
    pub fn supported_guests(&self) -> Vec<SupportedGuest> {
        let mut all: Vec<_> = self.guests.iter().map(|mode| mode.guest).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The entry for a kind of guest.
    #[must_use]
    pub fn mode(&self, architecture: Architecture, hypervisor: HypervisorType) -> Option<&GuestMode> {
        let wanted = |mode: &&GuestMode| {
            mode.guest.architecture == architecture && mode.guest.hypervisor == hypervisor
        };
        self.guests.iter().find(wanted)
    }
}

impl GuestMode {
    /// The versioned machine type to freeze into a new server.
    #[must_use]
    pub fn frozen_machine(&self) -> Option<&MachineType> {
        // The modern board where there is a choice; else the emulator's first.
        let preferred = match self.guest.architecture {
            Architecture::I686 => &["pc"][..],
            Architecture::X86_64 => &["q35", "pc"][..],
            Architecture::Aarch64 | Architecture::Riscv64 => &["virt"][..],
            Architecture::Ppc64le => &["pseries"][..],
            Architecture::S390x => &["s390-ccw-virtio"][..],
        };
        let named = |name: &&str| {
            self.machines
                .iter()
                .find(|machine| machine.name.as_str() == *name)
        };
        preferred
            .iter()
            .find_map(named)
            .or_else(|| self.machines.first())
            .map(|machine| &machine.canonical)
    }
}

/// Reads the document. Guests of architectures or kinds that we do not make are passed over.
///
/// # Errors
/// When it is no capabilities document or lacks the host's CPU.
pub fn capabilities(xml: &str) -> Result<HostCapabilities, InventoryError> {
    let unreadable = |source| InventoryError::Xml {
        document: DOCUMENT,
        source,
    };
    let missing = |part| InventoryError::Missing {
        document: DOCUMENT,
        part,
    };
    let document = parse(xml).map_err(unreadable)?;
    let all = root(&document, "capabilities").map_err(unreadable)?;
    let host = child(all, "host").ok_or(missing("<host>"))?;
    let cpu = child(host, "cpu").ok_or(missing("<cpu> of the host"))?;
    let text = |name| child(cpu, name).map(text_of).filter(|text| !text.is_empty());
    let mut features: Vec<String> = children(cpu, "feature")
        .filter_map(|feature| Some(feature.attribute("name")?.to_owned()))
        .collect();
    features.sort();
    let cells = child(host, "topology").and_then(|topology| child(topology, "cells"));
    let cells = cells.into_iter().flat_map(|cells| children(cells, "cell"));
    Ok(HostCapabilities {
        cpu: HostCpu {
            architecture: text("arch").ok_or(missing("<arch> of the host's CPU"))?,
            model: text("model"),
            vendor: text("vendor"),
            features,
        },
        cells: cells.filter_map(numa_cell).collect(),
        guests: children(all, "guest").flat_map(guest_modes).collect(),
    })
}

/// A cell whose number or memory cannot be read is none that servers are put in.
fn numa_cell(cell: Node<'_, '_>) -> Option<NumaCell> {
    let kib = |node: Node<'_, '_>| text_of(node).trim().parse::<u64>().ok();
    let listed = child(cell, "cpus");
    let listed = listed.into_iter().flat_map(|cpus| children(cpus, "cpu"));
    let mut cpus = BTreeSet::new();
    let mut siblings = BTreeSet::new();
    for cpu in listed {
        if let Some(number) = cpu.attribute("id").and_then(|id| id.parse().ok()) {
            cpus.insert(number);
        }
        let core = cpu.attribute("siblings").and_then(|text| text.parse().ok());
        if let Some(CpuSet(core)) = core.filter(|CpuSet(core)| core.len() > 1) {
            siblings.insert(core);
        }
    }
    let pages = children(cell, "pages").filter_map(|pages| {
        let size_kib = pages.attribute("size")?.parse().ok().filter(|size| *size > 0)?;
        Some(Pages::unused(size_kib, kib(pages)?))
    });
    Some(NumaCell {
        id: cell.attribute("id")?.parse().ok()?,
        dedicated_cpus: cpus.clone(),
        cpus,
        siblings: siblings.into_iter().collect(),
        memory_mib: kib(child(cell, "memory")?)? / 1024,
        pages: pages.collect(),
        ..NumaCell::default()
    })
}

fn guest_modes(guest: Node<'_, '_>) -> Vec<GuestMode> {
    let hvm = child(guest, "os_type").is_some_and(|kind| text_of(kind) == "hvm");
    let arch = child(guest, "arch");
    let known = arch
        .and_then(|arch| arch.attribute("name"))
        .and_then(|name| name.parse().ok());
    let (true, Some(arch), Some(architecture)) = (hvm, arch, known) else {
        return Vec::new();
    };
    let domain_modes = children(arch, "domain").filter_map(|domain| {
        // A domain type may name its own emulator and machines.
        let own = |name| {
            if child(domain, name).is_some() {
                domain
            } else {
                arch
            }
        };
        Some(GuestMode {
            guest: SupportedGuest {
                architecture,
                hypervisor: domain.attribute("type")?.parse().ok()?,
                mode: VmMode::Hvm,
            },
            emulator: text_of(child(own("emulator"), "emulator")?).parse().ok()?,
            machines: children(own("machine"), "machine").filter_map(machine).collect(),
        })
    });
    domain_modes.collect()
}

fn machine(node: Node<'_, '_>) -> Option<MachineAlias> {
    let name: MachineType = text_of(node).parse().ok()?;
    let canonical = match node.attribute("canonical") {
        Some(canonical) => canonical.parse().ok()?,
        None => name.clone(),
    };
    Some(MachineAlias { name, canonical })
}
