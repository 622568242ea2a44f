//! `drover scheduler export`: the current fleet as a scenario file.

use super::super::exit::ExitStatus;
use super::super::failure::Failure;
use super::super::options::{PlanningOptions, VariableOptions};
use super::super::output::Output;
use super::super::planning::Ground;
use super::super::project::{Form, Project};
use crate::files::write_private;
use clap::Args;
use drover_core::model::ObservedFleet;
use drover_types::RequestId;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportCommand {
    /// Write to FILE instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Take the answers that `drover host inventory` saved to FILE; ask no host
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Consider hosts again that refused a server before
    #[arg(long)]
    retry_all: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &ExportCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load(&command.variables, Form::new(false, no_color))?;
    let ground = Ground::survey(&project, request, output).await?;
    let observed = match &command.inventory {
        Some(file) => ground.recall(file)?.0,
        None => match ground.agents()? {
            Some(agents) => ground.observe(&agents).await,
            None => ObservedFleet::new(),
        },
    };
    let options = PlanningOptions {
        retry_all: command.retry_all,
        ..PlanningOptions::default()
    };
    let scenario = ground.export(&project, &observed, &options)?;
    match &command.out {
        Some(path) => {
            let mut bytes = serde_json::to_vec_pretty(&scenario)?;
            bytes.push(b'\n');
            write_private(path, &bytes).map_err(|error| {
                Failure::because(
                    format!("could not write the scenario to {}", path.display()),
                    error,
                )
            })?;
            output.line(&format!(
                "Saved {} hosts and {} servers to be created to {path}. To try it:\n    drover scheduler simulate {path}",
                scenario.hosts.len(),
                scenario.servers.len(),
                path = path.display()
            ))?;
        }
        None => output.json(&scenario)?,
    }
    let silent: Vec<&str> = scenario
        .hosts
        .iter()
        .filter(|host| !host.up)
        .map(|host| host.name.as_str())
        .collect();
    if silent.is_empty() {
        return Ok(ExitStatus::Done);
    }
    Err(Failure::new(format!(
        "{} of {} hosts are written down as being down: {}",
        silent.len(),
        scenario.hosts.len(),
        silent.join(", ")
    ))
    .hint("`drover host list` says why"))
}
