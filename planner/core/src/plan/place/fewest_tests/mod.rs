//! Whole plans of small fleets against brute force: as few migrations as there can be, every order of them valid.

mod carry_out;
mod case;
mod newcomers;

use super::super::ActionKind;
use super::moves_tests::moves;
use crate::model::GroupPolicy;
use carry_out::carry_out;
use case::{Case, OFFERED_MIB, Server};
use drover_numa::CellUse;
use drover_types::OperationId;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn case() -> impl Strategy<Value = Case> {
    let named = prop::collection::btree_set(0..5_usize, 1..=2);
    // How many processors of its own, and from which on.
    let own = prop_oneof![2 => Just((0, 0)), 1 => (1..=2_u32, 0..4_u32)];
    let server = (0..4_usize, 1..=4_u64, 0..8_u8, named, 0..16_u8, 0..10_u64, own);
    let policy = prop_oneof![Just(GroupPolicy::AntiAffinity), Just(GroupPolicy::Affinity)];
    let drained = prop_oneof![Just(0_u8), 1..15_u8];
    let servers = prop::collection::vec(server, 1..=5);
    (3..=4_usize, servers, drained, policy).prop_map(|(hosts, asked, drained, policy)| {
        let mut free = [OFFERED_MIB; 4];
        let mut taken: [BTreeSet<u32>; 4] = Default::default();
        let mut servers: Vec<Server> = Vec::new();
        let mut named = Vec::new();
        for (on, gib, luck, others, asks, grows, (count, first)) in asked {
            let (on, mib) = (on % hosts, gib * 1024);
            let own: BTreeSet<u32> = (first..first + count).collect();
            // All in one cell.
            let apart = own.iter().any(|cpu| cpu / 2 != first / 2);
            if free[on] < mib || apart || !own.is_disjoint(&taken[on]) {
                continue;
            }
            free[on] -= mib;
            taken[on].extend(&own);
            let pinned = CellUse {
                cell: first / 2,
                pinned: own,
                memory_mib: mib,
                ..CellUse::default()
            };
            servers.push(Server {
                on,
                mib,
                // One that is pinned has its later cells only after it has come.
                grows_mib: if grows < 2 && mib < 4096 && count == 0 {
                    1024
                } else {
                    0
                },
                zone: match asks {
                    0 | 1 => Some("left"),
                    2 | 3 => Some("right"),
                    _ => None,
                },
                is_member: matches!(asks, 3..=7),
                with: BTreeSet::new(),
                without: BTreeSet::new(),
                after: BTreeSet::new(),
                goes: false,
                pinned: if count == 0 { Vec::new() } else { vec![pinned] },
            });
            named.push((luck, others));
        }
        let count = servers.len();
        for (number, (luck, others)) in named.into_iter().enumerate() {
            let others = others
                .into_iter()
                .filter(|other| *other < count && *other != number);
            // A third of them name others.
            match luck {
                7 => servers[number].with = others.collect(),
                5 | 6 => servers[number].without = others.collect(),
                _ => {}
            }
        }
        Case {
            hosts,
            servers,
            drained: (0..hosts).map(|host| drained & (1 << host) != 0).collect(),
            policy,
        }
    })
}

