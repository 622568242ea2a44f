//! Plans of small fleets, whole.

use super::text::{Detail, Style, View, render, render_as};
use super::{
    ActionKind, Inputs, LintFinding, Plan, PlanFileError, PlanOptions, Precondition, build, decode, encode,
    lint, place,
};
use crate::diff::{Renames, diff, rename};
use crate::model::{DesiredFleet, GroupPolicy, ObservedFleet, RecordedFleet};
use crate::testing::{desired, lineage, observed, with_group, with_hosts, with_server};
use drover_types::{OperationId, Sha256Digest};
use std::collections::BTreeMap;
use std::sync::LazyLock;

pub(crate) fn plan(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
    options: &PlanOptions,
) -> Plan {
    plan_renamed(desired, recorded, observed, options, &Renames::new())
}

pub(crate) fn plan_renamed(
    desired: &DesiredFleet,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
    options: &PlanOptions,
    renames: &Renames,
) -> Plan {
    let recorded = &rename(recorded.clone(), renames);
    let desired = &crate::diff::settle_ignored(desired.clone(), recorded);
    let inputs = Inputs {
        desired,
        recorded,
        observed,
        lineage: recorded.meta.as_ref().map_or(lineage(), |(meta, _)| meta.lineage),
        drover_version: "0.1.0",
        config_digest: Sha256Digest::of(b"files"),
    };
    let mut diff = diff(desired, recorded, observed, inputs.lineage, options);
    diff.renames.clone_from(renames);
    let placements = place(&inputs, &diff);
    let plan = build(&inputs, diff, placements, &BTreeMap::new(), Vec::new()).expect("a sound plan");
    fits_its_schema(&plan);
    plan
}

/// So that every plan of every test is one that programs can read, those of random fleets too.
fn fits_its_schema(plan: &Plan) {
    static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let text = include_str!("../../../../docs/plan.schema.json");
        let schema = serde_json::from_str(text).expect("JSON");
        jsonschema::validator_for(&schema).expect("a schema")
    });
    let shown = super::json::render(plan);
    let errors: Vec<String> = SCHEMA
        .iter_errors(&shown)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{shown:#}");
}

fn three_apart() -> DesiredFleet {
    let fleet = with_hosts(desired(), &["n1", "n2", "n3"]);
    let mut fleet = with_group(fleet, "group.web", GroupPolicy::AntiAffinity);
    for index in 0..3 {
        fleet = with_server(fleet, &format!("server.web[{index}]"), Some("group.web"));
    }
    fleet
}

#[test]
fn three_servers_apart_on_an_empty_fleet() {
    let fleet = three_apart();
    let plan = plan(
        &fleet,
        &RecordedFleet::empty(1),
        &observed(&["n1", "n2", "n3"]),
        &PlanOptions::default(),
    );
    insta::assert_snapshot!(render(&plan, Style::PLAIN));
}

fn web() -> (DesiredFleet, Plan) {
    let fleet = three_apart();
    let plan = plan(
        &fleet,
        &RecordedFleet::empty(1),
        &observed(&["n1", "n2", "n3"]),
        &PlanOptions::default(),
    );
    (fleet, plan)
}

#[test]
fn the_linter_finds_planted_faults() {
    let (fleet, sound) = web();
    let check = |plan: &Plan| {
        lint(
            plan,
            &RecordedFleet::empty(1),
            &observed(&["n1", "n2", "n3"]),
            &fleet.scheduler,
        )
    };
    assert_eq!(check(&sound), []);
    let creates: Vec<usize> = (0..sound.actions.len())
        .filter(|at| matches!(sound.actions[*at].kind, ActionKind::CreateServer { .. }))
        .collect();
    let (first, second) = (creates[0], creates[1]);

    let mut cyclic = sound.clone();
    let (one, other) = (cyclic.actions[first].id, cyclic.actions[second].id);
    cyclic.actions[first].depends_on.push(other);
    cyclic.actions[second].depends_on.push(one);
    assert!(matches!(check(&cyclic)[0], LintFinding::Cycle(_)));

    let mut missing = sound.clone();
    missing.actions.remove(0);
    assert!(matches!(
        check(&missing)[0],
        LintFinding::UnknownDependency { .. }
    ));

    let mut twice = sound.clone();
    let mut copy = twice.actions[first].clone();
    copy.id = OperationId::derive(lineage(), "another");
    if let ActionKind::CreateServer { candidates, .. } = &mut copy.kind {
        candidates[0].operation = copy.id;
    }
    twice.actions.push(copy);
    let found = check(&twice);
    assert!(
        found
            .iter()
            .any(|finding| matches!(finding, LintFinding::CreatedTwice(_))),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|finding| matches!(finding, LintFinding::OnTwoHosts(_))),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|finding| matches!(finding, LintFinding::EpochUsed(_))),
        "{found:?}"
    );

    let mut wrong = sound.clone();
    wrong.actions[first].precondition = Precondition::AgentLooks;
    assert!(matches!(check(&wrong)[0], LintFinding::Precondition(_)));

    let mut large = sound;
    if let ActionKind::CreateServer { order, .. } = &mut large.actions[first].kind {
        order.ram_mib = 8192;
    }
    assert!(matches!(
        check(&large)[0],
        LintFinding::OverCapacity {
            used: 8192,
            limit: 6144,
            ..
        }
    ));
}

