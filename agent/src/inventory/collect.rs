//! Puts the inventory together: libvirt, the file system and the operation log, asked at the same time.

use super::domains::{self, Held};
use super::profile::{Profile, ProfileError};
use crate::agent::Agent;
use crate::hypervisor::{DomainReport, HypervisorError};
use crate::oplog::AppendError;
use crate::server::{Kept, ServerDirectory, found_servers};
use drover_agent_core::oplog::State;
use drover_proto::v1;
use drover_types::{ByteSize, ServerId, Sha256Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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
        let files = tokio::task::spawn_blocking(move || server_files(&servers, &data_dir)).await;
        Ok(files.expect("reading files does not panic and is not aborted"))
    };
    let (domains, profile, logged, files) = tokio::try_join!(domains, profile, logged, files)?;
    let images = agent.cached_images(&files.images).await;
    let facts = facts(agent, &profile, &images)?;
    Ok(inventory(agent, &domains, &files.kept, logged, facts, images))
}

fn inventory(
    agent: &Agent,
    domains: &[DomainReport],
    files: &BTreeMap<ServerId, Kept>,
    logged: Logged,
    facts: v1::HostFacts,
    images: Vec<v1::CachedImage>,
) -> v1::Inventory {
    let present: BTreeSet<ServerId> = domains
        .iter()
        .map(|domain| ServerId::from_uuid(domain.uuid))
        .collect();
    let nothing = Held::default();
    let domains = domains
        .iter()
        .map(|report| {
            let server = ServerId::from_uuid(report.uuid);
            domains::domain(
                report,
                logged.held.get(&server).unwrap_or(&nothing),
                files.get(&server),
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

/// What this host keeps of its servers.
#[derive(Default)]
struct Files {
    kept: BTreeMap<ServerId, Kept>,
    /// The images under the disks that Drover made.
    images: Vec<Sha256Digest>,
}

/// The record of every server that has one; a directory without a readable one is reported and passed over.
fn server_files(servers: &Path, data_dir: &Path) -> Files {
    let mut files = Files::default();
    // Where there is no such directory, no server was ever made here.
    let entries = std::fs::read_dir(servers).into_iter().flatten();
    for server in entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<ServerId>().ok()) {
        match ServerDirectory::new(servers, server).read() {
            Ok(Some(file)) => {
                files.images.push(file.image);
                files.kept.insert(server, Kept::Made(Box::new(file)));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%server, "{}", crate::operations::chain(&error)),
        }
    }
    for (server, found) in found_servers(data_dir) {
        let later = files
            .kept
            .get(&server)
            .is_some_and(|kept| kept.mark().epoch > found.mark.epoch);
        if !later {
            files.kept.insert(server, Kept::Found(Box::new(found)));
        }
    }
    files
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
    })
}
