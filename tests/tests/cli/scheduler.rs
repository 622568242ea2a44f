//! `drover scheduler`: what the real binary decides about scenario files.

use crate::fake_hosts::Fleet;
use crate::run::{Ran, drover_in};
use serde_json::{Value, json};
use std::path::Path;

/// The decisions recorded from the real Nova, by the tests of the placement engine.
fn vectors() -> Vec<Value> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../planner/core/tests/placement/data/nova-vectors.json");
    let text = std::fs::read_to_string(file).expect("the recorded vectors");
    let mut vectors: Value = serde_json::from_str(&text).expect("JSON");
    match vectors["vectors"].take() {
        Value::Array(vectors) => vectors,
        other => panic!("{other}"),
    }
}

/// 1 and 1.0 are the same number.
fn as_doubles(value: &mut Value) {
    match value {
        Value::Number(number) => *value = json!(number.as_f64()),
        Value::Array(items) => items.iter_mut().for_each(as_doubles),
        Value::Object(entries) => entries.values_mut().for_each(as_doubles),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, scenario: &Value) {
        std::fs::write(self.0.path().join("scenario.json"), scenario.to_string()).expect("written");
    }

    fn simulate(&self, options: &[&str]) -> Ran {
        let mut arguments = vec!["scheduler", "simulate", "scenario.json"];
        arguments.extend(options);
        drover_in(self.0.path(), &arguments)
    }
}

fn decides_as_nova(profile: &str) -> usize {
    let folder = Folder::new();
    let mut compared = 0;
    for vector in vectors() {
        let mut expected = vector["expected"][profile]["decisions"].clone();
        if expected.is_null() {
            continue;
        }
        folder.write(&vector["scenario"]);
        let mut found = folder.simulate(&["--json", "--profile", profile]).exits(0).json();
        as_doubles(&mut found);
        as_doubles(&mut expected);
        let name = &vector["scenario"]["name"];
        let (found, expected) = (
            found.as_array().expect("a list"),
            expected.as_array().expect("a list"),
        );
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(expected) {
            compared += 1;
            for (key, value) in expected.as_object().expect("an object") {
                assert_eq!(found[key], *value, "{name} {} {key}", expected["server"]);
            }
            if profile == "legacy" {
                assert_eq!(found, expected, "{name}");
            }
        }
    }
    compared
}

#[test]
fn every_recorded_decision_of_the_old_nova_is_met() {
    assert_eq!(decides_as_nova("legacy"), 1_744);
}

#[test]
fn every_recorded_decision_of_the_new_nova_is_met() {
    assert_eq!(decides_as_nova("modern"), 1_672);
}

fn host(name: &str, ram_mb: u64) -> Value {
    json!({"name": name, "az": "rack-1", "vcpus": 4, "ram_mb": ram_mb, "disk_gb": 100,
           "cpu_ratio": 1.0, "ram_ratio": 1.0, "disk_ratio": 1.0})
}

fn server(name: &str, ram_mb: u64, priority: i64) -> Value {
    json!({"name": name, "vcpus": 1, "ram_mb": ram_mb, "disk_gb": 10, "priority": priority})
}

fn scenario(hosts: &[Value], servers: &[Value]) -> Value {
    json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["AvailabilityZoneFilter", "RamFilter", "DiskFilter", "CoreFilter"],
                   "weights": {"ram": 1.0, "cpu": 0.1}},
        "hosts": hosts,
        "servers": servers,
    })
}

/// In the order given the small ones take a host each, and no host is left for the large one.
fn dead_end() -> Value {
    scenario(
        &[host("n1", 6144), host("n2", 6144)],
        &[
            server("small-1", 2048, 0),
            server("small-2", 2048, 0),
            server("large", 6144, 0),
        ],
    )
}

