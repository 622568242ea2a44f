//! What each step of an action writes.

mod intent;
mod outcome;
mod plain;

use super::event::HeldLock;
use super::journal::Journaled;
use super::node::Node;
use super::write::RecordWrite;
use crate::model::{
    ClaimedTask, DeposedServer, OperationRecord, OperationStatus, Ownership, OwnershipState, Power,
    RecordedFleet, ServerRecord, TriedHost, VmState,
};
use crate::record::FORMAT;
use drover_types::{Address, Epoch, HostName, OperationId, ServerId};

/// What is the same in all of an apply's records.
pub(in crate::executor) struct Writer<'a> {
    pub(in crate::executor) fleet: &'a RecordedFleet,
    pub(in crate::executor) lock: &'a HeldLock,
    pub(in crate::executor) now: &'a str,
    pub(in crate::executor) plan: &'a str,
}

const fn vm_state(power: Power) -> VmState {
    match power {
        Power::On => VmState::Active,
        Power::Off => VmState::Stopped,
    }
}

impl Writer<'_> {
    fn operation(&self, node: &Node, host: &HostName, status: OperationStatus) -> RecordWrite {
        let id = node.operation();
        let record = match self.fleet.operations.get(&id) {
            Some(known) => OperationRecord {
                status,
                ..known.clone()
            },
            None => {
                let mut action = node.action.clone();
                // What people were shown is in the plan; the journal keeps what is needed to go on.
                action.before = serde_json::Value::Null;
                action.after = serde_json::Value::Null;
                let journaled = Journaled {
                    action,
                    candidate: node.candidate,
                };
                OperationRecord {
                    format: FORMAT,
                    id,
                    address: node.action.address.clone(),
                    server: node.action.kind.server(),
                    host: host.clone(),
                    action: serde_json::to_value(journaled).expect("an action has only text keys"),
                    token: self.lock.token,
                    plan: self.plan.to_owned(),
                    at: self.now.to_owned(),
                    by: self.fleet.meta.as_ref().and_then(|(meta, _)| meta.by.clone()),
                    status,
                }
            }
        };
        RecordWrite::Operation(id, Some(Box::new(record)))
    }

    fn server(&self, node: &Node, change: impl FnOnce(&mut ServerRecord)) -> Option<RecordWrite> {
        if let Some((id, deposed)) = self.deposed(node) {
            let mut deposed = deposed.clone();
            change(&mut deposed.server);
            return Some(RecordWrite::Deposed(id, Some(Box::new(deposed))));
        }
        let mut record = self.fleet.servers.get(&node.action.address)?.clone();
        change(&mut record);
        Some(RecordWrite::Server(
            node.action.address.clone(),
            Some(Box::new(record)),
        ))
    }

    /// The replaced server that an action works on.
    fn deposed(&self, node: &Node) -> Option<(ServerId, &DeposedServer)> {
        let id = node.action.kind.server()?;
        Some((id, self.fleet.deposed.get(&id)?))
    }

    /// Moves the server that a create replaces out of the way of its successor.
    fn depose(&self, node: &Node, replaces: Option<ServerId>) -> Option<RecordWrite> {
        let address = &node.action.address;
        let old = self.fleet.servers.get(address)?;
        (Some(old.id) == replaces).then(|| {
            let deposed = DeposedServer {
                format: FORMAT,
                address: address.clone(),
                server: old.clone(),
            };
            RecordWrite::Deposed(old.id, Some(Box::new(deposed)))
        })
    }

    /// Puts a replaced server back where its successor cannot be created anywhere.
    fn reinstate(&self, node: &Node, replaces: ServerId, tried: Option<TriedHost>) -> Vec<RecordWrite> {
        let Some(deposed) = self.fleet.deposed.get(&replaces) else {
            return Vec::new();
        };
        let address = &node.action.address;
        let mut record = deposed.server.clone();
        let refused = self.fleet.servers.get(address).map(|record| record.tried.clone());
        record.tried.extend(refused.unwrap_or_default());
        record.tried.extend(tried);
        let mut writes = vec![
            RecordWrite::Server(address.clone(), Some(Box::new(record))),
            RecordWrite::Deposed(replaces, None),
        ];
        if let Some(successor) = node.action.kind.server()
            && self.fleet.ownership.contains_key(&successor)
        {
            writes.push(RecordWrite::Ownership(successor, None));
        }
        writes
    }

    fn claim(&self, node: &Node) -> ClaimedTask {
        ClaimedTask {
            operation: node.operation(),
            name: node.action.kind.verb().to_owned(),
            holder: self.lock.holder.clone(),
            since: self.now.to_owned(),
        }
    }

    fn burnt(&self, node: &Node) -> Epoch {
        node.action
            .kind
            .server()
            .and_then(|id| self.fleet.ownership.get(&id))
            .map_or(Epoch::new(0), |row| row.burnt)
    }

    fn own(
        &self,
        node: &Node,
        host: &HostName,
        epoch: Epoch,
        burnt: Epoch,
        state: OwnershipState,
    ) -> Option<RecordWrite> {
        let row = Ownership {
            format: FORMAT,
            host: host.clone(),
            epoch,
            burnt: self.burnt(node).max(burnt).max(epoch),
            state,
        };
        Some(RecordWrite::Ownership(node.action.kind.server()?, Some(row)))
    }

    /// The count of servers at an address, where it rises.
    fn incarnation(&self, address: &Address, incarnation: u64) -> Option<RecordWrite> {
        let known = self.fleet.incarnations.get(address);
        known
            .is_none_or(|count| *count < incarnation)
            .then(|| RecordWrite::Incarnation(address.clone(), incarnation))
    }

    /// The journal entries of operations that agents carry on alone.
    pub(in crate::executor) fn detach(&self, operations: &[OperationId]) -> Vec<RecordWrite> {
        operations
            .iter()
            .filter_map(|id| {
                let record = self.fleet.operations.get(id)?;
                match record.status {
                    OperationStatus::Intent | OperationStatus::Detached => {}
                    OperationStatus::Succeeded | OperationStatus::Failed { .. } => return None,
                }
                let record = OperationRecord {
                    status: OperationStatus::Detached,
                    ..record.clone()
                };
                Some(RecordWrite::Operation(*id, Some(Box::new(record))))
            })
            .collect()
    }
}
