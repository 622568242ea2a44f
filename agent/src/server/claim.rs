//! Room for servers' cells on this host's, and its devices for them: one server after another looks at what is taken,
//! and has taken its own once its record is written.

use super::directory::ServerDirectory;
use super::failure::WorkError;
use super::found::{Kept, found_servers};
use super::request::WantedServer;
use crate::agent::Agent;
use crate::hypervisor::DomainReport;
use crate::inventory::Profile;
use crate::operations::chain;
use drover_agent_core::domain::{
    Before, GuestPlace, NoPlace, Parts, Taken, Wishes, found_devices, found_in_cells,
};
use drover_numa::{CellUse, NumaCell, at_most};
use drover_types::{PciAddress, ServerId, Sha256Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio::sync::{Mutex, MutexGuard};

/// Who may look at what is taken of this host's cells and devices and take more of it.
#[derive(Debug, Default)]
pub struct Claims(Mutex<()>);

/// The right to take room in cells and devices, until it is dropped: keep it until the server's record is written. It is
/// held across awaits on purpose, so that the next one sees what this one took.
pub(crate) type Claim<'a> = MutexGuard<'a, ()>;

/// What this host keeps of its servers.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) kept: BTreeMap<ServerId, Kept>,
    /// The images under the disks that Drover made.
    pub(crate) images: Vec<Sha256Digest>,
}

/// The record of every server that has one; a directory without a readable one is reported and passed over.
pub(crate) fn records(servers: &Path, data_dir: &Path) -> Records {
    let mut files = Records::default();
    // Where there is no such directory, no server was ever made here.
    let entries = std::fs::read_dir(servers).into_iter().flatten();
    for server in entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<ServerId>().ok()) {
        match ServerDirectory::new(servers, server).read() {
            Ok(Some(file)) => {
                files.images.push(file.image);
                files.kept.insert(server, Kept::Made(Box::new(file)));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%server, "{}", chain(&error)),
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

/// What a domain takes of the host's cells: at most of what runs, what is defined and what is kept of it.
pub(crate) fn taken(report: Option<&DomainReport>, kept: Option<&Kept>, cells: &[NumaCell]) -> Vec<CellUse> {
    let xml = report
        .into_iter()
        .flat_map(|report| [&report.live_xml, &report.persistent_xml]);
    // What does not read is reported as drift, and bound to nothing that could be told.
    let mut all: Vec<Vec<CellUse>> = xml
        .flatten()
        .map(|xml| found_in_cells(xml, cells).unwrap_or_default())
        .collect();
    match kept {
        Some(Kept::Made(file)) => all.push(file.spec.place.taken()),
        // It is defined again where it lost its domain.
        Some(Kept::Found(found)) => all.push(found_in_cells(&found.xml, cells).unwrap_or_default()),
        None => {}
    }
    at_most(&all)
}

/// The host's PCI devices that a domain has: all of what runs, what is defined and what is kept of it.
pub(crate) fn taken_devices(report: Option<&DomainReport>, kept: Option<&Kept>) -> BTreeSet<PciAddress> {
    let xml = report
        .into_iter()
        .flat_map(|report| [&report.live_xml, &report.persistent_xml])
        .flatten();
    let mut all: BTreeSet<PciAddress> = xml
        .flat_map(|xml| found_devices(xml).unwrap_or_default())
        .collect();
    match kept {
        Some(Kept::Made(file)) => all.extend(file.spec.place.pci_devices()),
        // It is defined again where it lost its domain.
        Some(Kept::Found(found)) => all.extend(found_devices(&found.xml).unwrap_or_default()),
        None => {}
    }
    all
}

impl Agent {
    /// Waits for the right to take room in cells and devices.
    pub(crate) async fn claim(&self) -> Claim<'_> {
        self.claims.0.lock().await
    }

    /// Where a server is to be on this host. One that has its cells and devices here already keeps them; otherwise they
    /// are fitted beside everything else that is here, under a claim.
    ///
    /// # Errors
    /// [`WorkError::NoCells`] and [`WorkError::NoDevices`] where they do not fit, and what keeps us from looking.
    pub(crate) async fn place(
        &self,
        wanted: &WantedServer,
        profile: &Profile,
        before: Before<'_>,
        _claim: &Claim<'_>,
    ) -> Result<GuestPlace, WorkError> {
        let server = wanted.id;
        // Nobody else's room matters to one that asks for none.
        let taken = if wanted.cells.is_empty() && wanted.devices.is_empty() {
            Taken::default()
        } else {
            self.taken_by_others(server, &profile.cells).await?
        };
        let wishes = Wishes {
            cells: &wanted.cells,
            limits: wanted.limits,
            devices: &wanted.devices,
        };
        let parts = Parts {
            cells: &profile.cells,
            devices: &profile.pci_devices,
        };
        let here = match before {
            Before::Place(place) => Some(place),
            Before::Nothing | Before::Devices(_) => None,
        };
        let place = GuestPlace::fit(wishes, parts, &taken, before);
        let mut place = place.map_err(|no_place| match no_place {
            NoPlace::Cells(source) => WorkError::NoCells { server, source },
            NoPlace::Devices { alias, wanted, free } => WorkError::NoDevices {
                server,
                alias,
                wanted,
                free,
            },
        })?;
        if wanted.cells.is_empty() && here != Some(&place) {
            place.cpuset = self.config.cpus.of_others(&profile.cells);
            if place.cpuset.as_ref().is_some_and(|cpus| cpus.0.is_empty()) {
                return Err(WorkError::NoSharedCpus { server });
            }
        }
        Ok(place)
    }

    async fn taken_by_others(&self, own: ServerId, cells: &[NumaCell]) -> Result<Taken, WorkError> {
        let domains = self
            .hypervisor
            .run("listing the domains", |hypervisor| hypervisor.domains())
            .await
            .map_err(|source| WorkError::Domains { source })?;
        let (servers, data_dir) = (self.config.servers_dir(), self.config.data_dir.clone());
        let records = tokio::task::spawn_blocking(move || records(&servers, &data_dir)).await;
        let records = records.expect("reading files does not panic and is not aborted");
        let domains: BTreeMap<ServerId, &DomainReport> = domains
            .iter()
            .map(|domain| (ServerId::from_uuid(domain.uuid), domain))
            .collect();
        let all: BTreeSet<&ServerId> = domains.keys().chain(records.kept.keys()).collect();
        let mut sum = Taken::default();
        for server in all.into_iter().filter(|server| **server != own) {
            let (report, kept) = (domains.get(server).copied(), records.kept.get(server));
            sum.cells.extend(taken(report, kept, cells));
            sum.devices.extend(taken_devices(report, kept));
        }
        Ok(sum)
    }
}
