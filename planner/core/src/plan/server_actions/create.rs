//! A server comes to be: created, or made anew in place of what is there.

use super::super::action::{Action, ActionKind, Candidate, Hidden, Keep, Precondition};
use super::super::build::host_address;
use super::super::reason::{Impact, Reason};
use super::super::types::Blocked;
use super::Chain;
use crate::executor::ImageOrder;
use drover_types::{Address, Epoch, Generation, HostName, OperationId, ServerId};
use serde_json::Value;
use std::collections::BTreeMap;

impl Chain<'_, '_> {
    pub(super) fn create(
        &mut self,
        why: &Reason,
        records: &BTreeMap<Address, OperationId>,
        home: Option<HostName>,
        impact: Impact,
    ) -> Result<(), Box<Blocked>> {
        let hosts: Vec<HostName> = match home {
            Some(home) => vec![home],
            None => match self.graph.placements.chosen.get(self.address) {
                Some(placement) => std::iter::once(&placement.host)
                    .chain(&placement.alternates)
                    .cloned()
                    .collect(),
                // It found no host, and is blocked.
                None => return Ok(()),
            },
        };
        let spec = self.spec().clone();
        let order = self.order(&spec, self.generation.next(), false)?;
        let before = match impact {
            Impact::Rebuild | Impact::Replace => self.before(),
            Impact::None
            | Impact::Live
            | Impact::Migrate
            | Impact::Pause
            | Impact::Reboot
            | Impact::Destroy => Value::Null,
        };
        let mut candidates = Vec::new();
        for host in hosts {
            let epoch = self.reserve();
            candidates.push(Candidate {
                operation: self
                    .graph
                    .operation("create", self.address, &format!("{host} {epoch}")),
                incarnation: self
                    .graph
                    .inputs
                    .observed
                    .get(&host)
                    .and_then(|observation| observation.inventory())
                    .map(|inventory| inventory.incarnation),
                host,
                epoch,
            });
        }
        let host = candidates
            .first()
            .expect("a create has a first host")
            .host
            .clone();
        let fetch = self.fetch(&host, order.image.as_ref());
        self.after.extend(fetch);
        for candidate in &candidates {
            self.after.extend(records.get(&host_address(&candidate.host)));
        }
        let waits = self.graph.placements.after_deletions.contains(self.address);
        for candidate in &candidates {
            for (deletion, name) in self.graph.deletions.get(&candidate.host).into_iter().flatten() {
                if waits || *name == spec.name {
                    self.after.push(*deletion);
                }
            }
        }
        let id = candidates.first().expect("a create has a first host").operation;
        let after = self.after_on(Some(&host));
        let kind = ActionKind::CreateServer {
            order: Box::new(order),
            spec: Box::new(spec),
            incarnation: self.incarnation,
            candidates,
            replaces: (self.id != self.server.id).then_some(self.server.id),
        };
        let precondition = if self.id == self.server.id {
            Precondition::Unplaced
        } else {
            let (host, epoch) = self.held();
            Precondition::Replaces {
                server: self.server.id,
                host,
                epoch,
            }
        };
        self.push((id, Some(host)), kind, precondition, why, (before, after), impact);
        Ok(())
    }

    /// Another server at the address; the old one goes once it is there. Where it finds no host, all stays.
    pub(super) fn replace(
        &mut self,
        why: &Reason,
        records: &BTreeMap<Address, OperationId>,
    ) -> Result<(), Box<Blocked>> {
        if !self.graph.placements.chosen.contains_key(self.address) {
            return Ok(());
        }
        let old = (self.burnt, self.generation);
        let recorded = self.graph.inputs.recorded;
        self.incarnation = recorded.incarnations.get(self.address).copied().unwrap_or(0) + 1;
        self.id = ServerId::derive(self.graph.inputs.lineage, self.address, self.incarnation);
        (self.burnt, self.generation) = (Epoch::new(0), Generation::new(0));
        self.create(why, records, None, Impact::Replace)?;
        (self.burnt, self.generation) = old;
        self.delete(why, Keep::Successor, Impact::Destroy);
        Ok(())
    }

    /// The fetch of an image onto a host, where it is not in its cache.
    pub(super) fn fetch(&mut self, host: &HostName, image: Option<&ImageOrder>) -> Option<OperationId> {
        let image = image?;
        let address = self.spec().image_address()?.clone();
        let cached = self
            .graph
            .inputs
            .observed
            .get(host)
            .and_then(|observation| observation.inventory())
            .is_some_and(|inventory| {
                inventory
                    .images
                    .iter()
                    .any(|cached| cached.checksum == image.checksum)
            });
        if cached {
            return None;
        }
        let key = (host.clone(), image.checksum);
        if let Some(at) = self.graph.fetches.get(&key).copied() {
            let action = &mut self.graph.actions[at];
            if let ActionKind::EnsureImage { image: planned } = &mut action.kind {
                planned.max_virtual_size = planned.max_virtual_size.max(image.max_virtual_size);
            }
            return Some(action.id);
        }
        let hidden =
            (self.graph.inputs.desired.images.get(&address)).map(|image| image.spec.sensitive.clone());
        let id = self
            .graph
            .operation("fetch", &address, &format!("{host} {}", image.checksum));
        self.graph.fetches.insert(key, self.graph.actions.len());
        self.graph.push(Action {
            id,
            address,
            host: Some(host.clone()),
            kind: ActionKind::EnsureImage { image: image.clone() },
            precondition: Precondition::AgentLooks,
            why: Reason::ImageNeeded,
            before: Value::Null,
            after: Value::Null,
            hidden: Hidden::new(None, hidden.as_ref()),
            impact: Impact::None,
            depends_on: Vec::new(),
        });
        Some(id)
    }
}
