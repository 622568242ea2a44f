//! The per-host daemon: it serves the fleet's planner over mutual TLS and carries out, for its own host
//! alone, what it is told.
//!
//! What follows from what is seen is decided in `drover-agent-core`; here are the effects: sockets, files,
//! processes and libvirt.
//!
//! ```text
//!   tls ──► access ──► service traits (host, image, server, migration, peer, operation)
//!                            │ admit, log, then act
//!                            ▼
//!                       operations ──► oplog (the file)
//!                            │ one owner task each
//!                            ▼
//!              image (cache)   server, inventory, migration ──► hypervisor (libvirt)
//! ```

pub mod access;
pub mod agent;
pub mod config;
pub mod daemon;
mod health;
pub mod hypervisor;
pub mod image;
pub mod inventory;
pub mod limits;
pub mod logging;
pub mod migration;
pub mod operations;
pub mod oplog;
mod recover;
pub mod server;
pub mod tls;
