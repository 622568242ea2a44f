//! What programs read is what `docs/*.schema.json` say: plans, and every event of plans and applies.

use crate::apply::applied;
use crate::fake_hosts::Fleet;
use crate::plan_shown::{self, SERVERS};
use crate::run::Ran;
use drover_types::PowerState;
use jsonschema::Validator;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

pub(crate) fn schema(name: &str) -> Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let text = std::fs::read_to_string(path).expect("a schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

#[track_caller]
pub(crate) fn fits(schema: &Validator, value: &Value) {
    let errors: Vec<String> = schema
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{value:#}");
}

/// Every line fits, and these are the types.
#[track_caller]
fn events(ran: &Ran) -> BTreeSet<String> {
    let schema = schema("events.schema.json");
    let ran = Ran {
        // What was replaced so that runs can be compared is a time again.
        stdout: ran.stdout.replace("<time>", "2026-01-02T03:04:05.678Z"),
        ..ran.clone()
    };
    ran.json_lines()
        .iter()
        .map(|event| {
            fits(&schema, event);
            event["type"].as_str().expect("a type").to_owned()
        })
        .collect()
}

#[track_caller]
fn are(found: &BTreeSet<String>, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(*found, expected);
}

fn shown(fleet: &Fleet, arguments: &[&str]) -> Value {
    let mut plan = vec!["plan", "--out", "plan.bin"];
    plan.extend(arguments);
    fleet.drover(&plan);
    let value = fleet.drover(&["show", "--json", "plan.bin"]).exits(0).json();
    // Ids, digests and times are replaced in what tests compare, so the schema is held to what was really printed.
    let whole = crate::run::finish(fleet.command(&["show", "--json", "plan.bin"]));
    fits(&schema("plan.schema.json"), &whole.json());
    value
}

#[test]
fn the_schemas_refuse_what_is_wrong() {
    let plan = schema("plan.schema.json");
    assert!(!plan.is_valid(&serde_json::json!({ "format_version": "2.0" })));
    let events = schema("events.schema.json");
    assert!(!events.is_valid(&serde_json::json!({ "type": "version" })));
}

#[test]
fn plans_of_every_kind() {
    let fleet = plan_shown::applied();
    shown(&fleet, &[]);
    plan_shown::changed(&fleet);
    let plan = shown(&fleet, &["--explain"]);
    let actions: BTreeSet<String> = plan["resource_changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| change["change"]["actions"].to_string())
        .collect();
    let expected = [
        r#"["create"]"#,
        r#"["delete","create"]"#,
        r#"["delete"]"#,
        r#"["update"]"#,
    ];
    assert_eq!(actions, expected.map(str::to_owned).into());
    let of = |address: &str| {
        let all = plan["resource_changes"].as_array().expect("changes");
        let found = all
            .iter()
            .find(|change| change["address"] == address && change["verb"] != "record");
        found.unwrap_or_else(|| panic!("{address}: {plan:#}")).clone()
    };
    let rebuilt = of("server.db");
    assert_eq!(rebuilt["action_reason"], "replace_because_cannot_update");
    assert_eq!(rebuilt["change"]["replace_paths"][0][0], "image_checksum");
    assert_eq!(rebuilt["impact"]["class"], "rebuild");
    assert_eq!(
        of("server.old")["action_reason"],
        "delete_because_no_resource_config"
    );
    let created = of("server.web[2]");
    assert_eq!(
        (
            &created["index"],
            &created["change"]["before"],
            &created["change"]["before_sensitive"]
        ),
        (&2.into(), &Value::Null, &false.into())
    );
    assert_eq!(created["change"]["after_sensitive"]["labels"], true);
    assert_eq!(created["change"]["after"]["labels"], Value::Null);
    assert_eq!(created["placement"]["host"], created["host"]);
    let resized = of("server.cache");
    assert_eq!(resized["impact"]["words"], "reboots the guest, about 20 s");
    assert_eq!(
        resized["change"]["changed_attributes"],
        serde_json::json!(["flavor", "vcpus", "ram"])
    );
    shown(&fleet, &["--target", "server.cache"]);
    shown(&fleet, &["--destroy"]);
}

#[test]
fn plans_with_drift_and_trouble() {
    let mut fleet = applied();
    let hypervisor = &fleet.hosts[0].hypervisor;
    let mut domain = hypervisor.all().remove(0);
    domain.state.power = PowerState::Shutdown;
    domain.live_xml = None;
    hypervisor.put(domain);
    let plan = shown(&fleet, &[]);
    let drift = &plan["resource_drift"][0];
    assert_eq!(
        (&drift["change"]["before"], &drift["change"]["after"]),
        (
            &serde_json::json!({ "power": "on" }),
            &serde_json::json!({ "power": "shutdown" })
        )
    );
    are(
        &events(&fleet.drover(&["plan", "--json"])),
        &[
            "version",
            "resource_drift",
            "planned_change",
            "change_summary",
            "outputs",
        ],
    );
    fleet.host_named("n3").stop();
    fleet.write(
        "more.hcl",
        "server \"more\" {\n  flavor            = flavor.small\n  image             = image.guest\n  \
         availability_zone = \"moon\"\n}\n",
    );
    let plan = shown(&fleet, &[]);
    assert_eq!(plan["complete"], false);
    assert_eq!(plan["blocked"][0]["address"], "server.more");
    assert_eq!(plan["unobserved_hosts"][0]["host"], "n3");
    let ran = fleet.drover(&["plan", "--json"]).exits(1);
    assert!(events(&ran).contains("diagnostic"), "{}", ran.text());
    fleet.host_named("n3").start();
}

#[test]
fn events_of_an_apply_and_of_its_failures() {
    let fleet = Fleet::start(&[4096, 3072]);
    fleet.write("web.hcl", SERVERS);
    let ran = fleet.drover(&["apply", "--auto-approve", "--json"]).exits(0);
    let expected = [
        "version",
        "planned_change",
        "planned_host_action",
        "change_summary",
        "outputs",
        "apply_start",
        "apply_progress",
        "apply_complete",
    ];
    let mut found = events(&ran);
    // Whether an agent has something to say before it is done is its own affair.
    found.insert("apply_progress".to_owned());
    are(&found, &expected);
    let lines = ran.json_lines();
    let last = lines.last().expect("events");
    let hosts = last["outputs"]["hosts"]["value"].as_array();
    assert_eq!(hosts.map(Vec::len), Some(2), "{last}");
    assert_eq!(last["outputs"]["token"], serde_json::json!({ "sensitive": true }));
    let done = lines.iter().find(|event| {
        event["type"] == "apply_complete" && event["hook"]["resource"]["addr"] == "server.web[1]"
    });
    let done = done.unwrap_or_else(|| panic!("{}", ran.text()));
    assert_eq!(
        (
            &done["hook"]["resource"]["resource_key"],
            &done["hook"]["action"],
            done["hook"]["host"].is_string()
        ),
        (&1.into(), &"create".into(), true)
    );
    for host in &fleet.hosts {
        host.hypervisor.refuse_starts(Some("no QEMU here"));
    }
    fleet.write("more.hcl", "server \"more\" {\n  flavor     = flavor.small\n  image      = image.guest\n}\nserver \"after\" {\n  flavor     = flavor.small\n  image      = image.guest\n  depends_on = [server.more]\n}\n");
    let ran = fleet.drover(&["apply", "--auto-approve", "--json"]).exits(5);
    let found = events(&ran);
    for kind in ["apply_errored", "apply_alternate", "diagnostic"] {
        assert!(found.contains(kind), "{kind}: {}", ran.text());
    }
    let summaries: Vec<Value> = ran
        .json_lines()
        .into_iter()
        .filter(|event| event["type"] == "change_summary")
        .collect();
    let [planned, applied] = summaries.as_slice() else {
        panic!("{}", ran.text())
    };
    assert_eq!(
        (&planned["changes"]["operation"], &planned["changes"]["add"]),
        (&"plan".into(), &2.into())
    );
    assert_eq!(
        (
            &applied["changes"]["operation"],
            &applied["failed"],
            &applied["not_begun"][0]["address"]
        ),
        (&"apply".into(), &1.into(), &"server.after".into())
    );
}

#[test]
fn events_and_plan_of_a_rebalancing() {
    let fleet = crate::rebalance::uneven();
    let saved = fleet
        .drover(&["rebalance", "--json", "--out", "even.bin"])
        .exits(0);
    let found = events(&saved);
    assert!(
        found.contains("balance") && found.contains("planned_change"),
        "{found:?}"
    );
    let whole = crate::run::finish(fleet.command(&["show", "--json", "even.bin"]));
    fits(&schema("plan.schema.json"), &whole.json());
}

#[test]
fn a_failure_is_an_event_too() {
    let fleet = Fleet::start(&[4096]);
    fleet.write("bad.hcl", "server \"x\" {\n  flavor = flavor.none\n}\n");
    let ran = fleet.drover(&["plan", "--json"]).exits(1);
    are(&events(&ran), &["version", "diagnostic"]);
    fleet.write("bad.hcl", "");
    let held = crate::apply_refused::hold(&fleet);
    fleet.write(
        "one.hcl",
        "server \"x\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    let ran = fleet.drover(&["apply", "--auto-approve", "--json"]).exits(3);
    events(&ran);
    drop(held);
}

#[test]
fn events_into_a_file_while_people_read() {
    let fleet = Fleet::start(&[4096]);
    fleet.write("web.hcl", SERVERS);
    let planned = fleet.drover(&["plan", "--json-into", "plan.jsonl"]).exits(0);
    assert!(
        planned.stdout.contains("server.web[0] will be created"),
        "{}",
        planned.text()
    );
    let ran = fleet
        .drover(&["apply", "--auto-approve", "--json-into", "apply.jsonl"])
        .exits(0)
        .says("Apply complete! 5 created");
    assert!(
        ran.stderr.contains("server.web[0]: Creating on n1..."),
        "{}",
        ran.text()
    );
    for (file, expected) in [
        ("plan.jsonl", "planned_change"),
        ("apply.jsonl", "apply_complete"),
    ] {
        let path = fleet.project().join(file);
        let text = std::fs::read_to_string(&path).expect("written");
        assert!(!text.contains("very-secret"), "{text}");
        let ran = Ran {
            status: 0,
            stdout: text,
            stderr: String::new(),
        };
        let found = events(&ran);
        assert!(found.contains(expected) && found.contains("version"), "{found:?}");
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().expect("a file"));
        assert_eq!(mode & 0o777, 0o600);
    }
    fleet
        .drover(&["plan", "--json-into", "no/such/directory"])
        .exits(1)
        .says("Could not open no/such/directory");
}
