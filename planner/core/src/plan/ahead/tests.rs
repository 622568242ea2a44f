//! Capacity, the loss of hosts and the policy, on fleets built in code.

use super::{Moment, Newcomers, Standing, capacity, losses};
use crate::model::{DesiredFleet, GroupPolicy, Strictness};
use crate::placement::{Name, Request, Scheduler};
use crate::plan::place::Placements;
use crate::plan::testing::Fleet;
use crate::plan::world::{name_of, parts};
use crate::plan::{PlanMode, Severity, place};
use crate::testing::{address, desired, host, with_group, with_hosts, with_server};
use drover_types::{Address, ByteSize, HostName};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

fn placed(fleet: &Fleet) -> Placements {
    place(&fleet.inputs(), &fleet.diff())
}

/// So many servers of `ram_mib` on each of the hosts, by their names.
fn filled(hosts: &[(&str, usize)], ram_mib: u64) -> (DesiredFleet, Vec<(Address, HostName)>) {
    let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
    let mut fleet = with_hosts(desired(), &names);
    let small = fleet
        .flavors
        .get_mut(&address("flavor.small"))
        .expect("it is there");
    small.spec.ram = ByteSize::from_mib(ram_mib);
    let mut seats = Vec::new();
    for (name, servers) in hosts {
        for index in 0..*servers {
            let at = format!("server.{name}[{index}]");
            fleet = with_server(fleet, &at, None);
            seats.push((address(&at), host(name)));
        }
    }
    (fleet, seats)
}

#[test]
fn capacity_counts_by_zone_and_says_what_stops_it() {
    let (mut fleet, seats) = filled(&[("n1", 3), ("n2", 0), ("n3", 0)], 1024);
    for name in ["n2", "n3"] {
        let spec = &mut fleet.hosts.get_mut(&host(name)).expect("declared").spec;
        spec.availability_zone = Some("rack-2".to_owned());
    }
    fleet.hosts.get_mut(&host("n3")).expect("declared").spec.state = crate::model::HostState::Disabled;
    let fleet = Fleet::settled(fleet, &seats);
    let rooms = capacity(&mut fleet.standing(), &fleet.inputs(), |_| true);
    let [room] = &rooms[..] else { panic!("{rooms:?}") };
    // 4 GiB at 1.5 hold six of 1 GiB.
    assert_eq!(room.more, 9);
    assert_eq!(
        room.zones,
        [("nova".to_owned(), 3), ("rack-2".to_owned(), 6)].into()
    );
    assert_eq!(room.hosts, [(host("n1"), 3), (host("n2"), 6)].into());
    let stopped_by = [("RamFilter".to_owned(), 2), ("ComputeFilter".to_owned(), 1)];
    assert_eq!(room.stopped_by, stopped_by.into());
    assert_eq!(
        capacity(&mut fleet.standing(), &fleet.inputs(), |_| false),
        Vec::new()
    );
}

#[test]
fn capacity_after_an_apply_leaves_out_what_the_apply_takes() {
    let (fleet, _) = filled(&[("n1", 4)], 1024);
    let fleet = Fleet::unapplied(fleet);
    let now = capacity(&mut fleet.standing(), &fleet.inputs(), |_| true);
    let placed = placed(&fleet);
    let mut after = Standing::new(
        &fleet.inputs(),
        &fleet.diff(),
        Moment::After(&placed),
        Newcomers::LeftOut,
    )
    .expect("fair settings");
    let after = capacity(&mut after, &fleet.inputs(), |_| true);
    assert_eq!((now[0].more, after[0].more), (6, 2));
}

#[test]
fn a_host_whose_servers_fit_elsewhere_may_be_lost() {
    let (fleet, seats) = filled(&[("n1", 3), ("n2", 3)], 1024);
    let fleet = Fleet::settled(fleet, &seats);
    let losses = losses(&mut fleet.standing());
    assert_eq!(losses.len(), 2);
    assert!(
        losses
            .iter()
            .all(|loss| loss.servers == 3 && loss.stranded.is_empty())
    );
}

