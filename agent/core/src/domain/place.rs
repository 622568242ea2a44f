//! Where a guest's processors, memory and devices are on its host: fitted onto the host's cells once, then kept with
//! the domain. How that is written is `render`'s; what is taken by domains that are there already is read here.

use super::devices::{DeviceWish, GivenDevices, given_again};
use super::read::{ReadError, child, children, parse, root, text_of};
use drover_numa::{
    Beside, CellUse, Cells, CpuPolicy, CpuSet, GuestCell, Misfit, NumaCell, NumaLimits, PciDevice, Seat,
    TooFewDevices, WantedDevices, choose, devices_of, near, owned, pools,
};
use drover_types::PciAddress;
use roxmltree::Node;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// More virtual processors than any guest has: what a foreign domain's XML says is not believed beyond.
const MOST_VCPUS: u32 = 8192;

/// What a server asks of its host's parts.
#[derive(Debug, Clone, Copy)]
pub struct Wishes<'a> {
    /// Its cells; none where it does not care.
    pub cells: &'a [GuestCell],
    /// How often what the servers of a cell share may be promised.
    pub limits: NumaLimits,
    /// Its devices.
    pub devices: &'a [DeviceWish],
}

/// What a host has for its servers.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Its cells, nothing of them taken.
    pub cells: &'a [NumaCell],
    /// Its devices.
    pub devices: &'a [PciDevice],
}

/// What others have taken of a host's parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Of its cells.
    pub cells: Vec<CellUse>,
    /// Its devices.
    pub devices: BTreeSet<PciAddress>,
}

/// What a guest has of a host before it is fitted there.
#[derive(Debug, Clone)]
pub enum Before<'a> {
    /// It comes there.
    Nothing,
    /// As its record has it.
    Place(&'a GuestPlace),
    /// No record, but these devices.
    Devices(BTreeSet<PciAddress>),
}

/// Why a host has no place for a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// None in its cells.
    #[error("its NUMA cells have no room")]
    Cells(#[source] Misfit),
    /// Too few devices.
    #[error("wants {wanted} of {alias}, {free} free")]
    Devices {
        /// The name that the flavor uses.
        alias: String,
        /// Asked for.
        wanted: u64,
        /// Free, and near enough.
        free: u64,
    },
}

/// Where a guest's processors, memory and devices are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestPlace {
    /// The host's processors that a guest without cells shares; nothing: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<CpuSet>,
    /// One for each of the guest's cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellPlace>,
    /// The host's devices that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<GivenDevices>,
}

/// Where one of a guest's cells is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellPlace {
    /// As it was asked for.
    pub guest: GuestCell,
    /// What it takes of which of the host's cells.
    pub taken: CellUse,
    /// Where each of its processors runs, in the order of their numbers.
    pub cpus: Vec<CpuSet>,
    /// The size of its pages in KiB, where they are not the host's ordinary ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub huge_page_kib: Option<u64>,
}

impl CellPlace {
    /// What a seat on one of the host's cells means for the guest's.
    fn of(guest: &GuestCell, seat: Seat, cells: &[NumaCell]) -> Self {
        let host = cells.iter().find(|cell| cell.id == seat.taken.cell);
        let shared = || CpuSet(host.map(|cell| cell.cpus.clone()).unwrap_or_default());
        let ordinary = host.and_then(NumaCell::smallest_page);
        Self {
            guest: guest.clone(),
            cpus: match guest.policy {
                CpuPolicy::Dedicated => (seat.pins.iter())
                    .map(|cpu| CpuSet(BTreeSet::from([*cpu])))
                    .collect(),
                CpuPolicy::Shared => guest.numbers.iter().map(|_| shared()).collect(),
            },
            huge_page_kib: seat.taken.page_kib.filter(|size| Some(*size) != ordinary),
            taken: seat.taken,
        }
    }

    /// The guest's processors in it.
    pub(super) fn guest_cpus(&self) -> CpuSet {
        CpuSet(self.guest.numbers.iter().copied().collect())
    }

    /// Its memory in KiB.
    pub(super) const fn memory_kib(&self) -> u64 {
        self.guest.memory_mib.saturating_mul(1024)
    }
}

