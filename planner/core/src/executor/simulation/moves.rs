//! Why servers move: each constraint that can break, the plan's reason for it, and that applying mends it.

use super::run::FakeFleet;
use super::scenarios::{apply, assert_settled, options, running};
use crate::model::DesiredFleet;
use crate::plan::text::{Style, render};
use crate::plan::{ActionKind, Plan, Reason};
use crate::testing::{address, host};
use drover_types::{Address, HostName};

fn host_of(world: &FakeFleet, server: &str) -> HostName {
    let recorded = world.store.read();
    recorded.servers[&address(server)].host.clone().expect("placed")
}

/// The migrations of a plan, each with its destination and reason.
fn migrations(plan: &Plan) -> Vec<(Address, HostName, Reason)> {
    let mut moves = Vec::new();
    for action in &plan.actions {
        if let ActionKind::Migrate { to, .. } = &action.kind {
            moves.push((action.address.clone(), to.clone(), action.why.clone()));
        }
    }
    moves
}

/// Applies the plan and looks whether that mended everything.
fn mend(world: &mut FakeFleet, desired: &DesiredFleet, plan: Plan) {
    assert!(apply(world, plan).is_complete());
    assert_settled(world, desired);
}

#[test]
fn a_server_leaves_a_zone_that_it_must_not_be_in_any_more() {
    let (mut world, mut desired) = running();
    let moved = address("server.web[0]");
    let from = host_of(&world, "server.web[0]");
    let zone = |name: &str| Some(name.to_owned());
    // The one host without a member of its group.
    let to = ["n1", "n2", "n3", "n4"]
        .into_iter()
        .map(host)
        .find(|name| (0..3).all(|index| host_of(&world, &format!("server.web[{index}]")) != *name));
    let to = to.expect("three members on four hosts");
    desired
        .hosts
        .get_mut(&to)
        .expect("declared")
        .spec
        .availability_zone = zone("rack-2");
    desired
        .servers
        .get_mut(&moved)
        .expect("declared")
        .spec
        .availability_zone = zone("rack-2");
    let plan = world.plan(&desired, &options());
    let why = Reason::ZoneBroken {
        host: from,
        zone: Some("rack-2".to_owned()),
    };
    assert_eq!(migrations(&plan), [(moved, to, why)]);
    insta::assert_snapshot!(render(&plan, Style::PLAIN));
    mend(&mut world, &desired, plan);
}

#[test]
fn a_host_that_changes_its_zone_is_left_by_those_who_need_the_old_one() {
    let (mut world, mut desired) = running();
    let name = |name: &str| Some(name.to_owned());
    for state in desired.hosts.values_mut() {
        state.spec.availability_zone = name("rack-1");
    }
    for server in desired.servers.values_mut() {
        server.spec.availability_zone = name("rack-1");
    }
    let plan = world.plan(&desired, &options());
    assert_eq!(migrations(&plan), [], "they are where they must be");
    mend(&mut world, &desired, plan);

    let from = host_of(&world, "server.web[1]");
    desired
        .hosts
        .get_mut(&from)
        .expect("declared")
        .spec
        .availability_zone = name("rack-2");
    let plan = world.plan(&desired, &options());
    let leaving = migrations(&plan);
    assert!(
        leaving
            .iter()
            .any(|(server, ..)| *server == address("server.web[1]")),
        "{leaving:?}"
    );
    for (server, to, why) in leaving {
        assert_eq!(
            why,
            Reason::ZoneBroken {
                host: from.clone(),
                zone: Some("rack-1".to_owned())
            },
            "{server}"
        );
        assert_ne!(to, from);
    }
    mend(&mut world, &desired, plan);
}

#[test]
fn two_members_that_must_be_apart_and_were_put_together_are_parted() {
    let (mut world, desired) = running();
    let (from, to) = (host_of(&world, "server.web[0]"), host_of(&world, "server.web[1]"));
    let id = world.store.read().servers[&address("server.web[0]")].id;
    let domain = world.agent(&from).domains.remove(&id).expect("it runs there");
    world.agent(&to).domains.insert(id, domain);

    let plan = world.plan(&desired, &options());
    let moves = migrations(&plan);
    let [(server, away, why)] = moves.as_slice() else {
        panic!("one of the two moves: {moves:?}")
    };
    assert_eq!(*server, address("server.web[1]"));
    assert_ne!(*away, to);
    let Reason::GroupBroken { group, with, .. } = why else {
        panic!("{why}")
    };
    assert_eq!((group, with), (&address("group.web"), &address("server.web[0]")));
    insta::assert_snapshot!(render(&plan, Style::PLAIN));
    mend(&mut world, &desired, plan);
    assert_eq!(
        host_of(&world, "server.web[0]"),
        to,
        "it was adopted where it runs"
    );
}

#[test]
fn a_host_that_is_no_longer_declared_is_emptied_and_forgotten() {
    let (mut world, mut desired) = running();
    let gone = host_of(&world, "server.web[2]");
    desired.hosts.remove(&gone);
    let plan = world.plan(&desired, &options());
    let moves = migrations(&plan);
    assert!(!moves.is_empty());
    for (server, to, why) in &moves {
        assert_eq!(*why, Reason::HostRemoved { host: gone.clone() }, "{server}");
        assert_ne!(*to, gone);
    }
    insta::assert_snapshot!(render(&plan, Style::PLAIN));
    mend(&mut world, &desired, plan);
    assert!(world.agents[&gone].domains.is_empty() && world.agents[&gone].held().is_empty());
    assert!(!world.store.read().hosts.contains_key(&gone));
}
