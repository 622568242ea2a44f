//! Why a server fits nowhere: the fewest constraints that together leave no host, and what would change that.

use super::super::explain::{HostVerdict, explain};
use super::super::filters::{Effort, Filter, Rejection, at_least_mib, placement_obstacles};
use super::super::input::{Name, Policy, Request, Resources};
use super::super::matching::{flaw_of_requirement, is_compared};
use super::super::state::World;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Why a server fits nowhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conflict {
    /// The smallest set of filters of which each host fails at least one; with these alone there is no host.
    pub filters: Vec<Filter>,
    /// Per filter that refused any host: how many.
    pub refused: Vec<(Filter, usize)>,
    /// How many hosts were asked.
    pub hosts: usize,
    /// What would make it fit, nearest first.
    pub remedies: Vec<Remedy>,
}

/// A change after which the server would fit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "remedy", rename_all = "snake_case")]
pub enum Remedy {
    /// This host fails for one reason alone, and it is the nearest that does.
    Mend {
        /// The host.
        host: Name,
        /// Its only obstacle.
        rejection: Rejection,
    },
    /// One more host with this much free.
    AnotherHost {
        /// In this zone.
        zone: Option<Name>,
        /// At least this much.
        free: Resources,
        /// It must also meet these extra specs.
        extra_specs: BTreeMap<String, String>,
        /// And run an image with these properties.
        image: BTreeMap<String, String>,
        /// Its address in this network.
        #[serde(skip_serializing_if = "Option::is_none")]
        network: Option<String>,
        /// One of the isolated hosts.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        isolated: bool,
    },
    /// One more host that meets what the server asks, some of which is not to be named.
    HostThatFits,
    /// An anti-affinity group of at most this many members.
    SmallerGroup {
        /// The group.
        group: Name,
        /// Members it has a place for.
        members: u64,
    },
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mend { host, rejection } => f.write_str(&rejection.words(host.as_str()).remedy),
            Self::AnotherHost {
                zone,
                free,
                extra_specs,
                image,
                network,
                isolated,
            } => {
                f.write_str(if *isolated {
                    "one more isolated host"
                } else {
                    "one more host"
                })?;
                if let Some(zone) = zone {
                    write!(f, " in {zone}")?;
                }
                let mut parts = vec![format!("{} free", at_least_mib(free.ram_mib as f64))];
                if free.disk_mib > 0 {
                    parts.push(format!("{} of disk", at_least_mib(free.disk_mib as f64)));
                }
                parts.push(format!("{} vCPU", free.vcpus));
                write!(f, " with {}", parts.join(", "))?;
                if let Some(network) = network {
                    write!(f, ", an address in {network}")?;
                }
                for (key, requirement) in extra_specs.iter().chain(image) {
                    write!(f, ", {key} {requirement:?}")?;
                }
                Ok(())
            }
            Self::HostThatFits => f.write_str("one more host that has all it asks for"),
            Self::SmallerGroup { group, members: 1 } => write!(f, "`{group}` of 1 member"),
            Self::SmallerGroup { group, members } => write!(f, "`{group}` of at most {members} members"),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters: Vec<&str> = self.filters.iter().map(|filter| filter.name()).collect();
        match self.hosts {
            0 => f.write_str("there are no hosts")?,
            hosts => write!(f, "none of {hosts} hosts passes {}", filters.join(" and "))?,
        }
        let counts: Vec<String> = self
            .refused
            .iter()
            .map(|(filter, count)| format!("{filter} {count}"))
            .collect();
        if !counts.is_empty() {
            write!(f, " (refused: {})", counts.join(", "))?;
        }
        let remedies: Vec<String> = self.remedies.iter().map(ToString::to_string).collect();
        if !remedies.is_empty() {
            write!(f, "; it would fit with {}", remedies.join(", or "))?;
        }
        Ok(())
    }
}

/// Requests with the same key have the same conflict.
pub(crate) fn key(request: &Request) -> String {
    let Request {
        name: _,
        wants,
        needs,
        group,
        same_host,
        different_host,
        demand,
        priority: _,
        hides,
    } = request;
    format!("{wants:?} {needs:?} {group:?} {same_host:?} {different_host:?} {demand:?} {hides:?}")
}

