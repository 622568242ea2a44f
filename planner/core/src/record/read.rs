//! Entries of the store → the fleet as recorded.

use super::FORMAT;
use super::key::{Key, KeyError, Layout, Object};
use super::transaction::Entry;
use super::write::IncarnationRecord;
use crate::model::RecordedFleet;
use drover_types::{Address, HostName, Kind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why the store's content cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A key that this version does not know.
    #[error("cannot read the store: it holds something unknown")]
    Key(#[from] KeyError),
    /// A record of a later version.
    #[error(
        "cannot read {key}: it has format {found} and this drover reads up to {FORMAT}; use the drover that wrote it, or a newer one"
    )]
    Newer {
        /// Whose.
        key: Key,
        /// Its format.
        found: u32,
    },
    /// A record that is not what its key says.
    #[error("cannot read {key}: it is no record of its kind")]
    Malformed {
        /// Whose.
        key: Key,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// Reads the format first: a newer record may have any shape otherwise.
fn record<T: DeserializeOwned>(entry: &Entry) -> Result<T, RecordError> {
    let malformed = |source| RecordError::Malformed {
        key: entry.key.clone(),
        source,
    };
    let Versioned { format } = serde_json::from_slice(&entry.value).map_err(malformed)?;
    if format > FORMAT {
        return Err(RecordError::Newer {
            key: entry.key.clone(),
            found: format,
        });
    }
    serde_json::from_slice(&entry.value).map_err(malformed)
}

impl RecordedFleet {
    /// Reads everything that the store holds of a fleet and project: all entries under
    /// [`Layout::root`], read at `revision`. Other projects, the lock and events are left out.
    ///
    /// # Errors
    /// The first key that is unknown, or whose record is newer than this version or malformed.
    pub fn from_entries(layout: &Layout, revision: u64, entries: &[Entry]) -> Result<Self, RecordError> {
        let mut fleet = Self::empty(revision);
        for entry in entries {
            let object = layout.parse(entry.key.as_str())?;
            match object {
                Object::Meta => fleet.meta = Some((record(entry)?, entry.mod_revision)),
                Object::Resource(address) => fleet.read_resource(address, entry)?,
                Object::Host(host) => {
                    fleet.hosts.insert(host, record(entry)?);
                }
                Object::Incarnation(address) => {
                    fleet
                        .incarnations
                        .insert(address, record::<IncarnationRecord>(entry)?.count);
                }
                Object::Deposed(id) => {
                    fleet.deposed.insert(id, record(entry)?);
                }
                Object::Output(name) => {
                    fleet.outputs.insert(name, record(entry)?);
                }
                Object::Ownership(id) => {
                    fleet.ownership.insert(id, record(entry)?);
                }
                Object::Operation(id) => {
                    fleet.operations.insert(id, record(entry)?);
                }
                Object::Lock | Object::Event | Object::OtherProject(_) => continue,
            }
            fleet.revisions.insert(entry.key.clone(), entry.mod_revision);
        }
        Ok(fleet)
    }

    fn read_resource(&mut self, address: Address, entry: &Entry) -> Result<(), RecordError> {
        match address.kind {
            Kind::Flavor => {
                self.flavors.insert(address, record(entry)?);
            }
            Kind::Image => {
                self.images.insert(address, record(entry)?);
            }
            Kind::Group => {
                self.groups.insert(address, record(entry)?);
            }
            Kind::Aggregate => {
                self.aggregates.insert(address, record(entry)?);
            }
            Kind::Server => {
                self.servers.insert(address, record(entry)?);
            }
            Kind::Host => return Err(KeyError(entry.key.to_string()).into()),
        }
        Ok(())
    }

    /// When this key was last changed; nothing where it is absent.
    #[must_use]
    pub fn revision_of(&self, key: &Key) -> Option<u64> {
        self.revisions.get(key).copied()
    }

    /// Where a host listens, as recorded.
    #[must_use]
    pub fn endpoint(&self, host: &HostName) -> Option<&crate::model::Endpoint> {
        self.hosts.get(host).map(|record| &record.spec.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<RecordedFleet, RecordError> {
        let layout = Layout::new(&"prod".parse().expect("name"), &"default".parse().expect("name"));
        let entry = Entry {
            key: key.parse().expect("a key"),
            value: value.as_bytes().to_vec(),
            mod_revision: 7,
        };
        RecordedFleet::from_entries(&layout, 9, &[entry])
    }

    #[test]
    fn what_cannot_be_read_names_its_key() {
        let group = "/drover/v1/prod/default/res/group/group.web";
        let fleet = read(
            group,
            r#"{"format":1,"generation":3,"spec":{"policy":"affinity"}}"#,
        )
        .expect("a fleet");
        assert_eq!(
            (fleet.groups.len(), fleet.revisions.values().next()),
            (1, Some(&7))
        );
        let said = |key: &str, value: &str| read(key, value).expect_err("unreadable").to_string();
        let newer = said(group, r#"{"format":2,"what":"ever"}"#);
        assert!(newer.contains(group) && newer.contains("format 2"), "{newer}");
        assert!(said(group, "[]").contains(group));
        assert!(matches!(
            read("/drover/v1/prod/own/x", "{}"),
            Err(RecordError::Key(_))
        ));
    }
}
