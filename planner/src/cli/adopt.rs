//! `drover adopt`: configuration for all domains of a host that are nobody's. It changes nothing.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::generated::counted;
use super::options::VariableOptions;
use super::output::Output;
use super::planning::Ground;
use super::project::{Form, Project};
use crate::files::write_once;
use clap::Args;
use drover_core::diff::is_nobodys;
use drover_core::model::{HostObservation, ImportId, ObservedDomain};
use drover_lang::generate::{Candidate, ImportBlock, Labels, configuration};
use drover_types::{HostName, RequestId};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Write import and server blocks for every domain of a host that is not managed; change nothing
#[derive(Debug, Args)]
pub(super) struct AdoptCommand {
    /// The host
    #[arg(value_name = "HOST")]
    host: HostName,
    /// Write to FILE, which must not be there yet, instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &AdoptCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let host = &command.host;
    if let Some(path) = command
        .out
        .as_ref()
        .filter(|path| path.symlink_metadata().is_ok())
    {
        return Err(Failure::new(format!(
            "the file {} is there already, and is not written over",
            path.display()
        )));
    }
    let project = Project::load(&command.variables, Form::new(false, no_color))?;
    let ground = Ground::survey(&project, request, output).await?;
    let agents = ground.agents()?;
    let Some(agents) = agents.filter(|agents| agents.names().any(|name| name == host)) else {
        return Err(Failure::new(format!("no host {host} is declared or recorded"))
            .hint("`drover host list` lists the hosts"));
    };
    let observed = ground.observe(&agents).await;
    let Some(inventory) = observed.get(host).and_then(HostObservation::inventory) else {
        return Err(
            Failure::new(format!("host {host} gave no inventory")).hint("`drover host list` says why")
        );
    };
    let desired = &ground.evaluated.desired;
    let asked: BTreeSet<&ImportId> = desired.imports.values().map(|import| &import.id).collect();
    let mut labels = Labels::beside(desired);
    let mut domains: Vec<&ObservedDomain> = inventory
        .domains
        .values()
        .filter(|domain| is_nobodys(domain))
        .collect();
    domains.sort_by(|one, other| (&one.name, one.uuid).cmp(&(&other.name, other.uuid)));
    let mut candidates = Vec::new();
    for domain in domains {
        let named = |text: String| ImportId {
            host: host.clone(),
            domain: text,
        };
        let (by_name, by_uuid) = (named(domain.name.clone()), named(domain.uuid.to_string()));
        if asked.contains(&by_name) || asked.contains(&by_uuid) {
            continue;
        }
        if !domain.persistent {
            eprintln!(
                "{by_name} is left out: it is transient, and gone when its guest ends; define it first (virsh dumpxml, \
                 virsh define)"
            );
            continue;
        }
        candidates.push(Candidate {
            label: labels.take(&domain.name),
            // A name that could not be read back is written as what it stands for.
            id: by_name.to_string().parse().unwrap_or(by_uuid),
            domain,
            import: ImportBlock::Wanted,
        });
    }
    if candidates.is_empty() {
        eprintln!("Host {host} has no domain that is unmanaged and not declared to be imported.");
        return Ok(ExitStatus::Done);
    }
    let text = configuration(desired, &candidates);
    match &command.out {
        Some(path) => {
            write_once(path, text.as_bytes())
                .map_err(|error| Failure::because(format!("could not write {}", path.display()), error))?;
            output.line(&format!(
                "Wrote {} to {}. Nothing was changed. Look through it, then:\n    drover plan",
                counted(candidates.len()),
                path.display()
            ))?;
        }
        None => output.write(text.as_bytes())?,
    }
    Ok(ExitStatus::Done)
}
