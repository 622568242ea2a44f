//! `moved` and `removed` blocks, planned and applied.

use super::run::{Applied, FakeFleet};
use crate::diff::{RenameError, check_moved, renames};
use crate::model::{DesiredFleet, MoveEnd, Moved, RecordedFleet, Removed, Repetition};
use crate::plan::change::{ChangeKind, changes};
use crate::plan::{Plan, PlanOptions};
use crate::testing::{address, desired, lifecycle, with_hosts, with_server};
use std::sync::Arc;

const HOSTS: [&str; 2] = ["n1", "n2"];

fn fleet(servers: &[&str]) -> DesiredFleet {
    let fleet = with_hosts(desired(), &HOSTS);
    servers
        .iter()
        .fold(fleet, |fleet, at| with_server(fleet, at, None))
}

fn applied(fleet: &DesiredFleet) -> FakeFleet {
    let mut world = FakeFleet::new(&HOSTS, 5);
    let plan = world.plan(fleet, &PlanOptions::default());
    finish(&mut world, plan);
    world
}

#[track_caller]
fn finish(world: &mut FakeFleet, plan: Plan) {
    match world.apply(&Arc::new(plan)) {
        Applied::Finished(summary) => assert!(summary.is_complete(), "{summary:#?}"),
        Applied::Killed | Applied::Stale => panic!("it is neither killed nor stale"),
    }
}

fn end(text: &str) -> MoveEnd {
    match text.parse() {
        Ok(address) => MoveEnd::Resource(address),
        Err(_) => {
            let inner = address(&format!("{text}.server.x"));
            MoveEnd::Module(inner.modules)
        }
    }
}

fn moves(pairs: &[(&str, &str)]) -> Vec<Moved> {
    pairs
        .iter()
        .map(|(from, to)| Moved {
            within: Vec::new(),
            from: end(from),
            to: end(to),
            origin: lifecycle().origin,
        })
        .collect()
}

fn recorded(servers: &[&str]) -> RecordedFleet {
    applied(&fleet(servers)).store.read()
}

/// The same blocks, in a module.
fn moves_in(module: &str, pairs: &[(&str, &str)]) -> Vec<Moved> {
    let MoveEnd::Module(within) = end(module) else {
        panic!("{module} is no module");
    };
    let mut all = moves(pairs);
    for one in &mut all {
        one.within.clone_from(&within);
    }
    all
}

fn moved(pairs: &[(&str, &str)], servers: &[&str]) -> Vec<String> {
    moved_by(&moves(pairs), servers)
}

fn moved_by(moves: &[Moved], servers: &[&str]) -> Vec<String> {
    let renames = renames(moves, None, &recorded(servers)).expect("they can be moved");
    renames.iter().map(|(from, to)| format!("{from} {to}")).collect()
}

fn refused(pairs: &[(&str, &str)], servers: &[&str]) -> Vec<String> {
    let errors = renames(&moves(pairs), None, &recorded(servers)).expect_err("they cannot");
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn moves_in_a_module_count_in_each_of_its_instances_and_nowhere_else() {
    let inner = moves_in("module.m", &[("server.a", "server.b")]);
    assert_eq!(
        moved_by(
            &inner,
            &[
                "server.a",
                "module.m[0].server.a",
                "module.m[1].server.a",
                "module.n.server.a"
            ]
        ),
        [
            "module.m[0].server.a module.m[0].server.b",
            "module.m[1].server.a module.m[1].server.b"
        ]
    );
    let deep = moves_in("module.m.module.n", &[("server.a[0]", "server.a[\"x\"]")]);
    assert_eq!(
        moved_by(
            &deep,
            &["module.m[\"k\"].module.n.server.a[0]", "module.m.server.a[0]"]
        ),
        ["module.m[\"k\"].module.n.server.a[0] module.m[\"k\"].module.n.server.a[\"x\"]"]
    );
    // A module of a module, and a chain from the root module's block into the module's own.
    let calls = moves_in("module.m", &[("module.old", "module.new")]);
    assert_eq!(
        moved_by(&calls, &["module.m[0].module.old.server.a"]),
        ["module.m[0].module.old.server.a module.m[0].module.new.server.a"]
    );
    let mut chain = moves(&[("server.a", "module.m[1].server.a")]);
    chain.extend(inner);
    assert_eq!(moved_by(&chain, &["server.a"]), ["server.a module.m[1].server.b"]);
    // Two modules may say the same of their own; one may not say two things.
    let mut both = moves_in("module.m", &[("server.a", "server.b")]);
    both.extend(moves_in("module.n", &[("server.a", "server.c")]));
    assert!(check_moved(&both).is_empty());
    both.extend(moves_in("module.n", &[("server.a", "server.d")]));
    let errors: Vec<String> = check_moved(&both).iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("module.n.server.a"), "{errors:?}");
}

