//! `drover refresh`: `apply --refresh-only` by a name of its own.

use super::apply::{Asked, Execution, plan_and_carry_out};
use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::{
    ApprovalOptions, DetailOptions, DisplayOptions, PlanningOptions, ScopeOptions, VariableOptions,
};
use super::output::Output;
use super::planning::Wish;
use super::project::Project;
use clap::Args;
use drover_types::{Address, HostName, RequestId};

/// Bring the records up to date with what the hosts report, and change nothing else
#[derive(Debug, Args)]
pub(super) struct RefreshCommand {
    #[command(flatten)]
    variables: VariableOptions,
    /// Only ADDR; may be given several times
    #[arg(long = "target", value_name = "ADDR")]
    targets: Vec<Address>,
    /// Accept that HOST does not answer; may be given several times
    #[arg(long = "allow-unreachable", value_name = "HOST")]
    allow_unreachable: Vec<HostName>,
    #[command(flatten)]
    approval: ApprovalOptions,
    #[command(flatten)]
    display: DisplayOptions,
    #[command(flatten)]
    detail: DetailOptions,
}

pub(super) async fn run(
    command: RefreshCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load_for_plan(&command.variables, &command.display, no_color, output)?;
    let planning = PlanningOptions {
        scope: ScopeOptions {
            targets: command.targets,
            allow_unreachable: command.allow_unreachable,
            ..ScopeOptions::default()
        },
        refresh_only: true,
        ..PlanningOptions::default()
    };
    let asked = Asked {
        operation: "refresh",
        planning: &planning,
        wish: Wish::default(),
        explain: false,
        execution: Execution::unbounded(&command.approval),
        display: &command.display,
        detail: command.detail.detail(),
    };
    Box::pin(plan_and_carry_out(&project, &asked, request, output)).await
}
