//! Decisions per second of the placement engine, single-threaded, at several numbers of hosts.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use requests::{SERVERS, place_all, plain, rich, scenario};
use serde_json::Value;
use std::hint::black_box;

#[path = "shared/requests.rs"]
mod requests;

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
