//! `drover rebalance`: a plan of the moves that even the hosts out, shown and approved as any other.

use super::apply::{Execution, approve_and_carry_out};
use super::events;
use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::{
    ApprovalOptions, DetailOptions, DisplayOptions, ParallelismOptions, PlanningOptions, ScopeOptions,
    VariableOptions,
};
use super::output::Output;
use super::plan::{show, status};
use super::planning::{Ground, Wish};
use super::project::Project;
use crate::files::write_private;
use clap::Args;
use drover_core::model::ObservedFleet;
use drover_core::placement::paragraph;
use drover_core::plan::{Balance, BalanceLimits, encode};
use drover_types::{HostName, RequestId};
use std::path::PathBuf;

/// A migration that lowers the imbalance by less, divided by the number of hosts, is not worth it.
const LEAST_GAIN: f64 = 0.5;

/// Plan the moves that even the hosts out, ask, and carry them out
#[derive(Debug, Args)]
pub(super) struct RebalanceCommand {
    /// Move servers at most N times
    #[arg(long, value_name = "N")]
    max_moves: Option<usize>,
    /// Move nothing once the imbalance is at most NUMBER: the standard deviations of how full hosts are in memory, disk
    /// and processors, in percent, added up
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = threshold)]
    threshold: f64,
    /// Write the plan to FILE, for `drover apply FILE`, and change nothing
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Plan with the answers that `drover host inventory` saved to FILE, and change nothing; ask no host
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    #[command(flatten)]
    variables: VariableOptions,
    #[command(flatten)]
    approval: ApprovalOptions,
    #[command(flatten)]
    parallelism: ParallelismOptions,
    /// Accept that HOST does not answer; may be given several times
    #[arg(long = "allow-unreachable", value_name = "HOST")]
    allow_unreachable: Vec<HostName>,
    #[command(flatten)]
    display: DisplayOptions,
    #[command(flatten)]
    detail: DetailOptions,
}

fn threshold(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    number
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| "write a number of at least 0, for example 2.5".to_owned())
}

pub(super) async fn run(
    command: RebalanceCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load_for_plan(&command.variables, &command.display, no_color, output)?;
    let ground = Ground::survey(&project, request, output).await?;
    let agents = match &command.inventory {
        Some(_) => None,
        None => ground.agents()?,
    };
    let (observed, taken) = match (&command.inventory, &agents) {
        (Some(file), _) => {
            let (observed, taken) = ground.recall(file)?;
            (observed, Some(taken))
        }
        (None, Some(agents)) => (ground.observe(agents).await, None),
        (None, None) => (ObservedFleet::new(), None),
    };
    let limits = BalanceLimits {
        max_moves: command.max_moves.unwrap_or(usize::MAX),
        threshold: command.threshold,
        least_gain: LEAST_GAIN,
    };
    let mut planning = PlanningOptions {
        scope: ScopeOptions {
            allow_unreachable: command.allow_unreachable.clone(),
            ..ScopeOptions::default()
        },
        ..PlanningOptions::default()
    };
    let found = ground.rebalance(&project, &observed, &planning, &limits)?;
    if found.moves.is_empty() {
        let balance = &found.balance;
        output.event_if_heard(|| events::balance(balance));
        if !command.display.json {
            output.line(&paragraph(&nothing(balance, &limits)))?;
        }
        return silent(&observed, &command.allow_unreachable);
    }
    // Nothing but these servers: what else the configuration changes is for `apply`.
    planning.scope.targets = found
        .moves
        .iter()
        .map(|request| request.address.clone())
        .collect();
    planning.scope.targets.sort();
    planning.scope.targets.dedup();
    let wish = Wish {
        migrate: found.moves,
        balance: Some(found.balance),
        ..Wish::default()
    };
    let plan = ground.plan_as_asked(&project, &observed, &planning, wish, taken, output)?;
    show(&plan, &command.display, command.detail.detail(), false, output)?;
    if let Some(path) = &command.out {
        // Private, since outputs may be sensitive.
        write_private(path, &encode(&plan)).map_err(|error| {
            Failure::because(format!("could not write the plan to {}", path.display()), error)
        })?;
        if !command.display.json {
            output.line(&format!(
                "\nSaved the plan to {path}. To perform exactly these actions, run:\n    drover apply {path}",
                path = path.display()
            ))?;
        }
    }
    match agents {
        Some(agents) if command.out.is_none() => {
            approve_and_carry_out(
                ground.planned(plan, agents),
                "rebalance",
                Execution::new(&command.approval, command.parallelism),
                command.display.json,
                output,
            )
            .await
        }
        Some(_) | None => Ok(status(&plan, false)),
    }
}

/// Why no server is moved, by the numbers that are shown.
fn nothing(balance: &Balance, limits: &BalanceLimits) -> String {
    let why = if limits.max_moves == 0 {
        "--max-moves allows none".to_owned()
    } else if balance.before <= limits.threshold {
        format!("which is no higher than the threshold ({})", limits.threshold)
    } else {
        format!(
            "and no move that is allowed would lower it by {}",
            LEAST_GAIN / balance.hosts.len().max(1) as f64
        )
    };
    format!(
        "Nothing to move: the imbalance of {} hosts is {}, {why}.",
        balance.hosts.len(),
        balance.before
    )
}

/// An incomplete look is an error, even where nothing is to be moved.
fn silent(observed: &ObservedFleet, accepted: &[HostName]) -> Result<ExitStatus, Failure> {
    let silent: Vec<String> = observed
        .iter()
        .filter(|(host, seen)| seen.inventory().is_none() && !accepted.contains(host))
        .map(|(host, _)| host.to_string())
        .collect();
    if silent.is_empty() {
        return Ok(ExitStatus::Done);
    }
    Err(
        Failure::new(format!("these hosts were left out: {}", silent.join(", ")))
            .hint("`drover host list` says why they do not answer; --allow-unreachable HOST accepts that"),
    )
}