#[test]
fn moves_lead_from_instances_and_whole_resources_over_chains() {
    assert_eq!(
        moved(
            &[("server.a", "server.b"), ("server.b", "server.c")],
            &["server.a"]
        ),
        ["server.a server.c"]
    );
    assert_eq!(
        moved(
            &[("server.web", "server.www")],
            &["server.web[0]", "server.web[1]"]
        ),
        ["server.web[0] server.www[0]", "server.web[1] server.www[1]"]
    );
    assert_eq!(
        moved(
            &[("server.a", "server.a[\"x\"]"), ("server.b[1]", "server.b")],
            &["server.a", "server.b[1]", "server.b[2]"]
        ),
        ["server.a server.a[\"x\"]", "server.b[1] server.b"]
    );
    assert_eq!(
        moved(
            &[("module.old", "module.new")],
            &["module.old.server.a", "server.a"]
        ),
        ["module.old.server.a module.new.server.a"]
    );
    assert_eq!(
        moved(&[("module.m", "module.m[0]")], &["module.m.server.a"]),
        ["module.m.server.a module.m[0].server.a"]
    );
    assert_eq!(
        moved(&[("server.a", "module.m.server.a")], &["server.a"]),
        ["server.a module.m.server.a"]
    );
    // Nothing is recorded there: the block is old, and harmless.
    assert!(moved(&[("server.gone", "server.a")], &["server.a"]).is_empty());
}

#[test]
fn moves_that_cannot_be_are_all_named() {
    assert_eq!(
        refused(
            &[("server.a", "server.b"), ("server.a", "server.c")],
            &["server.a"]
        ),
        ["server.a is moved to server.b and to server.c"]
    );
    assert_eq!(
        refused(
            &[("server.a", "server.b"), ("server.b", "server.a")],
            &["server.a"]
        ),
        ["the moves of server.a lead in a circle: server.a -> server.b -> server.a"]
    );
    assert_eq!(
        refused(&[("server.a", "server.b")], &["server.a", "server.b"]),
        ["server.a is to be moved to server.b, where server.b is recorded"]
    );
    assert_eq!(
        refused(
            &[("server.a", "server.c"), ("server.b", "server.c")],
            &["server.a", "server.b"]
        ),
        ["server.b is to be moved to server.c, where server.a is recorded"]
    );
    let still = renames(
        &moves(&[("server.a", "server.b")]),
        Some(&fleet(&["server.a"])),
        &recorded(&["server.a"]),
    );
    assert!(matches!(
        still.expect_err("still declared").as_slice(),
        [RenameError::StillDeclared { .. }]
    ));
}

