//! Looking ahead and evening out, on large fleets: how long capacity, the loss of each host and a rebalancing take.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use drover_core::diff::diff;
use drover_core::model::HostObservation;
use drover_core::plan::ahead::{Moment, Newcomers, Standing, capacity, losses};
use drover_core::plan::{BalanceLimits, Inputs, PlanOptions, build, place, rebalance};
// The fleets of the crate's own tests name these as parts of their crate.
use drover_core::{model, record};
use drover_types::{Address, ByteSize, HostName, Sha256Digest};
use std::collections::BTreeMap;
use std::hint::black_box;

#[allow(dead_code, reason = "tests build more kinds of fleets")]
#[path = "../src/testing.rs"]
mod testing;

struct Fleet {
    desired: model::DesiredFleet,
    recorded: model::RecordedFleet,
    observed: model::ObservedFleet,
}

impl Fleet {
    /// Ten servers a host on average, of mixed sizes; from host to host between none and twenty.
    fn new(hosts: usize) -> Self {
        let names: Vec<String> = (0..hosts).map(|number| format!("n{number:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut desired = testing::with_hosts(testing::desired(), &names);
        let mut seats: Vec<(Address, HostName)> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            for index in 0..at * 7919 % 21 {
                let address = testing::address(&format!("server.h{at}[{index}]"));
                desired = testing::with_server(desired, &address.to_string(), None);
                let server = desired.servers.get_mut(&address).expect("just added");
                server.spec.size.ram = ByteSize::from_mib(512 << (index % 4));
                server.spec.size.disk = ByteSize::from_gib(10 + 10 * (index as u64 % 3));
                server.spec.size.vcpus = 1 + index as u32 % 4;
                seats.push((address, testing::host(name)));
            }
        }
        let (recorded, mut observed) = testing::settled(&desired, &seats);
        for observation in observed.values_mut() {
            if let HostObservation::Reported(inventory) = observation {
                inventory.facts.vcpus = 32;
                inventory.facts.ram_mib = 65_536;
                inventory.facts.disk_mib = 2 << 20;
            }
        }
        Self {
            desired,
            recorded,
            observed,
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            desired: &self.desired,
            recorded: &self.recorded,
            observed: &self.observed,
            lineage: testing::lineage(),
            drover_version: "0.1.0",
            config_digest: Sha256Digest::of(b"files"),
        }
    }
}

fn look_ahead(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ahead");
    group.sample_size(10);
    for hosts in [1_000, 4_000] {
        let fleet = Fleet::new(hosts);
        let options = PlanOptions::default();
        let lineage = testing::lineage();
        let found = diff(
            &fleet.desired,
            &fleet.recorded,
            &fleet.observed,
            lineage,
            &options,
        );
        let standing = || {
            Standing::new(&fleet.inputs(), &found, Moment::Now, Newcomers::LeftOut).expect("fair settings")
        };
        group.bench_function(format!("capacity of {hosts} hosts"), |bencher| {
            bencher.iter_batched(
                standing,
                |mut standing| black_box(capacity(&mut standing, &fleet.inputs(), |_| true)),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("loss of each of {hosts} hosts"), |bencher| {
            bencher.iter_batched(
                standing,
                |mut standing| black_box(losses(&mut standing)),
                BatchSize::PerIteration,
            );
        });
        let limits = BalanceLimits {
            max_moves: usize::MAX,
            threshold: 1.0,
            least_gain: 0.5,
        };
        group.bench_function(format!("rebalancing of {hosts} hosts"), |bencher| {
            bencher.iter(|| black_box(rebalance(&fleet.inputs(), &found, &limits).expect("fair settings")));
        });
        let found = rebalance(&fleet.inputs(), &found, &limits).expect("fair settings");
        let options = PlanOptions {
            targets: found
                .moves
                .iter()
                .map(|request| request.address.clone())
                .collect(),
            migrate: found.moves.clone(),
            balance: Some(found.balance.clone()),
            ..PlanOptions::default()
        };
        group.bench_function(format!("plan of the rebalancing of {hosts} hosts"), |bencher| {
            bencher.iter(|| {
                let inputs = fleet.inputs();
                let found = diff(
                    inputs.desired,
                    inputs.recorded,
                    inputs.observed,
                    lineage,
                    &options,
                );
                let placements = place(&inputs, &found);
                black_box(
                    build(&inputs, found, placements, &BTreeMap::new(), Vec::new()).expect("a sound plan"),
                )
            });
        });
        println!(
            "{hosts} hosts, {} servers: imbalance {} -> {} in {} moves",
            fleet.desired.servers.len(),
            found.balance.before,
            found.balance.after,
            found.moves.len()
        );
    }
    group.finish();
}

criterion_group!(benches, look_ahead);
criterion_main!(benches);
