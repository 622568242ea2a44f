//! `drover plan --generate-config-out`: blocks for servers that are to be imported and not declared.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::VariableOptions;
use super::output::Output;
use super::planning::Ground;
use super::project::Project;
use crate::files::write_once;
use drover_core::diff::undeclared_imports;
use drover_core::model::ObservedFleet;
use drover_lang::config::InputFile;
use drover_lang::generate::{Candidate, ImportBlock, configuration, without_blocks};
use drover_types::RequestId;
use std::path::Path;

/// Writes the file, and gives the configuration with it. Nothing is written where nothing is to be declared.
pub(super) async fn write(
    project: Project,
    variables: &VariableOptions,
    path: &Path,
    inventory: Option<&Path>,
    request: &RequestId,
    output: &mut Output,
) -> Result<Project, Failure> {
    if path.symlink_metadata().is_ok() {
        return Err(Failure::new(format!(
            "the file {} is there already, and is not written over",
            path.display()
        ))
        .hint("name a file that is not there, and move the blocks where you want them"));
    }
    let ground = Ground::survey(&project, request, output).await?;
    let observed = match (inventory, ground.agents()?) {
        (Some(file), _) => ground.recall(file)?.0,
        (None, Some(agents)) => ground.observe(&agents).await,
        (None, None) => ObservedFleet::new(),
    };
    let desired = &ground.evaluated.desired;
    let undeclared = undeclared_imports(desired, &ground.recorded, &observed);
    let found = without_blocks(&ground.evaluated, undeclared.keys());
    if found.has_errors() {
        project.print(&found, &ground.evaluated.sources, output)?;
        return Err(Failure::shown(ExitStatus::Error));
    }
    let candidates: Vec<Candidate<'_>> = undeclared
        .into_iter()
        .map(|(address, (id, domain))| Candidate {
            id,
            domain,
            label: address.name,
            import: ImportBlock::Present,
        })
        .collect();
    let text = configuration(desired, &candidates);
    let more = InputFile {
        path: path.display().to_string(),
        bytes: text.clone().into_bytes(),
    };
    if candidates.is_empty() {
        eprintln!(
            "Nothing was written to {}: no server that is to be imported lacks a block.",
            path.display()
        );
        return Ok(project);
    }
    let whole = project.and(variables, more)?;
    write_once(path, text.as_bytes())
        .map_err(|error| Failure::because(format!("could not write {}", path.display()), error))?;
    eprintln!(
        "Wrote {} to {}. Look through it before you apply.",
        counted(candidates.len()),
        path.display()
    );
    Ok(whole)
}

/// "1 server", "3 servers".
pub(super) fn counted(number: usize) -> String {
    let word = if number == 1 { "server" } else { "servers" };
    format!("{number} {word}")
}
