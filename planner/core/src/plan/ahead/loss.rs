//! N+1: whether the servers of each host would find room on the others if it were lost.

use super::super::world::name_of;
use super::standing::{Seated, Standing};
use crate::placement::{Filter, GivenUp, Name, Nearest, Rejection, Request, Resources, Scheduler};
use drover_types::{Address, HostName};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// For so many servers it is said which host comes nearest to taking them.
const NEAREST: usize = 200;

/// For so many hosts it is searched for how to leave the fewest behind.
const SEARCHES: usize = 64;

/// What the loss of one host would mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostLoss {
    /// The host.
    pub host: HostName,
    /// How many servers it holds.
    pub servers: usize,
    /// Those that would find no other host.
    pub stranded: Vec<Stranded>,
}

/// A server that would find no other host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stranded {
    /// The server.
    pub server: Address,
    /// What it takes.
    #[serde(flatten)]
    pub wants: Resources,
    /// True where no host would take it even if it were the only one to be found a place.
    pub even_alone: bool,
    /// Set where it would find a host if those that are urgent and large came first, one after another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up_for: Option<GivenUp>,
    /// How many of the other hosts each filter is the first to refuse.
    pub refused_by: BTreeMap<String, u64>,
    /// The host that comes nearest to taking it, and what keeps it from that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}

impl fmt::Display for Stranded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.server)?;
        if self.refused_by.is_empty() {
            return f.write_str("there is no other host");
        }
        for (at, (filter, hosts)) in self.refused_by.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let plural = if *hosts == 1 { "" } else { "s" };
            write!(f, "{comma}{filter} refuses {hosts} host{plural}")?;
        }
        if let Some(nearest) = &self.nearest {
            write!(f, "; nearest is {nearest}")?;
        }
        match &self.given_up_for {
            Some(given_up) => write!(f, "; {given_up}"),
            None => Ok(()),
        }
    }
}

/// What the loss of each host that holds servers would mean: whether they would all fit on the others at once, by
/// every filter. Each host is looked at with all others standing.
///
/// They are placed one after another, the most urgent first, then the largest. Where that leaves somebody behind whom
/// another arrangement could save, it is searched for as [`Scheduler::place_batch`] does: as few as possible are left
/// behind of the highest priority, then of the next, and of equally many the smaller ones. Of a few servers and hosts
/// that is proven; of more it is the best that was found within a bound, and beyond 64 hosts with somebody to save the
/// plain order has to do.
#[must_use]
pub fn losses(standing: &mut Standing) -> Vec<HostLoss> {
    let mut nearest = NEAREST;
    let mut searches = SEARCHES;
    let by_host = standing.by_host();
    let mut losses = Vec::with_capacity(by_host.len());
    for (host, servers) in by_host {
        let stranded = lose(standing, &host, &servers, &mut nearest, &mut searches);
        losses.push(HostLoss {
            host,
            servers: servers.len(),
            stranded,
        });
    }
    losses
}

