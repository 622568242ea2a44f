//! What `lifecycle` blocks, `--replace`, `--exclude` and `--refresh=false` ask, planned and applied.

use super::run::{Applied, FakeFleet, Faults};
use crate::model::{DesiredFleet, Ignored, Lifecycle, Power, Trigger};
use crate::plan::change::{ChangeKind, changes};
use crate::plan::{ActionKind, DriftHandling, Plan, PlanOptions, Reason};
use crate::testing::{address, desired, host, lifecycle, with_hosts, with_server};
use drover_types::{ByteSize, PowerState, Sha256Digest};
use std::sync::Arc;

const HOSTS: [&str; 2] = ["n1", "n2"];

fn two() -> DesiredFleet {
    let fleet = with_hosts(desired(), &HOSTS);
    with_server(with_server(fleet, "server.a", None), "server.b", None)
}

fn applied(fleet: &DesiredFleet) -> FakeFleet {
    let mut world = FakeFleet::new(&HOSTS, 11);
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

fn kinds(plan: &Plan) -> Vec<(ChangeKind, String)> {
    changes(plan)
        .iter()
        .filter(|change| change.kind != ChangeKind::HostWork)
        .map(|change| (change.kind, change.address.to_string()))
        .collect()
}

fn with(fleet: &mut DesiredFleet, at: &str, change: impl FnOnce(&mut Lifecycle)) {
    let mut block = lifecycle();
    change(&mut block);
    fleet.lifecycle.insert(address(at), block);
}

fn replacing(at: &str) -> PlanOptions {
    PlanOptions {
        replace: vec![address(at)],
        ..PlanOptions::default()
    }
}

#[test]
fn ignored_arguments_change_nothing_and_heal_nothing() {
    let mut fleet = two();
    let mut world = applied(&fleet);
    with(&mut fleet, "server.a", |block| {
        block.ignore_changes = Ignored::Listed(["power".to_owned(), "flavor".to_owned()].into());
    });
    fleet
        .servers
        .get_mut(&address("server.a"))
        .expect("declared")
        .spec
        .power = Power::Off;
    fleet
        .flavors
        .get_mut(&address("flavor.small"))
        .expect("declared")
        .spec
        .ram = ByteSize::from_mib(256);
    let resized = fleet.flavors[&address("flavor.small")].spec.clone();
    for server in fleet.servers.values_mut() {
        server.spec.size = resized.clone();
    }
    let plan = world.plan(&fleet, &PlanOptions::default());
    assert_eq!(
        kinds(&plan),
        [
            (ChangeKind::RecordChanged, "flavor.small".to_owned()),
            (ChangeKind::Reboot, "server.b".to_owned()),
        ]
    );
    finish(&mut world, plan);
    // A guest that somebody stops stays stopped, and is not spoken of.
    let id = world.store.read().servers[&address("server.a")].id;
    let at = world.store.read().servers[&address("server.a")]
        .host
        .clone()
        .expect("placed");
    world.agent(&at).domains.get_mut(&id).expect("there").running = false;
    let plan = world.plan(&fleet, &PlanOptions::default());
    assert!(plan.is_empty() && plan.drift.is_empty(), "{:?}", kinds(&plan));
    // Its new size is brought about, and it stays off.
    with(&mut fleet, "server.a", |block| {
        block.ignore_changes = Ignored::Listed(["power".to_owned()].into());
    });
    let plan = world.plan(&fleet, &PlanOptions::default());
    assert_eq!(kinds(&plan), [(ChangeKind::Update, "server.a".to_owned())]);
    finish(&mut world, plan);
    assert!(
        !world.agents[&at].domains[&id].running,
        "an update must not start it"
    );
    with(&mut fleet, "server.a", |block| {
        block.ignore_changes = Ignored::All;
    });
    fleet
        .servers
        .get_mut(&address("server.a"))
        .expect("declared")
        .spec
        .name = "third".to_owned();
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
}

#[test]
fn without_refresh_drift_is_left_alone() {
    let fleet = two();
    let mut world = applied(&fleet);
    let id = world.store.read().servers[&address("server.a")].id;
    let at = world.store.read().servers[&address("server.a")]
        .host
        .clone()
        .expect("placed");
    world.agent(&at).domains.get_mut(&id).expect("there").running = false;
    let healed = world.plan(&fleet, &PlanOptions::default());
    assert_eq!((healed.drift.len(), healed.actions.len()), (1, 1));
    let options = PlanOptions {
        drift: DriftHandling::Ignore,
        ..PlanOptions::default()
    };
    let left = world.plan(&fleet, &options);
    assert!(left.drift.is_empty() && left.is_empty());
    world.agent(&at).domains.remove(&id);
    let left = world.plan(&fleet, &options);
    assert!(left.drift.is_empty() && left.is_empty() && left.is_whole());
}

#[test]
fn a_replaced_server_keeps_its_id_and_host() {
    let fleet = two();
    let mut world = applied(&fleet);
    let before = world.store.read().servers[&address("server.a")].clone();
    let plan = world.plan(&fleet, &replacing("server.a"));
    assert_eq!(kinds(&plan), [(ChangeKind::Replace, "server.a".to_owned())]);
    assert!(
        plan.actions
            .iter()
            .all(|action| action.why == Reason::ReplaceRequested)
    );
    finish(&mut world, plan);
    let after = world.store.read().servers[&address("server.a")].clone();
    assert_eq!((before.id, &before.host), (after.id, &after.host));
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
}

#[test]
fn a_successor_is_there_before_the_old_server_goes() {
    let mut fleet = two();
    let mut world = applied(&fleet);
    with(&mut fleet, "server.a", |block| block.create_before_destroy = true);
    let before = world.store.read().servers[&address("server.a")].clone();
    let plan = world.plan(&fleet, &replacing("server.a"));
    assert_eq!(kinds(&plan), [(ChangeKind::Succeed, "server.a".to_owned())]);
    let (create, delete) = (&plan.actions[0], &plan.actions[1]);
    assert!(
        matches!(create.kind, ActionKind::CreateServer { .. }),
        "{create:?}"
    );
    assert!(delete.depends_on.contains(&create.id));
    finish(&mut world, plan);
    let recorded = world.store.read();
    let after = &recorded.servers[&address("server.a")];
    assert_ne!(before.id, after.id);
    assert_eq!(after.incarnation, before.incarnation + 1);
    assert!(recorded.deposed.is_empty() && !recorded.ownership.contains_key(&before.id));
    let domains: usize = world.agents.values().map(|agent| agent.domains.len()).sum();
    assert_eq!(domains, 2);
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
}

#[test]
fn a_successor_that_no_host_can_start_leaves_the_old_server_in_place() {
    let mut fleet = two();
    let mut world = applied(&fleet);
    with(&mut fleet, "server.a", |block| block.create_before_destroy = true);
    let before = world.store.read().servers[&address("server.a")].clone();
    for name in HOSTS {
        world.agent(&host(name)).broken = true;
    }
    let plan = world.plan(&fleet, &replacing("server.a"));
    match world.apply(&Arc::new(plan)) {
        Applied::Finished(summary) => assert_eq!((summary.failed.len(), summary.not_begun.len()), (1, 1)),
        Applied::Killed | Applied::Stale => panic!("it is neither killed nor stale"),
    }
    let recorded = world.store.read();
    let after = &recorded.servers[&address("server.a")];
    assert_eq!((before.id, &before.host), (after.id, &after.host));
    assert_eq!(after.tried.len(), HOSTS.len());
    assert!(recorded.deposed.is_empty());
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
}

#[test]
fn both_servers_must_fit_at_once() {
    let mut fleet = with_server(with_hosts(desired(), &["n1"]), "server.a", None);
    fleet
        .flavors
        .get_mut(&address("flavor.small"))
        .expect("declared")
        .spec
        .ram = ByteSize::from_gib(4);
    fleet
        .servers
        .get_mut(&address("server.a"))
        .expect("declared")
        .spec
        .size = fleet.flavors[&address("flavor.small")].spec.clone();
    let mut world = FakeFleet::new(&["n1"], 3);
    let plan = world.plan(&fleet, &PlanOptions::default());
    finish(&mut world, plan);
    with(&mut fleet, "server.a", |block| block.create_before_destroy = true);
    let plan = world.plan(&fleet, &replacing("server.a"));
    assert!(plan.is_empty(), "{:?}", kinds(&plan));
    assert_eq!(
        (plan.blocked.len(), plan.blocked[0].verb.as_str()),
        (1, "replace")
    );
    fleet.lifecycle.clear();
    let plan = world.plan(&fleet, &replacing("server.a"));
    assert_eq!(kinds(&plan), [(ChangeKind::Replace, "server.a".to_owned())]);
}

#[test]
fn killed_anywhere_a_succession_comes_to_its_end() {
    for seed in 0..60 {
        let mut fleet = two();
        let mut world = FakeFleet::new(&HOSTS, seed);
        let plan = world.plan(&fleet, &PlanOptions::default());
        finish(&mut world, plan);
        with(&mut fleet, "server.a", |block| block.create_before_destroy = true);
        world.faults = Faults {
            killed: Some(6),
            lost: Some(9),
            ..Faults::default()
        };
        let plan = world.plan(&fleet, &replacing("server.a"));
        let _ = world.apply(&Arc::new(plan));
        world.faults = Faults::default();
        for _ in 0..4 {
            let plan = world.plan(&fleet, &PlanOptions::default());
            if plan.is_empty() {
                break;
            }
            let _ = world.apply(&Arc::new(plan));
        }
        let plan = world.plan(&fleet, &PlanOptions::default());
        assert!(plan.is_empty() && plan.is_whole(), "seed {seed}: {plan:#?}");
        let recorded = world.store.read();
        assert!(recorded.deposed.is_empty(), "seed {seed}");
        let domains: usize = world.agents.values().map(|agent| agent.domains.len()).sum();
        assert_eq!(domains, 2, "seed {seed}");
    }
}

#[test]
fn what_is_named_replaces_a_server_when_it_changes() {
    let mut fleet = two();
    let mut world = applied(&fleet);
    let trigger = |at: &str, attribute: Option<&str>| Trigger {
        address: address(at),
        attribute: attribute.map(str::to_owned),
    };
    with(&mut fleet, "server.a", |block| {
        block.replace_triggered_by = [trigger("image.debian", Some("checksum"))].into();
    });
    with(&mut fleet, "server.b", |block| {
        block.replace_triggered_by = [
            trigger("server.a", Some("id")),
            trigger("flavor.small", Some("disk")),
        ]
        .into();
    });
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
    let image = fleet.images.get_mut(&address("image.debian")).expect("declared");
    image
        .spec
        .properties
        .insert("hw_vm_mode".to_owned(), "hvm".to_owned());
    let plan = world.plan(&fleet, &PlanOptions::default());
    assert_eq!(
        kinds(&plan),
        [(ChangeKind::RecordChanged, "image.debian".to_owned())]
    );
    // The image's content replaces the one, which replaces the other, though neither allows a rebuild.
    let image = fleet.images.get_mut(&address("image.debian")).expect("declared");
    image.spec.checksum = Sha256Digest::of(b"newer");
    let checksum = image.spec.checksum;
    for server in fleet.servers.values_mut() {
        server.spec.image.as_mut().expect("it has one").checksum = checksum;
    }
    let plan = world.plan(&fleet, &PlanOptions::default());
    assert_eq!(plan.blocked, []);
    assert_eq!(
        kinds(&plan)[1..],
        [
            (ChangeKind::Replace, "server.a".to_owned()),
            (ChangeKind::Replace, "server.b".to_owned()),
        ]
    );
    finish(&mut world, plan);
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
}

#[test]
fn excluded_servers_stay_as_they_are() {
    let mut fleet = two();
    let mut world = applied(&fleet);
    fleet.servers.clear();
    let options = PlanOptions {
        excludes: vec![address("server.b")],
        ..PlanOptions::default()
    };
    let plan = world.plan(&fleet, &options);
    assert_eq!(kinds(&plan), [(ChangeKind::Destroy, "server.a".to_owned())]);
    finish(&mut world, plan);
    let at = world.store.read().servers[&address("server.b")]
        .host
        .clone()
        .expect("placed");
    let running = |world: &FakeFleet| {
        world.agents[&at]
            .inventory()
            .domains
            .values()
            .next()
            .map(|domain| domain.power_state)
    };
    assert_eq!(running(&world), Some(PowerState::Running));
}
