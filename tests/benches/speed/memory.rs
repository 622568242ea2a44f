//! What an agent keeps in memory when it has nothing to do.

use crate::Failed;
use crate::fleet::Fleet;
use crate::table::Row;

const LIMIT: u64 = 40 << 20;

pub(crate) fn measure(fleet: &Fleet<'_>) -> Result<Vec<Row>, Failed> {
    let mut after_work = 0;
    for host in fleet.lab.hosts() {
        after_work = after_work.max(resident(host)?);
    }
    let mut fresh = 0;
    for host in fleet.lab.hosts() {
        host.stop_agent()?;
        host.start_agent()?;
    }
    fleet.drover(&["plan"])?;
    for host in fleet.lab.hosts() {
        fresh = fresh.max(resident(host)?);
    }
    Ok(vec![
        Row::Size {
            what: "idle agent, after all the work above",
            bytes: after_work,
            limit: LIMIT,
        },
        Row::Size {
            what: "idle agent, fresh",
            bytes: fresh,
            limit: LIMIT,
        },
    ])
}

fn resident(host: &drover_tests::lab::Host) -> Result<u64, Failed> {
    let agent = host.daemon("agent").ok_or("no agent was started")?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("the agent has no memory: it has ended")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}
