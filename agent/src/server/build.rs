//! From what is wanted and what this host has to the domain that is rendered: on first creation machine type
//! and CPU are resolved and frozen; later they are taken as they are, and checked against this host.

use super::directory::ServerDirectory;
use super::failure::WorkError;
use super::request::{Frozen, WantedServer, cpu_xml};
use crate::hypervisor::HypervisorThreads;
use crate::inventory::{Profile, ProfileError};
use drover_agent_core::domain::{
    DiskBus, DiskFormat, DiskSpec, DiskTarget, DomainMetadata, DomainName, DomainSpec, GuestPlace, HostPath,
    OnCrash,
};
use drover_agent_core::inventory::frozen_cpu;
use drover_types::{Epoch, HypervisorType, ServerId, Sha256Digest};
use std::path::Path;

/// What a new server is frozen to on this host.
pub(crate) fn freeze(
    profile: &Profile,
    wanted: &WantedServer,
    base: Sha256Digest,
) -> Result<Frozen, WorkError> {
    let architecture = wanted.architecture.unwrap_or(profile.architecture);
    let mode = profile.mode(architecture).map_err(WorkError::Profile)?;
    let missing = ProfileError::NoEmulator {
        hypervisor: profile.hypervisor,
        architecture,
    };
    let cpus = profile.cpus.get(&architecture);
    let (Some(machine), Some(cpus)) = (mode.frozen_machine(), cpus) else {
        return Err(WorkError::Profile(missing));
    };
    let cpu = frozen_cpu(cpus, architecture, profile.hypervisor).map_err(|source| WorkError::Cpu {
        server: wanted.id,
        source,
    })?;
    Ok(Frozen {
        machine: machine.clone(),
        cpu,
        hypervisor: profile.hypervisor,
        architecture,
        base,
    })
}

/// Whether a server that was frozen elsewhere can run here.
pub(crate) async fn check_frozen(
    hypervisor: &HypervisorThreads,
    profile: &Profile,
    server: ServerId,
    frozen: &Frozen,
) -> Result<(), WorkError> {
    let incompatible = |what, wanted: String, available: String| WorkError::Incompatible {
        server,
        what,
        wanted,
        available,
    };
    let Some(mode) = profile.capabilities.mode(frozen.architecture, frozen.hypervisor) else {
        let kinds: Vec<String> = profile
            .capabilities
            .supported_guests()
            .iter()
            .map(|guest| format!("{} {}", guest.hypervisor, guest.architecture))
            .collect();
        let wanted = format!("{} {}", frozen.hypervisor, frozen.architecture);
        return Err(incompatible("the kind of guest", wanted, kinds.join(", ")));
    };
    if !mode
        .machines
        .iter()
        .any(|machine| machine.canonical == frozen.machine || machine.name == frozen.machine)
    {
        let known: Vec<&str> = mode
            .machines
            .iter()
            .map(|machine| machine.name.as_str())
            .collect();
        return Err(incompatible(
            "the machine type",
            frozen.machine.to_string(),
            known.join(", "),
        ));
    }
    let runs = match frozen.hypervisor {
        // libvirt compares with the host's CPU, which says nothing about emulation.
        HypervisorType::Qemu => profile
            .cpus
            .get(&frozen.architecture)
            .is_some_and(|cpus| cpus.usable_models.contains(&frozen.cpu.model)),
        HypervisorType::Kvm => {
            let (kind, arch, machine) = (frozen.hypervisor, frozen.architecture, frozen.machine.to_string());
            let cpu = cpu_xml(&frozen.cpu);
            hypervisor
                .run("comparing CPUs", move |h| {
                    h.can_run_cpu(kind, arch.as_str(), &machine, &cpu)
                })
                .await
                .map_err(|source| WorkError::Hypervisor {
                    attempt: "compare the CPU of",
                    server,
                    source,
                })?
        }
    };
    if runs {
        return Ok(());
    }
    let models = profile
        .cpus
        .get(&frozen.architecture)
        .map(|cpus| &cpus.usable_models);
    let models: Vec<&str> = models.into_iter().flatten().map(|model| model.as_str()).collect();
    Err(incompatible("the CPU", cpu_xml(&frozen.cpu), models.join(", ")))
}

/// The domain of a server on this host.
pub(crate) fn domain_spec(
    profile: &Profile,
    wanted: &WantedServer,
    frozen: &Frozen,
    epoch: Epoch,
    directory: &ServerDirectory,
    place: GuestPlace,
) -> Result<DomainSpec, WorkError> {
    let mode = profile
        .capabilities
        .mode(frozen.architecture, frozen.hypervisor)
        .ok_or_else(|| {
            let (hypervisor, architecture) = (frozen.hypervisor, frozen.architecture);
            WorkError::Profile(ProfileError::NoEmulator {
                hypervisor,
                architecture,
            })
        })?;
    Ok(DomainSpec {
        name: DomainName::derive(&wanted.address, wanted.id),
        metadata: metadata(wanted, epoch),
        memory: wanted.memory,
        vcpus: wanted.vcpus,
        hypervisor: frozen.hypervisor,
        architecture: frozen.architecture,
        machine: frozen.machine.clone(),
        cpu: frozen.cpu.clone(),
        emulator: mode.emulator.clone(),
        disks: vec![DiskSpec {
            target: DiskTarget::ROOT,
            file: host_path(&directory.disk())?,
            format: DiskFormat::Qcow2,
            bus: DiskBus::Virtio,
        }],
        console_log: host_path(&directory.console_log())?,
        on_crash: OnCrash::Destroy,
        place,
    })
}

/// Whose a server is, under this epoch.
pub(crate) fn metadata(wanted: &WantedServer, epoch: Epoch) -> DomainMetadata {
    DomainMetadata {
        fleet: wanted.fleet.clone(),
        project: wanted.project.clone(),
        id: wanted.id,
        address: wanted.address.clone(),
        epoch,
        generation: wanted.generation,
    }
}

fn host_path(path: &Path) -> Result<HostPath, WorkError> {
    path.to_string_lossy().parse().map_err(WorkError::Path)
}

/// What a server's domain was frozen to.
pub(crate) fn frozen_of(spec: &DomainSpec, base: Sha256Digest) -> Frozen {
    Frozen {
        machine: spec.machine.clone(),
        cpu: spec.cpu.clone(),
        hypervisor: spec.hypervisor,
        architecture: spec.architecture,
        base,
    }
}
