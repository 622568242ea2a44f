//! NUMA cells and PCI devices: what a host has of them, what a server asks, and whether that fits.
//!
//! As Nova's `virt.hardware` and `pci.stats`, without mixed CPU policy, reserved emulator threads and network
//! affinity: a flavor that asks for these is refused as a mistake. Which cells hold a server's, and which devices it is
//! given, is `drover_numa`'s.

mod demand;

pub use demand::{Demand, DemandError};
pub use drover_numa::{
    CellUse, CpuPolicy, GuestCell, NumaCell, PageSize, Pages, PciDevice, PciPool, ThreadPolicy,
};

use super::input::Name;
use drover_numa::{Beside, Cells, Misfit, NumaLimits, Seat, WantedDevices};
use drover_types::PciKind;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What a server that is on a host has really taken of its cells and devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seated {
    /// For this; with another demand it takes other room.
    pub demand: Option<Arc<Demand>>,
    /// As the host reports it.
    pub taken: Vec<CellUse>,
    /// Its devices, as the host reports them.
    pub devices: Vec<PciDevice>,
}

/// Why a host has no place for a server's cells or devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// None for its cells.
    Cells(Misfit),
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
            Self::Cells(misfit) => misfit.fmt(f),
            Self::Devices { alias, wanted, free } => write!(f, "wants {wanted} of {alias}, {free} free"),
            Self::UnknownAlias(alias) => write!(f, "no device is known as {alias}"),
        }
    }
}

impl Unfit {
    /// What would have to be otherwise.
    pub(crate) fn remedy(&self, host: &str) -> String {
        match self {
            Self::Cells(Misfit::NoCells | Misfit::TooFewCells { .. } | Misfit::NoThreads) => {
                format!("other cells than those of {host}")
            }
            Self::Cells(Misfit::Full { .. }) => format!("more room in the NUMA cells of {host}"),
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
    cells: Cells,
    pools: Vec<PciPool>,
    /// What servers took, to be given back: of one name the last first, where one takes the place of another.
    taken: BTreeMap<Name, Vec<Taken>>,
    /// What servers that are there took of the cells, as the host reports it.
    seated: Arc<BTreeMap<Name, Seated>>,
}

/// What a server took of a host's cells and devices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Taken {
    seats: Vec<Seat>,
    devices: Vec<(usize, u64)>,
}

/// What hosts are asked for beside the demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) limits: NumaLimits,
    pub(crate) aliases: &'a BTreeMap<Name, Vec<PciKind>>,
}

impl<'a> Terms<'a> {
    /// What aliases stand for.
    fn wanted(&self, devices: &[(Name, u64)]) -> Result<Vec<WantedDevices<'a>>, Unfit> {
        let wanted = devices.iter().map(|(alias, count)| {
            let kinds = self.aliases.get(alias);
            let kinds = kinds.ok_or_else(|| Unfit::UnknownAlias(alias.clone()))?;
            let count = *count;
            Ok(WantedDevices { kinds, count })
        });
        wanted.collect()
    }
}

impl Devices {
    pub(crate) fn new(cells: &[NumaCell], pools: &[PciPool], seated: &BTreeMap<Name, Seated>) -> Self {
        Self {
            cells: Cells::new(cells),
            pools: pools.to_vec(),
            taken: BTreeMap::new(),
            seated: Arc::new(seated.clone()),
        }
    }

    /// Devices of all kinds that are free.
    pub(crate) fn free_devices(&self) -> u64 {
        self.pools.iter().map(|pool| pool.free).sum()
    }

    /// What the server took, if anything.
    pub(crate) fn taken(&self, server: &Name) -> Option<&Taken> {
        self.taken.get(server)?.last()
    }

    /// As Nova's NUMATopologyFilter.
    pub(crate) fn fit_cells(&self, demand: &Demand, terms: &Terms<'_>) -> Result<(), Unfit> {
        self.seats(demand, terms).map(|_| ()).map_err(Unfit::Cells)
    }

