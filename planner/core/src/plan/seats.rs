//! What is taken of hosts' NUMA cells before anything is done: by whom hosts report it.

use super::build::Inputs;
use super::demand::{AsIt, demand, gives_cells};
use super::world::{name_of, where_counted};
use crate::diff::ServerDiff;
use crate::model::{HostInventory, ServerSpec};
use crate::placement::{Name, NumaCell, Seated};
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

/// What servers that are counted by their records have taken of their host's cells, where it reports that.
pub(super) fn seats(
    inputs: &Inputs<'_>,
    servers: &BTreeMap<Address, ServerDiff>,
) -> BTreeMap<HostName, BTreeMap<Name, Seated>> {
    let mut seats: BTreeMap<HostName, BTreeMap<Name, Seated>> = BTreeMap::new();
    if !gives_cells(inputs.desired) {
        return seats;
    }
    for (address, server) in servers {
        let Some((host, spec)) = where_counted(server).zip(present(server)) else {
            continue;
        };
        let inventory = (inputs.observed.get(host)).and_then(|observation| observation.inventory());
        let domain = inventory.and_then(|inventory| inventory.domains.get(&server.id.uuid()));
        if let Some(domain) = domain.filter(|domain| !domain.cells.is_empty()) {
            let seated = Seated {
                demand: demand(inputs.desired, inputs.recorded, spec, AsIt::Is),
                taken: domain.cells.clone(),
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
