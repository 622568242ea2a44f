//! `drover apply` and `drover destroy`: plan, show, ask, carry out.

use super::events;
use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::{Fleet, who};
use super::guard;
use super::options::{
    ApprovalOptions, DetailOptions, DisplayOptions, PARALLELISM, ParallelismOptions, PlanningOptions,
    ScopeOptions, VariableOptions,
};
use super::output::Output;
use super::plan::{show, status};
use super::planning::{Planned, Wish, make};
use super::progress::{Mode, Reporter};
use super::project::Project;
use super::report::{self, Ended};
use crate::agents::{Agents, Caller};
use crate::apply;
use crate::store::ExpectMeta;
use clap::Args;
use drover_core::executor::{Ending, Limits, Summary};
use drover_core::model::ApplyMark;
use drover_core::plan::text::Detail;
use drover_core::plan::{Plan, PlanFileError, Staleness, decode, staleness};
use drover_types::{Address, RequestId};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Operations on one host at a time: its disk is shared by them.
const PER_HOST: usize = 5;

/// Plan, ask, and carry the plan out; or carry out a plan file exactly
#[derive(Debug, Args)]
pub(super) struct ApplyCommand {
    /// A plan written by `drover plan --out`; applied without asking
    #[arg(value_name = "PLANFILE", conflicts_with_all = ["targets", "excludes", "refresh", "refresh_only", "destroy", "replace", "allow_unreachable", "retry_all", "explain", "full"])]
    plan_file: Option<PathBuf>,
    #[command(flatten)]
    variables: VariableOptions,
    #[command(flatten)]
    planning: PlanningOptions,
    #[command(flatten)]
    approval: ApprovalOptions,
    #[command(flatten)]
    parallelism: ParallelismOptions,
    #[command(flatten)]
    display: DisplayOptions,
    #[command(flatten)]
    detail: DetailOptions,
    /// Show every host that each server could not go to, with the filter and its numbers
    #[arg(long)]
    explain: bool,
    /// Destroy everything (or every target)
    #[arg(long, conflicts_with = "refresh_only")]
    destroy: bool,
    /// Replace the server ADDR although nothing of it changed; may be given several times
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["destroy", "refresh_only"])]
    replace: Vec<Address>,
}

/// Destroy every server (or every target), after showing what goes and asking
#[derive(Debug, Args)]
pub(super) struct DestroyCommand {
    #[command(flatten)]
    variables: VariableOptions,
    #[command(flatten)]
    scope: ScopeOptions,
    #[command(flatten)]
    approval: ApprovalOptions,
    #[command(flatten)]
    parallelism: ParallelismOptions,
    #[command(flatten)]
    display: DisplayOptions,
    #[command(flatten)]
    detail: DetailOptions,
}

pub(super) async fn run(
    command: ApplyCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load_for_plan(&command.variables, &command.display, no_color, output)?;
    let Some(path) = &command.plan_file else {
        let wish = Wish {
            destroy: command.destroy,
            explain: command.explain,
            explain_only: None,
            replace: command.replace.clone(),
            migrate: Vec::new(),
            balance: None,
            import: None,
            at_once: None,
        };
        let asked = Asked {
            operation: "apply",
            planning: &command.planning,
            wish,
            explain: command.explain,
            execution: Execution::new(&command.approval, command.parallelism),
            display: &command.display,
            detail: command.detail.detail(),
        };
        return Box::pin(plan_and_carry_out(&project, &asked, request, output)).await;
    };
    let settings = project.settings(output)?;
    let fleet = Fleet::open(&settings, request).await?;
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::because(format!("could not read the plan {}", path.display()), error))?;
    let plan = decode(&bytes, &fleet.name, &fleet.project).map_err(|error| {
        let status = refused(&error);
        Failure::because(format!("the plan {} cannot be applied", path.display()), error)
            .with_status(status)
            .hint("plan again with `drover plan --out FILE`")
    })?;
    guard::limit(&project, &plan, command.planning.scope.max_destroy, output)?;
    // Whoever reads events has not seen what is about to be done.
    for event in events::of_plan(&plan) {
        output.event_if_heard(|| event);
    }
    let recorded = fleet.recorded().await?;
    let agents = fleet.agents(plan.hosts.clone())?;
    carry_out(
        Planned {
            plan,
            fleet,
            agents,
            recorded,
        },
        "apply",
        Execution::new(&command.approval, command.parallelism),
        command.display.json,
        output,
    )
    .await
}

