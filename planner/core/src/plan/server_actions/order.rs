//! What waits for what beyond one server's own chain: moves that need others' room, creates that need others moved,
//! and `depends_on` in the files.

use super::super::action::{ActionKind, Keep};
use super::super::build::Graph;
use super::super::place::Hop;
use crate::diff::ServerStep;
use drover_types::{Address, OperationId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Up to so many edges between two sets are written one by one; more go over a join.
const DIRECT: usize = 64;

/// Moves that wait for others' room, or for a third host to be reached first, and what waits for moves.
pub(super) fn order_moves(graph: &mut Graph<'_>) {
    let placements = graph.placements;
    let nobody_moves = placements.waits.is_empty() && placements.growth_waits.is_empty();
    if nobody_moves && placements.create_waits.is_empty() {
        return;
    }
    let moves = moves(graph);
    let mut deleted: BTreeMap<&Address, OperationId> = BTreeMap::new();
    for action in &graph.actions {
        if let ActionKind::DeleteServer {
            keep: Keep::Nothing | Keep::Successor,
            ..
        } = action.kind
        {
            deleted.entry(&action.address).or_insert(action.id);
        }
    }
    let ids = |waits: &[Hop]| -> Vec<OperationId> {
        let known = waits
            .iter()
            .filter_map(|(address, hop)| moves.get(&(address, *hop)));
        known.copied().collect()
    };
    let mut added: BTreeMap<OperationId, Vec<OperationId>> = BTreeMap::new();
    for ((address, hop), waits) in &placements.waits {
        if let Some(id) = moves.get(&(address, *hop)) {
            added.insert(*id, ids(waits));
        }
    }
    for action in &graph.actions {
        if let (ActionKind::UpdateServer { .. }, Some(waits)) =
            (&action.kind, placements.growth_waits.get(&action.address))
        {
            added.insert(action.id, ids(waits));
        }
        if let (ActionKind::CreateServer { .. }, Some(waits)) =
            (&action.kind, placements.create_waits.get(&action.address))
        {
            let mut before = ids(&waits.moves);
            let gone = waits.deleted.iter().filter_map(|address| deleted.get(address));
            before.extend(gone);
            added.insert(action.id, before);
        }
    }
    for action in &mut graph.actions {
        for id in added.remove(&action.id).into_iter().flatten() {
            if !action.depends_on.contains(&id) {
                action.depends_on.push(id);
            }
        }
    }
}

/// The action of each move. Who is made anew on another host leaves with its deletion, whichever hosts were to lie on its
/// way, and comes with its creation.
fn moves<'g>(graph: &'g Graph<'_>) -> BTreeMap<(&'g Address, usize), OperationId> {
    let placements = graph.placements;
    let mut hops: BTreeMap<&Address, usize> = BTreeMap::new();
    let mut moves: BTreeMap<(&Address, usize), OperationId> = BTreeMap::new();
    for action in &graph.actions {
        let address = &action.address;
        if let ActionKind::Migrate { .. } = action.kind {
            let hop = hops.entry(address).or_insert(0);
            moves.insert((address, *hop), action.id);
            *hop += 1;
        }
        if !placements.moves.contains_key(address) {
            continue;
        }
        let via = placements.via.get(address).map_or(0, Vec::len);
        if let ActionKind::DeleteServer {
            keep: Keep::Record, ..
        } = action.kind
        {
            moves.extend((0..via).map(|hop| ((address, hop), action.id)));
        }
        if let ActionKind::CreateServer { .. } = action.kind {
            moves.insert((address, via), action.id);
        }
    }
    moves
}

/// Whether this deletes what a successor has replaced.
fn is_leftover(kind: &ActionKind) -> bool {
    matches!(
        kind,
        ActionKind::DeleteServer {
            keep: Keep::Successor,
            ..
        }
    )
}

/// Whether a server stays as it is, and is only elsewhere then.
fn is_elsewhere(kind: &ActionKind) -> bool {
    matches!(kind, ActionKind::Migrate { .. } | ActionKind::Adopt { .. })
}

