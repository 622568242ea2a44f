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

use super::config::SchedulerConfig;
use super::input::{Name, Ratios};
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
    /// How many more it has that the host gives away no longer.
    pub others: u64,
}

impl Seated {
    fn asked(&self) -> &Demand {
        const NOTHING: &Demand = &Demand {
            cells: Vec::new(),
            devices: Vec::new(),
        };
        self.demand.as_deref().unwrap_or(NOTHING)
    }

    /// Whether this is asked, and all of it there.
    fn is_for(&self, asked: &Demand) -> bool {
        let count: u64 = asked.devices.iter().map(|(_, count)| count).sum();
        self.asked() == asked
            && (asked.cells.is_empty() || !self.taken.is_empty())
            && self.devices.len() as u64 + self.others >= count
    }
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
    /// What servers that are there took of both, as the host reports it.
    seated: Arc<BTreeMap<Name, Seated>>,
    /// Those of them that have given it back, and find it as they left it.
    left: BTreeSet<Name>,
    /// Those of them that had, when somebody took what may be theirs: if they come again, they come as anybody.
    strangers: BTreeSet<Name>,
}

/// What a server took of a host's cells and devices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Taken {
    seats: Vec<Seat>,
    devices: Vec<(usize, u64)>,
}

impl Taken {
    /// What it took of cells.
    pub(crate) fn of_cells(&self) -> impl Iterator<Item = &CellUse> {
        self.seats.iter().map(|seat| &seat.taken)
    }
}

/// What hosts are asked for beside the demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) limits: NumaLimits,
    pub(crate) aliases: &'a BTreeMap<Name, Vec<PciKind>>,
}

