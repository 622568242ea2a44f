//! A server that stays: taken over, updated, started, stopped, written down.

use super::super::action::{ActionKind, Keep, Precondition};
use super::super::reason::{Impact, Reason};
use super::super::types::Blocked;
use super::Chain;
use crate::diff::attributes;
use crate::model::{Ownership, OwnershipState, Power};
use crate::record::FORMAT;
use drover_types::{Epoch, HostName};
use serde_json::Value;

impl Chain<'_, '_> {
    pub(super) fn adopt(&mut self, why: &Reason) {
        let (host, epoch) = self.held();
        let id = self
            .graph
            .operation("adopt", self.address, &format!("{host} {epoch}"));
        let spec = match self.server.recorded {
            Some(_) => None,
            None => self.server.desired.clone().map(Box::new),
        };
        let kind = ActionKind::Adopt {
            server: self.server.id,
            incarnation: self.server.incarnation,
            spec,
            imported_from: self.server.imported.clone(),
            ownership: Ownership {
                format: FORMAT,
                host: host.clone(),
                epoch,
                burnt: self.burnt.max(epoch),
                state: OwnershipState::Held,
            },
        };
        let before = self.server.recorded.as_ref().map_or(Value::Null, |spec| {
            attributes::server(spec, self.server.id, self.server.recorded_host.as_ref())
        });
        let after = self.present_on(Some(&host));
        let placed = Precondition::Placed {
            host: self.server.recorded_host.clone(),
        };
        self.push((id, Some(host)), kind, placed, why, (before, after), Impact::None);
    }

    pub(super) fn take_over(
        &mut self,
        why: &Reason,
        leftover: Option<&(HostName, Epoch)>,
    ) -> Result<(), Box<Blocked>> {
        let recorded = self.server.recorded_host.clone();
        let before = attributes::server(self.present(), self.server.id, recorded.as_ref());
        if let Some((host, epoch)) = leftover {
            let id = self
                .graph
                .operation("leftover", self.address, &format!("{host} {epoch}"));
            let kind = ActionKind::DeleteServer {
                server: self.server.id,
                epoch: *epoch,
                keep: Keep::Leftover,
                imported_from: None,
            };
            let placed = Precondition::Placed {
                host: recorded.clone(),
            };
            self.push(
                (id, Some(host.clone())),
                kind,
                placed,
                why,
                (before.clone(), before.clone()),
                Impact::None,
            );
        }
        let (host, _) = self.held();
        let epoch = self.reserve();
        if let Some(seat) = &mut self.seat {
            seat.epoch = epoch;
        }
        let spec = self.present().clone();
        let order = self.order(&spec, self.generation, true)?;
        let id = self
            .graph
            .operation("take-over", self.address, &format!("{host} {epoch}"));
        let kind = ActionKind::TakeOver {
            order: Box::new(order),
            spec: Box::new(spec),
            incarnation: self.server.incarnation,
            epoch,
        };
        let after = self.present_on(Some(&host));
        let placed = Precondition::Placed { host: recorded };
        self.push((id, Some(host)), kind, placed, why, (before, after), Impact::None);
        Ok(())
    }

    /// What uses room that deletions on the host give back waits for them.
    pub(super) fn wait_for_deletions(&mut self, host: &HostName) {
        if self.graph.placements.after_deletions.contains(self.address) {
            let deletions = self.graph.deletions.get(host).into_iter().flatten();
            self.after.extend(deletions.map(|(deletion, _)| *deletion));
        }
    }

    pub(super) fn update(&mut self, why: &Reason, impact: Impact) -> Result<(), Box<Blocked>> {
        let (host, epoch) = self.held();
        self.generation = self.generation.next();
        let spec = self.spec().clone();
        let mut order = self.order(&spec, self.generation, true)?;
        self.wait_for_deletions(&host);
        if let Some(seat) = self.seat.as_ref().filter(|_| self.server.keeps_power) {
            order.power = if seat.running { Power::On } else { Power::Off };
        }
        let id = self
            .graph
            .operation("update", self.address, &format!("{host} {epoch}"));
        let (before, after) = (self.before(), self.after_on(Some(&host)));
        let kind = ActionKind::UpdateServer {
            order: Box::new(order),
            spec: Box::new(spec),
            epoch,
        };
        let held = Precondition::Held {
            host: host.clone(),
            epoch,
        };
        self.push((id, Some(host)), kind, held, why, (before, after), impact);
        Ok(())
    }

    pub(super) fn set_power(&mut self, power: Power, why: &Reason) {
        let (host, epoch) = self.held();
        self.generation = self.generation.next();
        let id = self.graph.operation(
            "power",
            self.address,
            &format!("{host} {epoch} {}", power.as_str()),
        );
        let (mut before, after) = (self.before(), self.after_on(Some(&host)));
        if let Reason::PowerDrift { found } = why
            && let Some(attributes) = before.as_object_mut()
        {
            attributes.insert("power".to_owned(), Value::String(found.as_str().to_owned()));
        }
        let kind = ActionKind::SetPower {
            server: self.server.id,
            epoch,
            power,
            spec: Box::new(self.spec().clone()),
            generation: self.generation,
        };
        let held = Precondition::Held {
            host: host.clone(),
            epoch,
        };
        self.push((id, Some(host)), kind, held, why, (before, after), Impact::Reboot);
    }

    pub(super) fn record(&mut self, why: &Reason) {
        self.generation = self.generation.next();
        let id = self.graph.operation("record", self.address, "");
        let host = self.seat.as_ref().map(|seat| seat.host.clone());
        let (before, after) = (self.before(), self.after_on(host.as_ref()));
        let kind = ActionKind::RecordServer {
            server: self.server.id,
            spec: Box::new(self.spec().clone()),
            generation: self.generation,
        };
        let placed = Precondition::Placed { host };
        self.push((id, None), kind, placed, why, (before, after), Impact::None);
    }
}
