//! Every decision recorded from the real Nova scheduler is met: hosts passed, first rejecting filter, all failing
//! filters, weigher values, totals (exactly), ties and the choice.

use drover_core::placement::scenario::Scenario;
use drover_core::placement::{DecisionRecord, Name, Profile, Remedy};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    scenario: Scenario,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    legacy: Recorded,
    modern: Option<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    decisions: Vec<DecisionRecord>,
}

fn vectors() -> Vec<Vector> {
    let vectors: Vectors = serde_json::from_str(include_str!("data/nova-vectors.json"))
        .expect("the recorded vectors are readable");
    assert_eq!(vectors.vectors.len(), 100);
    vectors.vectors
}

/// Weigher to host to raw and normalised value, as doubles: JSON may write 1 or 1.0.
type Values<'a> = BTreeMap<&'a str, BTreeMap<&'a str, [Option<f64>; 2]>>;

fn values(decision: &DecisionRecord) -> Option<Values<'_>> {
    Some(
        decision
            .weighers
            .as_ref()?
            .iter()
            .map(|(weigher, hosts)| {
                let hosts = hosts
                    .iter()
                    .map(|(host, [raw, normalised])| (host.as_str(), [raw.as_f64(), normalised.as_f64()]))
                    .collect();
                (weigher.as_str(), hosts)
            })
            .collect(),
    )
}

#[test]
fn all_legacy_decisions_are_novas() {
    let mut decisions = 0;
    for vector in vectors() {
        let ours = vector.scenario.simulate(Profile::Legacy).unwrap();
        let name = &vector.scenario.name;
        assert_eq!(ours.len(), vector.expected.legacy.decisions.len(), "{name}");
        for (ours, novas) in ours.iter().zip(&vector.expected.legacy.decisions) {
            decisions += 1;
            let server = &novas.server;
            assert_eq!(ours.server, novas.server, "{name}");
            assert_eq!(ours.passed, novas.passed, "{name} {server}: passed");
            assert_eq!(
                ours.rejected_by, novas.rejected_by,
                "{name} {server}: rejected_by"
            );
            assert_eq!(
                ours.failing_filters, novas.failing_filters,
                "{name} {server}: failing_filters"
            );
            assert_eq!(values(ours), values(novas), "{name} {server}: weighers");
            assert_eq!(ours.weights, novas.weights, "{name} {server}: weights");
            assert_eq!(ours.top, novas.top, "{name} {server}: top");
            assert_eq!(ours.chosen, novas.chosen, "{name} {server}: chosen");
        }
    }
    assert_eq!(decisions, 1_744);
}

#[test]
fn all_modern_decisions_are_novas() {
    let mut decisions = 0;
    for vector in vectors() {
        let Some(modern) = vector.expected.modern else {
            continue;
        };
        let name = &vector.scenario.name;
        let ours = vector.scenario.simulate(Profile::Modern).unwrap();
        assert_eq!(ours.len(), modern.decisions.len(), "{name}");
        for (ours, novas) in ours.iter().zip(&modern.decisions) {
            decisions += 1;
            let server = &novas.server;
            assert_eq!(ours.server, novas.server, "{name}");
            assert_eq!(ours.passed, novas.passed, "{name} {server}: passed");
            assert_eq!(
                ours.rejected_by, novas.rejected_by,
                "{name} {server}: rejected_by"
            );
            assert_eq!(ours.weights, novas.weights, "{name} {server}: weights");
            assert_eq!(ours.top, novas.top, "{name} {server}: top");
            assert_eq!(ours.chosen, novas.chosen, "{name} {server}: chosen");
        }
    }
    assert_eq!(decisions, 1_672);
}

/// What is said to make a server fit does: of every server without a host in every recorded scenario, and of some that
/// ask for what no new host can have.
#[test]
fn one_more_host_as_it_is_described_takes_the_server() {
    let mut helped = 0;
    for vector in vectors() {
        let mut scenario = json!(vector.scenario);
        let with = |scenario: &Value| Scenario::parse(&scenario.to_string()).expect("a scenario");
        let (start, requests) = with(&scenario).load(Profile::Legacy).expect("valid");
        for (at, request) in requests.iter().enumerate() {
            let Some(conflict) = start.conflict(request) else {
                continue;
            };
            let described = conflict.remedies.iter().find_map(|remedy| match remedy {
                Remedy::AnotherHost {
                    zone,
                    free,
                    extra_specs,
                    image,
                    ..
                } => Some((zone, free, extra_specs.is_empty() && image.is_empty())),
                _ => None,
            });
            let Some((zone, free, true)) = described else {
                continue;
            };
            let zone = zone.as_ref().map(ToString::to_string);
            let host = json!({
                "name": "one-more", "vcpus": free.vcpus, "ram_mb": free.ram_mib,
                "disk_gb": free.disk_mib.div_ceil(1024), "az": zone,
                "cpu_ratio": 1.0, "ram_ratio": 1.0, "disk_ratio": 1.0,
            });
            let hosts = scenario["hosts"].as_array_mut().expect("a list");
            hosts.push(host);
            let (with_it, again) = with(&scenario).load(Profile::Legacy).expect("valid");
            let refusals = with_it
                .refusals(&Name::from("one-more"), &again[at])
                .expect("a host");
            assert_eq!(refusals.len(), 0, "{}: {conflict}: {refusals:?}", request.name);
            scenario["hosts"].as_array_mut().expect("a list").pop();
            helped += 1;
        }
    }
    assert!(helped > 50, "{helped}");
}
