//! What an apply tells at its end: what was done, what failed and why, what was not begun, and what to do next.

use super::events::{self, Level, event};
use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::Fleet;
use super::output::Output;
use drover_core::executor::{ActionFailure, Ending, Summary};
use drover_core::model::OutputRecord;
use drover_core::plan::change::{Change, Counts, changes, count};
use drover_core::plan::{Plan, text};
use drover_types::OperationId;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Of longer lists only so many entries are shown; all are in the events.
const SHOWN: usize = 20;

/// An apply that came to its end.
pub(super) struct Ended<'a> {
    /// `apply`, `destroy`, `migrate`
    pub(super) operation: &'a str,
    pub(super) plan: &'a Plan,
    pub(super) summary: &'a Summary,
}

impl Ended<'_> {
    /// What this apply did itself.
    fn counts(&self) -> Counts {
        let already: BTreeSet<OperationId> = self.summary.already.iter().copied().collect();
        let did: BTreeSet<OperationId> = self.summary.done.iter().copied().collect();
        let did: Vec<Change<'_>> = changes(self.plan)
            .into_iter()
            .filter(|change| did.contains(&change.action.id) && !already.contains(&change.action.id))
            .collect();
        count(&did)
    }

    /// What was done before, where anything was.
    fn before(&self) -> String {
        match self.summary.already.len() {
            0 => String::new(),
            1 => " 1 action was done before.".to_owned(),
            number => format!(" {number} actions were done before."),
        }
    }

    fn status(&self) -> ExitStatus {
        match (self.summary.is_complete(), self.plan.is_whole()) {
            (true, true) => ExitStatus::Done,
            (true, false) if self.summary.done.is_empty() => ExitStatus::Error,
            (true, false) | (false, _) => ExitStatus::Partial,
        }
    }
}

/// Tells people or programs, and gives the exit status.
pub(super) async fn tell(
    ended: &Ended<'_>,
    fleet: &Fleet,
    json: bool,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let complete = ended.summary.is_complete();
    let title = if complete {
        "Apply complete!"
    } else {
        "Apply ended in part."
    };
    let line = format!(
        "{title} {}.{}",
        text::done_summary(&ended.counts()),
        ended.before()
    );
    let outputs = fleet.recorded().await.map(|recorded| recorded.outputs);
    if output.has_readers() {
        for event in end_events(ended, &line) {
            output.event(&event)?;
        }
        if let Ok(outputs) = &outputs {
            output.event(&events::outputs_event(&recorded_outputs(outputs)))?;
        }
    }
    if let Some(lost) = output.lost_events() {
        eprintln!("{lost}");
    }
    if json {
        return Ok(ended.status());
    }
    output.line(&format!("\n{line}"))?;
    trouble(ended);
    if complete {
        let outputs = outputs?;
        if !outputs.is_empty() {
            output.line("\nOutputs:\n")?;
            output.line(&super::outputs::table(&outputs))?;
        }
    }
    Ok(ended.status())
}

/// The outputs as they are recorded; what is sensitive has no value here.
fn recorded_outputs(outputs: &BTreeMap<String, OutputRecord>) -> Map<String, Value> {
    outputs
        .iter()
        .map(|(name, record)| (name.clone(), super::hidden::output(record)))
        .collect()
}

fn end_events(ended: &Ended<'_>, line: &str) -> Vec<Value> {
    let summary = ended.summary;
    let mut all: Vec<Value> = summary
        .failed
        .iter()
        .map(|failure| {
            let summary = headline(failure);
            let detail = [failure.message.as_str(), failure.hint.as_str()];
            let detail: Vec<&str> = detail.into_iter().filter(|part| !part.is_empty()).collect();
            let body = json!({
                "diagnostic": {
                    "severity": "error",
                    "summary": summary,
                    "detail": detail.join("\n"),
                    "address": failure.address,
                }
            });
            event(Level::Error, "diagnostic", &format!("Error: {summary}"), body)
        })
        .collect();
    if let Some(words) = ending(summary) {
        let body = json!({ "diagnostic": { "severity": "error", "summary": words, "detail": "" } });
        all.push(event(
            Level::Error,
            "diagnostic",
            &format!("Error: {words}"),
            body,
        ));
    }
    let mut last = events::summary(&ended.counts(), ended.operation, line, summary.is_complete());
    last["failed"] = json!(summary.failed.len());
    last["done_before"] = json!(summary.already.len());
    last["not_begun"] = json!(
        summary
            .not_begun
            .iter()
            .map(|(address, why)| json!({ "address": address, "why": why }))
            .collect::<Vec<_>>()
    );
    last["detached"] = json!(summary.detached);
    all.push(last);
    all
}

fn headline(failure: &ActionFailure) -> String {
    let on = failure
        .host
        .as_ref()
        .map(|host| format!(" on {host}"))
        .unwrap_or_default();
    let what = if failure.unknown {
        "the outcome is unknown"
    } else {
        "failed"
    };
    format!("{}: {}{on}: {what}", failure.address, failure.verb)
}

/// Why it ended before its time.
fn ending(summary: &Summary) -> Option<String> {
    match &summary.ending {
        Ending::Finished => None,
        Ending::Interrupted => Some("interrupted: what had begun was finished and recorded".to_owned()),
        Ending::Detached => Some(match summary.detached.len() {
            1 => {
                "detached: the agent goes on with 1 operation; the next apply records how it ended".to_owned()
            }
            many => format!(
                "detached: agents go on with {many} operations; the next apply records how they ended"
            ),
        }),
        Ending::LockLost(why) => Some(format!("the lock was lost ({why}); nothing was begun after that")),
        Ending::StoreUnavailable(why) => Some(format!("the store does not answer: {why}")),
    }
}

fn trouble(ended: &Ended<'_>) {
    let summary = ended.summary;
    for failure in summary.failed.iter().take(SHOWN) {
        eprintln!("\nError: {}", headline(failure));
        eprintln!("  because: {}", failure.message);
        if !failure.hint.is_empty() {
            eprintln!("  hint: {}", failure.hint);
        }
    }
    if summary.failed.len() > SHOWN {
        eprintln!("\n… and {} more that failed.", summary.failed.len() - SHOWN);
    }
    if !summary.not_begun.is_empty() {
        eprintln!("\nNot begun:");
        for (address, why) in summary.not_begun.iter().take(SHOWN) {
            eprintln!("  {address}: {why}");
        }
        if summary.not_begun.len() > SHOWN {
            eprintln!("  … and {} more", summary.not_begun.len() - SHOWN);
        }
    }
    match (&summary.ending, ending(summary)) {
        (_, None) => {}
        (Ending::LockLost(_) | Ending::StoreUnavailable(_), Some(words)) => eprintln!("\nError: {words}"),
        (Ending::Finished | Ending::Interrupted | Ending::Detached, Some(words)) => {
            let mut characters = words.chars();
            let first: String = characters
                .next()
                .into_iter()
                .flat_map(char::to_uppercase)
                .collect();
            eprintln!("\n{first}{}.", characters.as_str());
        }
    }
    if !summary.is_complete() {
        eprintln!(
            "\nWhat is done is recorded. Run `drover plan` to see what is left, and `drover apply` to go on."
        );
    } else if !ended.plan.is_whole() {
        eprintln!("\nWhat the plan names as blocked or unreachable was left as it is.");
    }
}
