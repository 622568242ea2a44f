//! What the host can run: read once per connection to libvirt and kept, since libvirt probes QEMU for it.

use crate::hypervisor::{HostDescription, HypervisorError, HypervisorThreads};
use crate::inventory::virt_type::{self, VirtTypeError};
use drover_agent_core::domain::HostPath;
use drover_agent_core::inventory::{
    CpuSets, DomainCapabilities, GuestMode, HostCapabilities, InventoryError, PciRule, UnknownCpus,
    allowed_devices, capabilities, domain_capabilities,
};
use drover_numa::{NumaCell, PciDevice};
use drover_types::{Architecture, HypervisorType, UnknownWord, VirtType};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Why the host's profile is not known.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// libvirt did not answer, or refused.
    #[error("could not read what this host can run")]
    Hypervisor(#[source] HypervisorError),
    /// What libvirt said does not read.
    #[error("could not understand what libvirt says of this host")]
    Description(#[source] InventoryError),
    /// The host's architecture is none that guests are made for.
    #[error("this host's architecture is none that servers can have")]
    Architecture(#[source] UnknownWord),
    /// There is no emulator for the host's own architecture and domain type.
    #[error("libvirt knows no {hypervisor} emulator for {architecture} guests here; install qemu-system")]
    NoEmulator {
        /// The domain type.
        hypervisor: HypervisorType,
        /// The architecture.
        architecture: Architecture,
    },
    /// The settings divide processors that the host does not have.
    #[error("the processors of this host could not be divided; correct the agent's configuration")]
    Cpus(#[source] UnknownCpus),
    /// `virt_type = "auto"` could not be resolved.
    #[error("could not find out whether KVM works here; set virt_type to \"kvm\" or \"qemu\"")]
    VirtType(#[source] VirtTypeError),
}

/// What the host can run, and how new servers are run.
#[derive(Debug, Clone)]
pub struct Profile {
    /// libvirt's own description.
    pub description: HostDescription,
    /// The description, read.
    pub capabilities: HostCapabilities,
    /// The host's architecture: that of new servers whose image asks for none.
    pub architecture: Architecture,
    /// The domain type of new servers.
    pub hypervisor: HypervisorType,
    /// The CPUs that each architecture's guests of that domain type can have.
    pub cpus: BTreeMap<Architecture, DomainCapabilities>,
    /// NUMA cells, their processors divided as the settings say.
    pub cells: Vec<NumaCell>,
    /// PCI devices that servers may be given.
    pub pci_devices: Vec<PciDevice>,
}

impl Profile {
    /// The emulator and machines for guests of an architecture, under the domain type of new servers.
    ///
    /// # Errors
    /// When the host has none.
    pub fn mode(&self, architecture: Architecture) -> Result<&GuestMode, ProfileError> {
        let hypervisor = self.hypervisor;
        self.capabilities
            .mode(architecture, hypervisor)
            .ok_or(ProfileError::NoEmulator {
                hypervisor,
                architecture,
            })
    }
}

/// The host's profile, kept until libvirt describes another host (it was upgraded, or QEMU was).
#[derive(Debug)]
pub struct Profiles {
    virt_type: VirtType,
    data_dir: PathBuf,
    cpus: CpuSets,
    pci_devices: Vec<PciRule>,
    kept: Mutex<Option<Arc<Profile>>>,
}

impl Profiles {
    /// Nothing is read before it is asked for.
    #[must_use]
    pub fn new(virt_type: VirtType, data_dir: PathBuf, cpus: CpuSets, pci_devices: Vec<PciRule>) -> Self {
        Self {
            virt_type,
            data_dir,
            cpus,
            pci_devices,
            kept: Mutex::new(None),
        }
    }

    /// The profile of this moment.
    ///
    /// # Errors
    /// When libvirt is away, or what it says does not make a host.
    pub async fn get(&self, hypervisor: &HypervisorThreads) -> Result<Arc<Profile>, ProfileError> {
        let description = hypervisor
            .run("describing the host", |hypervisor| hypervisor.host())
            .await
            .map_err(ProfileError::Hypervisor)?;
        // The lock is held across awaits on purpose: a second caller waits for the one probe.
        let mut kept = self.kept.lock().await;
        if let Some(profile) = kept.as_ref().filter(|profile| profile.description == description) {
            return Ok(Arc::clone(profile));
        }
        let profile = Arc::new(self.read(hypervisor, description).await?);
        *kept = Some(Arc::clone(&profile));
        Ok(profile)
    }

    async fn read(
        &self,
        hypervisor: &HypervisorThreads,
        description: HostDescription,
    ) -> Result<Profile, ProfileError> {
        let found = capabilities(&description.capabilities_xml).map_err(ProfileError::Description)?;
        let architecture: Architecture = found
            .cpu
            .architecture
            .parse()
            .map_err(ProfileError::Architecture)?;
        let kind = match self.virt_type {
            VirtType::Kvm => HypervisorType::Kvm,
            VirtType::Qemu => HypervisorType::Qemu,
            VirtType::Auto => {
                let emulator: Option<&HostPath> = found
                    .mode(architecture, HypervisorType::Kvm)
                    .map(|mode| &mode.emulator);
                virt_type::resolve(architecture, emulator, &self.data_dir)
                    .await
                    .map_err(ProfileError::VirtType)?
            }
        };
        let cells = self.cpus.divide(&found.cells).map_err(ProfileError::Cpus)?;
        let pci_devices = if self.pci_devices.is_empty() {
            Vec::new()
        } else {
            let xml = hypervisor
                .run("listing PCI devices", |hypervisor| hypervisor.pci_devices())
                .await
                .map_err(ProfileError::Hypervisor)?;
            allowed_devices(&xml, &self.pci_devices).map_err(ProfileError::Description)?
        };
        let mut cpus = BTreeMap::new();
        for guest in found.supported_guests() {
            if guest.hypervisor != kind {
                continue;
            }
            let xml = hypervisor
                .run("reading what guests can use", move |hypervisor| {
                    hypervisor.domain_capabilities(kind, guest.architecture.as_str(), None)
                })
                .await
                .map_err(ProfileError::Hypervisor)?;
            let read = domain_capabilities(&xml).map_err(ProfileError::Description)?;
            cpus.insert(guest.architecture, read);
        }
        let profile = Profile {
            description,
            capabilities: found,
            architecture,
            hypervisor: kind,
            cpus,
            cells,
            pci_devices,
        };
        profile.mode(architecture)?;
        Ok(profile)
    }
}
