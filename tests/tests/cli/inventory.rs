//! Inventory files: saved, planned from without touching a host, and refused where they cannot be right.

use crate::fake_hosts::Fleet;

const WEB: &str = r#"
server "web" {
  count  = 2
  flavor = flavor.small
  image  = image.guest
}
"#;

fn fleet() -> Fleet {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("web.hcl", WEB);
    fleet
}

fn saved() -> Fleet {
    let fleet = fleet();
    fleet
        .drover(&["host", "inventory", "--out", "fleet.json"])
        .exits(0)
        .says("Saved what 2 of 2 hosts report to fleet.json");
    fleet
}

/// A plan without what says where its inventories are from.
fn below_the_header(plan: &str) -> String {
    plan.split_once("\n\n")
        .map_or("", |(_, below)| below)
        .trim_end()
        .to_owned()
}

#[test]
fn a_plan_from_a_file_is_the_plan_from_the_hosts_and_asks_none() {
    let mut fleet = saved();
    let living = fleet.drover(&["plan"]).exits(0);
    for host in ["n1", "n2"] {
        fleet.host_named(host).stop();
    }
    // Not even the certificate is needed.
    std::fs::remove_dir_all(fleet.project().join(".drover/tls")).expect("removed");
    fleet.drover(&["plan"]).exits(1);
    let recalled = fleet.drover(&["plan", "--inventory", "fleet.json"]).exits(0);
    assert!(
        recalled.stdout.starts_with("Planned from an inventory file of "),
        "{}",
        recalled.text()
    );
    let recalled = recalled.says("; no host was asked.");
    assert_eq!(
        below_the_header(&recalled.stdout),
        living.stdout.trim_end(),
        "{}",
        recalled.text()
    );
    let json = fleet
        .drover(&["plan", "--inventory", "fleet.json", "--json"])
        .exits(0);
    assert!(json.event("inventory")["taken"].is_string());
    assert_eq!(json.event("change_summary")["complete"], true);
}

#[test]
fn a_plan_file_made_so_says_it_and_is_applied_against_the_living_hosts() {
    let fleet = saved();
    fleet
        .drover(&["plan", "--inventory", "fleet.json", "--out", "plan.bin"])
        .exits(0);
    fleet
        .drover(&["show", "plan.bin"])
        .exits(0)
        .says("Planned from an inventory file of");
    let shown = fleet.drover(&["show", "plan.bin", "--json"]).exits(0).json();
    assert!(shown["inventory_taken"].is_string());
    fleet.drover(&["apply", "plan.bin"]).exits(0);
    fleet.drover(&["plan"]).exits(0).says("No changes.");

    // What the living hosts hold is not what the old file says of them.
    fleet
        .drover(&["plan", "--inventory", "fleet.json"])
        .says("Changed outside of Drover");
}

#[test]
fn what_changed_since_the_file_was_saved_stops_the_apply() {
    let mut fleet = fleet();
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
        .drover(&["host", "inventory", "--out", "fleet.json"])
        .exits(0);
    let grown = fleet.base().replace("\"512MiB\"", "\"640MiB\"");
    fleet.write("drover.hcl", &grown);
    fleet
        .drover(&["plan", "--inventory", "fleet.json", "--out", "plan.bin"])
        .exits(0)
        .says("2 to");
    // An agent that is away now was there when the file was saved.
    fleet.host_named("n1").stop();
    fleet.drover(&["apply", "plan.bin"]).exits(5).says("n1");
    fleet.host_named("n1").start();
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet.drover(&["plan"]).exits(0).says("No changes.");
    // And a plan whose records have moved on is stale, whatever its inventory was.
    fleet.drover(&["apply", "plan.bin"]).exits(4);
}

#[test]
fn a_host_that_the_file_does_not_have_was_not_asked() {
    let fleet = saved();
    let base = fleet.base();
    fleet.write(
        "drover.hcl",
        &format!("{base}\nhost \"n3\" {{\n  address = \"127.0.0.1:1\"\n}}\n"),
    );
    fleet
        .drover(&["plan", "--inventory", "fleet.json"])
        .exits(1)
        .says("Error: host n3 is not in the inventory file")
        .says("save the inventory again, or accept it with --allow-unreachable n3");
    fleet
        .drover(&["plan", "--inventory", "fleet.json", "--allow-unreachable", "n3"])
        .exits(0);
}

#[test]
fn a_host_that_does_not_answer_is_saved_as_such() {
    let mut fleet = fleet();
    fleet.host_named("n2").stop();
    fleet
        .drover(&["host", "inventory", "--out", "fleet.json"])
        .exits(1)
        .says("Saved what 1 of 2 hosts report")
        .says("Error: 1 of 2 hosts gave no inventory: n2");
    fleet.host_named("n2").start();
    fleet
        .drover(&["plan", "--inventory", "fleet.json"])
        .exits(1)
        .says("host n2 does not answer");
    let printed = fleet.drover(&["host", "inventory"]).exits(0).json();
    assert_eq!(printed["drover_inventory"], 1);
    assert_eq!(printed["hosts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn files_that_are_no_inventory_are_refused() {
    let fleet = saved();
    let path = fleet.project().join("fleet.json");
    let whole = std::fs::read_to_string(&path).expect("text");
    let with = |text: &str| {
        std::fs::write(&path, text).expect("written");
        let ran = fleet.drover(&["plan", "--inventory", "fleet.json"]).exits(1);
        assert_eq!(ran.stdout, "", "{}", ran.text());
        ran
    };
    insta::assert_snapshot!(with("{}").text(), @"
    exit 1
    --- stderr
    Error: The inventory fleet.json cannot be used
      because: this is not an inventory file; make one with: drover host inventory --out FILE
      hint: save it again with `drover host inventory --out FILE`
    ");
    with(&whole[..whole.len() / 2]).says("it is cut short or was altered");
    with(&whole.replacen("inventory\":1", "inventory\":7", 1))
        .says("has format 7, this drover reads format 1");
    with(&whole.replacen("\"fleet\":\"test\"", "\"fleet\":\"prod\"", 1))
        .says("is of fleet prod, this is fleet test");
    with(&whole.replacen("\"vcpus\":4", "\"vcpus\":-4", 1)).says("invalid value: integer `-4`");
    let twice =
        whole
            .replace("\"host\":\"n2\"", "\"host\":\"n1\"")
            .replacen("\"taken\":\"2", "\"taken\":\"x", 1);
    with(&twice).says("host n1 stands in it twice");
    let odd = whole.replacen("\"taken\":\"2", "\"taken\":\"x", 1);
    with(&odd).says("which is no time");
    fleet
        .drover(&["plan", "--inventory", "none.json"])
        .exits(1)
        .says("Could not read the inventory none.json");
}
