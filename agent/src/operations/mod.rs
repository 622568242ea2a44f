//! Operations: admitted, logged, then carried out by one owner task each, whoever listens.
//!
//! ```text
//!   request ─► Header ─► run ─► admit + append (one transaction) ─► owner task ─► Finished in the log
//!                          │                                            │ progress
//!                          └────────── watchers (any number) ◄──────────┘
//! ```
//!
//! The work itself is the caller's closure; after a restart, what began and has no result is handed to
//! [`Operations::resume`], which looks at what is there before it decides. What may begin is decided by
//! `drover_agent_core::oplog::admit`.

mod failure;
mod header;
mod runner;
mod service;
mod watch;

pub(crate) use failure::chain;
pub use failure::{Failure, WorkResult};
pub use header::Header;
pub(crate) use header::{invalid, unwell};
pub use runner::{NewOperation, OperationHandle, Operations, RecoverWork};
pub use service::OperationQueries;
pub use watch::OperationStream;

#[cfg(test)]
mod tests;