#[test]
fn who_fits_nowhere_else_is_named_with_the_reason() {
    let (fleet, seats) = filled(&[("n1", 3), ("n2", 4)], 1024);
    let fleet = Fleet::settled(fleet, &seats);
    let losses = losses(&mut fleet.standing());
    let stranded: Vec<String> = losses
        .iter()
        .flat_map(|loss| &loss.stranded)
        .map(ToString::to_string)
        .collect();
    insta::assert_snapshot!(stranded.join("\n"), @r"
    server.n1[2]: RamFilter refuses 1 host; nearest is n2 (RAM wants 1 GiB, 0 MiB of 4 GiB × 1.5 left)
    server.n2[3]: RamFilter refuses 1 host; nearest is n1 (RAM wants 1 GiB, 0 MiB of 4 GiB × 1.5 left)
    ");
    assert_eq!(
        losses.iter().map(|loss| loss.stranded.len()).collect::<Vec<_>>(),
        [1, 1]
    );
}

#[test]
fn members_that_must_be_apart_cannot_share_what_is_left() {
    let fleet = with_group(
        with_hosts(desired(), &["n1", "n2"]),
        "group.web",
        GroupPolicy::AntiAffinity,
    );
    let fleet = with_server(fleet, "server.a", Some("group.web"));
    let fleet = with_server(fleet, "server.b", Some("group.web"));
    let seats = [
        (address("server.a"), host("n1")),
        (address("server.b"), host("n2")),
    ];
    let fleet = Fleet::settled(fleet, &seats);
    let losses = losses(&mut fleet.standing());
    assert!(
        losses
            .iter()
            .all(|loss| loss.stranded.len() == 1 && loss.stranded[0].even_alone)
    );
    let said = &losses[0].stranded[0].refused_by;
    assert_eq!(said, &[("ServerGroupAntiAffinityFilter".to_owned(), 1)].into());
}

#[test]
fn the_policy_looks_at_the_fleet_as_the_plan_leaves_it() {
    let (mut fleet, _) = filled(&[("n1", 3), ("n2", 4)], 1024);
    let mut broken = |strictness: Strictness, servers: usize, mode: PlanMode| {
        fleet.policy.n_plus_one = strictness;
        let mut fleet = fleet.clone();
        let first: Vec<Address> = fleet.servers.keys().take(servers).cloned().collect();
        fleet.servers.retain(|address, _| first.contains(address));
        let fleet = Fleet::unapplied(fleet);
        let mut differences = fleet.diff();
        differences.options.mode = mode;
        let placed = place(&fleet.inputs(), &differences);
        let warned = placed
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Warning);
        (warned.count(), placed.refused.len())
    };
    // Seven of 1 GiB on two hosts that hold six each: whichever is lost, one fits nowhere.
    assert_eq!(broken(Strictness::Off, 7, PlanMode::Apply), (0, 0));
    assert_eq!(broken(Strictness::Warning, 7, PlanMode::Apply), (2, 0));
    assert_eq!(broken(Strictness::Error, 7, PlanMode::Apply), (0, 2));
    assert_eq!(broken(Strictness::Error, 6, PlanMode::Apply), (0, 0));
    assert_eq!(broken(Strictness::Error, 7, PlanMode::Destroy), (0, 0));
}

/// The scheduler of the fleet without one host, all others' servers on it, and the servers of that host.
fn without(fleet: &Fleet, lost: &HostName) -> (Scheduler, Vec<Request>) {
    let standing = fleet.standing();
    let differences = fleet.diff();
    let (parts, _) = parts(&fleet.inputs(), &differences);
    let hosts = parts.hosts.into_iter().filter(|host| host.name != name_of(lost));
    let mut config = parts.config;
    config.filters.retain(|filter| !filter.is_for_newcomers());
    let mut scheduler = Scheduler::new(config, hosts.collect(), &[], parts.groups).expect("fair settings");
    let mut homeless = Vec::new();
    for seated in standing.servers.values() {
        if seated.host == *lost {
            homeless.push(seated.request.clone());
        } else {
            let host = name_of(&seated.host);
            scheduler
                .force(&host, &seated.request)
                .expect("one of the other hosts");
        }
    }
    (scheduler, homeless)
}

/// The best that any sequence of placements comes to: how many of each priority find a host, the highest first, and
/// their memory.
fn brute_force(scheduler: &mut Scheduler, homeless: &[Request]) -> (Vec<usize>, u64) {
    type At = Vec<Option<Name>>;
    fn descend(scheduler: &mut Scheduler, homeless: &[Request], at: &mut At, seen: &mut BTreeSet<At>) {
        if !seen.insert(at.clone()) {
            return;
        }
        for number in 0..homeless.len() {
            if at[number].is_some() {
                continue;
            }
            let verdicts = scheduler.explain(&homeless[number]).hosts;
            for verdict in verdicts.into_iter().filter(|verdict| verdict.passed()) {
                let host = verdict.host;
                scheduler
                    .force(&host, &homeless[number])
                    .expect("one of its hosts");
                at[number] = Some(host.clone());
                descend(scheduler, homeless, at, seen);
                at[number] = None;
                scheduler
                    .release(&host, &homeless[number])
                    .expect("one of its hosts");
            }
        }
    }
    let mut seen = BTreeSet::new();
    descend(scheduler, homeless, &mut vec![None; homeless.len()], &mut seen);
    let worth = |at: &At| {
        let placed = homeless.iter().zip(at).filter(|(_, host)| host.is_some());
        worth(homeless, placed.map(|(request, _)| request))
    };
    seen.iter().map(worth).max().expect("the first arrangement")
}

fn worth<'r>(homeless: &[Request], placed: impl Iterator<Item = &'r Request>) -> (Vec<usize>, u64) {
    let priorities = homeless.iter().map(|request| (Reverse(request.priority), 0));
    let mut counts: BTreeMap<Reverse<i64>, usize> = priorities.collect();
    let mut memory = 0;
    for request in placed {
        *counts.entry(Reverse(request.priority)).or_insert(0) += 1;
        memory += request.wants.ram_mib;
    }
    (counts.into_values().collect(), memory)
}

