//! What is written of actions that ask no agent.

use super::{Writer, vm_state};
use crate::executor::node::Node;
use crate::executor::write::RecordWrite;
use crate::model::{DeposedServer, HostRecord, PlainRecord, ServerRecord};
use crate::plan::{ActionKind, RecordChange};
use crate::record::FORMAT;
use drover_types::{Address, Generation};

impl Writer<'_> {
    /// All of an action that asks no agent.
    pub(in crate::executor) fn record(&self, node: &Node) -> Vec<RecordWrite> {
        let address = node.action.address.clone();
        match &node.action.kind {
            ActionKind::Record(change) => vec![self.plain(node, change)],
            ActionKind::Move { from, .. } => self.moved(from, &address),
            ActionKind::Adopt {
                server,
                incarnation,
                spec,
                imported_from,
                ownership,
            } => {
                let mut writes = Vec::new();
                let known = self.fleet.servers.get(&address).cloned();
                let record = known.or_else(|| {
                    spec.as_ref().map(|spec| ServerRecord {
                        format: FORMAT,
                        id: *server,
                        incarnation: *incarnation,
                        generation: Generation::new(1),
                        spec: (**spec).clone(),
                        host: None,
                        imported_from: imported_from.clone(),
                        frozen: None,
                        vm_state: vm_state(spec.power),
                        task: None,
                        tried: Vec::new(),
                    })
                });
                if let Some(mut record) = record {
                    record.host = Some(ownership.host.clone());
                    record.tried.clear();
                    record.vm_state = vm_state(record.spec.power);
                    writes.push(RecordWrite::Server(address.clone(), Some(Box::new(record))));
                }
                let mut row = ownership.clone();
                row.burnt = row.burnt.max(self.burnt(node));
                writes.push(RecordWrite::Ownership(*server, Some(row)));
                writes.extend(self.incarnation(&address, *incarnation));
                writes
            }
            ActionKind::RecordServer { spec, generation, .. } => self
                .server(node, |record| {
                    record.spec = (**spec).clone();
                    record.generation = record.generation.max(*generation);
                })
                .into_iter()
                .collect(),
            ActionKind::ForgetServer { server } => {
                let mut writes = vec![RecordWrite::Server(address, None)];
                if self.fleet.ownership.contains_key(server) {
                    writes.push(RecordWrite::Ownership(*server, None));
                }
                writes
            }
            ActionKind::Settle { .. }
            | ActionKind::EnsureImage { .. }
            | ActionKind::DeleteImage { .. }
            | ActionKind::CreateServer { .. }
            | ActionKind::Import { .. }
            | ActionKind::TakeOver { .. }
            | ActionKind::UpdateServer { .. }
            | ActionKind::SetPower { .. }
            | ActionKind::DeleteServer { .. }
            | ActionKind::Migrate { .. } => Vec::new(),
        }
    }

    /// The record of one address under another.
    fn moved(&self, from: &Address, to: &Address) -> Vec<RecordWrite> {
        let fleet = self.fleet;
        let mut writes = Vec::new();
        if let Some(record) = fleet.servers.get(from) {
            writes.push(RecordWrite::Server(from.clone(), None));
            writes.push(RecordWrite::Server(to.clone(), Some(Box::new(record.clone()))));
        }
        if let Some(record) = fleet.flavors.get(from) {
            writes.push(RecordWrite::Flavor(from.clone(), None));
            writes.push(RecordWrite::Flavor(to.clone(), Some(record.clone())));
        }
        if let Some(record) = fleet.images.get(from) {
            writes.push(RecordWrite::Image(from.clone(), None));
            writes.push(RecordWrite::Image(to.clone(), Some(record.clone())));
        }
        if let Some(record) = fleet.groups.get(from) {
            writes.push(RecordWrite::Group(from.clone(), None));
            writes.push(RecordWrite::Group(to.clone(), Some(record.clone())));
        }
        if let Some(record) = fleet.aggregates.get(from) {
            writes.push(RecordWrite::Aggregate(from.clone(), None));
            writes.push(RecordWrite::Aggregate(to.clone(), Some(record.clone())));
        }
        for (id, deposed) in fleet
            .deposed
            .iter()
            .filter(|(_, deposed)| deposed.address == *from)
        {
            let deposed = DeposedServer {
                address: to.clone(),
                ..deposed.clone()
            };
            writes.push(RecordWrite::Deposed(*id, Some(Box::new(deposed))));
        }
        writes
    }

    fn plain(&self, node: &Node, change: &RecordChange) -> RecordWrite {
        fn next<S: Clone>(known: Option<&PlainRecord<S>>, spec: Option<&S>) -> Option<PlainRecord<S>> {
            spec.map(|spec| PlainRecord {
                format: FORMAT,
                generation: known.map_or(Generation::new(1), |record| record.generation.next()),
                spec: spec.clone(),
            })
        }
        let address = node.action.address.clone();
        match change {
            RecordChange::Host(to) => {
                let host = crate::executor::state::host_of(&address);
                let known = self.fleet.hosts.get(&host);
                let record = to.as_ref().map(|(spec, incarnation)| HostRecord {
                    format: FORMAT,
                    generation: known.map_or(Generation::new(1), |record| record.generation.next()),
                    spec: spec.clone(),
                    incarnation: *incarnation,
                });
                RecordWrite::Host(host, record)
            }
            RecordChange::Flavor(to) => {
                let record = next(self.fleet.flavors.get(&address), to.as_ref());
                RecordWrite::Flavor(address, record)
            }
            RecordChange::Image(to) => {
                let record = next(self.fleet.images.get(&address), to.as_ref());
                RecordWrite::Image(address, record)
            }
            RecordChange::Group(to) => {
                let record = next(self.fleet.groups.get(&address), to.as_ref());
                RecordWrite::Group(address, record)
            }
            RecordChange::Aggregate(to) => {
                let record = next(self.fleet.aggregates.get(&address), to.as_ref());
                RecordWrite::Aggregate(address, record)
            }
        }
    }
}
