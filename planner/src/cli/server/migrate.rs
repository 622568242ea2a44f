//! `drover server migrate`: a plan of one migration, shown and approved as any other.

use super::super::apply::{Execution, approve_and_carry_out};
use super::super::exit::ExitStatus;
use super::super::failure::Failure;
use super::super::options::{
    ApprovalOptions, DisplayOptions, PlanningOptions, ScopeOptions, VariableOptions,
};
use super::super::output::Output;
use super::super::plan::show;
use super::super::planning::{Wish, make};
use super::super::project::Project;
use super::placed;
use clap::Args;
use drover_core::plan::text::Detail;
use drover_core::plan::{ActionKind, MigrateRequest};
use drover_types::{Address, HostName, RequestId};

#[derive(Debug, Args)]
pub(in super::super) struct MigrateOptions {
    /// For example server.web[0]
    address: Address,
    /// To this host [default: the best by filters and weights]
    #[arg(long, value_name = "HOST")]
    to: Option<HostName>,
    #[command(flatten)]
    variables: VariableOptions,
    #[command(flatten)]
    approval: ApprovalOptions,
    /// Accept that HOST does not answer; may be given several times
    #[arg(long = "allow-unreachable", value_name = "HOST")]
    allow_unreachable: Vec<HostName>,
    #[command(flatten)]
    display: DisplayOptions,
    /// Show every host that the server could not go to, with the filter and its numbers
    #[arg(long)]
    explain: bool,
}

pub(super) async fn run(
    options: MigrateOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load_for_plan(&options.variables, &options.display, no_color, output)?;
    let (address, to) = (options.address.clone(), options.to.clone());
    // Nothing but this server: what else the configuration changes is for `apply`.
    let planning = PlanningOptions {
        scope: ScopeOptions {
            targets: vec![options.address.clone()],
            allow_unreachable: options.allow_unreachable.clone(),
            ..ScopeOptions::default()
        },
        ..PlanningOptions::default()
    };
    let wish = Wish {
        destroy: false,
        explain: options.explain,
        explain_only: None,
        replace: Vec::new(),
        balance: None,
        migrate: vec![MigrateRequest {
            address: address.clone(),
            to: to.clone(),
        }],
        import: None,
        at_once: None,
    };
    let planned = make(&project, &planning, wish, request, output).await?;
    placed(&planned.recorded, &address)?;
    if let Some(unknown) = to.filter(|to| !planned.agents.names().any(|name| name == to)) {
        return Err(
            Failure::new(format!("--to {unknown}: no such host is declared or recorded"))
                .hint("`drover host list` lists the hosts"),
        );
    }
    show(
        &planned.plan,
        &options.display,
        Detail::Full,
        options.explain,
        output,
    )?;
    // Where it cannot be moved the plan says why, and what else it would write down is not what was asked.
    let moves = planned
        .plan
        .actions
        .iter()
        .any(|action| matches!(action.kind, ActionKind::Migrate { .. }) && action.address == address);
    if !moves {
        return Ok(ExitStatus::Error);
    }
    approve_and_carry_out(
        planned,
        "migrate",
        Execution::unbounded(&options.approval),
        options.display.json,
        output,
    )
    .await
}
