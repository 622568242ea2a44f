//! Changes of servers that exist: whether the guest restarts is as the plan says, and what is found is put right.

use super::fake_agent::FakeDomain;
use super::run::FakeFleet;
use super::scenarios::{apply, assert_settled, running};
use crate::model::{AttributeDrift, DesiredFleet, Power, SavedConfiguration, ServerSpec};
use crate::plan::{ActionKind, BlockedBy, Impact, Plan, PlanOptions};
use crate::testing::address;
use drover_types::{Address, ByteSize, HostName, ServerId};

/// The server that is changed.
const WEB: &str = "server.web[1]";

/// What the update of a server costs its guest; none where nothing is sent to its host.
fn impact(plan: &Plan, at: &Address) -> Option<Impact> {
    let mut updates = plan
        .actions
        .iter()
        .filter(|action| action.address == *at && matches!(action.kind, ActionKind::UpdateServer { .. }));
    let first = updates.next().map(|action| action.impact);
    assert_eq!(updates.count(), 0, "one update settles it");
    first
}

fn place(world: &FakeFleet) -> (HostName, ServerId) {
    let recorded = world.store.read();
    let server = &recorded.servers[&address(WEB)];
    (server.host.clone().expect("placed"), server.id)
}

fn domain(world: &FakeFleet) -> FakeDomain {
    let (host, id) = place(world);
    world.agents[&host].domains[&id].clone()
}

/// Plans, checks the cost, applies, and checks that it was this, and that nothing is left to do.
fn settles_with(world: &mut FakeFleet, desired: &DesiredFleet, expected: Option<Impact>, what: &str) {
    let before = domain(world);
    let plan = world.plan(desired, &PlanOptions::default());
    assert_eq!(impact(&plan, &address(WEB)), expected, "{what}");
    let summary = apply(world, plan);
    assert!(summary.is_complete(), "{what}: {summary:?}");
    let restarted = domain(world).restarts - before.restarts;
    let announced = expected == Some(Impact::Reboot) && domain(world).running;
    assert_eq!(restarted, u32::from(announced), "{what}");
    assert_settled(world, desired);
}

#[test]
fn what_a_change_costs_is_what_the_guest_sees_of_it() {
    type Change = fn(&mut ServerSpec);
    let table: [(&str, Change, Option<Impact>); 6] = [
        ("a name", |spec| spec.name = "front".to_owned(), None),
        (
            "memory",
            |spec| spec.size.ram = ByteSize::from_mib(640),
            Some(Impact::Reboot),
        ),
        (
            "a larger disk",
            |spec| spec.size.disk = ByteSize::from_gib(2),
            Some(Impact::Live),
        ),
        (
            "a larger disk and more memory",
            |spec| {
                spec.size.disk = ByteSize::from_gib(3);
                spec.size.ram = ByteSize::from_mib(768);
            },
            Some(Impact::Reboot),
        ),
        (
            "a larger disk and off",
            |spec| {
                spec.size.disk = ByteSize::from_gib(4);
                spec.power = Power::Off;
            },
            Some(Impact::Reboot),
        ),
        (
            "memory, while off",
            |spec| spec.size.ram = ByteSize::from_mib(512),
            Some(Impact::None),
        ),
    ];
    let (mut world, mut desired) = running();
    for (what, change, expected) in table {
        change(&mut desired.servers.get_mut(&address(WEB)).expect("declared").spec);
        settles_with(&mut world, &desired, expected, what);
    }
}

#[test]
fn what_somebody_changed_is_put_right_and_restarts_only_what_must() {
    let drift = |configuration, heals_live| AttributeDrift {
        attribute: "x".to_owned(),
        expected: "1".to_owned(),
        found: "2".to_owned(),
        configuration,
        heals_live,
    };
    let (mut world, desired) = running();
    for (what, found, expected) in [
        (
            "in the definition",
            drift(SavedConfiguration::Persistent, false),
            Impact::None,
        ),
        (
            "in the running guest's marks",
            drift(SavedConfiguration::Live, true),
            Impact::None,
        ),
        (
            "in the running guest",
            drift(SavedConfiguration::Live, false),
            Impact::Reboot,
        ),
    ] {
        let (host, id) = place(&world);
        world.agent(&host).domains.get_mut(&id).expect("there").drift = vec![found];
        settles_with(&mut world, &desired, Some(expected), what);
    }
}

#[test]
fn a_guest_changed_after_its_plan_is_not_restarted_without_a_word() {
    let (mut world, mut desired) = running();
    let spec = &mut desired.servers.get_mut(&address(WEB)).expect("declared").spec;
    spec.size.disk = ByteSize::from_gib(2);
    let plan = world.plan(&desired, &PlanOptions::default());
    let (host, id) = place(&world);
    world.agent(&host).domains.get_mut(&id).expect("there").drift = vec![AttributeDrift {
        attribute: "current_memory_kib".to_owned(),
        expected: "1".to_owned(),
        found: "2".to_owned(),
        configuration: SavedConfiguration::Live,
        heals_live: false,
    }];
    assert!(!apply(&mut world, plan).is_complete());
    assert_eq!(domain(&world).restarts, 0);
    settles_with(&mut world, &desired, Some(Impact::Reboot), "planned again");
}

#[test]
fn a_smaller_disk_is_blocked_with_what_to_do() {
    let (world, mut desired) = running();
    let spec = &mut desired.servers.get_mut(&address(WEB)).expect("declared").spec;
    spec.size.disk = ByteSize::from_mib(512);
    let plan = world.plan(&desired, &PlanOptions::default());
    assert_eq!(impact(&plan, &address(WEB)), None);
    let [blocked] = plan.blocked.as_slice() else {
        panic!("one is blocked: {:?}", plan.blocked);
    };
    assert_eq!(blocked.address, address(WEB));
    let disk = BlockedBy::DiskShrinks {
        has: Some(ByteSize::from_gib(1)),
        asked: Some(ByteSize::from_mib(512)),
    };
    assert_eq!(blocked.by, disk);
    assert_eq!(
        blocked.hint,
        "give it a flavor whose disk is as large; a smaller disk needs a server of another name"
    );
    assert!(!plan.is_whole());
}
