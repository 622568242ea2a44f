//! `drover server reboot`: claims one server, has its agent reboot it, and gives the claim back.

use super::super::exit::ExitStatus;
use super::super::failure::Failure;
use super::super::fleet::{Fleet, endpoints, who};
use super::super::options::VariableOptions;
use super::super::output::Output;
use super::super::progress::now;
use super::{open, placed};
use crate::agents::{Agents, Caller};
use crate::store::Outcome;
use clap::Args;
use drover_core::executor::{AgentRequest, Event};
use drover_core::model::{Author, ClaimedTask, Meta, OwnershipState, RecordedFleet, ServerRecord};
use drover_core::record::{Compare, Guard, Transaction};
use drover_types::{Address, HostName, OperationId, RequestId};
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// How often a claim is tried again when the fleet changes under it.
const TRIES: u32 = 20;
/// How long an agent that knows an operation may take to say whether it has ended.
const SAY: Duration = Duration::from_secs(10);
/// How long a soft reboot may take before it becomes a hard one: Nova's 120 s.
const GRACE_MS: u64 = 120_000;

#[derive(Debug, Args)]
pub(in super::super) struct RebootOptions {
    /// For example server.web[0]
    address: Address,
    /// At once, without asking the guest
    #[arg(long)]
    hard: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    options: &RebootOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let (fleet, recorded) = open(&options.variables, no_color, request, output).await?;
    let address = &options.address;
    let (_, host) = placed(&recorded, address)?;
    let agents = fleet.agents(endpoints(None, &recorded))?;
    let host = host.clone();
    settle_dead_claim(&fleet, &agents, &host, &recorded, address).await?;
    let operation = OperationId::from_uuid(Uuid::new_v4());
    let task = ClaimedTask {
        operation,
        name: "reboot".to_owned(),
        holder: who(),
        since: now(),
    };
    let (record, meta) = claim(&fleet, address, task).await?;
    let row = fleet.recorded().await?.ownership.get(&record.id).cloned();
    let outcome = match row {
        Some(row) if row.state == OwnershipState::Held && row.host == host => {
            let caller = caller(&fleet, &meta);
            let asked = AgentRequest::RebootServer {
                id: record.id,
                epoch: row.epoch,
                hard: options.hard,
                grace_ms: GRACE_MS,
            };
            carry_out(&agents, &caller, operation, &host, &asked).await
        }
        Some(_) | None => Err(Failure::new(format!("{address} is being moved or created"))
            .hint("try again when `drover server list` shows no task for it")),
    };
    match outcome {
        Ok(()) => {
            release(&fleet, address, operation).await?;
            if options.json {
                let way = if options.hard { "hard" } else { "soft" };
                output.json(&json!({ "address": address, "host": host, "reboot": way }))?;
            } else {
                output.line(&format!("{address} was rebooted on {host}."))?;
            }
            Ok(ExitStatus::Done)
        }
        Err(failure) if failure.status() == ExitStatus::Partial => Err(failure),
        Err(failure) => {
            release(&fleet, address, operation).await?;
            Err(failure)
        }
    }
}

async fn carry_out(
    agents: &Agents,
    caller: &Caller,
    operation: OperationId,
    host: &HostName,
    request: &AgentRequest,
) -> Result<(), Failure> {
    let (events, mut answers) = mpsc::channel(64);
    // A reboot that is over at once shows no phase.
    tracing::info!(%host, "reboot begins");
    let call = agents.call(caller, operation, host, request, &events);
    let read = async {
        while let Some(event) = answers.recv().await {
            match event {
                Event::Succeeded { .. } => return Ok(()),
                Event::Failed { message, hint, .. } => return Err(Failure::new(message).hint(hint)),
                Event::NeverSent { reason, .. } => {
                    return Err(Failure::new(format!("host {host} was not reached: {reason}")));
                }
                Event::Lost { reason, .. } => {
                    return Err(Failure::new(format!(
                        "it is not known whether host {host} rebooted it: {reason}"
                    ))
                    .with_status(ExitStatus::Partial)
                    .hint("the claim stays; the next reboot of this server looks what became of it"));
                }
                Event::Progress { progress, .. } => tracing::info!(%host, phase = progress.phase, "reboot"),
                Event::Accepted { .. }
                | Event::Started { .. }
                | Event::Committed { .. }
                | Event::CommitConflict { .. }
                | Event::StoreUnavailable { .. }
                | Event::NotFound { .. }
                | Event::Withdrawn { .. }
                | Event::LockLost { .. }
                | Event::Interrupt { .. } => {}
            }
        }
        Err(Failure::new("the call ended without an answer").with_status(ExitStatus::Partial))
    };
    let ((), answer) = tokio::join!(call, read);
    answer
}

