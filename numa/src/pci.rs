//! Devices of a host that guests are given whole: how many of each kind are free, and which a guest gets.

use drover_types::{PciAddress, PciKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A device that servers may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PciDevice {
    /// Where it sits.
    pub address: PciAddress,
    /// What it is.
    #[serde(flatten)]
    pub kind: PciKind,
    /// The cell it is at, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
}

/// Free devices that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciPool {
    /// What they are.
    pub kind: PciKind,
    /// The cell they are at, if known.
    pub numa_node: Option<u32>,
    /// How many are free.
    pub free: u64,
}

/// Devices that are asked for under one name.
#[derive(Debug, Clone, Copy)]
pub struct WantedDevices<'a> {
    /// Any of these kinds.
    pub kinds: &'a [PciKind],
    /// How many.
    pub count: u64,
}

/// Too few devices are free, or near enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFewDevices {
    /// Which of the wishes, by position.
    pub wish: usize,
    /// How many there are for it.
    pub free: u64,
}

/// Devices by kind and cell, in that order, without those that are taken.
#[must_use]
pub fn pools<'a>(
    devices: impl IntoIterator<Item = &'a PciDevice>,
    taken: &BTreeSet<PciAddress>,
) -> Vec<PciPool> {
    let mut pools: BTreeMap<(PciKind, Option<u32>), u64> = BTreeMap::new();
    for device in devices {
        let free = pools.entry((device.kind, device.numa_node)).or_default();
        *free += u64::from(!taken.contains(&device.address));
    }
    let pools = pools.into_iter();
    pools
        .map(|((kind, numa_node), free)| PciPool {
            kind,
            numa_node,
            free,
        })
        .collect()
}

/// Free devices at a cell.
#[must_use]
pub fn near(pools: &[PciPool], cell: u32) -> u64 {
    let there = pools.iter().filter(|pool| pool.numa_node == Some(cell));
    there.map(|pool| pool.free).sum()
}

/// How many to take from which pool, for each wish in turn; `near` are the cells that devices must be at, where the
/// server has cells and the device says where it is (Nova's policy "legacy").
///
/// # Errors
/// The first wish that cannot be had.
pub fn choose(
    pools: &[PciPool],
    wanted: &[WantedDevices<'_>],
    near: Option<&BTreeSet<u32>>,
) -> Result<Vec<Vec<(usize, u64)>>, TooFewDevices> {
    let mut free: Vec<u64> = pools.iter().map(|pool| pool.free).collect();
    let mut chosen = Vec::with_capacity(wanted.len());
    for (wish, WantedDevices { kinds, count }) in wanted.iter().enumerate() {
        let mut missing = *count;
        let mut found = 0;
        let mut from = Vec::new();
        for (at, pool) in pools.iter().enumerate() {
            let reachable = match (near, pool.numa_node) {
                (Some(cells), Some(node)) => cells.contains(&node),
                (Some(_) | None, _) => true,
            };
            if !reachable || !kinds.contains(&pool.kind) {
                continue;
            }
            found += free[at];
            let taken = missing.min(free[at]);
            if taken > 0 {
                free[at] -= taken;
                missing -= taken;
                from.push((at, taken));
            }
        }
        if missing > 0 {
            return Err(TooFewDevices { wish, free: found });
        }
        chosen.push(from);
    }
    Ok(chosen)
}

/// The very devices for what [`choose`] chose of these pools, for each wish: the lowest addresses that are free.
#[must_use]
pub fn devices_of(
    devices: &[PciDevice],
    taken: &BTreeSet<PciAddress>,
    pools: &[PciPool],
    chosen: &[Vec<(usize, u64)>],
) -> Vec<Vec<PciDevice>> {
    let mut free: BTreeMap<(PciKind, Option<u32>), BTreeSet<PciDevice>> = BTreeMap::new();
    for device in devices.iter().filter(|device| !taken.contains(&device.address)) {
        let alike = free.entry((device.kind, device.numa_node)).or_default();
        alike.insert(*device);
    }
    let given = chosen.iter().map(|from| {
        let mut given = Vec::new();
        for (at, count) in from {
            let pool = pools.get(*at).map(|pool| (pool.kind, pool.numa_node));
            let alike = pool.and_then(|pool| free.get_mut(&pool));
            let Some(alike) = alike else { continue };
            for _ in 0..*count {
                given.extend(alike.pop_first());
            }
        }
        given
    });
    given.collect()
}
