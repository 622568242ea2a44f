//! What migrations wait for beside room: deletions in the same plan, and servers that they name.

use super::super::tests::plan;
use super::super::{Action, ActionKind, LintFinding, Plan, PlanOptions, lint};
use super::moves_tests::{drain, fleet, moves, plan_of, resize, seated};
use crate::model::{DesiredFleet, GroupPolicy, Lifecycle, Needs, ObservedFleet, RecordedFleet};
use crate::testing::{address, host, lifecycle, with_group, with_server};
use drover_types::OperationId;
use std::sync::Arc;

#[test]
fn a_move_without_other_room_waits_for_a_deletion_in_the_same_plan() {
    let servers = [("server.big", 4096), ("server.old", 4096), ("server.tiny", 1024)];
    let mut fleet = fleet(&["n1", "n2"], &servers);
    let seats = [("server.big", "n1"), ("server.old", "n2"), ("server.tiny", "n1")];
    let world = seated(&fleet, &seats);
    drain(&mut fleet, &["n1"]);
    // While the old one stays, only the tiny one would fit: nothing moves.
    let blocked = plan_of(&fleet, &world);
    assert_eq!((moves(&blocked), blocked.blocked.len()), (Vec::new(), 2));

    fleet.servers.remove(&address("server.old"));
    let plan = plan_of(&fleet, &world);
    assert_eq!(plan.blocked, []);
    assert_eq!(moves(&plan), ["server.big n1→n2", "server.tiny n1→n2"]);
    let deletion = plan
        .actions
        .iter()
        .find(|action| matches!(action.kind, ActionKind::DeleteServer { .. }))
        .expect("the old one goes");
    for action in &plan.actions {
        if let ActionKind::Migrate { .. } = action.kind {
            assert!(action.depends_on.contains(&deletion.id), "{}", action.address);
        }
    }
}

#[test]
fn a_move_that_has_room_waits_for_no_deletion() {
    let servers = [("server.big", 4096), ("server.old", 1024)];
    let mut fleet = fleet(&["n1", "n2"], &servers);
    let world = seated(&fleet, &[("server.big", "n1"), ("server.old", "n2")]);
    drain(&mut fleet, &["n1"]);
    fleet.servers.remove(&address("server.old"));
    let plan = plan_of(&fleet, &world);
    let deletions: Vec<OperationId> = plan
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::DeleteServer { .. }))
        .map(|action| action.id)
        .collect();
    assert_eq!((moves(&plan).len(), deletions.len()), (1, 1));
    let migration = plan
        .actions
        .iter()
        .find(|action| matches!(action.kind, ActionKind::Migrate { .. }));
    assert!(!migration.expect("it moves").depends_on.contains(&deletions[0]));
}

#[test]
fn who_wants_company_goes_once_the_other_is_there() {
    let servers = [("server.a", 1024), ("server.b", 3072), ("server.c", 4096)];
    let mut fleet = fleet(&["n1", "n2", "n3"], &servers);
    fleet.scheduler.filters.push("SameHostFilter".to_owned());
    fleet.scheduler.filters.push("DifferentHostFilter".to_owned());
    fleet
        .servers
        .get_mut(&address("server.a"))
        .expect("declared")
        .spec
        .hints
        .same_host = [address("server.b")].into();
    let world = seated(
        &fleet,
        &[("server.a", "n1"), ("server.b", "n1"), ("server.c", "n2")],
    );
    drain(&mut fleet, &["n1"]);
    // Alone and first, a would find its company nowhere else.
    let plan = plan_of(&fleet, &world);
    assert_eq!(plan.blocked, []);
    assert_eq!(moves(&plan), ["server.b n1→n3", "server.a n1→n3"]);
    let ids: Vec<OperationId> = plan
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::Migrate { .. }))
        .map(|action| action.id)
        .collect();
    let last = plan
        .actions
        .iter()
        .find(|action| action.id == ids[1])
        .expect("there");
    assert!(last.depends_on.contains(&ids[0]));
}

/// What comes first by `depends_on` is there already: who moves need not wait for it, and may have to go before it.
#[test]
fn migrations_go_in_the_order_that_room_asks_for() {
    let servers = [("server.app", 4096), ("server.db", 3072), ("server.log", 2560)];
    let mut fleet = fleet(&["n1", "n2", "n3"], &servers);
    let seats = [("server.app", "n1"), ("server.db", "n2"), ("server.log", "n3")];
    let world = seated(&fleet, &seats);
    drain(&mut fleet, &["n1"]);
    let straight = moves(&plan_of(&fleet, &world));
    assert_eq!(straight, ["server.log n3→n2", "server.app n1→n3"]);
    let needs = |on: &str| Needs::all(vec![Arc::new([address(on)].into())]);
    fleet
        .depends_on
        .insert(address("server.log"), needs("server.app"));
    assert_eq!(moves(&plan_of(&fleet, &world)), straight);
}

