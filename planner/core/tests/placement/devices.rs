//! NUMA cells, pinning, pages and devices: what hosts have, what flavors ask, and which hosts pass.

use drover_core::placement::Profile;
use drover_core::placement::scenario::{Scenario, ScenarioError};
use serde_json::{Value, json};

/// Two cells of four processors to share and four to pin to (two cores of two threads each), 4 GiB in pages of 4 KiB
/// and 2 MiB.
fn cells() -> Value {
    let cell = |id: u64| {
        let first = id * 8;
        let cpus = |from: u64, to: u64| (first + from..first + to).collect::<Vec<u64>>();
        json!({"id": id, "cpus": cpus(0, 4), "dedicated_cpus": cpus(4, 8),
               "siblings": [[first + 4, first + 5], [first + 6, first + 7]], "memory_mb": 4096,
               "pages": [{"size_kb": 4, "total": 524_288}, {"size_kb": 2048, "total": 1024}]})
    };
    json!([cell(0), cell(1)])
}

fn scenario(hosts: &Value, servers: &Value) -> Scenario {
    let hosts = hosts.as_array().expect("a list").iter().enumerate().map(|(at, extra)| {
        let mut host = json!({"name": format!("n{at}"), "vcpus": 16, "ram_mb": 8192, "disk_gb": 100, "cpu_ratio": 2.0,
                              "ram_ratio": 1.0, "disk_ratio": 1.0});
        for (key, value) in extra.as_object().expect("an object") {
            host[key] = value.clone();
        }
        host
    });
    let servers = servers
        .as_array()
        .expect("a list")
        .iter()
        .enumerate()
        .map(|(at, specs)| {
            json!({"name": format!("s{at}"), "vcpus": specs["vcpus"].as_u64().unwrap_or(2),
               "ram_mb": specs["ram_mb"].as_u64().unwrap_or(1024), "disk_gb": 1,
               "extra_specs": specs["specs"], "image": specs["image"]})
        });
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["NUMATopologyFilter", "PciPassthroughFilter"], "weights": {},
                   "pci_aliases": [{"name": "gpu", "vendor_id": "10de", "product_id": "1db4"},
                                   {"name": "nic", "vendor_id": "8086", "product_id": "10fb"},
                                   {"name": "nic", "vendor_id": "8086", "product_id": "1572"}]},
        "hosts": hosts.collect::<Vec<_>>(),
        "servers": servers.collect::<Vec<_>>(),
    });
    Scenario::parse(&scenario.to_string()).expect("well-formed")
}

