//! Fleets and servers by which the placement engine is measured.

use drover_core::placement::scenario::Scenario;
use drover_core::placement::{Profile, Request, Scheduler};
use serde_json::{Value, json};

/// How many servers are placed.
pub(crate) const SERVERS: usize = 10_000;

/// Hosts of four kinds in four racks, large enough for the whole batch.
pub(crate) fn scenario(hosts: usize, server: impl Fn(usize) -> Value) -> (Scheduler, Vec<Request>) {
    let sizes = [65_536, 98_304, 131_072, 262_144];
    let scale = (SERVERS / hosts / 20).max(1);
    let host = |at: usize| {
        json!({"name": format!("host{at:05}"), "az": format!("rack-{}", at % 4), "vcpus": 32 * scale,
               "ram_mb": sizes[at % 4] * scale, "disk_gb": 4000 * scale,
               "cpu_ratio": 16.0, "ram_ratio": 1.5, "disk_ratio": 1.0, "hypervisor_type": "QEMU",
               "hypervisor_version": 9_000_000,
               "supported_instances": [["x86_64", "kvm", "hvm"]],
               "stats": {"ssd": if at.is_multiple_of(3) { "true" } else { "false" }}})
    };
    let group = |at: usize| {
        let policies = ["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"];
        json!({"name": format!("group{at:04}"), "policy": policies[at % 4]})
    };
    let scenario = json!({
        "format": "nova-scenario/1",
        "config": {"filters": ["RetryFilter", "AvailabilityZoneFilter", "RamFilter", "DiskFilter", "CoreFilter",
                               "ComputeFilter", "ComputeCapabilitiesFilter", "ImagePropertiesFilter",
                               "ServerGroupAntiAffinityFilter", "ServerGroupAffinityFilter"],
                   "weights": {"ram": 1.0, "soft_affinity": 1.0, "soft_anti_affinity": 1.0}},
        "hosts": (0..hosts).map(host).collect::<Vec<_>>(),
        "groups": (0..SERVERS / 10).map(group).collect::<Vec<_>>(),
        "servers": (0..SERVERS).map(server).collect::<Vec<_>>(),
    });
    Scenario::parse(&scenario.to_string())
        .expect("well-formed")
        .load(Profile::Legacy)
        .expect("valid")
}

/// One that asks for nothing but its size.
pub(crate) fn plain(at: usize) -> Value {
    let ram = [512, 1024, 2048, 4096][at * 7 % 4];
    json!({"name": format!("server{at:05}"), "vcpus": 1 + at % 4, "ram_mb": ram, "disk_gb": 10 + at % 3 * 10})
}

/// One of those of which half are in groups, a third in zones and a fifth has extra specs.
pub(crate) fn rich(at: usize) -> Value {
    let mut server = plain(at);
    if at.is_multiple_of(2) {
        server["group"] = json!(format!("group{:04}", at / 10));
    }
    if at.is_multiple_of(3) {
        server["az"] = json!(format!("rack-{}", at / 40 % 4));
    }
    if at.is_multiple_of(5) {
        server["extra_specs"] = json!({"capabilities:ssd": "s== true"});
        server["image"] = json!({"hw_architecture": "amd64"});
    }
    server
}

/// Places all, one after another; how many found a host.
pub(crate) fn place_all(mut scheduler: Scheduler, requests: &[Request]) -> usize {
    requests
        .iter()
        .filter(|request| scheduler.place(request).is_some())
        .count()
}
