//! Questions about single hosts, for those who move servers about: what is left of one, what refuses one, and which
//! come next.

use super::choose::room_for_many;
use super::explain::Refusal;
use super::index::Room;
use super::input::{Name, Request};
use super::scheduler::{Scheduler, UnknownHost};

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

/// What is left of a host: memory, disk, processors, and processors to pin servers to; without end where no filter
/// asks for one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostRoom {
    /// What several servers together may still take; below zero where too much is promised.
    pub free: [f64; 4],
    /// The largest server that it may take at all.
    pub largest: [f64; 4],
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
            free: [ram, disk, vcpus, self.world.free_dedicated(index)],
            largest: [
                limit(asks.ram, capacity.ram_mib),
                limit(asks.disk, capacity.disk_mib),
                limit(asks.vcpus, capacity.vcpus),
                f64::INFINITY,
            ],
        })
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
