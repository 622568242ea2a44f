//! Drains, group edits, zone changes and resizes, whole: which migrations a plan has, and in which order.

use super::super::tests::plan;
use super::super::{ActionKind, BlockedBy, LintFinding, Plan, PlanOptions, Reason, lint};
use crate::model::{DesiredFleet, GroupPolicy, HostState, ObservedFleet, RecordedFleet};
use crate::testing::{address, desired, host, settled, with_group, with_hosts, with_server};
use drover_types::{ByteSize, HostName, OperationId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Each host offers 6,144 MiB to servers.
pub(super) fn fleet(hosts: &[&str], servers: &[(&str, u64)]) -> DesiredFleet {
    let mut fleet = with_hosts(desired(), hosts);
    for (at, mib) in servers {
        fleet = with_server(fleet, at, None);
        resize(&mut fleet, at, *mib);
    }
    fleet
}

pub(super) fn resize(fleet: &mut DesiredFleet, at: &str, mib: u64) {
    let server = fleet.servers.get_mut(&address(at)).expect("declared");
    server.spec.size.ram = ByteSize::from_mib(mib);
}

pub(super) fn seated(fleet: &DesiredFleet, seats: &[(&str, &str)]) -> (RecordedFleet, ObservedFleet) {
    let seats: Vec<_> = seats.iter().map(|(at, on)| (address(at), host(on))).collect();
    settled(fleet, &seats)
}

pub(super) fn drain(fleet: &mut DesiredFleet, names: &[&str]) {
    for name in names {
        fleet.hosts.get_mut(&host(name)).expect("declared").spec.state = HostState::Drain;
    }
}

/// The migrations of a plan, in its order.
pub(super) fn moves(plan: &Plan) -> Vec<String> {
    let migrations = plan.actions.iter().filter_map(|action| match &action.kind {
        ActionKind::Migrate { to, .. } => Some(format!(
            "{} {}→{to}",
            action.address,
            action.host.as_ref().expect("a host")
        )),
        _ => None,
    });
    migrations.collect()
}

pub(super) fn plan_of(fleet: &DesiredFleet, (recorded, observed): &(RecordedFleet, ObservedFleet)) -> Plan {
    plan(fleet, recorded, observed, &PlanOptions::default())
}

#[test]
fn a_drain_that_needs_room_made_moves_one_more_server_first() {
    let servers = [
        ("server.big", 4096),
        ("server.small", 3072),
        ("server.tiny", 2048),
    ];
    let mut fleet = fleet(&["n1", "n2", "n3"], &servers);
    let world = seated(
        &fleet,
        &[
            ("server.big", "n1"),
            ("server.small", "n2"),
            ("server.tiny", "n3"),
        ],
    );
    drain(&mut fleet, &["n1"]);
    // 4,096 fit beside 2,048, and need no help.
    assert_eq!(moves(&plan_of(&fleet, &world)), ["server.big n1→n3"]);

    resize(&mut fleet, "server.tiny", 2560);
    let mut before = fleet.clone();
    drain(&mut before, &[]);
    let world = seated(
        &before,
        &[
            ("server.big", "n1"),
            ("server.small", "n2"),
            ("server.tiny", "n3"),
        ],
    );
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan), ["server.tiny n3→n2", "server.big n1→n3"]);
    let helper = plan
        .actions
        .iter()
        .find(|action| action.address == address("server.tiny"));
    assert_eq!(
        helper.expect("it moves").why,
        Reason::MakesRoom {
            host: host("n3"),
            other: address("server.big"),
        }
    );
    assert_eq!(plan.blocked, []);
}

