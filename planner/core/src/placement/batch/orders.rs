//! The orders in which a batch is tried before anything is searched.

use super::board::Item;
use std::cmp::Reverse;

/// A small generator of the same numbers every time (splitmix64): shuffles must be repeatable.
#[derive(Debug, Clone)]
pub(crate) struct Shuffler(u64);

impl Shuffler {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Below `bound`, which must not be zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// Higher priority first in each; within a priority as the name says.
pub(crate) fn orders<'i>(items: &'i [Item<'i>]) -> impl Iterator<Item = (&'static str, Vec<usize>)> + 'i {
    const NAMES: [&str; 14] = [
        "most constrained first",
        "as given, by priority",
        "reversed",
        "largest memory first",
        "smallest memory first",
        "largest disk first",
        "smallest disk first",
        "most vCPUs first",
        "fewest vCPUs first",
        "shuffled with seed 1",
        "shuffled with seed 2",
        "shuffled with seed 3",
        "shuffled with seed 4",
        "shuffled with seed 5",
    ];
    NAMES.into_iter().enumerate().map(|(number, name)| {
        let mut order: Vec<usize> = (0..items.len()).collect();
        let wants = |at: &usize| &items[*at].request.wants;
        match number {
            0 => order.sort_by(|a, b| {
                let (a, b) = (&items[*a], &items[*b]);
                a.eligible
                    .len()
                    .cmp(&b.eligible.len())
                    .then(b.size.total_cmp(&a.size))
            }),
            1 => {}
            2 => order.reverse(),
            3 => order.sort_by_key(|at| Reverse(wants(at).ram_mib)),
            4 => order.sort_by_key(|at| wants(at).ram_mib),
            5 => order.sort_by_key(|at| Reverse(wants(at).disk_mib)),
            6 => order.sort_by_key(|at| wants(at).disk_mib),
            7 => order.sort_by_key(|at| Reverse(wants(at).vcpus)),
            8 => order.sort_by_key(|at| wants(at).vcpus),
            seed => Shuffler::new(seed as u64 - 8).shuffle(&mut order),
        }
        order.sort_by_key(|at| Reverse(items[*at].request.priority));
        (name, order)
    })
}
