//! The filters and weighers beyond those of the recorded decisions, each by a table: what the host and its
//! aggregates have, what the server asks, and which hosts pass.

use drover_core::placement::scenario::Scenario;
use drover_core::placement::{DecisionRecord, Filter, Profile};
use serde_json::{Value, json};

/// Fills in what a host, server or configuration must have.
fn over(base: Value, changes: &Value) -> Value {
    let mut whole = base;
    for (key, value) in changes.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    whole
}

fn host(name: &str, changes: &Value) -> Value {
    let base = json!({"name": name, "vcpus": 8, "ram_mb": 8192, "disk_gb": 100, "cpu_ratio": 2.0, "ram_ratio": 1.0,
                      "disk_ratio": 1.0});
    over(base, changes)
}

fn server(name: &str, changes: &Value) -> Value {
    over(
        json!({"name": name, "vcpus": 1, "ram_mb": 1024, "disk_gb": 10}),
        changes,
    )
}

/// Decisions about servers `s0`, `s1`, … on hosts `n0`, `n1`, …
fn decide(config: &Value, hosts: &Value, aggregates: &Value, servers: &Value) -> Vec<DecisionRecord> {
    let list = |changes: &Value, make: &dyn Fn(usize, &Value) -> Value| -> Vec<Value> {
        let changes = changes.as_array().expect("a list").iter().enumerate();
        changes.map(|(at, changes)| make(at, changes)).collect()
    };
    let config = over(json!({"filters": [], "weights": {}}), config);
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": config,
        "hosts": list(hosts, &|at, changes| host(&format!("n{at}"), changes)),
        "aggregates": list(aggregates, &|at, changes| over(json!({"name": format!("a{at}")}), changes)),
        "servers": list(servers, &|at, changes| server(&format!("s{at}"), changes)),
    });
    let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
    scenario.simulate(Profile::Legacy).expect("valid")
}

/// Which hosts the filter leaves to the last of the servers.
fn passed(filter: &str, config: Value, hosts: &Value, aggregates: &Value, servers: &Value) -> Vec<String> {
    let config = over(config, &json!({"filters": [filter]}));
    let decisions = decide(&config, hosts, aggregates, servers);
    let last = decisions.last().expect("a server");
    last.passed.iter().map(ToString::to_string).collect()
}

#[test]
fn same_and_different_host_look_at_the_servers_named() {
    let hosts = json!([{"ram_mb": 4096, "instances": [{"name": "old"}]}, {"ram_mb": 8192}]);
    for (filter, hint, expected) in [
        ("SameHostFilter", json!({}), &["n0", "n1"][..]),
        ("SameHostFilter", json!({"same_host": []}), &["n0", "n1"]),
        ("SameHostFilter", json!({"same_host": "old"}), &["n0"]),
        // The first server goes to n0, the first of equals.
        ("SameHostFilter", json!({"same_host": ["s0"]}), &["n0"]),
        // It is itself the second server, which is nowhere yet.
        ("SameHostFilter", json!({"same_host": ["s1", "old"]}), &["n0"]),
        ("SameHostFilter", json!({"same_host": ["s1"]}), &[]),
        ("DifferentHostFilter", json!({"different_host": "old"}), &["n1"]),
        (
            "DifferentHostFilter",
            json!({"different_host": ["s1"]}),
            &["n0", "n1"],
        ),
        (
            "DifferentHostFilter",
            json!({"different_host": ["old", "s0"]}),
            &["n1"],
        ),
        ("DifferentHostFilter", json!({"same_host": ["s1"]}), &["n0", "n1"]),
    ] {
        let servers = json!([{}, hint]);
        assert_eq!(
            passed(filter, json!({}), &hosts, &json!([]), &servers),
            expected,
            "{filter} {hint}"
        );
    }
}

