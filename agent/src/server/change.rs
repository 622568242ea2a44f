//! Changing a server that is here: power, reboot, size and marks, and its end.

use super::adopt;
use super::directory::ServerFile;
use super::domain::ServerHere;
use super::failure::WorkError;
use super::found::{FoundServer, Kept};
use super::request::WantedServer;
use crate::agent::Agent;
use crate::hypervisor::DomainReport;
use crate::operations::OperationHandle;
use drover_agent_core::domain::{Attribute, Before, attributes, drift, read_back, render};
use drover_agent_core::oplog::Record;
use drover_agent_core::power::WantedPower;
use drover_proto::v1;
use drover_types::{Epoch, PowerState, ServerId};
use std::time::Duration;

/// How long a guest may take to shut down when a change of its size needs it, as Nova's soft reboot.
pub(super) const RESIZE_GRACE: Duration = Duration::from_secs(120);

/// Remembers the power state that is wanted, then brings the guest into it.
pub(crate) async fn set_power(
    agent: &Agent,
    server: ServerId,
    epoch: Epoch,
    power: WantedPower,
    grace: Duration,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let here = ServerHere::new(agent, server);
    operation
        .log()
        .append(vec![Record::PowerWanted { server, power }])
        .await
        .map_err(WorkError::Log)?;
    apply_power(&here, power, grace, operation).await?;
    here.result(epoch).await
}

pub(super) async fn apply_power(
    here: &ServerHere<'_>,
    power: WantedPower,
    grace: Duration,
    operation: &OperationHandle,
) -> Result<(), WorkError> {
    match power {
        WantedPower::On => {
            operation.phase("starting the guest");
            here.run().await
        }
        WantedPower::Paused => {
            here.run().await?;
            here.pause().await
        }
        WantedPower::Off => {
            operation.phase("shutting the guest down");
            here.shut_down(grace).await
        }
    }
}

/// Restarts a running guest. Soft: it is asked by ACPI, ended after `grace`, and started anew, as Nova does,
/// so that a changed definition takes effect; libvirt's own reboot would keep the old QEMU.
pub(crate) async fn reboot(
    agent: &Agent,
    server: ServerId,
    epoch: Epoch,
    grace: Option<Duration>,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let here = ServerHere::new(agent, server);
    let state = here.state().await?;
    if !state.is_some_and(|state| state.is_active()) {
        return Err(WorkError::Conflict {
            server,
            expected: "a guest that runs",
            found: state.map_or_else(|| "no domain".to_owned(), |state| state.power.to_string()),
        });
    }
    match grace {
        Some(grace) => {
            operation.phase("shutting the guest down");
            here.shut_down(grace).await?;
        }
        None => here.end().await?,
    }
    operation.phase("starting the guest");
    here.start().await?;
    here.result(epoch).await
}

/// Whether an update may restart the guest: its plan said so, or did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// It may.
    Allowed,
    /// A change that needs it is refused.
    Refused,
}

impl Restart {
    /// As an update's request has it.
    pub(crate) const fn of(message: &v1::UpdateServerRequest) -> Self {
        if message.keep_running {
            Self::Refused
        } else {
            Self::Allowed
        }
    }
}

/// Brings disk, definition, running guest, marks and power to what is wanted, from whatever they are. The
/// image and what is frozen stay, and so do the cells and devices of the host, as far as they are what is wanted.
pub(crate) async fn update(
    agent: &Agent,
    wanted: WantedServer,
    epoch: Epoch,
    restart: Restart,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let here = ServerHere::new(agent, wanted.id);
    let before = match here.record().await? {
        Kept::Made(file) => *file,
        Kept::Found(found) => {
            return adopt::restore(&here, *found, &wanted, (epoch, restart), operation).await;
        }
    };
    let mut spec = before.spec.clone();
    spec.metadata = super::build::metadata(&wanted, epoch);
    spec.memory = wanted.memory;
    spec.vcpus = wanted.vcpus;
    let profile = (agent.profiles.get(&agent.hypervisor).await).map_err(WorkError::Profile)?;
    let claim = agent.claim().await;
    spec.place = agent
        .place(&wanted, &profile, Before::Place(&before.spec.place), &claim)
        .await?;
    let after = ServerFile {
        spec,
        disk_bytes: wanted.disk_bytes,
        ..before
    };
    let found = here.report().await?;
    let differs = found
        .as_ref()
        .map_or_else(Vec::new, |domain| live_differences(domain, &after));
    if restart == Restart::Refused && !differs.is_empty() {
        return Err(WorkError::Conflict {
            server: wanted.id,
            expected: "a guest that need not be restarted, as planned",
            found: format!("one that runs with another {}", differs.join(", ")),
        });
    }
    operation.phase("looking at the disk");
    here.grow_disk(&after).await?;
    here.write_file(after.clone()).await?;
    drop(claim);
    operation.phase("defining the domain");
    if found
        .as_ref()
        .is_some_and(|domain| is_renamed(domain, &render(&after.spec)))
    {
        // libvirt takes no other name for a UUID that it knows.
        here.shut_down(RESIZE_GRACE).await?;
        here.undefine().await?;
    }
    here.define(&after).await?;
    if !differs.is_empty() {
        operation.phase("restarting the guest");
        here.shut_down(RESIZE_GRACE).await?;
    } else if here.is_active().await? {
        here.mark_live(&after).await?;
    }
    let (server, power) = (wanted.id, wanted.power);
    operation
        .log()
        .append(vec![Record::PowerWanted { server, power }])
        .await
        .map_err(WorkError::Log)?;
    apply_power(&here, power, RESIZE_GRACE, operation).await?;
    here.result(epoch).await
}

