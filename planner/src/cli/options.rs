//! Options that several commands share.

use super::failure::Failure;
use super::output::Output;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use drover_core::plan::text::{Detail, View, Warnings};
use drover_types::{Address, HostName};
use std::path::PathBuf;
use std::time::Duration;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(super) struct GlobalOptions {
    /// Run as if drover had been started in DIR
    #[arg(
        short = 'C',
        value_name = "DIR",
        global = true,
        default_value = ".",
        hide_default_value = true
    )]
    pub directory: PathBuf,
    /// Print without colour (so does the environment variable NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// Values for variables, in the order of the command line: a later one wins.
#[derive(Debug, Clone, Default)]
pub(super) struct VariableOptions {
    /// What `--var` and `--var-file` gave.
    pub given: Vec<GivenVariable>,
}

/// What one option gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GivenVariable {
    /// `--var NAME=VALUE`
    Value(String),
    /// `--var-file FILE`
    File(PathBuf),
}

#[derive(Debug, Args)]
struct VariableArguments {
    /// Set a variable; may be given several times
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// Read values of variables from FILE; may be given several times
    #[arg(long = "var-file", value_name = "FILE")]
    var_files: Vec<PathBuf>,
}

// By hand, since a derived one forgets how the two options were interleaved.
impl FromArgMatches for VariableOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let arguments = VariableArguments::from_arg_matches(matches)?;
        let places = |id: &str| matches.indices_of(id).into_iter().flatten();
        let values = places("vars").zip(arguments.vars.into_iter().map(GivenVariable::Value));
        let files = places("var_files").zip(arguments.var_files.into_iter().map(GivenVariable::File));
        let mut placed: Vec<(usize, GivenVariable)> = values.chain(files).collect();
        placed.sort_by_key(|(place, _)| *place);
        Ok(Self {
            given: placed.into_iter().map(|(_, given)| given).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for VariableOptions {
    fn augment_args(command: Command) -> Command {
        VariableArguments::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        VariableArguments::augment_args_for_update(command)
    }
}

/// What of the fleet is planned.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ScopeOptions {
    /// Plan only ADDR and what it needs; may be given several times
    #[arg(long = "target", value_name = "ADDR")]
    pub targets: Vec<Address>,
    /// Leave ADDR and what needs it as it is; may be given several times
    #[arg(long = "exclude", value_name = "ADDR")]
    pub excludes: Vec<Address>,
    /// Refuse a plan that destroys or replaces more than N servers
    #[arg(long, value_name = "N")]
    pub max_destroy: Option<usize>,
    /// Accept that HOST does not answer; may be given several times
    #[arg(long = "allow-unreachable", value_name = "HOST")]
    pub allow_unreachable: Vec<HostName>,
}

/// How the fleet is looked at and what is planned.
#[derive(Debug, Clone, Args)]
pub(super) struct PlanningOptions {
    #[command(flatten)]
    pub scope: ScopeOptions,
    /// With false: take servers to be as recorded, neither show nor heal drift
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, conflicts_with = "refresh_only")]
    pub refresh: bool,
    /// Only look for drift: plan what brings the records up to date, and no other change
    #[arg(long)]
    pub refresh_only: bool,
    /// Consider hosts again that refused a server before
    #[arg(long)]
    pub retry_all: bool,
}

impl Default for PlanningOptions {
    fn default() -> Self {
        Self {
            scope: ScopeOptions::default(),
            refresh: true,
            refresh_only: false,
            retry_all: false,
        }
    }
}

/// How a plan is shown.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct DisplayOptions {
    /// Print one JSON object per line: a change, a step of the apply, a diagnostic
    #[arg(long)]
    pub json: bool,
    /// Write these objects to FILE, while people read what they read without this
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub json_into: Option<PathBuf>,
    /// Show a line of each warning, where there are no errors
    #[arg(long)]
    pub compact_warnings: bool,
}

/// How much of a plan is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct DetailOptions {
    /// Show every change and every list in full, however many there are
    #[arg(long, conflicts_with = "json")]
    full: bool,
}

impl DetailOptions {
    /// What the option asks for.
    pub(super) const fn detail(self) -> Detail {
        if self.full { Detail::Full } else { Detail::Grouped }
    }
}

impl DisplayOptions {
    /// Sees to it that events go where they are asked for.
    pub(super) fn listen(&self, output: &mut Output) -> Result<(), Failure> {
        if self.json {
            output.print_events()?;
        }
        match &self.json_into {
            Some(path) => output.write_events(path),
            None => Ok(()),
        }
    }

    /// How a plan is shown to people.
    pub(super) fn view(&self, detail: Detail, output: &Output) -> View {
        View {
            style: super::plan::style(output),
            detail,
            warnings: self.warnings(),
        }
    }

    /// How much of warnings is shown.
    pub(super) fn warnings(&self) -> Warnings {
        if self.compact_warnings {
            Warnings::Compact
        } else {
            Warnings::Whole
        }
    }
}

/// Who approves, and how long is waited for the lock.
#[derive(Debug, Clone, Args)]
pub(super) struct ApprovalOptions {
    /// Apply without asking
    #[arg(long)]
    pub auto_approve: bool,
    /// Wait up to DURATION (30s, 5m) for the lock
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub lock_timeout: Duration,
}

/// How many actions are carried out at a time, where nothing else is said.
pub(super) const PARALLELISM: u16 = 10;

/// How much is done at a time.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ParallelismOptions {
    /// Carry out at most N actions at a time
    #[arg(long, value_name = "N", default_value_t = PARALLELISM, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub parallelism: u16,
}

/// Reads a duration: a whole number and `s`, `m` or `h`.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().unwrap_or(' ');
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err("write a whole number and s, m or h, for example 30s".to_owned()),
    };
    let number: u64 = text[..text.len() - unit.len_utf8()]
        .parse()
        .map_err(|_| "write a whole number and s, m or h, for example 30s".to_owned())?;
    number
        .checked_mul(factor)
        .map(Duration::from_secs)
        .ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "s", "5", "-1s", "1.5m", "1é", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