/// The exit status for a plan file that is refused.
pub(super) const fn refused(error: &PlanFileError) -> ExitStatus {
    match error {
        PlanFileError::NotAPlan => ExitStatus::Error,
        PlanFileError::OtherVersion { .. }
        | PlanFileError::Altered
        | PlanFileError::Unreadable(_)
        | PlanFileError::OtherFleet { .. } => ExitStatus::StalePlan,
    }
}

pub(super) async fn destroy(
    command: DestroyCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load_for_plan(&command.variables, &command.display, no_color, output)?;
    let wish = Wish {
        destroy: true,
        ..Wish::default()
    };
    let planning = PlanningOptions {
        scope: command.scope,
        ..PlanningOptions::default()
    };
    let asked = Asked {
        operation: "destroy",
        planning: &planning,
        wish,
        explain: false,
        execution: Execution::new(&command.approval, command.parallelism),
        display: &command.display,
        detail: command.detail.detail(),
    };
    Box::pin(plan_and_carry_out(&project, &asked, request, output)).await
}

/// How often a plan is made anew because the fleet changed while its command waited for the lock.
const REPLANS: usize = 5;

/// What a command that plans by itself was asked to do.
pub(super) struct Asked<'a> {
    pub(super) operation: &'a str,
    pub(super) planning: &'a PlanningOptions,
    pub(super) wish: Wish,
    pub(super) explain: bool,
    pub(super) execution: Execution,
    pub(super) display: &'a DisplayOptions,
    pub(super) detail: Detail,
}

/// How a plan is approved and carried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Execution {
    auto_approve: bool,
    lock_timeout: Duration,
    parallelism: u16,
}

impl Execution {
    pub(super) const fn new(
        approval: &ApprovalOptions,
        ParallelismOptions { parallelism }: ParallelismOptions,
    ) -> Self {
        Self {
            auto_approve: approval.auto_approve,
            lock_timeout: approval.lock_timeout,
            parallelism,
        }
    }

    /// For plans with hardly anything to be done at a time.
    pub(super) const fn unbounded(approval: &ApprovalOptions) -> Self {
        Self::new(
            approval,
            ParallelismOptions {
                parallelism: PARALLELISM,
            },
        )
    }
}

/// Plans, shows, asks and carries out. Whoever holds the lock changes what was planned with, so a command that
/// is told to wait for the lock plans (and asks) again after it.
pub(super) async fn plan_and_carry_out(
    project: &Project,
    asked: &Asked<'_>,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let mut replans = 0;
    loop {
        let planned = make(project, asked.planning, asked.wish.clone(), request, output).await?;
        show(&planned.plan, asked.display, asked.detail, asked.explain, output)?;
        match approve_and_carry_out(
            planned,
            asked.operation,
            asked.execution,
            asked.display.json,
            output,
        )
        .await
        {
            Err(failure)
                if failure.status() == ExitStatus::StalePlan
                    && !asked.execution.lock_timeout.is_zero()
                    && replans < REPLANS =>
            {
                replans += 1;
                eprintln!("\nThe fleet changed while this command waited for the lock: planning again.");
            }
            result => return result,
        }
    }
}