/// In what the running guest differs from what it is to be, beside what changes while it runs.
fn live_differences(domain: &DomainReport, wanted: &ServerFile) -> Vec<String> {
    let live = domain
        .live_xml
        .as_deref()
        .map(|xml| read_back(xml).unwrap_or_default());
    let differs = drift(&attributes(&wanted.spec), live.as_ref(), None);
    differs
        .into_iter()
        .filter(|one| !one.attribute.is_changed_live())
        .map(|one| one.attribute.to_string())
        .collect()
}

/// Whether a domain has another name than this definition gives it.
pub(super) fn is_renamed(domain: &DomainReport, definition: &str) -> bool {
    let name = |xml: &str| read_back(xml).ok()?.remove(&Attribute::Name);
    let defined = domain.persistent_xml.as_deref().and_then(name);
    defined.is_some() && defined != name(definition)
}

/// How much of a server is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// Guest, domain and directory.
    Server,
    /// What it left here: it runs elsewhere.
    Leftover,
    /// Marks and epoch: it is no longer Drover's.
    Marks,
}

impl Deletion {
    /// As the request says it.
    pub(crate) const fn of(request: &v1::DeleteServerRequest) -> Self {
        match (request.release, request.leftover) {
            (true, _) => Self::Marks,
            (false, true) => Self::Leftover,
            (false, false) => Self::Server,
        }
    }
}

/// Removes the server. What is left of one that runs elsewhere goes only while nothing of it runs here.
pub(crate) async fn delete(
    agent: &Agent,
    server: ServerId,
    held: Option<Epoch>,
    what: Deletion,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let here = ServerHere::new(agent, server);
    if what != Deletion::Marks
        && (held.is_none() || what == Deletion::Leftover)
        && let Some(state) = here.state().await?.filter(|state| state.is_active())
    {
        return Err(WorkError::Conflict {
            server,
            expected: "nothing of the server running here",
            found: format!("a domain that is {}", state.power),
        });
    }
    operation.phase("removing the server");
    let remains = here.remains().await?;
    match (what, &remains) {
        (Deletion::Server | Deletion::Leftover, Some(Kept::Found(_))) => {
            // Its disks are none of ours, and so is what its firmware keeps.
            here.undefine_keeping_nvram().await?;
            here.end().await?;
        }
        (Deletion::Server | Deletion::Leftover, Some(Kept::Made(_)) | None) => here.remove().await?,
        (Deletion::Marks, Some(Kept::Found(found))) => here.release_found(found).await?,
        (Deletion::Marks, Some(Kept::Made(_)) | None) => here.release().await?,
    }
    operation
        .log()
        .append(vec![Record::Gone { server }])
        .await
        .map_err(WorkError::Log)?;
    // Last, so that whatever is repeated after a restart knows whose the disks are.
    match (what, remains) {
        (Deletion::Server | Deletion::Leftover, Some(Kept::Found(found))) => {
            here.write_found(FoundServer {
                destroyed: true,
                ..*found
            })
            .await?;
        }
        (Deletion::Marks, Some(Kept::Found(_))) => here.forget_found().await?,
        (_, Some(Kept::Made(_)) | None) => {}
    }
    Ok(v1::ServerResult {
        server_id: server.to_string(),
        power_state: PowerState::Shutdown.to_string(),
        epoch: held.unwrap_or_default().get(),
        frozen: None,
    })
}
