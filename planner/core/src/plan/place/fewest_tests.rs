//! Whole plans of small fleets against brute force: as few migrations as there can be, every order of them valid.

use super::super::tests::plan;
use super::super::{ActionKind, Plan, PlanOptions};
use super::moves_tests::{drain, fleet, moves, resize, seated};
use crate::model::GroupPolicy;
use crate::testing::{address, host, with_group};
use drover_types::OperationId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const HOSTS: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// What each host offers.
const OFFERED_MIB: u64 = 6144;

/// The zones of hosts.
const ZONES: [&str; 4] = ["left", "left", "right", "right"];

#[derive(Debug, Clone)]
struct Server {
    on: usize,
    mib: u64,
    /// How much more it is to have.
    grows_mib: u64,
    zone: Option<&'static str>,
    is_member: bool,
    with: BTreeSet<usize>,
    without: BTreeSet<usize>,
}

/// Servers of a fleet, and what is asked of it: hosts drained, zones named, one group declared, sizes changed.
#[derive(Debug, Clone)]
struct Case {
    hosts: usize,
    servers: Vec<Server>,
    drained: Vec<bool>,
    policy: GroupPolicy,
}

/// Where a server is, and whether it has its later size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    host: usize,
    grown: bool,
}

impl Case {
    fn first(&self) -> Vec<Place> {
        let servers = self.servers.iter();
        servers
            .map(|server| Place {
                host: server.on,
                grown: server.grows_mib == 0,
            })
            .collect()
    }

    fn used(&self, at: &[Place], on: usize) -> u64 {
        let here = self.servers.iter().zip(at).filter(|(_, at)| at.host == on);
        here.map(|(server, place)| server.mib + if place.grown { server.grows_mib } else { 0 })
            .sum()
    }

    /// What the move of a server to a host breaks for good, with everybody where they are, if anything.
    fn is_wrong_at(&self, at: &[Place], server: usize, to: usize) -> Option<&'static str> {
        let it = &self.servers[server];
        let is_there = |other: &usize| at[*other].host == to;
        let members: Vec<usize> = (0..at.len())
            .filter(|other| it.is_member && self.servers[*other].is_member && *other != server)
            .collect();
        let near = members.iter().any(is_there);
        let group = match self.policy {
            GroupPolicy::AntiAffinity => !near,
            GroupPolicy::Affinity => near || members.is_empty(),
            GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity => true,
        };
        [
            ("active", !self.drained[to]),
            ("zone", it.zone.is_none_or(|zone| zone == ZONES[to])),
            ("company", it.with.is_empty() || it.with.iter().any(is_there)),
            ("apart", !it.without.iter().any(is_there)),
            ("group", group),
        ]
        .into_iter()
        .find_map(|(what, holds)| (!holds).then_some(what))
    }

    fn may(&self, at: &[Place], server: usize, to: usize) -> bool {
        let it = &self.servers[server];
        let size = it.mib + it.grows_mib;
        // No server is promised more than there is at once, whatever the ratio.
        let fits = size <= 4096 && self.used(at, to) + size <= OFFERED_MIB;
        at[server].host != to && fits && self.is_wrong_at(at, server, to).is_none()
    }

    fn in_order(&self, at: &[Place]) -> bool {
        let mut grown = at.to_vec();
        grown.iter_mut().for_each(|place| place.grown = true);
        let stays_well = |server: usize| {
            let (it, host) = (&self.servers[server], at[server].host);
            !self.drained[host] && it.zone.is_none_or(|zone| zone == ZONES[host])
        };
        let members = (0..at.len()).filter(|server| self.servers[*server].is_member);
        let of_group: Vec<usize> = members.map(|server| at[server].host).collect();
        let hosts: BTreeSet<usize> = of_group.iter().copied().collect();
        let group = match self.policy {
            GroupPolicy::AntiAffinity => hosts.len() == of_group.len(),
            GroupPolicy::Affinity => hosts.len() <= 1,
            GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity => true,
        };
        let room = (0..self.hosts).all(|host| {
            self.used(&grown, host) <= OFFERED_MIB || self.used(&grown, host) == self.used(at, host)
        });
        (0..at.len()).all(stays_well) && group && room
    }

    /// The fewest moves that bring everything in order, by looking at every state there is.
    fn brute_force(&self) -> Option<usize> {
        let first = self.first();
        let mut seen = BTreeSet::from([first.clone()]);
        let mut queue = VecDeque::from([(first, 0)]);
        while let Some((at, moves)) = queue.pop_front() {
            if self.in_order(&at) {
                return Some(moves);
            }
            for server in 0..at.len() {
                for to in (0..self.hosts).filter(|to| self.may(&at, server, *to)) {
                    let mut next = at.clone();
                    next[server] = Place {
                        host: to,
                        grown: true,
                    };
                    if seen.insert(next.clone()) {
                        queue.push_back((next, moves + 1));
                    }
                }
            }
        }
        None
    }

    fn plan(&self) -> Plan {
        let name = |number: usize| format!("server.s{number}");
        let names: Vec<String> = (0..self.servers.len()).map(name).collect();
        let sizes: Vec<(&str, u64)> = names
            .iter()
            .zip(&self.servers)
            .map(|(name, server)| (name.as_str(), server.mib))
            .collect();
        let mut fleet = fleet(&HOSTS[..self.hosts], &sizes);
        for (name, zone) in HOSTS.iter().zip(ZONES).take(self.hosts) {
            let declared = fleet.hosts.get_mut(&host(name)).expect("declared");
            declared.spec.availability_zone = Some(zone.to_owned());
        }
        let filters = ["SameHostFilter", "DifferentHostFilter"];
        fleet.scheduler.filters.extend(filters.map(str::to_owned));
        let seats: Vec<(&str, &str)> = names
            .iter()
            .zip(&self.servers)
            .map(|(name, server)| (name.as_str(), HOSTS[server.on]))
            .collect();
        let (recorded, observed) = seated(&fleet, &seats);
        fleet = with_group(fleet, "group.g", self.policy);
        for (at, server) in names.iter().zip(&self.servers) {
            let declared = fleet.servers.get_mut(&address(at)).expect("declared");
            let named = |of: &BTreeSet<usize>| of.iter().map(|other| address(&names[*other])).collect();
            declared.spec.hints.same_host = named(&server.with);
            declared.spec.hints.different_host = named(&server.without);
            declared.spec.availability_zone = server.zone.map(str::to_owned);
            declared.spec.group = server.is_member.then(|| address("group.g"));
            resize(&mut fleet, at, server.mib + server.grows_mib);
        }
        let drained: Vec<&str> = (0..self.hosts)
            .filter(|at| self.drained[*at])
            .map(|at| HOSTS[at])
            .collect();
        drain(&mut fleet, &drained);
        plan(&fleet, &recorded, &observed, &PlanOptions::default())
    }
}

