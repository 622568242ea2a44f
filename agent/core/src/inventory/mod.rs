//! A host's inventory out of libvirt's documents and counters, and what is frozen from it into a new server. Asking
//! libvirt, and what is in use, is the daemon's.

mod capabilities;
mod cpu;
mod cpu_metrics;
mod cpu_sets;
mod pci;

pub use capabilities::{
    GuestMode, HostCapabilities, HostCpu, MachineAlias, SupportedGuest, VmMode, capabilities,
};
pub use cpu::{CpuChoiceError, DomainCapabilities, domain_capabilities, frozen_cpu};
pub use cpu_metrics::{CpuHistory, CpuSample, CpuTimes};
pub use cpu_sets::{CpuSets, UnknownCpus};
pub use pci::{PciPlaces, PciPlacesError, PciRule, allowed_devices};

use crate::domain::ReadError;

/// Why one of libvirt's documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// It cannot be read.
    #[error("libvirt's {document} cannot be read")]
    Xml {
        /// The document.
        document: &'static str,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// It lacks a part.
    #[error("libvirt's {document} has no {part}")]
    Missing {
        /// The document.
        document: &'static str,
        /// The part.
        part: &'static str,
    },
}

#[cfg(test)]
mod tests;
