//! `drover host`: the hosts and their agents.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::{Fleet, endpoints, incarnations};
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use super::table::table;
use clap::{Args, Subcommand};
use drover_core::model::{HostObservation, HostState, ObservedFleet, RecordedFleet, UnobservedReason};
use drover_types::{HostName, PowerState, RequestId};
use std::collections::BTreeMap;

/// Look at the hosts, or trust one again
#[derive(Debug, Subcommand)]
pub(super) enum HostCommand {
    /// List the recorded hosts: who answers, with what version and how full
    List(ListOptions),
    /// Save what all hosts report, for `drover plan --inventory`
    Inventory(super::inventory::InventoryOptions),
    /// Trust a host again whose agent's operation log was lost or restored; needs an admin's certificate
    Readmit(super::readmit::ReadmitOptions),
}

#[derive(Debug, Args)]
pub(super) struct ListOptions {
    /// Print as JSON, with everything that the hosts report
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &HostCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let options = match command {
        HostCommand::List(options) => options,
        HostCommand::Inventory(options) => {
            return super::inventory::run(options, no_color, request, output).await;
        }
        HostCommand::Readmit(options) => {
            return super::readmit::run(options, no_color, request, output).await;
        }
    };
    let project = Project::load(&options.variables, Form::new(false, no_color))?;
    let fleet = Fleet::open(&project.settings(output)?, request).await?;
    let recorded = fleet.recorded().await?;
    let observed = observe(&fleet, &recorded).await?;
    let all_answer = observed.values().all(|seen| seen.inventory().is_some());
    if options.json {
        output.json(&observed)?;
    } else {
        let rows: Vec<Vec<String>> = observed
            .iter()
            .map(|(name, seen)| row(name, seen, &recorded))
            .collect();
        output.line(&table(
            &[
                "HOST", "STATE", "AGENT", "SERVERS", "VCPUS", "MEMORY", "DISK", "NOTE",
            ],
            &rows,
        ))?;
    }
    Ok(if all_answer {
        ExitStatus::Done
    } else {
        ExitStatus::Error
    })
}

/// Asks every recorded host.
pub(super) async fn observe(fleet: &Fleet, recorded: &RecordedFleet) -> Result<ObservedFleet, Failure> {
    let endpoints = endpoints(None, recorded);
    if endpoints.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(fleet.agents(endpoints)?.observe(&incarnations(recorded)).await)
}

fn row(name: &HostName, seen: &HostObservation, recorded: &RecordedFleet) -> Vec<String> {
    let state = recorded
        .hosts
        .get(name)
        .map_or(HostState::Active, |record| record.spec.state);
    match seen {
        HostObservation::Reported(inventory) => {
            let running = inventory
                .domains
                .values()
                .filter(|domain| domain.power_state == PowerState::Running)
                .count();
            let ours = inventory
                .domains
                .values()
                .filter(|domain| domain.mark.is_some())
                .count();
            let foreign = inventory.domains.len() - ours;
            let facts = &inventory.facts;
            vec![
                name.to_string(),
                state.to_string(),
                inventory.agent_version.clone(),
                format!("{ours} ({running} run)"),
                facts.vcpus.to_string(),
                format!("{} MiB", facts.ram_mib),
                format!(
                    "{} of {} GiB free",
                    facts.disk_free_mib >> 10,
                    facts.disk_mib >> 10
                ),
                if foreign > 0 {
                    format!("{foreign} foreign domains")
                } else {
                    String::new()
                },
            ]
        }
        HostObservation::Unobserved(why) => {
            let note = match why {
                UnobservedReason::Unreachable(why) => format!("does not answer: {why}"),
                UnobservedReason::Untrusted(why) => format!("not trusted: {why}"),
                UnobservedReason::Unwell(why) => format!("cannot report: {why}"),
                UnobservedReason::Incompatible(why) => format!("incompatible: {why}"),
                UnobservedReason::NotInInventory => "not asked".to_owned(),
            };
            let unknown = || "?".to_owned();
            vec![
                name.to_string(),
                state.to_string(),
                unknown(),
                unknown(),
                unknown(),
                unknown(),
                unknown(),
                note,
            ]
        }
    }
}