/// What is needed, and who needs all of it.
type Shared<'a> = (&'a Arc<BTreeSet<Address>>, Vec<&'a Address>);

/// `depends_on` in the files: creates wait for what they name, deletions come the other way round. A migration keeps
/// its guest running, and has no part in this: its order is that of room.
pub(super) fn order_declared(graph: &mut Graph<'_>) {
    // All instances of a block share what they wait for: each set is connected with them as one.
    let mut shared: BTreeMap<*const BTreeSet<Address>, Shared<'_>> = BTreeMap::new();
    let mut order = Vec::new();
    let desired = graph.inputs.desired;
    for (dependent, needs) in &desired.depends_on {
        for set in needs.sets() {
            let at = Arc::as_ptr(set);
            let (_, dependents) = shared.entry(at).or_insert_with(|| {
                order.push(at);
                (set, Vec::new())
            });
            dependents.push(dependent);
        }
    }
    let aside: BTreeSet<OperationId> = graph
        .actions
        .iter()
        .filter(|action| is_leftover(&action.kind) || is_elsewhere(&action.kind))
        .map(|action| action.id)
        .collect();
    let mut added: BTreeMap<OperationId, Vec<OperationId>> = BTreeMap::new();
    for (set, dependents) in order.iter().filter_map(|at| shared.get(at)) {
        let ends = |addresses: Vec<&Address>| Ends::of(graph, &aside, addresses);
        let (going, staying): (Vec<&Address>, _) = set.iter().partition(|address| is_deleted(graph, address));
        let (leaving, coming): (Vec<&Address>, _) =
            dependents.iter().partition(|address| is_deleted(graph, address));
        let (going, staying) = (ends(going), ends(staying));
        let (leaving, coming) = (ends(leaving), ends(coming));
        let mut pairs = vec![
            (going.last.clone(), coming.first.clone()),
            (staying.last.clone(), coming.first),
            (staying.last, leaving.first),
        ];
        // Where both go, what needs the other goes first.
        pairs.push((leaving.last, going.first));
        for (first, then) in pairs {
            connect(graph, first, &then, &mut added);
        }
    }
    for action in &mut graph.actions {
        if let Some(more) = added.remove(&action.id) {
            action.depends_on.extend(more);
        }
    }
}

fn is_deleted(graph: &Graph<'_>, address: &Address) -> bool {
    graph.diff.servers.get(address).is_some_and(|server| {
        server
            .steps
            .iter()
            .any(|step| matches!(step, ServerStep::Delete { .. }))
    })
}

/// The first and the last action of each of some servers.
struct Ends {
    first: Vec<OperationId>,
    last: Vec<OperationId>,
}

impl Ends {
    /// Without the actions `aside`: what a successor leaves behind is no part of what others wait for, nor does it wait
    /// for others, and no more do the moves of a server that is there already.
    fn of(graph: &Graph<'_>, aside: &BTreeSet<OperationId>, addresses: Vec<&Address>) -> Self {
        let mut ends = Self {
            first: Vec::new(),
            last: Vec::new(),
        };
        for address in addresses {
            let ids = graph.by_address.get(address).map_or(&[][..], Vec::as_slice);
            let mut ids = ids.iter().filter(|id| !aside.contains(id)).copied();
            if let Some(first) = ids.next() {
                ends.first.push(first);
                ends.last.push(ids.next_back().unwrap_or(first));
            }
        }
        ends
    }
}

/// Everything in `then` waits for everything in `first`.
fn connect(
    graph: &mut Graph<'_>,
    first: Vec<OperationId>,
    then: &[OperationId],
    added: &mut BTreeMap<OperationId, Vec<OperationId>>,
) {
    let waits = if first.len().saturating_mul(then.len()) <= DIRECT {
        first
    } else {
        vec![graph.join(first)]
    };
    for id in then {
        added.entry(*id).or_default().extend(&waits);
    }
}
