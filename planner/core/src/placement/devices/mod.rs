//! NUMA cells and PCI devices: what a host has of them, what a server asks, and whether that fits.
//!
//! As Nova's `virt.hardware` and `pci.stats`, without mixed CPU policy, reserved emulator threads and network
//! affinity: a flavor that asks for these is refused as a mistake.

mod cells;
mod demand;
mod pools;

pub use demand::{CpuPolicy, Demand, DemandError, GuestCell, PageSize, ThreadPolicy};

use super::input::{Name, PciAlias};
use cells::{Cell, Seat};
use pools::Pool;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Memory pages of one size in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// KiB.
    pub size_kib: u64,
    /// How many there are.
    pub total: u64,
    /// How many are taken.
    pub used: u64,
}

/// One of a host's NUMA cells before the first request, as libvirt's capabilities list it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumaCell {
    /// Its number.
    pub id: u32,
    /// Processors for servers that share them.
    pub cpus: BTreeSet<u32>,
    /// Processors to pin servers to.
    pub dedicated_cpus: BTreeSet<u32>,
    /// Threads of one core each, where there is more than one.
    pub siblings: Vec<BTreeSet<u32>>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Its pages by size; empty where nothing is known of sizes.
    pub pages: Vec<Pages>,
    /// Shared processors promised.
    pub cpus_used: u64,
    /// Memory promised, in MiB.
    pub memory_used_mib: u64,
    /// Dedicated processors taken.
    pub pinned_cpus: BTreeSet<u32>,
}

/// Devices of one kind on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciPool {
    /// Vendor, as the device says: `8086`.
    pub vendor_id: String,
    /// Product.
    pub product_id: String,
    /// The cell it is at, if known.
    pub numa_node: Option<u32>,
    /// How many are free.
    pub count: u64,
}

/// Why a host has no place for a server's cells or devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// The host says nothing of its cells.
    NoCells,
    /// More cells are asked for than there are.
    TooFewCells {
        /// Asked for.
        wanted: usize,
        /// There.
        found: usize,
    },
    /// Threads of one core are asked for, and cores have one thread.
    NoThreads,
    /// No choice of cells holds the server's.
    Cells {
        /// How many cells are asked for.
        wanted: usize,
    },
    /// Too few devices of an alias.
    Devices {
        /// The alias.
        alias: Name,
        /// Asked for.
        wanted: u64,
        /// Free, and near enough.
        free: u64,
    },
    /// An alias that the settings do not have.
    UnknownAlias(Name),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCells => f.write_str("wants NUMA cells, the host reports none"),
            Self::TooFewCells { wanted, found } => {
                write!(f, "wants {wanted} NUMA cells, the host has {found}")
            }
            Self::NoThreads => f.write_str("wants threads of one core, the host's cores have one each"),
            Self::Cells { wanted: 1 } => {
                f.write_str("no NUMA cell has the processors, memory and pages left for it")
            }
            Self::Cells { wanted } => write!(
                f,
                "no {wanted} NUMA cells have the processors, memory and pages left for it"
            ),
            Self::Devices { alias, wanted, free } => write!(f, "wants {wanted} of {alias}, {free} free"),
            Self::UnknownAlias(alias) => write!(f, "no device is known as {alias}"),
        }
    }
}

impl Unfit {
    /// What would have to be otherwise.
    pub(crate) fn remedy(&self, host: &str) -> String {
        match self {
            Self::NoCells | Self::TooFewCells { .. } | Self::NoThreads => {
                format!("other cells than those of {host}")
            }
            Self::Cells { .. } => format!("more room in the NUMA cells of {host}"),
            Self::Devices { alias, wanted, free } => {
                format!("{} more of {alias} free on {host}", wanted - free)
            }
            Self::UnknownAlias(alias) => format!("an alias {alias}"),
        }
    }
}

/// What is left of a host's cells and devices.
#[derive(Debug, Clone, Default)]
pub(crate) struct Devices {
    cells: Vec<Cell>,
    pools: Vec<Pool>,
    /// What servers took, to be given back.
    taken: BTreeMap<Name, Taken>,
}

#[derive(Debug, Clone)]
struct Taken {
    seats: Vec<Seat>,
    devices: Vec<(usize, u64)>,
}

/// What hosts are asked for beside the demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) cpu_ratio: f64,
    pub(crate) ram_ratio: f64,
    pub(crate) aliases: &'a BTreeMap<Name, Vec<PciAlias>>,
}

impl Devices {
    pub(crate) fn new(cells: &[NumaCell], pools: &[PciPool]) -> Self {
        Self {
            cells: cells.iter().map(Cell::new).collect(),
            pools: pools.iter().map(Pool::new).collect(),
            taken: BTreeMap::new(),
        }
    }

    /// Devices of all kinds that are free.
    pub(crate) fn free_devices(&self) -> u64 {
        self.pools.iter().map(|pool| pool.free).sum()
    }

