//! `drover test`: plans the configuration on hosts of given sizes and checks what must hold. No store, no agent.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use crate::files::{FolderReader, read_tests};
use clap::Args;
use drover_core::diff::diff;
use drover_core::model::{
    DesiredFleet, HostObservation, ObservedFleet, RecordedFleet, UnobservedReason, imagined,
};
use drover_core::plan::{Blocked, BlockedBy, Inputs, PlanOptions, Severity, place};
use drover_lang::config::{Identities, InputFile, Run, Scope, TestFile, parse_test};
use drover_lang::diagnostic::{Diagnostic, Diagnostics};
use drover_lang::source::SourceMap;
use drover_types::{Address, HostName, Lineage};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Run the tests in *.drovertest.hcl: plan on hosts of given sizes, no store or host needed
#[derive(Debug, Args)]
pub(super) struct TestCommand {
    /// Only files and runs whose name has TEXT in it; may be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    #[command(flatten)]
    variables: VariableOptions,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// How many runs there were, and how many of them passed.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

pub(super) fn run(command: &TestCommand, no_color: bool, output: &mut Output) -> Result<ExitStatus, Failure> {
    let form = Form::new(command.json, no_color);
    let project = Project::load(&command.variables, form)?;
    let reader = FolderReader::new(Path::new("."))
        .map_err(|error| Failure::because("could not enter the configuration's directory", error))?;
    let files = read_tests(Path::new("."))?;
    if files.is_empty() {
        return Err(Failure::new(
            "there are no tests here: no file ends in .drovertest.hcl",
        ));
    }
    let mut session = Session {
        project: &project,
        reader: &reader,
        json: command.json,
        tally: Tally::default(),
    };
    for file in files {
        let (test, found) = parse_test(&InputFile {
            path: file.path,
            bytes: file.bytes,
        });
        let wanted =
            |name: &str| command.filter.is_empty() || command.filter.iter().any(|text| name.contains(text));
        let chosen: Vec<&Run> = test
            .runs
            .iter()
            .filter(|run| wanted(&test.path) || wanted(&run.name))
            .collect();
        if chosen.is_empty() && !found.has_errors() {
            continue;
        }
        session.file(&test, &chosen, &found, output)?;
    }
    let Tally { passed, failed } = session.tally;
    if passed + failed == 0 {
        return Err(Failure::new("no run has such a name").hint("leave --filter out to run them all"));
    }
    let word = if failed == 0 { "Success" } else { "Failure" };
    let message = format!("{word}! {passed} passed, {failed} failed.");
    if command.json {
        session.event(
            "test_summary",
            &message,
            &serde_json::json!({ "passed": passed, "failed": failed }),
            output,
        )?;
    } else {
        output.line(&format!("\n{message}"))?;
    }
    Ok(if failed == 0 {
        ExitStatus::Done
    } else {
        ExitStatus::Error
    })
}

/// One call of the command.
struct Session<'s> {
    project: &'s Project,
    reader: &'s FolderReader,
    json: bool,
    tally: Tally,
}

/// What was wrong, in texts of its own.
type Found = (Diagnostics, SourceMap);

