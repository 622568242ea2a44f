//! What waits for what beyond one server's own chain: moves that need others' room, and `depends_on` in the files.

use super::super::action::{ActionKind, Keep};
use super::super::build::Graph;
use super::super::place::Hop;
use crate::diff::ServerStep;
use drover_types::{Address, OperationId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Up to so many edges between two sets are written one by one; more go over a join.
const DIRECT: usize = 64;

/// Moves that wait for others' room, or for a third host to be reached first.
pub(super) fn order_moves(graph: &mut Graph<'_>) {
    let placements = graph.placements;
    if placements.waits.is_empty() && placements.growth_waits.is_empty() {
        return;
    }
    let mut hops: BTreeMap<&Address, usize> = BTreeMap::new();
    let mut moves: BTreeMap<(&Address, usize), OperationId> = BTreeMap::new();
    for action in &graph.actions {
        if let ActionKind::Migrate { .. } = action.kind {
            let hop = hops.entry(&action.address).or_insert(0);
            moves.insert((&action.address, *hop), action.id);
            *hop += 1;
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
    }
    for action in &mut graph.actions {
        for id in added.remove(&action.id).into_iter().flatten() {
            if !action.depends_on.contains(&id) {
                action.depends_on.push(id);
            }
        }
    }
}

/// What is needed, and who needs all of it.
type Shared<'a> = (&'a Arc<BTreeSet<Address>>, Vec<&'a Address>);

/// `depends_on` in the files: creates wait for what they name, deletions come the other way round.
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
    let leftovers: BTreeSet<OperationId> = graph
        .actions
        .iter()
        .filter(|action| {
            matches!(
                &action.kind,
                ActionKind::DeleteServer {
                    keep: Keep::Successor,
                    ..
                }
            )
        })
        .map(|action| action.id)
        .collect();
    let mut added: BTreeMap<OperationId, Vec<OperationId>> = BTreeMap::new();
    for (set, dependents) in order.iter().filter_map(|at| shared.get(at)) {
        let ends = |addresses: Vec<&Address>| Ends::of(graph, &leftovers, addresses);
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
    /// What a successor leaves behind is no part of what others wait for, nor does it wait for others.
    fn of(graph: &Graph<'_>, leftovers: &BTreeSet<OperationId>, addresses: Vec<&Address>) -> Self {
        let mut ends = Self {
            first: Vec::new(),
            last: Vec::new(),
        };
        for address in addresses {
            let ids = graph.by_address.get(address).map_or(&[][..], Vec::as_slice);
            let mut ids = ids.iter().filter(|id| !leftovers.contains(id)).copied();
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
