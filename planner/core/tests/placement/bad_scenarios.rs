//! A scenario that makes no sense is refused with every mistake named, and never panics.

use drover_core::placement::Profile;
use drover_core::placement::scenario::{Scenario, ScenarioError};
use serde_json::{Value, json};

fn host(name: &str) -> Value {
    json!({"name": name, "vcpus": 8, "ram_mb": 8192, "disk_gb": 100,
           "cpu_ratio": 16.0, "ram_ratio": 1.5, "disk_ratio": 1.0})
}

fn mistakes(scenario: &Value) -> Vec<String> {
    let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
    match scenario.load(Profile::Legacy) {
        Err(ScenarioError::Invalid(errors)) => errors.0.iter().map(ToString::to_string).collect(),
        Err(ScenarioError::Syntax(_) | ScenarioError::Format(_)) | Ok(_) => Vec::new(),
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mut bad = host("n2");
    bad["ram_mb"] = json!(-1);
    bad["disk_gb"] = json!(i64::MAX);
    bad["ram_ratio"] = json!(0.0);
    bad["cpu_ratio"] = json!(-2.0);
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["RamFilter", "RamFilter", "DiscFilter"], "host_subset_size": 3,
                   "weights": {"ram": 1e300, "rma": 1.0}},
        "hosts": [host("n1"), host("n1"), bad],
        "aggregates": [{"name": "a", "hosts": ["n9"]}],
        "groups": [{"name": "g", "policy": "antiaffinity"},
                   {"name": "h", "policy": "anti-affinity", "max_server_per_host": 0}],
        "servers": [{"name": "s", "vcpus": -1, "ram_mb": 1, "disk_gb": 0, "group": "nobody"}],
    });
    insta::assert_snapshot!(mistakes(&scenario).join("\n"), @r#"
    filter "RamFilter" is given twice; names must be unique
    config.filters: unknown filter "DiscFilter"; did you mean "DiskFilter"?
    config.weights: unknown weigher "rma"; did you mean "ram"?
    host_subset_size is 3; only 1 is supported, so that a plan can be repeated
    host "n2": ram_mb is -1; it must not be negative
    host "n2": cpu_ratio is -2; a ratio must be above 0 and at most 1000000
    host "n2": ram_ratio is 0; a ratio must be above 0 and at most 1000000
    group "g": unknown policy "antiaffinity"; did you mean "anti-affinity"?
    server "s": vcpus is -1; it must not be negative
    weight ram has multiplier 1e300; it must be a number between -1e9 and 1e9
    host "n1" is given twice; names must be unique
    host "n2": disk (MiB) is 18446744073709551615, more than the largest accepted, 8796093022208
    aggregate "a": unknown host "n9"
    group "h" allows no server on any host; max_server_per_host must be at least 1
    server "s": unknown group "nobody"
    "#);
}

#[test]
fn hosts_and_servers_that_do_not_exist_were_passed_over() {
    let mut full = host("n1");
    full["instances"] = json!([{"name": "old"}]);
    let mut scenario = json!({
        "format": "nova-scenario/1",
        "config": {"filters": [], "isolated_hosts": ["n1", "n8"]},
        "hosts": [full],
        "servers": [
            {"name": "a", "vcpus": 1, "ram_mb": 1, "disk_gb": 0, "tried_hosts": ["n1", "n9"],
             "same_host": ["old", "b", "odl"]},
            {"name": "b", "vcpus": 1, "ram_mb": 1, "disk_gb": 0, "different_host": ["a", "old", "n1"], "group": "g"},
        ],
    });
    insta::assert_snapshot!(mistakes(&scenario).join("\n"), @r#"
    config.isolated_hosts: unknown host "n8"
    server "a": tried_hosts: unknown host "n9"
    server "a": same_host: unknown server "odl"
    server "b": different_host: unknown server "n1"
    server "b": unknown group "g"
    "#);
    scenario["hosts"][0]["instances"][0]["name"] = json!("odl");
    assert_eq!(mistakes(&scenario).len(), 6);
}

#[test]
fn another_format_is_named() {
    let scenario =
        json!({"format": "nova-scenario/2", "config": {"filters": []}, "hosts": [], "servers": []});
    let error = Scenario::parse(&scenario.to_string()).expect_err("another format");
    assert_eq!(
        error.to_string(),
        r#"the scenario's format is "nova-scenario/2"; only "nova-scenario/1" is known"#
    );
}

#[test]
fn no_hosts_and_no_servers_are_no_mistake() {
    let scenario = json!({"format": "nova-scenario/1", "config": {"filters": []}, "hosts": [], "servers": [
        {"name": "s", "vcpus": 1, "ram_mb": 1, "disk_gb": 0}]});
    let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
    let decisions = scenario.simulate(Profile::Legacy).expect("valid");
    assert_eq!(decisions[0].chosen, None);
    assert_eq!(decisions[0].weights, None);
}

#[test]
fn numbers_that_no_machine_has_are_refused_before_anything_is_computed() {
    let valid = json!({"format": "nova-scenario/1", "config": {"filters": ["RamFilter"]}, "hosts": [host("n1")],
                       "servers": []});
    for number in ["1e999", "NaN", "Infinity", "-1e400"] {
        let text = valid.to_string().replace("16.0", number).replace("1.5", "0.0");
        let scenario = Scenario::parse(&text).expect("told beside the others");
        let Err(ScenarioError::Invalid(errors)) = scenario.load(Profile::Legacy) else {
            panic!("{number} is taken");
        };
        let said: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        let ratio = "host \"n1\": ram_ratio is 0; a ratio must be above 0 and at most 1000000";
        let first = format!("hosts[0].cpu_ratio is {number:?}; it must be a number");
        assert_eq!(said, [first.as_str(), ratio]);
    }
    let mut huge = valid;
    huge["hosts"][0]["ram_ratio"] = json!(1e9);
    let said = mistakes(&huge);
    assert_eq!(
        said,
        ["host \"n1\": ram_ratio is 1000000000; a ratio must be above 0 and at most 1000000"]
    );
}

/// Every server is looked at, whoever is left over.
#[test]
fn ten_thousand_servers_for_two_hosts_are_all_decided() {
    let servers: Vec<Value> = (0..10_000)
        .map(|number| json!({"name": format!("s{number}"), "vcpus": 1, "ram_mb": 512, "disk_gb": 1}))
        .collect();
    let scenario = json!({"format": "nova-scenario/1",
        "config": {"filters": ["AvailabilityZoneFilter", "RamFilter", "DiskFilter", "CoreFilter"]},
        "hosts": [host("n1"), host("n2")], "servers": servers});
    let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
    let decisions = scenario.simulate(Profile::Legacy).expect("valid");
    // 8 GiB at 1.5 hold 24 of 512 MiB.
    let placed = decisions
        .iter()
        .filter(|decision| decision.chosen.is_some())
        .count();
    assert_eq!((decisions.len(), placed), (10_000, 48));
    let last = &decisions[9_999];
    assert_eq!(last.rejected_by.len(), 2);
    let batch = scenario
        .decide_batch(Profile::Legacy, |explanation| explanation)
        .expect("valid");
    let placed = batch
        .decisions
        .iter()
        .filter(|explanation| explanation.chosen.is_some())
        .count();
    assert_eq!(placed, 48);
    // However many fail in ways of their own.
    let looked_at = batch
        .outcome
        .unplaced
        .iter()
        .filter(|unplaced| unplaced.conflict.is_some());
    assert_eq!(looked_at.count(), 10_000 - 48);
}