fn lose(
    standing: &mut Standing,
    host: &HostName,
    servers: &[Address],
    nearest: &mut usize,
    searches: &mut usize,
) -> Vec<Stranded> {
    const KNOWN: &str = "every seat is on one of the engine's hosts";
    let lost = name_of(host);
    let Standing {
        scheduler,
        servers: seats,
        ..
    } = standing;
    let mut homeless: Vec<(&Address, &Request)> = servers
        .iter()
        .map(|address| {
            let Seated { request, .. } = &seats[address];
            (address, request)
        })
        .collect();
    for (_, request) in &homeless {
        scheduler.release(&lost, request).expect(KNOWN);
    }
    homeless.sort_by_key(|(_, request)| {
        let wants = request.wants;
        Reverse((request.priority, wants.ram_mib, wants.vcpus, wants.disk_mib))
    });
    // Whoever names another has to wait for that one, so that what failed is asked again as long as somebody settles.
    let mut placed: Vec<(Name, &Request)> = Vec::new();
    let mut left = homeless.clone();
    loop {
        let before = placed.len();
        left.retain(|(_, request)| {
            let best = scheduler.ranked(&lost, request, 1).expect(KNOWN);
            let Some(best) = best.into_iter().next() else {
                return true;
            };
            scheduler.force(&best, request).expect(KNOWN);
            placed.push((best, *request));
            false
        });
        let named = left
            .iter()
            .any(|(_, request)| !(request.same_host.is_empty() && request.different_host.is_empty()));
        if left.is_empty() || placed.len() == before || !named {
            break;
        }
    }
    // Said while the others have their new places: that is what stands in the way.
    let mut stranded: Vec<Stranded> = left
        .iter()
        .map(|(address, request)| stranded(scheduler, &lost, address, request, nearest))
        .collect();
    for (home, request) in placed.iter().rev() {
        scheduler.release(home, request).expect(KNOWN);
    }
    for ((_, request), stranded) in left.iter().zip(&mut stranded) {
        stranded.even_alone = scheduler.ranked(&lost, request, 1).expect(KNOWN).is_empty();
    }
    // Of one that names others it says nothing that no host takes it alone.
    let savable = left
        .iter()
        .zip(&stranded)
        .any(|((_, request), stranded)| !stranded.even_alone || request.names_others());
    if savable && scheduler.limits_room() && *searches > 0 {
        *searches -= 1;
        let mut without = scheduler.clone();
        // Nothing goes to the host that is lost: it has no room.
        without.force(&lost, &wall()).expect(KNOWN);
        let requests: Vec<Request> = homeless.iter().map(|(_, request)| (*request).clone()).collect();
        let outcome = without.place_batch(&requests);
        let found: Vec<(&Address, &Request)> = homeless
            .iter()
            .zip(&outcome.placements)
            .filter(|(_, home)| home.is_none())
            .map(|(homeless, _)| *homeless)
            .collect();
        if harm(scheduler, &homeless, &found) < harm(scheduler, &homeless, &left) {
            let plain: BTreeSet<&Address> = left.iter().map(|(address, _)| *address).collect();
            stranded = found
                .iter()
                .zip(outcome.unplaced)
                .map(|((address, request), unplaced)| Stranded {
                    even_alone: scheduler.ranked(&lost, request, 1).expect(KNOWN).is_empty(),
                    given_up_for: unplaced.given_up_for.filter(|_| !plain.contains(address)),
                    ..self::stranded(&without, &lost, address, request, nearest)
                })
                .collect();
        }
    }
    for (_, request) in &homeless {
        scheduler.force(&lost, request).expect(KNOWN);
    }
    stranded.sort_by(|one, other| one.server.cmp(&other.server));
    stranded
}

/// How bad it is that these are left behind: how many of each priority there are, the highest first, and how large
/// they are.
fn harm(
    scheduler: &Scheduler,
    homeless: &[(&Address, &Request)],
    left: &[(&Address, &Request)],
) -> (Vec<usize>, f64) {
    let mut counts: BTreeMap<Reverse<i64>, usize> = homeless
        .iter()
        .map(|(_, request)| (Reverse(request.priority), 0))
        .collect();
    for (_, request) in left {
        *counts.entry(Reverse(request.priority)).or_insert(0) += 1;
    }
    let size = scheduler.size_of(left.iter().map(|(_, request)| *request));
    (counts.into_values().collect(), size)
}

/// What keeps a server off every host but the lost one, as they stand.
fn stranded(
    scheduler: &Scheduler,
    lost: &Name,
    address: &Address,
    request: &Request,
    nearest: &mut usize,
) -> Stranded {
    let look = if *nearest > 0 {
        *nearest -= 1;
        Nearest::Wanted
    } else {
        Nearest::LeftOut
    };
    let found = scheduler
        .refusers(lost, request, look)
        .expect("every seat is on one of the engine's hosts");
    let by_filter = found.by_filter.iter();
    Stranded {
        server: address.clone(),
        wants: request.wants,
        even_alone: false,
        given_up_for: None,
        refused_by: by_filter
            .map(|(filter, hosts)| (filter.name().to_owned(), *hosts))
            .collect(),
        nearest: found.nearest.as_ref().map(nearest_words),
    }
}

/// What takes all the room of a host.
fn wall() -> Request {
    Request {
        name: Name::from("(lost)"),
        wants: Resources {
            vcpus: 1 << 40,
            ram_mib: 1 << 60,
            disk_mib: 1 << 60,
        },
        ..Request::default()
    }
}

fn nearest_words((host, refusals): &(Name, Vec<(Filter, Rejection)>)) -> String {
    let said: Vec<String> = refusals
        .iter()
        .map(|(filter, rejection)| format!("{} {rejection}", rejection.label(*filter)))
        .collect();
    format!("{host} ({})", said.join("; "))
}