#[test]
fn the_network_is_that_of_the_address_and_the_prefix() {
    let hosts = json!([{"host_ip": "10.0.1.5"}, {"host_ip": "10.0.2.5"}, {"host_ip": "2001:db8::5"}, {}]);
    for (hint, expected) in [
        (json!({}), &["n0", "n1", "n2", "n3"][..]),
        (json!({"cidr": "/8"}), &["n0", "n1", "n2", "n3"]),
        (json!({"build_near_host_ip": "10.0.1.77"}), &["n0"]),
        (
            json!({"build_near_host_ip": "10.0.1.77", "cidr": "/16"}),
            &["n0", "n1"],
        ),
        (json!({"build_near_host_ip": "10.0.1.77", "cidr": "/32"}), &[]),
        (
            json!({"build_near_host_ip": "10.0.1.77", "cidr": "/0"}),
            &["n0", "n1"],
        ),
        (
            json!({"build_near_host_ip": "2001:db8::1", "cidr": "/64"}),
            &["n2"],
        ),
    ] {
        let found = passed(
            "SimpleCIDRAffinityFilter",
            json!({}),
            &hosts,
            &json!([]),
            &json!([hint]),
        );
        assert_eq!(found, expected, "{hint}");
    }
}

#[test]
fn aggregates_keep_images_projects_and_flavors_apart() {
    let hosts = json!([{}, {}, {}]);
    let aggregates = json!([
        {"hosts": ["n0"], "metadata": {"os_distro": "debian, fedora", "filter_tenant_id": "p1", "instance_type": "small"}},
        {"hosts": ["n0", "n1"], "metadata": {"os_distro": "suse", "filter_tenant_id_2": "p2,p3", "instance_type": "big, wide"}},
    ]);
    for (filter, asked, expected) in [
        (
            "AggregateImagePropertiesIsolation",
            json!({}),
            &["n0", "n1", "n2"][..],
        ),
        (
            "AggregateImagePropertiesIsolation",
            json!({"image": {"os_distro": "debian"}}),
            &["n0", "n2"],
        ),
        (
            "AggregateImagePropertiesIsolation",
            json!({"image": {"os_distro": "suse"}}),
            &["n0", "n1", "n2"],
        ),
        (
            "AggregateImagePropertiesIsolation",
            json!({"image": {"os_distro": "arch"}}),
            &["n2"],
        ),
        (
            "AggregateImagePropertiesIsolation",
            json!({"image": {"os_distro": ""}}),
            &["n0", "n1", "n2"],
        ),
        (
            "AggregateImagePropertiesIsolation",
            json!({"image": {"os_type": "linux"}}),
            &["n0", "n1", "n2"],
        ),
        ("AggregateMultiTenancyIsolation", json!({}), &["n2"]),
        (
            "AggregateMultiTenancyIsolation",
            json!({"project_id": "p1"}),
            &["n0", "n2"],
        ),
        (
            "AggregateMultiTenancyIsolation",
            json!({"project_id": "p3"}),
            &["n0", "n1", "n2"],
        ),
        ("AggregateTypeAffinityFilter", json!({}), &["n2"]),
        (
            "AggregateTypeAffinityFilter",
            json!({"flavor": "small"}),
            &["n0", "n2"],
        ),
        (
            "AggregateTypeAffinityFilter",
            json!({"flavor": "wide"}),
            &["n0", "n1", "n2"],
        ),
        ("AggregateTypeAffinityFilter", json!({"flavor": "tall"}), &["n2"]),
    ] {
        let found = passed(filter, json!({}), &hosts, &aggregates, &json!([asked]));
        assert_eq!(found, expected, "{filter} {asked}");
    }
    let namespaced = json!({"aggregate_image_properties_isolation_namespace": "os",
                            "aggregate_image_properties_isolation_separator": "_"});
    let image = json!([{"image": {"os_distro": "arch"}}]);
    let elsewhere = json!({"aggregate_image_properties_isolation_namespace": "hw"});
    let filter = "AggregateImagePropertiesIsolation";
    assert_eq!(passed(filter, namespaced, &hosts, &aggregates, &image), ["n2"]);
    assert_eq!(
        passed(filter, elsewhere, &hosts, &aggregates, &image),
        ["n0", "n1", "n2"]
    );
}

#[test]
fn isolated_images_and_hosts() {
    let hosts = json!([{}, {}]);
    for (images, reserved, image, expected) in [
        (json!(["secret"]), true, "secret", &["n0"][..]),
        (json!(["secret"]), true, "open", &["n1"]),
        (json!(["secret"]), false, "secret", &["n0"]),
        (json!(["secret"]), false, "open", &["n0", "n1"]),
        (json!([]), true, "secret", &["n1"]),
        (json!([]), false, "secret", &["n0", "n1"]),
    ] {
        let config = json!({"isolated_hosts": ["n0"], "isolated_images": images,
                            "restrict_isolated_hosts_to_isolated_images": reserved});
        let servers = json!([{"image_id": image}]);
        let found = passed(
            "IsolatedHostsFilter",
            config.clone(),
            &hosts,
            &json!([]),
            &servers,
        );
        assert_eq!(found, expected, "{config} {image}");
    }
}

