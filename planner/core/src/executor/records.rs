//! What each step of an action writes.

use super::event::HeldLock;
use super::journal::Journaled;
use super::node::{Failure, Node};
use super::request::AgentResult;
use super::write::RecordWrite;
use crate::model::{
    ClaimedTask, DeposedServer, HostRecord, OperationRecord, OperationStatus, Ownership, OwnershipState,
    PlainRecord, Power, RecordedFleet, ServerRecord, ServerSpec, TriedHost, VmState,
};
use crate::plan::{ActionKind, Keep, RecordChange};
use crate::record::FORMAT;
use drover_types::{Address, Epoch, Generation, HostName, OperationId, PowerState, ServerId};

/// What is the same in all of an apply's records.
pub(super) struct Writer<'a> {
    pub(super) fleet: &'a RecordedFleet,
    pub(super) lock: &'a HeldLock,
    pub(super) now: &'a str,
    pub(super) plan: &'a str,
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

    /// The intent of an action that asks an agent.
    pub(super) fn intent(&self, node: &Node) -> Vec<RecordWrite> {
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

    /// A result, with the record it leads to.
    pub(super) fn success(&self, node: &Node, result: &AgentResult) -> Vec<RecordWrite> {
        let Some(host) = node.host().cloned() else {
            return Vec::new();
        };
        let mut writes = vec![self.operation(node, &host, OperationStatus::Succeeded)];
        let settled = |record: &mut ServerRecord, spec: &ServerSpec, generation: Generation| {
            record.spec = spec.clone();
            record.generation = record.generation.max(generation);
            record.vm_state = vm_state(spec.power);
            record.task = None;
        };
        match &node.action.kind {
            ActionKind::CreateServer {
                order,
                spec,
                candidates,
                ..
            } => {
                let epoch = candidates
                    .get(node.candidate)
                    .map_or(Epoch::new(0), |candidate| candidate.epoch);
                writes.extend(self.server(node, |record| {
                    settled(record, spec, order.generation);
                    record.host = Some(host.clone());
                    record.tried.clear();
                    if let AgentResult::Server {
                        frozen: Some(frozen), ..
                    } = result
                    {
                        record.frozen = Some(frozen.clone());
                    }
                }));
                writes.extend(self.own(node, &host, epoch, epoch, OwnershipState::Held));
            }
            ActionKind::Import {
                spec,
                generation,
                epoch,
                ..
            } => {
                writes.extend(self.server(node, |record| {
                    settled(record, spec, *generation);
                    record.host = Some(host.clone());
                }));
                writes.extend(self.own(node, &host, *epoch, *epoch, OwnershipState::Held));
            }
            ActionKind::TakeOver { epoch, .. } => {
                writes.extend(self.server(node, |record| {
                    record.host = Some(host.clone());
                    record.task = None;
                }));
                writes.extend(self.own(node, &host, *epoch, *epoch, OwnershipState::Held));
            }
            ActionKind::UpdateServer { order, spec, .. } => {
                writes.extend(self.server(node, |record| {
                    settled(record, spec, order.generation);
                    if let AgentResult::Server {
                        frozen: Some(frozen), ..
                    } = result
                    {
                        record.frozen = Some(frozen.clone());
                    }
                }));
            }
            ActionKind::SetPower { spec, generation, .. } => {
                writes.extend(self.server(node, |record| settled(record, spec, *generation)));
            }
            ActionKind::DeleteServer { server, keep, .. } => match keep {
                Keep::Nothing | Keep::Guest => {
                    writes.push(RecordWrite::Server(node.action.address.clone(), None));
                    writes.push(RecordWrite::Ownership(*server, None));
                }
                Keep::Record => writes.extend(self.server(node, |record| {
                    record.host = None;
                    record.imported_from = None;
                    record.vm_state = VmState::Building;
                    record.task = None;
                })),
                Keep::Leftover => writes.extend(self.server(node, |record| record.task = None)),
                Keep::Successor => {
                    writes.push(RecordWrite::Deposed(*server, None));
                    writes.push(RecordWrite::Ownership(*server, None));
                }
            },
            ActionKind::Migrate { to, new_epoch, .. } => {
                writes.extend(self.server(node, |record| {
                    record.host = Some(to.clone());
                    record.task = None;
                    if let AgentResult::Server { power_state, .. } = result {
                        record.vm_state = match power_state {
                            PowerState::Shutdown => VmState::Stopped,
                            PowerState::NoState
                            | PowerState::Running
                            | PowerState::Paused
                            | PowerState::ShuttingDown
                            | PowerState::Crashed
                            | PowerState::Suspended => VmState::Active,
                        };
                    }
                }));
                writes.extend(self.own(node, to, *new_epoch, *new_epoch, OwnershipState::Held));
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

    /// A failure that is certain: what was granted is void.
    pub(super) fn failure(&self, node: &Node, failure: &Failure) -> Vec<RecordWrite> {
        let Some(host) = node.host().cloned() else {
            return Vec::new();
        };
        let status = OperationStatus::Failed {
            reason: failure.message.clone(),
        };
        let mut writes = vec![self.operation(node, &host, status)];
        match &node.action.kind {
            ActionKind::CreateServer {
                replaces: Some(replaces),
                ..
            } => writes.extend(self.reinstate(node, *replaces, self.tried(node, failure))),
            ActionKind::CreateServer { replaces: None, .. } => {
                let tried = self.tried(node, failure);
                writes.extend(self.server(node, |record| {
                    record.task = None;
                    record.tried.extend(tried);
                }));
            }
            // The domain is nobody's as before.
            ActionKind::Import { server, .. } => {
                writes.push(RecordWrite::Server(node.action.address.clone(), None));
                if self.fleet.ownership.contains_key(server) {
                    writes.push(RecordWrite::Ownership(*server, None));
                }
            }
            ActionKind::Migrate {
                epoch,
                fallback_epoch,
                ..
            } => {
                writes.extend(self.server(node, |record| record.task = None));
                writes.extend(self.own(node, &host, *epoch, *fallback_epoch, OwnershipState::Held));
            }
            ActionKind::TakeOver { .. }
            | ActionKind::UpdateServer { .. }
            | ActionKind::SetPower { .. }
            | ActionKind::DeleteServer { .. } => {
                writes.extend(self.server(node, |record| record.task = None));
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

    /// The failure of one candidate and the intent of the next, in one.
    pub(super) fn retry(&self, node: &Node, failure: &Failure, next: &Node) -> Vec<RecordWrite> {
        let Some(host) = node.host().cloned() else {
            return Vec::new();
        };
        let status = OperationStatus::Failed {
            reason: failure.message.clone(),
        };
        let mut writes = vec![self.operation(node, &host, status)];
        for write in self.intent(next) {
            writes.push(match write {
                RecordWrite::Server(address, Some(mut record)) => {
                    record.tried.extend(self.tried(node, failure));
                    RecordWrite::Server(address, Some(record))
                }
                other => other,
            });
        }
        writes
    }

    /// What the next plan is told of a host that could not.
    pub(super) fn tried(&self, node: &Node, failure: &Failure) -> Option<TriedHost> {
        let everywhere = failure.code.is_some_and(super::FailureCode::is_everywhere);
        // Neither says anything of the host.
        let never_began = matches!(
            failure.code,
            Some(super::FailureCode::Withdrawn | super::FailureCode::CutShort)
        );
        let ActionKind::CreateServer { candidates, .. } = &node.action.kind else {
            return None;
        };
        let candidate = candidates.get(node.candidate)?;
        (!everywhere && !never_began).then(|| TriedHost {
            host: candidate.host.clone(),
            incarnation: candidate.incarnation,
            reason: failure.message.clone(),
            plan: self.plan.to_owned(),
        })
    }

    /// All of an action that asks no agent.
    pub(super) fn record(&self, node: &Node) -> Vec<RecordWrite> {
        let address = node.action.address.clone();
        match &node.action.kind {
            ActionKind::Record(change) => vec![self.plain(node, change)],
            ActionKind::Move { from, .. } => self.moved(from, &address),
            ActionKind::Adopt {
                server,
                incarnation,
                spec,
                imported_from,
                ownership,
            } => {
                let mut writes = Vec::new();
                let known = self.fleet.servers.get(&address).cloned();
                let record = known.or_else(|| {
                    spec.as_ref().map(|spec| ServerRecord {
                        format: FORMAT,
                        id: *server,
                        incarnation: *incarnation,
                        generation: Generation::new(1),
                        spec: (**spec).clone(),
                        host: None,
                        imported_from: imported_from.clone(),
                        frozen: None,
                        vm_state: vm_state(spec.power),
                        task: None,
                        tried: Vec::new(),
                    })
                });
                if let Some(mut record) = record {
                    record.host = Some(ownership.host.clone());
                    record.tried.clear();
                    record.vm_state = vm_state(record.spec.power);
                    writes.push(RecordWrite::Server(address.clone(), Some(Box::new(record))));
                }
                let mut row = ownership.clone();
                row.burnt = row.burnt.max(self.burnt(node));
                writes.push(RecordWrite::Ownership(*server, Some(row)));
                writes.extend(self.incarnation(&address, *incarnation));
                writes
            }
            ActionKind::RecordServer { spec, generation, .. } => self
                .server(node, |record| {
                    record.spec = (**spec).clone();
                    record.generation = record.generation.max(*generation);
                })
                .into_iter()
                .collect(),
            ActionKind::ForgetServer { server } => {
                let mut writes = vec![RecordWrite::Server(address, None)];
                if self.fleet.ownership.contains_key(server) {
                    writes.push(RecordWrite::Ownership(*server, None));
                }
                writes
            }
            ActionKind::Settle { .. }
            | ActionKind::EnsureImage { .. }
            | ActionKind::DeleteImage { .. }
            | ActionKind::CreateServer { .. }
            | ActionKind::Import { .. }
            | ActionKind::TakeOver { .. }
            | ActionKind::UpdateServer { .. }
            | ActionKind::SetPower { .. }
            | ActionKind::DeleteServer { .. }
            | ActionKind::Migrate { .. } => Vec::new(),
        }
    }

    /// The record of one address under another.
    fn moved(&self, from: &Address, to: &Address) -> Vec<RecordWrite> {
        let fleet = self.fleet;
        let mut writes = Vec::new();
        if let Some(record) = fleet.servers.get(from) {
            writes.push(RecordWrite::Server(from.clone(), None));
            writes.push(RecordWrite::Server(to.clone(), Some(Box::new(record.clone()))));
        }
        if let Some(record) = fleet.flavors.get(from) {
            writes.push(RecordWrite::Flavor(from.clone(), None));
            writes.push(RecordWrite::Flavor(to.clone(), Some(record.clone())));
        }
        if let Some(record) = fleet.images.get(from) {
            writes.push(RecordWrite::Image(from.clone(), None));
            writes.push(RecordWrite::Image(to.clone(), Some(record.clone())));
        }
        if let Some(record) = fleet.groups.get(from) {
            writes.push(RecordWrite::Group(from.clone(), None));
            writes.push(RecordWrite::Group(to.clone(), Some(record.clone())));
        }
        if let Some(record) = fleet.aggregates.get(from) {
            writes.push(RecordWrite::Aggregate(from.clone(), None));
            writes.push(RecordWrite::Aggregate(to.clone(), Some(record.clone())));
        }
        for (id, deposed) in fleet
            .deposed
            .iter()
            .filter(|(_, deposed)| deposed.address == *from)
        {
            let deposed = DeposedServer {
                address: to.clone(),
                ..deposed.clone()
            };
            writes.push(RecordWrite::Deposed(*id, Some(Box::new(deposed))));
        }
        writes
    }

    fn plain(&self, node: &Node, change: &RecordChange) -> RecordWrite {
        fn next<S: Clone>(known: Option<&PlainRecord<S>>, spec: Option<&S>) -> Option<PlainRecord<S>> {
            spec.map(|spec| PlainRecord {
                format: FORMAT,
                generation: known.map_or(Generation::new(1), |record| record.generation.next()),
                spec: spec.clone(),
            })
        }
        let address = node.action.address.clone();
        match change {
            RecordChange::Host(to) => {
                let host = super::state::host_of(&address);
                let known = self.fleet.hosts.get(&host);
                let record = to.as_ref().map(|(spec, incarnation)| HostRecord {
                    format: FORMAT,
                    generation: known.map_or(Generation::new(1), |record| record.generation.next()),
                    spec: spec.clone(),
                    incarnation: *incarnation,
                });
                RecordWrite::Host(host, record)
            }
            RecordChange::Flavor(to) => {
                let record = next(self.fleet.flavors.get(&address), to.as_ref());
                RecordWrite::Flavor(address, record)
            }
            RecordChange::Image(to) => {
                let record = next(self.fleet.images.get(&address), to.as_ref());
                RecordWrite::Image(address, record)
            }
            RecordChange::Group(to) => {
                let record = next(self.fleet.groups.get(&address), to.as_ref());
                RecordWrite::Group(address, record)
            }
            RecordChange::Aggregate(to) => {
                let record = next(self.fleet.aggregates.get(&address), to.as_ref());
                RecordWrite::Aggregate(address, record)
            }
        }
    }

    /// The journal entries of operations that agents carry on alone.
    pub(super) fn detach(&self, operations: &[OperationId]) -> Vec<RecordWrite> {
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
