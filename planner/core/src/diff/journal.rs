//! Open operations of earlier commands: what a plan may assume of them before apply has settled them.
//!
//! Apply settles every one of them first, by its own id. Until then the hosts' reports say which end is to be
//! expected; where they do not, nothing is planned on the server.

use super::sight::Sightings;
use super::types::{FleetDiff, Settlement};
use crate::executor::Journaled;
use crate::model::{
    OperationRecord, OperationStatus, Ownership, OwnershipState, RecordedFleet, ServerRecord, VmState,
};
use crate::plan::{ActionKind, Finding, Keep, Severity};
use drover_types::{Address, OperationId, ServerId};
use std::collections::BTreeMap;

/// A server as recorded, with the expected ends of its open operations applied.
#[derive(Debug, Clone, Default)]
pub(super) struct Belief {
    pub(super) record: Option<ServerRecord>,
    pub(super) ownership: Option<Ownership>,
    pub(super) settle: Vec<OperationId>,
    /// Why nothing may be planned on it.
    pub(super) hold: Option<String>,
}

pub(super) type Beliefs = BTreeMap<Address, Belief>;

/// The same of servers that were replaced, by their ids.
pub(super) type Deposed = BTreeMap<ServerId, (Address, Belief)>;

fn is_open(record: &OperationRecord) -> bool {
    match record.status {
        OperationStatus::Intent | OperationStatus::Detached => true,
        OperationStatus::Succeeded | OperationStatus::Failed { .. } => false,
    }
}

/// What is believed of every recorded server; the operations to settle go into the diff.
pub(super) fn believe(
    recorded: &RecordedFleet,
    sightings: &Sightings<'_>,
    diff: &mut FleetDiff,
) -> (Beliefs, Deposed) {
    let as_recorded = |record: &ServerRecord| Belief {
        record: Some(record.clone()),
        ownership: recorded.ownership.get(&record.id).cloned(),
        settle: Vec::new(),
        hold: claim(record, recorded, sightings),
    };
    let mut beliefs: Beliefs = recorded
        .servers
        .iter()
        .map(|(address, record)| (address.clone(), as_recorded(record)))
        .collect();
    let mut deposed: Deposed = recorded
        .deposed
        .iter()
        .map(|(id, deposed)| (*id, (deposed.address.clone(), as_recorded(&deposed.server))))
        .collect();
    for (id, record) in recorded.operations.iter().filter(|(_, record)| is_open(record)) {
        let journaled = Journaled::read(record);
        let running = sightings.operation(&record.host, *id) == Some(true);
        let belief = match record.server.and_then(|id| deposed.get_mut(&id)) {
            Some((_, belief)) => belief,
            None => beliefs.entry(record.address.clone()).or_default(),
        };
        let verb = match &journaled {
            Ok(journaled) => journaled.action.kind.verb().to_owned(),
            Err(_) => "operation".to_owned(),
        };
        diff.settle.insert(
            *id,
            Settlement {
                address: record.address.clone(),
                server: record.server,
                host: record.host.clone(),
                verb,
                by: record.by.clone(),
            },
        );
        belief.settle.push(*id);
        match journaled {
            Ok(journaled) => expect(belief, record, &journaled, running, sightings),
            Err(error) => {
                belief.hold = Some("an open operation of it cannot be read".to_owned());
                diff.findings.push(Finding {
                    severity: Severity::Error,
                    address: Some(record.address.clone()),
                    message: format!("the journal entry {id} cannot be read: {error}"),
                    hint: "use the drover that wrote it to finish it".to_owned(),
                });
            }
        }
    }
    beliefs.retain(|address, belief| {
        belief.record.is_some() || belief.hold.is_some() || recorded.servers.contains_key(address)
    });
    deposed.retain(|_, (_, belief)| belief.record.is_some() || !belief.settle.is_empty());
    (beliefs, deposed)
}

/// A claim by a command on this one server, which has no entry in the journal: it counts while its host works on
/// it. One whose work never began or has ended was left by a command that died; the fencing token of the next
/// apply keeps its request from beginning later.
fn claim(record: &ServerRecord, recorded: &RecordedFleet, sightings: &Sightings<'_>) -> Option<String> {
    let (task, host) = (record.task.as_ref()?, record.host.as_ref()?);
    let of_an_apply = recorded.operations.contains_key(&task.operation);
    let at_work = sightings.operation(host, task.operation) == Some(true);
    (at_work && !of_an_apply).then(|| {
        format!(
            "it is claimed: {} by {} since {}",
            task.name, task.holder, task.since
        )
    })
}

