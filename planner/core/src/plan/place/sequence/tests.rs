//! The search against brute force on small fleets, and its steps against the rules in plain form.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// The rules once more, without any of the search's bookkeeping: sums over who is where.
mod plain {
    use super::*;

    /// Where a server is, and whether it has moved, which gave it its later size.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) struct Place {
        pub(super) host: usize,
        pub(super) moved: bool,
    }

    pub(super) fn first(problem: &Problem) -> Vec<Place> {
        let servers = problem.servers.iter();
        servers
            .map(|server| Place {
                host: server.at,
                moved: false,
            })
            .collect()
    }

    fn used(problem: &Problem, at: &[Place], host: usize) -> Amount {
        let mut sum = [0.0; 3];
        for (server, here) in problem.servers.iter().zip(at) {
            if here.host == host {
                add(&mut sum, if here.moved { &server.then } else { &server.now });
            }
        }
        sum
    }

    fn total(problem: &Problem, host: usize) -> Amount {
        let mut total = used(problem, &first(problem), host);
        add(&mut total, &problem.hosts[host].free);
        total
    }

    fn members<'a>(
        problem: &'a Problem,
        at: &'a [Place],
        group: usize,
    ) -> impl Iterator<Item = (usize, usize)> + 'a {
        (0..at.len())
            .filter(move |server| problem.servers[*server].group == Some(group))
            .map(|server| (server, at[server].host))
    }

    pub(super) fn may(problem: &Problem, at: &[Place], server: usize, to: usize) -> bool {
        let it = &problem.servers[server];
        if !it.movable || at[server].host == to || !it.may[to] || !fits(&it.then, &problem.hosts[to].largest)
        {
            return false;
        }
        let is_there = |other: &usize| at[*other].host == to;
        let alone = it.with.as_ref().is_some_and(|with| !with.iter().any(is_there));
        if alone || it.without.iter().any(is_there) {
            return false;
        }
        let mut during = used(problem, at, to);
        add(&mut during, &it.then);
        if !fits(&during, &total(problem, to)) {
            return false;
        }
        it.group.is_none_or(|group| {
            let others: Vec<usize> = members(problem, at, group)
                .filter(|(member, _)| *member != server)
                .map(|(_, host)| host)
                .collect();
            let there = others.iter().filter(|host| **host == to).count();
            match problem.groups[group] {
                Policy::Apart(limit) => there < limit,
                Policy::Together => others.is_empty() || there > 0,
            }
        })
    }

    pub(super) fn in_order(problem: &Problem, at: &[Place]) -> bool {
        let placed = problem
            .servers
            .iter()
            .zip(at)
            .all(|(server, place)| !server.movable || server.may[place.host]);
        let grown = (0..problem.hosts.len()).all(|host| {
            let mut more = [0.0; 3];
            for (server, here) in problem.servers.iter().zip(at) {
                if here.host == host && !here.moved {
                    add(&mut more, &difference(&server.then, &server.now));
                }
            }
            let grows = more.iter().any(|amount| *amount > 0.0);
            add(&mut more, &used(problem, at, host));
            !grows || fits(&more, &total(problem, host))
        });
        let groups = problem.groups.iter().enumerate().all(|(group, policy)| {
            let hosts: Vec<usize> = members(problem, at, group).map(|(_, host)| host).collect();
            match policy {
                Policy::Apart(limit) => hosts
                    .iter()
                    .all(|host| hosts.iter().filter(|other| *other == host).count() <= *limit),
                Policy::Together => hosts.windows(2).all(|pair| pair[0] == pair[1]),
            }
        });
        placed && grown && groups
    }
}

/// The fewest moves by looking at every state there is, nearest first.
fn brute_force(problem: &Problem) -> Option<usize> {
    let first = plain::first(problem);
    let mut seen = BTreeSet::from([first.clone()]);
    let mut queue = VecDeque::from([(first, 0)]);
    while let Some((at, moves)) = queue.pop_front() {
        if plain::in_order(problem, &at) {
            return Some(moves);
        }
        for server in 0..at.len() {
            for to in 0..problem.hosts.len() {
                if plain::may(problem, &at, server, to) {
                    let mut next = at.clone();
                    next[server] = plain::Place {
                        host: to,
                        moved: true,
                    };
                    if seen.insert(next.clone()) {
                        queue.push_back((next, moves + 1));
                    }
                }
            }
        }
    }
    None
}