/// One that was imported is to go to another zone, and stays; that is no reason to look no further for others.
#[test]
fn one_that_cannot_move_does_not_keep_others_from_being_moved() {
    let servers = [
        ("server.big", 4096),
        ("server.imported", 512),
        ("server.small", 3072),
        ("server.tiny", 2560),
    ];
    let mut fleet = fleet(&["n1", "n2", "n3", "n4"], &servers);
    let seats = [
        ("server.big", "n1"),
        ("server.imported", "n4"),
        ("server.small", "n2"),
        ("server.tiny", "n3"),
    ];
    let zone = Some("z".to_owned());
    let (mut recorded, observed) = seated(&fleet, &seats);
    let imported = address("server.imported");
    let record = recorded.servers.get_mut(&imported).expect("recorded");
    record.imported_from = Some("n4/1b4e28ba-2fa1-11d2-883f-0016d3cca427".parse().expect("an id"));
    for (name, host) in &mut fleet.hosts {
        host.spec.availability_zone = (name.as_str() != "n4").then(|| zone.clone()).flatten();
    }
    for (at, server) in &mut fleet.servers {
        server.spec.availability_zone.clone_from(&zone);
        let record = recorded.servers.get_mut(at).expect("recorded");
        record.spec.availability_zone.clone_from(&zone);
    }
    drain(&mut fleet, &["n1"]);
    let plan = plan_of(&fleet, &(recorded, observed));
    assert_eq!(moves(&plan), ["server.tiny n3→n2", "server.big n1→n3"]);
    let blocked: Vec<_> = plan
        .blocked
        .iter()
        .map(|blocked| (&blocked.address, &blocked.by))
        .collect();
    assert_eq!(blocked, [(&imported, &BlockedBy::Imported { host: host("n4") })]);
}

/// The linter would let neither order pass: without what it waits for, the second move is planned into a full host.
#[test]
fn the_linter_asks_for_what_moves_wait_for() {
    let servers = [
        ("server.big", 4096),
        ("server.small", 3072),
        ("server.tiny", 2560),
    ];
    let mut fleet = fleet(&["n1", "n2", "n3"], &servers);
    let world = seated(
        &fleet,
        &[
            ("server.big", "n1"),
            ("server.small", "n2"),
            ("server.tiny", "n3"),
        ],
    );
    drain(&mut fleet, &["n1"]);
    let mut plan = plan_of(&fleet, &world);
    let check = |plan: &Plan| lint(plan, &world.0, &world.1, &fleet.scheduler);
    assert_eq!(check(&plan), []);
    for action in &mut plan.actions {
        action.depends_on.clear();
    }
    assert!(
        check(&plan).iter().any(|found| matches!(found, LintFinding::OverCapacity { host: full, used: 6656, .. } if *full == host("n3"))),
        "{:?}",
        check(&plan)
    );
}

#[test]
fn two_hosts_are_drained_at_once() {
    let servers = [
        ("server.a", 3072),
        ("server.b", 3072),
        ("server.c", 3072),
        ("server.d", 3072),
    ];
    let mut fleet = fleet(&["n1", "n2", "n3", "n4"], &servers);
    let world = seated(
        &fleet,
        &[
            ("server.a", "n1"),
            ("server.b", "n2"),
            ("server.c", "n3"),
            ("server.d", "n4"),
        ],
    );
    drain(&mut fleet, &["n1", "n2"]);
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan).len(), 2, "{:?}", moves(&plan));
    assert_eq!(plan.blocked, []);
}

/// One server swaps racks with another on hosts that are full: it goes by way of a third.
#[test]
fn zones_are_swapped_by_way_of_a_third_host() {
    let mut fleet = fleet(&["n1", "n2", "n3"], &[("server.a", 4096), ("server.b", 4096)]);
    for (name, zone) in [("n1", "left"), ("n2", "right"), ("n3", "right")] {
        fleet
            .hosts
            .get_mut(&host(name))
            .expect("declared")
            .spec
            .availability_zone = Some(zone.to_owned());
    }
    fleet = with_server(fleet, "server.c", None);
    resize(&mut fleet, "server.c", 1536);
    let world = seated(
        &fleet,
        &[("server.a", "n1"), ("server.b", "n2"), ("server.c", "n3")],
    );
    for (at, zone) in [("server.a", "right"), ("server.b", "left")] {
        fleet
            .servers
            .get_mut(&address(at))
            .expect("declared")
            .spec
            .availability_zone = Some(zone.to_owned());
    }
    let plan = plan_of(&fleet, &world);
    // n3 has room for a: it goes there, and b follows to where a was.
    assert_eq!(moves(&plan), ["server.a n1→n3", "server.b n2→n1"]);

    // With n3 full of c, c must first make room.
    resize(&mut fleet, "server.c", 2048 + 1024);
    let world = seated(
        &fleet,
        &[("server.a", "n1"), ("server.b", "n2"), ("server.c", "n3")],
    );
    let mut before = world;
    for record in before.0.servers.values_mut() {
        record.spec.availability_zone = None;
    }
    let plan = plan_of(&fleet, &before);
    assert_eq!(moves(&plan), Vec::<String>::new());
    assert_eq!(plan.blocked.len(), 2, "{:?}", plan.blocked);
}

