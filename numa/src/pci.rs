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

fn pool_of(pools: &[PciPool], device: &PciDevice) -> Option<usize> {
    let mut pools = pools.iter();
    pools.position(|pool| pool.kind == device.kind && pool.numa_node == device.numa_node)
}

/// How many of a server's own devices are in which pool.
#[must_use]
pub fn owned<'a>(pools: &[PciPool], devices: impl IntoIterator<Item = &'a PciDevice>) -> Vec<u64> {
    let mut owned = vec![0; pools.len()];
    for device in devices {
        if let Some(at) = pool_of(pools, device) {
            owned[at] += 1;
        }
    }
    owned
}

/// How many to take from which pool: the wishes one after another, and for each the pools in their order, first what is
/// `owned` in them (which is free to the server that has it, and counted so), then what else is free. Where that leaves
/// too few for a later wish, what is owned counts as anything else. `near` are the cells that devices must be at, where
/// the server has cells and the device says where it is (Nova's policy "legacy").
///
/// # Errors
/// The first wish that cannot be had.
pub fn choose(
    pools: &[PciPool],
    wanted: &[WantedDevices<'_>],
    near: Option<&BTreeSet<u32>>,
    owned: &[u64],
) -> Result<Vec<BTreeMap<usize, u64>>, TooFewDevices> {
    let nothing = || vec![0; pools.len()];
    if owned.iter().any(|count| *count > 0)
        && let Ok(kept) = choose_first(owned.to_vec(), pools, wanted, near)
    {
        return Ok(kept);
    }
    choose_first(nothing(), pools, wanted, near)
}

fn choose_first(
    mut owned: Vec<u64>,
    pools: &[PciPool],
    wanted: &[WantedDevices<'_>],
    near: Option<&BTreeSet<u32>>,
) -> Result<Vec<BTreeMap<usize, u64>>, TooFewDevices> {
    let mut free: Vec<u64> = pools.iter().map(|pool| pool.free).collect();
    let mut chosen = Vec::with_capacity(wanted.len());
    for (wish, WantedDevices { kinds, count }) in wanted.iter().enumerate() {
        let serves = |pool: &PciPool| {
            let reachable = match (near, pool.numa_node) {
                (Some(cells), Some(node)) => cells.contains(&node),
                (Some(_) | None, _) => true,
            };
            reachable && kinds.contains(&pool.kind)
        };
        let serving: Vec<usize> = (0..pools.len()).filter(|at| serves(&pools[*at])).collect();
        let found = serving.iter().map(|at| free[*at]).sum();
        let mut missing = *count;
        let mut from: BTreeMap<usize, u64> = BTreeMap::new();
        for at in &serving {
            let kept = missing.min(owned[*at]).min(free[*at]);
            owned[*at] -= kept;
            take(*at, kept, &mut free, &mut missing, &mut from);
        }
        for at in &serving {
            let more = missing.min(free[*at]);
            take(*at, more, &mut free, &mut missing, &mut from);
        }
        if missing > 0 {
            return Err(TooFewDevices { wish, free: found });
        }
        chosen.push(from);
    }
    Ok(chosen)
}

fn take(at: usize, count: u64, free: &mut [u64], missing: &mut u64, from: &mut BTreeMap<usize, u64>) {
    if count > 0 {
        free[at] -= count;
        *missing -= count;
        *from.entry(at).or_default() += count;
    }
}

/// The very devices for what [`choose`] chose of these pools, for each wish: the server's own ones first, then the lowest
/// addresses that are free.
#[must_use]
pub fn devices_of(
    devices: &[PciDevice],
    taken: &BTreeSet<PciAddress>,
    own: &BTreeSet<PciAddress>,
    pools: &[PciPool],
    chosen: &[BTreeMap<usize, u64>],
) -> Vec<Vec<PciDevice>> {
    let mut free: Vec<BTreeSet<(bool, PciDevice)>> = vec![BTreeSet::new(); pools.len()];
    for device in devices.iter().filter(|device| !taken.contains(&device.address)) {
        if let Some(at) = pool_of(pools, device) {
            free[at].insert((!own.contains(&device.address), *device));
        }
    }
    let given = chosen.iter().map(|from| {
        let mut given = Vec::new();
        for (at, count) in from {
            for _ in 0..*count {
                given.extend(free[*at].pop_first().map(|(_, device)| device));
            }
        }
        // What it keeps stays where the guest knows it.
        given.sort_by_key(|device| !own.contains(&device.address));
        given
    });
    given.collect()
}