impl<'a> Terms<'a> {
    pub(crate) const fn of(config: &'a SchedulerConfig, ratios: Ratios) -> Self {
        Self {
            limits: NumaLimits {
                cpu_ratio: ratios.cpu,
                ram_ratio: ratios.ram,
            },
            aliases: &config.pci_aliases,
        }
    }

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
            left: BTreeSet::new(),
            strangers: BTreeSet::new(),
        }
    }

    /// What is left of the devices.
    pub(crate) fn pools(&self) -> &[PciPool] {
        &self.pools
    }

    /// Devices of all kinds that are free.
    pub(crate) fn free_devices(&self) -> u64 {
        self.pools.iter().map(|pool| pool.free).sum()
    }

    /// What the server took, if anything.
    pub(crate) fn taken(&self, server: &Name) -> Option<&Taken> {
        self.taken.get(server)?.last()
    }

    /// As Nova's NUMATopologyFilter. A server that is there already, by what the host reports, keeps its cells as long as
    /// it asks for what it has.
    pub(crate) fn fit_cells(&self, server: &Name, demand: &Demand, terms: &Terms<'_>) -> Result<(), Unfit> {
        let seated = self.is_here(server);
        if seated.is_some_and(|seated| seated.is_for(demand)) {
            return Ok(());
        }
        let own = seated.map_or(&[][..], |seated| &seated.devices);
        self.seats(demand, terms, own).map(|_| ()).map_err(Unfit::Cells)
    }

    /// As Nova's PciPassthroughFilter. A server that is there already keeps its devices as long as it asks for what it
    /// has, whatever its aliases mean by now.
    pub(crate) fn fit_devices(&self, server: &Name, demand: &Demand, terms: &Terms<'_>) -> Result<(), Unfit> {
        let seated = self.is_here(server);
        if seated.is_some_and(|seated| seated.is_for(demand)) {
            return Ok(());
        }
        let own = seated.map_or(&[][..], |seated| &seated.devices);
        self.choose(&demand.devices, terms, None, own).map(|_| ())
    }

    /// What the host reports of a server whose room is not counted yet, or was given back and is there still.
    fn is_here(&self, server: &Name) -> Option<&Seated> {
        let away = self.taken.contains_key(server) || self.strangers.contains(server);
        self.seated.get(server).filter(|_| !away)
    }

    /// Whoever takes what is not as reported may take the places of those that have left.
    fn note_arrival(&mut self, server: &Name, as_reported: bool) {
        self.left.remove(server);
        if !as_reported {
            self.strangers.append(&mut self.left);
        }
    }

    /// How many to take from which pool, of those that are the server's `own` first.
    fn choose(
        &self,
        devices: &[(Name, u64)],
        terms: &Terms<'_>,
        near: Option<&BTreeSet<u32>>,
        own: &[PciDevice],
    ) -> Result<Vec<(usize, u64)>, Unfit> {
        let owned = drover_numa::owned(&self.pools, own);
        let chosen = drover_numa::choose(&self.pools, &terms.wanted(devices)?, near, &owned);
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
    fn seats(&self, demand: &Demand, terms: &Terms<'_>, own: &[PciDevice]) -> Result<Vec<Seat>, Misfit> {
        let rank = |cell: u32| {
            let near = i64::try_from(drover_numa::near(&self.pools, cell)).unwrap_or(i64::MAX);
            if demand.devices.is_empty() { near } else { -near }
        };
        let accepts = |cells: &BTreeSet<u32>| self.choose(&demand.devices, terms, Some(cells), own).is_ok();
        let beside = Beside {
            rank: &rank,
            accepts: &accepts,
        };
        self.cells.fit(&demand.cells, terms.limits, beside)
    }

    /// Takes what the host reports of a server that is there, as far as that is what it asks, and for the rest what
    /// fits; what does not (a server that is put there by force) takes nothing. One that changes where it is takes
    /// both: what it gives up is nobody else's before the change is done.
    pub(crate) fn take(&mut self, server: &Name, demand: Option<&Demand>, terms: &Terms<'_>) {
        let seated = self.is_here(server).cloned();
        let asked = demand.cloned().unwrap_or_default();
        let Some(mut place) = self.place_of(seated.as_ref(), &asked, terms) else {
            return;
        };
        let as_reported = seated.as_ref().is_some_and(|seated| seated.is_for(&asked));
        self.note_arrival(server, as_reported);
        if let Some(seated) = seated.filter(|_| !as_reported) {
            self.add_reported(&mut place, &seated);
        }
        self.cells.take(&place.seats);
        for (pool, count) in &mut place.devices {
            // Two domains may name one device, of which one alone can run.
            let free = &mut self.pools[*pool].free;
            *count = (*count).min(*free);
            *free -= *count;
        }
        let taken = self.taken.entry(server.clone()).or_default();
        taken.push(place);
    }

    fn place_of(&self, seated: Option<&Seated>, asked: &Demand, terms: &Terms<'_>) -> Option<Taken> {
        let own = seated.map_or(&[][..], |seated| &seated.devices);
        if let Some(seated) = seated {
            let reported = self.reported(seated);
            if seated.is_for(asked) {
                return Some(Taken {
                    seats: reported,
                    devices: self.given(own),
                });
            }
            let cells_stay = seated.asked().cells == asked.cells && !reported.is_empty();
            if (cells_stay || asked.cells.is_empty())
                && let Ok(devices) = self.devices_at(&reported, asked, terms, own)
            {
                return Some(Taken {
                    seats: if cells_stay { reported } else { Vec::new() },
                    devices,
                });
            }
        } else if *asked == Demand::default() {
            return None;
        }
        let seats = self.seats(asked, terms, own).unwrap_or_default();
        let devices = self.devices_at(&seats, asked, terms, own).unwrap_or_default();
        Some(Taken { seats, devices })
    }

    fn reported(&self, seated: &Seated) -> Vec<Seat> {
        let seats = seated.taken.iter().filter_map(|taken| self.cells.seat_of(taken));
        seats.collect()
    }

    /// Adds to a place what the server has as it is, of both the larger part where they are of one kind.
    fn add_reported(&self, place: &mut Taken, seated: &Seated) {
        let uses: Vec<CellUse> = place.of_cells().cloned().collect();
        let both = drover_numa::at_most(&[uses, seated.taken.clone()]);
        place.seats = both
            .iter()
            .filter_map(|taken| self.cells.seat_of(taken))
            .collect();
        let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
        for (pool, count) in place.devices.drain(..) {
            *counts.entry(pool).or_default() += count;
        }
        for (pool, count) in self.given(&seated.devices) {
            let most = counts.entry(pool).or_default();
            *most = count.max(*most);
        }
        place.devices = counts.into_iter().collect();
    }

    /// Devices for a server in these cells, near them if it asks for cells.
    fn devices_at(
        &self,
        seats: &[Seat],
        asked: &Demand,
        terms: &Terms<'_>,
        own: &[PciDevice],
    ) -> Result<Vec<(usize, u64)>, Unfit> {
        let at: BTreeSet<u32> = seats.iter().map(|seat| seat.taken.cell).collect();
        let near = (!asked.cells.is_empty() && !at.is_empty()).then_some(&at);
        self.choose(&asked.devices, terms, near, own)
    }

    /// Devices that are there, as what they take of which pool.
    fn given(&self, devices: &[PciDevice]) -> Vec<(usize, u64)> {
        let counts = drover_numa::owned(&self.pools, devices).into_iter().enumerate();
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Gives back what [`Self::take`] took.
    pub(crate) fn give_back(&mut self, server: &Name) {
        let Some(taken) = self.taken.get_mut(server) else {
            return;
        };
        let last = taken.pop();
        if taken.is_empty() {
            self.taken.remove(server);
            if self.seated.contains_key(server) && !self.strangers.contains(server) {
                self.left.insert(server.clone());
            }
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
