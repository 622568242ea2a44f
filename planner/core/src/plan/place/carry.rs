//! Moves one after another: carried out in thought, and taken over into the placements with what each waits for.

use super::super::reason::Reason;
use super::super::types::Placement;
use super::super::world::name_of;
use super::cast::Sizes;
use super::sequence::{self, Step};
use super::{Hop, Placer};
use crate::model::GroupPolicy;
use crate::placement::Scheduler;
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};

/// A move in the fleet's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) address: Address,
    pub(super) from: HostName,
    pub(super) to: HostName,
}

/// What is known before the first move.
pub(super) struct Start {
    pub(super) scheduler: Scheduler,
    pub(super) blocked: usize,
}

impl Placer<'_> {
    /// Carries the moves out one after another; whether each host passed every filter at its turn.
    pub(super) fn replay(
        &self,
        scheduler: &mut Scheduler,
        moves: &[Move],
        at: &mut BTreeMap<Address, HostName>,
    ) -> bool {
        moves.iter().all(|step| {
            let Some(sizes) = self.sizes(&step.address) else {
                return false;
            };
            let (from, to) = (name_of(&step.from), name_of(&step.to));
            let leaves = if at.contains_key(&step.address) {
                &sizes.then
            } else {
                &sizes.now
            };
            // It is no member at its old host while the filters are asked, and takes its room there until the end.
            let mut aside = leaves.clone();
            aside.group = None;
            let done = scheduler.leave(&from, leaves).is_ok()
                && scheduler
                    .refusals(&to, &sizes.then)
                    .is_ok_and(|refusals| refusals.is_empty())
                && scheduler.force(&to, &sizes.then).is_ok()
                && scheduler.release(&from, &aside).is_ok();
            at.insert(step.address.clone(), step.to.clone());
            done
        })
    }

    /// Whether the moves that even the hosts out could be taken over in the order in which they were found.
    pub(super) fn follow(&mut self, start: &Start, movers: &BTreeMap<Address, Reason>) -> bool {
        if self.diff.options.balance.is_none() {
            return false;
        }
        let mut at: BTreeMap<Address, HostName> = BTreeMap::new();
        let mut moves = Vec::new();
        for request in &self.diff.options.migrate {
            let seat = self
                .diff
                .servers
                .get(&request.address)
                .and_then(|server| server.seat.as_ref());
            let (Some(to), Some(seat)) = (&request.to, seat) else {
                return false;
            };
            let from = at.insert(request.address.clone(), to.clone());
            moves.push(Move {
                address: request.address.clone(),
                from: from.unwrap_or_else(|| seat.host.clone()),
                to: to.clone(),
            });
        }
        let all = movers.keys().all(|address| at.contains_key(address));
        if !all || !self.replay(&mut start.scheduler.clone(), &moves, &mut BTreeMap::new()) {
            return false;
        }
        let wanted: BTreeSet<&Address> = movers.keys().collect();
        self.take_over(start, movers, &wanted, &moves, &BTreeSet::new());
        true
    }

    /// Puts these moves in the place of those chosen one by one. `growing` are servers that take their new size once
    /// they are made, and have not taken it at the start.
    pub(super) fn take_over(
        &mut self,
        start: &Start,
        movers: &BTreeMap<Address, Reason>,
        wanted: &BTreeSet<&Address>,
        moves: &[Move],
        growing: &BTreeSet<Address>,
    ) {
        let sizes: BTreeMap<Address, Option<Sizes>> = movers
            .keys()
            .chain(growing)
            .chain(moves.iter().map(|step| &step.address))
            .map(|address| (address.clone(), self.sizes(address)))
            .collect();
        let waits = self.waits(start, moves);
        let mut scheduler = start.scheduler.clone();
        let helped: Vec<&Address> = self.placements.blocked[start.blocked..]
            .iter()
            .map(|blocked| &blocked.address)
            .filter(|address| wanted.contains(address))
            .collect();
        let helped = helped.first().copied().cloned();
        let mut position = 0;
        self.placements.blocked.retain(|blocked| {
            position += 1;
            position <= start.blocked || !wanted.contains(&blocked.address)
        });
        self.emptying_failed
            .retain(|_, address| !wanted.contains(address));
        for address in wanted {
            let seat = self.diff.servers[*address]
                .seat
                .as_ref()
                .expect("a mover is somewhere");
            self.placements.stuck.remove(*address);
            self.placements.chosen.remove(*address);
            self.placements.moves.remove(*address);
            self.placements
                .hosts
                .insert((*address).clone(), seat.host.clone());
        }
        let mut paths: BTreeMap<&Address, Vec<&HostName>> = BTreeMap::new();
        for step in moves {
            paths
                .entry(&step.address)
                .or_insert_with(|| vec![&step.from])
                .push(&step.to);
        }
        for (address, path) in &paths {
            let Some(Some(Sizes { now, then })) = sizes.get(*address) else {
                continue;
            };
            let (source, target) = (path[0], path[path.len() - 1]);
            let known = "every host of a move is one of the engine's";
            scheduler.leave(&name_of(source), now).expect(known);
            for via in &path[1..path.len() - 1] {
                scheduler.force(&name_of(via), then).expect(known);
                scheduler.leave(&name_of(via), then).expect(known);
            }
            scheduler.force(&name_of(target), then).expect(known);
            let why = movers
                .get(*address)
                .cloned()
                .or_else(|| self.parts_group(address, source, movers))
                .unwrap_or_else(|| Reason::MakesRoom {
                    host: source.clone(),
                    other: helped.clone().unwrap_or_else(|| (*address).clone()),
                });
            self.placements.moves.insert((*address).clone(), why.clone());
            self.placements.hosts.insert((*address).clone(), target.clone());
            let via: Vec<HostName> = path[1..path.len() - 1]
                .iter()
                .map(|host| (*host).clone())
                .collect();
            let before = waits.last_of(address);
            self.placements.chosen.insert(
                (*address).clone(),
                Placement {
                    host: target.clone(),
                    alternates: Vec::new(),
                    why: words(&why, &via, before.as_ref()),
                    rejected: BTreeMap::new(),
                    rejections: Vec::new(),
                    weights: Vec::new(),
                },
            );
            if !via.is_empty() {
                self.placements.via.insert((*address).clone(), via);
            }
        }
        // So does whoever was to leave for want of room and may stay now.
        let stay: BTreeSet<&Address> = (wanted.iter().copied().chain(growing))
            .filter(|address| !paths.contains_key(address))
            .collect();
        for address in stay {
            if let Some(Some(Sizes { now, then })) = sizes.get(address) {
                let seat = self.diff.servers[address]
                    .seat
                    .as_ref()
                    .expect("a mover is somewhere");
                let host = name_of(&seat.host);
                let known = "every seat is on one of the engine's hosts";
                scheduler.release(&host, now).expect(known);
                scheduler.force(&host, then).expect(known);
                self.grown.insert(address.clone());
            }
        }
        self.placements.waits = waits.moves;
        self.placements.growth_waits = waits.growths;
        self.scheduler = scheduler;
    }

    /// Where a server leaves a member of its group from which another one was to be parted: that reason is its own then.
    fn parts_group(
        &self,
        address: &Address,
        source: &HostName,
        movers: &BTreeMap<Address, Reason>,
    ) -> Option<Reason> {
        let own = self.diff.servers[address].desired.as_ref()?.group.as_ref()?;
        movers.iter().find_map(|(other, why)| {
            let Reason::GroupBroken { group, policy, .. } = why else {
                return None;
            };
            let seat = self.diff.servers[other].seat.as_ref()?;
            let meets = match policy {
                GroupPolicy::AntiAffinity | GroupPolicy::SoftAntiAffinity => seat.host == *source,
                GroupPolicy::Affinity | GroupPolicy::SoftAffinity => seat.host != *source,
            };
            (group == own && other != address && meets).then(|| Reason::GroupBroken {
                group: group.clone(),
                policy: *policy,
                with: other.clone(),
            })
        })
    }

    /// Notes what the moves that were chosen one by one wait for: each was chosen with those before it done, which
    /// matters to who is in a group, names others or is named, and to cells.
    pub(super) fn wait_in_turn(&mut self, start: &Start, movers: &BTreeMap<Address, Reason>) {
        let of_others = |address: &Address| {
            let request = self.wanted(address, &self.diff.servers[address]);
            request.is_some_and(|it| it.group.is_some() || it.names_others() || it.demand.is_some())
        };
        let moves = self.moved(movers);
        if moves.len() > 1 && moves.iter().any(|step| of_others(&step.address)) {
            self.placements.waits = self.waits(start, &moves).moves;
        }
    }

    /// What every move and every growth waits for.
    fn waits(&self, start: &Start, moves: &[Move]) -> Waits {
        let hosts: BTreeSet<&HostName> = moves.iter().flat_map(|step| [&step.from, &step.to]).collect();
        let hosts: Vec<HostName> = hosts.into_iter().cloned().collect();
        let Some(cast) = self.cast_as_it_is(&start.scheduler, hosts) else {
            return Waits::default();
        };
        let host: BTreeMap<&HostName, usize> = cast.hosts.iter().zip(0..).collect();
        let server: BTreeMap<&Address, usize> = cast.servers.iter().zip(0..).collect();
        let steps: Vec<Step> = moves
            .iter()
            .map(|step| Step {
                server: server[&step.address],
                from: host[&step.from],
                to: host[&step.to],
            })
            .collect();
        let mut hops: BTreeMap<&Address, usize> = BTreeMap::new();
        let named: Vec<Hop> = moves
            .iter()
            .map(|step| {
                let hop = hops.entry(&step.address).or_insert(0);
                *hop += 1;
                (step.address.clone(), *hop - 1)
            })
            .collect();
        let sequence::Waits {
            steps: waits,
            growths,
        } = cast.problem.waits(&steps);
        let all = |positions: &[usize]| positions.iter().map(|at| named[*at].clone()).collect::<Vec<_>>();
        Waits {
            moves: named
                .iter()
                .zip(&waits)
                .filter(|(_, before)| !before.is_empty())
                .map(|(hop, before)| (hop.clone(), all(before)))
                .collect(),
            growths: growths
                .iter()
                .map(|(server, before)| (cast.servers[*server].clone(), all(before)))
                .collect(),
        }
    }
}

#[derive(Default)]
struct Waits {
    moves: BTreeMap<Hop, Vec<Hop>>,
    growths: BTreeMap<Address, Vec<Hop>>,
}

impl Waits {
    /// Another server whose move the last move of this one waits for.
    fn last_of(&self, address: &Address) -> Option<Address> {
        let own = self.moves.iter().filter(|((of, _), _)| of == address);
        own.flat_map(|(_, before)| before)
            .map(|(other, _)| other)
            .rfind(|other| *other != address)
            .cloned()
    }
}

fn words(why: &Reason, via: &[HostName], before: Option<&Address>) -> String {
    let plain = if *why == Reason::Balances {
        "less full"
    } else {
        "so that all fit"
    };
    let way = via.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (via.is_empty(), before) {
        (true, None) => plain.to_owned(),
        (true, Some(before)) => format!("once {before} has moved"),
        (false, None) => format!("by way of {way}"),
        (false, Some(before)) => format!("by way of {way}, once {before} has moved"),
    }
}
