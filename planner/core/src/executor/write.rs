//! Changes of the recorded fleet as values: written into the store, then applied to what is known of it.

use crate::model::{
    AggregateSpec, DeposedServer, FlavorSpec, GroupSpec, HostRecord, ImageSpec, OperationRecord,
    OutputRecord, Ownership, PlainRecord, RecordedFleet, ServerRecord,
};
use crate::record::{Key, Layout, Write};
use drover_types::{Address, HostName, OperationId, ServerId};

/// One record's new content; nothing removes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RecordWrite {
    Server(Address, Option<Box<ServerRecord>>),
    Deposed(ServerId, Option<Box<DeposedServer>>),
    Ownership(ServerId, Option<Ownership>),
    Operation(OperationId, Option<Box<OperationRecord>>),
    Incarnation(Address, u64),
    Host(HostName, Option<HostRecord>),
    Flavor(Address, Option<PlainRecord<FlavorSpec>>),
    Image(Address, Option<PlainRecord<ImageSpec>>),
    Group(Address, Option<PlainRecord<GroupSpec>>),
    Aggregate(Address, Option<PlainRecord<AggregateSpec>>),
    Output(String, Option<OutputRecord>),
}

fn set<K: Ord, V>(map: &mut std::collections::BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

impl RecordWrite {
    pub(super) fn key(&self, layout: &Layout) -> Key {
        match self {
            Self::Server(address, _)
            | Self::Flavor(address, _)
            | Self::Image(address, _)
            | Self::Group(address, _)
            | Self::Aggregate(address, _) => layout.resource(address),
            Self::Deposed(id, _) => layout.deposed(*id),
            Self::Ownership(id, _) => layout.ownership(*id),
            Self::Operation(id, _) => layout.operation(*id),
            Self::Incarnation(address, _) => layout.incarnation(address),
            Self::Host(host, _) => layout.host(host),
            Self::Output(name, _) => layout.output(name),
        }
    }

    pub(super) fn write(&self, layout: &Layout) -> Write {
        match self {
            Self::Server(address, Some(record)) => layout.put_server(address, record),
            Self::Deposed(id, Some(record)) => layout.put_deposed(*id, record),
            Self::Ownership(id, Some(record)) => layout.put_ownership(*id, record),
            Self::Operation(id, Some(record)) => layout.put_operation(*id, record),
            Self::Incarnation(address, count) => layout.put_incarnation(address, *count),
            Self::Host(host, Some(record)) => layout.put_host(host, record),
            Self::Flavor(address, Some(record)) => layout.put_plain(address, record),
            Self::Image(address, Some(record)) => layout.put_plain(address, record),
            Self::Group(address, Some(record)) => layout.put_plain(address, record),
            Self::Aggregate(address, Some(record)) => layout.put_plain(address, record),
            Self::Output(name, Some(record)) => layout.put_output(name, record),
            Self::Server(_, None)
            | Self::Deposed(_, None)
            | Self::Ownership(_, None)
            | Self::Operation(_, None)
            | Self::Host(_, None)
            | Self::Flavor(_, None)
            | Self::Image(_, None)
            | Self::Group(_, None)
            | Self::Aggregate(_, None)
            | Self::Output(_, None) => Write::Delete {
                key: self.key(layout),
            },
        }
    }

    /// What is known after it was committed at this revision.
    pub(super) fn apply(self, layout: &Layout, fleet: &mut RecordedFleet, revision: u64) {
        let key = self.key(layout);
        let removed = match self {
            Self::Server(address, record) => {
                let removed = record.is_none();
                set(&mut fleet.servers, address, record.map(|record| *record));
                removed
            }
            Self::Deposed(id, record) => {
                let removed = record.is_none();
                set(&mut fleet.deposed, id, record.map(|record| *record));
                removed
            }
            Self::Ownership(id, record) => {
                let removed = record.is_none();
                set(&mut fleet.ownership, id, record);
                removed
            }
            Self::Operation(id, record) => {
                let removed = record.is_none();
                set(&mut fleet.operations, id, record.map(|record| *record));
                removed
            }
            Self::Incarnation(address, count) => {
                fleet.incarnations.insert(address, count);
                false
            }
            Self::Host(host, record) => {
                let removed = record.is_none();
                set(&mut fleet.hosts, host, record);
                removed
            }
            Self::Flavor(address, record) => {
                let removed = record.is_none();
                set(&mut fleet.flavors, address, record);
                removed
            }
            Self::Image(address, record) => {
                let removed = record.is_none();
                set(&mut fleet.images, address, record);
                removed
            }
            Self::Group(address, record) => {
                let removed = record.is_none();
                set(&mut fleet.groups, address, record);
                removed
            }
            Self::Aggregate(address, record) => {
                let removed = record.is_none();
                set(&mut fleet.aggregates, address, record);
                removed
            }
            Self::Output(name, record) => {
                let removed = record.is_none();
                set(&mut fleet.outputs, name, record);
                removed
            }
        };
        set(&mut fleet.revisions, key, (!removed).then_some(revision));
    }
}
