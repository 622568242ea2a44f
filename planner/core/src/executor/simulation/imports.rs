//! Domains that somebody else made become servers: done, refused, and cut off anywhere.

use super::fake_agent::FakeDomain;
use super::run::{Applied, FakeFleet, Faults};
use super::tests::assert_as_declared;
use crate::executor::ServerOrder;
use crate::model::{DesiredFleet, HostState, Import, ImportId, Power};
use crate::plan::change::{ChangeKind, changes};
use crate::plan::{ActionKind, BlockedBy, ImportProblem, Plan, PlanOptions};
use crate::testing::{address, desired, with_hosts, with_server};
use drover_types::{Epoch, Generation, ServerId};
use std::sync::Arc;
use uuid::Uuid;

const HOSTS: [&str; 2] = ["n1", "n2"];
const AT: &str = "server.old";

fn domain_id() -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(0xa1))
}

fn world() -> FakeFleet {
    world_of(5)
}

fn world_of(seed: u64) -> FakeFleet {
    let mut world = FakeFleet::new(&HOSTS, seed);
    let fleet = with_hosts(desired(), &HOSTS);
    let plan = world.plan(&fleet, &PlanOptions::default());
    finish(&mut world, plan);
    let size = with_server(desired(), AT, None).servers[&address(AT)]
        .spec
        .size
        .clone();
    let order = ServerOrder {
        id: domain_id(),
        address: address("server.nobody"),
        name: "legacy".to_owned(),
        generation: Generation::new(0),
        vcpus: size.vcpus,
        ram_mib: size.ram.mib_ceil(),
        disk_bytes: size.disk.bytes(),
        image: None,
        power: Power::On,
        frozen: None,
        image_properties: std::collections::BTreeMap::new(),
        numa: None,
        devices: Vec::new(),
    };
    let domain = FakeDomain {
        order,
        running: true,
        epoch: Epoch::new(0),
        restarts: 0,
        drift: Vec::new(),
    };
    let agent = world
        .agents
        .get_mut(&"n1".parse().expect("a name"))
        .expect("a host");
    agent.foreign.insert(domain_id(), domain);
    world
}

/// The fleet with a server that is the domain.
fn declared(id: &str) -> DesiredFleet {
    let mut fleet = with_server(with_hosts(desired(), &HOSTS), AT, None);
    fleet.servers.get_mut(&address(AT)).expect("declared").spec.image = None;
    let id: ImportId = id.parse().expect("it reads");
    fleet.imports.insert(address(AT), Import { id, origin: None });
    fleet
}

#[track_caller]
fn finish(world: &mut FakeFleet, plan: Plan) {
    match world.apply(&Arc::new(plan)) {
        Applied::Finished(summary) => assert!(summary.is_complete(), "{summary:#?}"),
        Applied::Killed | Applied::Stale => panic!("it is neither killed nor stale"),
    }
}

fn problems(plan: &Plan) -> Vec<ImportProblem> {
    let all = plan.blocked.iter().filter_map(|blocked| match &blocked.by {
        BlockedBy::CannotImport { problems, .. } => Some(problems.clone()),
        _ => None,
    });
    all.flatten().collect()
}

#[test]
fn a_domain_becomes_a_server_once_and_stays_what_it_is() {
    let mut world = world();
    for id in ["n1/legacy".to_owned(), format!("n1/{}", domain_id())] {
        let plan = world.plan(&declared(&id), &PlanOptions::default());
        let kinds: Vec<_> = changes(&plan).iter().map(|change| change.kind).collect();
        assert!(kinds.contains(&ChangeKind::Import), "{kinds:?}");
    }
    let fleet = declared("n1/legacy");
    let plan = world.plan(&fleet, &PlanOptions::default());
    finish(&mut world, plan);
    let recorded = world.store.read();
    let server = &recorded.servers[&address(AT)];
    assert_eq!(server.id, domain_id());
    assert_eq!(server.imported_from, Some("n1/legacy".parse().expect("it reads")));
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
    // It can go nowhere else, and its host is emptied as a whole or not at all.
    let mut drained = fleet;
    let host = drained
        .hosts
        .get_mut(&"n1".parse().expect("a name"))
        .expect("declared");
    host.spec.state = HostState::Drain;
    let plan = world.plan(&drained, &PlanOptions::default());
    assert!(
        plan.blocked
            .iter()
            .any(|blocked| matches!(blocked.by, BlockedBy::Imported { .. }))
    );
    assert!(
        !plan
            .actions
            .iter()
            .any(|action| matches!(action.kind, ActionKind::Migrate { .. }))
    );
}

