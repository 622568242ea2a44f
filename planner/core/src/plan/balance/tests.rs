//! Evening out against Ganeti's way of doing it, and against the rules in plain form.

use super::{BalanceLimits, Rebalance, rebalance};
use crate::model::{DesiredFleet, GroupPolicy, HostObservation};
use crate::plan::testing::Fleet;
use crate::plan::{ActionKind, Plan, PlanOptions, Reason, build, place};
use crate::testing::{address, desired, host, with_group, with_hosts, with_server};
use drover_types::{Address, ByteSize, HostName};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const NO_LIMIT: BalanceLimits = BalanceLimits {
    max_moves: usize::MAX,
    threshold: 0.0,
    least_gain: 0.0,
};

/// A sequence of numbers that looks random and is the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The same fleet twice: in plain numbers, and as Drover has it.
pub(super) struct Case {
    /// What each host has: memory in MiB, disk in MiB, processors.
    hosts: Vec<[f64; 3]>,
    sizes: Vec<[f64; 3]>,
    at: Vec<usize>,
    /// Members of one group must be apart.
    groups: Vec<Option<usize>>,
    pub(super) fleet: Fleet,
}

/// As the default ratios have it.
const RATIOS: [f64; 3] = [1.5, 1.0, 16.0];

impl Case {
    /// Servers wherever they fit, so that some hosts are far fuller than others.
    pub(super) fn random(seed: u64) -> Self {
        Self::of_sizes(seed, [8, 30, 4])
    }

