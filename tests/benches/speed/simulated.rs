//! How the fan-out to hosts and an apply grow: agents behind gRPC and mutual TLS, all in this process, each with a
//! hypervisor in memory. Images, disks, logs and records are real. The agents share the machine with the planner, so
//! the times are those of both.

#[path = "../../tests/cli/fake_hosts.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod fake_hosts;

use crate::Failed;
use crate::fleet::Fleet as Lab;
use crate::table::{Allowed, Row, Times};
use drover_tests::lab::binary;
use fake_hosts::Fleet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Hosts that are asked, and servers that are created: few, and more by the factor.
const HOSTS: usize = 100;
const SERVERS: usize = 500;
const FACTOR: u32 = 10;
/// Rounds of plans; an apply takes long enough for one.
const ROUNDS: usize = 5;
/// What ten times as many may cost beyond ten times as much: other work of the machine.
const LINEAR: Allowed = Allowed {
    factor: 1.3,
    plus: Duration::ZERO,
};
/// An apply of so many servers by Terraform 1.11, which writes its whole state for each, on two such cores: 995 s.
const LIMIT: Duration = Duration::from_secs(995 / 3);

pub(crate) fn measure(_lab: &Lab<'_>) -> Result<Vec<Row>, Failed> {
    // Every agent has a listener, a log, files and connections.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let more = HOSTS * FACTOR as usize;
    let (few, many) = (plans(HOSTS)?, plans(more)?);
    let small = apply(SERVERS)?;
    let large = apply(SERVERS * FACTOR as usize)?;
    Ok(vec![
        Row::Ratio {
            what: "no-op plan of 1,000 simulated hosts, against ten of 100",
            drover: many,
            raw: few.times(FACTOR),
            allowed: LINEAR,
        },
        Row::Ratio {
            what: "apply of 5,000 new servers to 200 of them, against ten of 500",
            drover: large.clone(),
            raw: small.times(FACTOR),
            allowed: LINEAR,
        },
        Row::Time {
            what: "(the same, against a third of Terraform's 995 s)",
            times: large,
            limit: LIMIT,
        },
    ])
}

/// A plan of so many hosts with nothing to do.
fn plans(hosts: usize) -> Result<Times, Failed> {
    let fleet = Fleet::start(&vec![4096; hosts]);
    drover(&fleet, &["apply", "--auto-approve"], "Apply complete!")?;
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        times.push(drover(&fleet, &["plan"], "No changes.")?);
    }
    end(fleet);
    Ok(times)
}

/// An apply that creates so many servers on 200 hosts.
fn apply(servers: usize) -> Result<Times, Failed> {
    let fleet = Fleet::start(&[32 << 10; 200]);
    drover(&fleet, &["apply", "--auto-approve"], "Apply complete!")?;
    fleet.write(
        "servers.hcl",
        &format!(
            "server \"s\" {{\n  count  = {servers}\n  flavor = flavor.small\n  image  = image.guest\n}}\n"
        ),
    );
    let mut times = Times::default();
    let arguments = ["apply", "--auto-approve", "--parallelism", "64"];
    times.push(drover(&fleet, &arguments, &format!("{servers} created"))?);
    end(fleet);
    Ok(times)
}

/// The agents stop before their directories go.
fn end(mut fleet: Fleet) {
    fleet.hosts.iter_mut().for_each(fake_hosts::FakeHost::stop);
}

fn drover(fleet: &Fleet, arguments: &[&str], says: &str) -> Result<Duration, Failed> {
    let mut command = Command::new(binary("drover")?);
    command
        .arg("-C")
        .arg(fleet.project())
        .args(arguments)
        .stdin(Stdio::null());
    let begin = Instant::now();
    let output = command.output()?;
    let took = begin.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && said.contains(says) {
        return Ok(took);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let end: Vec<&str> = complaint.lines().rev().take(20).collect();
    Err(format!(
        "drover {} ended with {} and did not say {says:?}: {end:?}",
        arguments.join(" "),
        output.status
    )
    .into())
}
