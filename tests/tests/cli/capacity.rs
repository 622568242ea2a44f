//! `drover capacity`, and the policy that a fleet must outlive the loss of a host.

use crate::fake_hosts::Fleet;
use serde_json::json;

/// Three of 512 MiB on hosts of 1.5 GiB and 1 GiB of memory, which hold twice as much and a half.
const WEB: &str = r#"
variable "web" {
  type    = number
  default = 3
}
flavor "large" {
  vcpus = 2
  ram   = "1GiB"
  disk  = "8MiB"
}
server "web" {
  count  = var.web
  flavor = flavor.small
  image  = image.guest
}
"#;

fn fleet() -> Fleet {
    let fleet = Fleet::start(&[1536, 1024]);
    fleet.write("web.hcl", WEB);
    fleet
}

fn policy(fleet: &Fleet, strictness: &str) {
    let name = "  fleet = \"test\"\n";
    let policy = format!("{name}  policy {{\n    n_plus_one = \"{strictness}\"\n  }}\n");
    fleet.write("drover.hcl", &fleet.base().replacen(name, &policy, 1));
}

#[test]
fn capacity_is_shown_for_each_flavor_and_each_host() {
    let fleet = fleet();
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    insta::assert_snapshot!(fleet.drover(&["capacity"]).exits(0).text());
    let json = fleet
        .drover(&["capacity", "--json", "--flavor", "flavor.large"])
        .exits(0)
        .json();
    assert_eq!(json["flavors"].as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(json["flavors"][0]["flavor"], "flavor.large");
    assert_eq!(json["flavors"][0]["more"], 2, "{json}");
    assert_eq!(json["flavors"][0]["zones"], json!({ "nova": 2 }));
    assert_eq!(json["n_plus_one"]["holds"], true);
    fleet
        .drover(&["capacity", "--flavor", "flavor.huge"])
        .exits(1)
        .says("--flavor flavor.huge: no flavor of that address is declared")
        .says("there are flavor.large, flavor.small");
}

#[test]
fn after_apply_counts_what_is_to_come() {
    let fleet = fleet();
    let more = |arguments: &[&str]| {
        let json = fleet.drover(arguments).exits(0).json();
        json["flavors"][1]["more"].as_u64().expect("a number")
    };
    assert_eq!(more(&["capacity", "--json"]), 7);
    assert_eq!(more(&["capacity", "--json", "--after-apply"]), 4);
    let five = ["capacity", "--json", "--after-apply", "--var", "web=5"];
    assert_eq!(more(&five), 2);
    let json = fleet.drover(&five).exits(0).json();
    assert_eq!(json["n_plus_one"]["holds"], false, "{json}");
}

#[test]
fn capacity_is_counted_from_an_inventory_file_too() {
    let mut fleet = fleet();
    fleet
        .drover(&["host", "inventory", "--out", "fleet.json"])
        .exits(0);
    let living = fleet.drover(&["capacity"]).exits(0).text();
    fleet.host_named("n2").stop();
    let recalled = ["capacity", "--inventory", "fleet.json"];
    assert_eq!(fleet.drover(&recalled).exits(0).text(), living);
    fleet
        .drover(&["capacity"])
        .exits(1)
        .says("1 of 2 hosts are counted as having no room: n2");
}

#[test]
fn a_policy_warns_or_refuses_the_plan() {
    let fleet = fleet();
    let five = ["plan", "--var", "web=5"];
    fleet.drover(&five).exits(0).says_nothing_of("n_plus_one");
    policy(&fleet, "warning");
    let warned = fleet.drover(&five).exits(0);
    warned
        .says("policy n_plus_one: if host n1 were lost, ")
        .says("5 to create");
    policy(&fleet, "error");
    insta::assert_snapshot!(fleet.drover(&five).exits(1).text());
    fleet.drover(&["plan"]).exits(0).says("3 to create");
    let refused = fleet.drover(&["plan", "--json", "--var", "web=5"]).exits(1);
    let said = refused
        .json_lines()
        .into_iter()
        .find(|event| event["type"] == "diagnostic")
        .expect("a diagnostic");
    assert_eq!(said["diagnostic"]["severity"], "error");
    assert_eq!(said["diagnostic"]["summary"], "A policy would be broken");
    fleet
        .drover(&["apply", "--auto-approve", "--var", "web=5"])
        .exits(1)
        .says("A policy would be broken");
    fleet.drover(&["state", "list"]).says_nothing_of("server.web");
}

#[test]
fn a_policy_that_is_none_is_a_mistake() {
    let fleet = fleet();
    policy(&fleet, "warn");
    fleet
        .drover(&["validate"])
        .exits(1)
        .says("\"warn\" is none of off, warning, error");
    fleet.write("policy.hcl", "policy {\n  n_plus_one = \"error\"\n}\n");
    fleet
        .drover(&["validate"])
        .exits(1)
        .says("policies stand in the block drover");
}

#[test]
fn many_zones_with_long_names_are_told_below_the_table() {
    let fleet = fleet();
    let zones = [
        "availability-zone-one-of-the-east",
        "availability-zone-two-of-the-east",
    ];
    let mut text = fleet.base();
    for (host, zone) in ["n1", "n2"].iter().zip(zones) {
        let block = format!("host \"{host}\" {{\n");
        text = text.replacen(&block, &format!("{block}  availability_zone = \"{zone}\"\n"), 1);
    }
    fleet.write("drover.hcl", &text);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let shown = fleet.drover(&["capacity"]).exits(0);
    let text = shown.text();
    shown
        .says("flavor.small: ")
        .says("in availability-zone-two-of-the-east");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}
