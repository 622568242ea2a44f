//! Batches in plans: dead ends of order, conflicts, room that deletions give back.

use super::super::tests::plan;
use super::super::text::{Style, render};
use super::super::{BlockedBy, Plan, PlanOptions};
use super::moves_tests;
use crate::model::{DesiredFleet, GroupPolicy, ObservedFleet, PlacementHints, RecordedFleet};
use crate::testing::{address, desired, host, observed, with_aggregate, with_group, with_hosts, with_server};
use drover_types::ByteSize;

fn of_memory(mut fleet: DesiredFleet, at: &str, mib: u64) -> DesiredFleet {
    fleet = with_server(fleet, at, None);
    let server = fleet.servers.get_mut(&address(at)).expect("just added");
    server.spec.size.ram = ByteSize::from_mib(mib);
    fleet
}

fn plan_of(fleet: &DesiredFleet, observed: &ObservedFleet) -> Plan {
    plan(fleet, &RecordedFleet::empty(1), observed, &PlanOptions::default())
}

/// Each host offers 6 GiB. In the order of addresses the two small servers go to different hosts, and neither
/// has 4 GiB left twice.
#[test]
fn a_dead_end_of_order_is_avoided_and_said() {
    let mut fleet = with_hosts(desired(), &["n1", "n2"]);
    for (at, mib) in [
        ("server.a", 2500),
        ("server.b", 2500),
        ("server.c", 3600),
        ("server.d", 3600),
    ] {
        fleet = of_memory(fleet, at, mib);
    }
    let even = plan_of(&fleet, &observed(&["n1", "n2"]));
    assert_eq!((even.placements.len(), even.findings.len()), (4, 0));

    let mut fleet = with_hosts(desired(), &["n1", "n2"]);
    for (at, mib) in [
        ("server.a", 3000),
        ("server.b", 3000),
        ("server.c", 4096),
        ("server.d", 2048),
    ] {
        fleet = of_memory(fleet, at, mib);
    }
    let plan = plan_of(&fleet, &observed(&["n1", "n2"]));
    assert_eq!(plan.blocked, []);
    let together =
        |one: &str, other: &str| plan.placements[&address(one)].host == plan.placements[&address(other)].host;
    assert!(together("server.a", "server.b") && together("server.c", "server.d"));
    assert_eq!(
        plan.findings[0].message,
        "in the order of addresses 3 of 4 servers find a host; placed in another (most constrained first), 4 do"
    );
}

#[test]
fn a_server_without_a_host_names_what_conflicts_and_what_would_help() {
    let fleet = with_hosts(desired(), &["n1", "n2", "n3"]);
    let mut fleet = with_group(fleet, "group.web", GroupPolicy::AntiAffinity);
    for index in 0..4 {
        fleet = with_server(fleet, &format!("server.web[{index}]"), Some("group.web"));
    }
    let plan = plan_of(&fleet, &observed(&["n1", "n2", "n3"]));
    assert_eq!(plan.placements.len(), 3);
    let BlockedBy::NoHost { rejections, conflict } = &plan.blocked[0].by else {
        panic!("{:?}", plan.blocked);
    };
    assert_eq!(rejections.len(), 3);
    assert_eq!(conflict, &["ServerGroupAntiAffinityFilter"]);
    assert_eq!(
        plan.blocked[0].hint,
        "it would fit with one less of group group.web on n1, or `group.web` of at most 3 members, or one more host with \
         512 MiB free, 1 GiB of disk, 1 vCPU"
    );
    let text = render(&plan, Style::PLAIN);
    assert!(
        text.contains("      no host passes ServerGroupAntiAffinityFilter\n"),
        "{text}"
    );
}

/// Nothing is repeated for each of thousands.
#[test]
fn ten_thousand_servers_for_two_hosts_are_refused_briefly() {
    let mut fleet = with_hosts(desired(), &["n1", "n2"]);
    for index in 0..10_000 {
        fleet = with_server(fleet, &format!("server.web[{index}]"), None);
    }
    let plan = plan_of(&fleet, &observed(&["n1", "n2"]));
    assert_eq!((plan.placements.len(), plan.blocked.len()), (24, 9_976));
    assert!(
        plan.blocked
            .iter()
            .all(|blocked| blocked.hint.starts_with("it would fit with"))
    );
}

#[test]
fn what_would_help_was_said_for_each_of_several_that_are_alike() {
    let hosts = ["n1", "n2"];
    let mut fleet = with_hosts(desired(), &hosts);
    for (at, memory_mib) in [("a", 9000), ("b", 7000), ("c", 9000), ("d", 7000)] {
        fleet = of_memory(fleet, &format!("server.{at}"), memory_mib);
    }
    let plan = plan_of(&fleet, &observed(&hosts));
    assert_eq!(plan.blocked.len(), 4);
    let headlines = |text: &str, of: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains(of));
        lines.map(str::to_owned).collect()
    };
    let text = render(&plan, Style::PLAIN);
    assert_eq!(
        headlines(&text, "cannot be"),
        [
            "  ! server.a, server.c cannot be created (declared and not there yet)",
            "  ! server.b, server.d cannot be created (declared and not there yet)"
        ]
    );
    assert_eq!(headlines(&text, "hint: ").len(), 2);
    let markdown = crate::plan::render_markdown(&plan);
    let blocked = headlines(&markdown, "are blocked (create): it would fit with");
    assert!(
        blocked[0].starts_with("- :warning: `server.a`, `server.c` are"),
        "{markdown}"
    );
    assert_eq!(blocked.len(), 2, "{markdown}");
}

