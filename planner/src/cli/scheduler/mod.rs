//! `drover scheduler`: what the scheduler would do, without doing it.

mod export;
mod simulate;

use super::exit::ExitStatus;
use super::failure::Failure;
use super::output::Output;
use clap::Subcommand;
use drover_types::RequestId;

/// Try the scheduler on a fleet in a file, or write one
#[derive(Debug, Subcommand)]
pub(super) enum SchedulerCommand {
    /// Place the servers of a scenario file on its hosts, as Nova's scheduler would
    Simulate(simulate::SimulateCommand),
    /// Write the fleet as it is, and the servers to be created, as a scenario file
    Export(export::ExportCommand),
}

pub(super) async fn run(
    command: &SchedulerCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    match command {
        SchedulerCommand::Simulate(command) => simulate::run(command, output),
        SchedulerCommand::Export(command) => export::run(command, no_color, request, output).await,
    }
}
