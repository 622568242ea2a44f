//! `drover rebalance`: the moves that even hosts out, planned, saved, refused when stale, and carried out.

use crate::apply_refused::hold;
use crate::fake_hosts::Fleet;
use crate::run::Ran;
use serde_json::{Value, json};
use std::time::Instant;

const SERVERS: &str = r#"
server "web" {
  count  = 6
  flavor = flavor.small
  image  = image.guest
  power  = "off"
}
"#;

/// All six servers on n1, and two hosts that have nothing.
pub(crate) fn uneven() -> Fleet {
    uneven_with(4096, SERVERS)
}

fn uneven_with(memory_mib: u64, servers: &str) -> Fleet {
    let fleet = Fleet::start(&[memory_mib; 3]);
    let mut base = fleet.base();
    for host in ["n2", "n3"] {
        let block = format!("host \"{host}\" {{\n");
        base = base.replacen(&block, &format!("{block}  state   = \"disabled\"\n"), 1);
    }
    fleet.write("drover.hcl", &base);
    fleet.write("web.hcl", servers);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet.write("drover.hcl", &fleet.base());
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
}

fn on_n1(fleet: &Fleet) -> usize {
    let list = fleet.drover(&["server", "list", "--json"]).exits(0).json();
    let all = list.as_array().expect("a list");
    all.iter()
        .filter(|server| server["record"]["host"] == "n1")
        .count()
}

fn balance(ran: &Ran) -> Value {
    let events = ran.json_lines();
    let event = events.iter().find(|event| event["type"] == "balance");
    event.expect("a balance")["balance"].clone()
}

#[test]
fn hosts_are_evened_out_and_then_left_alone() {
    let fleet = uneven();
    assert_eq!(on_n1(&fleet), 6);
    fleet
        .drover(&["rebalance"])
        .exits(1)
        .says("4 to migrate")
        .says("There is no terminal to ask for approval");
    assert_eq!(on_n1(&fleet), 6);
    fleet
        .drover(&["rebalance", "--auto-approve"])
        .exits(0)
        .says("it evens the hosts out")
        .says("4 migrated");
    assert_eq!(on_n1(&fleet), 2);
    fleet.drover(&["plan"]).exits(0).says("No changes.");
    fleet
        .drover(&["rebalance", "--auto-approve"])
        .exits(0)
        .says("Nothing to move: the imbalance of 3 hosts is 0");
}

#[test]
fn a_saved_rebalancing_is_shown_applied_and_refused_when_stale() {
    let fleet = uneven();
    let planned = fleet.drover(&["rebalance", "--out", "even.bin"]).exits(0);
    insta::assert_snapshot!(planned.text());
    assert_eq!(on_n1(&fleet), 6);
    let shown = fleet.drover(&["show", "even.bin"]).exits(0).says("Imbalance ");
    shown.says("4 to migrate");
    let json = fleet.drover(&["show", "even.bin", "--json"]).exits(0).json();
    assert_eq!(json["balance"]["moves"], 4, "{json}");
    fleet.drover(&["apply", "even.bin"]).exits(0).says("4 migrated");
    assert_eq!(on_n1(&fleet), 2);
    // Somebody else's change comes between.
    fleet.write("web.hcl", &SERVERS.replace("= 6", "= 7"));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet.drover(&["apply", "even.bin"]).exits(4).says("stale");
}

