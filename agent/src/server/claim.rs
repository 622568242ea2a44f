//! Room for servers' cells on this host's: one server after another looks at what is taken, and has taken its own
//! once its record is written.

use super::directory::ServerDirectory;
use super::failure::WorkError;
use super::found::{Kept, found_servers};
use super::request::WantedServer;
use crate::agent::Agent;
use crate::hypervisor::DomainReport;
use crate::inventory::Profile;
use crate::operations::chain;
use drover_agent_core::domain::{GuestPlace, found_in_cells};
use drover_numa::{CellUse, NumaCell, at_most};
use drover_types::{ServerId, Sha256Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio::sync::{Mutex, MutexGuard};

/// Who may look at what is taken of this host's cells and take more of it.
#[derive(Debug, Default)]
pub struct Claims(Mutex<()>);

/// The right to take room in cells, until it is dropped: keep it until the server's record is written. It is held
/// across awaits on purpose, so that the next one sees what this one took.
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
        Some(Kept::Found(_)) | None => {}
    }
    at_most(&all)
}

impl Agent {
    /// Waits for the right to take room in cells.
    pub(crate) async fn claim(&self) -> Claim<'_> {
        self.claims.0.lock().await
    }

    /// Where a server is to be on this host. One that has its cells here already keeps its place; otherwise they are
    /// fitted beside everything else that is here, under a claim.
    ///
    /// # Errors
    /// [`WorkError::NoCells`] where they do not fit, and what keeps us from looking.
    pub(crate) async fn place(
        &self,
        wanted: &WantedServer,
        profile: &Profile,
        before: Option<&GuestPlace>,
        _claim: &Claim<'_>,
    ) -> Result<GuestPlace, WorkError> {
        let server = wanted.id;
        if let Some(before) = before.filter(|before| before.is_of(&wanted.cells)) {
            return Ok(before.clone());
        }
        if wanted.cells.is_empty() {
            let cpuset = self.config.cpus.of_others(&profile.cells);
            if cpuset.as_ref().is_some_and(|cpus| cpus.0.is_empty()) {
                return Err(WorkError::NoSharedCpus { server });
            }
            return Ok(GuestPlace {
                cpuset,
                cells: Vec::new(),
            });
        }
        let taken = self.taken_by_others(server, &profile.cells).await?;
        GuestPlace::fit(&wanted.cells, &profile.cells, &taken, wanted.limits)
            .map_err(|source| WorkError::NoCells { server, source })
    }

    async fn taken_by_others(&self, own: ServerId, cells: &[NumaCell]) -> Result<Vec<CellUse>, WorkError> {
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
        Ok(all
            .into_iter()
            .filter(|server| **server != own)
            .flat_map(|server| taken(domains.get(server).copied(), records.kept.get(server), cells))
            .collect())
    }
}
