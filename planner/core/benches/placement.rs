//! Decisions per second of the placement engine, single-threaded, at several numbers of hosts.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use drover_core::placement::scenario::Scenario;
use drover_core::placement::{Profile, Request, Scheduler};
use serde_json::{Value, json};
use std::hint::black_box;

const SERVERS: usize = 10_000;

/// Hosts of four kinds in four racks, large enough for the whole batch.
fn scenario(hosts: usize, server: impl Fn(usize) -> Value) -> (Scheduler, Vec<Request>) {
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

fn plain(at: usize) -> Value {
    let ram = [512, 1024, 2048, 4096][at * 7 % 4];
    json!({"name": format!("server{at:05}"), "vcpus": 1 + at % 4, "ram_mb": ram, "disk_gb": 10 + at % 3 * 10})
}

fn rich(at: usize) -> Value {
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

fn place_all(mut scheduler: Scheduler, requests: &[Request]) -> usize {
    requests
        .iter()
        .filter(|request| scheduler.place(request).is_some())
        .count()
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decisions");
    group
        .throughput(Throughput::Elements(SERVERS as u64))
        .sample_size(10);
    for (kind, server) in [("plain", plain as fn(usize) -> Value), ("rich", rich)] {
        for hosts in [100, 1_000, 10_000] {
            let (scheduler, requests) = scenario(hosts, server);
            let placed = place_all(scheduler.clone(), &requests);
            assert!(
                placed * 10 > SERVERS * 9,
                "{kind} at {hosts}: only {placed} placed"
            );
            group.bench_function(format!("{kind}/{hosts}"), |bencher| {
                bencher.iter_batched(
                    || scheduler.clone(),
                    |scheduler| black_box(place_all(scheduler, &requests)),
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    group
        .throughput(Throughput::Elements(SERVERS as u64))
        .sample_size(10);
    let fits = scenario(1_000, rich);
    let crowded = scenario(2, plain);
    for (name, (scheduler, requests)) in [("1,000 hosts", fits), ("two hosts, too small", crowded)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || scheduler.clone(),
                |mut scheduler| black_box(scheduler.place_batch(&requests).order.len()),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decisions, batches);
criterion_main!(benches);
