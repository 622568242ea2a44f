//! What is written when an agent has answered.

use super::{Writer, vm_state};
use crate::executor::node::{Failure, Node};
use crate::executor::request::AgentResult;
use crate::executor::write::RecordWrite;
use crate::model::{OperationStatus, OwnershipState, ServerRecord, ServerSpec, TriedHost, VmState};
use crate::plan::{ActionKind, Keep};
use drover_types::{Epoch, Generation, PowerState};

impl Writer<'_> {
    /// A result, with the record it leads to.
    pub(in crate::executor) fn success(&self, node: &Node, result: &AgentResult) -> Vec<RecordWrite> {
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
    pub(in crate::executor) fn failure(&self, node: &Node, failure: &Failure) -> Vec<RecordWrite> {
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
    pub(in crate::executor) fn retry(&self, node: &Node, failure: &Failure, next: &Node) -> Vec<RecordWrite> {
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
    pub(in crate::executor) fn tried(&self, node: &Node, failure: &Failure) -> Option<TriedHost> {
        let everywhere = failure
            .code
            .is_some_and(crate::executor::FailureCode::is_everywhere);
        // Neither says anything of the host.
        let never_began = matches!(
            failure.code,
            Some(crate::executor::FailureCode::Withdrawn | crate::executor::FailureCode::CutShort)
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
}
