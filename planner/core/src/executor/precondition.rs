//! Whether an action is done already, ready, or in conflict with what is recorded.

use super::node::Node;
use crate::model::{OperationStatus, OwnershipState, RecordedFleet, ServerRecord};
use crate::plan::{ActionKind, Keep, Precondition, RecordChange};
use drover_types::{Address, Epoch, Generation, HostName};

/// What is recorded, as seen from an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    Done,
    Ready,
    Conflict { expected: String, found: String },
}

fn conflict(expected: impl Into<String>, found: impl Into<String>) -> Check {
    Check::Conflict {
        expected: expected.into(),
        found: found.into(),
    }
}

fn place(record: Option<&ServerRecord>) -> String {
    match record {
        None => "no record of it".to_owned(),
        Some(record) => match &record.host {
            None => "it is on no host".to_owned(),
            Some(host) => format!("it is on {host}"),
        },
    }
}

fn plain(expected: Option<Generation>, found: Option<Generation>, same: bool) -> Check {
    let show = |generation: Option<Generation>| {
        generation.map_or("no record".to_owned(), |generation| {
            format!("generation {generation}")
        })
    };
    if same {
        Check::Done
    } else if expected == found {
        Check::Ready
    } else {
        conflict(show(expected), show(found))
    }
}

/// Looks at the record that an action is about.
pub(super) fn check(node: &Node, fleet: &RecordedFleet) -> Check {
    let action = &node.action;
    if let (ActionKind::Move { from, .. }, Precondition::RecordedAt { .. }) =
        (&action.kind, &action.precondition)
    {
        return moved(node, from, fleet);
    }
    let id = action.kind.server();
    let record = match id.and_then(|id| fleet.deposed.get(&id)) {
        Some(deposed) => Some(&deposed.server),
        None => fleet.servers.get(&action.address),
    };
    if let Precondition::Replaces { server, host, epoch } = &action.precondition
        && let Some(record) = record.filter(|record| record.id == *server)
    {
        // Not begun: the server to be replaced is still the one at the address.
        return claimed(record, node, fleet)
            .or_else(|| held(record, host, *epoch, fleet))
            .unwrap_or(Check::Ready);
    }
    if let (Some(record), Some(id)) = (record, id) {
        let deposed_before = matches!(
            &action.kind,
            ActionKind::DeleteServer {
                keep: Keep::Successor,
                ..
            }
        );
        if record.id != id && deposed_before {
            return Check::Done;
        }
        if record.id != id {
            return conflict(format!("server {id}"), format!("server {}", record.id));
        }
        if let Some(conflict) = claimed(record, node, fleet) {
            return conflict;
        }
    }
    let row = id.and_then(|id| fleet.ownership.get(&id));
    let at = record.and_then(|record| record.host.as_ref());
    match &action.precondition {
        Precondition::Open | Precondition::AgentLooks | Precondition::RecordedAt { .. } => Check::Ready,
        Precondition::Unplaced => match (&action.kind, record) {
            (ActionKind::ForgetServer { .. }, None) => Check::Done,
            (ActionKind::Import { from, .. }, Some(record))
                if at == action.host.as_ref() && record.imported_from.as_ref() == Some(from) =>
            {
                Check::Done
            }
            (ActionKind::CreateServer { spec, candidates, .. }, Some(record)) if at.is_some() => {
                let planned = candidates.iter().any(|candidate| Some(&candidate.host) == at);
                if planned && record.spec == **spec {
                    Check::Done
                } else {
                    conflict("it is on no host", place(Some(record)))
                }
            }
            (_, Some(record)) if record.host.is_some() => conflict("it is on no host", place(Some(record))),
            (_, Some(_) | None) => Check::Ready,
        },
        Precondition::Replaces { .. } => match (&action.kind, record) {
            (ActionKind::CreateServer { spec, .. }, Some(record))
                if record.host.is_some() && record.spec == **spec =>
            {
                Check::Done
            }
            (_, Some(record)) if record.host.is_none() => Check::Ready,
            (_, record) => conflict("the server to be replaced is there", place(record)),
        },
        Precondition::Held { host, epoch } => {
            let Some(record) = record else {
                return match &action.kind {
                    ActionKind::DeleteServer { .. } => Check::Done,
                    _ => conflict(format!("it is on {host}"), place(None)),
                };
            };
            let rebuilt = matches!(
                &action.kind,
                ActionKind::DeleteServer {
                    keep: Keep::Record,
                    ..
                }
            );
            if rebuilt && at.is_none() {
                return Check::Done;
            }
            if let ActionKind::Migrate { to, new_epoch, .. } = &action.kind
                && at == Some(to)
                && row.is_some_and(|row| row.epoch == *new_epoch)
            {
                return Check::Done;
            }
            if let Some(conflict) = held(record, host, *epoch, fleet) {
                return conflict;
            }
            if let ActionKind::DeleteServer {
                server,
                keep: Keep::Successor,
                ..
            } = &action.kind
                && !fleet.deposed.contains_key(server)
            {
                return conflict("its replacement is there", "it has none");
            }
            done_in_place(&action.kind, record)
        }
        Precondition::Placed { host } => placed(&action.kind, record, host.as_ref(), fleet),
        Precondition::Recorded { generation } => recorded(node, *generation, fleet),
    }
}

