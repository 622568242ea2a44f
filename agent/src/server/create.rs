//! Creating a server: image, overlay, domain, start. On failure nothing of it stays. Or taking over a domain
//! that somebody moved here without Drover.

use super::build::{check_frozen, domain_spec, freeze};
use super::directory::ServerFile;
use super::disk;
use super::domain::ServerHere;
use super::failure::WorkError;
use super::request::WantedServer;
use crate::agent::Agent;
use crate::operations::OperationHandle;
use drover_agent_core::domain::{
    Attribute, Before, DiskPart, HostPath, found_devices, read_back, read_metadata,
};
use drover_agent_core::oplog::Record;
use drover_agent_core::power::WantedPower;
use drover_proto::v1;
use drover_types::{Epoch, ServerId};

/// Makes the server. The epoch's grant is in the log already.
pub(crate) async fn create(
    agent: &Agent,
    wanted: WantedServer,
    epoch: Epoch,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let here = ServerHere::new(agent, wanted.id);
    if let Some(found) = here.report().await? {
        let conflict = WorkError::Conflict {
            server: wanted.id,
            expected: "no domain of this id",
            found: format!("one that is {}", found.state.power),
        };
        // What is there is not ours to remove; only the grant is void.
        give_up(operation, wanted.id).await?;
        return Err(conflict);
    }
    if let Err(error) = here.make_way().await {
        give_up(operation, here.id()).await?;
        return Err(error);
    }
    match make(agent, &here, wanted, epoch, operation).await {
        Ok(result) => Ok(result),
        Err(error) => {
            undo(&here, operation).await?;
            Err(error)
        }
    }
}

/// Takes away what a create left, and gives the epoch up.
pub(crate) async fn undo(here: &ServerHere<'_>, operation: &OperationHandle) -> Result<(), WorkError> {
    here.remove().await?;
    give_up(operation, here.id()).await
}

async fn give_up(operation: &OperationHandle, server: ServerId) -> Result<(), WorkError> {
    operation
        .log()
        .append(vec![Record::Gone { server }])
        .await
        .map_err(WorkError::Log)
}

async fn make(
    agent: &Agent,
    here: &ServerHere<'_>,
    wanted: WantedServer,
    epoch: Epoch,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let server = wanted.id;
    operation.phase("getting the image");
    let base = agent.base_file(&wanted, operation).await?;
    let profile = agent
        .profiles
        .get(&agent.hypervisor)
        .await
        .map_err(WorkError::Profile)?;
    let frozen = match &wanted.frozen {
        Some(frozen) => {
            check_frozen(&agent.hypervisor, &profile, server, frozen).await?;
            frozen.clone()
        }
        None => freeze(&profile, &wanted, base.digest)?,
    };
    operation.phase("making the disk");
    here.make_directory().await?;
    let directory = here.directory();
    disk::make_overlay(
        &directory.disk(),
        &base.path,
        base.virtual_size,
        wanted.disk_bytes,
    )
    .await
    .map_err(|source| WorkError::Disk { server, source })?;
    let claim = agent.claim().await;
    let place = agent.place(&wanted, &profile, Before::Nothing, &claim).await?;
    let spec = domain_spec(&profile, &wanted, &frozen, epoch, &directory, place)?;
    let (_, image) = wanted.made_from().map_err(WorkError::Request)?;
    let file = ServerFile::new(spec, image, base.digest, wanted.disk_bytes);
    here.write_file(file.clone()).await?;
    drop(claim);
    operation.phase("defining the domain");
    here.define(&file).await?;
    let power = wanted.power;
    operation
        .log()
        .append(vec![Record::PowerWanted { server, power }])
        .await
        .map_err(WorkError::Log)?;
    match power {
        WantedPower::On => {
            operation.phase("starting the guest");
            here.start().await?;
        }
        WantedPower::Paused | WantedPower::Off => {}
    }
    here.result(epoch).await
}

/// Takes over the domain of that id which is here and runs as it is. Its disk and console stay where they are.
pub(crate) async fn adopt(
    agent: &Agent,
    wanted: WantedServer,
    epoch: Epoch,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let here = ServerHere::new(agent, wanted.id);
    match take_over(agent, &here, wanted, epoch, operation).await {
        Ok(result) => Ok(result),
        Err(error) => {
            give_up(operation, here.id()).await?;
            Err(error)
        }
    }
}

async fn take_over(
    agent: &Agent,
    here: &ServerHere<'_>,
    wanted: WantedServer,
    epoch: Epoch,
    operation: &OperationHandle,
) -> Result<v1::ServerResult, WorkError> {
    let server = wanted.id;
    let conflict = |found: &str| WorkError::Conflict {
        server,
        expected: "a domain of this id with this fleet's mark",
        found: found.to_owned(),
    };
    let domain = here.report().await?.ok_or_else(|| conflict("none"))?;
    let xml = domain.live_xml.or(domain.persistent_xml).unwrap_or_default();
    let mark = read_metadata(&xml)
        .ok()
        .flatten()
        .ok_or_else(|| conflict("one without a mark"))?;
    if mark.fleet != wanted.fleet || mark.id != server {
        return Err(conflict("one with another mark"));
    }
    let frozen = wanted
        .frozen
        .clone()
        .ok_or_else(|| conflict("a request without what was frozen"))?;
    let profile = agent
        .profiles
        .get(&agent.hypervisor)
        .await
        .map_err(WorkError::Profile)?;
    here.make_directory().await?;
    let claim = agent.claim().await;
    let before = Before::Devices(found_devices(&xml).unwrap_or_default());
    let place = agent.place(&wanted, &profile, before, &claim).await?;
    let mut spec = domain_spec(&profile, &wanted, &frozen, epoch, &here.directory(), place)?;
    let found = read_back(&xml).unwrap_or_default();
    let path = |attribute: &Attribute| -> Option<HostPath> { found.get(attribute)?.parse().ok() };
    for disk in &mut spec.disks {
        let file = Attribute::Disk {
            target: disk.target.to_string(),
            part: DiskPart::File,
        };
        if let Some(path) = path(&file) {
            disk.file = path;
        }
    }
    if let Some(path) = path(&Attribute::ConsoleLog) {
        spec.console_log = path;
    }
    let (_, image) = wanted.made_from().map_err(WorkError::Request)?;
    let file = ServerFile::new(spec, image, frozen.base, wanted.disk_bytes);
    here.write_file(file.clone()).await?;
    drop(claim);
    here.define(&file).await?;
    let active = domain.state.is_active();
    if active {
        here.mark_live(&file).await?;
    }
    let power = wanted.power;
    operation
        .log()
        .append(vec![Record::PowerWanted { server, power }])
        .await
        .map_err(WorkError::Log)?;
    here.result(epoch).await
}