/// The migrations that the create at an address waits for, by the address of the server that moves.
fn awaited(plan: &Plan, at: &str) -> Vec<String> {
    let of = |at: &str| plan.actions.iter().find(|action| action.address == address(at));
    let create = of(at).expect("it is created");
    assert!(matches!(create.kind, ActionKind::CreateServer { .. }));
    let migrations = plan.actions.iter().filter(|action| {
        matches!(action.kind, ActionKind::Migrate { .. }) && create.depends_on.contains(&action.id)
    });
    migrations.map(|action| action.address.to_string()).collect()
}

/// Of a group whose members are to be apart, `server.a` on n1 is to be in the zone of n2, and `server.b` is new in that
/// of n1.
fn a_member_to_change_zones() -> (DesiredFleet, (RecordedFleet, ObservedFleet)) {
    let mut fleet = fleet(&["n1", "n2"], &[]);
    fleet = with_group(fleet, "group.web", GroupPolicy::AntiAffinity);
    fleet = with_server(fleet, "server.a", Some("group.web"));
    for (on, zone) in [("n1", "left"), ("n2", "right")] {
        fleet
            .hosts
            .get_mut(&host(on))
            .expect("declared")
            .spec
            .availability_zone = Some(zone.to_owned());
    }
    let world = seated(&fleet, &[("server.a", "n1")]);
    let in_zone = |fleet: &mut DesiredFleet, at: &str, zone: &str| {
        let server = fleet.servers.get_mut(&address(at)).expect("declared");
        server.spec.availability_zone = Some(zone.to_owned());
    };
    in_zone(&mut fleet, "server.a", "right");
    fleet = with_server(fleet, "server.b", Some("group.web"));
    in_zone(&mut fleet, "server.b", "left");
    (fleet, world)
}

/// A host that a member of a group leaves for another zone is free for a new member once that one is gone.
#[test]
fn a_new_member_of_a_group_comes_once_the_other_has_left() {
    let (fleet, world) = a_member_to_change_zones();
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan), ["server.a n1→n2"]);
    assert_eq!(plan.placements[&address("server.b")].host, host("n1"));
    assert_eq!(awaited(&plan, "server.b"), ["server.a"]);
    assert!(
        plan.placements[&address("server.b")]
            .why
            .ends_with(", once server.a has left")
    );

    // The plan's own check would see it.
    let found = |plan: &Plan| lint(plan, &world.0, &world.1, &fleet.scheduler);
    assert_eq!(found(&plan), []);
    let mut hasty = plan;
    for action in &mut hasty.actions {
        action.depends_on.clear();
    }
    let broken = LintFinding::GroupBroken {
        group: address("group.web"),
        host: host("n1"),
    };
    assert!(found(&hasty).contains(&broken), "{:?}", found(&hasty));
}

/// One that is made anew is a member until the old one is deleted, wherever the new one is: both ways round.
#[test]
fn a_new_member_of_a_group_comes_once_a_replaced_one_is_gone() {
    for create_before_destroy in [false, true] {
        let (mut fleet, world) = a_member_to_change_zones();
        let asked = Lifecycle {
            create_before_destroy,
            ..lifecycle()
        };
        fleet.lifecycle.insert(address("server.a"), asked);
        let options = PlanOptions {
            replace: vec![address("server.a")],
            ..PlanOptions::default()
        };
        let plan = plan(&fleet, &world.0, &world.1, &options);
        assert_eq!(plan.placements[&address("server.a")].host, host("n2"));
        assert_eq!(plan.placements[&address("server.b")].host, host("n1"));
        let of = |at: &str, wanted: fn(&ActionKind) -> bool| {
            let mut actions = plan.actions.iter();
            let of = actions.find(|action| action.address == address(at) && wanted(&action.kind));
            of.expect("it is planned").id
        };
        let gone = of("server.a", |kind| matches!(kind, ActionKind::DeleteServer { .. }));
        let created = of("server.b", |kind| matches!(kind, ActionKind::CreateServer { .. }));
        assert!(awaits(&plan, created, gone), "{:#?}", plan.actions);
    }
}

/// Whether one action comes after another in every order of the plan.
fn awaits(plan: &Plan, then: OperationId, first: OperationId) -> bool {
    let mut actions = plan.actions.iter();
    let then = actions.find(|action| action.id == then).expect("it is planned");
    then.depends_on.contains(&first) || then.depends_on.iter().any(|next| awaits(plan, *next, first))
}

