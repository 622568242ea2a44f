//! What speaks against taking a domain over: a closed list, each with its numbers and words.

use super::reason::Reason;
use drover_types::{Address, FleetName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
pub enum ImportProblem {
    /// The server's address is not declared.
    NotDeclared,
    /// Its host is neither declared nor recorded.
    NoSuchHost,
    /// Its host has no domain of that name or UUID.
    NoSuchDomain {
        /// Some of those that it has and that are nobody's.
        unmanaged: Vec<String>,
    },
    /// It would be gone with its guest.
    Transient,
    /// It carries the mark of a fleet.
    Managed {
        /// The fleet.
        fleet: FleetName,
        /// The server.
        address: Address,
    },
    /// A host holds it without its mark.
    MarkLost,
    /// It is recorded.
    Recorded {
        /// As this.
        address: Address,
    },
    /// It is to be imported twice.
    Twice {
        /// As this, too.
        address: Address,
    },
    /// The agent cannot take domains over.
    AgentTooOld,
    /// Its guest does not run as it is defined.
    RunsOtherwise {
        /// What is different.
        attribute: String,
        /// As the next start would have it.
        defined: String,
        /// As it runs.
        running: String,
    },
    /// Other processors.
    Vcpus {
        /// It has.
        found: u32,
        /// The declared flavor.
        flavor: Address,
        /// The flavor's.
        declared: u32,
    },
    /// Other memory.
    Ram {
        /// It has.
        found_mib: u64,
        /// The declared flavor.
        flavor: Address,
        /// The flavor's.
        declared_mib: u64,
    },
    /// Other disks.
    Disk {
        /// They have in all.
        found_mib: u64,
        /// The declared flavor.
        flavor: Address,
        /// The flavor's.
        declared_mib: u64,
    },
    /// It could not stay where it is.
    Misplaced {
        /// Why not.
        why: Box<Reason>,
    },
}

impl fmt::Display for ImportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDeclared => f.write_str("the server is not declared"),
            Self::NoSuchHost => f.write_str("its host is not declared"),
            Self::NoSuchDomain { unmanaged } if unmanaged.is_empty() => {
                f.write_str("its host has no such domain, and none that is unmanaged")
            }
            Self::NoSuchDomain { unmanaged } => {
                write!(f, "its host has no such domain; unmanaged are {}", unmanaged.join(", "))
            }
            Self::Transient => f.write_str(
                "the domain is transient, and gone when its guest ends: define it first (virsh dumpxml, virsh define)",
            ),
            Self::Managed { fleet, address } => write!(f, "the domain is {address} of fleet {fleet}"),
            Self::MarkLost => {
                f.write_str("its host holds the domain as a server already, and the mark in it was removed")
            }
            Self::Recorded { address } => {
                write!(f, "the domain is recorded as {address} already: a moved block gives it another address")
            }
            Self::Twice { address } => write!(f, "{address} is to be made of the same domain"),
            Self::AgentTooOld => f.write_str("the agent on its host cannot import: upgrade it"),
            Self::RunsOtherwise {
                attribute,
                defined,
                running,
            } => write!(
                f,
                "the guest does not run as it is defined: {attribute} is {running:?}, and {defined:?} from its next \
                 start on; restart it, or define it as it runs"
            ),
            Self::Vcpus {
                found,
                flavor,
                declared,
            } => write!(f, "the domain has {found} vCPUs, {flavor} has {declared}"),
            Self::Ram {
                found_mib,
                flavor,
                declared_mib,
            } => write!(f, "the domain has {found_mib} MiB of memory, {flavor} has {declared_mib} MiB"),
            Self::Disk {
                found_mib,
                flavor,
                declared_mib,
            } => write!(f, "the domain has {found_mib} MiB of disk in all, {flavor} has {declared_mib} MiB"),
            Self::Misplaced { why } => write!(f, "it could not stay where it is: {why}"),
        }
    }
}
