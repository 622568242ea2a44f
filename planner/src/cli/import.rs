//! `drover import`: one domain that is there becomes a server that is declared, without a restart.

use super::apply::{Execution, approve_and_carry_out};
use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::{ApprovalOptions, DisplayOptions, PlanningOptions, ScopeOptions, VariableOptions};
use super::output::Output;
use super::plan::show;
use super::planning::{Wish, make};
use super::project::Project;
use clap::Args;
use drover_core::model::ImportId;
use drover_core::plan::text::Detail;
use drover_core::plan::{ActionKind, ImportRequest};
use drover_types::{Address, HostName, Kind, RequestId};

/// Take an existing libvirt domain under management, as it is and without a restart
///
/// The configuration must declare the server, with a flavor of the domain's size.
#[derive(Debug, Args)]
pub(super) struct ImportCommand {
    /// The server that the domain becomes, for example server.web
    #[arg(value_name = "ADDR")]
    address: Address,
    /// The domain: its host, and its name or UUID there
    #[arg(value_name = "HOST/DOMAIN")]
    domain: ImportId,
    #[command(flatten)]
    variables: VariableOptions,
    /// Accept that HOST does not answer; may be given several times
    #[arg(long = "allow-unreachable", value_name = "HOST")]
    allow_unreachable: Vec<HostName>,
    #[command(flatten)]
    approval: ApprovalOptions,
    #[command(flatten)]
    display: DisplayOptions,
}

pub(super) async fn run(
    command: ImportCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load_for_plan(&command.variables, &command.display, no_color, output)?;
    let (address, id) = (&command.address, &command.domain);
    if address.kind != Kind::Server {
        return Err(Failure::new(format!(
            "nothing was imported: {address} is no server"
        )));
    }
    // Nothing but this server: what else the configuration changes is for `apply`.
    let planning = PlanningOptions {
        scope: ScopeOptions {
            targets: vec![address.clone()],
            allow_unreachable: command.allow_unreachable.clone(),
            ..ScopeOptions::default()
        },
        ..PlanningOptions::default()
    };
    let wish = Wish {
        import: Some(ImportRequest {
            address: address.clone(),
            id: id.clone(),
        }),
        ..Wish::default()
    };
    let planned = make(&project, &planning, wish, request, output).await?;
    if let Some(record) = planned.recorded.servers.get(address) {
        let host = record
            .host
            .as_ref()
            .map(|host| format!(" on {host}"))
            .unwrap_or_default();
        return Err(Failure::new(format!(
            "nothing was imported: {address} is recorded already, as server {}{host}",
            record.id
        ))
        .hint("import the domain under another address"));
    }
    show(&planned.plan, &command.display, Detail::Full, false, output)?;
    // Where it cannot be taken over the plan says why, and what else it would write down is not what was asked.
    let imports = planned.plan.actions.iter().any(|action| {
        let takes = matches!(action.kind, ActionKind::Import { .. } | ActionKind::Adopt { .. });
        takes && action.address == *address
    });
    if !imports {
        return Ok(ExitStatus::Error);
    }
    Box::pin(approve_and_carry_out(
        planned,
        "import",
        Execution::unbounded(&command.approval),
        command.display.json,
        output,
    ))
    .await
}
