//! How many more servers of one kind a host takes, which hosts a zone has, and who refuses a server: questions of
//! those who look ahead. Nothing is consumed.

use super::filters::{Filter, Rejection, reads_usage};
use super::input::{Name, Request};
use super::scheduler::{Scheduler, UnknownHost};
use super::state::{Ask, HostIndex, Usage};
use std::collections::BTreeMap;

/// More than any host holds: where no filter limits their number, so many are counted on each host.
const MOST: u64 = 1_000_000;

/// So many are tried one after another where nothing shorter gives the answer.
const STEPS: u64 = 10_000;

/// How many more servers of one kind a host takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// One after another, each passing every filter.
    pub count: u64,
    /// What refuses the next one; nothing where so many were counted as are counted at most.
    pub stopped_by: Option<Filter>,
}

/// What every host but one says to a server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Refusers {
    /// How many hosts each filter is the first to refuse.
    pub by_filter: BTreeMap<Filter, u64>,
    /// The host that the fewest filters refuse, and what they say.
    pub nearest: Option<(Name, Vec<(Filter, Rejection)>)>,
}

impl Scheduler {
    /// How many servers like this one the host takes, one after another.
    ///
    /// # Errors
    /// There is no such host.
    pub fn fill(&mut self, host: &Name, request: &Request) -> Result<Fill, UnknownHost> {
        let host = self.index(host)?;
        let others_matter = request.group.is_some() || request.names_others() || request.demand.is_some();
        if others_matter || reads_usage(request) {
            Ok(self.fill_by_steps(host, request))
        } else {
            Ok(self.fill_at_once(host, request))
        }
    }

    /// Where only what was consumed counts: what refuses a server after some goes on to refuse it after more.
    fn fill_at_once(&self, host: HostIndex, request: &Request) -> Fill {
        let refuser = |already: u64| {
            let mut usage = self.world.usage_of(host);
            usage.consume_many(&request.wants, already);
            self.refuser(&self.ask_with(host, request, &usage))
        };
        if let Some(filter) = refuser(0) {
            return Fill {
                count: 0,
                stopped_by: Some(filter),
            };
        }
        // The next passes after `takes` of them, and is refused after `refuses`.
        let (mut takes, mut refuses) = (0, 1);
        let mut stopped_by = loop {
            if refuses >= MOST {
                return Fill {
                    count: MOST,
                    stopped_by: None,
                };
            }
            match refuser(refuses) {
                Some(filter) => break filter,
                None => (takes, refuses) = (refuses, refuses * 2),
            }
        };
        while refuses - takes > 1 {
            let middle = takes + (refuses - takes) / 2;
            match refuser(middle) {
                Some(filter) => (refuses, stopped_by) = (middle, filter),
                None => takes = middle,
            }
        }
        Fill {
            count: refuses,
            stopped_by: Some(stopped_by),
        }
    }

    fn fill_by_steps(&mut self, host: HostIndex, request: &Request) -> Fill {
        let mut taken = Vec::new();
        let stopped_by = loop {
            let mut next = request.clone();
            next.name = Name::from(format!("{} {}", request.name, taken.len()));
            if let Some(filter) = self.refuser(&self.world.ask(host, &next)) {
                break Some(filter);
            }
            if taken.len() as u64 >= STEPS {
                break None;
            }
            self.consume(host, &next);
            taken.push(next);
        };
        for server in taken.iter().rev() {
            self.take_off(host, server);
        }
        Fill {
            count: taken.len() as u64,
            stopped_by,
        }
    }

    fn ask_with<'a>(&'a self, host: HostIndex, request: &'a Request, usage: &'a Usage) -> Ask<'a> {
        Ask {
            usage,
            ..self.world.ask(host, request)
        }
    }

    /// The first filter that says no.
    fn refuser(&self, ask: &Ask<'_>) -> Option<Filter> {
        let mut filters = self.world.fixed.filters.iter();
        filters.find(|filter| filter.check(ask).is_err()).copied()
    }

    /// Whether every filter lets the request onto this host.
    ///
    /// # Errors
    /// There is no such host.
    pub fn passes(&self, host: &Name, request: &Request) -> Result<bool, UnknownHost> {
        let ask = self.world.ask(self.index(host)?, request);
        Ok(self.refuser(&ask).is_none())
    }

    /// The hosts of each zone, those in none in the default one: a host may be in several.
    #[must_use]
    pub fn zones(&self) -> BTreeMap<Name, Vec<Name>> {
        let mut zones: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        for (host, facts) in &self.world.fixed.hosts {
            let named = facts.zones.iter().map(|zone| Name::from(zone.as_str()));
            let default = facts.zones.is_empty();
            let default = default.then(|| self.world.fixed.config.default_zone.clone());
            for zone in named.chain(default) {
                zones.entry(zone).or_default().push(host.clone());
            }
        }
        zones
    }

    /// Who refuses a request on all hosts but `not`, and with `nearest` where it comes nearest to fitting.
    ///
    /// # Errors
    /// There is no host `not`.
    pub fn refusers(&self, not: &Name, request: &Request, nearest: Nearest) -> Result<Refusers, UnknownHost> {
        let not = self.index(not)?;
        let mut found = Refusers::default();
        let mut fewest = usize::MAX;
        for host in (0..self.world.len()).filter(|host| *host != not) {
            let ask = self.world.ask(host, request);
            match nearest {
                Nearest::LeftOut => {
                    if let Some(filter) = self.refuser(&ask) {
                        *found.by_filter.entry(filter).or_insert(0) += 1;
                    }
                }
                Nearest::Wanted => {
                    let filters = self.world.fixed.filters.iter();
                    let refusals: Vec<(Filter, Rejection)> = filters
                        .filter_map(|filter| filter.check(&ask).err().map(|why| (*filter, why)))
                        .collect();
                    if let Some((first, _)) = refusals.first() {
                        *found.by_filter.entry(*first).or_insert(0) += 1;
                        if refusals.len() < fewest {
                            fewest = refusals.len();
                            found.nearest = Some((self.world.name(host).clone(), refusals));
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// Whether any filter limits how much is promised of memory, disk or processors.
    #[must_use]
    pub fn limits_room(&self) -> bool {
        let asks = self.world.fixed.asks;
        asks.ram || asks.disk || asks.vcpus
    }
}

/// Whether the host that comes nearest to taking a server is looked for, which costs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearest {
    /// It is.
    Wanted,
    /// It is not.
    LeftOut,
}
