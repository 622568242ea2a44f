//! `drover host readmit`: trusts a host again whose operation log was lost or restored.

use super::apply::approved;
use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::Fleet;
use super::host::observe;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use crate::store::{ExpectMeta, Lock, Outcome};
use clap::Args;
use drover_core::model::{HostInventory, HostRecord, Meta, ObservedFleet, OwnershipState, RecordedFleet};
use drover_core::record::Transaction;
use drover_types::{Epoch, Generation, HostName, PowerState, RequestId, ServerId};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct ReadmitOptions {
    /// The host whose log was lost or restored
    host: HostName,
    /// Readmit without asking
    #[arg(long)]
    auto_approve: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    options: &ReadmitOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let host = &options.host;
    let project = Project::load(&options.variables, Form::new(false, no_color))?;
    let fleet = Fleet::open(&project.settings(output)?, request).await?;
    let recorded = fleet.recorded().await?;
    let observed = observe(&fleet, &recorded).await?;
    let (record, inventory) = look(host, &recorded, &observed)?;
    if record.incarnation == Some(inventory.incarnation) {
        output.line(&format!(
            "Host {host} is trusted as it is; there is nothing to readmit."
        ))?;
        return Ok(ExitStatus::Done);
    }
    let keep = kept(host, &recorded, &observed)?;
    output.line(&format!(
        "Host {host} gets back the right to run {} servers that the store records there:",
        keep.len()
    ))?;
    for (address, server) in recorded
        .servers
        .iter()
        .filter(|(_, server)| keep.contains_key(&server.id))
    {
        output.line(&format!("  {address} ({})", server.id))?;
    }
    output.line("Be sure that no other machine runs them, one that is out of reach included.")?;
    if !options.auto_approve && !approved()? {
        output.line("\nNothing was changed.")?;
        return Ok(ExitStatus::Error);
    }
    let Some((Meta { lineage, .. }, revision)) = recorded.meta else {
        return Err(Failure::new("the store was never applied to"));
    };
    let lock = fleet
        .lock("readmit", ExpectMeta::At(revision), lineage, None, Duration::ZERO)
        .await?;
    let done = readmit(
        &fleet,
        &lock,
        host,
        record,
        inventory,
        &keep,
        &recorded.hosts,
        request,
    )
    .await;
    let released = lock.release().await;
    done?;
    released?;
    output.line(&format!(
        "Host {host} is readmitted. `drover plan` shows what is left to do."
    ))?;
    Ok(ExitStatus::Done)
}

fn look<'a>(
    host: &HostName,
    recorded: &'a RecordedFleet,
    observed: &'a ObservedFleet,
) -> Result<(&'a HostRecord, &'a HostInventory), Failure> {
    let record = recorded.hosts.get(host).ok_or_else(|| {
        Failure::new(format!("host {host} is not recorded")).hint("`drover host list` lists the hosts")
    })?;
    let inventory = observed
        .get(host)
        .and_then(|seen| seen.inventory())
        .ok_or_else(|| {
            Failure::new(format!("host {host} does not answer")).hint("`drover host list` says why")
        })?;
    Ok((record, inventory))
}

/// The epochs that the store grants the host. Refused where the store does not know who may run a server, or
/// another host runs one.
fn kept(
    host: &HostName,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
) -> Result<BTreeMap<ServerId, Epoch>, Failure> {
    let mut keep = BTreeMap::new();
    for (id, row) in &recorded.ownership {
        match &row.state {
            OwnershipState::Held if row.host == *host => {
                keep.insert(*id, row.epoch);
            }
            OwnershipState::Migrating { to, .. } if row.host == *host || to == host => {
                return Err(
                    Failure::new(format!("server {id} was moving between {} and {to}", row.host)).hint(
                        "apply first, so that the hand-over is settled by what the other host's log says",
                    ),
                );
            }
            OwnershipState::Held | OwnershipState::Granted { .. } | OwnershipState::Migrating { .. } => {}
        }
    }
    for (other, seen) in observed.iter().filter(|(name, _)| *name != host) {
        let Some(inventory) = seen.inventory() else {
            continue;
        };
        let running = inventory.domains.values().find(|domain| {
            domain.power_state == PowerState::Running && keep.contains_key(&ServerId::from_uuid(domain.uuid))
        });
        if let Some(domain) = running {
            return Err(
                Failure::new(format!("server {} runs on host {other}", domain.uuid))
                    .hint("`drover plan` adopts it there; then readmit the host"),
            );
        }
    }
    Ok(keep)
}

#[expect(clippy::too_many_arguments, reason = "each is looked up once, by the command")]
async fn readmit(
    fleet: &Fleet,
    lock: &Lock,
    host: &HostName,
    record: &HostRecord,
    inventory: &HostInventory,
    keep: &BTreeMap<ServerId, Epoch>,
    hosts: &BTreeMap<HostName, HostRecord>,
    request: &RequestId,
) -> Result<(), Failure> {
    let endpoints = hosts
        .iter()
        .map(|(name, record)| (name.clone(), record.spec.address.clone()))
        .collect();
    let agents = fleet.agents(endpoints)?;
    let incarnation = agents
        .readmit(host, inventory.incarnation, keep, lock.token())
        .await?;
    tracing::info!(%host, %incarnation, %request, "readmitted");
    let record = HostRecord {
        incarnation: Some(incarnation),
        generation: Generation::new(record.generation.get() + 1),
        ..record.clone()
    };
    let transaction = Transaction {
        compares: vec![lock.guard()],
        writes: vec![
            fleet.layout.put_host(host, &record),
            fleet.layout.put_meta(lock.meta()),
        ],
    };
    match fleet.store.commit(&transaction).await? {
        Outcome::Committed { .. } => Ok(()),
        Outcome::Conflict { .. } => {
            Err(Failure::new("the lock was lost before the host could be recorded").hint("readmit it again"))
        }
    }
}
