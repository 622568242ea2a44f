//! One NUMA cell of a host: whether a server's cell fits, and what it takes.

use super::fit::{NumaLimits, Seat};
use super::{CellUse, CpuPolicy, GuestCell, NumaCell, PageSize, ThreadPolicy};
use std::collections::{BTreeMap, BTreeSet};

const KIB_IN_MIB: u64 = 1024;

/// A cell with what is left of it.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) id: u32,
    cpus: u64,
    dedicated: BTreeSet<u32>,
    /// Every core's threads, those of one thread too.
    cores: Vec<BTreeSet<u32>>,
    memory_mib: u64,
    /// Page size in KiB to pages in all and taken.
    pages: BTreeMap<u64, (u64, u64)>,
    cpus_used: u64,
    memory_used_mib: u64,
    /// By how many each is taken: what was found on a host may overlap.
    pinned: BTreeMap<u32, u32>,
}

/// Where a cell's virtual processors run, and all that is kept from others for them.
struct Pins {
    pins: Vec<u32>,
    taken: BTreeSet<u32>,
}

impl Pins {
    fn of(pins: Vec<u32>) -> Self {
        Self {
            taken: pins.iter().copied().collect(),
            pins,
        }
    }
}

impl Cell {
    pub(super) fn new(cell: &NumaCell) -> Self {
        let mut cores: Vec<BTreeSet<u32>> = Vec::new();
        let mut seen: BTreeSet<u32> = BTreeSet::new();
        for siblings in &cell.siblings {
            let own: BTreeSet<u32> = siblings
                .iter()
                .copied()
                .filter(|cpu| cell.dedicated_cpus.contains(cpu) && !seen.contains(cpu))
                .collect();
            seen.extend(&own);
            if !own.is_empty() {
                cores.push(own);
            }
        }
        cores.extend(
            cell.dedicated_cpus
                .difference(&seen)
                .map(|cpu| BTreeSet::from([*cpu])),
        );
        Self {
            id: cell.id,
            cpus: cell.cpus.len() as u64,
            dedicated: cell.dedicated_cpus.clone(),
            cores,
            memory_mib: cell.memory_mib,
            pages: cell
                .pages
                .iter()
                .map(|pages| (pages.size_kib, (pages.total, pages.used)))
                .collect(),
            cpus_used: cell.cpus_used,
            memory_used_mib: cell.memory_used_mib,
            pinned: cell.pinned_cpus.iter().map(|cpu| (*cpu, 1)).collect(),
        }
    }

    pub(super) fn has_threads(&self) -> bool {
        self.threads_per_core() > 1
    }

    fn threads_per_core(&self) -> usize {
        self.cores.iter().map(BTreeSet::len).max().unwrap_or(1)
    }

    pub(super) fn free_memory(&self) -> i64 {
        let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        signed(self.memory_mib).saturating_sub(signed(self.memory_used_mib))
    }

    pub(super) fn shared_used(&self) -> u64 {
        self.cpus_used
    }

    fn is_free(&self, cpu: u32) -> bool {
        !self.pinned.contains_key(&cpu)
    }

    pub(super) fn free_dedicated(&self) -> usize {
        self.dedicated.iter().filter(|cpu| self.is_free(**cpu)).count()
    }

    /// As Nova's `_numa_fit_instance_cell`; `at` is this cell's position.
    pub(super) fn fit(&self, at: usize, guest: &GuestCell, limits: NumaLimits) -> Option<Seat> {
        let page_kib = self.page_size(guest)?;
        if page_kib.is_none() {
            let room = match guest.policy {
                CpuPolicy::Dedicated => self.free_memory(),
                CpuPolicy::Shared => i64::try_from(self.memory_mib).unwrap_or(i64::MAX),
            };
            if room < i64::try_from(guest.memory_mib).unwrap_or(i64::MAX) {
                return None;
            }
        }
        let mut taken = CellUse {
            cell: self.id,
            memory_mib: guest.memory_mib,
            page_kib,
            ..CellUse::default()
        };
        let mut pins = Vec::new();
        match guest.policy {
            CpuPolicy::Dedicated => {
                let own = self.pin(guest)?;
                (pins, taken.pinned) = (own.pins, own.taken);
            }
            CpuPolicy::Shared => {
                let cpus = self.cpus_used.saturating_add(guest.vcpus) as f64;
                let memory = self.memory_used_mib.saturating_add(guest.memory_mib) as f64;
                if guest.vcpus > self.cpus
                    || cpus > self.cpus as f64 * limits.cpu_ratio.get()
                    || memory > self.memory_mib as f64 * limits.ram_ratio.get()
                {
                    return None;
                }
                taken.vcpus = guest.vcpus;
            }
        }
        Some(Seat { at, taken, pins })
    }

    /// The size of the pages that the server's memory is in, `None` inside where the host knows no sizes; nothing
    /// where too few are free.
    fn page_size(&self, guest: &GuestCell) -> Option<Option<u64>> {
        let need_kib = guest.memory_mib.saturating_mul(KIB_IN_MIB);
        let free = |size: u64| {
            let (total, used) = self.pages[&size];
            size > 0 && need_kib.is_multiple_of(size) && need_kib / size <= total.saturating_sub(used)
        };
        let all = self.pages.keys().copied();
        let smallest = all.clone().next();
        let found = match guest.page {
            None => {
                // Small pages may be promised more than once, unless processors are dedicated.
                let Some(size) = smallest else {
                    return Some(None);
                };
                let (total, used) = self.pages[&size];
                let room = match guest.policy {
                    CpuPolicy::Dedicated => total.saturating_sub(used),
                    CpuPolicy::Shared => total,
                };
                (size > 0 && need_kib.is_multiple_of(size) && need_kib / size <= room).then_some(size)
            }
            Some(PageSize::Small) => smallest.filter(|size| free(*size)),
            Some(PageSize::Large) => all.rev().find(|size| Some(*size) != smallest && free(*size)),
            Some(PageSize::Any) => all.rev().find(|size| free(*size)),
            Some(PageSize::Kib(size)) => self
                .pages
                .contains_key(&size)
                .then_some(size)
                .filter(|size| free(*size)),
        };
        found.map(Some)
    }

