//! Guests' NUMA cells on their host's: which host cell holds which guest cell, on which processors, in which pages;
//! and which of the host's PCI devices a guest is given.
//!
//! The planner asks with what hosts report, and a host asks again when it defines the domain: as in Nova, where the
//! scheduler's filter and the compute node's claim are one function. What a flavor's words mean is the planner's, how
//! a domain is written the agent's. This crate is a function of its arguments.

mod cell;
mod cpu_set;
mod fit;
mod guest;
mod host;
mod pci;
mod shortage;

pub use cpu_set::{CpuSet, CpuSetError};
pub use fit::{Beside, Cells, Misfit, NumaLimits, Seat};
pub use guest::{CpuPolicy, GuestCell, PageSize, ThreadPolicy, numbered};
pub use host::{CellUse, NumaCell, Pages, at_most};
pub use pci::{PciDevice, PciPool, TooFewDevices, WantedDevices, choose, devices_of, near, owned, pools};

#[cfg(test)]
mod tests;