#[test]
fn aggregates_are_recorded_and_read_by_filters() {
    let hosts = ["n1", "n2", "n3"];
    let mut fleet = with_hosts(desired(), &hosts);
    fleet = with_aggregate(fleet, "aggregate.fast", &["n2", "n3"], ("ssd", "true"));
    fleet = with_aggregate(fleet, "aggregate.full", &["n2"], ("ram_allocation_ratio", "0.1"));
    fleet = with_server(fleet, "server.web", None);
    let server = fleet.servers.get_mut(&address("server.web")).expect("just added");
    server.spec.size.extra_specs =
        [("aggregate_instance_extra_specs:ssd".to_owned(), "true".to_owned())].into();
    fleet
        .scheduler
        .filters
        .extend(["AggregateInstanceExtraSpecsFilter", "AggregateRamFilter"].map(str::to_owned));
    let plan = plan_of(&fleet, &observed(&hosts));
    assert_eq!(plan.placements[&address("server.web")].host, host("n3"));
    let text = render(&plan, Style::PLAIN);
    assert!(text.contains("+ aggregate.fast\n"), "{text}");
    assert_eq!(plan.findings, []);
}

#[test]
fn a_server_goes_where_its_hints_and_its_priority_send_it() {
    let hosts = ["n1", "n2"];
    let mut fleet = with_hosts(desired(), &hosts);
    for at in ["server.a", "server.b", "server.c"] {
        fleet = of_memory(fleet, at, 2500);
    }
    let hints = |fleet: &mut DesiredFleet, at: &str, change: &dyn Fn(&mut PlacementHints)| {
        change(&mut fleet.servers.get_mut(&address(at)).expect("added").spec.hints);
    };
    hints(&mut fleet, "server.a", &|hints| {
        hints.same_host = [address("server.c")].into();
    });
    let plan = plan_of(&fleet, &observed(&hosts));
    assert_eq!(
        plan.findings[0].message,
        "it sets same_host, which SameHostFilter alone looks at when servers are placed, and that is not configured"
    );
    fleet.scheduler.filters.push("SameHostFilter".to_owned());
    let plan = plan_of(&fleet, &observed(&hosts));
    let of = |at: &str| plan.placements[&address(at)].host.clone();
    assert_eq!(of("server.a"), of("server.c"));
    assert_ne!(of("server.a"), of("server.b"));

    // Three of 4 GiB for two hosts of 6 GiB: the last by name comes first.
    let mut fleet = with_hosts(desired(), &hosts);
    for at in ["server.a", "server.b", "server.c"] {
        fleet = of_memory(fleet, at, 4096);
    }
    hints(&mut fleet, "server.c", &|hints| hints.priority = 3);
    let plan = plan_of(&fleet, &observed(&hosts));
    assert!(plan.placements.contains_key(&address("server.c")));
    assert_eq!(plan.placements.len(), 2);
}

#[test]
fn a_group_may_hold_as_many_on_a_host_as_its_rule_says() {
    let fleet = with_hosts(desired(), &["n1", "n2"]);
    let mut fleet = with_group(fleet, "group.web", GroupPolicy::AntiAffinity);
    let group = fleet.groups.get_mut(&address("group.web")).expect("just added");
    group.spec.max_server_per_host = 2;
    for index in 0..5 {
        fleet = with_server(fleet, &format!("server.web[{index}]"), Some("group.web"));
    }
    let plan = plan_of(&fleet, &observed(&["n1", "n2"]));
    assert_eq!((plan.placements.len(), plan.blocked.len()), (4, 1));
}

