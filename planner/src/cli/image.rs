//! `drover image`: the recorded images and the hosts that have them.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::Fleet;
use super::hidden;
use super::host::observe;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use super::table::table;
use clap::{Args, Subcommand};
use drover_types::{HostName, RequestId};
use serde_json::json;

/// Look at the images
#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// List the recorded images and which hosts have them in their caches
    List(ListOptions),
}

#[derive(Debug, Args)]
pub(super) struct ListOptions {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &ImageCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let ImageCommand::List(options) = command;
    let project = Project::load(&options.variables, Form::new(false, no_color))?;
    let fleet = Fleet::open(&project.settings(output)?, request).await?;
    let recorded = fleet.recorded().await?;
    let observed = observe(&fleet, &recorded).await?;
    let mut rows = Vec::new();
    let mut listed = Vec::new();
    for (address, record) in &recorded.images {
        let hosts: Vec<&HostName> = observed
            .iter()
            .filter(|(_, seen)| {
                seen.inventory().is_some_and(|inventory| {
                    inventory
                        .images
                        .iter()
                        .any(|image| image.checksum == record.spec.checksum)
                })
            })
            .map(|(name, _)| name)
            .collect();
        let named: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        rows.push(vec![
            address.to_string(),
            hidden::shown(
                "checksum",
                &record.spec.sensitive,
                &&record.spec.checksum.hex()[..12],
            ),
            if named.is_empty() {
                "-".to_owned()
            } else {
                named.join(",")
            },
            hidden::shown("source", &record.spec.sensitive, &record.spec.source),
        ]);
        let mut shown = json!({ "address": address, "spec": record.spec, "hosts": hosts });
        hidden::hide(&mut shown, &serde_json::Value::Null);
        listed.push(shown);
    }
    if options.json {
        output.json(&listed)?;
    } else {
        output.line(&table(&["IMAGE", "SHA256", "HOSTS", "SOURCE"], &rows))?;
    }
    for (name, seen) in &observed {
        if seen.inventory().is_none() {
            eprintln!("Warning: host {name} did not answer; its cache is not known");
        }
    }
    let all_answer = observed.values().all(|seen| seen.inventory().is_some());
    Ok(if all_answer {
        ExitStatus::Done
    } else {
        ExitStatus::Error
    })
}
