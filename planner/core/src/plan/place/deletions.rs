//! Moves that use room which the same plan's deletions give back.
//!
//! Nobody waits for a deletion who finds room without it. Where somebody finds none, all moves are chosen once more
//! with that room given back, and stand if fewer are left behind: then each that comes to a host on which something
//! is deleted waits for it.

use super::super::reason::Reason;
use super::super::types::BlockedBy;
use super::carry::Start;
use super::{Placements, Placer};
use crate::placement::Scheduler;
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};

/// What choosing moves changes.
struct Kept {
    scheduler: Scheduler,
    placements: Placements,
    emptying_failed: BTreeMap<HostName, Address>,
    grown: BTreeSet<Address>,
}

impl Placer<'_> {
    /// Chooses all moves, with the room of deletions where it is needed.
    pub(super) fn relocate_after_deletions(&mut self, start: &Start, movers: &BTreeMap<Address, Reason>) {
        if self.deletions.is_empty() {
            self.relocate_in_turn(start, movers);
            return;
        }
        let before = self.keep();
        self.relocate_in_turn(start, movers);
        let left = self.without_host(start);
        if left == 0 {
            return;
        }
        let without = self.keep();
        self.put_back(before);
        self.credit();
        let start = Start {
            scheduler: self.scheduler.clone(),
            blocked: start.blocked,
        };
        self.relocate_in_turn(&start, movers);
        if self.without_host(&start) >= left {
            self.put_back(without);
            return;
        }
        self.credited = true;
        let waits: Vec<Address> = movers
            .keys()
            .chain(self.placements.moves.keys())
            .filter(|address| {
                let chosen = self.placements.chosen.get(*address).map(|chosen| &chosen.host);
                let via = self.placements.via.get(*address).into_iter().flatten();
                // One that takes its new size where it is comes to no host, and uses the room all the same.
                let seat = self.diff.servers[*address].seat.as_ref();
                let here = seat.filter(|_| self.grown.contains(*address));
                let here = here.map(|seat| &seat.host);
                via.chain(chosen)
                    .chain(here)
                    .any(|host| self.deletions.contains_key(host))
            })
            .cloned()
            .collect();
        self.placements.after_deletions.extend(waits);
    }

    /// Each by itself first; together where that leaves somebody behind.
    fn relocate_in_turn(&mut self, start: &Start, movers: &BTreeMap<Address, Reason>) {
        self.pending = movers.keys().cloned().collect();
        for (address, why) in movers {
            self.pending.remove(address);
            self.relocate(address, &self.diff.servers[address], why.clone());
        }
        if !self.reorder(start, movers) {
            self.wait_in_turn(start, movers);
        }
    }

    /// How many movers found no host.
    fn without_host(&self, start: &Start) -> usize {
        let blocked = self.placements.blocked[start.blocked..].iter();
        blocked
            .filter(|blocked| matches!(blocked.by, BlockedBy::NoHost { .. }))
            .count()
    }

    fn keep(&self) -> Kept {
        Kept {
            scheduler: self.scheduler.clone(),
            placements: self.placements.clone(),
            emptying_failed: self.emptying_failed.clone(),
            grown: self.grown.clone(),
        }
    }

    fn put_back(&mut self, kept: Kept) {
        let Kept {
            scheduler,
            placements,
            emptying_failed,
            grown,
        } = kept;
        self.scheduler = scheduler;
        self.placements = placements;
        self.emptying_failed = emptying_failed;
        self.grown = grown;
    }
}