/// Asks where somebody can answer, and carries the plan out.
pub(super) async fn approve_and_carry_out(
    planned: Planned,
    operation: &str,
    options: Execution,
    json: bool,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    if planned.plan.is_empty() {
        return Ok(status(&planned.plan, false));
    }
    if !options.auto_approve && !approved()? {
        eprintln!("\nNothing was changed.");
        return Ok(ExitStatus::Error);
    }
    Box::pin(carry_out(planned, operation, options, json, output)).await
}

pub(super) fn approved() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("there is no terminal to ask for approval")
            .hint("give --auto-approve, or write a plan with `drover plan --out FILE` and apply that"));
    }
    let failed = |error| Failure::because("could not ask for approval", error);
    eprint!("\nDo you want to perform these actions? Only \"yes\" is taken as a yes: ");
    std::io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim() == "yes")
}

async fn carry_out(
    planned: Planned,
    operation: &str,
    options: Execution,
    json: bool,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let Planned {
        plan,
        fleet,
        agents,
        recorded,
    } = planned;
    let expect_meta = match staleness(&plan, &recorded) {
        Staleness::Fresh | Staleness::Resumable => match &recorded.meta {
            None => ExpectMeta::Absent,
            Some((_, revision)) => ExpectMeta::At(*revision),
        },
        Staleness::Stale { why } => {
            return Err(Failure::new(format!("the plan is stale: {why}"))
                .with_status(ExitStatus::StalePlan)
                .hint("plan again and apply the new plan"));
        }
    };
    // Signals are heard from here on: what comes while the lock is taken counts as the first interrupt.
    let interrupts = interrupts()?;
    let mark = ApplyMark {
        plan: plan.digest,
        parent: plan.parent.meta_revision,
    };
    let lock = fleet
        .lock(
            operation,
            expect_meta,
            plan.parent.lineage,
            Some(mark),
            options.lock_timeout,
        )
        .await?;
    let plan = Arc::new(plan);
    let result = Box::pin(apply_locked(
        &fleet,
        &lock,
        &agents,
        &plan,
        options,
        (json, interrupts),
        output,
    ))
    .await;
    let release = match &result {
        // A lost lock is not ours to release.
        Ok(Summary {
            ending: Ending::LockLost(_),
            ..
        }) => Ok(()),
        Ok(_) | Err(_) => lock.release().await,
    };
    let summary = result?;
    if let Err(error) = release {
        eprintln!(
            "{}",
            Failure::because("could not release the lock; it ends by itself", error)
        );
    }
    let ended = Ended {
        operation,
        plan: &plan,
        summary: &summary,
    };
    report::tell(&ended, &fleet, json, output).await
}

async fn apply_locked(
    fleet: &Fleet,
    lock: &crate::store::Lock,
    agents: &Agents,
    plan: &Arc<Plan>,
    options: Execution,
    (json, interrupts): (bool, mpsc::Receiver<()>),
    output: &mut Output,
) -> Result<Summary, Failure> {
    let recorded = fleet.recorded().await?;
    let context = apply::Context {
        store: &fleet.store,
        lock,
        agents,
        caller: Caller {
            fleet: fleet.name.clone(),
            project: fleet.project.clone(),
            token: lock.token(),
        },
        holder: who(),
    };
    let mode = if json {
        Mode::Nothing
    } else if std::io::stderr().is_terminal() {
        Mode::Bars
    } else {
        Mode::Lines
    };
    let mut reporter = Reporter::new(mode, output);
    let limits = Limits {
        parallelism: options.parallelism.into(),
        per_host: PER_HOST,
    };
    Ok(apply::run(
        &context,
        plan.clone(),
        recorded,
        limits,
        interrupts,
        |event| match event {
            Some(event) => reporter.show(event),
            None => reporter.tick(),
        },
    )
    .await)
}

/// One message per SIGINT or SIGTERM.
fn interrupts() -> Result<mpsc::Receiver<()>, Failure> {
    let failed = |error| Failure::because("could not listen for signals", error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    // Two are all that matter: stop, and detach.
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            // Cancel-safe: a signal that was not yet taken stays pending.
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