    /// How many more processors of that policy it has.
    pub(super) fn vcpus_left(&self, policy: CpuPolicy, limits: NumaLimits) -> u64 {
        match policy {
            CpuPolicy::Dedicated => self.free_dedicated() as u64,
            // The cast saturates.
            CpuPolicy::Shared => {
                let promised = (self.cpus as f64 * limits.cpu_ratio.get()) as u64;
                promised.saturating_sub(self.cpus_used).min(self.cpus)
            }
        }
    }

    /// How much memory it has for a guest's cell, of its policy and in its pages.
    pub(super) fn memory_mib_left(&self, guest: &GuestCell, limits: NumaLimits) -> u64 {
        let in_pages = |size: u64| {
            self.pages.get(&size).map_or(0, |(total, used)| {
                total.saturating_sub(*used).saturating_mul(size) / KIB_IN_MIB
            })
        };
        let all = self.pages.keys().copied();
        let smallest = all.clone().next();
        match (guest.page, guest.policy) {
            (Some(PageSize::Kib(size)), _) => in_pages(size),
            (Some(PageSize::Small), _) => smallest.map_or(0, in_pages),
            (Some(PageSize::Large), _) => all
                .filter(|size| Some(*size) != smallest)
                .map(in_pages)
                .max()
                .unwrap_or(0),
            (Some(PageSize::Any), _) => all.map(in_pages).max().unwrap_or(0),
            (None, CpuPolicy::Dedicated) => {
                let free = u64::try_from(self.free_memory()).unwrap_or(0);
                smallest.map_or(free, |size| free.min(in_pages(size)))
            }
            (None, CpuPolicy::Shared) => {
                let promised = (self.memory_mib as f64 * limits.ram_ratio.get()) as u64;
                let left = promised.saturating_sub(self.memory_used_mib).min(self.memory_mib);
                let all_of = |size: u64| self.pages[&size].0.saturating_mul(size) / KIB_IN_MIB;
                smallest.map_or(left, |size| left.min(all_of(size)))
            }
        }
    }

    /// As Nova's `_pack_instance_onto_cores`: emptier cores first, and threads of one core together.
    fn pin(&self, guest: &GuestCell) -> Option<Pins> {
        let wanted = usize::try_from(guest.vcpus).ok()?;
        if wanted > self.free_dedicated() {
            return None;
        }
        let free: Vec<Vec<u32>> = self
            .cores
            .iter()
            .map(|core| core.iter().copied().filter(|cpu| self.is_free(*cpu)).collect())
            .filter(|core: &Vec<u32>| !core.is_empty())
            .collect();
        let threads_per_core = self.threads_per_core();
        // Cores with at least so many free threads, each giving so many.
        let packed = |threads: usize| {
            let cores = free.iter().filter(|core| core.len() >= threads);
            let mut cpus: Vec<u32> = cores
                .flat_map(|core| core.iter().take(threads).copied())
                .collect();
            (cpus.len() >= wanted).then(|| {
                cpus.truncate(wanted);
                Pins::of(cpus)
            })
        };
        match guest.threads {
            ThreadPolicy::Isolate => {
                let whole = free.iter().filter(|core| core.len() == threads_per_core);
                let cores: Vec<&Vec<u32>> = whole.take(wanted).collect();
                // The siblings are kept free of others.
                (cores.len() == wanted).then(|| Pins {
                    pins: cores.iter().map(|core| core[0]).collect(),
                    taken: cores.into_iter().flatten().copied().collect(),
                })
            }
            ThreadPolicy::Require => (2..=threads_per_core).rev().find_map(packed),
            ThreadPolicy::Prefer => (1..=threads_per_core).rev().find_map(packed).or_else(|| {
                let cpus: Vec<u32> = free.iter().flatten().copied().take(wanted).collect();
                (cpus.len() == wanted).then(|| Pins::of(cpus))
            }),
        }
    }

    pub(super) fn take(&mut self, taken: &CellUse) {
        self.memory_used_mib = self.memory_used_mib.saturating_add(taken.memory_mib);
        self.cpus_used = self.cpus_used.saturating_add(taken.vcpus);
        for cpu in &taken.pinned {
            *self.pinned.entry(*cpu).or_insert(0) += 1;
        }
        if let Some((used, pages)) = self.pages_of(taken) {
            *used = used.saturating_add(pages);
        }
    }

    pub(super) fn give_back(&mut self, taken: &CellUse) {
        self.memory_used_mib = self.memory_used_mib.saturating_sub(taken.memory_mib);
        self.cpus_used = self.cpus_used.saturating_sub(taken.vcpus);
        for cpu in &taken.pinned {
            if let Some(count) = self.pinned.get_mut(cpu) {
                *count -= 1;
                if *count == 0 {
                    self.pinned.remove(cpu);
                }
            }
        }
        if let Some((used, pages)) = self.pages_of(taken) {
            *used = used.saturating_sub(pages);
        }
    }

    /// How many pages of its size are taken here, and how many of them a guest takes.
    fn pages_of(&mut self, taken: &CellUse) -> Option<(&mut u64, u64)> {
        let size = taken.page_kib.filter(|size| *size > 0)?;
        let (_, used) = self.pages.get_mut(&size)?;
        Some((used, taken.pages(size)))
    }
}
