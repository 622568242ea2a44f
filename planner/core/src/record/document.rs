//! The records of one project as one JSON document: what `drover state pull` prints and `drover state push` reads.
//!
//! The journal and the lock are no part of it: what is open there belongs to hosts that are at work, and nothing is
//! pushed before it is settled.

use super::key::{Key, Layout, Object};
use super::read::RecordError;
use super::transaction::{Entry, Write};
use super::write::IncarnationRecord;
use crate::model::{OperationStatus, Ownership, RecordedFleet};
use drover_types::{FencingToken, FleetName, Lineage, ProjectName, ServerId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The version of documents that this drover writes and reads.
pub const DOCUMENT_FORMAT: u32 = 1;

/// Every record of a project, at one revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateDocument {
    /// [`DOCUMENT_FORMAT`].
    pub format_version: u32,
    /// The drover that wrote it.
    pub drover_version: String,
    /// Of this fleet.
    pub fleet: FleetName,
    /// Of this project.
    pub project: ProjectName,
    /// Of this history.
    pub lineage: Lineage,
    /// The revision of the fleet's last change: it rises with every one.
    pub serial: u64,
    /// The last apply's: hosts refuse lower ones.
    pub token: FencingToken,
    /// Each record by its key below the fleet's.
    pub records: BTreeMap<String, Value>,
}

/// Why a document cannot be pushed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is no such document.
    #[error("it is no document of `drover state pull`")]
    Malformed(#[source] serde_json::Error),
    /// Another version.
    #[error("it has format version {found}, this drover reads {DOCUMENT_FORMAT}")]
    Version {
        /// The document's.
        found: u64,
    },
    /// Of another fleet or project.
    #[error("it is of fleet {fleet}, project {project}")]
    Elsewhere {
        /// The document's.
        fleet: FleetName,
        /// The document's.
        project: ProjectName,
    },
    /// Of another history.
    #[error(
        "it is of lineage {found}, the store is of {expected}: they are different fleets, or one was made anew"
    )]
    Lineage {
        /// The document's.
        found: Lineage,
        /// The store's.
        expected: Lineage,
    },
    /// The store was changed since, or is an older one.
    #[error("it was pulled at serial {found}, the store is at {expected}")]
    Serial {
        /// The document's.
        found: u64,
        /// The store's.
        expected: u64,
    },
    /// A record in it cannot be read.
    #[error("a record in it cannot be used")]
    Record(#[from] RecordError),
    /// A key that a document does not hold.
    #[error("{0:?} is no key of this project's records")]
    Key(String),
    /// A server without anybody who may run it, or held elsewhere than recorded.
    #[error("server {0} is on a host by its own record, and not by the one of who may run it")]
    Holder(ServerId),
    /// Who may run a server that is not in it.
    #[error("it says who may run server {0}, which is not in it")]
    Stray(ServerId),
    /// Two servers with one id.
    #[error("server {0} is in it at two addresses")]
    Twice(ServerId),
    /// Operations that hosts may still be carrying out.
    #[error("the journal has {0} open operations")]
    Open(usize),
}

impl DocumentError {
    /// Whether `--force` lets it pass.
    #[must_use]
    pub const fn yields_to_force(&self) -> bool {
        match self {
            Self::Lineage { .. } | Self::Serial { .. } => true,
            Self::Malformed(_)
            | Self::Version { .. }
            | Self::Elsewhere { .. }
            | Self::Record(_)
            | Self::Key(_)
            | Self::Holder(_)
            | Self::Stray(_)
            | Self::Twice(_)
            | Self::Open(_) => false,
        }
    }
}

fn servers(recorded: &RecordedFleet) -> BTreeSet<ServerId> {
    let deposed = recorded.deposed.keys().copied();
    recorded
        .servers
        .values()
        .map(|record| record.id)
        .chain(deposed)
        .collect()
}