impl Case {
    /// That the plan has as few migrations as brute force finds, and this order of it is valid.
    fn check(&self, seed: u64) -> Result<(), TestCaseError> {
        let plan = self.plan();
        let Some(fewest) = self.brute_force() else {
            prop_assert!(!plan.blocked.is_empty());
            return Ok(());
        };
        prop_assert!(plan.blocked.is_empty(), "brute force finds {}", fewest);
        prop_assert_eq!(moves(&plan).len(), fewest, "{:?}", moves(&plan));
        let at = carry_out(self, &plan, seed)?;
        prop_assert!(
            self.in_order(&at) && at.iter().all(|place| place.grown),
            "{:?}",
            at
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Drains, zones, groups and sizes together take as few migrations as brute force finds, where servers name
    /// others too; and whatever order the plan is carried out in, every rule holds at every step.
    #[test]
    fn plans_have_the_fewest_migrations(case in case(), seed in any::<u64>()) {
        case.check(seed)?;
    }
}

/// A server of so many MiB on one of the hosts, and how much it grows.
fn server(on: usize, mib: u64, grows_mib: u64) -> Server {
    Server {
        on,
        mib,
        grows_mib,
        zone: None,
        is_member: false,
        with: BTreeSet::new(),
        without: BTreeSet::new(),
        after: BTreeSet::new(),
        goes: false,
        pinned: Vec::new(),
    }
}

fn case_of(hosts: usize, servers: Vec<Server>) -> Case {
    Case {
        hosts,
        servers,
        drained: vec![false; hosts],
        policy: GroupPolicy::AntiAffinity,
    }
}

/// The plan's migrations, after many of the orders that it allows were found valid.
fn proven(case: &Case) -> Vec<String> {
    for seed in 0..50 {
        case.check(seed).expect("it is as brute force finds it");
    }
    moves(&case.plan())
}

/// Both fit beside each other, and one does not want to be where the other is: nor does the other come to it.
#[test]
fn nobody_comes_to_one_who_shuns_them() {
    let mut shy = server(2, 1024, 0);
    shy.without = [3].into();
    let others = [server(0, 1024, 0), server(0, 1024, 0), server(2, 1024, 0)];
    let mut case = case_of(3, [shy].into_iter().chain(others).collect());
    case.drained[2] = true;
    assert_eq!(proven(&case), ["server.s0 n3→n2", "server.s3 n3→n1"]);
}

/// One leaves for its zone; the room that it leaves is enough for the other to grow.
#[test]
fn one_move_is_enough_for_another_to_grow() {
    let mut case = case_of(
        3,
        vec![server(0, 2048, 0), server(0, 3072, 1024), server(0, 1024, 0)],
    );
    case.servers[0].zone = Some("right");
    assert_eq!(proven(&case), ["server.s0 n1→n3"]);
}

/// A member of an affinity group goes where members stay, not to one that has yet to leave.
#[test]
fn nobody_joins_a_member_that_leaves() {
    let mut case = case_of(
        4,
        vec![server(2, 1024, 0), server(3, 1024, 0), server(0, 1024, 0)],
    );
    case.policy = GroupPolicy::Affinity;
    case.servers.iter_mut().for_each(|server| server.is_member = true);
    case.servers[2].zone = Some("right");
    assert_eq!(proven(&case), ["server.s1 n4→n3", "server.s2 n1→n3"]);
}

/// The only host with room for the one that is drained is that of two that grow: they grow, or leave, once it came.
#[test]
fn growth_leaves_its_room_to_moves_first() {
    let mut case = case_of(
        3,
        vec![
            server(0, 1024, 1024),
            server(2, 4096, 0),
            server(0, 1024, 1024),
            server(0, 1024, 0),
        ],
    );
    case.drained[2] = true;
    case.servers[1].with = [0].into();
    (2..4).for_each(|member| case.servers[member].is_member = true);
    assert_eq!(proven(&case).len(), 3);
}

/// Of a new affinity group one member is blocked, and is recorded as no member: that others come to it is no mistake.
#[test]
fn a_member_may_come_to_one_that_is_blocked() {
    let servers = vec![
        server(2, 3072, 1024),
        server(0, 1024, 1024),
        server(2, 1024, 1024),
        server(0, 2048, 0),
    ];
    let mut case = case_of(3, servers);
    case.policy = GroupPolicy::Affinity;
    for (member, zone) in [(0, Some("right")), (1, None), (3, Some("right"))] {
        case.servers[member].is_member = true;
        case.servers[member].zone = zone;
    }
    case.servers[2].zone = Some("left");
    assert_eq!(proven(&case), ["server.s2 n3→n2", "server.s3 n1→n3"]);
}

/// Two cells have one processor free each, and one who wants two comes: another makes room in one of them.
#[test]
fn a_cell_is_cleared_for_one_who_needs_all_of_it() {
    let mut case = case_of(
        3,
        vec![server(0, 1024, 0), server(0, 1024, 0), server(1, 1024, 0)],
    );
    for (number, first, count) in [(0, 0, 1), (1, 2, 1), (2, 0, 2)] {
        case.servers[number].pinned = vec![CellUse {
            cell: first / 2,
            pinned: (first..first + count).collect(),
            memory_mib: 1024,
            ..CellUse::default()
        }];
    }
    case.servers[0].zone = Some("left");
    case.servers[2].with = [0].into();
    case.drained[1] = true;
    assert_eq!(proven(&case), ["server.s1 n1→n3", "server.s2 n2→n1"]);
}

/// Two come to a member that stays: neither waits for the other.
#[test]
fn who_comes_to_one_that_stays_waits_for_nobody() {
    let mut case = case_of(
        4,
        vec![server(2, 1024, 0), server(3, 1024, 0), server(0, 1024, 0)],
    );
    case.policy = GroupPolicy::Affinity;
    case.servers.iter_mut().for_each(|server| server.is_member = true);
    assert_eq!(proven(&case).len(), 2);
    let plan = case.plan();
    let migrations: BTreeSet<OperationId> = plan
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::Migrate { .. }))
        .map(|action| action.id)
        .collect();
    let mut waits = plan
        .actions
        .iter()
        .filter(|action| migrations.contains(&action.id));
    assert!(waits.all(|action| action.depends_on.iter().all(|id| !migrations.contains(id))));
}
