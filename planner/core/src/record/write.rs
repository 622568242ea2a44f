//! Records → writes: each record's key and JSON text.

use super::key::Layout;
use super::transaction::Write;
use crate::model::{
    DeposedServer, HostRecord, Meta, OperationRecord, OutputRecord, Ownership, PlainRecord, ServerRecord,
};
use drover_types::{Address, HostName, OperationId, ServerId};
use serde::{Deserialize, Serialize};

/// The counter of servers at an address, as it stands in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IncarnationRecord {
    pub(super) format: u32,
    pub(super) count: u64,
}

/// Our records' keys are words and their maps have text keys, so their JSON cannot fail.
fn text<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record has only text keys and finite numbers")
}

impl Layout {
    /// Writes `meta`.
    #[must_use]
    pub fn put_meta(&self, record: &Meta) -> Write {
        Write::Put {
            key: self.meta(),
            value: text(record),
        }
    }

    /// Writes a host.
    #[must_use]
    pub fn put_host(&self, host: &HostName, record: &HostRecord) -> Write {
        Write::Put {
            key: self.host(host),
            value: text(record),
        }
    }

    /// Writes a flavor, an image or a group.
    #[must_use]
    pub fn put_plain<S: Serialize>(&self, address: &Address, record: &PlainRecord<S>) -> Write {
        Write::Put {
            key: self.resource(address),
            value: text(record),
        }
    }

    /// Writes a server.
    #[must_use]
    pub fn put_server(&self, address: &Address, record: &ServerRecord) -> Write {
        Write::Put {
            key: self.resource(address),
            value: text(record),
        }
    }

    /// Writes a server that was replaced.
    #[must_use]
    pub fn put_deposed(&self, id: ServerId, record: &DeposedServer) -> Write {
        Write::Put {
            key: self.deposed(id),
            value: text(record),
        }
    }

    /// Writes who may run a server.
    #[must_use]
    pub fn put_ownership(&self, id: ServerId, record: &Ownership) -> Write {
        Write::Put {
            key: self.ownership(id),
            value: text(record),
        }
    }

    /// Writes how many servers an address has had.
    #[must_use]
    pub fn put_incarnation(&self, address: &Address, count: u64) -> Write {
        let record = IncarnationRecord {
            format: super::FORMAT,
            count,
        };
        Write::Put {
            key: self.incarnation(address),
            value: text(&record),
        }
    }

    /// Writes a journal entry.
    #[must_use]
    pub fn put_operation(&self, id: OperationId, record: &OperationRecord) -> Write {
        Write::Put {
            key: self.operation(id),
            value: text(record),
        }
    }

    /// Writes an output.
    #[must_use]
    pub fn put_output(&self, name: &str, record: &OutputRecord) -> Write {
        Write::Put {
            key: self.output(name),
            value: text(record),
        }
    }
}
