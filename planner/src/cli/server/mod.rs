//! `drover server`: one server at a time.

mod console_log;
mod list;
mod migrate;
mod reboot;

use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::Fleet;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use clap::Subcommand;
use drover_core::model::{RecordedFleet, ServerRecord};
use drover_types::{Address, HostName, RequestId};

/// Look at servers, and do what has no lasting desired state
#[derive(Debug, Subcommand)]
pub(super) enum ServerCommand {
    /// List the recorded servers and how their hosts see them
    List(list::ListOptions),
    /// Show one server: its record, and its domain as the host reports it
    Show(list::ShowOptions),
    /// Print what a server's guest wrote to its console
    ConsoleLog(console_log::ConsoleLogOptions),
    /// Reboot a server: soft, and hard after 120 s; or hard at once
    Reboot(reboot::RebootOptions),
    /// Move a server to another host; shown and approved as a plan
    Migrate(Box<migrate::MigrateOptions>),
}

pub(super) async fn run(
    command: ServerCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    match command {
        ServerCommand::List(options) => list::list(&options, no_color, request, output).await,
        ServerCommand::Show(options) => list::show(&options, no_color, request, output).await,
        ServerCommand::ConsoleLog(options) => console_log::run(&options, no_color, request, output).await,
        ServerCommand::Reboot(options) => reboot::run(&options, no_color, request, output).await,
        ServerCommand::Migrate(options) => migrate::run(*options, no_color, request, output).await,
    }
}

/// The store of the configuration here, and what it records.
async fn open(
    variables: &VariableOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<(Fleet, RecordedFleet), Failure> {
    let project = Project::load(variables, Form::new(false, no_color))?;
    let fleet = Fleet::open(&project.settings(output)?, request).await?;
    let recorded = fleet.recorded().await?;
    Ok((fleet, recorded))
}

/// A recorded server and the host that holds it.
fn placed<'a>(
    recorded: &'a RecordedFleet,
    address: &Address,
) -> Result<(&'a ServerRecord, &'a HostName), Failure> {
    let record = recorded.servers.get(address).ok_or_else(|| {
        Failure::new(format!("{address} is not recorded")).hint("`drover server list` lists the servers")
    })?;
    let host = recorded
        .ownership
        .get(&record.id)
        .map(|row| &row.host)
        .or(record.host.as_ref())
        .ok_or_else(|| Failure::new(format!("{address} is on no host yet")).hint("`drover plan` says why"))?;
    Ok((record, host))
}
