//! Actions on servers: the steps of the diff, with hosts, epochs and orders filled in.

mod change;
mod create;
mod import;
mod migrate;
mod order;
mod remove;

use super::action::{Action, ActionKind, Hidden, Keep, Precondition};
use super::build::Graph;
use super::demand::{self, AsIt};
use super::reason::{Impact, Reason};
use super::types::{Blocked, BlockedBy};
use crate::diff::{Seat, ServerDiff, ServerStep, attributes};
use crate::executor::{ImageOrder, ServerOrder};
use crate::model::ServerSpec;
use drover_types::{Address, Epoch, Generation, HostName, OperationId, ServerId};
use order::{order_declared, order_moves};
use serde_json::Value;
use std::collections::BTreeMap;

/// One server's chain of actions while it is made.
struct Chain<'g, 'a> {
    graph: &'g mut Graph<'a>,
    address: &'g Address,
    server: &'g ServerDiff,
    /// What the next action waits for.
    after: Vec<OperationId>,
    seat: Option<Seat>,
    burnt: Epoch,
    generation: Generation,
    /// The server that the next create makes: itself, or its successor.
    id: ServerId,
    incarnation: u64,
}

/// Makes all of them. Returns what turned out to be impossible.
pub(super) fn server_actions(
    graph: &mut Graph<'_>,
    records: &BTreeMap<Address, OperationId>,
) -> Vec<Blocked> {
    let mut blocked = Vec::new();
    let diff = graph.diff;
    // Deletions first: what is created may wait for them.
    let deletes = |server: &ServerDiff| {
        server
            .steps
            .iter()
            .any(|step| matches!(step, ServerStep::Delete { .. }))
    };
    let (gone, rest): (Vec<_>, Vec<_>) = diff
        .servers
        .iter()
        .filter(|(_, server)| !server.held_back)
        .partition(|(_, server)| deletes(server));
    for (address, server) in gone.into_iter().chain(rest) {
        let mut after: Vec<OperationId> = server
            .settle
            .iter()
            .filter_map(|operation| graph.settlements.get(operation).copied())
            .collect();
        after.extend(graph.renames.get(address));
        if let Some(spec) = &server.desired {
            let needs = [Some(&spec.flavor), spec.image_address(), spec.group.as_ref()];
            after.extend(
                needs
                    .into_iter()
                    .flatten()
                    .filter_map(|address| records.get(address)),
            );
        }
        let mut chain = Chain {
            graph,
            address,
            server,
            after,
            seat: server.seat.clone(),
            burnt: server.burnt,
            generation: server.generation,
            id: server.id,
            incarnation: server.incarnation,
        };
        if let Err(reason) = chain.make(records) {
            blocked.push(*reason);
        }
    }
    order_declared(graph);
    deposed(graph);
    order_moves(graph);
    blocked
}

/// Servers that an earlier apply replaced and could not destroy any more: they go once their successor is there.
fn deposed(graph: &mut Graph<'_>) {
    let diff = graph.diff;
    for (address, server) in diff.deposed.values().filter(|(_, server)| !server.held_back) {
        let settled = server
            .settle
            .iter()
            .filter_map(|operation| graph.settlements.get(operation).copied());
        let mut after: Vec<OperationId> = settled.collect();
        after.extend(graph.by_address.get(address).into_iter().flatten());
        let mut chain = Chain {
            graph: &mut *graph,
            address,
            server,
            after,
            seat: server.seat.clone(),
            burnt: server.burnt,
            generation: server.generation,
            id: server.id,
            incarnation: server.incarnation,
        };
        for step in &server.steps {
            if let ServerStep::Delete { why } = step {
                chain.delete(why, Keep::Successor, Impact::Destroy);
            }
        }
    }
}

