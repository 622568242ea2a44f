//! Devices by kind: how many are free, and from which pools a server takes its own.

use super::super::input::{Name, PciAlias};
use super::{PciPool, Unfit};
use std::collections::{BTreeMap, BTreeSet};

/// Devices of one kind.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    vendor_id: String,
    product_id: String,
    numa_node: Option<u32>,
    pub(super) free: u64,
}

impl Pool {
    pub(super) fn new(pool: &PciPool) -> Self {
        Self {
            vendor_id: pool.vendor_id.clone(),
            product_id: pool.product_id.clone(),
            numa_node: pool.numa_node,
            free: pool.count,
        }
    }

    fn is(&self, alias: &PciAlias) -> bool {
        self.vendor_id.eq_ignore_ascii_case(&alias.vendor_id)
            && self.product_id.eq_ignore_ascii_case(&alias.product_id)
    }
}

/// Free devices at a cell.
pub(super) fn near(pools: &[Pool], cell: u32) -> u64 {
    let there = pools.iter().filter(|pool| pool.numa_node == Some(cell));
    there.map(|pool| pool.free).sum()
}

/// How many to take from which pool, for each alias in turn; `near` are the cells that devices must be at, where the
/// server has cells and the device says where it is (Nova's policy "legacy").
pub(super) fn choose(
    pools: &[Pool],
    wanted: &[(Name, u64)],
    aliases: &BTreeMap<Name, Vec<PciAlias>>,
    near: Option<&BTreeSet<u32>>,
) -> Result<Vec<(usize, u64)>, Unfit> {
    let mut free: Vec<u64> = pools.iter().map(|pool| pool.free).collect();
    let mut chosen = Vec::new();
    for (alias, count) in wanted {
        let Some(kinds) = aliases.get(alias) else {
            return Err(Unfit::UnknownAlias(alias.clone()));
        };
        let mut missing = *count;
        let mut found = 0;
        for (at, pool) in pools.iter().enumerate() {
            let reachable = match (near, pool.numa_node) {
                (Some(cells), Some(node)) => cells.contains(&node),
                (Some(_) | None, _) => true,
            };
            if !reachable || !kinds.iter().any(|kind| pool.is(kind)) {
                continue;
            }
            found += free[at];
            let taken = missing.min(free[at]);
            if taken > 0 {
                free[at] -= taken;
                missing -= taken;
                chosen.push((at, taken));
            }
        }
        if missing > 0 {
            return Err(Unfit::Devices {
                alias: alias.clone(),
                wanted: *count,
                free: found,
            });
        }
    }
    Ok(chosen)
}
