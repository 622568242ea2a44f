//! What an operator meets, one case after the other: the plan as text, then that applying it settles the case.

use super::run::{Applied, FakeFleet};
use super::tests::{assert_as_declared, fleet};
use crate::model::{
    ClaimedTask, DesiredFleet, HostObservation, HostState, OpenOperation, OperationStatus, Power,
};
use crate::plan::text::{Style, render};
use crate::plan::{
    ActionKind, BlockedBy, DriftKind, Plan, PlanMode, PlanOptions, Severity, Staleness, staleness,
};
use crate::testing::{address, host, with_hosts};
use drover_types::{OperationId, PowerState, Sha256Digest};
use std::sync::Arc;

pub(super) fn options() -> PlanOptions {
    PlanOptions::default()
}

pub(super) fn apply(world: &mut FakeFleet, plan: Plan) -> super::super::event::Summary {
    match world.apply(&Arc::new(plan)) {
        Applied::Finished(summary) => summary,
        Applied::Killed | Applied::Stale => panic!("it is neither killed nor stale"),
    }
}

/// The fleet brought about, on four hosts.
pub(super) fn running() -> (FakeFleet, DesiredFleet) {
    running_on(&["n1", "n2", "n3", "n4"], fleet())
}

fn running_on(hosts: &[&str], desired: DesiredFleet) -> (FakeFleet, DesiredFleet) {
    let mut world = FakeFleet::new(hosts, 7);
    let plan = world.plan(&desired, &options());
    assert!(apply(&mut world, plan).is_complete());
    (world, desired)
}

pub(super) fn assert_settled(world: &FakeFleet, desired: &DesiredFleet) {
    let next = world.plan(desired, &options());
    assert!(
        next.is_empty() && next.is_whole(),
        "{}",
        render(&next, Style::PLAIN)
    );
    assert_as_declared(world, desired);
}

fn verbs(plan: &Plan) -> Vec<String> {
    plan.actions
        .iter()
        .map(|action| format!("{} {}", action.kind.verb(), action.address))
        .collect()
}

#[test]
fn a_drained_host_is_emptied_by_live_migration() {
    let (mut world, mut desired) = running();
    desired.hosts.get_mut(&host("n1")).expect("declared").spec.state = HostState::Drain;
    let plan = world.plan(&desired, &options());
    insta::assert_snapshot!(render(&plan, Style::PLAIN));
    assert!(apply(&mut world, plan).is_complete());
    assert!(world.agents[&host("n1")].domains.is_empty());
    assert_settled(&world, &desired);
}

#[test]
fn a_drain_without_room_is_blocked_before_anything_moves() {
    let mut three = fleet();
    three.hosts.remove(&host("n4"));
    let (mut world, mut desired) = running_on(&["n1", "n2", "n3"], three);
    desired.hosts.get_mut(&host("n1")).expect("declared").spec.state = HostState::Drain;
    let plan = world.plan(&desired, &options());
    insta::assert_snapshot!(render(&plan, Style::PLAIN));
    assert!(
        plan.actions
            .iter()
            .all(|action| matches!(action.kind, ActionKind::Record(_)))
    );
    apply(&mut world, plan);
    assert!(!world.agents[&host("n1")].domains.is_empty());
}

#[test]
fn a_guest_ended_by_virsh_is_drift_and_started_again() {
    let (mut world, desired) = running();
    let domain = world
        .agent(&host("n1"))
        .domains
        .values_mut()
        .next()
        .expect("a server there");
    domain.running = false;
    let shown = world.plan(
        &desired,
        &PlanOptions {
            mode: PlanMode::RefreshOnly,
            ..options()
        },
    );
    assert!(shown.is_empty());
    assert!(matches!(shown.drift[0].what, DriftKind::Power { .. }));
    let plan = world.plan(&desired, &options());
    insta::assert_snapshot!(render(&plan, Style::PLAIN));
    assert!(apply(&mut world, plan).is_complete());
    assert_settled(&world, &desired);
}

#[test]
fn a_guest_moved_by_virsh_is_adopted_where_it_runs() {
    let (mut world, desired) = running();
    let id = world.store.read().servers[&address("server.db[\"a\"]")].id;
    let from = world.store.read().servers[&address("server.db[\"a\"]")]
        .host
        .clone()
        .expect("placed");
    let domain = world.agent(&from).domains.remove(&id).expect("there");
    let to = host(if from == host("n3") { "n2" } else { "n3" });
    world.agent(&to).domains.insert(id, domain);
    let plan = world.plan(&desired, &options());
    insta::assert_snapshot!(render(&plan, Style::PLAIN));
    assert!(apply(&mut world, plan).is_complete());
    assert_eq!(
        world.store.read().servers[&address("server.db[\"a\"]")].host,
        Some(to)
    );
    assert_settled(&world, &desired);
}