impl GuestPlace {
    /// A place on a host beside what others have `taken`: the one that the guest has there, as far as that is what it
    /// asks for, and else the first that the host's cells and devices have, its own devices before others. As the
    /// planner's filters choose.
    ///
    /// What a guest has under a name is kept, whatever kinds the name means by now, as long as neither its cells nor
    /// its devices are to be others.
    ///
    /// # Errors
    /// Why there is none.
    pub fn fit(
        wishes: Wishes<'_>,
        host: Parts<'_>,
        taken: &Taken,
        before: Before<'_>,
    ) -> Result<Self, NoPlace> {
        let (before, own) = match before {
            Before::Nothing => (None, BTreeSet::new()),
            Before::Place(place) => (Some(place), place.pci_devices().collect()),
            Before::Devices(own) => (None, own),
        };
        let cells_stay = before.filter(|before| before.is_of(wishes.cells));
        if let Some(before) = cells_stay.filter(|before| before.has(wishes.devices)) {
            return Ok(before.clone());
        }
        if before.is_none() && wishes.cells.is_empty() {
            let found = host.devices.iter().filter(|device| own.contains(&device.address));
            let found: Vec<PciDevice> = found
                .filter(|device| !taken.devices.contains(&device.address))
                .copied()
                .collect();
            if let Some(devices) = given_again(wishes.devices, found) {
                return Ok(Self {
                    devices,
                    ..Self::default()
                });
            }
        }
        let free = pools(host.devices, &taken.devices);
        let is_own =
            |device: &&PciDevice| own.contains(&device.address) && !taken.devices.contains(&device.address);
        let owned = owned(&free, host.devices.iter().filter(is_own));
        let wanted: Vec<WantedDevices<'_>> = wishes.devices.iter().map(DeviceWish::wanted).collect();
        let too_few = |TooFewDevices { wish, free }| NoPlace::Devices {
            alias: wishes.devices[wish].alias.clone(),
            wanted: wishes.devices[wish].count,
            free,
        };
        let at_cells = |cells: &BTreeSet<u32>| {
            let near = (!cells.is_empty()).then_some(cells);
            choose(&free, &wanted, near, &owned)
        };
        let with_devices = |cells: Vec<CellPlace>| {
            let at = cells.iter().map(|cell| cell.taken.cell).collect();
            let chosen = at_cells(&at).map_err(too_few)?;
            let given = devices_of(host.devices, &taken.devices, &own, &free, &chosen);
            let given = wishes.devices.iter().zip(given);
            Ok(Self {
                cpuset: None,
                cells,
                devices: given
                    .map(|(wish, devices)| GivenDevices {
                        alias: wish.alias.clone(),
                        devices,
                    })
                    .collect(),
            })
        };
        if let Some(before) = cells_stay
            && let Ok(place) = with_devices(before.cells.clone())
        {
            return Ok(place);
        }
        // Where there are too few devices anywhere, the cells are not to blame.
        choose(&free, &wanted, None, &owned).map_err(too_few)?;
        let mut left = Cells::new(host.cells);
        let seats = taken.cells.iter().filter_map(|taken| left.seat_of(taken));
        let seats: Vec<Seat> = seats.collect();
        left.take(&seats);
        let rank = |cell: u32| {
            let near = i64::try_from(near(&free, cell)).unwrap_or(i64::MAX);
            if wanted.is_empty() { near } else { -near }
        };
        let beside = Beside {
            rank: &rank,
            accepts: &|cells| at_cells(cells).is_ok(),
        };
        let seats = left
            .fit(wishes.cells, wishes.limits, beside)
            .map_err(NoPlace::Cells)?;
        let cells = wishes.cells.iter().zip(seats);
        with_devices(
            cells
                .map(|(guest, seat)| CellPlace::of(guest, seat, host.cells))
                .collect(),
        )
    }

    /// Whether it has these devices, and no others.
    fn has(&self, wishes: &[DeviceWish]) -> bool {
        self.devices.len() == wishes.len()
            && (self.devices.iter().zip(wishes)).all(|(given, wish)| given.are(wish))
    }

    /// The host's devices that it has.
    pub fn pci_devices(&self) -> impl Iterator<Item = PciAddress> {
        let all = self.devices.iter().flat_map(|given| &given.devices);
        all.map(|device| device.address)
    }

