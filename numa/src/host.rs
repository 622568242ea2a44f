//! What a host has: its cells, and what guests take of them.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Memory pages of one size in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// KiB.
    pub size_kib: u64,
    /// How many there are.
    pub total: u64,
    /// How many are taken.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub used: u64,
}

impl Pages {
    /// So many pages of this size, none of them taken.
    #[must_use]
    pub const fn unused(size_kib: u64, total: u64) -> Self {
        Self {
            size_kib,
            total,
            used: 0,
        }
    }
}

/// One of a host's NUMA cells before the first request, as libvirt's capabilities list it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumaCell {
    /// Its number.
    pub id: u32,
    /// Processors for servers that share them.
    pub cpus: BTreeSet<u32>,
    /// Processors to pin servers to.
    pub dedicated_cpus: BTreeSet<u32>,
    /// Threads of one core each, where there is more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<BTreeSet<u32>>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Its pages by size; empty where nothing is known of sizes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<Pages>,
    /// Shared processors promised.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cpus_used: u64,
    /// Memory promised, in MiB.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_used_mib: u64,
    /// Dedicated processors taken.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pinned_cpus: BTreeSet<u32>,
}

/// What a guest takes of one of its host's cells.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellUse {
    /// The host's cell.
    pub cell: u32,
    /// Virtual processors that share the cell's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vcpus: u64,
    /// Processors that nobody else is pinned to, idle siblings among them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pinned: BTreeSet<u32>,
    /// Memory in MiB.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_mib: u64,
    /// The size of its pages in KiB; nothing where the host knows no sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_kib: Option<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl NumaCell {
    /// Its smallest pages, in KiB.
    #[must_use]
    pub fn smallest_page(&self) -> Option<u64> {
        self.pages.iter().map(|pages| pages.size_kib).min()
    }

    /// Without what a guest takes, as if it had never been there.
    pub fn remove(&mut self, taken: &CellUse) {
        self.dedicated_cpus.retain(|cpu| !taken.pinned.contains(cpu));
        self.memory_mib = self.memory_mib.saturating_sub(taken.memory_mib);
        for pages in &mut self.pages {
            if Some(pages.size_kib) == taken.page_kib && pages.size_kib > 0 {
                pages.total = pages.total.saturating_sub(taken.pages(pages.size_kib));
            }
        }
    }

    /// Counts what a guest takes as promised.
    pub fn promise(&mut self, taken: &CellUse) {
        self.cpus_used = self.cpus_used.saturating_add(taken.vcpus);
        self.memory_used_mib = self.memory_used_mib.saturating_add(taken.memory_mib);
        self.pinned_cpus.extend(&taken.pinned);
        for pages in &mut self.pages {
            if Some(pages.size_kib) == taken.page_kib && pages.size_kib > 0 {
                pages.used = pages.used.saturating_add(taken.pages(pages.size_kib));
            }
        }
    }
}

impl CellUse {
    /// Its memory in pages of that many KiB, which must not be 0.
    pub(super) const fn pages(&self, size_kib: u64) -> u64 {
        self.memory_mib.saturating_mul(1024).div_ceil(size_kib)
    }
}

/// What a guest takes at most, where several descriptions of it (running, defined, recorded) say different things.
#[must_use]
pub fn at_most(descriptions: &[Vec<CellUse>]) -> Vec<CellUse> {
    let mut all: BTreeMap<(u32, Option<u64>), CellUse> = BTreeMap::new();
    for description in descriptions {
        let mut one: BTreeMap<(u32, Option<u64>), CellUse> = BTreeMap::new();
        for taken in description {
            let sum = one
                .entry((taken.cell, taken.page_kib))
                .or_insert_with(|| CellUse {
                    cell: taken.cell,
                    page_kib: taken.page_kib,
                    ..CellUse::default()
                });
            sum.vcpus = sum.vcpus.saturating_add(taken.vcpus);
            sum.memory_mib = sum.memory_mib.saturating_add(taken.memory_mib);
            sum.pinned.extend(&taken.pinned);
        }
        for (at, taken) in one {
            match all.get_mut(&at) {
                Some(most) => {
                    most.vcpus = most.vcpus.max(taken.vcpus);
                    most.memory_mib = most.memory_mib.max(taken.memory_mib);
                    most.pinned.extend(&taken.pinned);
                }
                None => {
                    all.insert(at, taken);
                }
            }
        }
    }
    all.into_values().collect()
}
