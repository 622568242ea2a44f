//! The planner: the `drover` command and every effect it has.
//!
//! Decisions live in drover-lang and drover-core; this crate reads files, talks to the store and the agents,
//! and shows people what happens.

pub mod agents;
pub mod apply;
pub mod cli;
pub mod dev;
pub mod files;
pub mod pki;
pub mod store;
