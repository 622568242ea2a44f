//! What must be true of applies, whatever happens.

use super::run::{Applied, FakeFleet, Faults};
use crate::model::{DesiredFleet, GroupPolicy, HostState, Power};
use crate::plan::PlanOptions;
use crate::plan::text::{Style, render};
use crate::testing::{address, desired, host, with_group, with_hosts, with_server};
use std::sync::Arc;

const HOSTS: [&str; 4] = ["n1", "n2", "n3", "n4"];

pub(super) fn fleet() -> DesiredFleet {
    let mut fleet = with_group(
        with_hosts(desired(), &HOSTS),
        "group.web",
        GroupPolicy::AntiAffinity,
    );
    for index in 0..3 {
        fleet = with_server(fleet, &format!("server.web[{index}]"), Some("group.web"));
    }
    for name in ["a", "b"] {
        fleet = with_server(fleet, &format!("server.db[\"{name}\"]"), None);
    }
    fleet
}

fn converge(world: &mut FakeFleet, desired: &DesiredFleet) {
    world.faults = Faults::default();
    for _ in 0..4 {
        // Hosts that were never reached count as tried; that they are well again is the operator's word.
        let options = PlanOptions {
            retry_all: true,
            ..PlanOptions::default()
        };
        let plan = world.plan(desired, &options);
        if plan.is_empty() {
            assert!(plan.is_whole(), "{}", render(&plan, Style::PLAIN));
            return;
        }
        match world.apply(&Arc::new(plan)) {
            Applied::Finished(_) => {}
            Applied::Killed | Applied::Stale => panic!("neither killed nor stale without faults"),
        }
    }
    let plan = world.plan(desired, &PlanOptions::default());
    panic!("it does not converge:\n{}", render(&plan, Style::PLAIN));
}

/// One domain per server, as declared; nothing open in the journal.
pub(super) fn assert_as_declared(world: &FakeFleet, desired: &DesiredFleet) {
    let recorded = world.store.read();
    let domains: usize = world.agents.values().map(|agent| agent.domains.len()).sum();
    assert_eq!(domains, desired.servers.len());
    assert_eq!(recorded.servers.len(), desired.servers.len());
    for (address, server) in &recorded.servers {
        let at = server.host.as_ref().expect("placed");
        let domain = &world.agents[at].domains[&server.id];
        assert_eq!(
            domain.running,
            desired.servers[address].spec.power == Power::On,
            "{address}"
        );
        assert_eq!(
            world.agents[at].held()[&server.id],
            recorded.ownership[&server.id].epoch
        );
        assert_eq!(server.task, None, "{address}");
    }
    for operation in recorded.operations.values() {
        use crate::model::OperationStatus;
        assert!(
            matches!(
                operation.status,
                OperationStatus::Succeeded | OperationStatus::Failed { .. }
            ),
            "{operation:?}"
        );
    }
}

#[test]
fn an_apply_brings_the_fleet_about_and_the_next_plan_is_empty() {
    let mut world = FakeFleet::new(&HOSTS, 1);
    let desired = fleet();
    let plan = Arc::new(world.plan(&desired, &PlanOptions::default()));
    let Applied::Finished(summary) = world.apply(&plan) else {
        panic!("it finishes");
    };
    assert!(summary.is_complete(), "{summary:?}");
    let next = world.plan(&desired, &PlanOptions::default());
    assert!(next.is_empty(), "{}", render(&next, Style::PLAIN));
    assert_as_declared(&world, &desired);
}

#[test]
fn whatever_is_lost_or_killed_applying_again_converges() {
    let mut killed_at = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let mut world = FakeFleet::new(&HOSTS, seed);
        let mut desired = fleet();
        world.faults = Faults {
            lost: Some(8),
            never_sent: Some(12),
            aborted: Some(3),
            killed: Some(25),
        };
        let mut last: Option<Arc<crate::plan::Plan>> = None;
        for round in 0..6 {
            change(&mut desired, seed + round);
            let again = last.take().filter(|_| world.dice.once_in(3));
            let plan = match again {
                Some(plan) => plan,
                None => Arc::new(world.plan(&desired, &PlanOptions::default())),
            };
            match world.apply(&plan) {
                Applied::Killed => last = Some(plan),
                Applied::Finished(_) | Applied::Stale => {}
            }
        }
        world.calm_down();
        converge(&mut world, &desired);
        assert_as_declared(&world, &desired);
        killed_at.extend(world.killed_at.iter().copied());
        world.calm_down();
        assert_as_declared(&world, &desired);
    }
    assert!(killed_at.len() >= 4, "killed only at {killed_at:?}");
}

/// What the operator writes next.
fn change(desired: &mut DesiredFleet, choice: u64) {
    let drained = |desired: &mut DesiredFleet, name: &str, state| {
        desired.hosts.get_mut(&host(name)).expect("declared").spec.state = state;
    };
    match choice % 6 {
        0 => drained(desired, "n1", HostState::Drain),
        1 => drained(desired, "n1", HostState::Active),
        2 => {
            let server = desired.servers.get_mut(&address("server.web[0]"));
            if let Some(server) = server {
                server.spec.power = match server.spec.power {
                    Power::On => Power::Off,
                    Power::Off => Power::On,
                };
            }
        }
        3 => {
            desired.servers.remove(&address("server.db[\"a\"]"));
        }
        4 => *desired = with_server(desired.clone(), "server.db[\"a\"]", None),
        _ => {
            if let Some(server) = desired.servers.get_mut(&address("server.db[\"b\"]")) {
                server.spec.size.vcpus = 1 + server.spec.size.vcpus % 2;
            }
        }
    }
}
