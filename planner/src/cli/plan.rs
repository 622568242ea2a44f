//! `drover plan`: shows what apply would do, where and why.

use super::events;
use super::exit::ExitStatus;
use super::failure::Failure;
use super::generated;
use super::options::{DetailOptions, DisplayOptions, PlanningOptions, VariableOptions};
use super::output::Output;
use super::planning::{Wish, make, make_from_file};
use super::project::Project;
use crate::agents::FAN_OUT;
use crate::files::write_private;
use clap::Args;
use drover_core::plan::text::Detail;
use drover_core::plan::{Plan, PlanMode};
use drover_core::plan::{encode, render_markdown, text};
use drover_types::{Address, RequestId};
use std::path::PathBuf;

/// Show what apply would do, where each server would land, and why
#[derive(Debug, Args)]
pub(super) struct PlanCommand {
    #[command(flatten)]
    variables: VariableOptions,
    #[command(flatten)]
    planning: PlanningOptions,
    /// Write the plan to FILE, for `drover apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Plan with the answers that `drover host inventory` saved to FILE; ask no host
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    #[command(flatten)]
    display: DisplayOptions,
    #[command(flatten)]
    detail: DetailOptions,
    /// Show why each server goes where it goes: every host, with the filters that refuse it and their numbers, or its
    /// weights; with ADDR these servers alone, also those that stay where they are
    #[arg(long, value_name = "ADDR")]
    explain: Option<Option<Address>>,
    /// Print a summary in Markdown to paste in a pull request, the plan folded away in it
    #[arg(long, conflicts_with_all = ["json", "full", "explain"])]
    markdown: bool,
    /// Write blocks to FILE, which must not be there yet, for servers that are to be imported and not declared, and plan
    /// with them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["destroy", "refresh_only"])]
    generate_config_out: Option<PathBuf>,
    /// Exit with 2 where there are changes
    #[arg(long)]
    detailed_exitcode: bool,
    /// Ask at most N hosts at a time
    #[arg(long, value_name = "N", default_value_t = FAN_OUT, value_parser = clap::value_parser!(u16).range(1..=1024), conflicts_with = "inventory")]
    parallelism: u16,
    /// Plan to destroy everything (or every target)
    #[arg(long, conflicts_with = "refresh_only")]
    destroy: bool,
    /// Replace the server ADDR although nothing of it changed; may be given several times
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["destroy", "refresh_only"])]
    replace: Vec<Address>,
}

pub(super) async fn run(
    command: &PlanCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load_for_plan(&command.variables, &command.display, no_color, output)?;
    let project = match &command.generate_config_out {
        Some(path) => {
            let saved = command.inventory.as_deref();
            generated::write(project, &command.variables, path, saved, request, output).await?
        }
        None => project,
    };
    let wish = Wish {
        destroy: command.destroy,
        explain: command.explain.is_some(),
        explain_only: command.explain.clone().flatten(),
        replace: command.replace.clone(),
        migrate: Vec::new(),
        balance: None,
        import: None,
        at_once: Some(command.parallelism),
    };
    let plan = match &command.inventory {
        Some(file) => make_from_file(&project, &command.planning, wish, file, request, output).await?,
        None => {
            make(&project, &command.planning, wish, request, output)
                .await?
                .plan
        }
    };
    let plan = &plan;
    if command.markdown {
        for event in events::of_plan(plan) {
            output.event(&event)?;
        }
        output.write(render_markdown(plan).as_bytes())?;
    } else {
        show(
            plan,
            &command.display,
            command.detail.detail(),
            command.explain.is_some(),
            output,
        )?;
    }
    if let Some(path) = &command.out {
        // Private, since outputs may be sensitive.
        write_private(path, &encode(plan)).map_err(|error| {
            Failure::because(format!("could not write the plan to {}", path.display()), error)
        })?;
    }
    if !command.display.json && !command.markdown {
        output.write(next_step(command, plan).as_bytes())?;
    }
    Ok(status(plan, command.detailed_exitcode))
}

/// How to go on from here.
fn next_step(command: &PlanCommand, plan: &Plan) -> String {
    match &command.out {
        Some(path) => format!(
            "\nSaved the plan to {path}. To perform exactly these actions, run:\n    drover apply {path}\n",
            path = path.display()
        ),
        None if plan.is_empty() => String::new(),
        None => "\nThe plan was not saved, so `drover apply` makes a new one. To apply exactly this\none, save it \
                 with --out FILE.\n"
            .to_owned(),
    }
}

/// An incomplete look is an error, whatever else was found.
pub(super) fn status(plan: &Plan, detailed: bool) -> ExitStatus {
    if !plan.is_whole() {
        ExitStatus::Error
    } else if detailed && (!plan.is_empty() || shows_drift(plan)) {
        ExitStatus::Changes
    } else {
        ExitStatus::Done
    }
}

/// Whether it was made to look for drift and found some: then that is the change, also where recording it takes
/// no action.
fn shows_drift(plan: &Plan) -> bool {
    match plan.mode {
        PlanMode::RefreshOnly => !plan.drift.is_empty(),
        PlanMode::Apply | PlanMode::Destroy => false,
    }
}

/// Colours, where they are wanted.
pub(super) fn style(output: &Output) -> text::Style {
    if output.colour() {
        text::Style::COLOUR
    } else {
        text::Style::PLAIN
    }
}

/// Shows a plan to people, and to whoever reads events.
pub(super) fn show(
    plan: &Plan,
    display: &DisplayOptions,
    detail: Detail,
    explain: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.has_readers() {
        for event in events::of_plan(plan) {
            output.event(&event)?;
        }
    }
    if display.json {
        return Ok(());
    }
    let view = display.view(detail, output);
    output.write(text::render_as(plan, view).as_bytes())?;
    if explain {
        let explanation = text::explain(plan, view.style);
        if !explanation.is_empty() {
            output.line("")?;
            output.write(explanation.as_bytes())?;
        }
    }
    Ok(())
}