/// `None` when some host would take it.
pub(crate) fn conflict(world: &World, request: &Request) -> Option<Conflict> {
    let explanation = explain(world, request);
    if explanation.chosen.is_some() {
        return None;
    }
    let mut refused: BTreeMap<usize, usize> = BTreeMap::new();
    let mut masks: BTreeSet<u64> = BTreeSet::new();
    let position = |filter: Filter| {
        explanation
            .filters
            .iter()
            .position(|other| *other == filter)
            .unwrap_or(0)
    };
    for host in &explanation.hosts {
        let mut mask = 0;
        for refusal in &host.refusals {
            *refused.entry(position(refusal.filter)).or_insert(0) += 1;
            mask |= 1 << position(refusal.filter);
        }
        masks.insert(mask);
    }
    let smallest = smallest_cover(&masks, explanation.filters.len());
    let in_set = |at: &usize| smallest & (1 << at) != 0;
    let mut remedies: Vec<Remedy> = Vec::new();
    remedies.extend(nearest(world, request, &explanation.hosts));
    let filters: Vec<Filter> = (0..explanation.filters.len())
        .filter(in_set)
        .map(|at| explanation.filters[at])
        .collect();
    if filters.contains(&Filter::GroupAntiAffinity) {
        remedies.extend(smaller_group(world, request));
    }
    if !explanation.hosts.iter().any(is_wrong) {
        remedies.extend(another_host(world, request));
    }
    Some(Conflict {
        filters,
        refused: refused
            .into_iter()
            .map(|(at, count)| (explanation.filters[at], count))
            .collect(),
        hosts: explanation.hosts.len(),
        remedies,
    })
}

/// The smallest set of filters that meets every host's set; among equals the one asked first.
fn smallest_cover(masks: &BTreeSet<u64>, filters: usize) -> u64 {
    let covers = |set: u64| masks.iter().all(|mask| mask & set != 0);
    for size in 0..=filters {
        let mut set: Vec<usize> = (0..size).collect();
        loop {
            let mask = set.iter().fold(0, |mask, at| mask | 1 << at);
            if covers(mask) {
                return mask;
            }
            // The next combination of `size` out of `filters`, in lexicographic order.
            let Some(at) = (0..size).rev().find(|at| set[*at] + size - at < filters) else {
                break;
            };
            set[at] += 1;
            for later in at + 1..size {
                set[later] = set[later - 1] + 1;
            }
        }
    }
    0
}

/// The host with one obstacle alone, and that the easiest to remove.
fn nearest(world: &World, request: &Request, hosts: &[HostVerdict]) -> Option<Remedy> {
    let single = hosts
        .iter()
        .enumerate()
        .filter(|(at, host)| match host.refusals.as_slice() {
            [refusal] if refusal.filter == Filter::Placement => {
                placement_obstacles(&world.ask(*at, request)) == 1
            }
            [_] => true,
            _ => false,
        });
    let single = single.map(|(_, host)| host);
    let efforts = single.map(|host| {
        let rejection = &host.refusals[0].rejection;
        (host, rejection.words(host.host.as_str()).effort)
    });
    let nearest = efforts.reduce(|best, next| if next.1 < best.1 { next } else { best });
    nearest.map(|(host, _)| Remedy::Mend {
        host: host.host.clone(),
        rejection: host.refusals[0].rejection.clone(),
    })
}

/// Whether it is the request that would have to change, so that no other host would take it either.
fn is_wrong(host: &HostVerdict) -> bool {
    let mut refusals = host.refusals.iter();
    refusals.any(|refusal| refusal.rejection.words(host.host.as_str()).effort == Effort::Correct)
}

fn smaller_group(world: &World, request: &Request) -> Option<Remedy> {
    let view = world.group_view(world.group_of(request)?);
    view.is(Policy::AntiAffinity).then(|| Remedy::SmallerGroup {
        group: view.group.name.clone(),
        members: view.members.total(),
    })
}

/// A new host helps, unless the server is bound to hosts there are, or asks for what no host can have.
fn another_host(world: &World, request: &Request) -> Option<Remedy> {
    let config = &world.fixed.config;
    let asks = |filter: Filter| config.filters.contains(&filter);
    let with_group = world.group_of(request).is_some_and(|group| {
        let view = world.group_view(group);
        asks(Filter::GroupAffinity) && view.is(Policy::Affinity) && !view.members.is_empty()
    });
    let with_others = asks(Filter::SameHost) && !request.same_host.is_empty();
    let compares = asks(Filter::ComputeCapabilities) || asks(Filter::AggregateInstanceExtraSpecs);
    let mut specs = request.needs.extra_specs.iter();
    let unmet = compares && specs.any(|(key, text)| is_compared(key) && flaw_of_requirement(text).is_some());
    if with_group || with_others || unmet {
        return None;
    }
    let image = request.needs.image_name.as_ref();
    let isolated = image.is_some_and(|image| config.isolation.images.contains(image));
    let network = request.needs.network.filter(|_| asks(Filter::Network));
    Some(if request.hides.is_empty() {
        Remedy::AnotherHost {
            zone: request.needs.zone.clone(),
            free: request.wants,
            extra_specs: request.needs.extra_specs.clone(),
            image: request.needs.image.0.clone(),
            network: network.map(|network| network.to_string()),
            isolated: asks(Filter::IsolatedHosts) && isolated,
        }
    } else {
        Remedy::HostThatFits
    })
}
