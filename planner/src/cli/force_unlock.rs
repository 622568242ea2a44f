//! `drover force-unlock`: removes the lock of a command that is gone.

use super::apply::approved;
use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::{Fleet, who};
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use crate::store::{HeldLock, LockHolder};
use clap::Args;
use drover_types::RequestId;
use uuid::Uuid;

/// Remove the lock of a command that is gone for good
#[derive(Debug, Args)]
pub(super) struct ForceUnlockCommand {
    /// The lock's id, as messages about it say; the lock that is held where it is left out
    #[arg(value_name = "LOCK_ID")]
    id: Option<Uuid>,
    /// Do not ask, and do not look whether its process lives on this machine
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &ForceUnlockCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load(&command.variables, Form::new(false, no_color))?;
    let fleet = Fleet::open(&project.settings(output)?, request).await?;
    let Some(held) = fleet.store.lock_holder().await? else {
        return match command.id {
            None => {
                output.line("The lock is free.")?;
                Ok(ExitStatus::Done)
            }
            Some(id) => Err(Failure::new(format!("lock {id} is not held: the lock is free"))),
        };
    };
    output.line(&description(&held))?;
    if let Some(id) = command.id.filter(|id| *id != held.record.id) {
        return Err(
            Failure::new(format!("the lock that is held is {}, not {id}", held.record.id))
                .hint("name the one that is held, if it is the one you mean"),
        );
    }
    if !command.force && lives_here(&held.record.holder) {
        let pid = held.record.holder.pid;
        return Err(Failure::new(format!("its process, {pid}, runs on this machine"))
            .hint(format!(
                "let it end, or stop it: kill -INT {pid} lets running actions finish and frees the lock"
            ))
            .hint("if that process is another one by now, give --force"));
    }
    if !command.force {
        output.line("\nIf that command still runs somewhere, it loses the lock and ends in the middle.")?;
        if !approved()? {
            output.line("\nNothing was changed.")?;
            return Ok(ExitStatus::Error);
        }
    }
    fleet.store.force_unlock(held.create_revision).await?;
    output.line(&format!("Lock {} is removed.", held.record.id))?;
    Ok(ExitStatus::Done)
}

fn description(held: &HeldLock) -> String {
    let LockHolder {
        who,
        pid,
        operation,
        since,
        drover_version,
        request_id,
    } = &held.record.holder;
    format!(
        "The lock is held:\n  ID:        {}\n  Operation: {operation}\n  Who:       {who}, process {pid}\n  Since:     \
         {since}\n  Version:   {drover_version}\n  Request:   {request_id}",
        held.record.id
    )
}

/// Whether the holder is a drover that runs on this very machine.
fn lives_here(holder: &LockHolder) -> bool {
    let host = |who: &str| who.rsplit('@').next().map(str::to_owned);
    host(&holder.who) == host(&who())
        && std::fs::read_to_string(format!("/proc/{}/comm", holder.pid))
            .is_ok_and(|name| name.trim() == "drover")
}
