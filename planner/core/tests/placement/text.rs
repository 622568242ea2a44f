//! What people read about a decision.

use drover_core::placement::Profile;
use drover_core::placement::scenario::Scenario;
use serde_json::{Value, json};

#[test]
fn an_explanation_is_a_table_of_hosts_and_refusals() {
    let host = |name: &str, ram_mb: u64, used: u64, az: Option<&str>| {
        json!({"name": name, "az": az, "vcpus": 8, "ram_mb": ram_mb, "disk_gb": 100, "ram_used_mb": used,
               "cpu_ratio": 1.0, "ram_ratio": 1.5, "disk_ratio": 1.0, "vcpus_used": if used > 0 { 7 } else { 0 }})
    };
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["AvailabilityZoneFilter", "RamFilter", "CoreFilter", "ComputeCapabilitiesFilter",
                               "ServerGroupAntiAffinityFilter"],
                   "weights": {"ram": 1.0, "disk": 0.5}},
        "hosts": [host("n1", 16384, 0, None), host("n2", 98304, 143_872, Some("rack-2")), host("n3", 4096, 0, None),
                  host("n4.a-rather-long-name.example.org", 16384, 512, None), host("n5", 12288, 0, None)],
        "groups": [{"name": "web", "policy": "anti-affinity"}],
        "servers": [
            {"name": "web[0]", "vcpus": 4, "ram_mb": 8192, "disk_gb": 10, "az": "nova", "group": "web"},
            {"name": "web[1]", "vcpus": 4, "ram_mb": 8192, "disk_gb": 10, "az": "nova", "group": "web",
             "extra_specs": {"capabilities:cpu_info:features": "<all-in> aes avx2 and quite a lot of others"}},
        ],
    });
    let (mut scheduler, requests) = Scenario::parse(&scenario.to_string())
        .expect("well-formed")
        .load(Profile::Legacy)
        .expect("valid");
    let mut text = scheduler.explain(&requests[0]).to_string();
    assert_eq!(
        scheduler.place(&requests[0]).map(|host| host.to_string()),
        Some("n1".to_owned())
    );
    text.push_str(&scheduler.explain(&requests[1]).to_string());
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text, @r#"
    web[0]: n1, 0.25 above the next of 2 that pass
      n1  passes, weight 1.5 (ram 16384: 1, disk 102400: 0.5) <- chosen
      n2  zone: wants zone nova, host is in rack-2
          RAM: wants 8 GiB, 3.5 GiB of 96 GiB × 1.5 left
          CPU: wants 4, 1 of 8 left
      n3  RAM: wants 8 GiB, the whole host has 4 GiB
      n4.a-rather-long-name.example.org
          CPU: wants 4, 1 of 8 left
      n5  passes, weight 1.25 (ram 12288: 0.75, disk 102400: 0.5)
    web[1]: no valid host among 5
      n1  capability: cpu_info:features wants "<all-in> aes avx2 and quite a lot of
            others", host has none
          anti-affinity: holds 1 of group web
      n2  zone: wants zone nova, host is in rack-2
          RAM: wants 8 GiB, 3.5 GiB of 96 GiB × 1.5 left
          CPU: wants 4, 1 of 8 left
          capability: cpu_info:features wants "<all-in> aes avx2 and quite a lot of
            others", host has none
      n3  RAM: wants 8 GiB, the whole host has 4 GiB
          capability: cpu_info:features wants "<all-in> aes avx2 and quite a lot of
            others", host has none
      n4.a-rather-long-name.example.org
          CPU: wants 4, 1 of 8 left
          capability: cpu_info:features wants "<all-in> aes avx2 and quite a lot of
            others", host has none
      n5  capability: cpu_info:features wants "<all-in> aes avx2 and quite a lot of
            others", host has none
    "#);

    let outcome = scheduler.place_batch(&requests[1..]);
    let conflict = outcome.unplaced[0]
        .conflict
        .as_ref()
        .expect("one failure")
        .to_string();
    insta::assert_snapshot!(conflict, @r#"
    none of 5 hosts passes ComputeCapabilitiesFilter (refused: AvailabilityZoneFilter 1, RamFilter 2, CoreFilter 2, ComputeCapabilitiesFilter 5, ServerGroupAntiAffinityFilter 1); it would fit with n5 meeting cpu_info:features "<all-in> aes avx2 and quite a lot of others", or one more host in nova with 8 GiB free, 10 GiB of disk, 4 vCPU, capabilities:cpu_info:features "<all-in> aes avx2 and quite a lot of others"
    "#);
}

