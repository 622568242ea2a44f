//! `drover server list` and `show`.

use super::super::exit::ExitStatus;
use super::super::failure::Failure;
use super::super::hidden::{self, shown};
use super::super::host::observe;
use super::super::options::VariableOptions;
use super::super::output::Output;
use super::super::table::table;
use super::{open, placed};
use clap::Args;
use drover_core::diff::hide_drift;
use drover_core::model::{
    HostObservation, ObservedDomain, ObservedFleet, OwnershipState, RecordedFleet, ServerRecord, VmState,
};
use drover_types::{Address, HostName, RequestId, ServerId};
use serde_json::json;

#[derive(Debug, Args)]
pub(in super::super) struct ListOptions {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

#[derive(Debug, Args)]
pub(in super::super) struct ShowOptions {
    /// For example server.web[0]
    address: Address,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn list(
    options: &ListOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let (fleet, recorded) = open(&options.variables, no_color, request, output).await?;
    let observed = observe(&fleet, &recorded).await?;
    if options.json {
        let all: Vec<_> = recorded
            .servers
            .iter()
            .map(|(address, record)| described(address, record, &recorded, &observed))
            .collect::<Result<_, _>>()?;
        output.json(&all)?;
    } else {
        let rows: Vec<Vec<String>> = recorded
            .servers
            .iter()
            .map(|(address, record)| {
                vec![
                    address.to_string(),
                    record.id.to_string(),
                    record
                        .host
                        .as_ref()
                        .map_or_else(|| "-".to_owned(), ToString::to_string),
                    vm_state(record.vm_state).to_owned(),
                    power(record, &observed),
                    task(record, &recorded),
                ]
            })
            .collect();
        output.line(&table(&["SERVER", "ID", "HOST", "STATE", "POWER", "TASK"], &rows))?;
    }
    let all_answer = observed.values().all(|seen| seen.inventory().is_some());
    Ok(if all_answer {
        ExitStatus::Done
    } else {
        ExitStatus::Error
    })
}

pub(super) async fn show(
    options: &ShowOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let (fleet, recorded) = open(&options.variables, no_color, request, output).await?;
    let record = recorded.servers.get(&options.address);
    let Some(record) = record else {
        // The same words as for every other command on one server.
        placed(&recorded, &options.address)?;
        return Ok(ExitStatus::Error);
    };
    let observed = observe(&fleet, &recorded).await?;
    if options.json {
        output.json(&described(&options.address, record, &recorded, &observed)?)?;
        return Ok(ExitStatus::Done);
    }
    let spec = &record.spec;
    let mut lines = vec![
        ("address", options.address.to_string()),
        ("id", record.id.to_string()),
        ("name", shown("name", &spec.sensitive, &spec.name)),
        (
            "host",
            record
                .host
                .as_ref()
                .map_or_else(|| "none".to_owned(), ToString::to_string),
        ),
        (
            "state",
            format!(
                "{} (power: {})",
                vm_state(record.vm_state),
                power(record, &observed)
            ),
        ),
        (
            "flavor",
            format!(
                "{} ({} vCPUs, {} memory, {} disk)",
                spec.flavor,
                shown("vcpus", &spec.sensitive, &spec.size.vcpus),
                shown("ram", &spec.sensitive, &spec.size.ram),
                shown("disk", &spec.sensitive, &spec.size.disk),
            ),
        ),
        (
            "image",
            match (spec.image_address(), &record.imported_from) {
                (Some(image), None) => image.to_string(),
                (Some(image), Some(from)) => format!("{image} (declared; it was imported from {from})"),
                (None, Some(from)) => format!("none (it was imported from {from})"),
                (None, None) => "none".to_owned(),
            },
        ),
        ("generation", record.generation.to_string()),
    ];
    if let Some(group) = &spec.group {
        lines.push(("group", group.to_string()));
    }
    if let Some(row) = recorded.ownership.get(&record.id) {
        lines.push(("epoch", format!("{} on {}", row.epoch, row.host)));
    }
    let running = task(record, &recorded);
    if !running.is_empty() {
        lines.push(("task", running));
    }
    for tried in &record.tried {
        lines.push(("tried", format!("{}: {}", tried.host, tried.reason)));
    }
    let mut drift = domain(record.id, &observed)
        .map(|(_, domain)| domain.drift.clone())
        .unwrap_or_default();
    hide_drift(&mut drift, &spec.sensitive);
    for drift in drift {
        lines.push((
            "drift",
            format!("{}: {:?} is {:?}", drift.attribute, drift.expected, drift.found),
        ));
    }
    for (name, value) in lines {
        output.line(&format!("{name:<11}{value}"))?;
    }
    Ok(ExitStatus::Done)
}

fn described(
    address: &Address,
    record: &ServerRecord,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
) -> Result<serde_json::Value, serde_json::Error> {
    let mut shown = json!({ "record": record });
    hidden::hide(&mut shown["record"], &serde_json::Value::Null);
    let seen = domain(record.id, observed);
    let of_host = seen.map(|(_, domain)| hidden::domain(domain, &record.spec.sensitive));
    Ok(json!({
        "address": address,
        "record": shown["record"],
        "ownership": recorded.ownership.get(&record.id),
        "observed_on": seen.map(|(host, _)| host),
        "domain": of_host.transpose()?,
    }))
}

/// The server's domain, first of all on the host that runs it.
fn domain(id: ServerId, observed: &ObservedFleet) -> Option<(&HostName, &ObservedDomain)> {
    let mut found: Vec<(&HostName, &ObservedDomain)> = observed
        .iter()
        .filter_map(|(host, seen)| Some((host, seen.inventory()?.domains.get(&id.uuid())?)))
        .collect();
    found.sort_by_key(|(_, domain)| domain.held_epoch.is_none());
    found.first().copied()
}

fn power(record: &ServerRecord, observed: &ObservedFleet) -> String {
    if let Some((_, domain)) = domain(record.id, observed) {
        return domain.power_state.to_string();
    }
    match record.host.as_ref().and_then(|host| observed.get(host)) {
        Some(HostObservation::Unobserved(_)) => "unknown".to_owned(),
        Some(HostObservation::Reported(_)) => "gone".to_owned(),
        None => "-".to_owned(),
    }
}

fn task(record: &ServerRecord, recorded: &RecordedFleet) -> String {
    if let Some(task) = &record.task {
        return format!("{} by {} since {}", task.name, task.holder, task.since);
    }
    match recorded.ownership.get(&record.id).map(|row| &row.state) {
        Some(OwnershipState::Migrating { to, .. }) => format!("migrating to {to}"),
        Some(OwnershipState::Granted { .. }) => "creating".to_owned(),
        Some(OwnershipState::Held) | None => String::new(),
    }
}

const fn vm_state(state: VmState) -> &'static str {
    match state {
        VmState::Building => "building",
        VmState::Active => "active",
        VmState::Stopped => "stopped",
        VmState::Error => "error",
    }
}
