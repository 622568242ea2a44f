//! Whatever stands in a scenario file, reading it ends with decisions or with mistakes, and never in a panic.

use drover_core::placement::Profile;
use drover_core::placement::scenario::{Scenario, ScenarioError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn mistakes(scenario: &Value) -> String {
    let scenario = Scenario::parse(&scenario.to_string()).expect("of the known format");
    match scenario.load(Profile::Legacy) {
        Err(ScenarioError::Invalid(errors)) => errors.to_string(),
        Err(ScenarioError::Syntax(_) | ScenarioError::Format(_)) | Ok(_) => String::new(),
    }
}

#[test]
fn what_is_missing_or_of_another_type_is_named_with_its_place_all_at_once() {
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": {"weights": {"ram": "much"}, "metrics": []},
        "hosts": [{"vcpus": 1.5, "ram_mb": 1e300, "disk_gb": null, "cpu_ratio": "16", "ram_ratio": 1, "disk_ratio": 1,
                   "stats": {"ssd": true, "tags": []}, "supported_instances": [["x86_64", "kvm"], 7], "up": 1,
                   "host_ip": "10.0.0.300", "instances": [{"name": "old", "group": 7}, 3]}, "n2"],
        "aggregates": {"name": "a"},
        "servers": [{"name": "", "vcpus": 1, "ram_mb": 18446744073709551615_u64, "disk_gb": 1,
                     "image": "debian", "tried_hosts": [1], "build_near_host_ip": "10.0.0.1", "cidr": "24"}],
    });
    insta::assert_snapshot!(mistakes(&scenario), @r#"
    config.filters missing; it must be a list of texts
    config.weights["ram"] is "much"; it must be a number
    config.metrics is a list; it must be an object
    hosts[0].name missing; it must be a text that is not empty
    hosts[0].vcpus is 1.5; it must be a whole number
    hosts[0].ram_mb is 1e+300; it must be a whole number
    hosts[0].disk_gb missing; it must be a whole number
    hosts[0].cpu_ratio is "16"; it must be a number
    hosts[0].supported_instances[0] is a list; it must be a list of 3 texts
    hosts[0].supported_instances[1] is 7; it must be a list of 3 texts
    hosts[0].stats["tags"] is a list; it must be a text
    hosts[0].host_ip is "10.0.0.300"; it must be an IP address
    hosts[0].instances[0].group is 7; it must be a text
    hosts[0].instances[1] is 3; it must be an object
    hosts[0].up is 1; it must be true or false
    hosts[1] is "n2"; it must be an object
    aggregates is an object; it must be a list of objects
    servers[0].name is ""; it must be a text that is not empty
    servers[0].ram_mb is 18446744073709551615; it must be a whole number
    servers[0].image is "debian"; it must be an object
    servers[0].tried_hosts[0] is 1; it must be a text
    server "": cidr is "24"; it must be a prefix from "/0" to "/32"
    "#);
}

#[test]
fn whole_numbers_may_have_a_point_and_texts_may_be_numbers() {
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["ComputeCapabilitiesFilter"]},
        "hosts": [{"name": "n1", "vcpus": 4.0, "ram_mb": 1024.0, "disk_gb": 10, "cpu_ratio": 1, "ram_ratio": 1,
                   "disk_ratio": 1, "stats": {"speed": 2.0, "ssd": true}}],
        "servers": [{"name": "s", "vcpus": 1, "ram_mb": 1, "disk_gb": 1,
                     "extra_specs": {"capabilities:speed": "s== 2.0", "capabilities:ssd": "s== True"}}],
    });
    let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
    let decisions = scenario.simulate(Profile::Legacy).expect("valid");
    assert_eq!(decisions[0].chosen.as_ref().map(|host| host.as_str()), Some("n1"));
}

#[test]
fn ten_thousand_mistakes_are_told_briefly() {
    let hosts: Vec<Value> = (0..10_000).map(|at| json!({"name": at})).collect();
    let scenario =
        json!({"format": "nova-scenario/1", "config": {"filters": []}, "hosts": hosts, "servers": []});
    let text = mistakes(&scenario);
    assert!(
        text.ends_with("the scenario has 69800 more mistakes of this kind"),
        "{text}"
    );
}

#[test]
fn what_a_scenario_says_is_written_and_read_back() {
    let vectors: Value = serde_json::from_str(include_str!("data/nova-vectors.json"))
        .expect("the recorded vectors are readable");
    for vector in vectors["vectors"].as_array().expect("a list") {
        let scenario = Scenario::from(vector["scenario"].clone());
        let written = serde_json::to_string(&scenario).expect("plain data");
        assert_eq!(Scenario::parse(&written).expect("its own form"), scenario);
    }
}

/// Any JSON, with a taste for what breaks readers.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        prop_oneof![
            Just("nobody".to_owned()),
            Just("host00".to_owned()),
            Just("{\"a\": [1".to_owned()),
            Just("<or>".to_owned()),
            Just(">= x".to_owned()),
            Just("1e999".to_owned()),
            ".{0,12}",
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_:]{0,8}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

/// Puts `what` in the place that the numbers lead to, or takes that place away.
fn alter(value: &mut Value, path: &[usize], what: Option<Value>) {
    let Some((first, rest)) = path.split_first() else {
        if let Some(what) = what {
            *value = what;
        }
        return;
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            let at = first % items.len();
            if rest.is_empty() && what.is_none() {
                items.remove(at);
            } else {
                alter(&mut items[at], rest, what);
            }
        }
        Value::Object(entries) if !entries.is_empty() => {
            let key = entries
                .keys()
                .nth(first % entries.len())
                .expect("in range")
                .clone();
            if rest.is_empty() && what.is_none() {
                entries.remove(&key);
            } else {
                alter(&mut entries[&key], rest, what);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            if let Some(what) = what {
                *value = what;
            }
        }
    }
}