#[test]
fn a_remedy_named_only_the_first_of_what_a_host_lacks() {
    let host = json!({"name": "n1", "vcpus": 8, "ram_mb": 8192, "disk_gb": 100, "cpu_ratio": 1.0, "ram_ratio": 1.0,
                      "disk_ratio": 1.0, "stats": {"gpu": "t4", "site": "east"}, "hypervisor_version": 4_002_001,
                      "supported_instances": [["x86_64", "kvm", "hvm"]]});
    let server = json!({
        "name": "s", "vcpus": 1, "ram_mb": 1024, "disk_gb": 10,
        "extra_specs": {"capabilities:gpu": "a100", "capabilities:net": "s== 100g", "capabilities:site": "east",
                        "aggregate_instance_extra_specs:ssd": "true", "aggregate_instance_extra_specs:tier": "gold"},
        "image": {"hw_architecture": "aarch64", "img_hv_requested_version": ">=9.0", "os_distro": "arch",
                  "os_type": "linux"},
    });
    let mut said = String::new();
    for filter in [
        "ComputeCapabilitiesFilter",
        "AggregateInstanceExtraSpecsFilter",
        "ImagePropertiesFilter",
        "AggregateImagePropertiesIsolation",
    ] {
        let scenario = json!({
            "format": "nova-scenario/1",
            "config": {"filters": [filter]},
            "hosts": [host],
            "aggregates": [{"name": "a", "hosts": ["n1"],
                            "metadata": {"os_distro": "debian,suse", "os_type": "windows", "tier": "silver"}}],
            "servers": [server],
        });
        let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
        let placed = scenario
            .decide_batch(Profile::Legacy, |explanation| explanation)
            .expect("valid");
        let conflict = placed.outcome.unplaced[0].conflict.as_ref().expect("one failure");
        said.push_str(&format!("{}{}\n", placed.decisions[0], conflict.remedies[0]));
    }
    insta::assert_snapshot!(said, @r#"
    s: no valid host among 1
      n1  capability: gpu wants "a100", host has t4; net wants "s== 100g", host has
            none
    n1 meeting gpu "a100" and net "s== 100g"
    s: no valid host among 1
      n1  aggregate: ssd wants "true", host has none; tier wants "gold", host has
            silver
    n1 meeting ssd "true" and tier "gold"
    s: no valid host among 1
      n1  image: image wants "aarch64", host has x86_64 kvm hvm;
            img_hv_requested_version wants ">=9.0", host has 4.2.1
    n1 meeting image "aarch64" and img_hv_requested_version ">=9.0"
    s: no valid host among 1
      n1  image: image has os_distro "arch", aggregates allow debian, suse; os_type
            "linux", aggregates allow windows
    n1 in an aggregate for os_distro "arch" and os_type "linux"
    "#);
}

#[test]
fn each_of_many_alike_servers_had_a_line_with_the_same_words() {
    let host = |name: &str| {
        json!({"name": name, "vcpus": 8, "ram_mb": 4096, "disk_gb": 100, "cpu_ratio": 1.0, "ram_ratio": 1.0,
               "disk_ratio": 1.0})
    };
    let server = |name: &str, ram_mb: u64| json!({"name": name, "vcpus": 1, "ram_mb": ram_mb, "disk_gb": 1});
    let large = (0..5).map(|number| server(&format!("large-{number}"), 6144));
    let mut servers: Vec<Value> = vec![server("fits", 512), server("vast-0", 8192)];
    servers.extend(large.chain([server("vast-1", 8192)]));
    let scenario = json!({"format": "nova-scenario/1", "config": {"filters": ["RamFilter"]},
                          "hosts": [host("n1"), host("n2")], "servers": servers});
    let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
    let placed = scenario
        .decide_batch(Profile::Legacy, |explanation| explanation)
        .expect("valid");
    insta::assert_snapshot!(placed.outcome.report().join("\n"), @"
    1 of 8 servers placed, in the order given.
    vast-0, vast-1: even without the other servers of the batch none of 2 hosts passes RamFilter (refused: RamFilter 2); it would fit with a host of at least 8 GiB, where n2 has 4 GiB, or one more host with 8 GiB free, 1 GiB of disk, 1 vCPU
    large-0 … large-4 (5 in all): even without the other servers of the batch none of 2 hosts passes RamFilter (refused: RamFilter 2); it would fit with a host of at least 6 GiB, where n2 has 4 GiB, or one more host with 6 GiB free, 1 GiB of disk, 1 vCPU
    ");
}

/// Of what no new host can have, none is asked for.
#[test]
fn one_more_host_is_named_only_where_it_helps_and_with_all_that_it_needs() {
    let mut host = json!({"name": "n1", "vcpus": 8, "ram_mb": 4096, "disk_gb": 100, "cpu_ratio": 1.0,
                          "ram_ratio": 1.0, "disk_ratio": 1.0, "host_ip": "10.0.0.1"});
    host["instances"] = json!([{"name": "old"}]);
    let told = |extra: Value| -> String {
        let mut server = json!({"name": "s", "vcpus": 1, "ram_mb": 8192, "disk_gb": 1});
        for (key, value) in extra.as_object().expect("an object") {
            server[key] = value.clone();
        }
        let filters = [
            "RamFilter",
            "ComputeCapabilitiesFilter",
            "SameHostFilter",
            "SimpleCIDRAffinityFilter",
            "IsolatedHostsFilter",
        ];
        let scenario = json!({"format": "nova-scenario/1",
                              "config": {"filters": filters, "isolated_hosts": ["n1"], "isolated_images": ["vault"]},
                              "hosts": [host], "servers": [server]});
        let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
        let decided = scenario.decide(Profile::Legacy, |_, conflict| conflict.expect("it fits nowhere"));
        let conflict = &decided.expect("valid")[0];
        let remedies = conflict.remedies.iter().map(ToString::to_string);
        let others = remedies.filter(|remedy| remedy.starts_with("one more"));
        others.collect::<Vec<_>>().join("; ")
    };
    let room = "with 8 GiB free, 1 GiB of disk, 1 vCPU";
    assert_eq!(told(json!({})), format!("one more host {room}"));
    assert_eq!(told(json!({"same_host": ["old"]})), "");
    assert_eq!(
        told(json!({"extra_specs": {"capabilities:free_ram_mb": ">= abc"}})),
        ""
    );
    assert_eq!(
        told(json!({"image_id": "vault"})),
        format!("one more isolated host {room}")
    );
    let near = json!({"build_near_host_ip": "10.9.0.1", "cidr": "/24"});
    assert_eq!(
        told(near),
        format!("one more host {room}, an address in 10.9.0.1/24")
    );
}

/// Newer Novas have one name for all that Placement looks at; where more than one thing is amiss, mending one is no help.
#[test]
fn no_host_is_to_be_mended_by_half() {
    let told = |server: Value| -> Vec<String> {
        let host = json!({"name": "n1", "vcpus": 8, "ram_mb": 4096, "disk_gb": 100, "cpu_ratio": 1.0,
                          "ram_ratio": 1.0, "disk_ratio": 1.0});
        let scenario = json!({"format": "nova-scenario/1", "config": {"filters": []}, "hosts": [host],
                              "servers": [server]});
        let scenario = Scenario::parse(&scenario.to_string()).expect("well-formed");
        let decided = scenario.decide(Profile::Modern, |_, conflict| conflict.expect("it fits nowhere"));
        let conflict = &decided.expect("valid")[0];
        conflict.remedies.iter().map(ToString::to_string).collect()
    };
    let one = told(json!({"name": "s", "vcpus": 1, "ram_mb": 8192, "disk_gb": 1}));
    assert_eq!(
        one,
        [
            "a host of at least 8 GiB, where n1 has 4 GiB",
            "one more host with 8 GiB free, 1 GiB of disk, 1 vCPU"
        ]
    );
    let two = told(json!({"name": "s", "vcpus": 1, "ram_mb": 8192, "disk_gb": 2000}));
    assert_eq!(two, ["one more host with 8 GiB free, 1.96 TiB of disk, 1 vCPU"]);
}