#[test]
fn two_running_copies_are_an_error_and_nothing_is_planned_on_them() {
    let (mut world, mut desired) = running();
    let id = world.store.read().servers[&address("server.web[0]")].id;
    let from = world.store.read().servers[&address("server.web[0]")]
        .host
        .clone()
        .expect("placed");
    let copy = world.agents[&from].domains[&id].clone();
    let other = host(if from == host("n1") { "n2" } else { "n1" });
    world.agent(&other).domains.insert(id, copy);
    desired
        .servers
        .get_mut(&address("server.web[0]"))
        .expect("declared")
        .spec
        .power = Power::Off;
    let plan = world.plan(&desired, &options());
    assert_eq!(verbs(&plan), Vec::<String>::new());
    assert_eq!(plan.findings[0].severity, Severity::Error);
    assert!(
        plan.findings[0]
            .message
            .contains("two copies of it run, on n1 and on n3"),
        "{:?}",
        plan.findings
    );
}

#[test]
fn a_silent_host_is_left_alone_and_exit_zero_is_not_given() {
    let (mut world, mut desired) = running();
    world.silent.insert(host("n1"));
    desired.hosts.get_mut(&host("n1")).expect("declared").spec.state = HostState::Drain;
    desired.servers.clear();
    let plan = world.plan(&desired, &options());
    assert!(
        plan.actions.iter().all(|action| action.host != Some(host("n1"))),
        "{:?}",
        verbs(&plan)
    );
    assert!(!plan.is_whole());
    assert!(!plan.unobserved[0].servers.is_empty());
    let accepted = PlanOptions {
        allow_unreachable: [host("n1")].into(),
        ..options()
    };
    assert!(world.plan(&desired, &accepted).is_whole());
}

#[test]
fn another_image_needs_leave_to_replace_the_disk() {
    let (mut world, mut desired) = running();
    let checksum = Sha256Digest::of(b"debian 13");
    desired
        .images
        .get_mut(&address("image.debian"))
        .expect("declared")
        .spec
        .checksum = checksum;
    let changed = address("server.web[1]");
    for server in desired.servers.values_mut() {
        server.spec.image.as_mut().expect("it has one").checksum = checksum;
    }
    let plan = world.plan(&desired, &options());
    assert_eq!(plan.blocked.len(), 5);
    assert!(
        plan.blocked
            .iter()
            .all(|blocked| blocked.by == BlockedBy::DataLoss)
    );
    desired
        .servers
        .get_mut(&changed)
        .expect("declared")
        .spec
        .allow_rebuild = true;
    let plan = world.plan(&desired, &options());
    assert_eq!(
        verbs(&plan),
        [
            "record image.debian",
            "fetch image.debian",
            "destroy server.web[1]",
            "create server.web[1]",
            "evict image.debian"
        ]
    );
    let before = world.store.read().servers[&changed].id;
    assert!(apply(&mut world, plan).is_complete());
    let after = &world.store.read().servers[&changed];
    assert_eq!((after.id, after.spec.image_checksum()), (before, Some(checksum)));
}

#[test]
fn a_host_that_starts_nothing_gives_way_to_its_alternate() {
    let mut world = FakeFleet::new(&["n1", "n2", "n3", "n4"], 3);
    world.agent(&host("n1")).broken = true;
    let mut desired = fleet();
    desired.servers.retain(|at, _| at.name.as_str() == "db");
    let plan = world.plan(&desired, &options());
    assert_eq!(plan.placements[&address("server.db[\"a\"]")].host, host("n1"));
    let summary = apply(&mut world, plan);
    assert!(summary.is_complete(), "{summary:?}");
    assert!(world.agents[&host("n1")].domains.is_empty());
    assert_settled(&world, &desired);
}

#[test]
fn what_an_unfinished_operation_has_done_so_far_is_no_drift() {
    let (world, desired) = running();
    let mut recorded = world.store.read();
    let at = address("server.web[0]");
    let (id, operation) = recorded
        .operations
        .iter_mut()
        .find(|(_, operation)| operation.address == at)
        .expect("its create is recorded");
    operation.status = OperationStatus::Intent;
    let (id, on) = (*id, operation.host.clone());
    let server = recorded.servers[&at].id;
    let verbs_where = |running: bool| {
        let mut observed = world.observed();
        let Some(HostObservation::Reported(inventory)) = observed.get_mut(&on) else {
            panic!("{on} answers");
        };
        // Defined, and not started yet.
        let domain = inventory.domains.get_mut(&server.uuid()).expect("it is there");
        domain.power_state = PowerState::Shutdown;
        inventory.operations.retain(|operation| operation.id != id);
        inventory.operations.push(OpenOperation {
            id,
            kind: "server.create".to_owned(),
            server: Some(server),
            running,
        });
        let plan = crate::plan::tests::plan(&desired, &recorded, &observed, &options());
        (verbs(&plan), plan.drift.len())
    };
    let settle = format!("settle {at}");
    assert_eq!(verbs_where(true), (vec![settle.clone()], 0));
    assert_eq!(verbs_where(false), (vec![settle, format!("start {at}")], 1));
}

