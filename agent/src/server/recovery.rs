//! Work on servers that a restart of the agent interrupted: look at what is there, then finish it or undo it. While
//! libvirt does not answer nothing is known of what is there, so that is waited for: agent and libvirt start at the same
//! time with a host.

use super::adopt::{self, Adoption};
use super::change::{self, Deletion};
use super::create;
use super::domain::ServerHere;
use super::failure::WorkError;
use super::found::Kept;
use super::request::WantedServer;
use crate::agent::Agent;
use crate::operations::{Failure, OperationHandle, WorkResult};
use drover_agent_core::oplog::{Began, FailureCode, OperationKind, Record};
use drover_agent_core::power::WantedPower;
use drover_proto::v1;
use drover_proto::v1::operation_result::Result as Success;
use drover_types::{Epoch, ServerId};
use serde::de::DeserializeOwned;
use std::time::Duration;

fn request<M: DeserializeOwned>(began: &Began) -> Result<M, Failure> {
    serde_json::from_value(began.request.clone()).map_err(|error| {
        let message = format!(
            "the interrupted operation {} cannot be read back: {error}",
            began.operation
        );
        Failure::new(FailureCode::System, message)
    })
}

/// Ends an interrupted operation on a server. Migrations are `migration`'s.
///
/// # Errors
/// Why it could neither be finished nor undone, or that it was undone.
pub(crate) async fn recover(
    agent: &Agent,
    server: ServerId,
    began: &Began,
    handle: &OperationHandle,
) -> WorkResult {
    let here = ServerHere::new(agent, server);
    here.until_libvirt_answers(handle).await;
    let held = agent
        .operations
        .log()
        .read(move |state| state.held_epoch(server))
        .await
        .map_err(WorkError::Log)?;
    let epoch = held.unwrap_or_default();
    let result = match began.kind {
        OperationKind::CreateServer => finish_create(&here, epoch, began, handle).await?,
        OperationKind::DeleteServer => {
            let wire: v1::DeleteServerRequest = request(began)?;
            change::delete(agent, server, held, Deletion::of(&wire), handle).await?
        }
        OperationKind::StartServer => {
            change::set_power(agent, server, epoch, WantedPower::On, Duration::ZERO, handle).await?
        }
        OperationKind::StopServer => {
            let wire: v1::SetPowerRequest = request(began)?;
            let grace = Duration::from_millis(wire.grace_ms);
            change::set_power(agent, server, epoch, WantedPower::Off, grace, handle).await?
        }
        OperationKind::AdoptServer => finish_adoption(agent, &here, epoch, began, handle).await?,
        OperationKind::RebootServer => finish_reboot(&here, epoch).await?,
        OperationKind::UpdateServer => {
            let wire: v1::UpdateServerRequest = request(began)?;
            let restart = change::Restart::of(&wire);
            let marks = here.record().await?.mark().clone();
            let server = drover_proto::field::required("server", wire.server).map_err(WorkError::Request)?;
            let wanted =
                WantedServer::parse(marks.fleet, marks.project, server).map_err(WorkError::Request)?;
            change::update(agent, wanted, epoch, restart, handle).await?
        }
        OperationKind::FetchImage
        | OperationKind::RemoveImage
        | OperationKind::MigrateOut
        | OperationKind::MigrateIn => {
            let kind = began.kind.as_str();
            return Err(Failure::new(
                FailureCode::System,
                format!("{kind} is no work on a server's domain"),
            ));
        }
    };
    Ok(Success::Server(result))
}

/// Finished where everything was made and only the start, or the answer, was missing; undone otherwise.
async fn finish_create(
    here: &ServerHere<'_>,
    epoch: Epoch,
    began: &Began,
    handle: &OperationHandle,
) -> Result<v1::ServerResult, Failure> {
    let wire: v1::CreateServerRequest = request(began)?;
    let defined = here.report().await?.is_some_and(|domain| domain.persistent);
    let kept = here.kept().await?;
    let ours = kept.is_some_and(|kept| kept.mark().epoch == epoch);
    let server = here.id();
    let wanted = handle
        .log()
        .read(move |state| state.wanted_power(server))
        .await
        .map_err(WorkError::Log)?;
    if defined
        && ours
        && let Some(power) = wanted
    {
        match power {
            WantedPower::On => here.run().await?,
            WantedPower::Paused | WantedPower::Off => {}
        }
        return Ok(here.result(epoch).await?);
    }
    if wire.adopt {
        // Somebody's guest: never removed here, only not taken over.
        handle
            .log()
            .append(vec![Record::Gone { server }])
            .await
            .map_err(WorkError::Log)?;
    } else {
        create::undo(here, handle).await?;
    }
    Err(Failure::new(
        FailureCode::CutShort,
        format!("the agent was restarted while it created server {server}; nothing of it is left"),
    )
    .hint("apply again"))
}

/// Finished where our record of the domain is there; before that nothing of it was touched.
async fn finish_adoption(
    agent: &Agent,
    here: &ServerHere<'_>,
    epoch: Epoch,
    began: &Began,
    handle: &OperationHandle,
) -> Result<v1::ServerResult, Failure> {
    let wire: v1::AdoptServerRequest = request(began)?;
    let server = here.id();
    match here.kept().await? {
        Some(Kept::Found(found)) if found.mark.epoch == epoch => {
            let (fleet, project) = (found.mark.fleet.clone(), found.mark.project.clone());
            let wanted = Adoption::parse(fleet, project, &wire).map_err(WorkError::Request)?;
            Ok(adopt::adopt(agent, wanted, handle).await?)
        }
        Some(Kept::Found(_) | Kept::Made(_)) | None => {
            handle
                .log()
                .append(vec![Record::Gone { server }])
                .await
                .map_err(WorkError::Log)?;
            Err(Failure::new(
                FailureCode::CutShort,
                format!(
                    "the agent was restarted before it took over server {server}; its domain is as it was"
                ),
            )
            .hint("apply again"))
        }
    }
}

/// A guest that is off was ended for its restart, so it is started; one that runs may have been restarted or
/// not, and is left alone: once too few is repaired by asking again, once too many is not.
async fn finish_reboot(here: &ServerHere<'_>, epoch: Epoch) -> Result<v1::ServerResult, Failure> {
    if here.is_active().await? {
        return Err(Failure::new(
            FailureCode::System,
            format!(
                "the agent was restarted while it rebooted server {}, which runs",
                here.id()
            ),
        )
        .hint("look at its console log, and reboot it again if need be"));
    }
    here.run().await?;
    Ok(here.result(epoch).await?)
}
