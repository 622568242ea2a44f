//! The fleet as moves see it: hosts that may take servers, servers that may go, and whether a step is allowed.

use super::super::ahead::{Moment, Newcomers, Standing};
use super::super::build::Inputs;
use super::super::place::{cannot_take, may_help};
use super::super::types::Finding;
use super::super::world::name_of;
use super::load::{Amount, Load};
use crate::diff::{FleetDiff, ServerDiff};
use crate::model::{FrozenGuest, HostState};
use crate::placement::filters::Depends;
use crate::placement::{Name, Request, Scheduler};
use drover_types::{Address, HostName};
use std::collections::BTreeMap;
use std::sync::Arc;

const KNOWN: &str = "every host of the board is one of the engine's";

/// A server on one of the hosts.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) address: Address,
    pub(super) request: Request,
    pub(super) size: Amount,
    /// What its move copies at most.
    pub(super) mib: u64,
    /// Where it is at first.
    pub(super) home: usize,
    pub(super) movable: bool,
    /// Servers that must be, or must not be, where this one is.
    namers: Vec<usize>,
    /// Which hosts can run its guest.
    runs_on: Arc<Vec<bool>>,
}

impl Piece {
    /// Whether where it may be depends on where others are.
    pub(super) fn is_tied(&self) -> bool {
        self.request.group.is_some() || self.request.names_others() || !self.namers.is_empty()
    }
}

/// Who is where.
#[derive(Debug, Clone)]
pub(super) struct Board {
    scheduler: Scheduler,
    pub(super) hosts: Arc<Vec<HostName>>,
    names: Arc<Vec<Name>>,
    pub(super) pieces: Arc<Vec<Piece>>,
    pub(super) at: Vec<usize>,
    pub(super) load: Load,
    pub(super) asked: [bool; 3],
}

impl Board {
    /// The hosts that are active and answered, and what is on them.
    pub(super) fn new(inputs: &Inputs<'_>, diff: &FleetDiff) -> Result<Self, Vec<Finding>> {
        let standing = Standing::new(inputs, diff, Moment::Now, Newcomers::Asked)?;
        let declared = inputs.desired.hosts.iter();
        let hosts: Vec<HostName> = declared
            .filter(|(_, host)| host.spec.state == HostState::Active)
            .map(|(host, _)| host)
            .filter(|host| {
                let seen = inputs.observed.get(*host);
                let inventory = seen.and_then(|seen| seen.inventory());
                let trusted = inputs
                    .recorded
                    .hosts
                    .get(*host)
                    .and_then(|record| record.incarnation);
                inventory
                    .is_some_and(|inventory| trusted.is_none_or(|trusted| trusted == inventory.incarnation))
            })
            .cloned()
            .collect();
        let numbers: BTreeMap<&HostName, usize> = hosts.iter().zip(0..).collect();
        let names: Vec<Name> = hosts.iter().map(name_of).collect();
        let mut guests: BTreeMap<(String, String, String), Arc<Vec<bool>>> = BTreeMap::new();
        let mut pieces = Vec::new();
        for (address, seated) in &standing.servers {
            let server = &diff.servers[address];
            let (Some(home), Some(frozen)) = (numbers.get(&seated.host), &server.frozen) else {
                continue;
            };
            let movable = server.seat.is_some()
                && server.moves.is_none()
                && server.steps.is_empty()
                && may_help(inputs, address, server);
            let runs_on = guests
                .entry(guest(frozen))
                .or_insert_with(|| Arc::new(runs_on(inputs, server, &hosts)));
            let wants = seated.request.wants;
            let running = server.seat.as_ref().is_some_and(|seat| seat.running);
            let memory = if running { wants.ram_mib } else { 0 };
            pieces.push(Piece {
                address: address.clone(),
                size: [wants.ram_mib as f64, wants.disk_mib as f64, wants.vcpus as f64],
                mib: wants.disk_mib.saturating_add(memory),
                home: *home,
                movable,
                namers: Vec::new(),
                runs_on: Arc::clone(runs_on),
                request: seated.request.clone(),
            });
        }
        name_each_other(&mut pieces);
        let mut used = Vec::with_capacity(hosts.len());
        let mut limit = Vec::with_capacity(hosts.len());
        let mut asked = [true; 3];
        for name in &names {
            let promised = standing.scheduler.promised(name).expect(KNOWN);
            used.push(promised.used);
            limit.push(promised.limit);
            asked = promised.asked;
        }
        Ok(Self {
            scheduler: standing.scheduler,
            at: pieces.iter().map(|piece| piece.home).collect(),
            hosts: Arc::new(hosts),
            names: Arc::new(names),
            pieces: Arc::new(pieces),
            load: Load::new(used, limit),
            asked,
        })
    }

