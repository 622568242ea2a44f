//! A whole Drover on this one machine: the embedded store, a real agent on the machine's own libvirt, and
//! certificates for both, so that a newcomer's first plan needs nothing else.
//!
//! ```text
//! .drover/tls/          the operator's certificate, which drover finds by itself
//! .drover/dev/          authority, agent.hcl, the agent's certificate, its log, pid files
//! /var/lib/drover/dev-… images and servers of this agent: where QEMU may read them
//! ```
//!
//! It touches no domain, pool or network that it did not make.

mod daemon;
mod environment;

pub use daemon::{DaemonError, Running};
pub use environment::{DevError, Environment, LibvirtState, Status};