#[test]
fn plan_files_are_read_back_and_say_what_is_wrong_with_them() {
    let (fleet, plan) = web();
    let bytes = encode(&plan);
    let read = |bytes: &[u8]| decode(bytes, &fleet.fleet, &fleet.project);
    assert_eq!(read(&bytes).expect("a plan"), plan);
    assert!(matches!(read(b"#!/bin/sh"), Err(PlanFileError::NotAPlan)));
    let other = "other".parse().expect("a name");
    assert!(matches!(
        decode(&bytes, &other, &fleet.project),
        Err(PlanFileError::OtherFleet { .. })
    ));
    let mut newer = bytes.clone();
    newer[12] = b'9';
    assert!(matches!(
        read(&newer),
        Err(PlanFileError::OtherVersion { found: 9 })
    ));
    for at in (14..bytes.len()).step_by(37) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert!(matches!(read(&altered), Err(PlanFileError::Altered)), "byte {at}");
        assert!(
            matches!(read(&bytes[..at]), Err(PlanFileError::Altered)),
            "cut at {at}"
        );
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    assert_eq!(encode(&web().1), encode(&web().1));
}

/// Quadratic work would take minutes here, even on a slow machine.
#[test]
fn each_silent_host_names_the_servers_recorded_there() {
    let fleet = three_apart();
    let seats = [
        ("server.web[0]", "n1"),
        ("server.web[1]", "n2"),
        ("server.web[2]", "n2"),
    ];
    let seats = seats.map(|(server, host)| (crate::testing::address(server), crate::testing::host(host)));
    let (recorded, mut observed) = crate::testing::settled(&fleet, &seats);
    for name in ["n2", "n3"] {
        let silent = crate::model::UnobservedReason::Unreachable("no route".to_owned());
        observed.insert(
            crate::testing::host(name),
            crate::model::HostObservation::Unobserved(silent),
        );
    }
    let diff = diff(&fleet, &recorded, &observed, lineage(), &PlanOptions::default());
    let named: Vec<(String, usize)> = diff
        .unobserved
        .iter()
        .map(|silent| (silent.host.to_string(), silent.servers.len()))
        .collect();
    assert_eq!(named, [("n2".to_owned(), 2), ("n3".to_owned(), 0)]);
}

#[test]
fn ten_thousand_servers_are_planned_in_seconds() {
    let plan = ten_thousand();
    let creates = plan
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::CreateServer { .. }))
        .count();
    assert_eq!((creates, plan.blocked.len()), (10_000, 0));
}

/// Ten thousand servers of one block, on a hundred hosts that are large enough.
fn ten_thousand() -> Plan {
    let names: Vec<String> = (0..100).map(|index| format!("n{index:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut fleet = with_hosts(desired(), &names);
    for index in 0..10_000 {
        fleet = with_server(fleet, &format!("server.web[{index}]"), None);
    }
    let mut hosts = observed(&names);
    for observation in hosts.values_mut() {
        if let crate::model::HostObservation::Reported(inventory) = observation {
            inventory.facts.vcpus = 128;
            inventory.facts.ram_mib = 1 << 20;
            inventory.facts.disk_mib = 1 << 24;
        }
    }
    plan(&fleet, &RecordedFleet::empty(1), &hosts, &PlanOptions::default())
}

#[test]
fn ten_thousand_servers_alike_are_told_in_one_block() {
    let plan = ten_thousand();
    insta::assert_snapshot!(render(&plan, Style::PLAIN), @r#"
    Drover will perform the following actions. They are marked so:
      + create

      # server.web[0-9999] will be created (10,000 servers)
      # host: 100 hosts, 100 on each: n000, n001, n002, n003, n004, n005, and 94
      #       more; best weight of the hosts that fit
      + server "web" {
          + disk           = "1GiB"
          + flavor         = "flavor.small"
          + host           = "n000" … "n099" (100 different)
          + id             = (10,000 different)
          + image          = "image.debian"
          + image_checksum = "sha256:81d93757457f…"
          + name           = "web-0" … "web-9999" (10,000 different)
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # image.debian will be fetched to n000, n001, n002, n003, n004, n005, n006,
      # n007 and 92 more

      # written down, no host is touched:
      + host.n000 … host.n099 (100 hosts)
      + flavor.small
      + image.debian

    Plan: 10000 to create, 0 to update, 0 to destroy. 102 records to write.

    Shortened; --full shows everything one by one.
    "#);
    let full = render_as(
        &plan,
        View {
            detail: Detail::Full,
            ..View::default()
        },
    );
    assert_eq!(full.matches("will be created on").count(), 10_000);
}
