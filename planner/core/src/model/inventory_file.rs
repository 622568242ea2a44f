//! Inventory files: what all hosts of a fleet reported at one time, to plan from without asking any.

use super::{HostObservation, ObservedFleet};
use drover_types::{FleetName, HostName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Version of the form; another one is refused.
pub const INVENTORY_FORMAT: u32 = 1;

/// What the hosts of a fleet reported.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedInventory {
    /// Of this fleet.
    pub fleet: FleetName,
    /// When they were asked, RFC 3339.
    pub taken: String,
    /// The drover that asked.
    pub drover_version: String,
    /// Every host that was asked, one that did not answer with the reason.
    pub hosts: ObservedFleet,
}

/// Something in an inventory file that cannot be true.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InventoryMistake {
    /// One host, several reports.
    #[error("host {0} stands in it twice")]
    Twice(HostName),
    /// A report under the name of another host.
    #[error("the report of host {host} calls itself {own}")]
    OtherHost {
        /// As it is filed.
        host: HostName,
        /// As it calls itself.
        own: HostName,
    },
    /// A domain under the UUID of another.
    #[error("host {host} has a domain filed under {filed} whose UUID is {own}")]
    OtherDomain {
        /// Its host.
        host: HostName,
        /// As it is filed.
        filed: uuid::Uuid,
        /// As it says itself.
        own: uuid::Uuid,
    },
}

/// Several mistakes, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryMistakes(pub Vec<InventoryMistake>);

impl fmt::Display for InventoryMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.0.iter().enumerate() {
            let line = if number == 0 { "" } else { "\n           " };
            write!(f, "{line}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InventoryMistakes {}

/// Why a file is no inventory to plan from.
#[derive(Debug, thiserror::Error)]
pub enum InventoryFileError {
    /// It is not of this form at all.
    #[error("this is not an inventory file; make one with: drover host inventory --out FILE")]
    NotAnInventory,
    /// Another version wrote it.
    #[error(
        "the inventory file has format {found}, this drover reads format {INVENTORY_FORMAT}; save it again"
    )]
    OtherVersion {
        /// Its format.
        found: u32,
    },
    /// It begins as it should, and is cut short or holds what cannot be read.
    #[error("the inventory file cannot be read: it is cut short or was altered")]
    Unreadable(#[source] serde_json::Error),
    /// It can be read and makes no sense.
    #[error("the inventory file contradicts itself")]
    Contradiction(#[source] InventoryMistakes),
    /// It was saved from another fleet.
    #[error("the inventory file is of fleet {found}, this is fleet {fleet}")]
    OtherFleet {
        /// Its fleet.
        found: FleetName,
        /// Ours.
        fleet: FleetName,
    },
}

/// The form of the file. Hosts are a list, so that one that stands there twice is seen.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<Host> {
    drover_inventory: u32,
    fleet: FleetName,
    taken: String,
    drover_version: String,
    hosts: Vec<Host>,
}

#[derive(Serialize)]
struct Written<'a> {
    host: &'a HostName,
    observation: &'a HostObservation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    host: HostName,
    observation: HostObservation,
}

/// Only the version: read first, so that another version is refused as such.
#[derive(Deserialize)]
struct Version {
    drover_inventory: u32,
}

impl SavedInventory {
    /// The content of the file. The same inventory gives the same bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let file = File {
            drover_inventory: INVENTORY_FORMAT,
            fleet: self.fleet.clone(),
            taken: self.taken.clone(),
            drover_version: self.drover_version.clone(),
            hosts: self
                .hosts
                .iter()
                .map(|(host, observation)| Written { host, observation })
                .collect(),
        };
        let mut bytes = serde_json::to_vec(&file).expect("an inventory has only text keys");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a file of the fleet named.
    ///
    /// # Errors
    /// Where it is none, is cut short, contradicts itself, or is of another version or fleet.
    pub fn decode(bytes: &[u8], fleet: &FleetName) -> Result<Self, InventoryFileError> {
        let file: File<Read> = serde_json::from_slice(bytes).map_err(|error| match version(bytes) {
            None => InventoryFileError::NotAnInventory,
            Some(found) if found != INVENTORY_FORMAT => InventoryFileError::OtherVersion { found },
            Some(_) => InventoryFileError::Unreadable(error),
        })?;
        if file.drover_inventory != INVENTORY_FORMAT {
            return Err(InventoryFileError::OtherVersion {
                found: file.drover_inventory,
            });
        }
        if file.fleet != *fleet {
            return Err(InventoryFileError::OtherFleet {
                found: file.fleet,
                fleet: fleet.clone(),
            });
        }
        let mut hosts = BTreeMap::new();
        let mut mistakes = Vec::new();
        for Read { host, observation } in file.hosts {
            check(&host, &observation, &mut mistakes);
            if hosts.insert(host.clone(), observation).is_some() {
                mistakes.push(InventoryMistake::Twice(host));
            }
        }
        if !mistakes.is_empty() {
            return Err(InventoryFileError::Contradiction(InventoryMistakes(mistakes)));
        }
        Ok(Self {
            fleet: file.fleet,
            taken: file.taken,
            drover_version: file.drover_version,
            hosts,
        })
    }
}

