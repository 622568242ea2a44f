//! Moves for which no host has room as things are: others go first, make room, or wait on a third host.
//!
//! It puts the fleet, or the part of it that matters, before the search of `super::sequence`, and takes the answer
//! over (`super::carry`) only after every step of it has passed every filter.

use super::super::reason::Reason;
use super::super::types::BlockedBy;
use super::super::world::name_of;
use super::carry::{Move, Start};
use super::cast::{Cast, Sizes};
use super::moves::emptied;
use super::sequence::{Answer, solve};
use super::{Placer, able};
use crate::placement::Scheduler;
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};

/// Servers times hosts up to which the whole fleet is put before the search, whose answer has the fewest moves then.
const WHOLE: usize = 600;

/// Of a larger fleet so many hosts are looked at for one server that finds no room.
const HOSTS: usize = 12;

/// How many questions one search may ask.
const BUDGET: u64 = 400_000;

/// How many searches for single servers may fail, where all together cannot be moved.
const FAILURES: usize = 16;

impl<'a> Placer<'a> {
    /// Looks for moves in sequence where one after another in the order of addresses left somebody behind, or moved
    /// more than it must. Whether what it found took the place of that.
    pub(super) fn reorder(&mut self, start: &Start, movers: &BTreeMap<Address, Reason>) -> bool {
        let blocked = &self.placements.blocked[start.blocked..];
        let stuck: Vec<Address> = blocked
            .iter()
            .filter(|blocked| {
                // One that cannot move may grow where it is, once others have left.
                let stays = matches!(blocked.by, BlockedBy::HasDevices { .. })
                    && matches!(blocked.why, Reason::NoRoomHere { .. });
                stays || matches!(blocked.by, BlockedBy::NoHost { .. })
            })
            .map(|blocked| blocked.address.clone())
            .collect();
        let outgrown = movers
            .values()
            .filter(|why| matches!(why, Reason::NoRoomHere { .. }))
            .count();
        // One that alone has outgrown its host moves, whatever else is done; beside others it may be enough that they do.
        if stuck.is_empty() && (outgrown == 0 || movers.len() < 2) {
            return false;
        }
        let seats = self.diff.servers.values().filter(|server| server.seat.is_some());
        if seats.count().saturating_mul(self.hosts.len()) <= WHOLE {
            return self.reorder_all(start, movers, &stuck);
        }
        !stuck.is_empty() && self.reorder_some(start, movers, &stuck)
    }

    /// The whole fleet at once: the fewest moves. Who grows where it is does so once all moves are made, which may
    /// leave room for others in between.
    fn reorder_all(&mut self, start: &Start, movers: &BTreeMap<Address, Reason>, stuck: &[Address]) -> bool {
        let open: Vec<&Address> = movers
            .keys()
            .filter(|address| self.is_open(address, movers))
            .collect();
        let one_by_one = self.moved(movers).len();
        let grown = std::mem::take(&mut self.grown);
        let ungrown = self.before_growth(start, &grown);
        let found = self.search_all(&ungrown, movers, stuck, &open);
        let Some((wanted, moves)) = found.filter(|(_, moves)| !stuck.is_empty() || moves.len() < one_by_one)
        else {
            self.grown = grown;
            return false;
        };
        self.take_over(&ungrown, movers, &wanted, &moves, &grown);
        true
    }

    /// The moves of all that may move, or of as many as can.
    fn search_all<'b>(
        &self,
        start: &Start,
        movers: &BTreeMap<Address, Reason>,
        stuck: &[Address],
        open: &[&'b Address],
    ) -> Option<(BTreeSet<&'b Address>, Vec<Move>)> {
        let attempt = |wanted: &BTreeSet<&Address>| -> Option<Vec<Move>> {
            let hosts: Vec<HostName> = self.hosts.values().cloned().collect();
            let cast = self.cast(&start.scheduler, hosts, movers, wanted, &BTreeMap::new())?;
            self.answer(&start.scheduler, &cast, movers)
        };
        let everybody: BTreeSet<&Address> = open.iter().copied().collect();
        if let Some(moves) = attempt(&everybody) {
            return Some((everybody, moves));
        }
        // Not all together: whom the plain order placed keeps that, the others join one by one.
        let mut wanted: BTreeSet<&Address> = open.iter().copied().filter(|at| !stuck.contains(at)).collect();
        let mut found = None;
        let mut failures = 0;
        for address in open.iter().copied().filter(|at| stuck.contains(at)) {
            wanted.insert(address);
            match attempt(&wanted) {
                Some(moves) => found = Some((wanted.clone(), moves)),
                None => {
                    wanted.remove(address);
                    failures += 1;
                }
            }
            if failures == FAILURES {
                break;
            }
        }
        found
    }

    /// With those that grow where they are at their present sizes.
    fn before_growth(&self, start: &Start, grown: &BTreeSet<Address>) -> Start {
        let known = "who grows where it is is on one of the engine's hosts";
        let mut scheduler = start.scheduler.clone();
        for address in grown {
            let seat = self.diff.servers[address].seat.as_ref().expect(known);
            let Sizes { now, then } = self.sizes(address).expect(known);
            scheduler.release(&name_of(&seat.host), &then).expect(known);
            scheduler.force(&name_of(&seat.host), &now).expect(known);
        }
        Start {
            scheduler,
            blocked: start.blocked,
        }
    }