#[test]
fn without_options_a_line_per_server() {
    let folder = Folder::new();
    folder.write(&dead_end());
    insta::assert_snapshot!(folder.simulate(&[]).text(), @"
    exit 0
    --- stdout
    SERVER   HOST  WHY
    small-1  n1    the first of the best of 2 that pass
    small-2  n2    0.3583 above the next of 2 that pass
    large    -     no valid host among 2

    2 of 3 servers placed.
    large: none of 2 hosts passes RamFilter (refused: RamFilter 2); it would fit
        with 2 GiB more memory free on n1, or one more host with 6 GiB free, 10 GiB
        of disk, 1 vCPU
    ");
}

#[test]
fn explained_every_host_says_why() {
    let folder = Folder::new();
    folder.write(&dead_end());
    let ran = folder.simulate(&["--explain"]);
    insta::assert_snapshot!(ran.text(), @"
    exit 0
    --- stdout
    small-1: n1, the first of the best of 2 that pass
      n1  passes, weight 1.1 (ram 6144: 1, cpu 4: 0.1) <- chosen
      n2  passes, weight 1.1 (ram 6144: 1, cpu 4: 0.1)

    small-2: n2, 0.3583 above the next of 2 that pass
      n1  passes, weight 0.7417 (ram 4096: 0.6667, cpu 3: 0.075)
      n2  passes, weight 1.1 (ram 6144: 1, cpu 4: 0.1) <- chosen

    large: no valid host among 2
      n1  RAM: wants 6 GiB, 4 GiB of 6 GiB left
      n2  RAM: wants 6 GiB, 4 GiB of 6 GiB left

    2 of 3 servers placed.
    large: none of 2 hosts passes RamFilter (refused: RamFilter 2); it would fit
        with 2 GiB more memory free on n1, or one more host with 6 GiB free, 10 GiB
        of disk, 1 vCPU
    ");
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80));
    let both = folder.simulate(&["--explain", "--json"]).exits(0).json();
    assert_eq!(
        both[2]["explanation"]["hosts"][0]["refusals"][0],
        json!({"filter": "RamFilter", "reason": "ram", "wanted_mib": 6144, "free_mib": 4096.0, "total_mib": 6144,
               "ratio": 1.0})
    );
    assert_eq!(both[0]["explanation"]["margin"], json!(0.0));
    assert_eq!(both[2]["conflict"]["filters"], json!(["RamFilter"]));
    assert!(both[0].get("conflict").is_none());
}

#[test]
fn a_batch_is_placed_as_a_whole_and_says_how() {
    let folder = Folder::new();
    folder.write(&dead_end());
    insta::assert_snapshot!(folder.simulate(&["--batch"]).text(), @"
    exit 0
    --- stdout
    SERVER   HOST  WHY
    small-1  n2    the only one of 2 hosts that passes
    small-2  n2    the only one of 2 hosts that passes
    large    n1    the first of the best of 2 that pass

    3 of 3 servers placed, in another order (most constrained first).
    In the order given, one after another, 2 would have found a host.
    ");
    let ran = folder.simulate(&["--batch", "--json"]).exits(0).json();
    let hosts: Vec<&Value> = ran
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["chosen"])
        .collect();
    assert_eq!(hosts[0], hosts[1]);
    assert_ne!(hosts[0], hosts[2]);
    assert!(hosts.iter().all(|host| host.is_string()));
    assert_eq!(ran[2]["batch"]["method"], "order");

    folder.write(&scenario(
        &[host("n1", 4096)],
        &[
            server("large", 4096, 0),
            server("small-1", 2048, 0),
            server("small-2", 2048, 0),
        ],
    ));
    folder
        .simulate(&["--batch"])
        .exits(0)
        .says("it gave way so that more servers fit: small-1, small-2 came in");
    folder.write(&scenario(
        &[host("n1", 4096)],
        &[
            server("small-1", 2048, 0),
            server("small-2", 2048, 0),
            server("large", 4096, 7),
        ],
    ));
    let ran = folder.simulate(&["--batch", "--json"]).exits(0).json();
    assert_eq!(ran[2]["chosen"], "n1", "the highest priority comes first");
}