fn check(host: &HostName, observation: &HostObservation, mistakes: &mut Vec<InventoryMistake>) {
    let Some(inventory) = observation.inventory() else {
        return;
    };
    if inventory.host != *host {
        mistakes.push(InventoryMistake::OtherHost {
            host: host.clone(),
            own: inventory.host.clone(),
        });
    }
    for (uuid, domain) in &inventory.domains {
        if *uuid != domain.uuid {
            mistakes.push(InventoryMistake::OtherDomain {
                host: host.clone(),
                filed: *uuid,
                own: domain.uuid,
            });
        }
    }
}

/// The version, of a whole file or of the beginning of one that was cut short.
fn version(bytes: &[u8]) -> Option<u32> {
    if let Ok(version) = serde_json::from_slice::<Version>(bytes) {
        return Some(version.drover_inventory);
    }
    let rest = bytes.strip_prefix(br#"{"drover_inventory":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnobservedReason;
    use crate::testing::{host, observed};
    use proptest::prelude::*;

    fn saved() -> SavedInventory {
        let mut hosts = observed(&["n1", "n2"]);
        hosts.insert(
            host("n3"),
            HostObservation::Unobserved(UnobservedReason::Unreachable("no route".to_owned())),
        );
        SavedInventory {
            fleet: "prod".parse().expect("a name"),
            taken: "2026-01-02T03:04:05Z".to_owned(),
            drover_version: "0.1.0".to_owned(),
            hosts,
        }
    }

    fn decode(bytes: &[u8]) -> Result<SavedInventory, InventoryFileError> {
        SavedInventory::decode(bytes, &saved().fleet)
    }

    fn altered(from: &str, to: &str) -> InventoryFileError {
        let text = String::from_utf8(saved().encode()).expect("JSON is text");
        assert!(text.contains(from), "{from} is not in {text}");
        decode(text.replacen(from, to, 1).as_bytes()).expect_err("it was altered")
    }

    #[test]
    fn what_is_saved_is_read() {
        assert_eq!(decode(&saved().encode()).expect("an inventory"), saved());
    }

    #[test]
    fn another_version_or_fleet_is_refused_as_such() {
        assert!(matches!(
            altered("\"drover_inventory\":1", "\"drover_inventory\":2"),
            InventoryFileError::OtherVersion { found: 2 }
        ));
        // A later version may have other fields: it is still its version that is told.
        assert!(matches!(
            altered(
                "\"drover_inventory\":1,\"fleet\"",
                "\"drover_inventory\":2,\"realm\""
            ),
            InventoryFileError::OtherVersion { found: 2 }
        ));
        assert!(matches!(
            altered("\"fleet\":\"prod\"", "\"fleet\":\"test\""),
            InventoryFileError::OtherFleet { .. }
        ));
    }

    #[test]
    fn contradictions_are_told_all_at_once() {
        let text = String::from_utf8(saved().encode()).expect("JSON is text");
        let text = text.replace("\"host\":\"n2\",\"agent", "\"host\":\"n9\",\"agent");
        let text = text.replace("\"host\":\"n3\"", "\"host\":\"n1\"");
        let Err(InventoryFileError::Contradiction(InventoryMistakes(mistakes))) = decode(text.as_bytes())
        else {
            panic!("it was read");
        };
        assert_eq!(
            mistakes,
            [
                InventoryMistake::OtherHost {
                    host: host("n2"),
                    own: host("n9"),
                },
                InventoryMistake::Twice(host("n1")),
            ]
        );
    }

    #[test]
    fn what_is_no_inventory_is_refused() {
        for garbage in [&b""[..], b"{}", b"[]", b"\0\xff", b"drover plan 1\n", b"null"] {
            assert!(
                matches!(decode(garbage), Err(InventoryFileError::NotAnInventory)),
                "{garbage:?}"
            );
        }
        assert!(matches!(
            altered("\"vcpus\":4", "\"vcpus\":-4"),
            InventoryFileError::Unreadable(_)
        ));
    }

    proptest! {
        /// Cut anywhere, the file is refused.
        #[test]
        fn a_file_that_is_cut_short_is_refused(share in 0.0_f64..1.0) {
            let whole = saved().encode();
            // Without its last line feed it is whole.
            let length = ((whole.len() - 1) as f64 * share) as usize;
            prop_assert!(decode(&whole[..length]).is_err());
        }
    }
}
