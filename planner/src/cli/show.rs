//! `drover show`: a plan file, or what is recorded.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::Fleet;
use super::hidden;
use super::options::VariableOptions;
use super::output::Output;
use super::plan::style;
use super::project::{Form, Project};
use clap::Args;
use drover_core::model::RecordedFleet;
use drover_core::plan::text::{self, Detail, View};
use drover_core::plan::{decode, json, render_markdown};
use drover_types::RequestId;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Show a plan file, or everything that is recorded
#[derive(Debug, Args)]
pub(super) struct ShowCommand {
    /// A plan written by `drover plan --out`
    #[arg(value_name = "PLANFILE")]
    plan_file: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// Show every change and every list of a plan in full, however many there are
    #[arg(long, requires = "plan_file", conflicts_with = "json")]
    full: bool,
    /// Print a summary of a plan in Markdown to paste in a pull request
    #[arg(long, requires = "plan_file", conflicts_with_all = ["json", "full"])]
    markdown: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &ShowCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load(&command.variables, Form::new(false, no_color))?;
    let settings = project.settings(output)?;
    if let Some(path) = &command.plan_file {
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::because(format!("could not read the plan {}", path.display()), error)
        })?;
        let plan = decode(&bytes, &settings.fleet, &settings.project).map_err(|error| {
            let status = super::apply::refused(&error);
            Failure::because(format!("the plan {} cannot be shown", path.display()), error)
                .with_status(status)
        })?;
        if command.json {
            output.json(&json::render(&plan))?;
        } else if command.markdown {
            output.write(render_markdown(&plan).as_bytes())?;
        } else {
            let view = View {
                style: style(output),
                detail: if command.full {
                    Detail::Full
                } else {
                    Detail::Grouped
                },
                ..View::default()
            };
            output.write(text::render_as(&plan, view).as_bytes())?;
        }
        return Ok(ExitStatus::Done);
    }
    let fleet = Fleet::open(&settings, request).await?;
    let recorded = fleet.recorded().await?;
    if command.json {
        output.json(&recorded_json(&recorded)?)?;
    } else {
        let records = records(&recorded);
        if records.is_empty() {
            output.line("Nothing is recorded.")?;
        }
        for (address, mut record) in records {
            hidden::hide(&mut record, &hidden::HIDDEN.into());
            output.line(&format!(
                "# {address}\n{}\n",
                serde_json::to_string_pretty(&record)?
            ))?;
        }
        if !recorded.outputs.is_empty() {
            output.line(&format!(
                "Outputs:\n\n{}",
                super::outputs::table(&recorded.outputs)
            ))?;
        }
    }
    Ok(ExitStatus::Done)
}

/// Every recorded resource with its record as JSON, in the order of addresses.
pub(super) fn records(recorded: &RecordedFleet) -> Vec<(String, Value)> {
    fn each<K: ToString, V: serde::Serialize>(
        all: &mut Vec<(String, Value)>,
        prefix: &str,
        records: &std::collections::BTreeMap<K, V>,
    ) {
        for (key, record) in records {
            let value = serde_json::to_value(record).expect("records have text keys only");
            all.push((format!("{prefix}{}", key.to_string()), value));
        }
    }
    let mut all = Vec::new();
    each(&mut all, "host.", &recorded.hosts);
    each(&mut all, "", &recorded.flavors);
    each(&mut all, "", &recorded.images);
    each(&mut all, "", &recorded.groups);
    each(&mut all, "", &recorded.aggregates);
    each(&mut all, "", &recorded.servers);
    all
}

fn recorded_json(recorded: &RecordedFleet) -> Result<Value, Failure> {
    let resources: Vec<Value> = records(recorded)
        .into_iter()
        .map(|(address, mut values)| {
            hidden::hide(&mut values, &Value::Null);
            serde_json::json!({
                "address": address,
                "mode": "managed",
                "values": values,
                "sensitive_values": hidden::marks(&values),
            })
        })
        .collect();
    let outputs: Map<String, Value> = recorded
        .outputs
        .iter()
        .map(|(name, record)| (name.clone(), hidden::output(record)))
        .collect();
    let ownership: Map<String, Value> = recorded
        .ownership
        .iter()
        .map(|(id, row)| {
            (
                id.to_string(),
                serde_json::to_value(row).expect("records have text keys only"),
            )
        })
        .collect();
    let operations = recorded
        .operations
        .values()
        .map(|record| Ok(hidden::operation(serde_json::to_value(record)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(serde_json::json!({
        "format_version": "1.0",
        "drover_version": env!("CARGO_PKG_VERSION"),
        "revision": recorded.revision,
        "lineage": recorded.meta.as_ref().map(|(meta, _)| meta.lineage),
        "values": { "outputs": outputs, "root_module": { "resources": resources } },
        "ownership": ownership,
        "operations": operations,
    }))
}