#[test]
fn a_moved_server_keeps_its_id_and_its_host_and_is_not_restarted() {
    let mut world = applied(&fleet(&["server.a", "server.b"]));
    let before = world.store.read().servers[&address("server.a")].clone();
    let after = fleet(&["server.c", "server.b"]);
    world.moved = moves(&[("server.a", "server.c")]);
    let plan = world.plan(&after, &PlanOptions::default());
    let kinds: Vec<_> = changes(&plan).iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Update, ChangeKind::RecordMoved]);
    finish(&mut world, plan);
    let now = world.store.read().servers[&address("server.c")].clone();
    assert_eq!((before.id, &before.host), (now.id, &now.host));
    assert!(!world.store.read().servers.contains_key(&address("server.a")));
    let at = now.host.expect("placed");
    assert_eq!(
        world.agents[&at].domains[&now.id].order.address,
        address("server.c")
    );
    // With the block, and without it.
    assert!(world.plan(&after, &PlanOptions::default()).is_empty());
    world.moved.clear();
    assert!(world.plan(&after, &PlanOptions::default()).is_empty());
}

#[test]
fn killed_between_the_move_and_the_mark_the_next_apply_goes_on() {
    for seed in 0..40 {
        let mut world = FakeFleet::new(&HOSTS, seed);
        let plan = world.plan(&fleet(&["server.a", "server.b"]), &PlanOptions::default());
        finish(&mut world, plan);
        let after = fleet(&["server.c", "server.b"]);
        world.moved = moves(&[("server.a", "server.c")]);
        world.faults.killed = Some(3);
        let plan = world.plan(&after, &PlanOptions::default());
        let _ = world.apply(&Arc::new(plan));
        world.faults.killed = None;
        for _ in 0..3 {
            let plan = world.plan(&after, &PlanOptions::default());
            let _ = world.apply(&Arc::new(plan));
        }
        let plan = world.plan(&after, &PlanOptions::default());
        assert!(plan.is_empty() && plan.is_whole(), "seed {seed}: {plan:#?}");
        assert_eq!(world.store.read().servers.len(), 2);
        let domains: usize = world.agents.values().map(|agent| agent.domains.len()).sum();
        assert_eq!(domains, 2, "seed {seed}");
    }
}

#[test]
fn a_block_that_gets_or_loses_count_keeps_its_first_server() {
    let mut world = applied(&fleet(&["server.a"]));
    let id = world.store.read().servers[&address("server.a")].id;
    let mut counted = fleet(&["server.a[0]", "server.a[1]"]);
    counted.blocks.insert(address("server.a"), Repetition::Counted(2));
    let plan = world.plan(&counted, &PlanOptions::default());
    finish(&mut world, plan);
    assert_eq!(world.store.read().servers[&address("server.a[0]")].id, id);
    assert!(world.plan(&counted, &PlanOptions::default()).is_empty());
    let mut single = fleet(&["server.a"]);
    single.blocks.insert(address("server.a"), Repetition::Single);
    let plan = world.plan(&single, &PlanOptions::default());
    finish(&mut world, plan);
    assert_eq!(world.store.read().servers[&address("server.a")].id, id);
    assert!(world.plan(&single, &PlanOptions::default()).is_empty());
}

#[test]
fn a_removed_server_is_forgotten_and_its_guest_runs_on() {
    let mut world = applied(&fleet(&["server.a", "server.b"]));
    let id = world.store.read().servers[&address("server.a")].id;
    let mut after = fleet(&["server.b"]);
    after.removed.push(Removed {
        within: Vec::new(),
        from: address("server.a"),
        destroy: false,
        origin: lifecycle().origin,
    });
    let plan = world.plan(&after, &PlanOptions::default());
    let kinds: Vec<_> = changes(&plan).iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Release]);
    finish(&mut world, plan);
    assert_eq!(world.store.read().servers.len(), 1);
    assert!(!world.store.read().ownership.contains_key(&id));
    assert!(
        world
            .agents
            .values()
            .any(|agent| agent.released.get(&id).is_some_and(|guest| guest.running))
    );
    assert!(world.agents.values().all(|agent| !agent.held().contains_key(&id)));
    assert!(world.plan(&after, &PlanOptions::default()).is_empty());
}