    /// A large fleet: those that the plain order placed go first, then room is looked for around each that is stuck.
    fn reorder_some(&mut self, start: &Start, movers: &BTreeMap<Address, Reason>, stuck: &[Address]) -> bool {
        let mut moves = self.moved(movers);
        let mut wanted: BTreeSet<&Address> = movers
            .keys()
            .filter(|address| self.is_open(address, movers) && !stuck.contains(address))
            .collect();
        let mut scheduler = start.scheduler.clone();
        let mut at: BTreeMap<Address, HostName> = BTreeMap::new();
        if !self.replay(&mut scheduler, &moves, &mut at) {
            return false;
        }
        let mut helped = false;
        let mut failures = 0;
        for address in stuck.iter().filter(|at| self.is_open(at, movers)) {
            let only = BTreeSet::from([address]);
            let found = self
                .around(&scheduler, address, &at)
                .and_then(|hosts| self.cast(&scheduler, hosts, movers, &only, &at))
                .and_then(|cast| self.answer(&scheduler, &cast, movers));
            if let Some(more) = found
                && self.replay(&mut scheduler, &more, &mut at)
            {
                moves.extend(more);
                wanted.insert(address);
                helped = true;
                continue;
            }
            failures += 1;
            if failures == FAILURES {
                break;
            }
        }
        if helped {
            self.take_over(start, movers, &wanted, &moves, &BTreeSet::new());
        }
        helped
    }

    /// Whether a mover may be helped at all: it can move, or only lacks room where it is, and its host is not closed.
    fn is_open(&self, address: &Address, movers: &BTreeMap<Address, Reason>) -> bool {
        let Some(why) = movers.get(address) else {
            return false;
        };
        let closed = emptied(why).is_some_and(|host| self.closed.contains_key(host));
        let lacks_room = matches!(why, Reason::NoRoomHere { .. });
        !closed && (lacks_room || !able::is_fixed(self.inputs, &self.diff.servers[address]))
    }

    /// The moves that were chosen one by one.
    pub(super) fn moved(&self, movers: &BTreeMap<Address, Reason>) -> Vec<Move> {
        let chosen = movers.keys().filter_map(|address| {
            let to = self.placements.chosen.get(address)?;
            let seat = self.diff.servers[address].seat.as_ref()?;
            Some(Move {
                address: address.clone(),
                from: seat.host.clone(),
                to: to.host.clone(),
            })
        });
        chosen.collect()
    }

    /// The hosts that matter for a server without room: those that may hold it, those that may take what leaves
    /// them, and where its group is and the company that it asks for; the emptiest first.
    fn around(
        &self,
        scheduler: &Scheduler,
        address: &Address,
        at: &BTreeMap<Address, HostName>,
    ) -> Option<Vec<HostName>> {
        let server = &self.diff.servers[address];
        let seat = server.seat.as_ref()?;
        let then = self.sizes(address)?.then;
        let room = |host: &HostName| {
            let room = scheduler.room(&name_of(host));
            room.map_or(f64::NEG_INFINITY, |room| room.free[0].min(room.free[2] * 1024.0))
        };
        let mut able: Vec<(&HostName, f64)> = self
            .hosts
            .values()
            .filter(|host| self.may_be_on(scheduler, server, &seat.host, host, &then))
            .map(|host| (host, room(host)))
            .collect();
        able.sort_by(|one, other| other.1.total_cmp(&one.1));
        let mut all: Vec<(&HostName, f64)> = self.hosts.values().map(|host| (host, room(host))).collect();
        all.sort_by(|one, other| other.1.total_cmp(&one.1));
        let mut hosts = BTreeSet::from([seat.host.clone()]);
        hosts.extend(able.iter().take(HOSTS).map(|(host, _)| (*host).clone()));
        hosts.extend(all.iter().take(HOSTS / 2).map(|(host, _)| (*host).clone()));
        if let Some(group) = then.group {
            let members = self.diff.servers.iter().filter(|(_, server)| {
                let spec = server.desired.as_ref().or(server.recorded.as_ref());
                spec.and_then(|spec| spec.group.as_ref())
                    .is_some_and(|of| name_of(of) == group)
            });
            hosts.extend(members.filter_map(|(member, server)| self.where_is(member, server, at)));
        }
        if !then.same_host.is_empty() {
            let company = self.diff.servers.iter();
            let company = company.filter(|(other, _)| then.same_host.contains(&name_of(other)));
            hosts.extend(company.filter_map(|(other, server)| self.where_is(other, server, at)));
        }
        Some(hosts.into_iter().collect())
    }

    fn answer(
        &self,
        scheduler: &Scheduler,
        cast: &Cast,
        movers: &BTreeMap<Address, Reason>,
    ) -> Option<Vec<Move>> {
        let Answer::Steps { steps } = solve(&cast.problem, BUDGET) else {
            return None;
        };
        let moves: Vec<Move> = steps
            .iter()
            .map(|step| Move {
                address: cast.servers[step.server].clone(),
                from: cast.hosts[step.from].clone(),
                to: cast.hosts[step.to].clone(),
            })
            .collect();
        debug_assert!(moves.iter().all(|step| movers.contains_key(&step.address)
            || able::may_help(self.inputs, &step.address, &self.diff.servers[&step.address])));
        self.replay(&mut scheduler.clone(), &moves, &mut BTreeMap::new())
            .then_some(moves)
    }
}
