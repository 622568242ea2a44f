//! What the host is, has and runs, for the planner.

mod collect;
mod domains;
mod metrics;
mod profile;
mod service;
mod virt_type;

pub use collect::InventoryError;
pub use metrics::Monitor;
pub use profile::{Profile, ProfileError, Profiles};
pub use service::Hosts;
pub use virt_type::VirtTypeError;

pub(crate) use domains::use_to_wire;
pub(crate) use metrics::run as measure;
