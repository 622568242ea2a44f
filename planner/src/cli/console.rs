//! `drover console`: evaluates expressions against the configuration and the recorded fleet.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::VariableOptions;
use super::output::Output;
use super::planning::Ground;
use super::project::{Form, Project};
use crate::files::{FilesError, FolderReader, read_configuration};
use clap::Args;
use drover_lang::config::{Scope, is_unfinished};
use drover_types::{Address, HostName, RequestId};
use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

/// Evaluate expressions, line by line, against the files and the recorded fleet
#[derive(Debug, Args)]
pub(super) struct ConsoleCommand {
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &ConsoleCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let here = Path::new(".");
    let form = Form::new(false, no_color);
    let reader = FolderReader::new(here)
        .map_err(|error| Failure::because("could not enter the configuration's directory", error))?;
    let scope = match read_configuration(here) {
        // Functions can be tried anywhere.
        Err(FilesError::NoConfiguration(_)) if command.variables.given.is_empty() => Scope::default(),
        Ok(_) | Err(_) => {
            let project = Project::load(&command.variables, form)?;
            let ground = Ground::survey(&project, request, output).await?;
            let hosts: BTreeMap<Address, HostName> = ground
                .recorded
                .servers
                .iter()
                .filter_map(|(address, record)| Some((address.clone(), record.host.clone()?)))
                .collect();
            let (scope, _, found) = Scope::of(&ground.evaluated, &hosts, &reader);
            project.print(&found, &ground.evaluated.sources, output)?;
            scope
        }
    };
    let terminal = std::io::stdin().is_terminal();
    let mut status = ExitStatus::Done;
    let mut pending = String::new();
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if terminal {
            let prompt = if pending.is_empty() { "> " } else { ": " };
            output.write(prompt.as_bytes())?;
            std::io::stdout()
                .flush()
                .map_err(|error| Failure::because("could not print the prompt", error))?;
        }
        let line = lines.next();
        let ended = line.is_none();
        if let Some(line) = line {
            pending.push_str(&line.map_err(|error| Failure::because("could not read stdin", error))?);
            pending.push('\n');
        }
        let text = pending.trim();
        let whole = ended || !is_unfinished(&pending);
        if text == "exit" || (ended && text.is_empty()) {
            break;
        }
        if !whole || text.is_empty() || text.starts_with('#') {
            if whole {
                pending.clear();
            }
            continue;
        }
        let answer = scope.answer(text, &reader);
        if let Some(text) = &answer.text {
            output.line(text)?;
        }
        if !answer.found.is_empty() {
            eprintln!(
                "{}",
                answer.found.render(&answer.sources, form.style()).trim_end()
            );
        }
        if answer.text.is_none() && !terminal {
            status = ExitStatus::Error;
        }
        pending.clear();
        if ended {
            break;
        }
    }
    Ok(status)
}
