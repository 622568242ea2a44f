//! A plan's migrations, growths, creates and deletions, carried out in one of the orders that it allows.

use super::super::super::{ActionKind, Plan};
use super::super::moves_tests::moves;
use super::case::{Case, HOSTS, NOWHERE, OFFERED_MIB, Place};
use drover_numa::CellUse;
use drover_types::OperationId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that a plan does: a server comes to be or moves, goes nowhere, or grows where it is then.
struct Deed {
    id: OperationId,
    after: Vec<OperationId>,
    server: usize,
    to: Option<usize>,
}

fn deeds(plan: &Plan) -> Vec<Deed> {
    let number = |name: &str| HOSTS.iter().position(|host| *host == name).expect("a host");
    let actions = plan.actions.iter().filter_map(|action| {
        let to = match &action.kind {
            ActionKind::Migrate { to, .. } => Some(number(to.as_str())),
            ActionKind::CreateServer { .. } => {
                let host = action.host.as_ref().expect("a create is on a host");
                Some(number(host.as_str()))
            }
            ActionKind::DeleteServer { .. } => Some(NOWHERE),
            ActionKind::UpdateServer { .. } => None,
            _ => return None,
        };
        Some(Deed {
            id: action.id,
            after: action.depends_on.clone(),
            server: action.address.to_string()["server.s".len()..]
                .parse()
                .expect("a number"),
            to,
        })
    });
    actions.collect()
}

/// Carries a plan out in one of the orders that it allows, several things at once: each move takes its room on both
/// hosts while it lasts, is in the way on both of those that want it far away, and is company on none.
pub(super) fn carry_out(case: &Case, plan: &Plan, mut dice: u64) -> Result<Vec<Place>, TestCaseError> {
    let all = deeds(plan);
    let position: BTreeMap<OperationId, usize> = all.iter().map(|deed| deed.id).zip(0..).collect();
    let mut at = case.first();
    let mut begun = BTreeSet::new();
    let mut done = BTreeSet::new();
    // The cells that those under way have on their new hosts.
    let mut seats: BTreeMap<usize, Vec<CellUse>> = BTreeMap::new();
    while done.len() < all.len() {
        let may_end = (0..all.len()).filter(|one| begun.contains(one) && !done.contains(one));
        let may_begin = (0..all.len()).filter(|one| {
            let mut waits = all[*one].after.iter().filter_map(|id| position.get(id));
            !begun.contains(one) && waits.all(|before| done.contains(before))
        });
        let ready: Vec<usize> = may_end.chain(may_begin).collect();
        prop_assert!(!ready.is_empty());
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let one = ready[(dice >> 33) as usize % ready.len()];
        let Deed { server, to, .. } = all[one];
        if !begun.insert(one) {
            done.insert(one);
            if let Some(to) = to {
                at[server].host = to;
                at[server].pinned = seats.remove(&server).unwrap_or_default();
            }
            continue;
        }
        let shown = (server, to, moves(plan));
        // Others that are under way: where they are already, and where they still are.
        let under_way =
            (0..all.len()).filter(|deed| begun.contains(deed) && !done.contains(deed) && *deed != one);
        let mut arrived = at.clone();
        for deed in under_way {
            if let Some(to) = all[deed].to {
                arrived[all[deed].server].host = to;
            }
        }
        let on_both = |at: &[Place], host: usize| {
            let coming =
                (0..at.len()).filter(|other| at[*other].host != host && arrived[*other].host == host);
            let coming: u64 = coming
                .map(|other| {
                    let it = &case.servers[other];
                    it.mib + if at[other].grown { it.grows_mib } else { 0 }
                })
                .sum();
            case.used(at, host) + coming
        };
        let Some(to) = to else {
            at[server].grown = true;
            prop_assert!(
                on_both(&at, at[server].host) <= OFFERED_MIB,
                "growth: {:?}",
                shown
            );
            continue;
        };
        if to == NOWHERE {
            continue;
        }
        let it = &case.servers[server];
        let size = it.mib + if at[server].grown { it.grows_mib } else { 0 };
        prop_assert!(on_both(&at, to) + size <= OFFERED_MIB, "room: {:?}", shown);
        let coming = seats.iter().filter(|(other, _)| arrived[**other].host == to);
        let there = at
            .iter()
            .filter(|place| place.host == to)
            .map(|place| &place.pinned);
        let seat = it.seat_on(there.chain(coming.map(|(_, pinned)| pinned)).flatten());
        prop_assert!(seat.is_some(), "cells: {:?}", shown);
        seats.extend(seat.map(|seat| (server, seat)));
        for seen in [&at, &arrived] {
            let wrong = case.is_wrong_at(seen, server, to);
            prop_assert!(wrong.is_none(), "{:?}: {:?}", wrong, shown);
        }
    }
    Ok(at)
}