#[test]
fn a_zone_that_nobody_carries_is_open_to_the_new_nova() {
    let folder = Folder::new();
    let mut lost = dead_end();
    lost["servers"][0]["az"] = json!("nova");
    folder.write(&lost);
    let chosen = |profile: &str| {
        let ran = folder.simulate(&["--json", "--profile", profile]).exits(0);
        ran.json()[0]["chosen"].clone()
    };
    assert_eq!(chosen("legacy"), Value::Null);
    assert_eq!(chosen("modern"), "n1");
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let folder = Folder::new();
    let mut bad = dead_end();
    bad["config"]["filters"] = json!(["RamFilter", "RawFilter"]);
    bad["config"]["weights"]["rom"] = json!(1.0);
    bad["hosts"][1]["name"] = json!("n1");
    bad["hosts"][1]["ram_ratio"] = json!(0);
    bad["hosts"][0]["disk_gb"] = json!(-1);
    bad["servers"][0]["group"] = json!("nobody");
    bad["servers"][1]["ram_mb"] = json!("much");
    folder.write(&bad);
    insta::assert_snapshot!(folder.simulate(&[]).text(), @r#"
    exit 1
    --- stderr
    Error: The scenario scenario.json has 7 mistakes:
      - servers[1].ram_mb is "much"; it must be a whole number
      - config.filters: unknown filter "RawFilter"; did you mean "RamFilter"?
      - config.weights: unknown weigher "rom"; did you mean "ram"?
      - host "n1": disk_gb is -1; it must not be negative
      - host "n1": ram_ratio is 0; a ratio must be above 0 and at most 1000000
      - host "n1" is given twice; names must be unique
      - server "small-1": unknown group "nobody"
    "#);
    for (text, said) in [
        ("{\"format\": NaN}", "only \"nova-scenario/1\" is known"),
        ("{\"format\": ", "EOF while parsing"),
        ("{} // all", "one object in JSON, without comments"),
        (
            "{\"format\": \"nova-scenario/9\"}",
            "only \"nova-scenario/1\" is known",
        ),
        ("[]", "only \"nova-scenario/1\" is known"),
    ] {
        std::fs::write(folder.0.path().join("scenario.json"), text).expect("written");
        folder.simulate(&[]).exits(1).says(said);
    }
    drover_in(folder.0.path(), &["scheduler", "simulate", "no-such-file.json"])
        .exits(1)
        .says("ould not read the scenario no-such-file.json");
}

#[test]
fn ten_thousand_servers_for_two_hosts() {
    let folder = Folder::new();
    let servers: Vec<Value> = (0..10_000).map(|at| server(&format!("s{at}"), 1024, 0)).collect();
    folder.write(&scenario(&[host("n1", 4096), host("n2", 4096)], &servers));
    folder.simulate(&[]).exits(0).says("8 of 10000 servers placed.");
    folder
        .simulate(&["--batch"])
        .exits(0)
        .says("8 of 10000 servers placed");
}

const SERVERS: &str = r#"
variable "more" {
  type    = number
  default = 0
}
group "web" {
  policy = "anti-affinity"
}
aggregate "all" {
  hosts    = [host.n1, "n2"]
  metadata = { ssd = "true" }
}
server "web" {
  count  = 1
  flavor = flavor.small
  image  = image.guest
  group  = group.web
}
server "more" {
  count    = var.more
  flavor   = flavor.small
  image    = image.guest
  group    = count.index == 0 ? group.web : null
  priority = count.index
}
"#;

/// Per server to be created, the host that the plan gives it.
fn planned(fleet: &Fleet) -> Vec<(String, String)> {
    let plan = fleet.drover(&["plan", "--var", "more=3", "--json"]).exits(0);
    let lines = plan.json_lines();
    let changes = lines.iter().filter(|line| line["type"] == "planned_change");
    let created = changes.filter(|line| line["change"]["resource"]["resource_type"] == "server");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    created
        .map(|line| {
            (
                text(&line["change"]["resource"]["addr"]),
                text(&line["change"]["placement"]["host"]),
            )
        })
        .collect()
}

#[test]
fn an_exported_fleet_is_placed_as_the_plan_places_it() {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("web.hcl", SERVERS);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let expected = planned(&fleet);
    assert_eq!(expected.len(), 3);
    fleet
        .drover(&["scheduler", "export", "--var", "more=3", "--out", "fleet.json"])
        .exits(0)
        .says("Saved 2 hosts and 3 servers to be created to fleet.json");
    let placed = fleet
        .drover(&["scheduler", "simulate", "fleet.json", "--batch", "--json"])
        .exits(0)
        .json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let placed: Vec<(String, String)> = placed
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (text(&one["server"]), text(&one["chosen"])))
        .collect();
    assert_eq!(placed, expected);
    let printed = fleet.drover(&["scheduler", "export"]).exits(0).json();
    assert_eq!(printed["hosts"][0]["instances"][0]["group"], "group.web");
    assert_eq!(printed["hosts"][0]["num_instances"], 1);
    assert_eq!(printed["aggregates"][0]["metadata"]["ssd"], "true");
    assert_eq!(printed["servers"], json!([]));
}