fn small() -> Value {
    json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["RetryFilter", "AvailabilityZoneFilter", "RamFilter", "DiskFilter", "CoreFilter",
                               "ComputeFilter", "ComputeCapabilitiesFilter", "ImagePropertiesFilter",
                               "ServerGroupAntiAffinityFilter", "ServerGroupAffinityFilter", "SameHostFilter",
                               "DifferentHostFilter", "SimpleCIDRAffinityFilter", "AggregateInstanceExtraSpecsFilter",
                               "AggregateRamFilter", "AggregateNumInstancesFilter", "MetricsFilter"],
                   "weights": {"ram": 1.0, "cpu": -0.5, "metrics": 1.0}, "metrics": {"weight_setting": {"idle": 1.0}}},
        "hosts": [
            {"name": "host00", "az": "a", "vcpus": 4, "ram_mb": 4096, "disk_gb": 40, "cpu_ratio": 2.0, "ram_ratio": 1.5,
             "disk_ratio": 1.0, "ram_used_mb": 512, "hypervisor_type": "QEMU", "hypervisor_version": 2011001,
             "supported_instances": [["x86_64", "kvm", "hvm"]], "stats": {"ssd": "true"}, "metrics": {"idle": 0.5},
             "cpu_info": {"features": ["aes"], "topology": {"cores": 2}}, "host_ip": "10.0.0.1",
             "instances": [{"name": "old", "group": "g"}]},
            {"name": "host01", "vcpus": 4, "ram_mb": 4096, "disk_gb": 40, "cpu_ratio": 2.0, "ram_ratio": 1.5,
             "disk_ratio": 1.0, "metrics": {"idle": 1.5}},
        ],
        "aggregates": [{"name": "x", "hosts": ["host01"], "metadata": {"ram_allocation_ratio": "2.0", "ssd": "a, b"}}],
        "groups": [{"name": "g", "policy": "anti-affinity", "max_server_per_host": 2}],
        "servers": [
            {"name": "s0", "vcpus": 1, "ram_mb": 512, "disk_gb": 1, "az": "a", "group": "g",
             "extra_specs": {"capabilities:ssd": "<or> true <or> yes", "capabilities:cpu_info:features": "<in> aes"},
             "image": {"hw_architecture": "amd64", "img_hv_requested_version": ">=2.6"}},
            {"name": "s1", "vcpus": 1, "ram_mb": 512, "disk_gb": 1, "same_host": ["s0"], "priority": 3,
             "build_near_host_ip": "10.0.0.7", "cidr": "/8", "tried_hosts": ["host01"]},
        ],
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn an_altered_scenario_gives_decisions_or_mistakes(
        changes in prop::collection::vec(
            (prop::collection::vec(0_usize..40, 0..6), prop::option::weighted(0.8, anything())),
            1..4,
        ),
    ) {
        let mut scenario = small();
        for (path, what) in changes {
            alter(&mut scenario, &path, what);
        }
        if let Ok(scenario) = Scenario::parse(&scenario.to_string()) {
            for profile in [Profile::Legacy, Profile::Modern] {
                match scenario.decide_batch(profile, |explanation| explanation) {
                    Ok(batch) => {
                        prop_assert_eq!(batch.decisions.len(), scenario.servers.len());
                        let decided = scenario.simulate(profile).expect("it was valid a moment ago");
                        prop_assert_eq!(decided.len(), scenario.servers.len());
                    }
                    Err(ScenarioError::Invalid(errors)) => prop_assert!(!errors.0.is_empty()),
                    Err(other @ (ScenarioError::Syntax(_) | ScenarioError::Format(_))) => panic!("{other}"),
                }
            }
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
        prop_assert!(Scenario::parse(&text).is_err());
    }
}

/// A key that is almost one that there is would silently not hold what was meant.
#[test]
fn a_key_that_was_mistyped_is_told() {
    let mut scenario = json!({
        "format": "nova-scenario/1", "kind": "any", "seed": 7, "gruops": [],
        "config": {"filters": [], "weight": {"ram": 1.0}, "note": "ours"},
        "hosts": [{"name": "n1", "vcpus": 1, "ram_mb": 1, "disk_gb": 1, "ram_ration": 2.0, "cpu_ratio": 1, "ram_ratio": 1,
                   "disk_ratio": 1, "hypervisor_type": "QEMU", "hypervisor_version": 1, "arch": "x86_64"}],
        "servers": [{"name": "s1", "vcpus": 1, "ram_mb": 1, "disk_gb": 1, "extra_spec": {"ssd": "true"}}],
    });
    insta::assert_snapshot!(mistakes(&scenario), @r"
    config.weight there is no such key; did you mean weights?
    servers[0].extra_spec there is no such key; did you mean extra_specs?
    gruops there is no such key; did you mean groups?
    ");
    let mut forget = |pointer: &str, key: &str| {
        let part = scenario.pointer_mut(pointer).expect("it is there");
        part.as_object_mut().expect("an object").remove(key);
    };
    forget("/config", "weight");
    forget("/servers/0", "extra_spec");
    forget("", "gruops");
    assert_eq!(mistakes(&scenario), "");
}
