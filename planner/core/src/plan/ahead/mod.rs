//! Looking ahead: how many more servers fit, and whether the fleet outlives the loss of any one host.
//!
//! Both ask the configured filters about the fleet at one moment ([`Standing`]). Filters that speak of newcomers
//! alone (a host refused this server before, a host is busy) are left out: they pass, and room stays.

mod capacity;
mod loss;
mod policy;
mod standing;
#[cfg(test)]
mod tests;

pub use capacity::{FlavorRoom, capacity};
pub use loss::{HostLoss, Stranded, losses};
pub(super) use policy::findings;
pub use standing::{Moment, Newcomers, Standing};