/// The chosen hosts, `-` for none.
fn chosen(hosts: &Value, servers: &Value) -> String {
    let scenario = scenario(hosts, servers);
    let decisions = scenario.simulate(Profile::Legacy).expect("valid");
    let (mut fast, requests) = scenario.load(Profile::Legacy).expect("valid");
    let names = decisions.iter().zip(&requests).map(|(decision, request)| {
        assert_eq!(fast.place(request), decision.chosen, "the fast path agrees");
        decision.chosen.as_ref().map_or("-", |host| host.as_str())
    });
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn cells_pinning_and_pages() {
    let host = json!([{"numa_cells": cells()}]);
    let dedicated = |vcpus: u64, threads: &str| json!({"vcpus": vcpus, "specs": {"hw:cpu_policy": "dedicated", "hw:cpu_thread_policy": threads}});
    for (servers, expected) in [
        // Who asks for nothing is not counted in cells.
        (json!([{"vcpus": 64, "ram_mb": 99_999}]), "n0"),
        // Four dedicated processors in each of two cells; a server of one cell cannot span two.
        (json!([dedicated(5, "prefer")]), "-"),
        (
            json!([
                dedicated(4, "prefer"),
                dedicated(3, "prefer"),
                dedicated(2, "prefer"),
                dedicated(1, "prefer")
            ]),
            "n0 n0 - n0",
        ),
        // Both threads of a core together; two odd servers leave no core with two threads free.
        (
            json!([
                dedicated(3, "require"),
                dedicated(3, "require"),
                dedicated(2, "require"),
                dedicated(1, "prefer")
            ]),
            "n0 n0 - n0",
        ),
        // A core each, its sibling idle.
        (
            json!([
                dedicated(2, "isolate"),
                dedicated(2, "isolate"),
                dedicated(1, "prefer")
            ]),
            "n0 n0 -",
        ),
        (json!([dedicated(3, "isolate")]), "-"),
        // Two cells of two processors each.
        (
            json!([{"vcpus": 4, "specs": {"hw:numa_nodes": "2", "hw:cpu_policy": "dedicated"}},
                {"vcpus": 4, "specs": {"hw:numa_nodes": "2", "hw:cpu_policy": "dedicated"}},
                {"vcpus": 2, "specs": {"hw:numa_nodes": "2", "hw:cpu_policy": "dedicated"}}]),
            "n0 n0 -",
        ),
        (
            json!([{"vcpus": 3, "ram_mb": 3072, "specs": {"hw:numa_nodes": "3"}}]),
            "-",
        ),
        // Shared processors are promised twice (the host's ratio), but not to one server alone.
        (
            json!([{"vcpus": 4, "specs": {"hw:numa_nodes": "1"}}, {"vcpus": 4, "specs": {"hw:numa_nodes": "1"}},
                {"vcpus": 4, "specs": {"hw:numa_nodes": "1"}}, {"vcpus": 4, "specs": {"hw:numa_nodes": "1"}},
                {"vcpus": 1, "specs": {"hw:numa_nodes": "1"}}]),
            "n0 n0 n0 n0 -",
        ),
        (json!([{"vcpus": 5, "specs": {"hw:numa_nodes": "1"}}]), "-"),
        // Processors and memory dealt by hand.
        (
            json!([{"vcpus": 5, "ram_mb": 1536, "specs": {"hw:numa_nodes": "2", "hw:numa_cpus.0": "0-3", "hw:numa_cpus.1": "4",
                "hw:numa_mem.0": "1024", "hw:numa_mem.1": "512"}}]),
            "n0",
        ),
        // 2 GiB of large pages in each cell.
        (
            json!([{"ram_mb": 2048, "specs": {"hw:mem_page_size": "large"}}, {"ram_mb": 2048, "specs": {"hw:mem_page_size": "2MB"}},
                {"ram_mb": 2, "specs": {"hw:mem_page_size": "2048"}}, {"ram_mb": 2, "specs": {"hw:mem_page_size": "any"}},
                {"ram_mb": 2, "specs": {"hw:mem_page_size": "1GB"}}]),
            "n0 n0 - n0 -",
        ),
        (
            json!([{"ram_mb": 3, "specs": {"hw:mem_page_size": "large"}}, {"ram_mb": 3, "specs": {"hw:mem_page_size": "small"}}]),
            "- n0",
        ),
        (
            json!([{"ram_mb": 2, "specs": {"hw:mem_page_size": "any"}, "image": {"hw_mem_page_size": "large"}}]),
            "n0",
        ),
        // The image may ask too.
        (
            json!([{"vcpus": 5, "image": {"hw_cpu_policy": "dedicated"}}]),
            "-",
        ),
    ] {
        assert_eq!(chosen(&host, &servers), expected, "{servers}");
    }
    let pinned = json!([dedicated(1, "prefer")]);
    assert_eq!(chosen(&json!([{}, {"numa_cells": cells()}]), &pinned), "n1");
}

#[test]
fn devices_by_alias_and_near_their_cell() {
    let hosts = json!([
        {"pci_devices": [{"vendor_id": "10DE", "product_id": "1db4", "count": 1, "numa_node": 0},
                         {"vendor_id": "8086", "product_id": "1572", "count": 1}], "numa_cells": cells()},
        {"pci_devices": [{"vendor_id": "8086", "product_id": "10fb", "count": 2},
                         {"vendor_id": "8086", "product_id": "1572", "count": 1}]},
    ]);
    let asks = |alias: &str| json!({"specs": {"pci_passthrough:alias": alias}});
    for (servers, expected) in [
        (json!([asks("gpu"), asks("gpu:1"), {}]), "n0 - n0"),
        (
            json!([asks("nic:2"), asks("nic:1, gpu:1"), asks("nic")]),
            "n1 n0 n1",
        ),
        (json!([asks("nic:3"), asks("nic:4")]), "n1 -"),
        // The GPU is at the first cell, and one of two cells is there.
        (
            json!([{"specs": {"pci_passthrough:alias": "gpu", "hw:cpu_policy": "dedicated"}}]),
            "n0",
        ),
        // Once the first cell is full, the GPU is out of reach.
        (
            json!([{"vcpus": 4, "specs": {"pci_passthrough:alias": "nic", "hw:cpu_policy": "dedicated"}},
                {"vcpus": 4, "specs": {"pci_passthrough:alias": "gpu", "hw:cpu_policy": "dedicated"}}]),
            "n0 -",
        ),
    ] {
        assert_eq!(chosen(&hosts, &servers), expected, "{servers}");
    }
}

#[test]
fn what_a_flavor_cannot_ask_is_told_at_once() {
    let servers = json!([
        {"specs": {"hw:cpu_policy": "own", "pci_passthrough:alias": "gpu:many"}},
        {"specs": {"hw:numa_nodes": "0"}},
        {"vcpus": 3, "specs": {"hw:numa_nodes": "2"}},
        {"specs": {"hw:cpu_thread_policy": "require"}},
        {"specs": {"hw:mem_page_size": "huge"}},
        {"specs": {"hw:mem_page_size": "small"}, "image": {"hw_mem_page_size": "large"}},
        {"image": {"hw_mem_page_size": "large"}},
        {"specs": {"hw:numa_nodes": "1"}, "image": {"hw_numa_nodes": "2"}},
        {"specs": {"hw:cpu_policy": "shared"}, "image": {"hw_cpu_policy": "dedicated"}},
        {"specs": {"hw:cpu_policy": "dedicated", "hw:cpu_thread_policy": "isolate"},
         "image": {"hw_cpu_thread_policy": "require"}},
        {"specs": {"hw:pci_numa_affinity_policy": "required"}},
        {"specs": {"hw:pci_numa_affinity_policy": "legacy"}, "image": {"hw_pci_numa_affinity_policy": "socket"}},
        {"specs": {"hw:numa_nodes": "1", "hw:numa_cpus.0": "0-9", "hw:numa_mem.0": "1024"}},
        {"specs": {"hw:numa_nodes": "1", "hw:numa_cpus.0": "0", "hw:numa_mem.0": "1024"}},
        {"specs": {"hw:numa_nodes": "1", "hw:numa_cpus.0": "0,1", "hw:numa_mem.0": "1000"}},
        {"specs": {"hw:numa_nodes": "2", "hw:numa_cpus.0": "0,1"}},
        {"specs": {"pci_passthrough:alias": "fpga"}},
        {"specs": {"hw:emulator_threads_policy": "isolate"}},
    ]);
    let error =
        scenario(&json!([{"numa_cells": [{"id": -1, "memory_mb": 1}]}]), &servers).load(Profile::Legacy);
    let Err(ScenarioError::Invalid(errors)) = error else {
        panic!("mistakes were accepted");
    };
    insta::assert_snapshot!(errors.to_string(), @r#"
    host "n0": numa_cells: id is -1; it must not be negative
    server "s0": extra_specs: pci_passthrough:alias = "gpu:many" cannot be used: write alias:number, separated by commas
    server "s0": extra_specs: hw:cpu_policy = "own" cannot be used: it must be one of shared, dedicated
    server "s1": extra_specs: hw:numa_nodes = "0" cannot be used: it must be a number from 1 to 64
    server "s2": extra_specs: hw:numa_nodes = "2" cannot be used: vCPUs and memory must be divisible by it; or say hw:numa_cpus.N and hw:numa_mem.N
    server "s3": extra_specs: hw:cpu_thread_policy = "require" cannot be used: it needs hw:cpu_policy = "dedicated"
    server "s4": extra_specs: hw:mem_page_size = "huge" cannot be used: write small, large, any, or a size such as 2048 (KiB), 2MB or 1GB
    server "s5": extra_specs: hw_mem_page_size = "large" cannot be used: the flavor asks for "small"
    server "s6": extra_specs: hw_mem_page_size = "large" cannot be used: the flavor must allow it with hw:mem_page_size
    server "s7": extra_specs: hw_numa_nodes = "2" cannot be used: the flavor says hw:numa_nodes = "1"
    server "s8": extra_specs: hw_cpu_policy = "dedicated" cannot be used: the flavor says hw:cpu_policy = "shared"
    server "s9": extra_specs: hw_cpu_thread_policy = "require" cannot be used: the flavor says hw:cpu_thread_policy = "isolate"
    server "s10": extra_specs: hw:pci_numa_affinity_policy = "required" cannot be used: it must be legacy
    server "s11": extra_specs: hw_pci_numa_affinity_policy = "socket" cannot be used: the flavor says hw:pci_numa_affinity_policy = "legacy"
    server "s12": extra_specs: hw:numa_cpus.0 = "0-9" cannot be used: write processors of the server as 0-3,6, each once in all cells
    server "s13": extra_specs: hw:numa_cpus.0 = "0" cannot be used: some of the server's processors are in no cell
    server "s14": extra_specs: hw:numa_mem.0 = "1000" cannot be used: the cells must have 1024 MiB in all
    server "s15": extra_specs: hw:numa_nodes = "2" cannot be used: hw:numa_cpus.N and hw:numa_mem.N must be there for each cell
    server "s16": extra_specs: no device is known as fpga; add it to config.pci_aliases
    server "s17": extra_specs: hw:emulator_threads_policy = "isolate" cannot be used: it is not supported
    "#);
}