#[test]
fn a_domain_of_another_size_is_named_with_both_numbers() {
    let world = world();
    let mut fleet = declared("n1/legacy");
    let spec = &mut fleet.servers.get_mut(&address(AT)).expect("declared").spec;
    spec.size.vcpus += 2;
    let plan = world.plan(&fleet, &PlanOptions::default());
    assert!(
        changes(&plan)
            .iter()
            .all(|change| change.kind != ChangeKind::Import)
    );
    let found = problems(&plan);
    assert!(
        matches!(found.as_slice(), [ImportProblem::Vcpus { found, declared, .. }] if found + 2 == *declared),
        "{found:?}"
    );
}

#[test]
fn two_servers_cannot_be_made_of_one_domain_by_name_and_uuid() {
    let world = world();
    let mut fleet = declared("n1/legacy");
    let second = declared("n1/legacy").servers[&address(AT)].clone();
    fleet.servers.insert(address("server.twin"), second);
    let id: ImportId = format!("n1/{}", domain_id()).parse().expect("it reads");
    fleet
        .imports
        .insert(address("server.twin"), Import { id, origin: None });
    let plan = world.plan(&fleet, &PlanOptions::default());
    assert_eq!(problems(&plan), [ImportProblem::Twice { address: address(AT) }]);
}

#[test]
fn a_refused_import_leaves_no_record_and_the_next_one_uses_another_epoch() {
    let mut world = world();
    let fleet = declared("n1/legacy");
    let agent = world
        .agents
        .get_mut(&"n1".parse().expect("a name"))
        .expect("a host");
    agent.broken = true;
    let plan = Arc::new(world.plan(&fleet, &PlanOptions::default()));
    match world.apply(&plan) {
        Applied::Finished(summary) => assert!(!summary.is_complete(), "{summary:#?}"),
        Applied::Killed | Applied::Stale => panic!("it is neither killed nor stale"),
    }
    let recorded = world.store.read();
    assert!(!recorded.servers.contains_key(&address(AT)));
    assert!(!recorded.ownership.contains_key(&domain_id()));
    let agent = world
        .agents
        .get_mut(&"n1".parse().expect("a name"))
        .expect("a host");
    assert!(agent.foreign.contains_key(&domain_id()));
    agent.broken = false;
    let plan = world.plan(&fleet, &PlanOptions::default());
    finish(&mut world, plan);
    assert!(world.plan(&fleet, &PlanOptions::default()).is_empty());
}

#[test]
fn an_import_that_is_cut_off_anywhere_is_finished_or_undone_and_then_done() {
    let fleet = declared("n1/legacy");
    let mut imported_at_once = 0;
    for seed in 0..200 {
        let mut world = world_of(seed);
        world.faults = Faults {
            lost: Some(4),
            never_sent: Some(5),
            killed: Some(5),
            aborted: None,
        };
        for _ in 0..3 {
            let plan = Arc::new(world.plan(&fleet, &PlanOptions::default()));
            drop(world.apply(&plan));
        }
        world.faults = Faults::default();
        let mut rounds = 0;
        loop {
            let plan = world.plan(&fleet, &PlanOptions::default());
            if plan.is_empty() {
                assert!(plan.is_whole(), "seed {seed}: {plan:#?}");
                break;
            }
            rounds += 1;
            assert!(rounds < 5, "seed {seed}: {plan:#?}");
            drop(world.apply(&Arc::new(plan)));
        }
        imported_at_once += usize::from(rounds == 0);
        assert_as_declared(&world, &fleet);
        let agents = world.agents.values();
        let domains: Vec<_> = agents.flat_map(|agent| agent.domains.values()).collect();
        assert_eq!(domains.len(), 1, "seed {seed}");
        assert_eq!(
            (domains[0].restarts, domains[0].running),
            (0, true),
            "seed {seed}"
        );
    }
    assert!(
        (1..200).contains(&imported_at_once),
        "{imported_at_once}: the faults do not matter"
    );
}
