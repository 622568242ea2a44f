//! N+1: whether the servers of each host would find room on the others if it were lost.

use super::super::world::name_of;
use super::standing::{Seated, Standing};
use crate::placement::{Filter, Name, Nearest, Rejection, Request, Resources, Scheduler};
use drover_types::{Address, HostName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// For so many servers it is said which host comes nearest to taking them.
const NEAREST: usize = 200;

/// For so many hosts other orders than the plain one are tried.
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
        match &self.nearest {
            Some(nearest) => write!(f, "; nearest is {nearest}"),
            None => Ok(()),
        }
    }
}

/// What the loss of each host that holds servers would mean: whether they would all fit on the others at once, by
/// every filter, as they are placed: most urgent first, then the largest. Where that leaves somebody behind who would
/// fit alone, the servers are placed as a batch, which finds room for more where some choice of hosts has it; for at
/// most 64 hosts, since that takes longer. Each host is looked at with all others standing.
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
        std::cmp::Reverse((request.priority, wants.ram_mib, wants.vcpus, wants.disk_mib))
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
    // One that asks for company may find it once others are placed.
    let hopeless: BTreeSet<&Address> = (left.iter().zip(&stranded))
        .filter(|((_, request), stranded)| stranded.even_alone && request.same_host.is_empty())
        .map(|((address, _), _)| *address)
        .collect();
    let order_matters = hopeless.len() < stranded.len();
    if order_matters && scheduler.limits_room() && *searches > 0 {
        *searches -= 1;
        let mut without = scheduler.clone();
        // Nothing goes to the host that is lost: it has no room.
        without.force(&lost, &wall()).expect(KNOWN);
        let hopeful: Vec<(&Address, &Request)> = (homeless.iter())
            .filter(|(address, _)| !hopeless.contains(address))
            .copied()
            .collect();
        let requests: Vec<Request> = hopeful.iter().map(|(_, request)| (*request).clone()).collect();
        let outcome = without.place_batch(&requests);
        if outcome.unplaced.len() < stranded.len() - hopeless.len() {
            stranded.retain(|stranded| hopeless.contains(&stranded.server));
            let without_home = hopeful.iter().zip(&outcome.placements);
            stranded.extend(
                without_home
                    .filter(|(_, home)| home.is_none())
                    .map(|((address, request), _)| {
                        self::stranded(&without, &lost, address, request, nearest)
                    }),
            );
        }
    }
    for (_, request) in &homeless {
        scheduler.force(&lost, request).expect(KNOWN);
    }
    stranded.sort_by(|one, other| one.server.cmp(&other.server));
    stranded
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
        .map(|(filter, rejection)| format!("{} {rejection}", filter.label()))
        .collect();
    format!("{host} ({})", said.join("; "))
}