    /// The same with so many different sizes of memory, disk and processors.
    pub(super) fn of_sizes(seed: u64, different: [u64; 3]) -> Self {
        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let hosts: Vec<[f64; 3]> = (0..3 + numbers.below(10))
            .map(|_| {
                let ram = [8192.0, 16384.0, 16384.0, 32768.0][numbers.below(4) as usize];
                [
                    ram,
                    102_400.0 * (1 + numbers.below(3)) as f64,
                    2.0 + 2.0 * numbers.below(3) as f64,
                ]
            })
            .collect();
        let groups: Vec<String> = (0..3).map(|group| format!("group.g{group}")).collect();
        let names: Vec<String> = (0..hosts.len()).map(|number| format!("n{number:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut fleet = with_hosts(desired(), &names);
        for group in &groups {
            fleet = with_group(fleet, group, GroupPolicy::AntiAffinity);
        }
        let mut case = Self {
            sizes: Vec::new(),
            at: Vec::new(),
            groups: Vec::new(),
            fleet: Fleet::unapplied(fleet.clone()),
            hosts,
        };
        let mut seats = Vec::new();
        for number in 0..10 + numbers.below(60) {
            let ram = 512.0 * (1 + numbers.below(different[0])) as f64;
            let size = [
                ram,
                1024.0 * (1 + numbers.below(different[1])) as f64,
                (1 + numbers.below(different[2])) as f64,
            ];
            // The first hosts get most.
            let last = 1 + numbers.below(case.hosts.len() as u64);
            let at = numbers.below(last) as usize;
            let group = (numbers.below(4) == 0).then(|| numbers.below(3) as usize);
            case.sizes.push(size);
            case.groups.push(group);
            case.at.push(usize::MAX);
            let server = case.sizes.len() - 1;
            if !case.fits(server, at) {
                case.sizes.pop();
                case.groups.pop();
                case.at.pop();
                continue;
            }
            case.at[server] = at;
            let name = format!("server.s[{number}]");
            let group = group.map(|group| groups[group].as_str());
            fleet = with_server(fleet, &name, group);
            let spec = &mut fleet.servers.get_mut(&address(&name)).expect("added").spec;
            spec.size.ram = ByteSize::from_mib(size[0] as u64);
            spec.size.disk = ByteSize::from_mib(size[1] as u64);
            spec.size.vcpus = size[2] as u32;
            seats.push((address(&name), host(names[at])));
        }
        case.settle(fleet, &seats)
    }

    fn settle(mut self, desired: DesiredFleet, seats: &[(Address, HostName)]) -> Self {
        self.fleet = Fleet::settled(desired, seats);
        for (observation, host) in self.fleet.observed.values_mut().zip(&self.hosts) {
            let HostObservation::Reported(inventory) = observation else {
                panic!("all answer")
            };
            inventory.facts.ram_mib = host[0] as u64;
            inventory.facts.disk_mib = host[1] as u64;
            inventory.facts.vcpus = host[2] as u32;
        }
        self
    }

    fn rebalance(&self, limits: &BalanceLimits) -> Rebalance {
        rebalance(&self.fleet.inputs(), &self.fleet.diff(), limits).expect("fair settings")
    }

    /// The plan that carries it out.
    fn plan(&self, found: &Rebalance) -> Plan {
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
        let diff = self.fleet.diff_with(&options);
        let inputs = self.fleet.inputs();
        let placements = place(&inputs, &diff);
        build(&inputs, diff, placements, &BTreeMap::new(), Vec::new()).expect("a sound plan")
    }

    fn used(&self, host: usize) -> [f64; 3] {
        let mut sum = [0.0; 3];
        for (size, at) in self.sizes.iter().zip(&self.at) {
            if *at == host {
                for of in 0..3 {
                    sum[of] += size[of];
                }
            }
        }
        sum
    }

    /// The rules in plain form: room at the ratios for one that comes, and no other member of its group.
    fn fits(&self, server: usize, to: usize) -> bool {
        let used = self.used(to);
        let size = self.sizes[server];
        let room = (0..3).all(|of| {
            size[of] <= self.hosts[to][of] && used[of] + size[of] <= self.hosts[to][of] * RATIOS[of]
        });
        let apart = self.groups[server].is_none_or(|group| {
            let mut others = (0..self.at.len()).filter(|other| *other != server && self.at[*other] == to);
            others.all(|other| self.groups[other] != Some(group))
        });
        room && apart
    }

    /// The sum of the standard deviations of the shares, in percent.
    fn imbalance(&self) -> f64 {
        let count = self.hosts.len() as f64;
        (0..3)
            .map(|of| {
                let shares: Vec<f64> = (0..self.hosts.len())
                    .map(|host| self.used(host)[of] / (self.hosts[host][of] * RATIOS[of]) * 100.0)
                    .collect();
                let mean = shares.iter().sum::<f64>() / count;
                let squares = shares.iter().map(|share| (share - mean) * (share - mean));
                (squares.sum::<f64>() / count).sqrt()
            })
            .sum()
    }

    fn mib(&self, server: usize) -> u64 {
        (self.sizes[server][0] + self.sizes[server][1]) as u64
    }

    /// As Ganeti's hbal: of all moves of one server the one that leaves the lowest score, until none lowers it.
    fn hbal(&mut self, most: usize) -> (u64, usize) {
        let mut moved = 0;
        for step in 0..most {
            let now = self.imbalance();
            let mut best: Option<(f64, usize, usize)> = None;
            for server in 0..self.sizes.len() {
                let from = self.at[server];
                for to in (0..self.hosts.len()).filter(|to| *to != from) {
                    if !self.fits(server, to) {
                        continue;
                    }
                    self.at[server] = to;
                    let score = self.imbalance();
                    self.at[server] = from;
                    if score < now - 1e-9 && best.is_none_or(|(least, ..)| score < least - 1e-9) {
                        best = Some((score, server, to));
                    }
                }
            }
            let Some((_, server, to)) = best else {
                return (moved, step);
            };
            self.at[server] = to;
            moved += self.mib(server);
        }
        (moved, most)
    }

    /// Carries moves out one after another by the plain rules.
    fn carry_out(&mut self, found: &Rebalance) -> u64 {
        let servers: Vec<Address> = self.fleet.desired.servers.keys().cloned().collect();
        let hosts: Vec<HostName> = self.fleet.desired.hosts.keys().cloned().collect();
        // Addresses are in the order of their numbers; those that did not fit have none.
        let position: BTreeMap<Address, usize> = servers.into_iter().zip(0..).collect();
        let mut moved = 0;
        for request in &found.moves {
            let server = position[&request.address];
            let wanted = request.to.as_ref().expect("every move says where to");
            let to = hosts.iter().position(|host| host == wanted).expect("a host");
            assert_ne!(self.at[server], to);
            assert!(self.fits(server, to), "{} to {wanted}", request.address);
            self.at[server] = to;
            moved += self.mib(server);
        }
        moved
    }
}

#[test]
fn no_less_even_than_hbal_for_no_more_gigabytes_and_mostly_for_far_fewer() {
    let (mut ours, mut theirs, mut cheaper) = (0, 0, 0);
    for seed in 0..60 {
        let found = Case::random(seed).rebalance(&NO_LIMIT);
        let mut case = Case::random(seed);
        let moved = case.carry_out(&found);
        let mut peer = Case::random(seed);
        let (peer_moved, _) = peer.hbal(usize::MAX);
        let (score, peer_score) = (case.imbalance(), peer.imbalance());
        assert!(
            score <= peer_score + 1e-6,
            "seed {seed}: {score} is above {peer_score}"
        );
        assert!(moved <= peer_moved, "seed {seed}: {moved} MiB, hbal {peer_moved}");
        assert_eq!(found.balance.moved_mib, moved);
        assert!((found.balance.after - score).abs() < 0.01, "seed {seed}");
        ours += moved;
        theirs += peer_moved;
        cheaper += usize::from(moved < peer_moved);
    }
    assert!(cheaper >= 40, "cheaper in {cheaper} of 60");
    assert!(ours * 10 <= theirs * 9, "{ours} MiB, hbal {theirs}");
}

#[test]
fn with_few_moves_no_less_even_than_hbal_either() {
    for seed in 100..120 {
        for most in [1, 3, 6] {
            let limits = BalanceLimits {
                max_moves: most,
                ..NO_LIMIT
            };
            let found = Case::random(seed).rebalance(&limits);
            assert!(found.moves.len() <= most);
            let mut case = Case::random(seed);
            let moved = case.carry_out(&found);
            let mut peer = Case::random(seed);
            let (peer_moved, _) = peer.hbal(most);
            assert!(
                case.imbalance() <= peer.imbalance() + 1e-6,
                "seed {seed}, {most} moves"
            );
            assert!(moved <= peer_moved, "seed {seed}, {most} moves");
        }
    }
}

#[test]
fn the_plan_moves_as_was_found_and_nothing_else() {
    for seed in 200..230 {
        let case = Case::random(seed);
        let found = case.rebalance(&NO_LIMIT);
        let plan = case.plan(&found);
        assert_eq!(plan.blocked, Vec::new());
        let moves: BTreeSet<(Address, HostName)> = plan
            .actions
            .iter()
            .filter_map(|action| match &action.kind {
                ActionKind::Migrate { to, .. } => {
                    assert_eq!(action.why, Reason::Balances);
                    Some((action.address.clone(), to.clone()))
                }
                ActionKind::EnsureImage { .. } | ActionKind::DeleteImage { .. } => None,
                other => panic!("seed {seed}: {}", other.verb()),
            })
            .collect();
        let wanted: BTreeSet<(Address, HostName)> = found
            .moves
            .iter()
            .map(|request| (request.address.clone(), request.to.clone().expect("where to")))
            .collect();
        assert_eq!(moves, wanted, "seed {seed}");
        assert_eq!(plan.balance, Some(found.balance));
    }
}

#[test]
fn an_even_fleet_is_left_alone_and_the_threshold_ends_it() {
    let mut stopped = 0;
    for seed in 300..320 {
        let case = Case::random(seed);
        let before = case.imbalance();
        let alone = BalanceLimits {
            threshold: before + 0.1,
            ..NO_LIMIT
        };
        assert_eq!(case.rebalance(&alone).moves, Vec::new());
        let all = case.rebalance(&NO_LIMIT);
        let half = BalanceLimits {
            threshold: (before + all.balance.after) / 2.0,
            ..NO_LIMIT
        };
        let found = case.rebalance(&half);
        assert!(found.balance.after <= half.threshold + 0.01);
        assert!(found.balance.moved_mib <= all.balance.moved_mib);
        stopped += usize::from(found.balance.moved_mib < all.balance.moved_mib);
    }
    assert!(stopped > 10, "{stopped}");
}

#[test]
fn a_move_that_gains_too_little_is_not_made() {
    for seed in 400..410 {
        let case = Case::random(seed);
        let limits = BalanceLimits {
            least_gain: 1e6,
            ..NO_LIMIT
        };
        assert_eq!(case.rebalance(&limits).moves, Vec::new());
    }
}

#[test]
fn who_must_be_with_another_is_not_taken_from_it() {
    let names = ["n1", "n2"];
    let mut fleet = with_hosts(desired(), &names);
    fleet.scheduler.filters.push("SameHostFilter".to_owned());
    let mut seats = Vec::new();
    for number in 0..4 {
        let name = format!("server.s[{number}]");
        fleet = with_server(fleet, &name, None);
        seats.push((address(&name), host("n1")));
    }
    // Both of the first two want the third beside them.
    for number in 0..2 {
        let name = address(&format!("server.s[{number}]"));
        let hints = &mut fleet.servers.get_mut(&name).expect("added").spec.hints;
        hints.same_host = [address("server.s[2]")].into();
    }
    let case = Case {
        hosts: vec![[4096.0, 102_400.0, 4.0]; 2],
        sizes: Vec::new(),
        at: Vec::new(),
        groups: Vec::new(),
        fleet: Fleet::settled(fleet, &seats),
    };
    let found = case.rebalance(&NO_LIMIT);
    let moved: Vec<String> = found
        .moves
        .iter()
        .map(|request| request.address.to_string())
        .collect();
    assert_eq!(moved, ["server.s[3]"]);
}