#[test]
fn ratios_and_limits_that_aggregates_set() {
    let hosts = json!([{}, {}, {}, {}]);
    let aggregates = json!([
        {"hosts": ["n0", "n1"], "metadata": {"ram_allocation_ratio": "1.5", "disk_allocation_ratio": "2",
         "cpu_allocation_ratio": "0.5", "max_instances_per_host": "1", "max_io_ops_per_host": "9"}},
        // The least of several counts.
        {"hosts": ["n1"], "metadata": {"ram_allocation_ratio": "1.1", "max_instances_per_host": "0",
         "max_io_ops_per_host": " 1 "}},
        // What is no number sets nothing.
        {"hosts": ["n2"], "metadata": {"ram_allocation_ratio": "1.5,2.0", "max_instances_per_host": "3,x",
         "max_io_ops_per_host": "1.5"}},
    ]);
    let config = json!({"max_instances_per_host": 2, "max_io_ops_per_host": 2});
    for (filter, servers, expected) in [
        // Two of 5 GiB on each host of 8 GiB need a ratio of 1.25.
        (
            "AggregateRamFilter",
            json!([{"ram_mb": 5120}, {"ram_mb": 5120}, {"ram_mb": 5120}, {"ram_mb": 5120}, {"ram_mb": 5120}]),
            &["n0"][..],
        ),
        ("AggregateRamFilter", json!([{"ram_mb": 8193}]), &[]),
        (
            "AggregateDiskFilter",
            json!([{"disk_gb": 90}, {"disk_gb": 90}, {"disk_gb": 90}, {"disk_gb": 90}, {"disk_gb": 90}]),
            &["n0", "n1"],
        ),
        ("AggregateCoreFilter", json!([{"vcpus": 5}]), &["n2", "n3"]),
        ("CoreFilter", json!([{"vcpus": 5}]), &["n0", "n1", "n2", "n3"]),
        ("AggregateNumInstancesFilter", json!([{}]), &["n0", "n2", "n3"]),
        (
            "AggregateIoOpsFilter",
            json!([{"ram_mb": 1}, {"ram_mb": 2}, {"ram_mb": 4}, {"ram_mb": 8}, {"ram_mb": 16}]),
            &["n0", "n2", "n3"],
        ),
        (
            "NumInstancesFilter",
            json!([{}, {}, {}, {}, {}]),
            &["n0", "n1", "n2", "n3"],
        ),
    ] {
        // Memory decides, so that servers spread.
        let config = over(config.clone(), &json!({"weights": {"ram": 1.0}}));
        let found = passed(filter, config, &hosts, &aggregates, &servers);
        assert_eq!(found, expected, "{filter} {servers}");
    }
}

#[test]
fn hosts_must_measure_what_the_metrics_weigher_looks_at() {
    let hosts = json!([{"metrics": {"idle": 1.0, "wait": 2.0}}, {"metrics": {"idle": 1.0}}, {}]);
    let config = json!({"metrics": {"weight_setting": {"idle": 1.0, "wait": -0.5}}});
    assert_eq!(
        passed("MetricsFilter", config, &hosts, &json!([]), &json!([{}])),
        ["n0"]
    );
    assert_eq!(
        passed("MetricsFilter", json!({}), &hosts, &json!([]), &json!([{}])),
        ["n0", "n1", "n2"]
    );
}