/// This project's part of the store's entries, by key below the fleet's.
fn own_records(
    layout: &Layout,
    recorded: &RecordedFleet,
    entries: &[Entry],
) -> Result<BTreeMap<String, Value>, RecordError> {
    let servers = servers(recorded);
    let mut records = BTreeMap::new();
    for entry in entries {
        let own = match layout.parse(entry.key.as_str())? {
            Object::Resource(_)
            | Object::Host(_)
            | Object::Incarnation(_)
            | Object::Deposed(_)
            | Object::Output(_) => true,
            Object::Ownership(id) => servers.contains(&id),
            Object::Meta | Object::Lock | Object::Operation(_) | Object::Event | Object::OtherProject(_) => {
                false
            }
        };
        if own {
            let value = serde_json::from_slice(&entry.value).map_err(|source| RecordError::Malformed {
                key: entry.key.clone(),
                source,
            })?;
            let key = entry.key.as_str();
            records.insert(key.strip_prefix(layout.root()).unwrap_or(key).to_owned(), value);
        }
    }
    Ok(records)
}

impl StateDocument {
    /// The document of these entries; nothing where the store was never applied to.
    ///
    /// # Errors
    /// Where a record is not even JSON.
    pub fn pull(
        layout: &Layout,
        project: &ProjectName,
        recorded: &RecordedFleet,
        entries: &[Entry],
        drover_version: &str,
    ) -> Result<Option<Self>, RecordError> {
        let Some((meta, serial)) = &recorded.meta else {
            return Ok(None);
        };
        Ok(Some(Self {
            format_version: DOCUMENT_FORMAT,
            drover_version: drover_version.to_owned(),
            fleet: meta.fleet.clone(),
            project: project.clone(),
            lineage: meta.lineage,
            serial: *serial,
            token: meta.token,
            records: own_records(layout, recorded, entries)?,
        }))
    }

