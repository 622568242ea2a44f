//! Decisions of the placement engine, one thread, beside those of real Nova on two such cores and those of a plain loop
//! in an interpreted language, as they were measured once for the same kinds of hosts and servers.

#[path = "../../../planner/core/benches/shared/requests.rs"]
mod requests;

use crate::Failed;
use crate::fleet::Fleet;
use crate::table::{Allowed, Row, Times};
use requests::{SERVERS, place_all, plain, rich, scenario};
use serde_json::Value;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;

/// Servers of a kind on so many hosts, and how many are to be placed in a second.
struct Case {
    what: &'static str,
    hosts: usize,
    server: fn(usize) -> Value,
    at_least: u32,
}

const CASES: [Case; 4] = [
    Case {
        what: "10,000 decisions, 100 hosts (100,000/s)",
        hosts: 100,
        server: plain,
        at_least: 100_000,
    },
    Case {
        what: "10,000 decisions, 1,000 hosts (50,000/s)",
        hosts: 1_000,
        server: plain,
        at_least: 50_000,
    },
    Case {
        what: "10,000 decisions, 10,000 hosts (20,000/s)",
        hosts: 10_000,
        server: plain,
        at_least: 20_000,
    },
    Case {
        what: "10,000 with groups, zones, extra specs, 1,000 hosts (10,000/s)",
        hosts: 1_000,
        server: rich,
        at_least: 10_000,
    },
];

/// Requests a second of the peers.
const PEERS: [(&str, f64); 6] = [
    ("Nova, 100 hosts: 162/s", 162.0),
    ("Nova, 1,000 hosts: 17/s", 17.0),
    ("Nova, 10,000 hosts: 1.6/s", 1.6),
    ("a loop in an interpreted language, 100 hosts: 3,224/s", 3_224.0),
    ("a loop in an interpreted language, 1,000 hosts: 305/s", 305.0),
    ("a loop in an interpreted language, 10,000 hosts: 15/s", 15.0),
];

/// A hundred times the hosts may cost so many times as much.
const GROWTH: f64 = 25.0;

pub(crate) fn measure(_: &Fleet<'_>) -> Result<Vec<Row>, Failed> {
    let mut rows = Vec::new();
    let mut taken = Vec::new();
    for Case {
        what,
        hosts,
        server,
        at_least,
    } in CASES
    {
        let (scheduler, requests) = scenario(hosts, server);
        let mut times = Times::default();
        for _ in 0..ROUNDS {
            let scheduler = scheduler.clone();
            let begin = Instant::now();
            let placed = place_all(scheduler, &requests);
            times.push(begin.elapsed());
            if placed * 10 <= SERVERS * 9 {
                return Err(format!("{what}: only {placed} placed").into());
            }
        }
        taken.push(times.clone());
        rows.push(Row::Time {
            what,
            times,
            limit: Duration::from_secs(SERVERS as u64) / at_least,
        });
    }
    rows.push(Row::Ratio {
        what: "growth: 10,000 hosts against 100",
        drover: taken[2].clone(),
        raw: taken[0].clone(),
        allowed: Allowed {
            factor: GROWTH,
            plus: Duration::ZERO,
        },
    });
    rows.extend(PEERS.map(|(what, per_second)| {
        let mut times = Times::default();
        times.push(Duration::from_secs_f64(SERVERS as f64 / per_second));
        Row::Note { what, times }
    }));
    Ok(rows)
}