#[test]
fn groups_may_hold_several_on_a_host_and_have_members_from_the_start() {
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["ServerGroupAntiAffinityFilter", "ServerGroupAffinityFilter"]},
        "hosts": [host("n0", &json!({"instances": [{"name": "old", "group": "pairs"}, {"name": "lead", "group": "home"}]})),
                  host("n1", &json!({}))],
        "groups": [{"name": "pairs", "policy": "anti-affinity", "rules": {"max_server_per_host": 2}},
                   {"name": "home", "policy": "affinity"}],
        "servers": [server("a", &json!({"group": "pairs"})), server("b", &json!({"group": "pairs"})),
                    server("c", &json!({"group": "pairs"})), server("d", &json!({"group": "pairs"})),
                    server("e", &json!({"group": "home"}))],
    });
    let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
    let decisions = scenario.simulate(Profile::Legacy).expect("valid");
    let chosen: Vec<Option<&str>> = decisions
        .iter()
        .map(|decision| decision.chosen.as_ref().map(|host| host.as_str()))
        .collect();
    assert_eq!(chosen, [Some("n0"), Some("n1"), Some("n1"), None, Some("n0")]);
}

/// Raw value, normalised value and total of each host, in order.
fn weighed(
    weigher: &str,
    config: &Value,
    hosts: &Value,
    aggregates: &Value,
    servers: &Value,
) -> Vec<[f64; 3]> {
    let decisions = decide(config, hosts, aggregates, servers);
    let last = decisions.last().expect("a server");
    let columns = last.weighers.as_ref().expect("hosts passed");
    let totals = last.weights.as_ref().expect("hosts passed");
    columns[weigher]
        .iter()
        .map(|(host, [raw, normalised])| {
            let number = |number: &serde_json::Number| number.as_f64().expect("a double");
            [number(raw), number(normalised), totals[host]]
        })
        .collect()
}

