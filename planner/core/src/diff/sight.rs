//! Where domains of this fleet's servers were seen, by server: one pass over all hosts.

use crate::model::{HostInventory, ObservedDomain, ObservedFleet};
use drover_types::{Epoch, FleetName, HostName, OperationId, PowerState, ProjectName, ServerId};
use std::collections::BTreeMap;

/// What was seen of one server.
#[derive(Debug, Default)]
pub(super) struct Sighting<'a> {
    /// Its domains.
    pub(super) domains: Vec<(&'a HostName, &'a ObservedDomain)>,
    /// Hosts whose log holds it though libvirt knows no domain.
    pub(super) held_only: Vec<(&'a HostName, Epoch)>,
}

impl<'a> Sighting<'a> {
    pub(super) fn on(&self, host: &HostName) -> Option<&'a ObservedDomain> {
        self.domains
            .iter()
            .find(|(name, _)| *name == host)
            .map(|(_, domain)| *domain)
    }

    /// The epoch that this host holds, with a domain or without.
    pub(super) fn held_on(&self, host: &HostName) -> Option<Epoch> {
        self.on(host).and_then(|domain| domain.held_epoch).or_else(|| {
            self.held_only
                .iter()
                .find(|(name, _)| *name == host)
                .map(|(_, epoch)| *epoch)
        })
    }

    /// Domains whose guest exists in memory.
    pub(super) fn active(&self) -> impl Iterator<Item = (&'a HostName, &'a ObservedDomain)> + '_ {
        self.domains
            .iter()
            .copied()
            .filter(|(_, domain)| is_active(domain.power_state))
    }
}

/// Whether a guest in this state exists in memory: two such copies are one too many.
#[must_use]
pub const fn is_active(state: PowerState) -> bool {
    match state {
        PowerState::Running
        | PowerState::Paused
        | PowerState::ShuttingDown
        | PowerState::Suspended
        | PowerState::Crashed => true,
        PowerState::NoState | PowerState::Shutdown => false,
    }
}

/// All sightings.
#[derive(Debug)]
pub(super) struct Sightings<'a> {
    by_server: BTreeMap<ServerId, Sighting<'a>>,
    observed: &'a ObservedFleet,
}

impl<'a> Sightings<'a> {
    pub(super) fn new(observed: &'a ObservedFleet) -> Self {
        let mut by_server: BTreeMap<ServerId, Sighting<'a>> = BTreeMap::new();
        for (host, observation) in observed {
            let Some(inventory) = observation.inventory() else {
                continue;
            };
            for (uuid, domain) in &inventory.domains {
                let id = ServerId::from_uuid(*uuid);
                by_server.entry(id).or_default().domains.push((host, domain));
            }
            for (id, epoch) in &inventory.held_without_domain {
                by_server.entry(*id).or_default().held_only.push((host, *epoch));
            }
        }
        Self { by_server, observed }
    }

    pub(super) fn of(&self, id: ServerId) -> Option<&Sighting<'a>> {
        self.by_server.get(&id)
    }

    pub(super) fn inventory(&self, host: &HostName) -> Option<&'a HostInventory> {
        self.observed
            .get(host)
            .and_then(|observation| observation.inventory())
    }

    /// Whether the host says that it has devices for servers.
    pub(super) fn reports_devices(&self, host: &HostName) -> bool {
        self.inventory(host)
            .is_some_and(|inventory| !inventory.facts.pci_devices.is_empty())
    }

    /// Whether the host says what NUMA cells it has.
    pub(super) fn reports_cells(&self, host: &HostName) -> bool {
        self.inventory(host)
            .is_some_and(|inventory| !inventory.facts.cells.is_empty())
    }

    /// Whether the host reports this operation: running (`true`), or ended and kept (`false`).
    pub(super) fn operation(&self, host: &HostName, id: OperationId) -> Option<bool> {
        self.inventory(host)?
            .operations
            .iter()
            .find(|operation| operation.id == id)
            .map(|operation| operation.running)
    }

    /// Domains that carry this fleet's and project's mark, with the host.
    pub(super) fn marked(
        &self,
        fleet: &FleetName,
        project: &ProjectName,
    ) -> impl Iterator<Item = (ServerId, &Sighting<'a>, &'a crate::model::DomainMark)> + '_ {
        let (fleet, project) = (fleet.clone(), project.clone());
        self.by_server.iter().filter_map(move |(id, sighting)| {
            let mark = sighting
                .domains
                .iter()
                .find_map(|(_, domain)| domain.mark.as_ref())?;
            (mark.fleet == fleet && mark.project == project).then_some((*id, sighting, mark))
        })
    }
}
