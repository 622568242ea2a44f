//! Transactions: what must be true of some keys, and what is written if it is.

use super::key::Key;
use serde::{Deserialize, Serialize};

/// One record as read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Its JSON text.
    pub value: Vec<u8>,
    /// The store's revision at which it was last changed.
    pub mod_revision: u64,
}

/// What a transaction demands of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// The key does not exist.
    Absent,
    /// The key was last changed at this revision.
    ModRevision(u64),
    /// The key was created at this revision and has existed since: a lock that is still the same one.
    CreateRevision(u64),
}

/// One demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: Key,
    /// What must hold for it.
    pub guard: Guard,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put {
        /// The key.
        key: Key,
        /// The JSON text.
        value: Vec<u8>,
    },
    /// Removes a key; removing one that is not there is no error.
    Delete {
        /// The key.
        key: Key,
    },
}

/// Carried out whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Done if they do. No key may occur twice.
    pub writes: Vec<Write>,
}
