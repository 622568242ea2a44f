//! Plans that are not made: those that destroy what is protected, or more than was allowed, or break a policy.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::output::Output;
use super::project::Project;
use drover_core::model::DesiredFleet;
use drover_core::plan::guard::{destroyed_servers, forbidden};
use drover_core::plan::{Finding, Plan};
use drover_lang::diagnostic::{Diagnostic, Diagnostics};

/// How many addresses a message names.
const NAMED: usize = 20;

/// Refuses a plan that would destroy what a `lifecycle` block protects; names all of it.
pub(super) fn protect(
    project: &Project,
    plan: &Plan,
    desired: &DesiredFleet,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut found = Diagnostics::default();
    for forbidden in forbidden(plan, desired) {
        let (address, origin) = (forbidden.address, forbidden.origin);
        let what = if forbidden.replaced {
            "replaced"
        } else {
            "destroyed"
        };
        let detail = format!(
            "{address} ({origin}) has prevent_destroy in its lifecycle block, and would be {what}: {}.",
            forbidden.action.why
        );
        let hint = format!(
            "leave it out with --exclude '{address}', undo what {what} it, or remove prevent_destroy"
        );
        found.push(Diagnostic::error(format!("{address} cannot be {what}"), detail).hint(Some(hint)));
    }
    refuse(project, &found, output)
}

/// Refuses a plan that destroys or replaces more servers than `--max-destroy` allows.
pub(super) fn limit(
    project: &Project,
    plan: &Plan,
    most: Option<usize>,
    output: &mut Output,
) -> Result<(), Failure> {
    let destroyed = destroyed_servers(plan);
    let Some(most) = most.filter(|most| destroyed.len() > *most) else {
        return Ok(());
    };
    let mut names: Vec<String> = destroyed.iter().take(NAMED).map(ToString::to_string).collect();
    if destroyed.len() > NAMED {
        names.push(format!("and {} more", destroyed.len() - NAMED));
    }
    let detail = format!(
        "{} servers would be destroyed or replaced, and --max-destroy allows {most}: {}.",
        destroyed.len(),
        names.join(", ")
    );
    let hint = format!("if that is meant, give --max-destroy {}", destroyed.len());
    let mut found = Diagnostics::default();
    found.push(Diagnostic::error("Too many servers would be destroyed", detail).hint(Some(hint)));
    refuse(project, &found, output)
}

/// Refuses a plan after which the fleet would break a policy that is an error.
pub(super) fn policy(project: &Project, broken: &[Finding], output: &mut Output) -> Result<(), Failure> {
    let mut found = Diagnostics::default();
    for broken in broken {
        let detail = format!("{}.", broken.message);
        found.push(Diagnostic::error("A policy would be broken", detail).hint(Some(broken.hint.clone())));
    }
    refuse(project, &found, output)
}

fn refuse(project: &Project, found: &Diagnostics, output: &mut Output) -> Result<(), Failure> {
    if found.is_empty() {
        return Ok(());
    }
    project.print(found, project.sources(), output)?;
    Err(Failure::shown(ExitStatus::Error))
}