/// One thing that a plan does: a server moves, or grows where it is then.
struct Deed {
    id: OperationId,
    after: Vec<OperationId>,
    server: usize,
    to: Option<usize>,
}

fn deeds(plan: &Plan) -> Vec<Deed> {
    let number = |name: &str| HOSTS.iter().position(|host| *host == name).expect("a host");
    let actions = plan.actions.iter().filter_map(|action| {
        let to = match &action.kind {
            ActionKind::Migrate { to, .. } => Some(number(to.as_str())),
            ActionKind::UpdateServer { .. } => None,
            _ => return None,
        };
        Some(Deed {
            id: action.id,
            after: action.depends_on.clone(),
            server: action.address.to_string()["server.s".len()..]
                .parse()
                .expect("a number"),
            to,
        })
    });
    actions.collect()
}

/// Carries a plan out in one of the orders that it allows, several things at once: each move takes its room on both
/// hosts while it lasts, is in the way on both of those that want it far away, and is company on none.
fn carry_out(case: &Case, plan: &Plan, mut dice: u64) -> Result<Vec<Place>, TestCaseError> {
    let all = deeds(plan);
    let position: BTreeMap<OperationId, usize> = all.iter().map(|deed| deed.id).zip(0..).collect();
    let mut at = case.first();
    let mut begun = BTreeSet::new();
    let mut done = BTreeSet::new();
    while done.len() < all.len() {
        let may_end = (0..all.len()).filter(|one| begun.contains(one) && !done.contains(one));
        let may_begin = (0..all.len()).filter(|one| {
            let mut waits = all[*one].after.iter().filter_map(|id| position.get(id));
            !begun.contains(one) && waits.all(|before| done.contains(before))
        });
        let ready: Vec<usize> = may_end.chain(may_begin).collect();
        prop_assert!(!ready.is_empty());
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let one = ready[(dice >> 33) as usize % ready.len()];
        let Deed { server, to, .. } = all[one];
        if !begun.insert(one) {
            done.insert(one);
            if let Some(to) = to {
                at[server].host = to;
            }
            continue;
        }
        let shown = (server, to, moves(plan));
        // Others that are under way: where they are already, and where they still are.
        let under_way =
            (0..all.len()).filter(|deed| begun.contains(deed) && !done.contains(deed) && *deed != one);
        let mut arrived = at.clone();
        for deed in under_way {
            if let Some(to) = all[deed].to {
                arrived[all[deed].server].host = to;
            }
        }
        let on_both = |at: &[Place], host: usize| {
            let coming =
                (0..at.len()).filter(|other| at[*other].host != host && arrived[*other].host == host);
            let coming: u64 = coming
                .map(|other| {
                    let it = &case.servers[other];
                    it.mib + if at[other].grown { it.grows_mib } else { 0 }
                })
                .sum();
            case.used(at, host) + coming
        };
        let Some(to) = to else {
            at[server].grown = true;
            prop_assert!(
                on_both(&at, at[server].host) <= OFFERED_MIB,
                "growth: {:?}",
                shown
            );
            continue;
        };
        let it = &case.servers[server];
        let size = it.mib + if at[server].grown { it.grows_mib } else { 0 };
        prop_assert!(on_both(&at, to) + size <= OFFERED_MIB, "room: {:?}", shown);
        for seen in [&at, &arrived] {
            let wrong = case.is_wrong_at(seen, server, to);
            prop_assert!(wrong.is_none(), "{:?}: {:?}", wrong, shown);
        }
    }
    Ok(at)
}