fn place(belief: &mut Belief, host: &drover_types::HostName, epoch: drover_types::Epoch) {
    if let Some(record) = &mut belief.record {
        record.host = Some(host.clone());
        record.vm_state = VmState::Active;
    }
    let burnt = belief
        .ownership
        .as_ref()
        .map_or(epoch, |row| row.burnt.max(epoch));
    belief.ownership = Some(Ownership {
        format: crate::record::FORMAT,
        host: host.clone(),
        epoch,
        burnt,
        state: OwnershipState::Held,
    });
}

fn expect(
    belief: &mut Belief,
    record: &OperationRecord,
    journaled: &Journaled,
    running: bool,
    sightings: &Sightings<'_>,
) {
    let server: Option<ServerId> = record.server;
    let sighting = server.and_then(|id| sightings.of(id));
    let held = |host| sighting.and_then(|sighting| sighting.held_on(host));
    let answered = sightings.inventory(&record.host).is_some();
    let unobserved = || format!("{} did not answer, and has an open operation of it", record.host);
    match &journaled.action.kind {
        ActionKind::CreateServer {
            order,
            spec,
            candidates,
            ..
        } => {
            let epoch = candidates
                .get(journaled.candidate)
                .map(|candidate| candidate.epoch);
            if !answered {
                belief.hold = Some(unobserved());
            } else if let Some(epoch) = epoch.filter(|epoch| running || held(&record.host) == Some(*epoch)) {
                place(belief, &record.host, epoch);
                if let Some(server) = &mut belief.record {
                    server.spec = (**spec).clone();
                    server.generation = order.generation;
                }
            } else if let Some(server) = &mut belief.record {
                server.host = None;
            }
        }
        ActionKind::Import { epoch, spec, .. } => {
            if !answered {
                belief.hold = Some(unobserved());
            } else if running || held(&record.host) == Some(*epoch) {
                place(belief, &record.host, *epoch);
                if let Some(server) = &mut belief.record {
                    server.spec = (**spec).clone();
                }
            } else {
                // It will be settled as never done: the domain is nobody's.
                belief.record = None;
                belief.ownership = None;
            }
        }
        ActionKind::TakeOver { epoch, .. } => {
            if !answered {
                belief.hold = Some(unobserved());
            } else if held(&record.host) == Some(*epoch) {
                place(belief, &record.host, *epoch);
            }
        }
        ActionKind::DeleteServer { keep, .. } => {
            // A guest that is left there is no longer held.
            let there = match keep {
                Keep::Guest => held(&record.host).is_some(),
                Keep::Nothing | Keep::Record | Keep::Leftover | Keep::Successor => {
                    sighting.is_some_and(|sighting| sighting.on(&record.host).is_some())
                        || held(&record.host).is_some()
                }
            };
            if !answered {
                belief.hold = Some(unobserved());
            } else if running || !there {
                match keep {
                    Keep::Nothing | Keep::Guest | Keep::Successor => {
                        belief.record = None;
                        belief.ownership = None;
                    }
                    Keep::Record => {
                        if let Some(server) = &mut belief.record {
                            server.host = None;
                        }
                    }
                    Keep::Leftover => {}
                }
            }
        }
        ActionKind::Migrate {
            to, epoch, new_epoch, ..
        } => {
            let handing_over = sighting
                .and_then(|sighting| sighting.on(&record.host))
                .is_some_and(|domain| domain.migration.is_some());
            if held(to) == Some(*new_epoch) {
                place(belief, to, *new_epoch);
            } else if answered && held(&record.host) == Some(*epoch) && !handing_over && !running {
                place(belief, &record.host.clone(), *epoch);
            } else {
                belief.hold = Some(format!("it is on its way from {} to {to}", record.host));
            }
        }
        // The domain itself shows how these ended.
        ActionKind::UpdateServer { .. } | ActionKind::SetPower { .. } => {
            if !answered {
                belief.hold = Some(unobserved());
            }
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
}
