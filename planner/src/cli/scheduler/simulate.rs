//! `drover scheduler simulate`: the decisions about a scenario file.

use super::super::exit::ExitStatus;
use super::super::failure::Failure;
use super::super::output::Output;
use super::super::table::table;
use clap::{Args, ValueEnum};
use drover_core::placement::scenario::{Scenario, ScenarioError};
use drover_core::placement::{Conflict, DecisionRecord, Explanation, Name, Profile, alike, paragraph};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Of longer lists of mistakes only so many are shown.
const SHOWN: usize = 100;

#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateCommand {
    /// A scenario in JSON, of the format nova-scenario/1
    file: PathBuf,
    /// Print the decisions as one JSON list, in the form of Nova's recorded ones
    #[arg(long)]
    json: bool,
    /// Show every host of every decision: the filters that refused it with their numbers, or its weights
    #[arg(long)]
    explain: bool,
    /// Whose answers to give where Nova's releases differ
    #[arg(long, value_enum, default_value_t = ProfileName::Legacy)]
    profile: ProfileName,
    /// Place all servers as one batch: as many as possible, the highest priority first
    #[arg(long)]
    batch: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileName {
    /// Nova 14 to 19
    Legacy,
    /// Nova 22 and later
    Modern,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Legacy => Self::Legacy,
            ProfileName::Modern => Self::Modern,
        }
    }
}

pub(super) fn run(command: &SimulateCommand, output: &mut Output) -> Result<ExitStatus, Failure> {
    let file = command.file.display().to_string();
    let text = read(&command.file)
        .map_err(|error| Failure::because(format!("could not read the scenario {file}"), error))?;
    let failed = |error| refused(&file, error);
    let scenario = Scenario::parse(&text).map_err(failed)?;
    let profile = command.profile.into();
    let form = Form::of(command);
    if command.batch {
        let batch = scenario.decide_batch(profile, |explanation| form.keep(&explanation, None));
        let mut batch = batch.map_err(failed)?;
        for (kept, part) in batch.parts().into_iter().zip(&mut batch.decisions) {
            if let Kept::Record(record) = part {
                record["batch"] = json!(kept);
            }
        }
        print(&batch.decisions, form, output)?;
        if !command.json {
            output.line(&told(&batch.outcome.report()))?;
        }
    } else {
        let decided = scenario.decide(profile, |explanation, conflict| {
            let why = conflict
                .as_ref()
                .map(|conflict| (explanation.server.clone(), conflict.to_string()));
            (form.keep(&explanation, conflict), why)
        });
        let (kept, conflicts): (Vec<Kept>, Vec<_>) = decided.map_err(failed)?.into_iter().unzip();
        print(&kept, form, output)?;
        if !command.json {
            let without: Vec<(Name, String)> = conflicts.into_iter().flatten().collect();
            let placed = kept.len() - without.len();
            let mut lines = vec![format!("{placed} of {} servers placed.", kept.len())];
            lines.extend(alike(without));
            output.line(&told(&lines))?;
        }
    }
    Ok(ExitStatus::Done)
}

/// How decisions are shown.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// A line each.
    Lines,
    /// Every host.
    Explained,
    /// As Nova's are recorded.
    Json,
    /// The same, with every host.
    ExplainedJson,
}

/// What is kept of a decision until all are made.
enum Kept {
    Row(Vec<String>),
    Text(String),
    Record(Value),
}

impl Form {
    fn of(command: &SimulateCommand) -> Self {
        match (command.json, command.explain) {
            (false, false) => Self::Lines,
            (false, true) => Self::Explained,
            (true, false) => Self::Json,
            (true, true) => Self::ExplainedJson,
        }
    }

    fn keep(self, explanation: &Explanation, conflict: Option<Conflict>) -> Kept {
        match self {
            Self::Lines => {
                let host = explanation.chosen.as_ref();
                Kept::Row(vec![
                    explanation.server.to_string(),
                    host.map_or_else(|| "-".to_owned(), ToString::to_string),
                    explanation.verdict(),
                ])
            }
            Self::Explained => Kept::Text(explanation.to_string()),
            Self::Json => Kept::Record(json!(DecisionRecord::from(explanation))),
            Self::ExplainedJson => {
                let mut record = json!(DecisionRecord::from(explanation));
                record["explanation"] = json!(explanation);
                if let Some(conflict) = conflict {
                    record["conflict"] = json!(conflict);
                }
                Kept::Record(record)
            }
        }
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin().lock())
    } else {
        std::fs::read_to_string(file)
    }
}

/// What is wrong with the file, one mistake a line.
fn refused(file: &str, error: ScenarioError) -> Failure {
    match error {
        ScenarioError::Syntax(error) => Failure::because(format!("the scenario {file} is not JSON"), error)
            .hint("it must be one object in JSON, without comments"),
        ScenarioError::Format(found) => Failure::new(format!(
            "the scenario {file} is of another kind: {}",
            ScenarioError::Format(found)
        )),
        ScenarioError::Invalid(errors) => {
            let count = errors.0.len();
            let word = if count == 1 { "mistake" } else { "mistakes" };
            let mut summary = format!("the scenario {file} has {count} {word}:");
            for error in errors.0.iter().take(SHOWN) {
                summary.push_str(&format!("\n  - {error}"));
            }
            if count > SHOWN {
                summary.push_str(&format!("\n  … and {} more", count - SHOWN));
            }
            Failure::new(summary)
        }
    }
}

fn print(kept: &[Kept], form: Form, output: &mut Output) -> Result<(), Failure> {
    let (mut rows, mut texts, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for decision in kept {
        match decision {
            Kept::Row(row) => rows.push(row.clone()),
            Kept::Text(text) => texts.push(text.as_str()),
            Kept::Record(record) => records.push(record),
        }
    }
    match form {
        Form::Lines => output.line(&plain(&table(&["SERVER", "HOST", "WHY"], &rows))),
        Form::Explained => output.write(plain(&texts.join("\n")).as_bytes()),
        Form::Json | Form::ExplainedJson => output.json(&records),
    }
}

/// Without what would do something to a terminal: names in a scenario may hold any character.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// What became of all, and of the servers that found no host.
fn told(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| paragraph(&plain(line))).collect();
    format!("\n{}", lines.join("\n"))
}