/// Whether a record is where it is to be moved from.
fn moved(node: &Node, from: &Address, fleet: &RecordedFleet) -> Check {
    let to = &node.action.address;
    if let Some(conflict) = fleet
        .servers
        .get(from)
        .and_then(|record| claimed(record, node, fleet))
    {
        return conflict;
    }
    let known = |address: &Address| {
        fleet.servers.contains_key(address)
            || fleet.flavors.contains_key(address)
            || fleet.images.contains_key(address)
            || fleet.groups.contains_key(address)
            || fleet.aggregates.contains_key(address)
    };
    match (known(from), known(to)) {
        (true, false) => Check::Ready,
        // Moved before, or gone with an operation that was settled first.
        (false, true | false) => Check::Done,
        (true, true) => conflict(format!("nothing is at {to}"), "it is recorded"),
    }
}

/// The conflict, where another command has claimed the server.
fn claimed(record: &ServerRecord, node: &Node, fleet: &RecordedFleet) -> Option<Check> {
    let task = record.task.as_ref()?;
    let operation = fleet.operations.get(&task.operation)?;
    let open = match operation.status {
        OperationStatus::Intent | OperationStatus::Detached => true,
        OperationStatus::Succeeded | OperationStatus::Failed { .. } => false,
    };
    (open && task.operation != node.operation()).then(|| {
        let found = format!(
            "claimed for {} by {} since {}",
            task.name, task.holder, task.since
        );
        conflict("nobody works on it", found)
    })
}

/// The conflict, where a server is not on this host under this epoch.
fn held(record: &ServerRecord, host: &HostName, epoch: Epoch, fleet: &RecordedFleet) -> Option<Check> {
    let row = fleet.ownership.get(&record.id);
    let settled = row.is_some_and(|row| match row.state {
        OwnershipState::Held => row.epoch == epoch && row.host == *host,
        OwnershipState::Granted { .. } | OwnershipState::Migrating { .. } => false,
    });
    if record.host.as_ref() == Some(host) && settled {
        return None;
    }
    let found = row.map_or("nobody may run it".to_owned(), |row| {
        format!(
            "{}, held by {} under epoch {}",
            place(Some(record)),
            row.host,
            row.epoch
        )
    });
    Some(conflict(format!("it is on {host} under epoch {epoch}"), found))
}

fn done_in_place(kind: &ActionKind, record: &ServerRecord) -> Check {
    let done = match kind {
        ActionKind::UpdateServer { order, spec, .. } => {
            record.generation >= order.generation && record.spec == **spec
        }
        ActionKind::SetPower { generation, spec, .. } => {
            record.generation >= *generation && record.spec == **spec
        }
        ActionKind::Settle { .. }
        | ActionKind::EnsureImage { .. }
        | ActionKind::DeleteImage { .. }
        | ActionKind::CreateServer { .. }
        | ActionKind::Import { .. }
        | ActionKind::DeleteServer { .. }
        | ActionKind::Migrate { .. }
        | ActionKind::Adopt { .. }
        | ActionKind::TakeOver { .. }
        | ActionKind::RecordServer { .. }
        | ActionKind::ForgetServer { .. }
        | ActionKind::Move { .. }
        | ActionKind::Record(_) => false,
    };
    if done { Check::Done } else { Check::Ready }
}

fn placed(
    kind: &ActionKind,
    record: Option<&ServerRecord>,
    host: Option<&HostName>,
    fleet: &RecordedFleet,
) -> Check {
    let at = record.and_then(|record| record.host.as_ref());
    match (kind, record) {
        (
            ActionKind::Adopt {
                server, ownership, ..
            },
            Some(_),
        ) if at == Some(&ownership.host) && fleet.ownership.get(server) == Some(ownership) => Check::Done,
        (ActionKind::RecordServer { spec, .. }, Some(record)) if record.spec == **spec => Check::Done,
        _ if at == host => Check::Ready,
        _ => conflict(
            host.map_or("it is on no host".to_owned(), |host| format!("it is on {host}")),
            place(record),
        ),
    }
}

fn recorded(node: &Node, expected: Option<Generation>, fleet: &RecordedFleet) -> Check {
    let address = &node.action.address;
    let ActionKind::Record(change) = &node.action.kind else {
        return Check::Ready;
    };
    match change {
        RecordChange::Host(to) => {
            let found = fleet.hosts.get(&super::state::host_of(address));
            let now = found.map(|record| (&record.spec, record.incarnation));
            let same = now == to.as_ref().map(|(spec, incarnation)| (spec, *incarnation));
            plain(expected, found.map(|record| record.generation), same)
        }
        RecordChange::Flavor(to) => {
            let found = fleet.flavors.get(address);
            let same = found.map(|record| &record.spec) == to.as_ref();
            plain(expected, found.map(|record| record.generation), same)
        }
        RecordChange::Image(to) => {
            let found = fleet.images.get(address);
            let same = found.map(|record| &record.spec) == to.as_ref();
            plain(expected, found.map(|record| record.generation), same)
        }
        RecordChange::Group(to) => {
            let found = fleet.groups.get(address);
            let same = found.map(|record| &record.spec) == to.as_ref();
            plain(expected, found.map(|record| record.generation), same)
        }
        RecordChange::Aggregate(to) => {
            let found = fleet.aggregates.get(address);
            let same = found.map(|record| &record.spec) == to.as_ref();
            plain(expected, found.map(|record| record.generation), same)
        }
    }
}
