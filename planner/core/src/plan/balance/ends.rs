//! The fullest and the emptiest hosts, kept in order while servers move.

use super::load::Load;
use std::collections::BTreeSet;

/// So many of the fullest, and of the emptiest, hosts are looked at, by each resource and by all.
pub(super) const ENDS: usize = 12;

/// By the fullest resource, and by memory, disk and processors.
const ORDERS: usize = 4;

/// Hosts in the order of how full they are.
#[derive(Debug)]
pub(super) struct Ends {
    keys: Vec<[i64; ORDERS]>,
    orders: [BTreeSet<(i64, usize)>; ORDERS],
}

fn keys(load: &Load, host: usize) -> [i64; ORDERS] {
    [
        load.fullest(host),
        load.one(host, 0),
        load.one(host, 1),
        load.one(host, 2),
    ]
    .map(in_order)
}

/// A whole number in the order of [`f64::total_cmp`].
fn in_order(number: f64) -> i64 {
    let bits = number.to_bits().cast_signed();
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

impl Ends {
    pub(super) fn new(load: &Load, hosts: usize) -> Self {
        let keys: Vec<[i64; ORDERS]> = (0..hosts).map(|host| keys(load, host)).collect();
        let order = |of: usize| {
            keys.iter()
                .zip(0..)
                .map(|(keys, host)| (keys[of], host))
                .collect()
        };
        Self {
            orders: std::array::from_fn(order),
            keys,
        }
    }

    /// A host is as full as the load says now.
    pub(super) fn update(&mut self, load: &Load, host: usize) {
        let new = keys(load, host);
        let old = std::mem::replace(&mut self.keys[host], new);
        for ((order, old), new) in self.orders.iter_mut().zip(old).zip(new) {
            order.remove(&(old, host));
            order.insert((new, host));
        }
    }

    /// The fullest of those that hold something.
    pub(super) fn full(&self, holds: impl Fn(usize) -> bool) -> BTreeSet<usize> {
        let all = self.orders.iter().flat_map(|order| {
            let hosts = order.iter().rev().map(|(_, host)| *host);
            hosts.filter(|host| holds(*host)).take(ENDS)
        });
        all.collect()
    }

    /// The emptiest.
    pub(super) fn empty(&self) -> BTreeSet<usize> {
        let all = self.orders.iter().flat_map(|order| order.iter().take(ENDS));
        all.map(|(_, host)| *host).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// After any changes the same as sorting all hosts.
        #[test]
        fn the_ends_of_all_hosts_sorted(
            used in prop::collection::vec(prop::array::uniform3(0..9_u32), 1..40),
            moves in prop::collection::vec((0..40_usize, 0..40_usize), 0..20),
        ) {
            let hosts = used.len();
            let used = used.into_iter().map(|used| used.map(f64::from)).collect();
            let mut load = Load::new(used, vec![[7.0, 8.0, 9.0]; hosts]);
            let mut ends = Ends::new(&load, hosts);
            for (from, to) in moves {
                let (from, to) = (from % hosts, to % hosts);
                load.shift(&[1.0, 2.0, 0.5], from, to);
                ends.update(&load, from);
                ends.update(&load, to);
            }
            let holds = |host: usize| !host.is_multiple_of(3);
            let (mut full, mut empty) = (BTreeSet::new(), BTreeSet::new());
            let by: [&dyn Fn(usize) -> f64; ORDERS] =
                [&|host| load.fullest(host), &|host| load.one(host, 0), &|host| load.one(host, 1), &|host| load.one(host, 2)];
            for key in by {
                let mut order: Vec<usize> = (0..hosts).collect();
                order.sort_by(|one, other| key(*one).total_cmp(&key(*other)).then(one.cmp(other)));
                empty.extend(order.iter().take(ENDS).copied());
                full.extend(order.iter().rev().filter(|host| holds(**host)).take(ENDS).copied());
            }
            prop_assert_eq!(ends.full(holds), full);
            prop_assert_eq!(ends.empty(), empty);
        }
    }
}