#[test]
fn what_cannot_be_drained_is_blocked_as_a_whole_and_says_by_what() {
    let servers = [
        ("server.big", 4096),
        ("server.mid", 4096),
        ("server.tiny", 1024),
        ("server.other", 4096),
    ];
    let mut fleet = fleet(&["n1", "n2", "n3"], &servers);
    let world = seated(
        &fleet,
        &[
            ("server.big", "n1"),
            ("server.tiny", "n1"),
            ("server.mid", "n2"),
            ("server.other", "n3"),
        ],
    );
    drain(&mut fleet, &["n1"]);
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan), Vec::<String>::new());
    let blocked: BTreeMap<String, &BlockedBy> = plan
        .blocked
        .iter()
        .map(|blocked| (blocked.address.to_string(), &blocked.by))
        .collect();
    let BlockedBy::NoHost { conflict, .. } = blocked["server.big"] else {
        panic!("{blocked:?}");
    };
    assert_eq!(conflict, &["RamFilter"]);
    assert!(
        matches!(blocked["server.tiny"], BlockedBy::Needs { address: by } if *by == address("server.big"))
    );
}

/// Members of an anti-affinity group leave drained hosts without ever sharing one.
#[test]
fn a_group_stays_apart_at_every_step() {
    let mut fleet = with_group(
        with_hosts(desired(), &["n1", "n2", "n3", "n4"]),
        "group.web",
        GroupPolicy::AntiAffinity,
    );
    for at in ["server.a", "server.b"] {
        fleet = with_server(fleet, at, Some("group.web"));
    }
    let world = seated(&fleet, &[("server.a", "n1"), ("server.b", "n2")]);
    drain(&mut fleet, &["n1", "n2"]);
    let plan = plan_of(&fleet, &world);
    let targets: BTreeSet<&HostName> = plan
        .placements
        .values()
        .map(|placement| &placement.host)
        .collect();
    assert_eq!((moves(&plan).len(), targets.len()), (2, 2), "{:?}", moves(&plan));
}

/// Three members on one host become a group: two leave, and no more.
#[test]
fn an_edited_group_moves_all_but_one() {
    let servers = [("server.a", 512), ("server.b", 512), ("server.c", 512)];
    let mut fleet = fleet(&["n1", "n2", "n3"], &servers);
    let seats = [("server.a", "n1"), ("server.b", "n1"), ("server.c", "n1")];
    let world = seated(&fleet, &seats);
    fleet = with_group(fleet, "group.web", GroupPolicy::AntiAffinity);
    for (at, _) in servers {
        fleet.servers.get_mut(&address(at)).expect("declared").spec.group = Some(address("group.web"));
    }
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan).len(), 2, "{:?}", moves(&plan));
    assert_eq!(plan.blocked, []);
}

/// Two servers grow on a full host. Moving either of them would leave no room for the other's growth; moving a third
/// one is enough for both.
#[test]
fn growth_moves_the_one_server_whose_leaving_is_enough() {
    let servers = [("server.a", 1024), ("server.b", 1024), ("server.c", 4096)];
    let mut fleet = fleet(&["n1", "n2"], &servers);
    let seats = [("server.a", "n1"), ("server.b", "n1"), ("server.c", "n1")];
    let world = seated(&fleet, &seats);
    resize(&mut fleet, "server.a", 3072);
    resize(&mut fleet, "server.b", 3072);
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan), ["server.c n1→n2"]);
    let migration = plan
        .actions
        .iter()
        .find(|action| matches!(action.kind, ActionKind::Migrate { .. }))
        .expect("it moves");
    let waits = plan
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::UpdateServer { .. }))
        .filter(|action| action.depends_on.contains(&migration.id));
    assert_eq!(waits.count(), 2);
}