/// A guest is not moved for room that its own host has as soon as another is deleted.
#[test]
fn growth_waits_for_a_deletion_on_its_host() {
    let servers = [("server.db", 2048), ("server.other", 2048), ("server.tmp", 2048)];
    let mut fleet = fleet(&["n1", "n2"], &servers);
    let seats = [("server.db", "n1"), ("server.other", "n1"), ("server.tmp", "n1")];
    let world = seated(&fleet, &seats);
    fleet.servers.remove(&address("server.tmp"));
    for (at, mib) in [("server.db", 3072), ("server.other", 3072)] {
        resize(&mut fleet, at, mib);
    }
    // Too much at once is still too much.
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan), [""; 0]);
    let deletion = action_of(&plan, "server.tmp");
    for at in ["server.db", "server.other"] {
        let growth = action_of(&plan, at);
        assert!(matches!(growth.kind, ActionKind::UpdateServer { .. }));
        assert!(growth.depends_on.contains(&deletion.id), "{at}");
    }

    resize(&mut fleet, "server.other", 3584);
    let plan = plan_of(&fleet, &world);
    assert_eq!(moves(&plan), ["server.other n1→n2"]);
    let growth = action_of(&plan, "server.db");
    assert!(growth.depends_on.contains(&action_of(&plan, "server.tmp").id));
}

/// A member of a group that is no longer declared is company to nobody, and keeps nobody of its group from moving.
#[test]
fn a_deleted_member_is_no_company() {
    let mut fleet = fleet(&["n1", "n2", "n3"], &[]);
    fleet = with_group(fleet, "group.g", GroupPolicy::Affinity);
    for at in ["server.a", "server.b"] {
        fleet = with_server(fleet, at, Some("group.g"));
    }
    let world = seated(&fleet, &[("server.a", "n2"), ("server.b", "n2")]);
    fleet.servers.remove(&address("server.a"));
    drain(&mut fleet, &["n2"]);
    let plan = plan_of(&fleet, &world);
    assert_eq!(
        (moves(&plan), plan.blocked.len()),
        (vec!["server.b n2→n1".to_owned()], 0)
    );
}

/// Who is to be created comes to nobody who does not want it there.
#[test]
fn a_new_server_keeps_away_from_who_shuns_it() {
    let mut fleet = fleet(&["n1", "n2"], &[("server.old", 1024)]);
    fleet.scheduler.filters.push("DifferentHostFilter".to_owned());
    let world = seated(&fleet, &[("server.old", "n1")]);
    fleet = with_server(fleet, "server.new", None);
    let old = fleet.servers.get_mut(&address("server.old")).expect("declared");
    old.spec.hints.different_host = [address("server.new")].into();
    fleet.scheduler.weights = [("ram".to_owned(), -1.0)].into();
    let plan = plan_of(&fleet, &world);
    assert_eq!(plan.placements[&address("server.new")].host, host("n2"));
}

/// Where the one that is named were refused by its host, the other would be alone there.
#[test]
fn who_is_anothers_company_has_no_alternates() {
    let mut fleet = fleet(
        &["n1", "n2", "n3"],
        &[("server.a", 1024), ("server.b", 1024), ("server.c", 1024)],
    );
    fleet.scheduler.filters.push("SameHostFilter".to_owned());
    let a = fleet.servers.get_mut(&address("server.a")).expect("declared");
    a.spec.hints.same_host = [address("server.b")].into();
    let plan = plan_of(&fleet, &seated(&fleet, &[]));
    let of = |at: &str| &plan.placements[&address(at)];
    assert_eq!(of("server.a").host, of("server.b").host);
    assert_eq!(
        of("server.a").alternates.len() + of("server.b").alternates.len(),
        0
    );
    assert_eq!(of("server.c").alternates.len(), 2);
}

/// A fleet of which thirty hosts are drained, each with one server that needs another to make room for it.
#[test]
fn however_many_need_others_to_make_room_for_them() {
    let names: Vec<String> = (0..120).map(|at| format!("n{at:03}")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let on = |at: usize| if at < 30 { at } else { 30 + (at - 30) / 2 };
    let servers: Vec<(String, u64)> = (0..30 + 2 * 90)
        .map(|at| (format!("server.s{at:03}"), if at < 30 { 4096 } else { 2048 }))
        .collect();
    let sizes: Vec<(&str, u64)> = servers.iter().map(|(at, mib)| (at.as_str(), *mib)).collect();
    let mut fleet = fleet(&hosts, &sizes);
    let seats: Vec<(&str, &str)> = (0..servers.len())
        .map(|at| (sizes[at].0, hosts[on(at)]))
        .collect();
    let world = seated(&fleet, &seats);
    drain(&mut fleet, &hosts[..30]);
    let plan = plan_of(&fleet, &world);
    assert_eq!((moves(&plan).len(), plan.blocked.len()), (60, 0));
}

fn action_of<'p>(plan: &'p Plan, at: &str) -> &'p Action {
    let mut actions = plan.actions.iter();
    let of = actions.find(|action| action.address == address(at));
    of.expect("it has an action")
}
