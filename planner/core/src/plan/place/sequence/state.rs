//! Who is where at one moment: what may move next, and how many moves are still needed at least.

use super::{Amount, Policy, Problem, Server, Step, add, difference, fits, take};

/// Where a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    host: u16,
    /// It is on its first host again, and has taken its later size along: another state than before it left.
    back: bool,
}

impl Spot {
    fn first(server: &Server) -> Self {
        Self {
            host: narrow(server.at),
            back: false,
        }
    }

    fn reached(server: &Server, host: usize) -> Self {
        Self {
            host: narrow(host),
            back: host == server.at && server.then != server.now,
        }
    }
}

/// Who is where, and what is left of each host.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) at: Vec<Spot>,
    free: Vec<Amount>,
}

fn narrow(host: usize) -> u16 {
    u16::try_from(host).expect("a problem has fewer than 65,536 hosts")
}

impl State {
    pub(super) fn first(problem: &Problem) -> Self {
        Self {
            at: problem.servers.iter().map(Spot::first).collect(),
            free: problem.hosts.iter().map(|host| host.free).collect(),
        }
    }

    pub(super) fn host_of(&self, server: usize) -> usize {
        usize::from(self.at[server].host)
    }

    /// Whether a server still is as large as it was at first.
    fn is_as_it_was(&self, problem: &Problem, server: usize) -> bool {
        self.at[server] == Spot::first(&problem.servers[server])
    }

    /// Whether the move keeps every rule, while it lasts and when it is done.
    pub(super) fn allows(&self, problem: &Problem, step: Step) -> bool {
        let server = &problem.servers[step.server];
        let host = &problem.hosts[step.to];
        server.movable
            && step.from != step.to
            && server.may[step.to]
            && fits(&server.then, &host.largest)
            && fits(&server.then, &self.free[step.to])
            && self.company_allows(server, step)
            && self.group_allows(problem, step)
    }

    fn company_allows(&self, server: &Server, step: Step) -> bool {
        let is_there = |other: &usize| self.host_of(*other) == step.to;
        let with = server.with.as_ref();
        with.is_none_or(|with| with.iter().any(is_there)) && !server.without.iter().any(is_there)
    }

    fn group_allows(&self, problem: &Problem, step: Step) -> bool {
        let Some(group) = problem.servers[step.server].group else {
            return true;
        };
        let mut others = 0;
        let mut there = 0;
        for (other, server) in problem.servers.iter().enumerate() {
            if other != step.server && server.group == Some(group) {
                others += 1;
                there += usize::from(self.host_of(other) == step.to);
            }
        }
        match problem.groups[group] {
            Policy::Apart(limit) => there < limit,
            Policy::Together => others == 0 || there > 0,
        }
    }

    pub(super) fn make(&mut self, problem: &Problem, step: Step) {
        let server = &problem.servers[step.server];
        // What has moved before has its later size already.
        let size = if self.is_as_it_was(problem, step.server) {
            server.now
        } else {
            server.then
        };
        add(&mut self.free[step.from], &size);
        take(&mut self.free[step.to], &server.then);
        self.at[step.server] = Spot::reached(server, step.to);
    }

    /// The fewest moves that can be enough; zero exactly where everything is in order.
    pub(super) fn at_least(&self, problem: &Problem) -> usize {
        let hosts = problem.hosts.len();
        let mut leaves = vec![false; hosts];
        let mut counted = 0;
        let mut stays: Vec<Vec<usize>> = vec![vec![0; hosts]; problem.groups.len()];
        let mut members = vec![0_usize; problem.groups.len()];
        let mut leaving = vec![0_usize; problem.groups.len()];
        let mut grows = vec![[0.0; 4]; hosts];
        for (number, server) in problem.servers.iter().enumerate() {
            let host = self.host_of(number);
            let must = server.movable && !server.may[host];
            if let Some(group) = server.group {
                members[group] += 1;
                leaving[group] += usize::from(must);
                if !must {
                    stays[group][host] += 1;
                }
            }
            if must {
                counted += 1;
                leaves[host] = true;
            }
            if self.is_as_it_was(problem, number) {
                add(&mut grows[host], &difference(&server.then, &server.now));
            }
        }
        for (group, policy) in problem.groups.iter().enumerate() {
            match policy {
                Policy::Apart(limit) => {
                    for (host, number) in stays[group].iter().enumerate() {
                        let excess = number.saturating_sub(*limit);
                        counted += excess;
                        leaves[host] |= excess > 0;
                    }
                }
                Policy::Together => {
                    let most = stays[group].iter().copied().max().unwrap_or(0);
                    // Those that must leave anyway are counted already; all others must come to one host.
                    let apart = members[group].saturating_sub(most).max(leaving[group]);
                    counted += apart - leaving[group];
                    if apart > leaving[group] {
                        for (host, number) in stays[group].iter().enumerate() {
                            leaves[host] |= *number > 0;
                        }
                    }
                }
            }
        }
        let overfull = (0..hosts).filter(|host| {
            let grows = &grows[*host];
            let more = grows.iter().any(|amount| *amount > 0.0);
            more && !leaves[*host] && !fits(grows, &self.free[*host])
        });
        counted + overfull.count()
    }
}