fn problem() -> impl Strategy<Value = Problem> {
    let sizes = (1..=4_u32, 0..=2_u32);
    let server = (
        0..4_usize,
        sizes,
        prop::bits::u8::between(0, 4),
        0..4_usize,
        0..10_u32,
    );
    let group = prop_oneof![
        Just(Policy::Apart(1)),
        Just(Policy::Apart(2)),
        Just(Policy::Together)
    ];
    (
        2..=4_usize,
        prop::collection::vec(server, 1..=5),
        prop::collection::vec(group, 2),
        prop::collection::vec(0..=6_u32, 4),
    )
        .prop_map(|(hosts, servers, groups, free)| {
            let others = servers.len();
            Problem {
                hosts: (0..hosts)
                    .map(|host| Host {
                        free: [f64::from(free[host]), 100.0, f64::INFINITY],
                        devices: None,
                        largest: [6.0, 100.0, f64::INFINITY],
                    })
                    .collect(),
                servers: servers
                    .into_iter()
                    .map(|(at, (size, grows), forbidden, group, luck)| {
                        let grows = if luck < 3 { grows } else { 0 };
                        Server {
                            at: at % hosts,
                            now: [f64::from(size), 1.0, 1.0],
                            then: [f64::from(size + grows), 1.0, 1.0],
                            // About a third of the hosts are closed to it.
                            may: (0..hosts)
                                .map(|host| luck < 4 || forbidden & (1 << host) == 0)
                                .collect(),
                            group: (group < 2).then_some(group),
                            movable: luck != 9,
                            cells: None,
                            // One in five wants the company of another, or none of it.
                            with: (luck == 7).then(|| vec![usize::from(forbidden) % others]),
                            without: if luck == 8 {
                                vec![usize::from(forbidden) % others]
                            } else {
                                Vec::new()
                            },
                        }
                    })
                    .collect(),
                groups,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// As few moves as brute force finds, and none where there is none; every step keeps every rule; and so does every
    /// order of the steps that their waits allow.
    #[test]
    fn the_fewest_moves_and_every_step_valid(problem in problem(), seed in any::<u64>()) {
        let answer = solve(&problem, u64::MAX);
        let Some(fewest) = brute_force(&problem) else {
            prop_assert_eq!(answer, Answer::Nothing { proven: true });
            return Ok(());
        };
        let Answer::Steps { steps } = answer else {
            return Err(TestCaseError::fail(format!("brute force finds {fewest} moves")));
        };
        prop_assert_eq!(steps.len(), fewest);

        let Waits { steps: waits, growths } = problem.waits(&steps);
        let mut at = plain::first(&problem);
        let mut done = vec![false; steps.len()];
        let mut dice = seed;
        // Steps in any order that the waits allow.
        for _ in 0..steps.len() {
            let ready: Vec<usize> = (0..steps.len())
                .filter(|step| !done[*step] && waits[*step].iter().all(|before| done[*before]))
                .collect();
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let step = ready[(dice >> 33) as usize % ready.len()];
            prop_assert_eq!(at[steps[step].server].host, steps[step].from);
            prop_assert!(plain::may(&problem, &at, steps[step].server, steps[step].to), "{:?}", steps[step]);
            at[steps[step].server] = plain::Place { host: steps[step].to, moved: true };
            done[step] = true;
        }
        prop_assert!(plain::in_order(&problem, &at));
        // A growth that waits for nobody has room before anybody moved.
        let waiting: BTreeSet<usize> = growths.iter().map(|(server, _)| *server).collect();
        for (host, room) in problem.hosts.iter().enumerate() {
            let mut more = [0.0; 3];
            for (number, server) in problem.servers.iter().enumerate() {
                // One that left and came back took its new size with it.
                let stayed = server.at == host && steps.iter().all(|step| step.server != number);
                if stayed && !waiting.contains(&number) {
                    add(&mut more, &difference(&server.then, &server.now));
                }
            }
            prop_assert!(more == [0.0; 3] || fits(&more, &room.free));
        }
    }
}

fn host(free: f64) -> Host {
    Host {
        free: [free, 100.0, 100.0],
        devices: None,
        largest: [100.0; 3],
    }
}

fn server(at: usize, size: f64, may: &[bool]) -> Server {
    Server {
        at,
        now: [size, 1.0, 1.0],
        then: [size, 1.0, 1.0],
        may: may.to_vec(),
        group: None,
        movable: true,
        cells: None,
        with: None,
        without: Vec::new(),
    }
}

/// Two servers that must change places on full hosts go by way of a third.
#[test]
fn a_swap_goes_by_way_of_a_third_host() {
    let problem = Problem {
        hosts: vec![host(0.0), host(0.0), host(4.0)],
        servers: vec![
            server(0, 4.0, &[false, true, false]),
            server(1, 4.0, &[true, false, true]),
        ],
        groups: Vec::new(),
    };
    let Answer::Steps { steps } = solve(&problem, 1 << 20) else {
        panic!("there is a way");
    };
    let shown: Vec<[usize; 3]> = steps
        .iter()
        .map(|step| [step.server, step.from, step.to])
        .collect();
    assert_eq!(shown, [[1, 1, 2], [0, 0, 1]]);

    let mut strict = problem;
    // It may wait there, and must not stay.
    strict.hosts[2].free = [4.0, 100.0, 100.0];
    strict.servers[1].may = vec![true, false, false];
    assert_eq!(solve(&strict, 1 << 20), Answer::Nothing { proven: true });
}

/// One goes for the company of another, which goes out of its way for that and comes back with its later size: there
/// it takes that once, and needs no room to grow any more.
#[test]
fn one_that_comes_back_has_its_later_size_already() {
    let mut friend = server(2, 2.0, &[true; 3]);
    friend.then[0] = 3.0;
    let mut follower = server(0, 1.0, &[true, true, false]);
    follower.with = Some(vec![0]);
    let mut last = server(0, 2.0, &[false, true, false]);
    last.with = Some(vec![1]);
    let problem = Problem {
        hosts: vec![host(0.0), host(4.0), host(1.0)],
        servers: vec![friend, follower, last],
        groups: Vec::new(),
    };
    let Answer::Steps { steps } = solve(&problem, 1 << 20) else {
        panic!("there is a way");
    };
    let shown: Vec<[usize; 3]> = steps
        .iter()
        .map(|step| [step.server, step.from, step.to])
        .collect();
    assert_eq!(shown, [[0, 2, 1], [1, 0, 1], [0, 1, 2], [2, 0, 1]]);
}

/// A budget that is too small is said, not taken for a proof.
#[test]
fn a_search_that_was_cut_short_proves_nothing() {
    let problem = Problem {
        hosts: vec![host(0.0), host(0.0)],
        servers: vec![server(0, 4.0, &[false, true])],
        groups: Vec::new(),
    };
    assert_eq!(solve(&problem, 1), Answer::Nothing { proven: false });
    assert_eq!(solve(&problem, 100), Answer::Nothing { proven: true });
}