    /// Whether this is a place of a guest that asks for these cells.
    #[must_use]
    pub fn is_of(&self, guest: &[GuestCell]) -> bool {
        self.cells.iter().map(|cell| &cell.guest).eq(guest)
    }

    /// What it takes of the host's cells.
    #[must_use]
    pub fn taken(&self) -> Vec<CellUse> {
        self.cells.iter().map(|cell| cell.taken.clone()).collect()
    }

    /// Whether the guest runs wherever the host puts it, with nothing of the host's own.
    #[must_use]
    pub const fn is_anywhere(&self) -> bool {
        self.cpuset.is_none() && self.cells.is_empty() && self.devices.is_empty()
    }

    /// Where each virtual processor runs, by its number.
    pub(super) fn pins(&self) -> BTreeMap<u32, &CpuSet> {
        let all = self.cells.iter();
        all.flat_map(|cell| cell.guest.numbers.iter().copied().zip(&cell.cpus))
            .collect()
    }

    /// Where the emulator's own threads run: on all of the guest's processors, as Nova has it.
    pub(super) fn emulator(&self) -> CpuSet {
        let all = self.cells.iter().flat_map(|cell| &cell.cpus);
        CpuSet(all.flat_map(|cpus| cpus.0.iter().copied()).collect())
    }

    /// The host's cells in which its memory is.
    pub(super) fn nodes(&self) -> CpuSet {
        CpuSet(self.cells.iter().map(|cell| cell.taken.cell).collect())
    }

    /// Sizes of pages that are not the ordinary ones, with the guest's cells that have them.
    pub(super) fn huge_pages(&self) -> BTreeMap<u64, CpuSet> {
        let mut pages: BTreeMap<u64, CpuSet> = BTreeMap::new();
        for (number, cell) in (0..).zip(&self.cells) {
            if let Some(size) = cell.huge_page_kib {
                pages.entry(size).or_default().0.insert(number);
            }
        }
        pages
    }
}

/// What any domain takes of the host's cells, as far as its XML binds it to them.
///
/// A processor counts as taken where one virtual processor may run on nothing else. Memory counts where it must be
/// in one cell.
///
/// # Errors
/// When the text is no domain's XML.
pub fn found_in_cells(xml: &str, cells: &[NumaCell]) -> Result<Vec<CellUse>, ReadError> {
    let document = parse(xml)?;
    let domain = root(&document, "domain")?;
    let mut bound = Bound {
        cells,
        threads: BTreeMap::new(),
        memory: BTreeMap::new(),
    };
    bound.processors(domain);
    bound.memory(domain);
    Ok(bound.taken())
}

struct Bound<'a> {
    cells: &'a [NumaCell],
    /// By cell: virtual processors that float in it, and processors that are taken.
    threads: BTreeMap<u32, (u64, BTreeSet<u32>)>,
    /// By cell and page size: MiB.
    memory: BTreeMap<(u32, Option<u64>), u64>,
}

fn set(node: Node<'_, '_>, attribute: &str) -> Option<CpuSet> {
    node.attribute(attribute)?.parse().ok()
}

/// In KiB, which is how libvirt writes it.
fn kib(node: Node<'_, '_>, text: &str) -> Option<u64> {
    match node.attribute("unit") {
        None | Some("KiB") => text.trim().parse().ok(),
        Some(_) => None,
    }
}

