//! Records moved, removed, taken out and written back by hand; the lock broken; and `refresh`.

use crate::apply_refused::hold;
use crate::fake_hosts::Fleet;
use crate::run::{Ran, finish};
use drover_agent::hypervisor::Hypervisor as _;
use drover_types::ServerId;
use serde_json::Value;

const SERVERS: &str = r#"
server "a" {
  flavor = flavor.small
  image  = image.guest
}
server "web" {
  count  = 2
  flavor = flavor.small
  image  = image.guest
}
"#;

fn applied() -> Fleet {
    let fleet = Fleet::start(&[4096, 3072]);
    fleet.write("web.hcl", SERVERS);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
}

/// What drover prints, ids included.
fn as_is(fleet: &Fleet, arguments: &[&str]) -> Ran {
    finish(fleet.command(arguments))
}

fn id(fleet: &Fleet, address: &str) -> String {
    let shown = as_is(fleet, &["state", "show", address, "--json"])
        .exits(0)
        .json();
    shown["id"].as_str().expect("an id").to_owned()
}

fn guests(fleet: &Fleet) -> usize {
    fleet.hosts.iter().map(|host| host.hypervisor.all().len()).sum()
}

fn is_settled(fleet: &Fleet) {
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
}

#[test]
fn a_record_is_moved_with_its_server() {
    let fleet = applied();
    let before = id(&fleet, "server.a");
    let ran = fleet.drover(&["state", "mv", "server.a", "server.b"]).exits(0);
    ran.says("server.a is recorded at server.b now.")
        .says("Declare it there");
    assert_eq!(id(&fleet, "server.b"), before);
    fleet.write("web.hcl", &SERVERS.replace("\"a\"", "\"b\""));
    // Its domain still carries the old address: that is mended without a restart.
    let plan = fleet.drover(&["plan"]).exits(0);
    plan.says("server.b will be updated in place")
        .says("without interruption");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    is_settled(&fleet);
    assert_eq!(guests(&fleet), 3);
    fleet
        .drover(&["state", "mv", "server.web", "server.www"])
        .exits(0);
    let listed = as_is(&fleet, &["state", "list", "server.www"]).exits(0);
    assert_eq!(listed.stdout, "server.www[0]\nserver.www[1]\n");
}

#[test]
fn records_that_cannot_be_moved_stay() {
    let fleet = applied();
    let all: Vec<String> = [
        &["state", "mv", "server.gone", "server.x"][..],
        &["state", "mv", "server.a", "server.web[0]"],
        &["state", "mv", "server.a", "image.a"],
        &["state", "mv", "server.a", "not/an/address"],
        &["state", "rm", "server.gone"],
        &["state", "rm"],
    ]
    .iter()
    .map(|arguments| fleet.drover(arguments).exits(1).text())
    .collect();
    insta::assert_snapshot!(all.join("\n\n"));
    is_settled(&fleet);
}

#[test]
fn a_removed_record_leaves_its_guest_running() {
    let fleet = applied();
    insta::assert_snapshot!(fleet.drover(&["state", "rm", "server.web"]).text());
    assert_eq!(as_is(&fleet, &["state", "list", "server.web"]).stdout, "");
    assert_eq!(guests(&fleet), 3);
    let without = &SERVERS[..SERVERS.find("server \"web\"").expect("there")];
    fleet.write("web.hcl", without);
    let plan = fleet.drover(&["plan"]).exits(0);
    plan.says("No changes.")
        .says("server.web[0] is on")
        .says("and not recorded");
    assert_eq!(guests(&fleet), 3);
}

