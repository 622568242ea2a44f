//! `drover state`: what is recorded, address by address.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::Fleet;
use super::hidden;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use super::show::records;
use super::state_edit::{
    MoveOptions, PullOptions, PushOptions, RemoveOptions, move_records, pull, push, remove_records,
};
use clap::{Args, Subcommand};
use drover_types::{Address, RequestId};

/// List, show or change what is recorded
#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// List the addresses of what is recorded
    List(ListOptions),
    /// Show one record
    Show(ShowOptions),
    /// File what is recorded at one address under another; no guest is touched
    Mv(MoveOptions),
    /// Remove records; guests run on
    Rm(RemoveOptions),
    /// Print every record as one JSON document
    Pull(PullOptions),
    /// Write the records of a JSON document, after checking all of it
    Push(PushOptions),
}

#[derive(Debug, Args)]
pub(super) struct ListOptions {
    /// Only this address and its instances
    address: Option<Address>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

#[derive(Debug, Args)]
pub(super) struct ShowOptions {
    /// For example server.web[0]
    address: Address,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &StateCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let variables = match command {
        StateCommand::List(options) => &options.variables,
        StateCommand::Show(options) => &options.variables,
        StateCommand::Mv(options) => return move_records(options, no_color, request, output).await,
        StateCommand::Rm(options) => return remove_records(options, no_color, request, output).await,
        StateCommand::Pull(options) => return pull(options, no_color, request, output).await,
        StateCommand::Push(options) => return push(options, no_color, request, output).await,
    };
    let project = Project::load(variables, Form::new(false, no_color))?;
    let fleet = Fleet::open(&project.settings(output)?, request).await?;
    let recorded = fleet.recorded().await?;
    let mut all: Vec<(Address, serde_json::Value)> = Vec::new();
    for (text, record) in records(&recorded) {
        // A host's name may hold dots and digits first, which an address of a block cannot.
        if let Ok(address) = text.parse() {
            all.push((address, record));
        }
    }
    match command {
        StateCommand::List(options) => {
            let wanted =
                |address: &Address| options.address.as_ref().is_none_or(|asked| asked.covers(address));
            let listed: Vec<String> = all
                .iter()
                .filter(|(address, _)| wanted(address))
                .map(|(address, _)| address.to_string())
                .collect();
            if options.json {
                output.json(&listed)?;
            } else {
                for address in listed {
                    output.line(&address)?;
                }
            }
        }
        StateCommand::Show(options) => {
            let (address, mut record) = all
                .into_iter()
                .find(|(address, _)| *address == options.address)
                .ok_or_else(|| {
                    Failure::new(format!("{} is not recorded", options.address))
                        .hint("`drover state list` lists what is")
                })?;
            let instead = if options.json {
                serde_json::Value::Null
            } else {
                output.line(&format!("# {address}"))?;
                hidden::HIDDEN.into()
            };
            hidden::hide(&mut record, &instead);
            output.json(&record)?;
        }
        StateCommand::Mv(_) | StateCommand::Rm(_) | StateCommand::Pull(_) | StateCommand::Push(_) => {
            unreachable!("these were carried out above")
        }
    }
    Ok(ExitStatus::Done)
}