impl Bound<'_> {
    fn processors(&mut self, domain: Node<'_, '_>) {
        let vcpu = child(domain, "vcpu");
        let count = vcpu.and_then(|vcpu| text_of(vcpu).trim().parse().ok());
        let together = vcpu.and_then(|vcpu| set(vcpu, "cpuset"));
        let pins = child(domain, "cputune")
            .into_iter()
            .flat_map(|tune| children(tune, "vcpupin"));
        let pins: BTreeMap<u32, CpuSet> = pins
            .filter_map(|pin| Some((pin.attribute("vcpu")?.parse().ok()?, set(pin, "cpuset")?)))
            .collect();
        for number in 0..count.unwrap_or(1).min(MOST_VCPUS) {
            let own = pins.get(&number);
            let Some(CpuSet(cpus)) = own.or(together.as_ref()).filter(|cpus| !cpus.0.is_empty()) else {
                continue;
            };
            let mut holding = self.cells.iter().filter(|cell| {
                cpus.iter()
                    .all(|cpu| cell.cpus.contains(cpu) || cell.dedicated_cpus.contains(cpu))
            });
            let Some(cell) = holding.next() else {
                continue;
            };
            let (floating, taken) = self.threads.entry(cell.id).or_default();
            if cpus.len() == 1 {
                taken.extend(cpus);
            } else if own.is_some() {
                *floating += 1;
            }
        }
    }

    fn memory(&mut self, domain: Node<'_, '_>) {
        let Some(tune) = child(domain, "numatune") else {
            return;
        };
        let one = |node: Node<'_, '_>| {
            let strict = matches!(node.attribute("mode"), None | Some("strict" | "restrictive"));
            let CpuSet(nodes) = set(node, "nodeset").filter(|_| strict)?;
            (nodes.len() == 1).then(|| nodes.first().copied()).flatten()
        };
        let everywhere = child(tune, "memory").and_then(one);
        let nodes: BTreeMap<u32, Option<u32>> = children(tune, "memnode")
            .filter_map(|node| Some((node.attribute("cellid")?.parse().ok()?, one(node))))
            .collect();
        let numa = child(domain, "cpu").and_then(|cpu| child(cpu, "numa"));
        let mut guest: Vec<(u32, u64)> = numa
            .into_iter()
            .flat_map(|numa| children(numa, "cell"))
            .zip(0..)
            .filter_map(|(cell, position)| {
                let number = cell.attribute("id").and_then(|id| id.parse().ok());
                Some((number.unwrap_or(position), kib(cell, cell.attribute("memory")?)?))
            })
            .collect();
        if guest.is_empty() {
            let all = child(domain, "memory").and_then(|memory| kib(memory, &text_of(memory)));
            guest.extend(all.map(|all| (0, all)));
        }
        for (number, memory) in guest {
            let node = nodes.get(&number).copied().unwrap_or(everywhere);
            let Some(cell) = node.and_then(|node| self.cells.iter().find(|cell| cell.id == node)) else {
                continue;
            };
            let page = huge_page(domain, number, cell).or(cell.smallest_page());
            let sum = self.memory.entry((cell.id, page)).or_insert(0);
            *sum = sum.saturating_add(memory.div_ceil(1024));
        }
    }

    fn taken(mut self) -> Vec<CellUse> {
        let mut all: Vec<CellUse> = Vec::new();
        for ((cell, page_kib), memory_mib) in self.memory {
            // Processors are named once for each cell.
            let (vcpus, pinned) = self.threads.remove(&cell).unwrap_or_default();
            all.push(CellUse {
                cell,
                vcpus,
                pinned,
                memory_mib,
                page_kib,
            });
        }
        let rest = self.threads.into_iter();
        let rest = rest.filter(|(_, (vcpus, pinned))| *vcpus > 0 || !pinned.is_empty());
        all.extend(rest.map(|(cell, (vcpus, pinned))| {
            CellUse {
                cell,
                vcpus,
                pinned,
                page_kib: self
                    .cells
                    .iter()
                    .find(|host| host.id == cell)
                    .and_then(NumaCell::smallest_page),
                ..CellUse::default()
            }
        }));
        all
    }
}

/// The size of the pages set apart that a guest's cell is in; where the XML leaves it to libvirt, the host's next to
/// the ordinary ones.
fn huge_page(domain: Node<'_, '_>, number: u32, cell: &NumaCell) -> Option<u64> {
    let huge = child(child(domain, "memoryBacking")?, "hugepages")?;
    let mut pages = children(huge, "page").peekable();
    if pages.peek().is_none() {
        let mut sizes: Vec<u64> = cell.pages.iter().map(|pages| pages.size_kib).collect();
        sizes.sort_unstable();
        return sizes.get(1).copied();
    }
    pages
        .find(|page| set(*page, "nodeset").is_none_or(|CpuSet(cells)| cells.contains(&number)))
        .and_then(|page| kib(page, page.attribute("size")?))
}

#[cfg(test)]
mod tests;