#[test]
fn weighers_beyond_the_recorded_ones() {
    let hosts = json!([
        {"num_instances": 4, "hypervisor_version": 9_000_000, "failed_builds": 2, "metrics": {"idle": 4.0, "wait": 1.0},
         "instances": [{"name": "o1", "image": {"os_distro": "debian", "hw_vm_mode": "hvm"}},
                       {"name": "o2", "image": {"os_distro": "debian"}}]},
        {"num_instances": 2, "hypervisor_version": 8_000_000, "metrics": {"idle": 2.0}},
        {"num_instances": 3, "hypervisor_version": 8_500_000, "failed_builds": 1, "metrics": {"idle": 2.0, "wait": 3.0}},
    ]);
    let metrics = json!({"weight_setting": {"idle": 1.0, "wait": -1.0}, "weight_of_unavailable": -9.0});
    let image = json!({"image": {"os_distro": "debian", "hw_vm_mode": "hvm"}});
    for (weigher, config, server, expected) in [
        (
            "num_instances",
            json!({"weights": {"num_instances": -1.0}}),
            json!({}),
            [[4.0, 1.0, -1.0], [2.0, 0.0, 0.0], [3.0, 0.5, -0.5]],
        ),
        (
            "hypervisor_version",
            json!({"weights": {"hypervisor_version": 2.0}}),
            json!({}),
            [[9e6, 1.0, 2.0], [8e6, 0.0, 0.0], [8.5e6, 0.5, 1.0]],
        ),
        // A positive multiplier counts against the host.
        (
            "build_failure",
            json!({"weights": {"build_failure": 10.0}}),
            json!({}),
            [[2.0, 1.0, -10.0], [0.0, 0.0, 0.0], [1.0, 0.5, -5.0]],
        ),
        (
            "metrics",
            json!({"weights": {"metrics": 1.0}, "metrics": metrics}),
            json!({}),
            [[3.0, 1.0, 1.0], [-9.0, 0.0, 0.0], [-1.0, 8.0 / 12.0, 8.0 / 12.0]],
        ),
        (
            "image_props",
            json!({"weights": {"image_props": 1.0}}),
            image.clone(),
            [[3.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        ),
        (
            "image_props",
            json!({"weights": {"image_props": 1.0}, "image_props_weight_setting": {"os_distro": 2.0}}),
            image,
            [[4.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        ),
    ] {
        let found = weighed(weigher, &config, &hosts, &json!([]), &json!([server]));
        assert_eq!(found, expected, "{config}");
    }
}

#[test]
fn aggregates_set_multipliers_and_the_least_counts() {
    let hosts = json!([{}, {"ram_mb": 4096}, {"ram_mb": 2048}]);
    let aggregates = json!([
        {"hosts": ["n0", "n1"], "metadata": {"ram_weight_multiplier": "-1.0"}},
        {"hosts": ["n1"], "metadata": {"ram_weight_multiplier": "-2.0"}},
        {"hosts": ["n2"], "metadata": {"ram_weight_multiplier": "much"}},
    ]);
    let expected = [[8192.0, 1.0, -1.0], [4096.0, 0.5, -1.0], [2048.0, 0.25, 0.75]];
    let config = json!({"weights": {"ram": 3.0}});
    assert_eq!(
        weighed("ram", &config, &hosts, &aggregates, &json!([{}])),
        expected
    );
    // It is asked also where the settings leave it out.
    let expected = [[8192.0, 1.0, -1.0], [4096.0, 0.5, -1.0], [2048.0, 0.25, 0.0]];
    assert_eq!(
        weighed("ram", &json!({}), &hosts, &aggregates, &json!([{}])),
        expected
    );
}

#[test]
fn versions_and_default_architectures_of_images() {
    let hosts = json!([
        {"supported_instances": [["x86_64", "kvm", "hvm"]], "hypervisor_version": 12_001},
        {"supported_instances": [["aarch64", "kvm", "hvm"]], "hypervisor_version": 2_011_001},
        {},
    ]);
    for (config, image, expected) in [
        (json!({}), json!({}), &["n0", "n1", "n2"][..]),
        (
            json!({"image_properties_default_architecture": "AMD64"}),
            json!({}),
            &["n0"],
        ),
        (
            json!({"image_properties_default_architecture": "x86_64"}),
            json!({"hw_architecture": "aarch64"}),
            &["n1"],
        ),
        (
            json!({}),
            json!({"img_hv_type": "KVM", "img_hv_requested_version": ">= 12.1"}),
            &["n0"],
        ),
        (
            json!({}),
            json!({"hw_vm_mode": "HV", "img_hv_requested_version": "<12.0"}),
            &["n1"],
        ),
        (
            json!({}),
            json!({"img_hv_requested_version": ">=99.0"}),
            &["n0", "n1", "n2"],
        ),
    ] {
        let found = passed(
            "ImagePropertiesFilter",
            config.clone(),
            &hosts,
            &json!([]),
            &json!([{"image": image}]),
        );
        assert_eq!(found, expected, "{config} {image}");
    }
}

#[test]
fn capabilities_reach_everything_that_nova_knows_of_a_host() {
    let hosts = json!([{
        "stats": {"ssd": "true", "json": "{\"a\": {\"b\": 7}}"}, "failed_builds": 3,
        "supported_instances": [["x86_64", "kvm", "hvm"]],
        "cpu_info": {"vendor": "AMD", "topology": {"cores": 4}},
    }]);
    for (key, wanted, fits) in [
        ("capabilities:stats:ssd", "s== true", true),
        ("capabilities:json:a:b", "== 7", true),
        ("capabilities:json:a:c", "== 7", false),
        ("capabilities:json:a:b:c", "== 7", false),
        ("capabilities:failed_builds", "<= 3", true),
        ("failed_builds", "2", false),
        ("capabilities:ram_allocation_ratio", "1.0", true),
        ("capabilities:supported_instances", "<in> 'kvm'", true),
        ("capabilities:cpu_info", "<in> \"vendor\": \"AMD\"", true),
        (
            "cpu_info",
            "{\"vendor\": \"AMD\", \"topology\": {\"cores\": 4}}",
            true,
        ),
        ("capabilities:cpu_info:topology", "{'cores': 4}", true),
        ("capabilities:", "x", false),
        ("capabilities", "x", true),
        ("", "x", true),
    ] {
        let servers = json!([{"extra_specs": {key: wanted}}]);
        let found = passed(
            "ComputeCapabilitiesFilter",
            json!({}),
            &hosts,
            &json!([]),
            &servers,
        );
        assert_eq!(found.len(), usize::from(fits), "{key} {wanted}");
    }
}

#[test]
fn every_filter_of_the_table_has_a_name_of_its_own_and_is_found_by_it() {
    let names: std::collections::BTreeSet<&str> =
        Filter::CONFIGURABLE.iter().map(|filter| filter.name()).collect();
    assert_eq!(names.len(), Filter::CONFIGURABLE.len());
    for filter in Filter::CONFIGURABLE {
        assert_eq!(Filter::named(filter.name()), Some(filter));
        assert!(!filter.label().is_empty());
    }
    assert_eq!(Filter::named("Placement"), None);
}
