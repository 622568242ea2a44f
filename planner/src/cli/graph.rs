//! `drover graph`: what refers to what in the files, or what comes before what in a plan.

use super::apply::refused;
use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use clap::{Args, ValueEnum};
use drover_core::graph::Graph;
use drover_core::plan::decode;
use drover_lang::config::Identities;
use std::path::PathBuf;

/// Draw what refers to what in the files, or what comes before what in a plan
#[derive(Debug, Args)]
pub(super) struct GraphCommand {
    /// Draw the actions of a plan written by `drover plan --out`
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// In which language
    #[arg(long, value_enum, default_value_t = Format::Dot)]
    format: Format,
    /// The same as --format mermaid
    #[arg(long, conflicts_with = "format")]
    mermaid: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

/// Languages of graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For Graphviz: drover graph | dot -Tsvg
    Dot,
    /// For Markdown that draws it
    Mermaid,
}

pub(super) fn run(
    command: &GraphCommand,
    no_color: bool,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load(&command.variables, Form::new(false, no_color))?;
    let graph = match &command.plan {
        Some(path) => {
            let settings = project.settings(output)?;
            let bytes = std::fs::read(path).map_err(|error| {
                Failure::because(format!("could not read the plan {}", path.display()), error)
            })?;
            let plan = decode(&bytes, &settings.fleet, &settings.project).map_err(|error| {
                let status = refused(&error);
                Failure::because(format!("the plan {} cannot be drawn", path.display()), error)
                    .with_status(status)
            })?;
            Graph::of_plan(&plan)
        }
        None => Graph::of_fleet(&project.evaluate(Identities::Unread, output)?.desired),
    };
    let text = match (command.mermaid, command.format) {
        (true, _) | (false, Format::Mermaid) => graph.mermaid(),
        (false, Format::Dot) => graph.dot(),
    };
    output.write(text.as_bytes())?;
    Ok(ExitStatus::Done)
}
