//! `drover host inventory`, and the file that it writes read again: what all hosts reported at one time.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::VariableOptions;
use super::output::Output;
use super::planning::Ground;
use super::project::{Form, Project};
use crate::files::write_private;
use clap::Args;
use drover_core::model::{
    HostObservation, InventoryFileError, ObservedFleet, SavedInventory, UnobservedReason,
};
use drover_types::{FleetName, RequestId};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct InventoryOptions {
    /// Write to FILE instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    variables: VariableOptions,
}

/// Asks every declared and recorded host. What did not answer is saved as such, and the status says so.
pub(super) async fn run(
    options: &InventoryOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load(&options.variables, Form::new(false, no_color))?;
    let ground = Ground::survey(&project, request, output).await?;
    let hosts = match ground.agents()? {
        Some(agents) => ground.observe(&agents).await,
        None => ObservedFleet::new(),
    };
    let saved = SavedInventory {
        fleet: ground.fleet.name.clone(),
        taken: super::progress::now(),
        drover_version: env!("CARGO_PKG_VERSION").to_owned(),
        hosts,
    };
    let silent: Vec<String> = saved
        .hosts
        .iter()
        .filter(|(_, seen)| seen.inventory().is_none())
        .map(|(host, _)| host.to_string())
        .collect();
    let bytes = saved.encode();
    match &options.out {
        Some(path) => {
            write_private(path, &bytes).map_err(|error| {
                Failure::because(
                    format!("could not write the inventory to {}", path.display()),
                    error,
                )
            })?;
            output.line(&format!(
                "Saved what {} of {} hosts report to {path}. To plan from it:\n    drover plan --inventory {path}",
                saved.hosts.len() - silent.len(),
                saved.hosts.len(),
                path = path.display()
            ))?;
        }
        None => output.write(&bytes)?,
    }
    if silent.is_empty() {
        return Ok(ExitStatus::Done);
    }
    Err(Failure::new(format!(
        "{} of {} hosts gave no inventory: {}",
        silent.len(),
        saved.hosts.len(),
        silent.join(", ")
    ))
    .hint("`drover host list` says why"))
}

/// An inventory read from a file.
pub(super) fn read(path: &Path, fleet: &FleetName) -> Result<SavedInventory, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::because(format!("could not read the inventory {}", path.display()), error)
    })?;
    let saved = SavedInventory::decode(&bytes, fleet).map_err(|error| refused(path, error))?;
    if saved.taken.parse::<jiff::Timestamp>().is_err() {
        return Err(Failure::new(format!(
            "the inventory {} says that it was taken at {:?}, which is no time",
            path.display(),
            saved.taken
        )));
    }
    Ok(saved)
}

fn refused(path: &Path, error: InventoryFileError) -> Failure {
    let again = "save it again with `drover host inventory --out FILE`";
    Failure::because(format!("the inventory {} cannot be used", path.display()), error).hint(again)
}

/// What of a saved inventory concerns these hosts; one that it does not have was not asked.
pub(super) fn answers_of(
    saved: SavedInventory,
    hosts: impl IntoIterator<Item = drover_types::HostName>,
) -> ObservedFleet {
    let mut answers = saved.hosts;
    hosts
        .into_iter()
        .map(|host| {
            let unasked = HostObservation::Unobserved(UnobservedReason::NotInInventory);
            let answer = answers.remove(&host).unwrap_or(unasked);
            (host, answer)
        })
        .collect()
}