fn case() -> impl Strategy<Value = Case> {
    let named = prop::collection::btree_set(0..5_usize, 1..=2);
    let server = (0..4_usize, 1..=4_u64, 0..8_u8, named, 0..16_u8, 0..10_u64);
    let policy = prop_oneof![Just(GroupPolicy::AntiAffinity), Just(GroupPolicy::Affinity)];
    let drained = prop_oneof![Just(0_u8), 1..15_u8];
    let servers = prop::collection::vec(server, 1..=5);
    (3..=4_usize, servers, drained, policy).prop_map(|(hosts, servers, drained, policy)| {
        let mut free = [OFFERED_MIB; 4];
        let mut found = Vec::new();
        for (on, gib, luck, named, asks, grows) in servers {
            let (on, mib) = (on % hosts, gib * 1024);
            if free[on] >= mib {
                free[on] -= mib;
                found.push((on, mib, luck, named, asks, grows));
            }
        }
        let count = found.len();
        let servers = found
            .into_iter()
            .enumerate()
            .map(|(number, (on, mib, luck, named, asks, grows))| {
                let named: BTreeSet<usize> = named
                    .into_iter()
                    .filter(|other| *other < count && *other != number)
                    .collect();
                // A third of them name others; some ask for a zone, are in the group, or grow.
                let given = |wanted: bool| if wanted { named.clone() } else { BTreeSet::new() };
                Server {
                    on,
                    mib,
                    grows_mib: if grows < 2 && mib < 4096 { 1024 } else { 0 },
                    zone: match asks {
                        0 | 1 => Some("left"),
                        2 | 3 => Some("right"),
                        _ => None,
                    },
                    is_member: matches!(asks, 3..=7),
                    with: given(luck == 7),
                    without: given(luck == 5 || luck == 6),
                }
            });
        Case {
            hosts,
            servers: servers.collect(),
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

/// Both fit beside each other, and one does not want to come where the other is: it comes first.
#[test]
fn who_shuns_another_comes_before_it() {
    let mut shy = server(2, 1024, 0);
    shy.without = [3].into();
    let others = [server(0, 1024, 0), server(0, 1024, 0), server(2, 1024, 0)];
    let mut case = case_of(3, [shy].into_iter().chain(others).collect());
    case.drained[2] = true;
    assert_eq!(proven(&case), ["server.s0 n3→n2", "server.s3 n3→n2"]);
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

/// A member that others have come to leaves once they are there, and comes back.
#[test]
fn a_group_is_together_around_one_that_comes_back() {
    let servers = vec![
        server(2, 1024, 1024),
        server(3, 1024, 1024),
        server(0, 1024, 1024),
    ];
    let mut case = case_of(4, servers);
    case.policy = GroupPolicy::Affinity;
    for server in &mut case.servers {
        server.is_member = true;
        server.zone = Some("right");
    }
    case.servers[1].without = [0].into();
    case.servers[2].without = [1].into();
    assert_eq!(proven(&case).len(), 4);
}