/// An affinity group cannot leave a host one by one without being apart in between: it is blocked, and says by what.
#[test]
fn an_affinity_group_is_not_torn_apart() {
    let mut fleet = with_group(
        with_hosts(desired(), &["n1", "n2"]),
        "group.db",
        GroupPolicy::Affinity,
    );
    for at in ["server.a", "server.b"] {
        fleet = with_server(fleet, at, Some("group.db"));
    }
    let world = seated(&fleet, &[("server.a", "n1"), ("server.b", "n1")]);
    drain(&mut fleet, &["n1"]);
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan), Vec::<String>::new());
    assert_eq!(plan.blocked.len(), 2);
    let BlockedBy::NoHost { conflict, .. } = &plan.blocked[1].by else {
        panic!("{:?}", plan.blocked);
    };
    assert!(
        conflict.contains(&"ServerGroupAffinityFilter".to_owned()),
        "{conflict:?}"
    );
}

/// What hosts hold while a plan is carried out in some order.
struct Running<'a> {
    plan: &'a Plan,
    done: BTreeSet<OperationId>,
}

impl Running<'_> {
    fn ready(&self) -> Vec<usize> {
        let waits = |id: &OperationId| self.done.contains(id);
        (0..self.plan.actions.len())
            .filter(|at| {
                let action = &self.plan.actions[*at];
                !self.done.contains(&action.id) && action.depends_on.iter().all(waits)
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Random drains and resizes of small fleets: the plan is sound, and in whatever order it is carried out no host
    /// ever holds more than it offers, counting on both hosts what is on its way.
    #[test]
    fn no_order_overfills_a_host(
        servers in prop::collection::vec((0..4_usize, 1..=4_u64, 0..10_u64, 0..3_u8), 1..7),
        drained in prop::bits::u8::between(0, 4),
        seed in any::<u64>(),
    ) {
        let names = ["n1", "n2", "n3", "n4"];
        let mut free = [6144_u64; 4];
        let mut fleet = with_group(with_hosts(desired(), &names), "group.g", GroupPolicy::AntiAffinity);
        let mut seats = Vec::new();
        let mut grow = Vec::new();
        let mut gone = Vec::new();
        let mut taken = BTreeSet::new();
        for (number, (on, gib, more, group)) in servers.into_iter().enumerate() {
            let mib = gib * 1024;
            let apart = group == 0 && taken.insert(on);
            if free[on] < mib {
                continue;
            }
            free[on] -= mib;
            let at = format!("server.s{number}");
            fleet = with_server(fleet, &at, apart.then_some("group.g"));
            resize(&mut fleet, &at, mib);
            seats.push((address(&at), host(names[on])));
            if more == 9 {
                gone.push(address(&at));
            }
            if more < 2 {
                grow.push((at, mib + 1024 * more));
            }
        }
        let world = settled(&fleet, &seats);
        for (at, mib) in grow {
            resize(&mut fleet, &at, mib);
        }
        for at in gone {
            fleet.servers.remove(&at);
        }
        if seed % 2 == 0 {
            fleet = with_server(fleet, "server.new", None);
            resize(&mut fleet, "server.new", 3072);
        }
        let drained: Vec<&str> = (0..4).filter(|at| drained & (1 << at) != 0).map(|at| names[at]).collect();
        drain(&mut fleet, &drained);
        let plan = plan_of(&fleet, &world);

        let mut sizes: BTreeMap<_, u64> = world.0.servers.iter().map(|(at, record)| (at.clone(), record.spec.size.ram.mib_ceil())).collect();
        let mut at: BTreeMap<_, HostName> = seats.iter().cloned().collect();
        let mut running = Running { plan: &plan, done: BTreeSet::new() };
        let mut dice = seed;
        loop {
            let ready = running.ready();
            if ready.is_empty() {
                break;
            }
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let action = &plan.actions[ready[(dice >> 33) as usize % ready.len()]];
            let used = |sizes: &BTreeMap<_, u64>, at: &BTreeMap<_, HostName>, on: &HostName| -> u64 {
                at.iter().filter(|(_, host)| *host == on).map(|(server, _)| sizes[server]).sum()
            };
            match &action.kind {
                ActionKind::Migrate { order, to, .. } => {
                    prop_assert_eq!(&at[&action.address], action.host.as_ref().expect("a source"));
                    prop_assert!(used(&sizes, &at, to) + order.ram_mib <= 6144, "{:?}", moves(&plan));
                    let state = fleet.hosts[to].spec.state;
                    prop_assert_eq!(state, HostState::Active);
                    let group = |of: &drover_types::Address| fleet.servers.get(of)?.spec.group.clone();
                    let clash = group(&action.address).is_some()
                        && at.iter().any(|(other, on)| on == to && group(other) == group(&action.address));
                    prop_assert!(!clash, "{:?}", moves(&plan));
                    at.insert(action.address.clone(), to.clone());
                }
                ActionKind::UpdateServer { order, .. } => {
                    sizes.insert(action.address.clone(), order.ram_mib);
                    let on = at[&action.address].clone();
                    prop_assert!(used(&sizes, &at, &on) <= 6144, "{:?}", moves(&plan));
                }
                ActionKind::DeleteServer { .. } => {
                    at.remove(&action.address);
                }
                ActionKind::CreateServer { order, candidates, .. } => {
                    let on = &candidates[0].host;
                    prop_assert!(used(&sizes, &at, on) + order.ram_mib <= 6144, "{:?}", moves(&plan));
                    sizes.insert(action.address.clone(), order.ram_mib);
                    at.insert(action.address.clone(), on.clone());
                }
                _ => {}
            }
            running.done.insert(action.id);
        }
        prop_assert_eq!(running.done.len(), plan.actions.len());
        // A drained host is empty, or the plan says why not.
        for name in drained {
            let left = at.iter().any(|(_, on)| *on == host(name));
            prop_assert!(!left || !plan.blocked.is_empty());
        }
    }
}

/// There is room for either of the two, and for neither beside the other.
#[test]
fn a_host_is_emptied_as_a_whole_or_not_at_all() {
    let servers = [("server.a", 3072), ("server.b", 3072), ("server.c", 3072)];
    let mut fleet = fleet(&["n1", "n2"], &servers);
    let world = seated(
        &fleet,
        &[("server.a", "n1"), ("server.b", "n1"), ("server.c", "n2")],
    );
    drain(&mut fleet, &["n1"]);
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan), Vec::<String>::new());
    let blocked: Vec<(String, bool)> = plan
        .blocked
        .iter()
        .map(|blocked| {
            let of_itself = matches!(blocked.by, BlockedBy::NoHost { .. });
            (blocked.address.to_string(), of_itself)
        })
        .collect();
    assert_eq!(
        blocked,
        [("server.a".to_owned(), false), ("server.b".to_owned(), true)]
    );
}