/// In a fleet too large to be searched as a whole, the hosts that are looked at are those with room, and that of the
/// company that it asks for: there is none for both, so they go elsewhere.
#[test]
fn the_host_of_its_company_is_looked_at_however_full_it_is() {
    let hosts: Vec<String> = (10..40).map(|number| format!("n{number}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let others: Vec<(String, u64)> = (12..40).map(|host| (format!("server.o{host}"), 1024)).collect();
    let mut servers = vec![
        ("server.friend", 2048),
        ("server.big", 4096),
        ("server.lost", 1024),
    ];
    servers.extend(others.iter().map(|(at, mib)| (at.as_str(), *mib)));
    let mut fleet = moves_tests::fleet(&hosts, &servers);
    let mut seats = vec![
        ("server.friend", "n10"),
        ("server.big", "n10"),
        ("server.lost", "n11"),
    ];
    seats.extend(
        others
            .iter()
            .zip(&hosts[2..])
            .map(|((at, _), host)| (at.as_str(), *host)),
    );
    fleet.scheduler.filters.push("SameHostFilter".to_owned());
    let lost = fleet.servers.get_mut(&address("server.lost")).expect("declared");
    lost.spec.hints.same_host = [address("server.friend")].into();
    let world = moves_tests::seated(&fleet, &seats);
    moves_tests::drain(&mut fleet, &["n11"]);
    let moves = moves_tests::moves(&moves_tests::plan_of(&fleet, &world));
    assert_eq!(moves, ["server.friend n10→n12", "server.lost n11→n12"]);
}

/// As real Nova refuses a group whose filter is not configured: who is placed is placed as everything says.
#[test]
fn what_nothing_configured_looks_at_is_told() {
    let told = |change: &dyn Fn(&mut DesiredFleet)| -> Vec<String> {
        let mut fleet = with_hosts(desired(), &["n1", "n2"]);
        for (group, policy) in [
            ("group.apart", GroupPolicy::AntiAffinity),
            ("group.together", GroupPolicy::Affinity),
            ("group.near", GroupPolicy::SoftAffinity),
            ("group.unused", GroupPolicy::SoftAntiAffinity),
        ] {
            fleet = with_group(fleet, group, policy);
        }
        for (server, group) in [("server.a", "group.apart"), ("server.b", "group.together")] {
            fleet = with_server(fleet, server, Some(group));
        }
        change(&mut fleet);
        let plan = plan_of(&fleet, &observed(&["n1", "n2"]));
        let about = |finding: &super::super::Finding| {
            let address = finding.address.as_ref().expect("it is about something");
            format!("{:?} {address}: {}", finding.severity, finding.message)
        };
        plan.findings.iter().map(about).collect()
    };
    assert_eq!(told(&|_| ()), Vec::<String>::new());
    let all = told(&|fleet| {
        fleet.scheduler.filters = vec!["RamFilter".to_owned()];
        let n2 = fleet.hosts.get_mut(&host("n2")).expect("declared");
        n2.spec.state = crate::model::HostState::Disabled;
        let server = fleet.servers.get_mut(&address("server.b")).expect("declared");
        server.spec.availability_zone = Some("nova".to_owned());
    });
    let behind = ", which {} alone looks at when servers are placed, and that is not configured";
    let expected = [
        (
            "Error server.b: it sets availability_zone",
            "AvailabilityZoneFilter",
        ),
        (
            "Error group.apart: its policy is anti-affinity",
            "ServerGroupAntiAffinityFilter",
        ),
        (
            "Error group.together: its policy is affinity",
            "ServerGroupAffinityFilter",
        ),
        ("Error host.n2: its state is disabled", "ComputeFilter"),
    ];
    let expected = expected.map(|(says, filter)| format!("{says}{}", behind.replace("{}", filter)));
    assert_eq!(all, expected);
    let in_texts = told(&|fleet| {
        for (name, key) in [
            ("ratio", "ram_allocation_ratio"),
            ("tenants", "filter_tenant_id2"),
            ("mine", "rack"),
        ] {
            *fleet = with_aggregate(fleet.clone(), &format!("aggregate.{name}"), &["n1"], (key, "1.0"));
        }
        let flavor = fleet.flavors.get_mut(&address("flavor.small")).expect("declared");
        let specs = [
            "aggregate_instance_extra_specs:ssd",
            "trait:HW_CPU_X86_AVX2",
            "quota:cpu_shares",
        ];
        flavor.spec.extra_specs = specs.map(|key| (key.to_owned(), "required".to_owned())).into();
    });
    let lone = "alone looks at, and that is not configured";
    assert_eq!(
        in_texts,
        [
            format!(
                "Warning aggregate.ratio: its metadata sets ram_allocation_ratio, which AggregateRamFilter {lone}"
            ),
            format!(
                "Warning aggregate.tenants: its metadata sets filter_tenant_id2, which AggregateMultiTenancyIsolation \
                 {lone}"
            ),
            format!(
                "Warning flavor.small: its extra_specs have aggregate_instance_extra_specs:ssd, which \
                 AggregateInstanceExtraSpecsFilter {lone}"
            ),
            "Warning flavor.small: its extra_specs have trait:HW_CPU_X86_AVX2, which no filter looks at"
                .to_owned(),
        ]
    );
    let soft = |fleet: &mut DesiredFleet| {
        *fleet = with_server(fleet.clone(), "server.c", Some("group.near"));
    };
    assert_eq!(
        told(&|fleet| soft(fleet)),
        [
            "Warning group.near: its policy is soft-affinity, which the weigher soft_affinity alone looks at, and that \
          has no weight"
        ]
    );
    let weighed = |fleet: &mut DesiredFleet| {
        soft(fleet);
        fleet.scheduler.weights.insert("soft_affinity".to_owned(), 1.0);
    };
    assert_eq!(told(&|fleet| weighed(fleet)), Vec::<String>::new());
    let on_some = told(&|fleet| {
        soft(fleet);
        let metadata = ("soft_affinity_weight_multiplier", "2.0");
        *fleet = with_aggregate(fleet.clone(), "aggregate.some", &["n1"], metadata);
    });
    assert_eq!(on_some, Vec::<String>::new());
}