    /// Reads a document: the version first, since a later one may have any other shape.
    ///
    /// # Errors
    /// Where it is none of this version.
    pub fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Versioned {
            format_version: u64,
        }
        let Versioned { format_version } = serde_json::from_slice(bytes).map_err(DocumentError::Malformed)?;
        if format_version != u64::from(DOCUMENT_FORMAT) {
            return Err(DocumentError::Version {
                found: format_version,
            });
        }
        serde_json::from_slice(bytes).map_err(DocumentError::Malformed)
    }

    /// Everything that speaks against writing it into this store.
    #[must_use]
    pub fn mistakes(
        &self,
        layout: &Layout,
        project: &ProjectName,
        recorded: &RecordedFleet,
    ) -> Vec<DocumentError> {
        let mut found = Vec::new();
        if self.fleet != *layout.fleet() || self.project != *project {
            found.push(DocumentError::Elsewhere {
                fleet: self.fleet.clone(),
                project: self.project.clone(),
            });
            return found;
        }
        if let Some((meta, serial)) = &recorded.meta {
            if meta.lineage != self.lineage {
                found.push(DocumentError::Lineage {
                    found: self.lineage,
                    expected: meta.lineage,
                });
            } else if *serial != self.serial {
                found.push(DocumentError::Serial {
                    found: self.serial,
                    expected: *serial,
                });
            }
        }
        let open = recorded
            .operations
            .values()
            .filter(|operation| match operation.status {
                OperationStatus::Intent | OperationStatus::Detached => true,
                OperationStatus::Succeeded | OperationStatus::Failed { .. } => false,
            })
            .count();
        if open > 0 {
            found.push(DocumentError::Open(open));
        }
        let mut entries = Vec::new();
        for (key, value) in &self.records {
            match self.entry(layout, key, value) {
                Ok(entry) => entries.push(entry),
                Err(error) => found.push(error),
            }
        }
        if let Ok(declared) = RecordedFleet::from_entries(layout, 0, &entries) {
            check_holders(&declared, &mut found);
        }
        found
    }

    fn entry(&self, layout: &Layout, key: &str, value: &Value) -> Result<Entry, DocumentError> {
        let bad = || DocumentError::Key(key.chars().take(200).collect());
        let key: Key = format!("{}{key}", layout.root()).parse().map_err(|_| bad())?;
        let fits = match layout.parse(key.as_str()).map_err(|_| bad())? {
            Object::Resource(_)
            | Object::Host(_)
            | Object::Incarnation(_)
            | Object::Deposed(_)
            | Object::Output(_)
            | Object::Ownership(_) => true,
            Object::Meta | Object::Lock | Object::Operation(_) | Object::Event | Object::OtherProject(_) => {
                false
            }
        };
        if !fits {
            return Err(bad());
        }
        let entry = Entry {
            key,
            value: serde_json::to_vec(value).map_err(DocumentError::Malformed)?,
            mod_revision: 0,
        };
        RecordedFleet::from_entries(layout, 0, std::slice::from_ref(&entry))?;
        Ok(entry)
    }

    /// What makes the store hold this document's records instead of its own. Counters never fall: an epoch or an
    /// incarnation that was used once is used for ever.
    ///
    /// # Errors
    /// Where what the store has cannot be read.
    pub fn writes(
        &self,
        layout: &Layout,
        recorded: &RecordedFleet,
        entries: &[Entry],
    ) -> Result<Vec<Write>, DocumentError> {
        let now = own_records(layout, recorded, entries)?;
        let mut writes = Vec::new();
        for (name, value) in &self.records {
            let entry = self.entry(layout, name, value)?;
            let value = match layout.parse(entry.key.as_str()).map_err(RecordError::from)? {
                Object::Ownership(id) => {
                    let mut row: Ownership =
                        serde_json::from_value(value.clone()).map_err(DocumentError::Malformed)?;
                    let burnt = recorded.ownership.get(&id).map(|row| row.burnt);
                    row.burnt = burnt.map_or(row.burnt, |burnt| burnt.max(row.burnt));
                    serde_json::to_value(row).map_err(DocumentError::Malformed)?
                }
                Object::Incarnation(address) => {
                    let mut count: IncarnationRecord =
                        serde_json::from_value(value.clone()).map_err(DocumentError::Malformed)?;
                    let known = recorded.incarnations.get(&address).copied().unwrap_or(0);
                    count.count = count.count.max(known);
                    serde_json::to_value(count).map_err(DocumentError::Malformed)?
                }
                Object::Resource(_)
                | Object::Host(_)
                | Object::Deposed(_)
                | Object::Output(_)
                | Object::Meta
                | Object::Lock
                | Object::Operation(_)
                | Object::Event
                | Object::OtherProject(_) => value.clone(),
            };
            if now.get(name) != Some(&value) {
                writes.push(Write::Put {
                    key: entry.key,
                    value: serde_json::to_vec(&value).map_err(DocumentError::Malformed)?,
                });
            }
        }
        for name in now.keys().filter(|name| !self.records.contains_key(*name)) {
            let key: Key = format!("{}{name}", layout.root())
                .parse()
                .map_err(|error| DocumentError::Record(RecordError::from(error)))?;
            match layout.parse(key.as_str()).map_err(RecordError::from)? {
                Object::Incarnation(_) => {}
                Object::Resource(_)
                | Object::Host(_)
                | Object::Deposed(_)
                | Object::Output(_)
                | Object::Ownership(_)
                | Object::Meta
                | Object::Lock
                | Object::Operation(_)
                | Object::Event
                | Object::OtherProject(_) => writes.push(Write::Delete { key }),
            }
        }
        Ok(writes)
    }
}

fn check_holders(declared: &RecordedFleet, found: &mut Vec<DocumentError>) {
    let mut seen = BTreeSet::new();
    let deposed = declared.deposed.values().map(|deposed| &deposed.server);
    for record in declared.servers.values().chain(deposed) {
        if !seen.insert(record.id) {
            found.push(DocumentError::Twice(record.id));
        }
        let held = declared.ownership.get(&record.id).map(|row| &row.host);
        if record.host.is_some() && record.host.as_ref() != held {
            found.push(DocumentError::Holder(record.id));
        }
    }
    for id in declared.ownership.keys().filter(|id| !seen.contains(id)) {
        found.push(DocumentError::Stray(*id));
    }
}
