//! What is taken of hosts' NUMA cells and PCI devices before anything is done: by whom hosts report it.

use super::build::Inputs;
use super::demand::{AsIt, Gives, demand};
use super::world::{name_of, where_counted};
use crate::diff::ServerDiff;
use crate::model::{HostInventory, ServerSpec};
use crate::placement::{Name, NumaCell, PciDevice, PciPool, Seated};
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A host's cells, with what others than `ours` have taken of them.
pub(super) fn cells(inventory: &HostInventory, ours: &BTreeSet<Uuid>) -> Vec<NumaCell> {
    let mut cells = inventory.facts.cells.clone();
    let others = inventory
        .domains
        .values()
        .filter(|domain| !ours.contains(&domain.uuid));
    for taken in others.flat_map(|domain| &domain.cells) {
        if let Some(cell) = cells.iter_mut().find(|cell| cell.id == taken.cell) {
            cell.promise(taken);
        }
    }
    cells
}

/// A host's devices by kind, without those that others than `ours` have taken.
pub(super) fn devices(inventory: &HostInventory, ours: &BTreeSet<Uuid>) -> Vec<PciPool> {
    let others = inventory
        .domains
        .values()
        .filter(|domain| !ours.contains(&domain.uuid));
    let taken = others.flat_map(|domain| &domain.pci_devices).copied().collect();
    drover_numa::pools(&inventory.facts.pci_devices, &taken)
}

/// What servers that are counted by their records have taken of their host's cells and devices, where it reports that.
pub(super) fn seats(
    inputs: &Inputs<'_>,
    servers: &BTreeMap<Address, ServerDiff>,
) -> BTreeMap<HostName, BTreeMap<Name, Seated>> {
    let mut seats: BTreeMap<HostName, BTreeMap<Name, Seated>> = BTreeMap::new();
    if !Gives::of(inputs.desired).anything() {
        return seats;
    }
    for (address, server) in servers {
        let Some((host, spec)) = where_counted(server).zip(present(server)) else {
            continue;
        };
        let inventory = (inputs.observed.get(host)).and_then(|observation| observation.inventory());
        let Some((inventory, domain)) = inventory.and_then(|inventory| {
            let domain = inventory.domains.get(&server.id.uuid())?;
            Some((inventory, domain))
        }) else {
            continue;
        };
        if !(domain.cells.is_empty() && domain.pci_devices.is_empty()) {
            let devices = inventory.facts.pci_devices.iter();
            let devices: Vec<PciDevice> = devices
                .filter(|device| domain.pci_devices.contains(&device.address))
                .copied()
                .collect();
            let seated = Seated {
                demand: demand(inputs.desired, inputs.recorded, spec, AsIt::Is),
                taken: domain.cells.clone(),
                others: (domain.pci_devices.len() - devices.len()) as u64,
                devices,
            };
            let on_host = seats.entry(host.clone()).or_default();
            on_host.insert(name_of(address), seated);
        }
    }
    seats
}

/// A server as it is now, as far as that is recorded.
fn present(server: &ServerDiff) -> Option<&ServerSpec> {
    server.recorded.as_ref().or(server.desired.as_ref())
}
