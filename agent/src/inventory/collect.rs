//! Puts the inventory together: libvirt, the file system and the operation log, asked at the same time.

use super::domains::{self, Held};
use super::profile::{Profile, ProfileError};
use crate::agent::Agent;
use crate::hypervisor::{DomainReport, HypervisorError};
use crate::operations::chain;
use crate::oplog::AppendError;
use crate::server::{Kept, Records, records, taken, taken_devices};
use drover_agent_core::oplog::State;
use drover_numa::{NumaCell, PciDevice};
use drover_proto::v1;
use drover_types::{ByteSize, MetricName, MetricValue, PciAddress, ServerId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Why there is no inventory: the host's state is then unknown, never empty.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// libvirt did not answer.
    #[error("the domains of this host are not known")]
    Domains(#[source] HypervisorError),
    /// The host cannot say what it can run.
    #[error("what this host can run is not known")]
    Profile(#[source] ProfileError),
    /// The operation log is closed.
    #[error("what this host holds is not known")]
    Log(#[source] AppendError),
    /// The data directory's file system.
    #[error("the room below {} is not known", path.display())]
    Disk {
        /// The data directory.
        path: PathBuf,
        /// Why not.
        source: nix::Error,
    },
}

/// What this agent can do beyond the first contract, for planners to look for.
const CAPABILITIES: &[&str] = &[
    "live-migration",
    "cold-migration",
    "adopt",
    "import",
    "console-follow",
];

/// What the log says, copied out of it.
struct Logged {
    incarnation: String,
    token: u64,
    held: BTreeMap<ServerId, Held>,
    operations: Vec<v1::OpenOperation>,
}

/// The inventory of this moment.
pub(super) async fn collect(agent: &Agent) -> Result<v1::Inventory, InventoryError> {
    let domains = async {
        agent
            .hypervisor
            .run("listing the domains", |hypervisor| hypervisor.domains())
            .await
            .map_err(InventoryError::Domains)
    };
    let profile = async {
        agent
            .profiles
            .get(&agent.hypervisor)
            .await
            .map_err(InventoryError::Profile)
    };
    let logged = async {
        agent
            .operations
            .log()
            .read(logged)
            .await
            .map_err(InventoryError::Log)
    };
    let files = async {
        let (servers, data_dir) = (agent.config.servers_dir(), agent.config.data_dir.clone());
        let files = tokio::task::spawn_blocking(move || records(&servers, &data_dir)).await;
        Ok(files.expect("reading files does not panic and is not aborted"))
    };
    let metrics = async {
        match agent.monitor.measure(&agent.hypervisor).await {
            Ok(known) => Ok(known),
            // Servers are planned all the same; where metrics are asked for, the host is refused for lacking them.
            Err(error) => {
                tracing::debug!("no metrics: {}", chain(&error));
                Ok(BTreeMap::new())
            }
        }
    };
    let (domains, profile, logged, files, metrics) =
        tokio::try_join!(domains, profile, logged, files, metrics)?;
    let images = agent.cached_images(&files.images).await;
    let mut facts = facts(agent, &profile, &images)?;
    without_lost(&mut facts, &profile, &domains, &files);
    let here = Here {
        domains: &domains,
        files: &files,
        cells: &profile.cells,
    };
    Ok(inventory(agent, here, logged, facts, images, metrics))
}

/// Puts the host's cells and devices into the facts, without those of servers that were taken over and have lost their
/// domain: they get them again when it is defined, and since no flavor asks for them, nobody who reads of this host
/// would know whose they are.
fn without_lost(facts: &mut v1::HostFacts, profile: &Profile, domains: &[DomainReport], files: &Records) {
    let lost: Vec<&Kept> = files
        .kept
        .iter()
        .filter(|(server, kept)| {
            let defined = || domains.iter().any(|domain| domain.uuid == server.uuid());
            matches!(kept, Kept::Found(_)) && !defined()
        })
        .map(|(_, kept)| kept)
        .collect();
    let devices: BTreeSet<PciAddress> = lost
        .iter()
        .flat_map(|kept| taken_devices(None, Some(kept)))
        .collect();
    let free = profile.pci_devices.iter();
    let free = free.filter(|device| !devices.contains(&device.address));
    facts.pci_devices = free.map(device).collect();
    let mut cells = profile.cells.clone();
    for taken in lost
        .iter()
        .flat_map(|kept| taken(None, Some(kept), &profile.cells))
    {
        if let Some(cell) = cells.iter_mut().find(|cell| cell.id == taken.cell) {
            cell.remove(&taken);
        }
    }
    facts.cells = cells.iter().map(cell).collect();
}

/// What runs on this host, what is kept of it, and the cells that it may have taken of.
#[derive(Clone, Copy)]
struct Here<'a> {
    domains: &'a [DomainReport],
    files: &'a Records,
    cells: &'a [NumaCell],
}

fn inventory(
    agent: &Agent,
    here: Here<'_>,
    logged: Logged,
    facts: v1::HostFacts,
    images: Vec<v1::CachedImage>,
    metrics: BTreeMap<MetricName, MetricValue>,
) -> v1::Inventory {
    let present: BTreeSet<ServerId> = here
        .domains
        .iter()
        .map(|domain| ServerId::from_uuid(domain.uuid))
        .collect();
    let nothing = Held::default();
    let domains = here
        .domains
        .iter()
        .map(|report| {
            let server = ServerId::from_uuid(report.uuid);
            domains::domain(
                report,
                logged.held.get(&server).unwrap_or(&nothing),
                here.files.kept.get(&server),
                here.cells,
            )
        })
        .collect();
    let held_without_domain = logged
        .held
        .iter()
        .filter(|(server, _)| !present.contains(server))
        .filter_map(|(server, held)| {
            Some(v1::HeldEpoch {
                server_id: server.to_string(),
                epoch: held.epoch?.get(),
            })
        })
        .collect();
    v1::Inventory {
        host: agent.config.host.to_string(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: CAPABILITIES.iter().map(|word| (*word).to_owned()).collect(),
        incarnation: logged.incarnation,
        fencing_token: logged.token,
        facts: Some(facts),
        domains,
        held_without_domain,
        images,
        operations: logged.operations,
        metrics: metrics
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.get()))
            .collect(),
    }
}

fn logged(state: &State) -> Logged {
    let mut held: BTreeMap<ServerId, Held> = BTreeMap::new();
    for (server, _) in state.servers() {
        let known = held.entry(server).or_default();
        known.epoch = state.held_epoch(server);
        known.highest = state.highest_epoch(server);
    }
    for (server, operation, handover) in state.handovers() {
        held.entry(server).or_default().handover = Some((operation, handover.clone()));
    }
    let open = state
        .operations()
        .map(|(operation, _)| operation)
        .collect::<BTreeSet<_>>();
    let running = state
        .running()
        .map(|began| (began.operation, began.kind.as_str().to_owned(), began.server));
    let running: BTreeMap<_, _> = running
        .map(|(operation, kind, server)| (operation, (kind, server)))
        .collect();
    let operations = open
        .into_iter()
        .filter_map(|operation| {
            let (kind, server, is_running) = match (running.get(&operation), state.operation(operation)?) {
                (Some((kind, server)), _) => (kind.clone(), *server, true),
                (None, drover_agent_core::oplog::OperationState::Finished { began, .. }) => {
                    (began.kind.as_str().to_owned(), began.server, false)
                }
                (None, _) => return None,
            };
            Some(v1::OpenOperation {
                operation_id: operation.to_string(),
                kind,
                server_id: server.map(|server| server.to_string()).unwrap_or_default(),
                running: is_running,
            })
        })
        .collect();
    Logged {
        incarnation: state
            .incarnation()
            .map(|life| life.to_string())
            .unwrap_or_default(),
        token: state.highest_token().get(),
        held,
        operations,
    }
}

fn facts(
    agent: &Agent,
    profile: &Profile,
    images: &[v1::CachedImage],
) -> Result<v1::HostFacts, InventoryError> {
    let data_dir = &agent.config.data_dir;
    let disk = nix::sys::statvfs::statvfs(data_dir).map_err(|source| InventoryError::Disk {
        path: data_dir.clone(),
        source,
    })?;
    let mib = |blocks: u64| ByteSize::from_bytes(blocks.saturating_mul(disk.fragment_size())).mib_floor();
    let host = &profile.description;
    let reserved = agent.config.reserved;
    let cpu = &profile.capabilities.cpu;
    let models = profile
        .cpus
        .get(&profile.architecture)
        .map(|cpus| &cpus.usable_models);
    let machines = profile
        .mode(profile.architecture)
        .map_err(InventoryError::Profile)?;
    let cached: u64 = images.iter().map(|image| image.disk_size).sum();
    Ok(v1::HostFacts {
        hostname: host.hostname.clone(),
        vcpus: host.cpus,
        ram_mib: host.memory_kib / 1024,
        disk_mib: mib(disk.blocks()),
        disk_free_mib: mib(disk.blocks_available()),
        image_cache_mib: ByteSize::from_bytes(cached).mib_ceil(),
        reserved_vcpus: reserved.vcpus,
        reserved_ram_mib: reserved.memory.mib_ceil(),
        reserved_disk_mib: reserved.disk.mib_ceil(),
        cpu: Some(v1::CpuFacts {
            arch: cpu.architecture.clone(),
            model: cpu.model.clone().unwrap_or_default(),
            vendor: cpu.vendor.clone().unwrap_or_default(),
            features: cpu.features.clone(),
            sockets: host.sockets,
            cores: host.cores,
            threads: host.threads,
            usable_models: models.into_iter().flatten().map(ToString::to_string).collect(),
        }),
        // As Nova reports libvirt's QEMU driver, whatever the domain type.
        hypervisor_type: "QEMU".to_owned(),
        hypervisor_version: host.hypervisor_version,
        libvirt_version: host.libvirt_version,
        virt_type: profile.hypervisor.to_string(),
        supported_guests: profile
            .capabilities
            .supported_guests()
            .iter()
            .map(|guest| v1::GuestKind {
                arch: guest.architecture.to_string(),
                hypervisor_type: guest.hypervisor.to_string(),
                vm_mode: guest.mode.as_str().to_owned(),
            })
            .collect(),
        machine_types: machines
            .machines
            .iter()
            .map(|machine| machine.name.to_string())
            .collect(),
        cells: Vec::new(),
        pci_devices: Vec::new(),
    })
}

fn device(device: &PciDevice) -> v1::PciDevice {
    v1::PciDevice {
        address: device.address.to_string(),
        vendor_id: device.kind.vendor_id.to_string(),
        product_id: device.kind.product_id.to_string(),
        numa_node: device.numa_node,
    }
}

fn cell(cell: &NumaCell) -> v1::NumaCell {
    let list = |cpus: &BTreeSet<u32>| cpus.iter().copied().collect::<Vec<u32>>();
    v1::NumaCell {
        id: cell.id,
        shared_cpus: list(&cell.cpus),
        dedicated_cpus: list(&cell.dedicated_cpus),
        cores: cell
            .siblings
            .iter()
            .map(|core| v1::CpuList { cpus: list(core) })
            .collect(),
        memory_mib: cell.memory_mib,
        pages: cell
            .pages
            .iter()
            .map(|pages| v1::Pages {
                size_kib: pages.size_kib,
                count: pages.total,
            })
            .collect(),
    }
}
