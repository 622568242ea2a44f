//! Servers to be replaced although they could stay: `--replace`, and `replace_triggered_by`.

use super::attributes;
use super::types::{FleetDiff, RecordDiff, ServerDiff, ServerStep};
use crate::model::{DesiredFleet, Lifecycle, Trigger};
use crate::plan::{BlockedBy, PlanMode, Reason};
use drover_types::{Address, ServerId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Turns the steps of such servers into a replacement.
pub(super) fn replace(desired: &DesiredFleet, diff: &mut FleetDiff) {
    if diff.options.mode != PlanMode::Apply {
        return;
    }
    let mut replaced: BTreeSet<Address> = BTreeSet::new();
    let asked: Vec<Address> = diff
        .servers
        .keys()
        .filter(|address| diff.options.replace.iter().any(|asked| asked.covers(address)))
        .cloned()
        .collect();
    for address in asked {
        make_anew(diff, &address, Reason::ReplaceRequested, &mut replaced);
    }
    follow_triggers(desired, diff, &mut replaced);
    // That a change needs the server replaced no longer blocks it.
    diff.blocked.retain(|blocked| match blocked.by {
        BlockedBy::DataLoss | BlockedBy::DiskShrinks { .. } | BlockedBy::Imported { .. } => {
            !replaced.contains(&blocked.address)
        }
        BlockedBy::NoHost { .. }
        | BlockedBy::HasDevices { .. }
        | BlockedBy::NoImage
        | BlockedBy::CannotImport { .. }
        | BlockedBy::Unobserved { .. }
        | BlockedBy::Needs { .. }
        | BlockedBy::HostInUse { .. } => true,
    });
    keep_both_where_asked(desired, diff);
}

/// Whether it can be replaced: it is there, stays declared, and is not made anew already.
fn is_replaceable(server: &ServerDiff) -> bool {
    let settled = |step: &ServerStep| match step {
        ServerStep::Create { .. }
        | ServerStep::Import { .. }
        | ServerStep::Delete { .. }
        | ServerStep::Release { .. }
        | ServerStep::Forget { .. }
        | ServerStep::Rebuild { .. }
        | ServerStep::Replace { .. } => true,
        ServerStep::Adopt { .. }
        | ServerStep::TakeOver { .. }
        | ServerStep::Update { .. }
        | ServerStep::SetPower { .. }
        | ServerStep::Record { .. } => false,
    };
    !server.held_back
        && server.desired.is_some()
        && server.recorded.is_some()
        && server.seat.is_some()
        && !server.steps.iter().any(settled)
}

fn make_anew(diff: &mut FleetDiff, address: &Address, why: Reason, replaced: &mut BTreeSet<Address>) {
    let Some(server) = diff
        .servers
        .get_mut(address)
        .filter(|server| is_replaceable(server))
    else {
        return;
    };
    server
        .steps
        .retain(|step| matches!(step, ServerStep::Adopt { .. } | ServerStep::TakeOver { .. }));
    server.steps.push(ServerStep::Rebuild { why });
    replaced.insert(address.clone());
}

/// Which attributes of a resource a plan changes; nothing where it does not.
fn changed_plain<S>(
    changes: &BTreeMap<Address, RecordDiff<S>>,
    show: fn(&S) -> Value,
) -> impl Iterator<Item = (Address, Vec<String>)> + '_ {
    changes.iter().filter_map(move |(address, change)| {
        let (before, after) = (change.before.as_ref()?, change.after.as_ref()?);
        Some((address.clone(), attributes::changed(&show(before), &show(after))))
    })
}

fn changed_server(server: &ServerDiff) -> Option<Vec<String>> {
    let (before, after) = (server.recorded.as_ref()?, server.desired.as_ref()?);
    let changes = server.steps.iter().any(|step| match step {
        ServerStep::Rebuild { .. }
        | ServerStep::Replace { .. }
        | ServerStep::Update { .. }
        | ServerStep::SetPower { .. }
        | ServerStep::Record { .. } => true,
        ServerStep::Create { .. }
        | ServerStep::Import { .. }
        | ServerStep::Delete { .. }
        | ServerStep::Release { .. }
        | ServerStep::Forget { .. }
        | ServerStep::Adopt { .. }
        | ServerStep::TakeOver { .. } => false,
    });
    let nobody = ServerId::from_uuid(uuid::Uuid::nil());
    let show = |spec| attributes::server(spec, nobody, None);
    (changes && !server.held_back).then(|| attributes::changed(&show(before), &show(after)))
}

/// Replacing a server may in turn replace others: each is looked at once.
fn follow_triggers(desired: &DesiredFleet, diff: &mut FleetDiff, replaced: &mut BTreeSet<Address>) {
    let mut waiting: BTreeMap<Address, Vec<(&Address, &Trigger)>> = BTreeMap::new();
    for (address, lifecycle) in &desired.lifecycle {
        for trigger in &lifecycle.replace_triggered_by {
            waiting
                .entry(trigger.address.clone())
                .or_default()
                .push((address, trigger));
        }
    }
    if waiting.is_empty() {
        return;
    }
    let mut open: Vec<(Address, Vec<String>)> = changed_plain(&diff.flavors, attributes::flavor)
        .chain(changed_plain(&diff.images, attributes::image))
        .chain(changed_plain(&diff.groups, attributes::group))
        .collect();
    open.extend(
        diff.servers
            .iter()
            .filter_map(|(address, server)| Some((address.clone(), changed_server(server)?))),
    );
    while let Some((by, attributes)) = open.pop() {
        let block = by.key.is_some().then(|| Address {
            key: None,
            ..by.clone()
        });
        let named = std::iter::once(&by).chain(&block);
        for (address, trigger) in named.filter_map(|name| waiting.get(name)).flatten() {
            let whole = replaced.contains(&by);
            let hit = trigger
                .attribute
                .as_ref()
                .is_none_or(|attribute| attributes.contains(attribute) || (whole && attribute == "id"));
            if !hit || replaced.contains(*address) {
                continue;
            }
            let why = Reason::ReplaceTriggered { by: by.clone() };
            make_anew(diff, address, why, replaced);
            if replaced.contains(*address)
                && let Some(changed) = diff.servers.get(*address).and_then(changed_server)
            {
                open.push(((*address).clone(), changed));
            }
        }
    }
}

/// `create_before_destroy`: the old server stays until the new one is there.
fn keep_both_where_asked(desired: &DesiredFleet, diff: &mut FleetDiff) {
    let asks = |lifecycle: &&Lifecycle| lifecycle.create_before_destroy;
    for (address, server) in &mut diff.servers {
        if desired.lifecycle.get(address).filter(asks).is_none() {
            continue;
        }
        for step in &mut server.steps {
            if let ServerStep::Rebuild { why } = step {
                // What is gone cannot be kept.
                if !matches!(why, Reason::DomainGone { .. }) {
                    *step = ServerStep::Replace { why: why.clone() };
                }
            }
        }
    }
}
