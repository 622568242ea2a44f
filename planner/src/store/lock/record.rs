//! The record of the lock, and how records that belong to the store itself are read and written.

use crate::store::commit::Row;
use crate::store::error::StoreError;
use drover_core::record::{FORMAT, Key, Write};
use drover_types::{FencingToken, RequestId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Who holds the lock, for people to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// `user@host`.
    pub who: String,
    /// The process on that host.
    pub pid: u32,
    /// The command: `apply`, `destroy`, …
    pub operation: String,
    /// When it took the lock, RFC 3339.
    pub since: String,
    /// Its version.
    pub drover_version: String,
    /// The run, as in the logs of the agents.
    pub request_id: RequestId,
}

/// The record of a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRecord {
    /// Version of the record format.
    pub format: u32,
    /// Who holds it.
    #[serde(flatten)]
    pub holder: LockHolder,
    /// The fencing token that came with it.
    pub token: FencingToken,
    /// Chosen by the holder, so that it knows its own lock again after a lost answer.
    pub id: Uuid,
}

/// A lock as found in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLock {
    /// What it says.
    pub record: LockRecord,
    /// Which lock it is: [`force_unlock`](crate::store::Store::force_unlock) wants it named.
    pub create_revision: u64,
}

impl fmt::Display for HeldLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LockHolder {
            who,
            pid,
            operation,
            since,
            ..
        } = &self.record.holder;
        write!(
            f,
            "{who} (process {pid}) has held the lock for {operation} since {since}"
        )
    }
}

pub(super) fn put<T: Serialize>(key: Key, record: &T) -> Write {
    Write::Put {
        key,
        value: serde_json::to_vec(record).expect("records have text keys only"),
    }
}

/// Reads a record, and says so if it is of a later version.
pub(super) fn parse<T: DeserializeOwned>(row: &Row) -> Result<T, StoreError> {
    /// What every record of every version has.
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let unreadable = |source| StoreError::UnreadableRecord {
        key: row.key.clone(),
        mod_revision: row.mod_revision,
        source,
    };
    let Versioned { format } = serde_json::from_slice(&row.value).map_err(unreadable)?;
    if format > FORMAT {
        return Err(StoreError::NewerRecord {
            key: row.key.clone(),
            format,
        });
    }
    serde_json::from_slice(&row.value).map_err(unreadable)
}
