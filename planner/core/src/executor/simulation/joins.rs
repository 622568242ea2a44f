//! Many servers that wait for many others: one join between them, and nothing begins before its time.

use super::run::{Applied, FakeFleet};
use crate::model::{DesiredFleet, HostObservation, Needs, ObservedFleet, RecordedFleet};
use crate::plan::tests::plan;
use crate::plan::{Action, ActionKind, Plan, PlanMode, PlanOptions};
use crate::testing::{address, desired, host, observed, with_hosts, with_server};
use drover_types::{Address, OperationId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const HOSTS: [&str; 3] = ["n1", "n2", "n3"];

/// `server.web[…]`, each of which waits for every `server.db[…]`.
fn fleet(number: usize) -> DesiredFleet {
    let mut fleet = with_hosts(desired(), &HOSTS);
    for at in 0..number {
        fleet = with_server(fleet, &format!("server.db[{at}]"), None);
        fleet = with_server(fleet, &format!("server.web[{at}]"), None);
    }
    let needed: BTreeSet<Address> = (0..number)
        .map(|at| address(&format!("server.db[{at}]")))
        .collect();
    let needed = Arc::new(needed);
    for at in 0..number {
        fleet.depends_on.insert(
            address(&format!("server.web[{at}]")),
            Needs::all(vec![Arc::clone(&needed)]),
        );
    }
    fleet
}

/// Hosts with room for all.
fn roomy() -> ObservedFleet {
    let mut hosts = observed(&HOSTS);
    for observation in hosts.values_mut() {
        if let HostObservation::Reported(inventory) = observation {
            inventory.facts.vcpus = 4096;
            inventory.facts.ram_mib = 1 << 24;
            inventory.facts.disk_mib = 1 << 30;
        }
    }
    hosts
}

fn edges(plan: &Plan) -> usize {
    let actions = plan.actions.iter().map(|action| action.depends_on.len());
    let joins = plan.joins.iter().map(|join| join.depends_on.len());
    actions.chain(joins).sum()
}

/// Everything that must be done before an action begins.
fn before(plan: &Plan, action: &Action) -> BTreeSet<OperationId> {
    let all: BTreeMap<OperationId, &[OperationId]> = plan
        .actions
        .iter()
        .map(|action| (action.id, action.depends_on.as_slice()))
        .chain(
            plan.joins
                .iter()
                .map(|join| (join.id, join.depends_on.as_slice())),
        )
        .collect();
    let mut found = BTreeSet::new();
    let mut open = action.depends_on.clone();
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(all[&id]);
        }
    }
    found
}

#[test]
fn edges_grow_with_the_number_of_servers_and_not_with_its_square() {
    let planned = |number: usize| {
        plan(
            &fleet(number),
            &RecordedFleet::empty(1),
            &roomy(),
            &PlanOptions::default(),
        )
    };
    let (small, large) = (planned(40), planned(160));
    assert_eq!((small.joins.len(), large.joins.len()), (1, 1));
    assert!(
        edges(&large) <= 4 * edges(&small),
        "{} at 40, {} at 160",
        edges(&small),
        edges(&large)
    );
    let creates = |plan: &Plan, name: &str| -> Vec<Action> {
        let all = plan.actions.iter();
        all.filter(|action| matches!(action.kind, ActionKind::CreateServer { .. }))
            .filter(|action| action.address.to_string().starts_with(name))
            .cloned()
            .collect()
    };
    let needed: BTreeSet<OperationId> = creates(&small, "server.db")
        .iter()
        .map(|action| action.id)
        .collect();
    assert_eq!(needed.len(), 40);
    for dependent in creates(&small, "server.web") {
        assert!(
            needed.is_subset(&before(&small, &dependent)),
            "{}",
            dependent.address
        );
    }
}

#[test]
fn few_wait_for_few_without_one() {
    let plan = plan(
        &fleet(3),
        &RecordedFleet::empty(1),
        &roomy(),
        &PlanOptions::default(),
    );
    assert_eq!(plan.joins, []);
}

#[test]
fn all_is_created_and_destroyed_in_order() {
    let fleet = fleet(9);
    let mut world = FakeFleet::new(&HOSTS, 5);
    let created = world.plan(&fleet, &PlanOptions::default());
    assert_eq!(created.joins.len(), 1);
    finish(&mut world, created);
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
    let destroying = PlanOptions {
        mode: PlanMode::Destroy,
        ..PlanOptions::default()
    };
    let destroyed = world.plan(&fleet, &destroying);
    let of = |name: &str| -> Vec<&Action> {
        let all = destroyed.actions.iter();
        all.filter(|action| matches!(action.kind, ActionKind::DeleteServer { .. }))
            .filter(|action| action.address.to_string().starts_with(name))
            .collect()
    };
    assert_eq!((of("server.web").len(), of("server.db").len()), (9, 9));
    finish(&mut world, destroyed.clone());
    assert!(world.store.read().servers.is_empty());
}

#[test]
fn one_that_fails_keeps_all_that_wait_from_beginning() {
    let fleet = fleet(9);
    let mut world = FakeFleet::new(&HOSTS, 5);
    let plan = world.plan(&fleet, &PlanOptions::default());
    let placed = |name: &str| {
        let all = plan.actions.iter();
        all.filter(|action| action.address.to_string().starts_with(name))
            .filter_map(|action| action.host.clone())
            .collect::<BTreeSet<_>>()
    };
    assert!(placed("server.db").len() > 1, "they are on several hosts");
    for name in HOSTS {
        world.agent(&host(name)).broken = true;
    }
    let Applied::Finished(summary) = world.apply(&Arc::new(plan)) else {
        panic!("it is neither killed nor stale");
    };
    assert_eq!(summary.failed.len(), 9, "{summary:#?}");
    let waiting: BTreeSet<String> = summary
        .not_begun
        .iter()
        .map(|(address, _)| address.to_string())
        .filter(|address| address.starts_with("server.web"))
        .collect();
    assert_eq!(waiting.len(), 9, "{summary:#?}");
    for name in HOSTS {
        world.agent(&host(name)).broken = false;
    }
    let retry = PlanOptions {
        retry_all: true,
        ..PlanOptions::default()
    };
    let again = world.plan(&fleet, &retry);
    finish(&mut world, again);
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
}

#[track_caller]
fn finish(world: &mut FakeFleet, plan: Plan) {
    match world.apply(&Arc::new(plan)) {
        Applied::Finished(summary) => assert!(summary.is_complete(), "{summary:#?}"),
        Applied::Killed | Applied::Stale => panic!("it is neither killed nor stale"),
    }
}
