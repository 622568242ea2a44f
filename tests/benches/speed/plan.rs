//! A plan of the three hosts with nothing to do, against the slowest inventory of one of them.

use crate::Failed;
use crate::fleet::Fleet;
use crate::table::{Allowed, Row, Times};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;

pub(crate) fn measure(fleet: &Fleet<'_>) -> Result<Vec<Row>, Failed> {
    fleet.drover(&["plan"])?;
    let (mut plans, mut slowest, mut warm) = (Times::default(), Times::default(), Times::default());
    for _ in 0..ROUNDS {
        let mut times = Vec::new();
        for host in fleet.lab.hosts() {
            times.push(inventories(fleet, host)?);
        }
        slowest.push(times.iter().map(|(first, _)| *first).max().unwrap_or_default());
        warm.push(times.iter().map(|(_, second)| *second).max().unwrap_or_default());
        plans.push(fleet.drover(&["plan", "--detailed-exitcode"])?.took);
    }
    Ok(vec![
        Row::Ratio {
            what: "no-op plan of three hosts, against the slowest single inventory call",
            drover: plans,
            raw: slowest,
            allowed: Allowed {
                factor: 3.0,
                plus: Duration::from_millis(50),
            },
        },
        Row::Note {
            what: "the slowest inventory on an open connection",
            times: warm,
        },
    ])
}

/// One host asked twice: with the connection to be made, and on it.
fn inventories(fleet: &Fleet<'_>, host: &drover_tests::lab::Host) -> Result<(Duration, Duration), Failed> {
    let agents = fleet.agents(&[host])?;
    let asked = fleet.lab.client().inside_network(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut times = [Duration::ZERO; 2];
            for time in &mut times {
                let begin = Instant::now();
                let seen = agents.observe(&BTreeMap::new()).await;
                *time = begin.elapsed();
                if let Some((host, unseen)) = seen.iter().find(|(_, seen)| seen.inventory().is_none()) {
                    return Err(std::io::Error::other(format!("{host}: {unseen:?}")));
                }
            }
            Ok(times)
        })
    })?;
    let [first, second] = asked?;
    Ok((first, second))
}
