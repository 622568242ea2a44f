//! What is written before an agent is asked.

use super::Writer;
use crate::executor::node::Node;
use crate::executor::write::RecordWrite;
use crate::model::{OperationStatus, OwnershipState, ServerRecord, VmState};
use crate::plan::ActionKind;
use crate::record::FORMAT;
use drover_types::Generation;

impl Writer<'_> {
    /// The intent of an action that asks an agent.
    pub(in crate::executor) fn intent(&self, node: &Node) -> Vec<RecordWrite> {
        let Some(host) = node.host().cloned() else {
            return Vec::new();
        };
        let mut writes = vec![self.operation(node, &host, OperationStatus::Intent)];
        let task = self.claim(node);
        let operation = node.operation();
        match &node.action.kind {
            ActionKind::CreateServer {
                order,
                spec,
                incarnation,
                candidates,
                replaces,
            } => {
                let address = &node.action.address;
                writes.extend(self.depose(node, *replaces));
                let mut record = self
                    .fleet
                    .servers
                    .get(address)
                    .filter(|record| record.id == order.id)
                    .cloned()
                    .unwrap_or_else(|| ServerRecord {
                        format: FORMAT,
                        id: order.id,
                        incarnation: *incarnation,
                        generation: Generation::new(0),
                        spec: (**spec).clone(),
                        host: None,
                        imported_from: None,
                        frozen: None,
                        vm_state: VmState::Building,
                        task: None,
                        tried: Vec::new(),
                    });
                record.host = None;
                record.vm_state = VmState::Building;
                record.task = Some(task);
                record.tried.extend(node.tried.iter().cloned());
                writes.push(RecordWrite::Server(address.clone(), Some(Box::new(record))));
                if let Some(candidate) = candidates.get(node.candidate) {
                    let granted = OwnershipState::Granted { operation };
                    writes.extend(self.own(node, &host, candidate.epoch, candidate.epoch, granted));
                }
                writes.extend(self.incarnation(address, *incarnation));
            }
            ActionKind::Import {
                server,
                from,
                spec,
                incarnation,
                epoch,
                ..
            } => {
                let address = &node.action.address;
                let record = ServerRecord {
                    format: FORMAT,
                    id: *server,
                    incarnation: *incarnation,
                    generation: Generation::new(0),
                    spec: (**spec).clone(),
                    host: None,
                    imported_from: Some(from.clone()),
                    frozen: None,
                    vm_state: VmState::Building,
                    task: Some(task),
                    tried: Vec::new(),
                };
                writes.push(RecordWrite::Server(address.clone(), Some(Box::new(record))));
                writes.extend(self.own(node, &host, *epoch, *epoch, OwnershipState::Granted { operation }));
                writes.extend(self.incarnation(address, *incarnation));
            }
            ActionKind::TakeOver { epoch, .. } => {
                writes.extend(self.server(node, |record| record.task = Some(task)));
                writes.extend(self.own(node, &host, *epoch, *epoch, OwnershipState::Granted { operation }));
            }
            ActionKind::Migrate {
                to,
                epoch,
                new_epoch,
                fallback_epoch,
                ..
            } => {
                writes.extend(self.server(node, |record| record.task = Some(task)));
                let migrating = OwnershipState::Migrating {
                    to: to.clone(),
                    operation,
                    epoch: *new_epoch,
                };
                writes.extend(self.own(node, &host, *epoch, *fallback_epoch, migrating));
            }
            ActionKind::UpdateServer { .. }
            | ActionKind::SetPower { .. }
            | ActionKind::DeleteServer { .. } => {
                writes.extend(self.server(node, |record| record.task = Some(task)));
            }
            ActionKind::EnsureImage { .. }
            | ActionKind::DeleteImage { .. }
            | ActionKind::Settle { .. }
            | ActionKind::Adopt { .. }
            | ActionKind::RecordServer { .. }
            | ActionKind::ForgetServer { .. }
            | ActionKind::Move { .. }
            | ActionKind::Record(_) => {}
        }
        writes
    }
}
