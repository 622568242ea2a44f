//! What the host is, has and runs, for the planner.

mod collect;
mod domains;
mod profile;
mod service;
mod virt_type;

pub use collect::InventoryError;
pub use profile::{Profile, ProfileError, Profiles};
pub use service::Hosts;
pub use virt_type::VirtTypeError;

pub(crate) use domains::use_to_wire;
