//! The plan: an immutable graph of actions with their reasons, made from a diff and a placement.
//!
//! [`crate::diff::diff`] says what differs, [`place`] chooses hosts, [`build`] makes the graph and lints it.
//! Outputs that name a host are evaluated between the last two, by the caller.

mod action;
pub mod ahead;
mod balance;
mod blocked;
mod build;
pub mod change;
mod checks;
mod conceal;
mod declared;
mod demand;
#[cfg(test)]
mod demand_tests;
#[cfg(test)]
mod devices_tests;
mod export;
mod file;
pub mod guard;
mod import_problem;
pub mod json;
mod lint;
mod lint_capacity;
mod lint_groups;
mod lint_prefix;
mod markdown;
#[cfg(test)]
mod metrics_tests;
mod outputs;
mod place;
mod reason;
mod record_actions;
mod requirements;
#[cfg(test)]
mod reserved_tests;
mod seats;
mod server_actions;
mod settings;
mod stale;
#[cfg(test)]
mod testing;
#[cfg(test)]
pub(crate) mod tests;
pub mod text;
mod types;
mod unlooked;
mod world;

pub use action::{Action, ActionKind, Candidate, FoundSize, Hidden, Keep, Precondition, RecordChange};
pub use balance::{Balance, BalanceLimits, HostBalance, Rebalance, Shares, rebalance};
pub(crate) use build::host_address;
pub use build::{BuildError, Inputs, build};
pub use checks::{Check, CheckInstance, CheckKind, CheckStatus};
pub use declared::declared_findings;
pub(crate) use demand::{AsIt, asked_or_nothing};
pub use export::export;
pub use file::{PlanFileError, decode, encode};
pub use import_problem::ImportProblem;
pub use lint::{LintFinding, lint};
pub use markdown::render_markdown;
pub use outputs::outputs_of_targets;
pub use place::{Hop, Placements, place};
pub use reason::{Impact, Reason};
pub use stale::{Staleness, staleness};
pub use types::{
    Blocked, BlockedBy, Drift, DriftHandling, DriftKind, Finding, HostRejection, ImportRequest, Join,
    MigrateRequest, OutputChange, OutputValue, Parent, Placement, Plan, PlanMode, PlanOptions, Severity,
    UnobservedHost,
};

/// The form of plans and plan files that this version writes and reads.
pub const PLAN_FORMAT: u32 = 2;
