//! A server moves to another host.

use super::super::action::{ActionKind, Precondition};
use super::super::build::{Graph, host_address};
use super::super::demand::{self, AsIt};
use super::super::reason::{Impact, Reason};
use super::super::types::{Blocked, BlockedBy};
use super::Chain;
use crate::model::Endpoint;
use drover_types::{Address, HostName, OperationId};
use std::collections::BTreeMap;

impl Chain<'_, '_> {
    pub(super) fn migrate(
        &mut self,
        why: &Reason,
        to: &HostName,
        records: &BTreeMap<Address, OperationId>,
    ) -> Result<(), Box<Blocked>> {
        let (from, epoch) = self.held();
        let endpoint = |graph: &Graph<'_>, host: &HostName| -> Option<Endpoint> {
            let declared = graph
                .inputs
                .desired
                .hosts
                .get(host)
                .map(|host| host.spec.address.clone());
            declared.or_else(|| graph.inputs.recorded.endpoint(host).cloned())
        };
        let (Some(source_address), Some(destination_address)) =
            (endpoint(self.graph, &from), endpoint(self.graph, to))
        else {
            return Err(Box::new(Blocked {
                address: self.address.clone(),
                verb: "migrate".to_owned(),
                why: why.clone(),
                by: BlockedBy::Unobserved { host: from },
                hint: "declare its host".to_owned(),
            }));
        };
        let cold = !self.seat.as_ref().is_some_and(|seat| seat.running);
        let new_epoch = self.reserve();
        let fallback_epoch = self.reserve();
        let spec = self.present().clone();
        let mut order = self.order(&spec, self.generation, true)?;
        // It moves as it is, and changes afterwards.
        (order.numa, order.devices) = demand::order(self.graph.inputs, &spec, AsIt::Is);
        let memory = if cold { 0 } else { order.ram_mib << 20 };
        let copy_bytes = order.disk_bytes.saturating_add(memory);
        self.after.extend(records.get(&host_address(to)));
        self.wait_for_deletions(to);
        let id = self
            .graph
            .operation("migrate", self.address, &format!("{from} {to} {new_epoch}"));
        let (before, after) = (self.before(), self.present_on(Some(to)));
        let kind = ActionKind::Migrate {
            order: Box::new(order),
            source_address,
            to: to.clone(),
            destination_address,
            epoch,
            new_epoch,
            fallback_epoch,
            cold,
            copy_bytes,
        };
        let held = Precondition::Held {
            host: from.clone(),
            epoch,
        };
        let impact = if cold { Impact::None } else { Impact::Migrate };
        self.push((id, Some(from)), kind, held, why, (before, after), impact);
        if let Some(seat) = &mut self.seat {
            seat.host = to.clone();
            seat.epoch = new_epoch;
        }
        Ok(())
    }

    /// Every migration of a server that moves: straight, or by way of other hosts.
    pub(super) fn travel(
        &mut self,
        why: &Reason,
        to: &HostName,
        records: &BTreeMap<Address, OperationId>,
    ) -> Result<(), Box<Blocked>> {
        let via = self.graph.placements.via.get(self.address);
        for host in via.into_iter().flatten().chain([to]) {
            self.migrate(why, host, records)?;
        }
        Ok(())
    }
}