    /// Whether the step passes every filter, and leaves nobody who names the server where it may not be.
    pub(super) fn allows(&mut self, piece: usize, to: usize) -> bool {
        let pieces = Arc::clone(&self.pieces);
        let (it, from) = (&pieces[piece], self.at[piece]);
        if !it.movable || to == from || !it.runs_on[to] || !self.load.holds(to, &it.size, self.asked) {
            return false;
        }
        let (source, target) = (self.names[from].clone(), self.names[to].clone());
        // Its room at the source is taken until the end of the move; it is no member there while filters are asked.
        let mut aside = it.request.clone();
        aside.group = None;
        self.scheduler.release(&source, &it.request).expect(KNOWN);
        self.scheduler.force(&source, &aside).expect(KNOWN);
        let mut allowed = self.scheduler.passes(&target, &it.request).expect(KNOWN);
        self.scheduler.release(&source, &aside).expect(KNOWN);
        if allowed && !it.namers.is_empty() {
            self.scheduler.force(&target, &it.request).expect(KNOWN);
            allowed = it.namers.iter().all(|namer| {
                let (host, request) = (&self.names[self.at[*namer]], &pieces[*namer].request);
                let broken = self.scheduler.still_fits(host, request).expect(KNOWN);
                broken
                    .iter()
                    .all(|refusal| refusal.filter.row().depends != Depends::Others)
            });
            self.scheduler.release(&target, &it.request).expect(KNOWN);
        }
        self.scheduler.force(&source, &it.request).expect(KNOWN);
        allowed
    }

    /// Whether only a lack of room can keep the server off the host.
    pub(super) fn may(&self, piece: usize, to: usize) -> bool {
        let it = &self.pieces[piece];
        let refusals = self
            .scheduler
            .refusals(&self.names[to], &it.request)
            .expect(KNOWN);
        it.movable
            && it.runs_on[to]
            && refusals.iter().all(|refusal| {
                matches!(
                    refusal.filter.row().depends,
                    Depends::Ram | Depends::Disk | Depends::Vcpus | Depends::Devices
                )
            })
    }

    pub(super) fn make(&mut self, piece: usize, to: usize) {
        let pieces = Arc::clone(&self.pieces);
        let (it, from) = (&pieces[piece], self.at[piece]);
        self.scheduler
            .release(&self.names[from], &it.request)
            .expect(KNOWN);
        self.scheduler.force(&self.names[to], &it.request).expect(KNOWN);
        self.load.shift(&it.size, from, to);
        self.at[piece] = to;
    }
}

fn guest(frozen: &FrozenGuest) -> (String, String, String) {
    (
        frozen.machine.clone(),
        frozen.arch.clone(),
        frozen.hypervisor_type.clone(),
    )
}

/// Which hosts can run this server's guest, its own among them.
fn runs_on(inputs: &Inputs<'_>, server: &ServerDiff, hosts: &[HostName]) -> Vec<bool> {
    hosts
        .iter()
        .map(|host| {
            // Asked as if it came from nowhere: its own host runs it.
            cannot_take(inputs, server, None, host, None).is_none()
        })
        .collect()
}

/// Notes with each server who names it.
fn name_each_other(pieces: &mut [Piece]) {
    if !pieces.iter().any(|piece| piece.request.names_others()) {
        return;
    }
    let positions: BTreeMap<Name, usize> = pieces
        .iter()
        .map(|piece| piece.request.name.clone())
        .zip(0..)
        .collect();
    for namer in 0..pieces.len() {
        let request = &pieces[namer].request;
        let named: Vec<usize> = request
            .same_host
            .iter()
            .chain(&request.different_host)
            .filter_map(|name| positions.get(name).copied())
            .collect();
        for named in named {
            pieces[named].namers.push(namer);
        }
    }
}