    /// As Nova's NUMATopologyFilter.
    pub(crate) fn fit_cells(&self, demand: &Demand, terms: &Terms<'_>) -> Result<(), Unfit> {
        if self.wants_threads(demand) {
            return Err(Unfit::NoThreads);
        }
        self.seats(demand, terms).map(|_| ())
    }

    /// As Nova's PciPassthroughFilter.
    pub(crate) fn fit_devices(&self, demand: &Demand, terms: &Terms<'_>) -> Result<(), Unfit> {
        pools::choose(&self.pools, &demand.devices, terms.aliases, None).map(|_| ())
    }

    fn wants_threads(&self, demand: &Demand) -> bool {
        let wants = demand
            .cells
            .iter()
            .any(|cell| cell.threads == ThreadPolicy::Require && cell.policy == CpuPolicy::Dedicated);
        wants && !self.cells.is_empty() && !self.cells.iter().any(Cell::has_threads)
    }

    /// The first choice of cells, in Nova's order, that holds the server's; with devices near them.
    fn seats(&self, demand: &Demand, terms: &Terms<'_>) -> Result<Vec<Seat>, Unfit> {
        let wanted = demand.cells.len();
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let found = self.cells.len();
        match found {
            0 => return Err(Unfit::NoCells),
            _ if found < wanted => return Err(Unfit::TooFewCells { wanted, found }),
            _ => {}
        }
        let order = self.order(demand);
        let mut known: BTreeMap<(usize, usize), Option<Seat>> = BTreeMap::new();
        let mut chosen = Vec::with_capacity(wanted);
        let mut steps = 0;
        if self.descend(demand, terms, &order, &mut chosen, &mut known, &mut steps) {
            return Ok(chosen);
        }
        Err(Unfit::Cells { wanted })
    }

    /// Depth first over the permutations, which comes to Nova's order of them.
    fn descend(
        &self,
        demand: &Demand,
        terms: &Terms<'_>,
        order: &[usize],
        chosen: &mut Vec<Seat>,
        known: &mut BTreeMap<(usize, usize), Option<Seat>>,
        steps: &mut u32,
    ) -> bool {
        /// Permutations grow without bound; a host has few cells.
        const LIMIT: u32 = 50_000;
        let guest = chosen.len();
        if guest == demand.cells.len() {
            let at: BTreeSet<u32> = chosen.iter().map(|seat| self.cells[seat.cell].id).collect();
            return pools::choose(&self.pools, &demand.devices, terms.aliases, Some(&at)).is_ok();
        }
        for cell in order {
            *steps += 1;
            if *steps > LIMIT {
                return false;
            }
            if chosen.iter().any(|seat| seat.cell == *cell) {
                continue;
            }
            let seat = known
                .entry((*cell, guest))
                .or_insert_with(|| self.cells[*cell].fit(*cell, &demand.cells[guest], terms));
            if let Some(seat) = seat.clone() {
                chosen.push(seat);
                if self.descend(demand, terms, order, chosen, known, steps) {
                    return true;
                }
                chosen.pop();
            }
        }
        false
    }

    /// Less used cells first, where there is a choice.
    fn order(&self, demand: &Demand) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.cells.len()).collect();
        if self.cells.len() == demand.cells.len() {
            return order;
        }
        order.sort_by_key(|at| std::cmp::Reverse(self.cells[*at].free_memory()));
        match demand.cells[0].policy {
            CpuPolicy::Shared => order.sort_by_key(|at| self.cells[*at].shared_used()),
            CpuPolicy::Dedicated => {
                order.sort_by_key(|at| std::cmp::Reverse(self.cells[*at].free_dedicated()));
            }
        }
        let near = |at: &usize| pools::near(&self.pools, self.cells[*at].id);
        if demand.devices.is_empty() {
            order.sort_by_key(near);
        } else {
            order.sort_by_key(|at| std::cmp::Reverse(near(at)));
        }
        order
    }

    /// Takes what fits; what does not (a server that is put there by force) takes nothing.
    pub(crate) fn take(&mut self, server: &Name, demand: &Demand, terms: &Terms<'_>) {
        let seats = self.seats(demand, terms).unwrap_or_default();
        let at: BTreeSet<u32> = seats.iter().map(|seat| self.cells[seat.cell].id).collect();
        let near = (!at.is_empty()).then_some(&at);
        let devices = pools::choose(&self.pools, &demand.devices, terms.aliases, near).unwrap_or_default();
        for seat in &seats {
            self.cells[seat.cell].take(seat);
        }
        for (pool, count) in &devices {
            self.pools[*pool].free -= count;
        }
        self.taken.insert(server.clone(), Taken { seats, devices });
    }

    /// Gives back what [`Self::take`] took.
    pub(crate) fn give_back(&mut self, server: &Name) {
        let Some(Taken { seats, devices }) = self.taken.remove(server) else {
            return;
        };
        for seat in &seats {
            self.cells[seat.cell].give_back(seat);
        }
        for (pool, count) in devices {
            self.pools[pool].free += count;
        }
    }
}
