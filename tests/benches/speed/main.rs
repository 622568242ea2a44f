//! Drover's speed against the raw tools, measured in one run on one lab, as ratios with a target each.
//!
//!     make bench                                              everything
//!     cargo bench -p drover-tests --bench speed -- boot       one of: boot, plan, migration, memory,
//!                                                             decisions, large, simulated, image
//!
//! Needs root and the packages of `scripts/setup lab`. Drover and the raw tools take turns, so that what
//! else the machine does meets both; of several rounds the median counts.

mod boot;
mod decisions;
mod fleet;
mod image;
mod large;
mod memory;
mod migration;
mod plan;
mod simulated;
mod table;

use drover_tests::lab::{Etcd, Lab};
use fleet::Fleet;
use std::error::Error;
use std::process::ExitCode;
use table::Row;

/// What a measurement can fail with: any part of the lab, or what a command answered.
type Failed = Box<dyn Error>;

/// One measurement: its name on the command line, and how it is taken.
type Part = (&'static str, fn(&Fleet<'_>) -> Result<Vec<Row>, Failed>);

/// The image comes last: it uses an agent without the planner.
const PARTS: [Part; 8] = [
    ("boot", boot::measure),
    ("plan", plan::measure),
    ("migration", migration::measure),
    ("memory", memory::measure),
    ("decisions", decisions::measure),
    ("large", large::measure),
    ("simulated", simulated::measure),
    ("image", image::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs this program too, without this word.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("nothing measured: run `make bench`");
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !PARTS.iter().any(|(part, _)| part == *name))
    {
        let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "there is no measurement {unknown:?}; there are {}",
            known.join(", ")
        );
        return ExitCode::FAILURE;
    }
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: &[&str]) -> Result<(), Failed> {
    let lab = Lab::builder().hosts(3).etcd(Etcd::Single).start()?;
    lab.start_agents()?;
    let fleet = Fleet::prepare(&lab)?;
    let mut rows = Vec::new();
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.contains(&name) {
            eprintln!("bench: {name}");
            rows.extend(measure(&fleet)?);
        }
    }
    print!("{}", table::render(&rows));
    match rows.iter().filter(|row| !row.is_met()).count() {
        0 => Ok(()),
        over => Err(format!("{over} of {} lines are over their limit", rows.len()).into()),
    }
}
