//! `drover validate`: checks the files without a store or a host.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use clap::Args;
use drover_lang::config::Identities;
use drover_lang::diagnostic::Severity;

/// Check the configuration without asking the store or any host
#[derive(Debug, Args)]
pub(super) struct ValidateOptions {
    #[command(flatten)]
    variables: VariableOptions,
    /// Print one JSON document: whether it is valid, and every diagnostic
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    options: &ValidateOptions,
    no_color: bool,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load(&options.variables, Form::new(false, no_color))?;
    if options.json {
        return document(&project, output);
    }
    project.evaluate(Identities::Unread, output)?;
    output.line("The configuration is valid.")?;
    Ok(ExitStatus::Done)
}

/// In the shape of Terraform's.
fn document(project: &Project, output: &mut Output) -> Result<ExitStatus, Failure> {
    let (_, found, sources) = project.evaluate_with(&[], Identities::Unread);
    let diagnostics = found.to_json(&sources);
    let count = |severity| {
        diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    };
    let errors = count(Severity::Error);
    output.json(&serde_json::json!({
        "format_version": "1.0",
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": count(Severity::Warning),
        "diagnostics": diagnostics,
    }))?;
    Ok(if errors == 0 {
        ExitStatus::Done
    } else {
        ExitStatus::Error
    })
}
