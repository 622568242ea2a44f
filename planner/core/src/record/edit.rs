//! Records moved and removed by hand, as writes: no host is asked, no guest is touched.

use super::key::Layout;
use super::transaction::Write;
use crate::diff::Renames;
use crate::model::{DeposedServer, OperationStatus, RecordedFleet};
use drover_types::{Address, Kind, ServerId};

/// Something that cannot be edited now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} is being worked on: {what}")]
pub struct Busy {
    /// What.
    pub address: Address,
    /// By what.
    pub what: String,
}

/// Whatever an open operation, or a command, works on at these addresses.
#[must_use]
pub fn busy(recorded: &RecordedFleet, covers: impl Fn(&Address) -> bool) -> Vec<Busy> {
    let open = recorded
        .operations
        .values()
        .filter(|operation| match operation.status {
            OperationStatus::Intent | OperationStatus::Detached => true,
            OperationStatus::Succeeded | OperationStatus::Failed { .. } => false,
        });
    let mut found: Vec<Busy> = open
        .filter(|operation| covers(&operation.address))
        .map(|operation| Busy {
            address: operation.address.clone(),
            what: format!("operation {} on {} is open", operation.id, operation.host),
        })
        .collect();
    for (address, record) in recorded.servers.iter().filter(|(address, _)| covers(address)) {
        if let Some(task) = &record.task {
            found.push(Busy {
                address: address.clone(),
                what: format!("{} by {} since {}", task.name, task.holder, task.since),
            });
        }
    }
    found
}

/// The writes that file records under other addresses; those of one record stand together.
#[must_use]
pub fn moves(layout: &Layout, recorded: &RecordedFleet, renames: &Renames) -> Vec<Vec<Write>> {
    let mut all = Vec::new();
    for (from, to) in renames {
        let put = match from.kind {
            Kind::Server => recorded
                .servers
                .get(from)
                .map(|record| layout.put_server(to, record)),
            Kind::Flavor => recorded
                .flavors
                .get(from)
                .map(|record| layout.put_plain(to, record)),
            Kind::Image => recorded
                .images
                .get(from)
                .map(|record| layout.put_plain(to, record)),
            Kind::Group => recorded
                .groups
                .get(from)
                .map(|record| layout.put_plain(to, record)),
            Kind::Aggregate => recorded
                .aggregates
                .get(from)
                .map(|record| layout.put_plain(to, record)),
            Kind::Host => None,
        };
        let Some(put) = put else {
            continue;
        };
        let mut writes = vec![
            Write::Delete {
                key: layout.resource(from),
            },
            put,
        ];
        for (id, deposed) in recorded
            .deposed
            .iter()
            .filter(|(_, deposed)| deposed.address == *from)
        {
            let deposed = DeposedServer {
                address: to.clone(),
                ..deposed.clone()
            };
            writes.push(layout.put_deposed(*id, &deposed));
        }
        all.push(writes);
    }
    all
}

/// What is removed from the records, and the server that it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Removal {
    /// The address.
    pub address: Address,
    /// The server and its host, where it is one.
    pub server: Option<(ServerId, Option<drover_types::HostName>)>,
    /// What is to be written.
    pub writes: Vec<Write>,
}

/// The writes that remove every record at these addresses.
#[must_use]
pub fn removals(
    layout: &Layout,
    recorded: &RecordedFleet,
    covers: impl Fn(&Address) -> bool,
) -> Vec<Removal> {
    let mut all = Vec::new();
    let plain = recorded
        .flavors
        .keys()
        .chain(recorded.images.keys())
        .chain(recorded.groups.keys())
        .chain(recorded.aggregates.keys());
    for address in plain.filter(|address| covers(address)) {
        all.push(Removal {
            address: address.clone(),
            server: None,
            writes: vec![Write::Delete {
                key: layout.resource(address),
            }],
        });
    }
    for (address, record) in recorded.servers.iter().filter(|(address, _)| covers(address)) {
        let mut writes = vec![Write::Delete {
            key: layout.resource(address),
        }];
        if recorded.ownership.contains_key(&record.id) {
            writes.push(Write::Delete {
                key: layout.ownership(record.id),
            });
        }
        all.push(Removal {
            address: address.clone(),
            server: Some((record.id, record.host.clone())),
            writes,
        });
    }
    all
}
