//! Servers: create, take over, change, power, reboot, delete, console; and keeping their domains as the log says.

mod adopt;
mod base;
mod build;
mod change;
mod claim;
mod console;
mod create;
mod directory;
mod disk;
mod domain;
mod failure;
mod found;
pub mod reconcile;
mod recovery;
mod request;
mod service;

pub(crate) use base::count_users;
pub use claim::Claims;
pub use directory::{DirectoryError, ServerDirectory, ServerFile};
pub use disk::DiskError;
pub use failure::WorkError;
pub use found::{FoundDirectory, FoundServer, Kept};
pub use service::Servers;

pub(crate) use build::{check_frozen, domain_spec};
pub(crate) use claim::{Records, records, taken, taken_devices};
pub(crate) use disk::{check as check_disk, make_overlay, rebase as rebase_disk};
pub(crate) use domain::ServerHere;
pub(crate) use recovery::recover;
pub(crate) use request::WantedServer;
