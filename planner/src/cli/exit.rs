//! Exit statuses: one table for every command.

use std::process::ExitCode;

/// How a command ended. Scripts and pipelines may rely on each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done, or nothing to do.
    Done = 0,
    /// An error, a wrong option included.
    Error = 1,
    /// There are changes (only under `--detailed-exitcode`), or `drift` found some.
    Changes = 2,
    /// The lock is held by another.
    Locked = 3,
    /// The plan is stale, or not of this fleet.
    StalePlan = 4,
    /// Applied in part: something failed, or the command was interrupted.
    Partial = 5,
}

impl ExitStatus {
    /// The table as `drover help` and the README print it.
    pub const TABLE: &'static str = "\
Exit status:
  0  done, or nothing to do
  1  an error, a wrong option included
  2  there are changes (only with --detailed-exitcode), or drift (drift)
  3  the lock is held by another
  4  the plan is stale, altered, or not of this fleet
  5  applied in part: something failed, or the command was interrupted";
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}
