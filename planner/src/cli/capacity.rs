//! `drover capacity`: how many more servers fit, and what the loss of each host would mean.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::{PlanningOptions, VariableOptions};
use super::output::Output;
use super::planning::{Ground, When};
use super::project::{Form, Project};
use super::table::table;
use clap::Args;
use drover_core::model::ObservedFleet;
use drover_core::placement::paragraph;
use drover_core::plan::ahead::{FlavorRoom, HostLoss, capacity, losses};
use drover_types::{Address, ByteSize, RequestId};
use serde_json::json;
use std::path::PathBuf;

/// Show how many more servers of each flavor fit, and whether the fleet outlives the loss of any host
#[derive(Debug, Args)]
pub(super) struct CapacityCommand {
    /// Count servers of the flavor ADDR alone (flavor.small); may be given several times
    #[arg(long = "flavor", value_name = "ADDR")]
    flavors: Vec<Address>,
    /// Take the answers that `drover host inventory` saved to FILE; ask no host
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Look at the fleet as `drover apply` would leave it, not as it is
    #[arg(long)]
    after_apply: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &CapacityCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load(&command.variables, Form::new(false, no_color))?;
    let ground = Ground::survey(&project, request, output).await?;
    let declared = &ground.evaluated.desired.flavors;
    let covers = |address: &Address| command.flavors.iter().any(|flavor| flavor.covers(address));
    for flavor in &command.flavors {
        if !declared.keys().any(|address| flavor.covers(address)) {
            let known: Vec<String> = declared.keys().take(20).map(ToString::to_string).collect();
            return Err(Failure::new(format!(
                "--flavor {flavor}: no flavor of that address is declared"
            ))
            .hint(format!("there are {}", known.join(", "))));
        }
    }
    let observed = match &command.inventory {
        Some(file) => ground.recall(file)?.0,
        None => match ground.agents()? {
            Some(agents) => ground.observe(&agents).await,
            None => ObservedFleet::new(),
        },
    };
    let when = if command.after_apply {
        When::AfterApply
    } else {
        When::Now
    };
    let (flavors, losses) = ground.standing(
        &project,
        &observed,
        &PlanningOptions::default(),
        when,
        |inputs, standing| {
            let wanted = |address: &Address| command.flavors.is_empty() || covers(address);
            (capacity(standing, inputs, wanted), losses(standing))
        },
    )?;
    if command.json {
        let holds = losses.iter().all(|loss| loss.stranded.is_empty());
        output.json(&json!({
            "fleet": ground.fleet.name,
            "flavors": flavors,
            "n_plus_one": { "holds": holds, "hosts": losses },
        }))?;
    } else {
        output.line(&rooms(&flavors))?;
        output.line("")?;
        output.line(&fates(&losses))?;
    }
    let silent: Vec<String> = observed
        .iter()
        .filter(|(_, seen)| seen.inventory().is_none())
        .map(|(host, _)| host.to_string())
        .collect();
    if silent.is_empty() {
        return Ok(ExitStatus::Done);
    }
    Err(Failure::new(format!(
        "{} of {} hosts are counted as having no room: {}",
        silent.len(),
        observed.len(),
        silent.join(", ")
    ))
    .hint("`drover host list` says why they do not answer"))
}

fn mib(amount: u64) -> String {
    ByteSize::from_mib(amount).to_string()
}

/// Lines that are longer are told apart.
const COLUMNS: usize = 80;

/// One row for each flavor, a column for each zone; where that is too wide, zones and filters in lines below.
fn rooms(flavors: &[FlavorRoom]) -> String {
    let Some(first) = flavors.first() else {
        return "No flavor is declared.".to_owned();
    };
    let sizes = ["FLAVOR", "VCPUS", "RAM", "DISK", "MORE"];
    let size = |room: &FlavorRoom| -> Vec<String> {
        vec![
            room.flavor.to_string(),
            room.vcpus.to_string(),
            mib(room.ram_mib),
            mib(room.disk_mib),
            room.more.to_string(),
        ]
    };
    let stopped = |room: &FlavorRoom| {
        let filters = room.stopped_by.iter();
        let filters: Vec<String> = filters
            .map(|(filter, hosts)| format!("{filter} on {}", hosts_of(*hosts)))
            .collect();
        filters.join(", ")
    };
    let mut header = sizes.to_vec();
    header.extend(first.zones.keys().map(String::as_str));
    header.push("STOPPED BY");
    let rows: Vec<Vec<String>> = flavors
        .iter()
        .map(|room| {
            let mut row = size(room);
            row.extend(room.zones.values().map(ToString::to_string));
            row.push(
                Some(stopped(room))
                    .filter(|by| !by.is_empty())
                    .unwrap_or_else(|| "-".to_owned()),
            );
            row
        })
        .collect();
    let wide = table(&header, &rows);
    if wide.lines().all(|line| line.chars().count() <= COLUMNS) {
        return wide;
    }
    let rows: Vec<Vec<String>> = flavors.iter().map(size).collect();
    let mut text = table(&sizes, &rows);
    for room in flavors {
        let zones = room.zones.iter().map(|(zone, more)| format!("{more} in {zone}"));
        let mut parts: Vec<String> = zones.collect();
        let by = stopped(room);
        if !by.is_empty() {
            parts.push(format!("stopped by {by}"));
        }
        if !parts.is_empty() {
            text.push_str(&format!(
                "\n{}",
                paragraph(&format!("{}: {}", room.flavor, parts.join(", ")))
            ));
        }
    }
    text
}

fn hosts_of(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} host{plural}")
}

/// One row for each host that holds servers; below it those that would find no other.
fn fates(losses: &[HostLoss]) -> String {
    if losses.is_empty() {
        return "No host holds servers.".to_owned();
    }
    let rows: Vec<Vec<String>> = losses
        .iter()
        .map(|loss| {
            let fate = match loss.stranded.len() {
                0 => "all fit elsewhere".to_owned(),
                left => format!("{left} fit nowhere else"),
            };
            vec![loss.host.to_string(), loss.servers.to_string(), fate]
        })
        .collect();
    let mut text = table(&["HOST", "SERVERS", "IF IT WERE LOST"], &rows);
    for loss in losses.iter().filter(|loss| !loss.stranded.is_empty()) {
        text.push_str(&format!("\n\nIf {} were lost:", loss.host));
        for stranded in &loss.stranded {
            text.push_str(&format!("\n{}", paragraph(&format!("  {stranded}"))));
        }
    }
    text
}