#[test]
fn a_server_that_another_command_works_on_is_left_alone() {
    let (world, mut desired) = running();
    let at = address("server.web[0]");
    desired.servers.get_mut(&at).expect("declared").spec.power = Power::Off;
    let operation = OperationId::derive(crate::testing::lineage(), "reboot");
    let mut recorded = world.store.read();
    let record = recorded.servers.get_mut(&at).expect("recorded");
    record.task = Some(ClaimedTask {
        operation,
        name: "reboot".to_owned(),
        holder: "bob@desk".to_owned(),
        since: "2026-01-01T00:00:00Z".to_owned(),
    });
    let (server, on) = (record.id, record.host.clone().expect("placed"));
    let observed = |running: Option<bool>| {
        let mut observed = world.observed();
        if let (Some(HostObservation::Reported(inventory)), Some(running)) = (observed.get_mut(&on), running)
        {
            inventory.operations.push(OpenOperation {
                id: operation,
                kind: "server.reboot".to_owned(),
                server: Some(server),
                running,
            });
        }
        observed
    };
    let planned = |running| crate::plan::tests::plan(&desired, &recorded, &observed(running), &options());
    let held = planned(Some(true));
    assert_eq!(verbs(&held), Vec::<String>::new());
    let said: Vec<_> = held
        .findings
        .iter()
        .map(|finding| (finding.severity, finding.message.as_str()))
        .collect();
    assert_eq!(
        said,
        [(
            Severity::Warning,
            "nothing is planned on it: it is claimed: reboot by bob@desk since 2026-01-01T00:00:00Z"
        )]
    );
    // Whoever claimed it died before, or has not given the claim back: nobody works on it.
    for over in [Some(false), None] {
        assert_eq!(verbs(&planned(over)), ["stop server.web[0]"]);
    }
}

#[test]
fn destroy_leaves_nothing() {
    let (mut world, desired) = running();
    let plan = world.plan(
        &desired,
        &PlanOptions {
            mode: PlanMode::Destroy,
            ..options()
        },
    );
    assert!(apply(&mut world, plan).is_complete());
    for agent in world.agents.values() {
        let inventory = agent.inventory();
        assert!(inventory.domains.is_empty() && inventory.images.is_empty() && agent.held().is_empty());
    }
    let left = world.store.read();
    assert!(
        left.servers.is_empty()
            && left.hosts.is_empty()
            && left.images.is_empty()
            && left.ownership.is_empty()
    );
}

#[test]
fn a_create_waits_for_the_room_that_a_deletion_gives_back() {
    // One host, full: the new server takes the room of the one that goes, and waits for that.
    let mut desired = with_hosts(crate::testing::desired(), &["n1"]);
    for index in 0..12 {
        desired = crate::testing::with_server(desired, &format!("server.old[{index}]"), None);
    }
    let (mut world, mut desired) = running_on(&["n1"], desired);
    desired.servers.remove(&address("server.old[3]"));
    desired = crate::testing::with_server(desired, "server.fresh", None);
    let plan = world.plan(&desired, &options());
    assert_eq!(verbs(&plan), ["destroy server.old[3]", "create server.fresh"]);
    assert!(plan.actions[1].depends_on.contains(&plan.actions[0].id));
    assert!(apply(&mut world, plan).is_complete());
    assert_settled(&world, &desired);
}

#[test]
fn a_plan_is_stale_once_another_was_applied_and_resumed_if_it_was_its_own() {
    let (mut world, mut desired) = running();
    desired.servers.remove(&address("server.web[2]"));
    let plan = world.plan(&desired, &options());
    assert_eq!(staleness(&plan, &world.store.read()), Staleness::Fresh);
    let other = world.plan(
        &fleet(),
        &PlanOptions {
            mode: PlanMode::Destroy,
            ..options()
        },
    );
    apply(&mut world, plan.clone());
    assert_eq!(staleness(&plan, &world.store.read()), Staleness::Resumable);
    assert!(matches!(
        staleness(&other, &world.store.read()),
        Staleness::Stale { .. }
    ));
    assert!(apply(&mut world, plan).is_complete());
    assert_settled(&world, &desired);
}