impl Session<'_> {
    fn file(
        &mut self,
        test: &TestFile,
        runs: &[&Run],
        found: &Diagnostics,
        output: &mut Output,
    ) -> Result<(), Failure> {
        if !self.json {
            output.line(&format!("{}...", test.path))?;
        }
        self.project.print(found, test.sources(), output)?;
        if found.has_errors() {
            self.tally.failed += 1;
        }
        for run in runs {
            let found = self.run(test, run);
            let failed = found.iter().any(|(found, _)| found.has_errors());
            let word = if failed { "fail" } else { "pass" };
            if self.json {
                let message = format!("{}: run {:?}: {word}", test.path, run.name);
                let more = serde_json::json!({ "path": test.path, "run": run.name, "status": word });
                self.event("test_run", &message, &more, output)?;
            } else {
                output.line(&format!("  run {:?}... {word}", run.name))?;
            }
            for (found, sources) in &found {
                self.project.print(found, sources, output)?;
            }
            if failed {
                self.tally.failed += 1;
            } else {
                self.tally.passed += 1;
            }
        }
        Ok(())
    }

    fn event(
        &self,
        kind: &str,
        message: &str,
        more: &serde_json::Value,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let level = if more["status"] == "fail" || more["failed"].as_u64() > Some(0) {
            "error"
        } else {
            "info"
        };
        output.json_line(&serde_json::json!({
            "@level": level, "@message": message, "@timestamp": super::progress::now(), "type": kind, kind: more,
        }))
    }

    /// Evaluates, places and judges one run.
    fn run(&self, test: &TestFile, run: &Run) -> Vec<Found> {
        let lineage = Lineage::from_uuid(uuid::Uuid::nil());
        let identities = Identities::Read {
            lineage,
            servers: BTreeMap::new(),
            created: BTreeMap::new(),
            succeeded: BTreeSet::new(),
            // Tests ask no store.
            records: None,
        };
        let (evaluated, mut all, sources) = self.project.evaluate_with(&run.variables, identities);
        let mut own = Diagnostics::default();
        let mut asserted = None;
        let mut unplaced = BTreeSet::new();
        if let Some(evaluated) = &evaluated {
            let placed = self.place(test, run, &evaluated.desired, lineage, &mut own);
            let (scope, _, later) = Scope::of(evaluated, &placed.hosts, self.reader);
            all.extend(later);
            for blocked in &placed.blocked {
                let block = format!("{}.{}", blocked.address.kind, blocked.address.name);
                match run.expects(&block) {
                    Some(expected) => {
                        unplaced.insert(expected);
                    }
                    None => own.push(describe(test, run, blocked)),
                }
            }
            if !all.has_errors() && !own.has_errors() {
                asserted = Some(test.judge(run, &scope, self.reader));
            }
        }
        let (left, held) = run.unexpected(&all);
        for expected in held.iter().filter(|expected| !unplaced.contains(expected)) {
            let detail = format!(
                "The run expects that a condition of {} does not hold, but all of them do.",
                expected.text
            );
            own.push(test.at_run(run, "Missing expected failure", &detail));
        }
        let mut found = vec![(left, sources), (own, test.sources().clone())];
        found.extend(asserted);
        found
    }

    fn place(
        &self,
        test: &TestFile,
        run: &Run,
        desired: &DesiredFleet,
        lineage: Lineage,
        own: &mut Diagnostics,
    ) -> Placed {
        for host in run.hosts.keys().filter(|host| !desired.hosts.contains_key(*host)) {
            let detail =
                format!("The run has a host {host}, but the configuration declares none of that name.");
            own.push(test.at_run(run, "Unknown host", &detail));
        }
        // On imagined hosts nothing is there to be taken over: such a server is placed as any other.
        let mut desired = desired.clone();
        desired.imports.clear();
        let desired = &desired;
        let observed: ObservedFleet = desired
            .hosts
            .keys()
            .map(|host| {
                let observation = match run.hosts.get(host) {
                    Some(size) => HostObservation::Reported(Box::new(imagined(
                        host,
                        size.vcpus,
                        size.ram.mib_floor(),
                        size.disk.mib_floor(),
                    ))),
                    None => HostObservation::Unobserved(UnobservedReason::NotInInventory),
                };
                (host.clone(), observation)
            })
            .collect();
        let recorded = RecordedFleet::empty(0);
        let inputs = Inputs {
            desired,
            recorded: &recorded,
            observed: &observed,
            lineage,
            drover_version: env!("CARGO_PKG_VERSION"),
            config_digest: self.project.digest(),
        };
        let differences = diff(desired, &recorded, &observed, lineage, &PlanOptions::default());
        let placements = place(&inputs, &differences);
        for finding in &placements.findings {
            if finding.severity == Severity::Error {
                own.push(test.at_run(run, "Placement is not possible", &finding.message));
            }
        }
        for broken in &placements.refused {
            own.push(test.at_run(run, "A policy would be broken", &format!("{}.", broken.message)));
        }
        Placed {
            hosts: placements.hosts,
            blocked: placements.blocked,
        }
    }
}

struct Placed {
    hosts: BTreeMap<Address, HostName>,
    blocked: Vec<Blocked>,
}

fn describe(test: &TestFile, run: &Run, blocked: &Blocked) -> Diagnostic {
    let by = match &blocked.by {
        BlockedBy::NoHost { rejections, conflict } if conflict.is_empty() => rejections
            .iter()
            .take(8)
            .map(|rejection| format!("{}: {} ({})", rejection.host, rejection.why, rejection.filter))
            .collect::<Vec<_>>()
            .join("\n"),
        BlockedBy::NoHost { conflict, .. } => format!("These cannot hold together: {}", conflict.join("; ")),
        BlockedBy::Needs { address } => format!("It needs {address}, which is blocked itself."),
        BlockedBy::Unobserved { host } => format!("The run gives host {host} no size."),
        BlockedBy::CannotImport { problems, .. } => problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
        BlockedBy::DataLoss
        | BlockedBy::DiskShrinks { .. }
        | BlockedBy::HostInUse { .. }
        | BlockedBy::Imported { .. }
        | BlockedBy::HasDevices { .. }
        | BlockedBy::NoImage => blocked.hint.clone(),
    };
    let detail = format!(
        "{} cannot be placed.\n{by}\n\nWrite expect_failures = [{}.{}] if that is what the test is about.",
        blocked.address, blocked.address.kind, blocked.address.name
    );
    test.at_run(run, "Server fits on no host", &detail)
}