/// Four hosts of 6 GiB; servers of one to four GiB in groups or none, of two priorities, some of which name another,
/// wherever they fit.
fn full_fleet(servers: Vec<(u64, usize, usize, bool, usize)>) -> Fleet {
    let names = ["n1", "n2", "n3", "n4"];
    let mut fleet = with_hosts(desired(), &names);
    let filters = ["SameHostFilter", "DifferentHostFilter"];
    fleet.scheduler.filters.extend(filters.map(str::to_owned));
    fleet = with_group(fleet, "group.apart", GroupPolicy::AntiAffinity);
    fleet = with_group(fleet, "group.together", GroupPolicy::Affinity);
    let mut seats: Vec<(Address, HostName)> = Vec::new();
    let mut left = [6_u64; 4];
    let mut apart = BTreeSet::new();
    let mut together = None;
    for (number, (gib, at, group, urgent, names_one)) in servers.into_iter().enumerate() {
        if left[at] < gib
            || (group == 1 && !apart.insert(at))
            || (group == 2 && *together.get_or_insert(at) != at)
        {
            continue;
        }
        left[at] -= gib;
        let name = format!("server.s[{number}]");
        fleet = with_server(
            fleet,
            &name,
            [None, Some("group.apart"), Some("group.together")][group],
        );
        let server = fleet.servers.get_mut(&address(&name)).expect("just added");
        server.spec.size.ram = ByteSize::from_gib(gib);
        server.spec.hints.priority = i32::from(urgent);
        let others: Vec<&Address> = seats.iter().map(|(other, _)| other).collect();
        let other = (!others.is_empty()).then(|| others[number % others.len()].clone());
        match names_one {
            0 => server.spec.hints.same_host = other.into_iter().collect(),
            1 => server.spec.hints.different_host = other.into_iter().collect(),
            _ => {}
        }
        seats.push((address(&name), host(names[at])));
    }
    Fleet::settled(fleet, &seats)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Those left behind are as few of the highest priority as can be, then of the next, and the smaller ones; and it
    /// is said of whoever would have come first.
    #[test]
    fn a_loss_leaves_as_few_behind_as_there_can_be(
        servers in proptest::collection::vec((1_u64..5, 0_usize..4, 0_usize..3, proptest::bool::weighted(0.25), 0_usize..12), 1..14),
    ) {
        let fleet = full_fleet(servers);
        let mut standing = fleet.standing();
        let found = losses(&mut standing);
        prop_assert_eq!(&found, &losses(&mut standing), "looking changed something");
        for loss in found {
            let (mut rest, homeless) = without(&fleet, &loss.host);
            prop_assert_eq!(loss.servers, homeless.len());
            let stranded: BTreeSet<Name> = loss.stranded.iter().map(|one| name_of(&one.server)).collect();
            let placed = homeless.iter().filter(|request| !stranded.contains(&request.name));
            let best = brute_force(&mut rest, &homeless);
            prop_assert_eq!(worth(&homeless, placed), best, "{}: {:?}", loss.host, loss.stranded);
        }
    }
}

/// Of 3, 2 and 1 GiB the largest would go first and fill the other host: two are saved without it, and that is said.
#[test]
fn who_is_left_behind_for_others_says_so() {
    let mut fleet = with_hosts(desired(), &["n1", "n2"]);
    let mut seats = Vec::new();
    for (name, gib, at) in [("a", 3, "n1"), ("b", 2, "n1"), ("c", 1, "n1"), ("z", 3, "n2")] {
        let name = format!("server.{name}");
        fleet = with_server(fleet, &name, None);
        let server = fleet.servers.get_mut(&address(&name)).expect("just added");
        server.spec.size.ram = ByteSize::from_gib(gib);
        seats.push((address(&name), host(at)));
    }
    let found = losses(&mut Fleet::settled(fleet, &seats).standing());
    let stranded: Vec<String> = found[0].stranded.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(stranded.join("\n"), @"server.a: RamFilter refuses 1 host; nearest is n2 (RAM wants 3 GiB, 0 MiB of 4 GiB × 1.5 left); it gave way so that more servers fit: server.b, server.c came in");
    assert!(!found[0].stranded[0].even_alone);
}

#[test]
fn a_thousand_hosts_are_looked_at_in_seconds() {
    let names: Vec<String> = (0..1000).map(|number| format!("n{number:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let counts: Vec<(&str, usize)> = names.iter().map(|name| (*name, 10)).collect();
    for ram_mib in [256, 600] {
        let (fleet, seats) = filled(&counts, ram_mib);
        let fleet = Fleet::settled(fleet, &seats);
        let mut standing = fleet.standing();
        let room = capacity(&mut standing, &fleet.inputs(), |_| true);
        let losses = losses(&mut standing);
        assert!(room[0].more < 20_000);
        // Of 6 GiB nothing is left for an eleventh server of 600 MiB anywhere.
        let stranded: usize = losses.iter().map(|loss| loss.stranded.len()).sum();
        assert_eq!(stranded, if ram_mib == 600 { 10_000 } else { 0 });
    }
}