/// Hundreds that find no host are not each told of every host.
#[test]
fn many_without_a_host_are_refused_briefly() {
    let names: Vec<String> = (0..150).map(|at| format!("n{at:03}")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let servers: Vec<String> = (0..300).map(|at| format!("server.s{at:03}")).collect();
    let sizes: Vec<(&str, u64)> = servers.iter().map(|at| (at.as_str(), 512)).collect();
    let mut fleet = fleet(&hosts, &sizes);
    let seats: Vec<(&str, &str)> = (0..300).map(|at| (sizes[at].0, hosts[at / 2])).collect();
    let world = seated(&fleet, &seats);
    for server in fleet.servers.values_mut() {
        server.spec.availability_zone = Some("moon".to_owned());
    }
    let plan = plan_of(&fleet, &world);
    let told = plan.blocked.iter().map(|blocked| match &blocked.by {
        BlockedBy::NoHost { rejections, conflict } => {
            assert_eq!(conflict, &["AvailabilityZoneFilter"], "{}", blocked.address);
            rejections.len()
        }
        other => panic!("{other:?}"),
    });
    let told: Vec<usize> = told.collect();
    let (all, none) = (
        told.iter().filter(|hosts| **hosts == 149).count(),
        told.iter().filter(|hosts| **hosts == 0).count(),
    );
    assert_eq!((all, none), (133, 167));
}