#[test]
fn moves_and_evenness_may_be_limited() {
    let fleet = uneven();
    let two = fleet
        .drover(&["rebalance", "--out", "two.bin", "--max-moves", "2", "--json"])
        .exits(0);
    let found = balance(&two);
    assert_eq!(found["moves"], 2, "{found}");
    assert_eq!(found["hosts"].as_array().map(Vec::len), Some(3));
    let moved = two.json_lines();
    let moved = moved
        .iter()
        .filter(|event| event["change"]["action"] == "migrate");
    assert_eq!(moved.count(), 2);
    let before = found["before"].as_f64().expect("a number");
    let enough = format!("{}", before + 1.0);
    fleet
        .drover(&["rebalance", "--threshold", &enough])
        .exits(0)
        .says("Nothing to move: the imbalance of 3 hosts is ")
        .says("which is no higher than the threshold");
    fleet
        .drover(&["rebalance", "--max-moves", "0"])
        .exits(0)
        .says("--max-moves allows none");
    let some = format!("{}", before / 2.0);
    let some = fleet
        .drover(&["rebalance", "--out", "some.bin", "--threshold", &some, "--json"])
        .exits(0);
    let found = balance(&some);
    assert!(
        found["after"].as_f64().expect("a number") <= before / 2.0 + 0.01,
        "{found}"
    );
    assert!(found["moves"].as_u64() < Some(4), "{found}");
    for bad in ["-1", "x", "inf", "nan"] {
        fleet
            .drover(&["rebalance", &format!("--threshold={bad}")])
            .exits(1)
            .says("write a number of at least 0");
    }
}

#[test]
fn a_rebalancing_is_planned_from_an_inventory_file_and_changes_nothing() {
    let mut fleet = uneven();
    fleet
        .drover(&["host", "inventory", "--out", "fleet.json"])
        .exits(0);
    fleet.host_named("n3").stop();
    fleet
        .drover(&["rebalance", "--inventory", "fleet.json", "--auto-approve"])
        .exits(0)
        .says("Planned from an inventory file of ")
        .says("4 to migrate");
    // Without n3 three go to n2, and that the look was not whole is an error.
    let living = fleet
        .drover(&["rebalance", "--json", "--out", "even.bin"])
        .exits(1);
    assert_eq!(balance(&living)["moves"], 3);
    let accepted = [
        "rebalance",
        "--allow-unreachable",
        "n3",
        "--json",
        "--out",
        "even.bin",
    ];
    let accepted = fleet.drover(&accepted).exits(0);
    assert_eq!(balance(&accepted)["moved_mib"], json!(24));
}

#[test]
fn the_lock_is_waited_for_and_actions_are_limited() {
    let fleet = uneven();
    let lock = hold(&fleet);
    fleet
        .drover(&["rebalance", "--auto-approve"])
        .exits(3)
        .says("alice@desk");
    let waiting = Instant::now();
    fleet
        .drover(&["rebalance", "--auto-approve", "--lock-timeout", "2s"])
        .exits(3);
    assert!(waiting.elapsed().as_secs() >= 2, "{:?}", waiting.elapsed());
    drop(lock);
    fleet
        .drover(&["rebalance", "--parallelism", "0"])
        .exits(1)
        .says("--parallelism");
    let one = fleet
        .drover(&["rebalance", "--auto-approve", "--json", "--parallelism", "1"])
        .exits(0);
    let (mut open, mut most) = (0, 0);
    for event in one.json_lines() {
        match event["type"].as_str() {
            Some("apply_start") => open += 1,
            Some("apply_complete") => open -= 1,
            Some(_) | None => {}
        }
        most = most.max(open);
    }
    assert_eq!(most, 1, "{}", one.text());
}

#[test]
fn a_rebalancing_is_shown_as_any_plan() {
    let fleet = uneven_with(65536, &SERVERS.replace("= 6", "= 60"));
    let check =
        "check \"even\" {\n  assert {\n    condition     = false\n    error_message = \"Never.\"\n  }\n}\n";
    fleet.write("check.hcl", check);
    let shortened = "Shortened; --full shows everything one by one.";
    let plan = ["rebalance", "--out", "even.bin"];
    fleet.drover(&plan).exits(0).says(shortened).says("Never.");
    let full = ["rebalance", "--out", "even.bin", "--full"];
    fleet.drover(&full).exits(0).says_nothing_of(shortened);
    let compact = ["rebalance", "--out", "even.bin", "--compact-warnings"];
    fleet
        .drover(&compact)
        .exits(0)
        .says("To see all that they say, leave out --compact-warnings.");
    let into = ["rebalance", "--out", "even.bin", "--json-into", "events.json"];
    fleet.drover(&into).exits(0).says("Imbalance ");
    let events = std::fs::read_to_string(fleet.project().join("events.json")).expect("written");
    assert!(
        events.lines().any(|line| line.contains("\"type\":\"balance\"")),
        "{events}"
    );
}