    /// As Nova's PciPassthroughFilter.
    pub(crate) fn fit_devices(&self, demand: &Demand, terms: &Terms<'_>) -> Result<(), Unfit> {
        self.choose(&demand.devices, terms, None).map(|_| ())
    }

    /// How many to take from which pool.
    fn choose(
        &self,
        devices: &[(Name, u64)],
        terms: &Terms<'_>,
        near: Option<&BTreeSet<u32>>,
    ) -> Result<Vec<(usize, u64)>, Unfit> {
        let chosen = drover_numa::choose(&self.pools, &terms.wanted(devices)?, near);
        chosen
            .map(|chosen| chosen.into_iter().flatten().collect())
            .map_err(|few| {
                let (alias, wanted) = &devices[few.wish];
                Unfit::Devices {
                    alias: alias.clone(),
                    wanted: *wanted,
                    free: few.free,
                }
            })
    }

    /// The first choice of cells that holds the server's, with devices near them: cells with devices are tried last
    /// by servers that want none, and first by those that do.
    fn seats(&self, demand: &Demand, terms: &Terms<'_>) -> Result<Vec<Seat>, Misfit> {
        let rank = |cell: u32| {
            let near = i64::try_from(drover_numa::near(&self.pools, cell)).unwrap_or(i64::MAX);
            if demand.devices.is_empty() { near } else { -near }
        };
        let accepts = |cells: &BTreeSet<u32>| self.choose(&demand.devices, terms, Some(cells)).is_ok();
        let beside = Beside {
            rank: &rank,
            accepts: &accepts,
        };
        self.cells.fit(&demand.cells, terms.limits, beside)
    }

    /// Takes what the host reports of a server that is there, or what fits; what does not (a server that is put there
    /// by force) takes nothing.
    pub(crate) fn take(&mut self, server: &Name, demand: Option<&Demand>, terms: &Terms<'_>) {
        let seated = self
            .seated
            .get(server)
            .filter(|_| !self.taken.contains_key(server));
        let as_reported = seated.filter(|seated| seated.demand.as_deref() == demand);
        let seats: Vec<Seat> = match (as_reported, demand) {
            (Some(seated), _) => (seated.taken.iter())
                .filter_map(|taken| self.cells.seat_of(taken))
                .collect(),
            (None, Some(demand)) => self.seats(demand, terms).unwrap_or_default(),
            (None, None) => return,
        };
        let at: BTreeSet<u32> = seats.iter().map(|seat| seat.taken.cell).collect();
        let near = (!at.is_empty()).then_some(&at);
        let mut devices = match as_reported {
            Some(seated) => self.given(&seated.devices),
            None => {
                let wanted = demand.map_or(&[][..], |demand| &demand.devices);
                self.choose(wanted, terms, near).unwrap_or_default()
            }
        };
        self.cells.take(&seats);
        for (pool, count) in &mut devices {
            // Two domains may name one device, of which one alone can run.
            let free = &mut self.pools[*pool].free;
            *count = (*count).min(*free);
            *free -= *count;
        }
        let taken = self.taken.entry(server.clone()).or_default();
        taken.push(Taken { seats, devices });
    }

    /// Devices that are there, as what they take of which pool.
    fn given(&self, devices: &[PciDevice]) -> Vec<(usize, u64)> {
        let pool_of = |device: &PciDevice| {
            let mut pools = self.pools.iter();
            pools.position(|pool| pool.kind == device.kind && pool.numa_node == device.numa_node)
        };
        let pools = devices.iter().filter_map(pool_of);
        pools.map(|pool| (pool, 1)).collect()
    }

    /// Gives back what [`Self::take`] took.
    pub(crate) fn give_back(&mut self, server: &Name) {
        let Some(taken) = self.taken.get_mut(server) else {
            return;
        };
        let last = taken.pop();
        if taken.is_empty() {
            self.taken.remove(server);
        }
        let Some(Taken { seats, devices }) = last else {
            return;
        };
        self.cells.give_back(&seats);
        for (pool, count) in devices {
            self.pools[pool].free += count;
        }
    }
}
