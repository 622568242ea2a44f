//! Actions around the servers': settlements first, records of what servers refer to, and what is left over.

use super::action::{Action, ActionKind, Hidden, Precondition, RecordChange};
use super::build::{Graph, host_address};
use super::reason::{Impact, Reason};
use super::types::{Blocked, BlockedBy};
use crate::diff::{RecordDiff, ServerStep, attributes};
use drover_types::{Address, HostName, OperationId, Sha256Digest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One settlement for each open operation.
pub(super) fn settlements(graph: &mut Graph<'_>) {
    for (operation, open) in &graph.diff.settle {
        let id = graph.operation("settle", &open.address, &operation.to_string());
        graph.settlements.insert(*operation, id);
        graph.push(Action {
            id,
            address: open.address.clone(),
            host: Some(open.host.clone()),
            kind: ActionKind::Settle {
                operation: *operation,
                server: open.server,
            },
            precondition: Precondition::Open,
            why: Reason::OperationOpen {
                verb: open.verb.clone(),
                by: open.by.clone(),
            },
            before: Value::Null,
            after: Value::Null,
            hidden: Hidden::default(),
            impact: Impact::None,
            depends_on: Vec::new(),
        });
    }
}

/// A group has nothing to hide.
static NOTHING: BTreeSet<String> = BTreeSet::new();

/// Records that get another address, before anything else is done to them.
pub(super) fn renames(graph: &mut Graph<'_>) {
    let diff = graph.diff;
    for (from, to) in &diff.renames {
        let server = graph.inputs.recorded.servers.get(to).map(|record| record.id);
        let id = graph.operation("move", to, &from.to_string());
        graph.renames.insert(to.clone(), id);
        graph.push(Action {
            id,
            address: to.clone(),
            host: None,
            kind: ActionKind::Move {
                from: from.clone(),
                server,
            },
            precondition: Precondition::RecordedAt {
                address: from.clone(),
            },
            why: Reason::Renamed { from: from.clone() },
            before: Value::Null,
            after: Value::Null,
            hidden: Hidden::default(),
            impact: Impact::None,
            depends_on: Vec::new(),
        });
    }
}

fn record_action<S>(
    graph: &mut Graph<'_>,
    address: &Address,
    change: &RecordDiff<S>,
    to: RecordChange,
    (show, hidden): (impl Fn(&S) -> Value, impl Fn(&S) -> &BTreeSet<String>),
    depends_on: Vec<OperationId>,
) -> OperationId {
    let id = graph.operation("record", address, "");
    let mut depends_on = depends_on;
    depends_on.extend(graph.renames.get(address));
    graph.push(Action {
        id,
        address: address.clone(),
        host: None,
        kind: ActionKind::Record(to),
        precondition: Precondition::Recorded {
            generation: change.generation,
        },
        why: change.why.clone(),
        before: change.before.as_ref().map_or(Value::Null, &show),
        after: change.after.as_ref().map_or(Value::Null, &show),
        hidden: Hidden::new(
            change.before.as_ref().map(&hidden),
            change.after.as_ref().map(&hidden),
        ),
        impact: Impact::None,
        depends_on,
    })
}

/// Records that are written before servers refer to them, by address.
pub(super) fn records(graph: &mut Graph<'_>) -> BTreeMap<Address, OperationId> {
    let diff = graph.diff;
    let mut made = BTreeMap::new();
    for (host, change) in diff.hosts.iter().filter(|(_, change)| change.after.is_some()) {
        let address = host_address(host);
        let to = RecordChange::Host(change.after.clone());
        let id = record_action(
            graph,
            &address,
            change,
            to,
            (|(spec, _)| attributes::host(spec), |(spec, _)| &spec.sensitive),
            Vec::new(),
        );
        made.insert(address, id);
    }
    for (address, change) in diff.flavors.iter().filter(|(_, change)| change.after.is_some()) {
        let to = RecordChange::Flavor(change.after.clone());
        made.insert(
            address.clone(),
            record_action(
                graph,
                address,
                change,
                to,
                (attributes::flavor, |spec| &spec.sensitive),
                Vec::new(),
            ),
        );
    }
    for (address, change) in diff.images.iter().filter(|(_, change)| change.after.is_some()) {
        let to = RecordChange::Image(change.after.clone());
        made.insert(
            address.clone(),
            record_action(
                graph,
                address,
                change,
                to,
                (attributes::image, |spec| &spec.sensitive),
                Vec::new(),
            ),
        );
    }
    for (address, change) in diff.groups.iter().filter(|(_, change)| change.after.is_some()) {
        let to = RecordChange::Group(change.after.clone());
        made.insert(
            address.clone(),
            record_action(
                graph,
                address,
                change,
                to,
                (attributes::group, |_| &NOTHING),
                Vec::new(),
            ),
        );
    }
    for (address, change) in diff
        .aggregates
        .iter()
        .filter(|(_, change)| change.after.is_some())
    {
        let to = RecordChange::Aggregate(change.after.clone());
        record_action(
            graph,
            address,
            change,
            to,
            (attributes::aggregate, |spec| &spec.sensitive),
            Vec::new(),
        );
    }
    made
}

/// What goes once no server needs it: cached images, then records. Returns hosts that cannot go.
pub(super) fn evictions(graph: &mut Graph<'_>) -> Vec<Blocked> {
    let diff = graph.diff;
    let mut users: BTreeMap<Address, Vec<OperationId>> = BTreeMap::new();
    let mut kept: BTreeSet<Address> = BTreeSet::new();
    for (address, server) in &diff.servers {
        let Some(recorded) = &server.recorded else {
            continue;
        };
        let actions = graph.by_address.get(address).cloned().unwrap_or_default();
        let refers = [
            Some(&recorded.flavor),
            recorded.image_address(),
            recorded.group.as_ref(),
        ];
        for used in refers.into_iter().flatten() {
            if actions.is_empty() {
                kept.insert(used.clone());
            }
            users.entry(used.clone()).or_default().extend(&actions);
        }
    }
    let evicted = evict_images(graph);
    let waits = |address: &Address| users.get(address).cloned().unwrap_or_default();
    let goes = |address: &Address| !kept.contains(address);
    for (address, change) in diff
        .flavors
        .iter()
        .filter(|(address, change)| change.after.is_none() && goes(address))
    {
        record_action(
            graph,
            address,
            change,
            RecordChange::Flavor(None),
            (attributes::flavor, |spec| &spec.sensitive),
            waits(address),
        );
    }
    for (address, change) in diff
        .groups
        .iter()
        .filter(|(address, change)| change.after.is_none() && goes(address))
    {
        record_action(
            graph,
            address,
            change,
            RecordChange::Group(None),
            (attributes::group, |_| &NOTHING),
            waits(address),
        );
    }
    for (address, change) in diff
        .aggregates
        .iter()
        .filter(|(_, change)| change.after.is_none())
    {
        let to = RecordChange::Aggregate(None);
        record_action(
            graph,
            address,
            change,
            to,
            (attributes::aggregate, |spec| &spec.sensitive),
            Vec::new(),
        );
    }
    for (address, change) in diff
        .images
        .iter()
        .filter(|(address, change)| change.after.is_none() && goes(address))
    {
        let mut after = waits(address);
        if let Some(before) = &change.before {
            after.extend(evicted.get(&before.checksum).into_iter().flatten());
        }
        record_action(
            graph,
            address,
            change,
            RecordChange::Image(None),
            (attributes::image, |spec| &spec.sensitive),
            after,
        );
    }
    remove_hosts(graph, &evicted)
}

/// Takes images of this project that are neither declared nor used out of the caches.
fn evict_images(graph: &mut Graph<'_>) -> BTreeMap<Sha256Digest, Vec<OperationId>> {
    let (inputs, diff) = (graph.inputs, graph.diff);
    let mut evicted: BTreeMap<Sha256Digest, Vec<OperationId>> = BTreeMap::new();
    // With targets the rest of the fleet is left alone, its caches too.
    if diff.options.is_partial() || diff.options.mode == super::types::PlanMode::RefreshOnly {
        return evicted;
    }
    let mut ours: BTreeMap<Sha256Digest, Address> = BTreeMap::new();
    for (address, image) in &inputs.recorded.images {
        ours.insert(image.spec.checksum, address.clone());
    }
    for server in inputs.recorded.servers.values() {
        if let Some(image) = &server.spec.image {
            ours.entry(image.checksum)
                .or_insert_with(|| image.address.clone());
        }
    }
    for (address, change) in &diff.images {
        if let Some(after) = &change.after {
            let still_there = inputs
                .desired
                .images
                .get(address)
                .is_some_and(|image| image.spec == *after);
            if still_there {
                ours.remove(&after.checksum);
            }
        }
    }
    for address in inputs
        .recorded
        .images
        .keys()
        .filter(|address| !diff.images.contains_key(*address))
    {
        ours.remove(&inputs.recorded.images[address].spec.checksum);
    }
    if ours.is_empty() {
        return evicted;
    }
    // On each host: who leaves it, and who uses which image there in the end.
    let mut leaving: BTreeMap<(&HostName, Sha256Digest), (Vec<OperationId>, u32)> = BTreeMap::new();
    let mut used: BTreeSet<(&HostName, Sha256Digest)> = BTreeSet::new();
    for (address, server) in &diff.servers {
        let actions = graph.by_address.get(address).cloned().unwrap_or_default();
        let before = server
            .seat
            .as_ref()
            .map(|seat| &seat.host)
            .or(server.recorded_host.as_ref());
        let image = |spec: &crate::model::ServerSpec| spec.image_checksum();
        let recorded = server.recorded.as_ref().and_then(image);
        if let (Some(host), Some(checksum)) = (before, recorded) {
            let (waits, servers) = leaving.entry((host, checksum)).or_default();
            waits.extend(&actions);
            *servers += 1;
        }
        let released = server
            .steps
            .iter()
            .any(|step| matches!(step, ServerStep::Release { .. }));
        if let (true, Some(host), Some(checksum)) = (released, before, recorded) {
            // Its guest runs on, on a disk that stands on the image.
            used.insert((host, checksum));
        }
        let rebuilt = server.steps.iter().any(|step| {
            matches!(
                step,
                ServerStep::Rebuild { .. } | ServerStep::Replace { .. } | ServerStep::Create { .. }
            )
        });
        let spec = if rebuilt {
            server.desired.as_ref()
        } else {
            server.recorded.as_ref().or(server.desired.as_ref())
        };
        let checksum = spec.and_then(image);
        if let (Some(host), Some(checksum)) = (graph.placements.hosts.get(address), checksum) {
            used.insert((host, checksum));
        }
        if let (Some(placement), Some(checksum)) = (graph.placements.chosen.get(address), checksum) {
            for host in &placement.alternates {
                used.insert((host, checksum));
            }
        }
    }
    let mut found = Vec::new();
    for (host, observation) in inputs.observed {
        for cached in observation
            .inventory()
            .map(|inventory| inventory.images.as_slice())
            .unwrap_or_default()
        {
            if let Some(address) = ours.get(&cached.checksum)
                && !used.contains(&(host, cached.checksum))
            {
                let (waits, servers) = leaving.get(&(host, cached.checksum)).cloned().unwrap_or_default();
                // With more overlays on it than servers leave, some are of what is not ours to remove.
                if cached.used_by <= servers {
                    found.push((host.clone(), cached.checksum, address.clone(), waits));
                }
            }
        }
    }
    for (host, checksum, address, depends_on) in found {
        let id = graph.operation("evict", &address, &format!("{host} {checksum}"));
        graph.push(Action {
            id,
            address,
            host: Some(host),
            kind: ActionKind::DeleteImage { checksum },
            precondition: Precondition::AgentLooks,
            why: Reason::ImageUnused,
            before: Value::Null,
            after: Value::Null,
            hidden: Hidden::default(),
            impact: Impact::None,
            depends_on,
        });
        evicted.entry(checksum).or_default().push(id);
    }
    evicted
}

fn remove_hosts(graph: &mut Graph<'_>, evicted: &BTreeMap<Sha256Digest, Vec<OperationId>>) -> Vec<Blocked> {
    let diff = graph.diff;
    let mut blocked = Vec::new();
    let mut on_host: BTreeMap<&HostName, Vec<&Address>> = BTreeMap::new();
    for (address, server) in &diff.servers {
        let hosts: BTreeSet<&HostName> = server
            .seat
            .as_ref()
            .map(|seat| &seat.host)
            .into_iter()
            .chain(server.recorded_host.as_ref())
            .collect();
        for host in hosts {
            on_host.entry(host).or_default().push(address);
        }
    }
    for (address, server) in diff.deposed.values() {
        if let Some(host) = &server.recorded_host {
            on_host.entry(host).or_default().push(address);
        }
    }
    let deposed_stays: BTreeSet<(&Address, &HostName)> = diff
        .deposed
        .values()
        .filter(|(_, server)| server.held_back)
        .filter_map(|(address, server)| Some((address, server.recorded_host.as_ref()?)))
        .collect();
    let evictions: Vec<OperationId> = evicted.values().flatten().copied().collect();
    for (host, change) in diff.hosts.iter().filter(|(_, change)| change.after.is_none()) {
        let servers = on_host.get(host).cloned().unwrap_or_default();
        let stays: Vec<&Address> = servers
            .iter()
            .copied()
            .filter(|address| {
                graph.placements.hosts.get(*address) == Some(host)
                    || diff.servers.get(*address).is_some_and(|server| server.held_back)
                    || deposed_stays.contains(&(*address, host))
            })
            .collect();
        let address = host_address(host);
        if let Some(first) = stays.first() {
            blocked.push(Blocked {
                address,
                verb: "forget".to_owned(),
                why: change.why.clone(),
                by: BlockedBy::HostInUse { host: host.clone() },
                hint: format!(
                    "{first}{} is still on it; declare the host again with state = \"drain\", or make room elsewhere",
                    if stays.len() > 1 { format!(" (and {} others)", stays.len() - 1) } else { String::new() }
                ),
            });
            continue;
        }
        let mut depends_on: Vec<OperationId> = servers
            .iter()
            .flat_map(|address| graph.by_address.get(*address).into_iter().flatten().copied())
            .collect();
        depends_on.extend(&evictions);
        record_action(
            graph,
            &address,
            change,
            RecordChange::Host(None),
            (|(spec, _)| attributes::host(spec), |(spec, _)| &spec.sensitive),
            depends_on,
        );
    }
    blocked
}