#[test]
fn the_records_are_pulled_and_pushed_as_one_document() {
    let fleet = applied();
    let pulled = as_is(&fleet, &["state", "pull"]).exits(0);
    let document = pulled.json();
    assert_eq!(document["format_version"], 1);
    assert!(document["lineage"].is_string() && document["serial"].is_u64());
    assert!(document["records"]["default/res/server/server.a"].is_object());
    fleet.write("state.json", &pulled.stdout);
    fleet
        .drover(&["state", "push", "state.json"])
        .exits(0)
        .says("already");
    // What was removed comes back as it was.
    fleet.drover(&["state", "rm", "server.a"]).exits(0);
    let refused = fleet.drover(&["state", "push", "state.json"]).exits(1);
    refused.says("it was pulled at serial").says("--force");
    fleet
        .drover(&["state", "push", "state.json", "--force"])
        .exits(0)
        .says("Wrote 2 records and removed 0");
    is_settled(&fleet);
    let push = |change: &dyn Fn(&mut Value), force: bool| {
        let mut document = as_is(&fleet, &["state", "pull"]).exits(0).json();
        change(&mut document);
        fleet.write("changed.json", &document.to_string());
        let mut arguments = vec!["state", "push", "changed.json"];
        arguments.extend(force.then_some("--force"));
        fleet.drover(&arguments)
    };
    push(
        &|document| document["lineage"] = "00000000-0000-4000-8000-000000000001".into(),
        false,
    )
    .exits(1)
    .says("lineage");
    push(&|document| document["format_version"] = 2.into(), true)
        .exits(1)
        .says("format version 2");
    push(&|document| document["fleet"] = "other".into(), true)
        .exits(1)
        .says("of fleet other");
    let spoilt = push(
        &|document| {
            document["records"]["default/res/server/server.a"]["incarnation"] = "one".into();
            document["records"]["default/res/nothing"] = 1.into();
            document["records"]["ops/x"] = 1.into();
        },
        true,
    );
    spoilt
        .exits(1)
        .says("nothing was written")
        .says("default/res/server/server.a")
        .says("\"default/res/nothing\" is no key")
        .says("\"ops/x\" is no key");
    let own = |document: &Value| {
        let records = document["records"].as_object().expect("records");
        let key = records
            .keys()
            .find(|key| key.starts_with("own/"))
            .expect("a holder");
        key.clone()
    };
    push(
        &|document| {
            let key = own(document);
            document["records"].as_object_mut().expect("records").remove(&key);
        },
        true,
    )
    .exits(1)
    .says("is on a host by its own record");
    is_settled(&fleet);
    fleet
        .drover(&["state", "push", "none.json"])
        .exits(1)
        .says("none.json");
}

#[test]
fn a_document_restores_a_store_that_is_lost() {
    let fleet = applied();
    let pulled = as_is(&fleet, &["state", "pull"]).exits(0);
    fleet.write("state.json", &pulled.stdout);
    for entry in std::fs::read_dir(fleet.project().join(".drover")).expect("there") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::remove_file(path).expect("removed");
        }
    }
    fleet
        .drover(&["state", "pull"])
        .exits(1)
        .says("Nothing is recorded yet");
    fleet.drover(&["state", "push", "state.json"]).exits(0);
    is_settled(&fleet);
    // Hosts refuse older applies; the document says how far they had come.
    fleet
        .drover(&["apply", "--auto-approve", "--replace", "server.a"])
        .exits(0);
    assert_eq!(guests(&fleet), 3);
}

#[test]
fn the_lock_is_broken_by_name_and_with_approval() {
    let fleet = applied();
    fleet.drover(&["force-unlock"]).exits(0).says("The lock is free.");
    let held = hold(&fleet);
    let shown = as_is(&fleet, &["force-unlock"]).exits(1);
    let shown = shown
        .says("alice@desk, process 4711")
        .says("2026-01-02T03:04:05Z")
        .says("no terminal");
    let named = shown
        .stdout
        .lines()
        .find_map(|line| line.trim().strip_prefix("ID:"))
        .expect("an id")
        .trim()
        .to_owned();
    let refused = as_is(&fleet, &["apply", "--auto-approve", "--replace", "server.a"]).exits(3);
    refused.says(&format!("drover force-unlock {named}"));
    let wrong = "00000000-0000-4000-8000-000000000001";
    fleet
        .drover(&["force-unlock", wrong, "--force"])
        .exits(1)
        .says("not <id>");
    as_is(&fleet, &["force-unlock", &named, "--force"])
        .exits(0)
        .says("is removed");
    // Whoever held it is told, and others may go on.
    fleet
        .drover(&[
            "apply",
            "--auto-approve",
            "--replace",
            "server.a",
            "--lock-timeout",
            "30s",
        ])
        .exits(0);
    std::mem::forget(held);
}

#[test]
fn refresh_records_what_is_found_and_changes_nothing() {
    let fleet = applied();
    is_settled(&fleet);
    fleet
        .drover(&["refresh", "--auto-approve"])
        .exits(0)
        .says("No changes.");
    let server: ServerId = id(&fleet, "server.a").parse().expect("an id");
    for host in &fleet.hosts {
        host.hypervisor.end(server).expect("ended");
    }
    let ran = fleet.drover(&["refresh", "--auto-approve"]).exits(0);
    ran.says("server.a").says("it was recorded as on");
    fleet
        .drover(&["refresh", "--auto-approve", "--json"])
        .exits(0)
        .event("resource_drift");
    fleet.drover(&["plan"]).exits(0).says("server.a will be started");
}