/// A claim whose holder died is looked at: what its agent says of the operation settles it. One that has not
/// reached its agent is withdrawn there first, so that it cannot begin after all.
async fn settle_dead_claim(
    fleet: &Fleet,
    agents: &Agents,
    host: &HostName,
    recorded: &RecordedFleet,
    address: &Address,
) -> Result<(), Failure> {
    let (record, _) = placed(recorded, address)?;
    let Some(task) = &record.task else { return Ok(()) };
    let (events, mut answers) = mpsc::channel(64);
    let watch = agents.watch(task.operation, host, &events);
    let fate = async |answers: &mut mpsc::Receiver<Event>| {
        while let Some(event) = answers.recv().await {
            if let Some(fate) = fate_of(&event) {
                return fate;
            }
        }
        Fate::Unsettled
    };
    // Cancel-safe: nothing is changed by watching.
    let mut found = tokio::select! {
        found = fate(&mut answers) => found,
        // Its last word may lie in the channel yet.
        () = watch => std::iter::from_fn(|| answers.try_recv().ok())
            .find_map(|event| fate_of(&event))
            .unwrap_or(Fate::Unsettled),
        () = tokio::time::sleep(SAY) => Fate::Unsettled,
    };
    if let (Fate::NotThere, Some((meta, _))) = (found, &recorded.meta) {
        let caller = caller(fleet, meta);
        let withdraw = agents.withdraw(&caller, task.operation, host, &events);
        ((), found) = tokio::join!(withdraw, fate(&mut answers));
    }
    match found {
        Fate::Over => release(fleet, address, task.operation).await,
        Fate::NotThere | Fate::Unsettled => Err(claimed(address, task).hint("wait for it to end")),
    }
}

/// What is known of an operation.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It has ended, or never begins.
    Over,
    /// Its host does not know it.
    NotThere,
    /// It is at work, or nobody can tell.
    Unsettled,
}

fn fate_of(event: &Event) -> Option<Fate> {
    match event {
        Event::Succeeded { .. } | Event::Failed { .. } => Some(Fate::Over),
        Event::Withdrawn {
            withdrawn, running, ..
        } => Some(match (withdrawn, running) {
            (true, _) | (false, false) => Fate::Over,
            (false, true) => Fate::Unsettled,
        }),
        Event::NotFound { .. } => Some(Fate::NotThere),
        // Still at work: the claim is its own.
        Event::Progress { .. } | Event::Lost { .. } => Some(Fate::Unsettled),
        Event::Accepted { .. }
        | Event::NeverSent { .. }
        | Event::Started { .. }
        | Event::Committed { .. }
        | Event::CommitConflict { .. }
        | Event::StoreUnavailable { .. }
        | Event::LockLost { .. }
        | Event::Interrupt { .. } => None,
    }
}

fn caller(fleet: &Fleet, meta: &Meta) -> Caller {
    Caller {
        fleet: fleet.name.clone(),
        project: fleet.project.clone(),
        token: meta.token,
    }
}

fn claimed(address: &Address, task: &ClaimedTask) -> Failure {
    Failure::new(format!(
        "{address} is claimed: {} by {} since {}",
        task.name, task.holder, task.since
    ))
    .with_status(ExitStatus::Locked)
}

/// Claims a server that nobody else has claimed.
async fn claim(fleet: &Fleet, address: &Address, task: ClaimedTask) -> Result<(ServerRecord, Meta), Failure> {
    for _ in 0..TRIES {
        let recorded = fleet.recorded().await?;
        let (record, _) = placed(&recorded, address)?;
        if let Some(other) = &record.task {
            return Err(claimed(address, other));
        }
        let (transaction, record, meta) = claiming(fleet, &recorded, address, record, Some(task.clone()))?;
        if let Outcome::Committed { .. } = fleet.store.commit_settled(&transaction).await? {
            return Ok((record, meta));
        }
    }
    Err(Failure::new(format!(
        "{address} could not be claimed: the fleet changes all the time"
    )))
}

/// Gives the claim for that operation back, as far as it is still there: an apply may have gone over it.
async fn release(fleet: &Fleet, address: &Address, operation: OperationId) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let recorded = fleet.recorded().await?;
        let Some(record) = recorded.servers.get(address) else {
            return Ok(());
        };
        if record
            .task
            .as_ref()
            .is_none_or(|task| task.operation != operation)
        {
            return Ok(());
        }
        let (transaction, ..) = claiming(fleet, &recorded, address, record, None)?;
        if let Outcome::Committed { .. } = fleet.store.commit_settled(&transaction).await? {
            return Ok(());
        }
    }
    Err(Failure::new(format!(
        "the claim on {address} could not be given back: the fleet changes all the time"
    ))
    .hint("the next reboot of this server does it"))
}

fn claiming(
    fleet: &Fleet,
    recorded: &RecordedFleet,
    address: &Address,
    record: &ServerRecord,
    task: Option<ClaimedTask>,
) -> Result<(Transaction, ServerRecord, Meta), Failure> {
    let (meta, meta_revision) = recorded
        .meta
        .clone()
        .ok_or_else(|| Failure::new("the store was never applied to"))?;
    let key = fleet.layout.resource(address);
    let revision = recorded
        .revision_of(&key)
        .ok_or_else(|| Failure::new(format!("{address} is not recorded")))?;
    let record = ServerRecord {
        task,
        ..record.clone()
    };
    // What the fleet's plans were made from has changed: no apply's mark covers this.
    let meta = Meta {
        apply: None,
        by: Some(Author {
            who: who(),
            command: "reboot".to_owned(),
            since: now(),
        }),
        ..meta
    };
    let transaction = Transaction {
        compares: vec![
            Compare {
                key: fleet.layout.meta(),
                guard: Guard::ModRevision(meta_revision),
            },
            Compare {
                key,
                guard: Guard::ModRevision(revision),
            },
        ],
        writes: vec![
            fleet.layout.put_meta(&meta),
            fleet.layout.put_server(address, &record),
        ],
    };
    Ok((transaction, record, meta))
}
