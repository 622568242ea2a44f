//! Each step of a plan by itself: 10,000 servers on 1,000 hosts and a quarter of that, everything new and nothing to do.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use drover_core::diff::diff;
use drover_core::model::HostObservation;
use drover_core::plan::json;
use drover_core::plan::text::{Style, render};
use drover_core::plan::{Inputs, Plan, PlanOptions, build, encode, lint, place};
// The fleets of the crate's own tests name these as parts of their crate.
use drover_core::{model, record};
use drover_types::{Address, HostName, Sha256Digest};
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
    /// Ten servers a host, not yet there.
    fn new(hosts: usize) -> Self {
        let names: Vec<String> = (0..hosts).map(|number| format!("n{number:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut desired = testing::with_hosts(testing::desired(), &names);
        for index in 0..hosts * 10 {
            let address = format!("server.s{}[{}]", index / 1_000, index % 1_000);
            desired = testing::with_server(desired, &address, None);
        }
        let observed = roomy(testing::observed(&names));
        let recorded = model::RecordedFleet::empty(1);
        Self {
            desired,
            recorded,
            observed,
        }
    }

    /// The same after its plan was applied.
    fn settled(&self, plan: &Plan) -> Self {
        let seats: Vec<(Address, HostName)> = plan
            .placements
            .iter()
            .map(|(address, placement)| (address.clone(), placement.host.clone()))
            .collect();
        let (recorded, observed) = testing::settled(&self.desired, &seats);
        Self {
            desired: self.desired.clone(),
            recorded,
            observed: roomy(observed),
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

    fn diff(&self) -> drover_core::diff::FleetDiff {
        let options = PlanOptions::default();
        diff(
            &self.desired,
            &self.recorded,
            &self.observed,
            testing::lineage(),
            &options,
        )
    }

    fn plan(&self) -> Plan {
        let found = self.diff();
        let placements = place(&self.inputs(), &found);
        build(&self.inputs(), found, placements, &BTreeMap::new(), Vec::new()).expect("a sound plan")
    }
}

fn roomy(mut observed: model::ObservedFleet) -> model::ObservedFleet {
    for observation in observed.values_mut() {
        if let HostObservation::Reported(inventory) = observation {
            inventory.facts.vcpus = 32;
            inventory.facts.ram_mib = 65_536;
            inventory.facts.disk_mib = 2 << 20;
        }
    }
    observed
}

fn pieces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pieces");
    group.sample_size(10);
    for hosts in [250, 1_000] {
        let fleet = Fleet::new(hosts);
        let servers = hosts * 10;
        let plan = fleet.plan();
        let settled = fleet.settled(&plan);
        let nothing = settled.plan();
        assert!(nothing.is_empty() && plan.placements.len() == servers);

        group.bench_function(format!("diff, {servers} new"), |bencher| {
            bencher.iter(|| black_box(fleet.diff()));
        });
        group.bench_function(format!("diff, {servers} as they should be"), |bencher| {
            bencher.iter(|| black_box(settled.diff()));
        });
        let found = fleet.diff();
        group.bench_function(format!("place {servers}"), |bencher| {
            bencher.iter(|| black_box(place(&fleet.inputs(), &found)));
        });
        group.bench_function(format!("build and lint, {servers} new"), |bencher| {
            bencher.iter_batched(
                || (fleet.diff(), place(&fleet.inputs(), &found)),
                |(found, placements)| {
                    black_box(build(
                        &fleet.inputs(),
                        found,
                        placements,
                        &BTreeMap::new(),
                        Vec::new(),
                    ))
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("lint, {servers} new"), |bencher| {
            bencher.iter(|| {
                black_box(lint(
                    &plan,
                    &fleet.recorded,
                    &fleet.observed,
                    &fleet.desired.scheduler,
                ))
            });
        });
        group.bench_function(format!("text, {servers} new"), |bencher| {
            bencher.iter(|| black_box(render(&plan, Style::PLAIN)));
        });
        group.bench_function(format!("JSON, {servers} new"), |bencher| {
            bencher.iter(|| black_box(json::render(&plan)));
        });
        group.bench_function(format!("plan file, {servers} new"), |bencher| {
            bencher.iter(|| black_box(encode(&plan)));
        });
    }
    group.finish();
}

criterion_group!(benches, pieces);
criterion_main!(benches);