impl Chain<'_, '_> {
    fn make(&mut self, records: &BTreeMap<Address, OperationId>) -> Result<(), Box<Blocked>> {
        let server = self.server;
        let move_to = self.graph.placements.moves.get(self.address).cloned().zip(
            self.graph
                .placements
                .chosen
                .get(self.address)
                .map(|placement| placement.host.clone()),
        );
        let mut moved = false;
        for step in &server.steps {
            let stays_first = match step {
                ServerStep::Adopt { .. }
                | ServerStep::TakeOver { .. }
                | ServerStep::Rebuild { .. }
                | ServerStep::Replace { .. }
                | ServerStep::Import { .. } => true,
                ServerStep::Create { .. }
                | ServerStep::Delete { .. }
                | ServerStep::Release { .. }
                | ServerStep::Forget { .. }
                | ServerStep::Update { .. }
                | ServerStep::SetPower { .. }
                | ServerStep::Record { .. } => false,
            };
            if !stays_first
                && !moved
                && let Some((why, to)) = &move_to
            {
                self.travel(why, to, records)?;
                moved = true;
            }
            self.step(step, records, move_to.as_ref())?;
            moved |= matches!(step, ServerStep::Rebuild { .. } | ServerStep::Replace { .. });
        }
        if !moved && let Some((why, to)) = &move_to {
            self.travel(why, to, records)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        step: &ServerStep,
        records: &BTreeMap<Address, OperationId>,
        move_to: Option<&(Reason, HostName)>,
    ) -> Result<(), Box<Blocked>> {
        match step {
            ServerStep::Create { why } => self.create(why, records, None, Impact::None),
            ServerStep::Import { why } => {
                self.import(why, records);
                Ok(())
            }
            ServerStep::Delete { why } => {
                self.delete(why, Keep::Nothing, Impact::Destroy);
                Ok(())
            }
            ServerStep::Release { why } => {
                self.delete(why, Keep::Guest, Impact::None);
                Ok(())
            }
            ServerStep::Forget { why } => {
                self.forget(why);
                Ok(())
            }
            ServerStep::Rebuild { why } => {
                if self.graph.placements.stuck.contains(self.address) {
                    return Ok(());
                }
                let home = move_to
                    .map(|(_, to)| to.clone())
                    .or_else(|| self.seat.as_ref().map(|seat| seat.host.clone()));
                // The old disk goes once the new image is there: one that cannot be had must cost nothing.
                if let Some(home) = &home {
                    let spec = self.spec().clone();
                    let order = self.order(&spec, self.generation.next(), false)?;
                    let fetch = self.fetch(home, order.image.as_ref());
                    self.after.extend(fetch);
                }
                self.delete(why, Keep::Record, Impact::Rebuild);
                self.create(why, records, home, Impact::Rebuild)
            }
            ServerStep::Replace { why } => self.replace(why, records),
            ServerStep::Adopt { why } => {
                self.adopt(why);
                Ok(())
            }
            ServerStep::TakeOver { why, leftover } => self.take_over(why, leftover.as_ref()),
            ServerStep::Update { why, impact } => {
                if self.graph.placements.stuck.contains(self.address) {
                    return Ok(());
                }
                self.update(why, *impact)
            }
            ServerStep::SetPower { power, why } => {
                self.set_power(*power, why);
                Ok(())
            }
            ServerStep::Record { why } => {
                self.record(why);
                Ok(())
            }
        }
    }

    fn spec(&self) -> &ServerSpec {
        self.server
            .desired
            .as_ref()
            .or(self.server.recorded.as_ref())
            .expect("a server of a diff is declared or recorded")
    }

    fn present(&self) -> &ServerSpec {
        self.server
            .recorded
            .as_ref()
            .or(self.server.desired.as_ref())
            .expect("a server of a diff is declared or recorded")
    }

    fn order(
        &self,
        spec: &ServerSpec,
        generation: Generation,
        keep_frozen: bool,
    ) -> Result<ServerOrder, Box<Blocked>> {
        let image = match (&spec.image, self.graph.image_of(spec)) {
            (Some(_), Some(image)) => Some(image),
            // What an imported server is made of is there.
            (None, _) if keep_frozen && self.server.imported.is_some() => None,
            (None, _) => {
                return Err(Box::new(Blocked {
                    address: self.address.clone(),
                    verb: "create".to_owned(),
                    why: Reason::ImageNeeded,
                    by: BlockedBy::NoImage,
                    hint: "declare an image for it: only an imported server goes without".to_owned(),
                }));
            }
            (Some(used), None) => {
                return Err(Box::new(Blocked {
                    address: self.address.clone(),
                    verb: "update".to_owned(),
                    why: Reason::ImageNeeded,
                    by: BlockedBy::Needs {
                        address: used.address.clone(),
                    },
                    hint: "declare its image again".to_owned(),
                }));
            }
        };
        // An imported server stands on no image, whichever is declared for what would replace it.
        let image = image.filter(|_| !keep_frozen || self.server.imported.is_none());
        let disk_bytes = spec.size.disk.bytes();
        let (numa, devices) = match self.server.imported {
            // What an imported server is defined as stays as it is.
            Some(_) if keep_frozen => (None, Vec::new()),
            Some(_) | None => demand::order(self.graph.inputs, spec, AsIt::Shall),
        };
        Ok(ServerOrder {
            id: self.id,
            address: self.address.clone(),
            name: spec.name.clone(),
            generation,
            vcpus: spec.size.vcpus,
            ram_mib: spec.size.ram.mib_ceil(),
            disk_bytes,
            image: image.as_ref().map(|image| ImageOrder {
                source: image.source.clone(),
                checksum: image.checksum,
                format: image.format,
                max_virtual_size: disk_bytes,
            }),
            power: spec.power,
            frozen: if keep_frozen {
                self.server.frozen.clone()
            } else {
                None
            },
            image_properties: image.map(|image| image.properties).unwrap_or_default(),
            numa,
            devices,
        })
    }

    fn push(
        &mut self,
        (id, host): (OperationId, Option<HostName>),
        kind: ActionKind,
        precondition: Precondition,
        why: &Reason,
        change: (Value, Value),
        impact: Impact,
    ) {
        let depends_on = std::mem::take(&mut self.after);
        self.graph.push(Action {
            id,
            address: self.address.clone(),
            host,
            kind,
            precondition,
            why: why.clone(),
            before: change.0,
            after: change.1,
            hidden: Hidden::new(
                self.server.recorded.as_ref().map(|spec| &spec.sensitive),
                Some(&self.spec().sensitive),
            ),
            impact,
            depends_on,
        });
        self.after.push(id);
    }

    fn before(&self) -> Value {
        let host = self
            .seat
            .as_ref()
            .map(|seat| &seat.host)
            .or(self.server.recorded_host.as_ref());
        self.server
            .recorded
            .as_ref()
            .map_or(Value::Null, |spec| attributes::server(spec, self.server.id, host))
    }

    fn after_on(&self, host: Option<&HostName>) -> Value {
        attributes::server(self.spec(), self.id, host)
    }

    fn present_on(&self, host: Option<&HostName>) -> Value {
        attributes::server(self.present(), self.server.id, host)
    }

    fn held(&self) -> (HostName, Epoch) {
        let seat = self.seat.as_ref().expect("only a server with a seat is changed");
        (seat.host.clone(), seat.epoch)
    }

    fn reserve(&mut self) -> Epoch {
        self.burnt = self.burnt.next();
        self.burnt
    }
}
