//! `drover scheduler simulate`: the decisions about a scenario file.

use super::super::exit::ExitStatus;
use super::super::failure::Failure;
use super::super::output::Output;
use super::super::table::table;
use clap::{Args, ValueEnum};
use drover_core::placement::scenario::{Scenario, ScenarioError};
use drover_core::placement::{BatchOutcome, DecisionRecord, Explanation, Profile, paragraph};
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
    if command.batch {
        let batch = scenario.decide_batch(profile).map_err(failed)?;
        if command.json {
            let records = batch.records();
            let records = records.iter().map(|record| json!(record)).collect();
            print_json(records, &batch.explanations, command.explain, output)?;
        } else {
            print(&batch.explanations, command.explain, output)?;
            output.line(&told(&batch.outcome))?;
        }
    } else {
        let explanations = scenario.decide(profile).map_err(failed)?;
        if command.json {
            let records = explanations.iter().map(DecisionRecord::from);
            let records = records.map(|record| json!(record)).collect();
            print_json(records, &explanations, command.explain, output)?;
        } else {
            print(&explanations, command.explain, output)?;
            let placed = explanations
                .iter()
                .filter(|explanation| explanation.chosen.is_some())
                .count();
            output.line(&format!("\n{placed} of {} servers placed.", explanations.len()))?;
        }
    }
    Ok(ExitStatus::Done)
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
            .hint("JSON has no NaN or Infinity, and no comments"),
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

fn print_json(
    mut records: Vec<Value>,
    explanations: &[Explanation],
    explain: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    if explain {
        for (record, explanation) in records.iter_mut().zip(explanations) {
            record["explanation"] = json!(explanation);
        }
    }
    output.json(&records)
}

fn print(explanations: &[Explanation], explain: bool, output: &mut Output) -> Result<(), Failure> {
    if explain {
        let texts: Vec<String> = explanations.iter().map(ToString::to_string).collect();
        return output.write(plain(&texts.join("\n")).as_bytes());
    }
    let rows: Vec<Vec<String>> = explanations
        .iter()
        .map(|explanation| {
            let host = explanation.chosen.as_ref();
            vec![
                explanation.server.to_string(),
                host.map_or_else(|| "-".to_owned(), ToString::to_string),
                explanation.verdict(),
            ]
        })
        .collect();
    output.line(&plain(&table(&["SERVER", "HOST", "WHY"], &rows)))
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

/// What became of a batch as a whole, and of the servers that found no host.
fn told(outcome: &BatchOutcome) -> String {
    let lines = outcome.report();
    let lines: Vec<String> = lines.iter().map(|line| paragraph(&plain(line))).collect();
    format!("\n{}", lines.join("\n"))
}
