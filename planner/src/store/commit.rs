//! What a store says to a transaction, and what is refused before it is sent. The same for every store, so
//! that a transaction which fits one fits the other.

use super::error::StoreError;
use drover_core::record::{Compare, Entry, Guard, Key, Transaction, Write};
use std::collections::BTreeSet;

/// etcd's default `--max-txn-ops`, which holds for the comparisons and for the writes each.
pub const MAX_OPERATIONS: usize = 128;
/// etcd's default `--max-request-bytes`, 1.5 MiB.
pub const MAX_BYTES: usize = 1536 * 1024;
/// What protobuf and raft add to a comparison or a write at most: tags, lengths and a revision.
const OVERHEAD: usize = 64;

/// One record with both its revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// Its JSON text.
    pub value: Vec<u8>,
    /// The revision at which it came to be.
    pub create_revision: u64,
    /// The revision at which it was last changed.
    pub mod_revision: u64,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        Self {
            key: row.key,
            value: row.value,
            mod_revision: row.mod_revision,
        }
    }
}

/// Records as they all were at one revision of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision.
    pub revision: u64,
    /// The records, sorted by key.
    pub entries: Vec<Entry>,
}

/// A comparison that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCompare {
    /// What was demanded.
    pub compare: Compare,
    /// What there was instead; nothing where the key does not exist.
    pub found: Option<Row>,
}

/// The store's answer to a transaction. Either way it is certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All was written. Where nothing changed, the revision is the store's current one.
    Committed {
        /// The revision that the written records now have.
        revision: u64,
    },
    /// Nothing was written.
    Conflict {
        /// Every comparison that failed, as found at the moment of refusal.
        failed: Vec<FailedCompare>,
    },
}

/// Whether the record found satisfies the guard.
pub(super) fn holds(guard: &Guard, found: Option<&Row>) -> bool {
    match (guard, found) {
        (Guard::Absent, found) => found.is_none(),
        (Guard::ModRevision(revision), Some(row)) => row.mod_revision == *revision,
        (Guard::CreateRevision(revision), Some(row)) => row.create_revision == *revision,
        (Guard::ModRevision(_) | Guard::CreateRevision(_), None) => false,
    }
}

/// Refuses what etcd would refuse, and what the two stores would understand differently.
pub(super) fn check(transaction: &Transaction) -> Result<(), StoreError> {
    let operations = transaction.compares.len().max(transaction.writes.len());
    if operations > MAX_OPERATIONS {
        return Err(StoreError::TooManyOperations { operations });
    }
    let mut bytes = 0;
    for Compare { key, guard } in &transaction.compares {
        // The key goes out a second time in the read that tells what was found instead.
        bytes += 2 * (key.as_str().len() + OVERHEAD);
        match guard {
            Guard::Absent => {}
            // etcd has 0 stand for a key that does not exist.
            Guard::ModRevision(revision) | Guard::CreateRevision(revision) => {
                if *revision == 0 || i64::try_from(*revision).is_err() {
                    return Err(StoreError::ImpossibleRevision {
                        key: key.clone(),
                        revision: *revision,
                    });
                }
            }
        }
    }
    let mut written = BTreeSet::new();
    for write in &transaction.writes {
        let (key, value_len) = match write {
            Write::Put { key, value } => (key, value.len()),
            Write::Delete { key } => (key, 0),
        };
        bytes += key.as_str().len() + value_len + OVERHEAD;
        if !written.insert(key) {
            return Err(StoreError::WrittenTwice { key: key.clone() });
        }
    }
    if bytes > MAX_BYTES {
        return Err(StoreError::TooLarge { bytes });
    }
    Ok(())
}
