//! Questions about single hosts, for those who move servers about: what is left of one, what refuses one, and which
//! come next.

use super::choose::room_for_many;
use super::devices::{Demand, Devices, Taken};
use super::explain::Refusal;
use super::filters::{Depends, Filter};
use super::index::Room;
use super::input::{Name, Request};
use super::scheduler::{Scheduler, UnknownHost};
use super::state::{Fixed, HostIndex};
use std::sync::Arc;

/// What a host has promised, and may promise at its ratios: memory in MiB, disk in MiB, processors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promised {
    /// To all servers there, others' too.
    pub used: [f64; 3],
    /// What the machine has, times the ratios.
    pub limit: [f64; 3],
    /// Whether a filter keeps it to that.
    pub asked: [bool; 3],
}

/// What is left of a host: memory, disk, processors; without end where no filter asks for one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostRoom {
    /// What several servers together may still take; below zero where too much is promised.
    pub free: [f64; 3],
    /// The largest server that it may take at all.
    pub largest: [f64; 3],
}

/// What is left of one host's cells and devices, apart from its scheduler.
#[derive(Debug, Clone)]
pub(crate) struct HostDevices {
    devices: Devices,
    fixed: Arc<Fixed>,
    host: HostIndex,
}

impl HostDevices {
    /// Whether the filters that ask for them let a server have what it asks.
    pub(crate) fn fit(&self, server: &Name, demand: &Demand) -> bool {
        let terms = self.fixed.terms(self.host);
        let asked = |filter: Filter| self.fixed.filters.contains(&filter);
        let cells = demand.cells.is_empty()
            || !asked(Filter::NumaTopology)
            || self.devices.fit_cells(server, demand, &terms).is_ok();
        let devices = demand.devices.is_empty()
            || !asked(Filter::PciPassthrough)
            || self.devices.fit_devices(server, demand, &terms).is_ok();
        cells && devices
    }

    /// A server comes.
    pub(crate) fn take(&mut self, server: &Name, demand: Option<&Demand>) {
        self.devices.take(server, demand, &self.fixed.terms(self.host));
    }

    /// A server leaves.
    pub(crate) fn give_back(&mut self, server: &Name) {
        self.devices.give_back(server);
    }

    /// What a server took, if anything.
    pub(crate) fn taken(&self, server: &Name) -> Option<&Taken> {
        self.devices.taken(server)
    }
}

impl Scheduler {
    /// What is left of a host.
    ///
    /// # Errors
    /// There is no such host.
    pub fn room(&self, host: &Name) -> Result<HostRoom, UnknownHost> {
        let index = self.index(host)?;
        let ask = self.world.ask_usage(index);
        let asks = self.world.fixed.asks;
        let capacity = &ask.facts.host.capacity;
        let Room { ram, disk, vcpus } = room_for_many(&ask);
        let limit = |asked: bool, amount: u64| if asked { amount as f64 } else { f64::INFINITY };
        Ok(HostRoom {
            free: [ram, disk, vcpus],
            largest: [
                limit(asks.ram, capacity.ram_mib),
                limit(asks.disk, capacity.disk_mib),
                limit(asks.vcpus, capacity.vcpus),
            ],
        })
    }

    /// What is left of a host's cells and devices; nothing where no filter asks for them.
    ///
    /// # Errors
    /// There is no such host.
    pub(crate) fn host_devices(&self, host: &Name) -> Result<Option<HostDevices>, UnknownHost> {
        let host = self.index(host)?;
        let mut filters = self.world.fixed.filters.iter();
        let asked = filters.any(|filter| filter.row().depends == Depends::Devices);
        Ok(asked.then(|| HostDevices {
            devices: self.world.sides.devices(host).clone(),
            fixed: Arc::clone(&self.world.fixed),
            host,
        }))
    }

    /// What a host has promised, whether a filter asks for it or not.
    ///
    /// # Errors
    /// There is no such host.
    pub fn promised(&self, host: &Name) -> Result<Promised, UnknownHost> {
        let ask = self.world.ask_usage(self.index(host)?);
        let asks = self.world.fixed.asks;
        let (capacity, ratios) = (&ask.facts.host.capacity, ask.facts.limits);
        let limit = [
            capacity.ram_mib as f64 * ratios.ram.get(),
            capacity.disk_mib as f64 * ratios.disk.get(),
            capacity.vcpus as f64 * ratios.cpu.get(),
        ];
        let free = [
            ask.usable_ram_mib(ratios.ram),
            ask.usable_disk_mib(ratios.disk),
            ask.usable_vcpus(ratios.cpu),
        ];
        Ok(Promised {
            used: [limit[0] - free[0], limit[1] - free[1], limit[2] - free[2]],
            limit,
            asked: [asks.ram, asks.disk, asks.vcpus],
        })
    }

    /// How large these are together: of each the largest of the shares of a mean host that it takes.
    pub(crate) fn size_of<'r>(&self, requests: impl Iterator<Item = &'r Request>) -> f64 {
        let mean = self.world.mean();
        let mut sizes: Vec<f64> = requests
            .map(|request| mean.largest_share(&request.wants))
            .collect();
        // The order of adding must not make two equal sums differ.
        sizes.sort_by(f64::total_cmp);
        sizes.iter().sum()
    }

    /// Every filter that refuses a request on this one host.
    ///
    /// # Errors
    /// There is no such host.
    pub fn refusals(&self, host: &Name, request: &Request) -> Result<Vec<Refusal>, UnknownHost> {
        let ask = self.world.ask(self.index(host)?, request);
        let filters = self.world.fixed.filters.iter();
        Ok(filters
            .filter_map(|filter| {
                filter.check(&ask).err().map(|rejection| Refusal {
                    filter: *filter,
                    rejection,
                })
            })
            .collect())
    }

    /// The best hosts for a request but `not`, best first, at most `count`. Consumes nothing.
    ///
    /// # Errors
    /// There is no host `not`.
    pub fn ranked(&mut self, not: &Name, request: &Request, count: usize) -> Result<Vec<Name>, UnknownHost> {
        let not = self.index(not)?;
        let best = self.chooser.ranked(&self.world, request, not, count);
        Ok(best
            .into_iter()
            .map(|index| self.world.name(index).clone())
            .collect())
    }
}
