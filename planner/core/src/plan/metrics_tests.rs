//! Metrics of hosts in plans: they say where new servers go where that is asked for, and nothing else ever.

use super::tests::plan;
use super::{BlockedBy, Inputs, Plan, PlanOptions, encode, export};
use crate::diff::diff;
use crate::model::{
    DesiredFleet, HostObservation, MetricsSettings, ObservedFleet, RecordedFleet, SavedInventory,
};
use crate::testing::{address, desired, host, lineage, observed, settled, with_hosts, with_server};
use drover_types::{CpuMetric, MetricName, Sha256Digest};

/// Hosts of which each is busy to so many percent; one without a number measures nothing.
fn busy(hosts: &[(&str, Option<f64>)]) -> ObservedFleet {
    let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
    let mut fleet = observed(&names);
    for (name, percent) in hosts {
        set(&mut fleet, name, *percent);
    }
    fleet
}

fn set(fleet: &mut ObservedFleet, name: &str, percent: Option<f64>) {
    let Some(HostObservation::Reported(inventory)) = fleet.get_mut(&host(name)) else {
        panic!("{name} is there");
    };
    inventory.metrics = percent
        .map(|percent| {
            let value = percent.try_into().expect("a percentage is a metric");
            (MetricName::from(CpuMetric::Percent), value)
        })
        .into_iter()
        .collect();
}

/// One server for two hosts, of which the less busy is better. One that does not say how busy it is has this weight;
/// where none is given, it gets no server.
fn fleet(weight_of_unavailable: Option<f64>) -> DesiredFleet {
    let mut fleet = with_server(with_hosts(desired(), &["n1", "n2"]), "server.web", None);
    fleet.scheduler.weights = [("metrics".to_owned(), 1.0)].into();
    let metrics = &mut fleet.scheduler.metrics;
    metrics.weight_setting = [(MetricName::from(CpuMetric::Percent), -1.0)].into();
    metrics.required = weight_of_unavailable.is_none();
    metrics.weight_of_unavailable = weight_of_unavailable.unwrap_or(metrics.weight_of_unavailable);
    fleet
}

fn planned(fleet: &DesiredFleet, observed: &ObservedFleet) -> Plan {
    let options = PlanOptions {
        explain: true,
        ..PlanOptions::default()
    };
    plan(fleet, &RecordedFleet::empty(1), observed, &options)
}

fn host_of(plan: &Plan) -> String {
    plan.placements[&address("server.web")].host.to_string()
}

/// Per host that was refused, the filter and why.
fn refused(plan: &Plan) -> Vec<String> {
    let placed = plan
        .placements
        .values()
        .flat_map(|placement| &placement.rejections);
    let blocked = plan.blocked.iter().flat_map(|blocked| match &blocked.by {
        BlockedBy::NoHost { rejections, .. } => rejections,
        other => panic!("{other:?}"),
    });
    placed
        .chain(blocked)
        .map(|refusal| format!("{} {}: {}", refusal.host, refusal.filter, refusal.why))
        .collect()
}

#[test]
fn the_less_busy_host_is_chosen_where_the_weigher_asks() {
    let observed = busy(&[("n1", Some(80.0)), ("n2", Some(20.0))]);
    let weighed = planned(&fleet(None), &observed);
    assert_eq!(host_of(&weighed), "n2");
    assert_eq!(
        weighed.placements[&address("server.web")].weights,
        [(host("n2"), 1.0), (host("n1"), 0.0)]
    );
    // Without the weigher its settings mean nothing.
    let mut by_memory = fleet(None);
    by_memory.scheduler.weights = [("ram".to_owned(), 1.0)].into();
    assert_eq!(host_of(&planned(&by_memory, &observed)), "n1");
    // With nothing to look at all hosts are equal, as in Nova.
    let mut nothing = fleet(None);
    nothing.scheduler.metrics = MetricsSettings::default();
    nothing.scheduler.filters.push("MetricsFilter".to_owned());
    assert_eq!(host_of(&planned(&nothing, &observed)), "n1");
}

