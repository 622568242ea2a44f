//! `drover drift`: what hosts report otherwise than recorded, and nothing else. For cron and for monitoring.
//!
//! The files are read for the way to the store and for their `lifecycle` blocks; what they declare and was not
//! applied yet is no part of it.

mod ignore;
mod metrics;

use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::{Fleet, endpoints, incarnations};
use super::options::VariableOptions;
use super::output::Output;
use super::plan::style;
use super::planning::identities;
use super::project::{Form, Project};
use crate::files::write_public;
use clap::Args;
use drover_core::diff::diff;
use drover_core::model::{DesiredFleet, Lifecycle, ObservedFleet, RecordedFleet};
use drover_core::plan::{
    Drift, DriftKind, Finding, PlanMode, PlanOptions, Severity, UnobservedHost, json, text,
};
use drover_core::record::Records;
use drover_types::{Address, HostName, Lineage, RequestId};
use ignore::{Ignored, left};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// Version of the JSON document, as `docs/drift.schema.json` describes it.
const FORMAT_VERSION: &str = "1.0";

/// Look for drift: print what hosts report otherwise than recorded, and change nothing
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DriftCommand {
    /// Say nothing of this attribute: server.web[0]/power, server.web/*; may be given several times
    #[arg(long = "ignore", value_name = "ADDR/ATTRIBUTE")]
    ignore: Vec<Ignored>,
    /// Accept that HOST does not answer; may be given several times
    #[arg(long = "allow-unreachable", value_name = "HOST")]
    allow_unreachable: Vec<HostName>,
    /// Also write figures for Prometheus' textfile collector to FILE
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    /// Print one JSON document, also where there is no drift
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

const AFTER_HELP: &str = "\
Attributes are power, host, epoch, domain (gone, or not recorded), and what drift
of a domain names: memory_kib, vcpus, disk.vda.file, ...; * is any of them.

Nothing is printed where there is no drift. Exit status: 0 without drift, 2 with
drift, 1 where something went wrong or a host did not answer.";

/// What a look at the fleet found.
struct Look {
    drift: Vec<Drift>,
    /// How many differences `--ignore` took out wholly.
    ignored: usize,
    unobserved: Vec<UnobservedHost>,
    findings: Vec<Finding>,
}

impl Look {
    /// Whether every host answered or was accepted, and nothing is wrong.
    fn is_whole(&self) -> bool {
        self.unobserved.iter().all(|host| host.accepted)
            && self
                .findings
                .iter()
                .all(|finding| finding.severity < Severity::Error)
    }

    fn status(&self) -> ExitStatus {
        match (self.is_whole(), self.drift.is_empty()) {
            (false, _) => ExitStatus::Error,
            (true, false) => ExitStatus::Changes,
            (true, true) => ExitStatus::Done,
        }
    }
}

pub(super) async fn run(
    command: &DriftCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load(&command.variables, Form::new(command.json, no_color))?;
    // Without these there is no fleet to write figures of: those of the last run grow old.
    let settings = project.settings(output)?;
    let looked = match Fleet::open(&settings, request).await {
        Ok(fleet) => look(command, &project, &fleet, output).await,
        Err(failure) => Err(failure),
    };
    let written = command.metrics_file.as_ref().map_or(Ok(()), |path| {
        let now = jiff::Timestamp::now().as_second();
        let figures = metrics::render(&settings.fleet, &settings.project, now, looked.as_ref().ok());
        write_public(path, figures.as_bytes()).map_err(|error| {
            Failure::because(
                format!("could not write the figures to {}", path.display()),
                error,
            )
        })
    });
    // Whoever waits for the answer gets it, whatever became of the figures.
    let look = looked?;
    if command.json {
        output.json(&serde_json::json!({
            "format_version": FORMAT_VERSION,
            "drover_version": env!("CARGO_PKG_VERSION"),
            "fleet": settings.fleet,
            "project": settings.project,
            "timestamp": super::progress::now(),
            "complete": look.is_whole(),
            "resource_drift": look.drift.iter().map(json::drift).collect::<Vec<_>>(),
            "ignored": look.ignored,
            "unobserved_hosts": look.unobserved,
            "findings": look.findings,
        }))?;
    } else if look.status() != ExitStatus::Done {
        let shown = text::drift(&look.drift, &look.unobserved, &look.findings, style(output));
        output.write(shown.as_bytes())?;
    }
    written?;
    Ok(look.status())
}

async fn look(
    command: &DriftCommand,
    project: &Project,
    fleet: &Fleet,
    output: &mut Output,
) -> Result<Look, Failure> {
    let all = Arc::new(fleet.records().await?);
    let recorded = fleet.own(&all)?;
    let lineage = recorded
        .meta
        .as_ref()
        .map_or_else(|| Lineage::from_uuid(Uuid::new_v4()), |(meta, _)| meta.lineage);
    let mut desired = DesiredFleet::as_recorded(fleet.name.clone(), fleet.project.clone(), &recorded);
    desired.lifecycle = lifecycle(project, &recorded, lineage, &all, output)?;
    let hosts = endpoints(None, &recorded);
    // Without a host there is nobody to ask.
    let observed = if hosts.is_empty() {
        ObservedFleet::new()
    } else {
        fleet.agents(hosts)?.observe(&incarnations(&recorded)).await
    };
    let options = PlanOptions {
        mode: PlanMode::RefreshOnly,
        allow_unreachable: command.allow_unreachable.iter().cloned().collect(),
        ..PlanOptions::default()
    };
    let found = diff(&desired, &recorded, &observed, lineage, &options);
    let all = found.drift.len();
    let drift: Vec<Drift> = found
        .drift
        .into_iter()
        .filter_map(|drift| left(told_apart_from_plans(drift), &command.ignore))
        .collect();
    Ok(Look {
        ignored: all - drift.len(),
        drift,
        unobserved: found.unobserved,
        findings: found.findings,
    })
}

/// What is adopted and what is not is a matter of plans.
fn told_apart_from_plans(drift: Drift) -> Drift {
    match drift.what {
        DriftKind::Orphan { .. } => Drift {
            what: DriftKind::Orphan {
                not_adopted: "`drover plan` says what becomes of it".to_owned(),
            },
            ..drift
        },
        DriftKind::Power { .. }
        | DriftKind::DomainGone
        | DriftKind::Moved { .. }
        | DriftKind::Attributes { .. }
        | DriftKind::Epoch { .. } => drift,
    }
}

/// What `lifecycle` blocks say of what is recorded, also where a `moved` block was not applied yet. Warnings about
/// the files are not this command's to tell; mistakes in them are.
fn lifecycle(
    project: &Project,
    recorded: &RecordedFleet,
    lineage: Lineage,
    all: &Arc<Records>,
    output: &mut Output,
) -> Result<BTreeMap<Address, Lifecycle>, Failure> {
    let identities = identities(lineage, recorded, &BTreeSet::new(), all);
    let (evaluated, found, sources) = project.evaluate_with(&[], identities);
    let Some(evaluated) = evaluated else {
        project.print(&found, &sources, output)?;
        return Err(Failure::shown(ExitStatus::Error));
    };
    let mut lifecycle = evaluated.desired.lifecycle;
    let moved = project.refactorings().moved;
    for (from, to) in project.renames(&moved, None, recorded, output)? {
        if let Some(settings) = lifecycle.remove(&to) {
            lifecycle.insert(from, settings);
        }
    }
    Ok(lifecycle)
}
