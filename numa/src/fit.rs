//! A guest's cells on a host's: the first choice, in Nova's order, that holds them.

use super::cell::Cell;
use super::shortage::Shortage;
use super::{CellUse, CpuPolicy, GuestCell, NumaCell, ThreadPolicy};
use drover_types::Ratio;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How often what a cell's servers share may be promised, as Nova's NUMATopologyLimits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumaLimits {
    /// Shared processors.
    pub cpu_ratio: Ratio,
    /// Memory.
    pub ram_ratio: Ratio,
}

/// Why a host has no place for a server's cells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
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
    Full {
        /// How many cells are asked for.
        wanted: usize,
        /// What the largest of them asks, and the most that one cell of the host has of each.
        short: Shortage,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCells => f.write_str("wants NUMA cells, the host reports none"),
            Self::TooFewCells { wanted, found } => {
                write!(f, "wants {wanted} NUMA cells, the host has {found}")
            }
            Self::NoThreads => f.write_str("wants threads of one core, the host's cores have one each"),
            Self::Full { wanted: 1, short } => write!(f, "no NUMA cell has {short}"),
            Self::Full { wanted, short } => write!(f, "no {wanted} NUMA cells have {short}"),
        }
    }
}

/// What else decides between cells: devices that are at them.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// Of cells with this number, the lower are tried first.
    pub rank: &'a dyn Fn(u32) -> i64,
    /// Whether a choice of cells, by their numbers, will do.
    pub accepts: &'a dyn Fn(&BTreeSet<u32>) -> bool,
}

impl Beside<'static> {
    /// Nothing does.
    pub const NOTHING: Self = Self {
        rank: &|_| 0,
        accepts: &|_| true,
    };
}

/// Where one of a guest's cells is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// The host's cell, by position.
    pub(super) at: usize,
    /// What it takes there.
    pub taken: CellUse,
    /// With dedicated processors: where each of the guest's runs, in the order of their numbers.
    pub pins: Vec<u32>,
}

/// What is left of a host's cells.
#[derive(Debug, Clone, Default)]
pub struct Cells(Vec<Cell>);

impl Cells {
    /// Cells as they stand.
    #[must_use]
    pub fn new(cells: &[NumaCell]) -> Self {
        Self(cells.iter().map(Cell::new).collect())
    }

    /// The first choice of cells, in Nova's order, that holds the server's; takes nothing.
    ///
    /// # Errors
    /// Why there is none.
    pub fn fit(
        &self,
        guest: &[GuestCell],
        limits: NumaLimits,
        beside: Beside<'_>,
    ) -> Result<Vec<Seat>, Misfit> {
        if self.wants_threads(guest) {
            return Err(Misfit::NoThreads);
        }
        let wanted = guest.len();
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let found = self.0.len();
        match found {
            0 => return Err(Misfit::NoCells),
            _ if found < wanted => return Err(Misfit::TooFewCells { wanted, found }),
            _ => {}
        }
        let mut search = Search {
            cells: &self.0,
            guest,
            limits,
            beside,
            order: self.order(guest, beside),
            known: BTreeMap::new(),
            steps: 0,
        };
        let mut chosen = Vec::with_capacity(wanted);
        if search.descend(&mut chosen) {
            return Ok(chosen);
        }
        let short = Shortage::of(&self.0, guest, limits);
        Err(Misfit::Full { wanted, short })
    }

    fn wants_threads(&self, guest: &[GuestCell]) -> bool {
        let wants = guest
            .iter()
            .any(|cell| cell.threads == ThreadPolicy::Require && cell.policy == CpuPolicy::Dedicated);
        wants && !self.0.is_empty() && !self.0.iter().any(Cell::has_threads)
    }

    /// Less used cells first, where there is a choice.
    fn order(&self, guest: &[GuestCell], beside: Beside<'_>) -> Vec<usize> {
        let cells = &self.0;
        let mut order: Vec<usize> = (0..cells.len()).collect();
        if cells.len() == guest.len() {
            return order;
        }
        order.sort_by_key(|at| std::cmp::Reverse(cells[*at].free_memory()));
        match guest[0].policy {
            CpuPolicy::Shared => order.sort_by_key(|at| cells[*at].shared_used()),
            CpuPolicy::Dedicated => order.sort_by_key(|at| std::cmp::Reverse(cells[*at].free_dedicated())),
        }
        order.sort_by_key(|at| (beside.rank)(cells[*at].id));
        order
    }

    /// How many processors nobody is pinned to, of those that servers are pinned to.
    #[must_use]
    pub fn free_dedicated(&self) -> usize {
        self.0.iter().map(Cell::free_dedicated).sum()
    }

    /// What was found, as a seat of the cell that it names; nothing where the host has no such cell.
    #[must_use]
    pub fn seat_of(&self, taken: &CellUse) -> Option<Seat> {
        let at = self.0.iter().position(|cell| cell.id == taken.cell)?;
        Some(Seat {
            at,
            taken: taken.clone(),
            pins: Vec::new(),
        })
    }

    /// Takes seats.
    pub fn take(&mut self, seats: &[Seat]) {
        for seat in seats {
            self.0[seat.at].take(&seat.taken);
        }
    }

    /// Gives back what [`Self::take`] took.
    pub fn give_back(&mut self, seats: &[Seat]) {
        for seat in seats {
            self.0[seat.at].give_back(&seat.taken);
        }
    }
}

struct Search<'a> {
    cells: &'a [Cell],
    guest: &'a [GuestCell],
    limits: NumaLimits,
    beside: Beside<'a>,
    order: Vec<usize>,
    known: BTreeMap<(usize, usize), Option<Seat>>,
    steps: u32,
}

impl Search<'_> {
    /// Depth first over the permutations, which comes to Nova's order of them.
    fn descend(&mut self, chosen: &mut Vec<Seat>) -> bool {
        /// Permutations grow without bound; a host has few cells.
        const LIMIT: u32 = 50_000;
        let guest = chosen.len();
        if guest == self.guest.len() {
            let at: BTreeSet<u32> = chosen.iter().map(|seat| seat.taken.cell).collect();
            return (self.beside.accepts)(&at);
        }
        for position in 0..self.order.len() {
            let cell = self.order[position];
            self.steps += 1;
            if self.steps > LIMIT {
                return false;
            }
            if chosen.iter().any(|seat| seat.at == cell) {
                continue;
            }
            let (cells, wanted, limits) = (self.cells, &self.guest[guest], self.limits);
            let seat = self
                .known
                .entry((cell, guest))
                .or_insert_with(|| cells[cell].fit(cell, wanted, limits));
            if let Some(seat) = seat.clone() {
                chosen.push(seat);
                if self.descend(chosen) {
                    return true;
                }
                chosen.pop();
            }
        }
        false
    }
}