#[test]
fn a_host_that_measures_nothing_is_refused_or_comes_last() {
    let observed = busy(&[("n1", None), ("n2", Some(90.0))]);
    let required = planned(&fleet(None), &observed);
    assert_eq!(host_of(&required), "n2");
    let lacks = ["n1 MetricsFilter: does not measure cpu.percent"];
    assert_eq!(refused(&required), lacks);

    let last = planned(&fleet(Some(-10_000.0)), &observed);
    assert_eq!((host_of(&last), refused(&last)), ("n2".to_owned(), Vec::new()));
    let first = planned(&fleet(Some(0.0)), &observed);
    assert_eq!(host_of(&first), "n1", "0 is above -90");

    // Asked for by name, the filter refuses whatever is required.
    let mut filtered = fleet(Some(0.0));
    filtered.scheduler.filters.push("MetricsFilter".to_owned());
    let filtered = planned(&filtered, &observed);
    assert_eq!(
        (host_of(&filtered), refused(&filtered)),
        ("n2".to_owned(), lacks.map(str::to_owned).into())
    );

    let nowhere = planned(&fleet(None), &busy(&[("n1", None), ("n2", None)]));
    assert_eq!(nowhere.placements.len(), 0);
    assert_eq!(
        refused(&nowhere),
        ["n1", "n2"].map(|host| format!("{host} MetricsFilter: does not measure cpu.percent"))
    );
}

#[test]
fn other_metrics_alone_change_nothing_of_a_plan() {
    let mut fleet = fleet(None);
    let seat = [(address("server.web"), host("n1"))];
    let (recorded, mut observed) = settled(&fleet, &seat);
    let bytes = |fleet: &DesiredFleet, observed: &ObservedFleet| {
        encode(&plan(fleet, &recorded, observed, &PlanOptions::default()))
    };
    let options = PlanOptions::default();
    let settled_plan = plan(&fleet, &recorded, &observed, &options);
    assert_eq!((settled_plan.actions.len(), settled_plan.drift.len()), (0, 0));
    let before = bytes(&fleet, &observed);
    for percents in [[Some(99.0), Some(1.0)], [None, Some(50.0)], [None, None]] {
        set(&mut observed, "n1", percents[0]);
        set(&mut observed, "n2", percents[1]);
        assert_eq!(bytes(&fleet, &observed), before, "{percents:?}");
    }

    // Where something is placed and nobody weighs by them, neither.
    fleet.scheduler.weights = [("ram".to_owned(), 1.0)].into();
    let fleet = with_server(fleet, "server.more", None);
    let before = bytes(&fleet, &observed);
    set(&mut observed, "n2", Some(99.0));
    assert_eq!(bytes(&fleet, &observed), before);
}

#[test]
fn a_saved_inventory_gives_the_same_plan() {
    // Not every double is as short in text as it looks.
    let observed = busy(&[("n1", Some(0.1 + 0.2)), ("n2", Some(1e16 / 3.0))]);
    let fleet = fleet(None);
    let saved = SavedInventory {
        fleet: fleet.fleet.clone(),
        taken: "2026-01-02T03:04:05Z".to_owned(),
        drover_version: "0.1.0".to_owned(),
        hosts: observed.clone(),
    };
    let read = SavedInventory::decode(&saved.encode(), &fleet.fleet).expect("an inventory");
    assert_eq!(read, saved);
    assert_eq!(planned(&fleet, &read.hosts), planned(&fleet, &observed));
}

#[test]
fn an_exported_fleet_has_the_metrics_and_what_is_made_of_them() {
    let fleet = fleet(None);
    let recorded = RecordedFleet::empty(1);
    let observed = busy(&[("n1", None), ("n2", Some(20.0))]);
    let inputs = Inputs {
        desired: &fleet,
        recorded: &recorded,
        observed: &observed,
        lineage: lineage(),
        drover_version: "0.1.0",
        config_digest: Sha256Digest::of(b"files"),
    };
    let diff = diff(&fleet, &recorded, &observed, lineage(), &PlanOptions::default());
    let scenario = export(&inputs, &diff).expect("fair settings");
    let measured: Vec<Vec<(&str, f64)>> = scenario
        .hosts
        .iter()
        .map(|host| {
            host.metrics
                .iter()
                .map(|(name, value)| (name.as_str(), *value))
                .collect()
        })
        .collect();
    assert_eq!(measured, [vec![], vec![("cpu.percent", 20.0)]]);
    assert_eq!(scenario.config.weights["metrics"], 1.0);
    assert_eq!(scenario.config.metrics.weight_setting["cpu.percent"], -1.0);
    assert_eq!(scenario.config.metrics.weight_of_unavailable, -10_000.0);
    // The form has no word for what is required: the filter says it.
    assert_eq!(
        scenario.config.filters.last().map(String::as_str),
        Some("MetricsFilter")
    );
}
