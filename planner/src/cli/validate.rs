//! `drover validate`: checks the files without a store or a host.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use clap::Args;
use drover_core::plan::{Severity as Grave, declared_findings};
use drover_lang::config::{Evaluated, Identities};
use drover_lang::diagnostic::{Diagnostic, Diagnostics, Severity};

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
    let evaluated = project.evaluate(Identities::Unread, output)?;
    let found = of_the_scheduler(&evaluated);
    project.print(&found, &evaluated.sources, output)?;
    if found.has_errors() {
        return Err(Failure::shown(ExitStatus::Error));
    }
    output.line("The configuration is valid.")?;
    Ok(ExitStatus::Done)
}

/// What every plan would find wrong with the files, whatever the hosts report.
fn of_the_scheduler(evaluated: &Evaluated) -> Diagnostics {
    let mut found = Diagnostics::default();
    for (finding, origin) in declared_findings(&evaluated.desired) {
        let about = finding.address.map(|address| format!("{address}: "));
        let detail = format!("{}{}.", about.unwrap_or_default(), finding.message);
        let diagnostic = match finding.severity {
            Grave::Error => Diagnostic::error("Invalid placement settings", detail),
            Grave::Warning => Diagnostic::warning("Questionable placement settings", detail),
        };
        let span = origin.and_then(|origin| {
            let (line, column) = (origin.line as usize, origin.column as usize);
            evaluated.sources.find(&origin.file, line, column)
        });
        let hint = Some(finding.hint).filter(|hint| !hint.is_empty());
        found.push(diagnostic.at_maybe(span).hint(hint));
    }
    found
}

/// In the shape of Terraform's.
fn document(project: &Project, output: &mut Output) -> Result<ExitStatus, Failure> {
    let (evaluated, mut found, sources) = project.evaluate_with(&[], Identities::Unread);
    if let Some(evaluated) = &evaluated {
        found.extend(of_the_scheduler(evaluated));
    }
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
