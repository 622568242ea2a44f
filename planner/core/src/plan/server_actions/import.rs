//! A server comes to be by taking over a domain that is there.

use super::super::action::{ActionKind, FoundSize, Precondition};
use super::super::build::host_address;
use super::super::reason::{Impact, Reason};
use super::Chain;
use crate::diff::{Seat, attributes};
use crate::model::Power;
use drover_types::{Address, OperationId};
use serde_json::Value;
use std::collections::BTreeMap;

impl Chain<'_, '_> {
    /// Takes the domain over on the host where it is.
    pub(super) fn import(&mut self, why: &Reason, records: &BTreeMap<Address, OperationId>) {
        let (Some(from), Some(seat)) = (self.server.imported.clone(), self.seat.clone()) else {
            return;
        };
        let domain = self
            .graph
            .inputs
            .observed
            .get(&seat.host)
            .and_then(|observation| observation.inventory())
            .and_then(|inventory| inventory.domains.get(&self.server.id.uuid()));
        let Some(domain) = domain else { return };
        let found = FoundSize {
            vcpus: domain.vcpus,
            ram_mib: domain.ram_mib,
            disk_mib: domain.own_disk_mib(),
        };
        let epoch = self.reserve();
        let id = self
            .graph
            .operation("import", self.address, &format!("{from} {epoch}"));
        self.generation = self.generation.next();
        let mut spec = self.spec().clone();
        spec.power = if seat.running { Power::On } else { Power::Off };
        let after = attributes::server(&spec, self.server.id, Some(&seat.host));
        self.after.extend(records.get(&host_address(&seat.host)));
        let kind = ActionKind::Import {
            server: self.server.id,
            from,
            spec: Box::new(spec),
            incarnation: self.incarnation,
            generation: self.generation,
            epoch,
            found,
        };
        let host = seat.host.clone();
        self.seat = Some(Seat { epoch, ..seat });
        self.push(
            (id, Some(host)),
            kind,
            Precondition::Unplaced,
            why,
            (Value::Null, after),
            Impact::None,
        );
    }
}
