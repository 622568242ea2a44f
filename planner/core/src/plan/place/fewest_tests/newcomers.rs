//! Servers that are created while others move and go: no order that the plan allows breaks what any of them asks.

use super::carry_out::carry_out;
use super::case::{Case, NOWHERE};
use super::{case, server};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A case with one to three servers that are not there yet, and some that are declared no longer.
fn with_newcomers() -> impl Strategy<Value = Case> {
    let named = prop::collection::btree_set(0..5_usize, 1..=2);
    let newcomers = prop::collection::vec((1..=3_u64, 0..8_u8, named, 0..8_u8), 1..=3);
    // Which of the others each is to come after, all in one direction or all in the other.
    let order = (prop::collection::vec(0..256_u16, 8), any::<bool>());
    let goes = prop::collection::vec(prop_oneof![3 => Just(false), 1 => Just(true)], 5);
    // Which of those that are there want to be far from which newcomers.
    let shuns = prop::collection::vec((0..5_usize, 0..3_usize), 0..=2);
    let changes = (order, goes, shuns);
    (case(), newcomers, changes).prop_map(|(mut case, newcomers, ((order, forwards), goes, shuns))| {
        for (server, goes) in case.servers.iter_mut().zip(goes) {
            server.goes = goes;
        }
        let old = case.servers.len();
        for (gib, luck, others, asks) in newcomers {
            let others: BTreeSet<usize> = others.into_iter().filter(|other| *other < old).collect();
            let mut it = server(NOWHERE, gib * 1024, 0);
            it.is_member = asks >= 3;
            it.zone = match asks {
                0 | 3 => Some("left"),
                1 | 4 => Some("right"),
                _ => None,
            };
            match luck {
                6 | 7 => it.with = others,
                5 => it.without = others,
                _ => {}
            }
            case.servers.push(it);
        }
        let all = case.servers.len();
        for (number, other) in shuns {
            if number < old && other < all - old {
                case.servers[number].without.insert(old + other);
            }
        }
        for (number, others) in order.into_iter().enumerate().take(all) {
            let named = (0..all).filter(|other| others & (1 << other) != 0);
            // About every third of those that might be.
            let named = named.filter(|other| (others >> 3) % 3 == (*other as u16) % 3);
            case.servers[number].after = named
                .filter(|other| {
                    if forwards {
                        *other < number
                    } else {
                        *other > number
                    }
                })
                .collect();
        }
        // Nobody names one who is declared no longer, nor has that one any wishes.
        let gone: BTreeSet<usize> = (0..all).filter(|number| case.servers[*number].goes).collect();
        for it in &mut case.servers {
            if it.goes {
                it.without.clear();
            }
            for named in [&mut it.with, &mut it.without, &mut it.after] {
                named.retain(|other| !gone.contains(other));
            }
        }
        case
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever else is to come first by `depends_on`: there is a plan.
    #[test]
    fn whoever_is_created_finds_its_company_and_no_other(case in with_newcomers(), seed in any::<u64>()) {
        let plan = case.plan();
        carry_out(&case, &plan, seed)?;
    }
}
