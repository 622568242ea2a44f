//! That no order of a plan's actions promises a host more than it has.
//!
//! What is done at any moment is a set of actions that holds, with each, all that it waits for. What arrives on a
//! host takes room there at once, what leaves gives room back when it is done.

use super::action::{ActionKind, Keep};
use super::lint::LintFinding;
use super::lint_prefix::{Ancestors, Change, worst};
use super::types::Plan;
use super::world::{capacity, resources};
use crate::executor::ServerOrder;
use crate::model::{
    HostInventory, ObservedDomain, ObservedFleet, RecordedFleet, SchedulerSettings, ServerSpec,
};
use crate::placement::{CpuPolicy, Filter, Resources};
use drover_types::{HostName, OperationId, PciAddress, ServerId};
use std::collections::{BTreeMap, BTreeSet};

/// What is taken of a host, or is there.
#[derive(Debug, Clone, Copy, Default)]
struct Amounts {
    vcpus: u64,
    ram_mib: u64,
    disk_mib: u64,
    /// Processors that one server alone is pinned to.
    own_cpus: u64,
    /// PCI devices of any kind.
    devices: u64,
}

impl From<Resources> for Amounts {
    fn from(of: Resources) -> Self {
        Self {
            vcpus: of.vcpus,
            ram_mib: of.ram_mib,
            disk_mib: of.disk_mib,
            ..Self::default()
        }
    }
}

fn add(sum: &mut Amounts, more: Amounts) {
    sum.vcpus = sum.vcpus.saturating_add(more.vcpus);
    sum.ram_mib = sum.ram_mib.saturating_add(more.ram_mib);
    sum.disk_mib = sum.disk_mib.saturating_add(more.disk_mib);
    sum.own_cpus = sum.own_cpus.saturating_add(more.own_cpus);
    sum.devices = sum.devices.saturating_add(more.devices);
}

/// Devices that servers may have, and the domain has.
fn given<'a>(
    inventory: &'a HostInventory,
    domain: &'a ObservedDomain,
) -> impl Iterator<Item = PciAddress> + 'a {
    let all = inventory.facts.pci_devices.iter();
    all.map(|device| device.address)
        .filter(|address| domain.pci_devices.contains(address))
}

/// Processors of the host that servers are pinned to, and the domain is.
fn pinned<'a>(inventory: &'a HostInventory, domain: &'a ObservedDomain) -> impl Iterator<Item = u32> + 'a {
    let to_pin = |cpu: &u32| {
        let mut cells = inventory.facts.cells.iter();
        cells.any(|cell| cell.dedicated_cpus.contains(cpu))
    };
    let taken = domain.cells.iter().flat_map(|taken| &taken.pinned);
    taken.copied().filter(to_pin)
}

fn beyond(after: Amounts, before: Amounts) -> Amounts {
    Amounts {
        vcpus: after.vcpus.saturating_sub(before.vcpus),
        ram_mib: after.ram_mib.saturating_sub(before.ram_mib),
        disk_mib: after.disk_mib.saturating_sub(before.disk_mib),
        own_cpus: after.own_cpus.saturating_sub(before.own_cpus),
        devices: after.devices.saturating_sub(before.devices),
    }
}

fn ordered(order: &ServerOrder) -> Amounts {
    let cells = order.numa.iter().flat_map(|numa| &numa.cells);
    let own = cells.filter(|cell| cell.policy == CpuPolicy::Dedicated);
    Amounts {
        vcpus: u64::from(order.vcpus),
        ram_mib: order.ram_mib,
        disk_mib: order.disk_bytes.div_ceil(1 << 20),
        own_cpus: own.map(|cell| cell.vcpus).sum(),
        devices: order.devices.iter().map(|devices| devices.count).sum(),
    }
}

/// What servers take before the plan begins, by host.
fn at_first(recorded: &RecordedFleet, observed: &ObservedFleet) -> BTreeMap<HostName, Amounts> {
    let specs: BTreeMap<ServerId, &ServerSpec> = recorded
        .servers
        .values()
        .map(|record| (record.id, &record.spec))
        .collect();
    let mut used: BTreeMap<HostName, Amounts> = BTreeMap::new();
    for (host, observation) in observed {
        let Some(inventory) = observation.inventory() else {
            continue;
        };
        let sum = used.entry(host.clone()).or_default();
        sum.disk_mib = inventory.facts.image_cache_mib;
        let domains = inventory.domains.values();
        // Two that are pinned to the same one take it once, and so for devices.
        let all: BTreeSet<u32> = (domains.clone())
            .flat_map(|domain| pinned(inventory, domain))
            .collect();
        sum.own_cpus = all.len() as u64;
        let all: BTreeSet<PciAddress> = domains.flat_map(|domain| given(inventory, domain)).collect();
        sum.devices = all.len() as u64;
        for domain in inventory.domains.values() {
            let taken = specs.get(&ServerId::from_uuid(domain.uuid)).map_or(
                Resources {
                    vcpus: u64::from(domain.vcpus),
                    ram_mib: domain.ram_mib,
                    disk_mib: domain.disk_mib,
                },
                |spec| resources(spec),
            );
            add(sum, taken.into());
        }
    }
    for record in recorded.servers.values() {
        let Some(host) = &record.host else {
            continue;
        };
        let seen = observed
            .get(host)
            .and_then(|observation| observation.inventory())
            .is_some_and(|inventory| inventory.domains.contains_key(&record.id.uuid()));
        if !seen && let Some(sum) = used.get_mut(host) {
            add(sum, resources(&record.spec).into());
        }
    }
    used
}

/// Servers that are deleted to be created again, with their host.
fn rebuilt(plan: &Plan) -> BTreeMap<ServerId, &HostName> {
    let deletions = plan.actions.iter().filter_map(|action| {
        if let ActionKind::DeleteServer {
            server,
            keep: Keep::Record,
            ..
        } = &action.kind
        {
            Some((*server, action.host.as_ref()?))
        } else {
            None
        }
    });
    deletions.collect()
}

/// What the plan's actions add to hosts and take from them.
struct Changes<'a> {
    arrivals: BTreeMap<&'a HostName, Vec<(Amounts, OperationId)>>,
    departures: BTreeMap<&'a HostName, Vec<(Amounts, OperationId)>>,
}

fn changes<'a>(plan: &'a Plan, sizes: &BTreeMap<ServerId, Amounts>) -> Changes<'a> {
    let rebuilt = rebuilt(plan);
    let mut arrivals: BTreeMap<&HostName, Vec<(Amounts, OperationId)>> = BTreeMap::new();
    let mut departures: BTreeMap<&HostName, Vec<(Amounts, OperationId)>> = BTreeMap::new();
    let size = |server: &ServerId| sizes.get(server).copied().unwrap_or_default();
    // A server that moves twice leaves the second host with what it brought.
    let mut brought: BTreeMap<ServerId, Amounts> = BTreeMap::new();
    for action in &plan.actions {
        match (&action.kind, &action.host) {
            (
                ActionKind::CreateServer {
                    order, candidates, ..
                },
                _,
            ) => {
                for candidate in candidates {
                    let mut more = ordered(order);
                    if rebuilt.get(&order.id) == Some(&&candidate.host) {
                        more = beyond(more, size(&order.id));
                    }
                    arrivals
                        .entry(&candidate.host)
                        .or_default()
                        .push((more, action.id));
                }
            }
            (ActionKind::Migrate { order, to, .. }, Some(from)) => {
                let leaves = brought.insert(order.id, ordered(order));
                let leaves = leaves.unwrap_or_else(|| size(&order.id));
                arrivals.entry(to).or_default().push((ordered(order), action.id));
                departures.entry(from).or_default().push((leaves, action.id));
            }
            (ActionKind::UpdateServer { order, .. }, Some(host)) => {
                let more = beyond(ordered(order), size(&order.id));
                arrivals.entry(host).or_default().push((more, action.id));
            }
            (
                ActionKind::DeleteServer {
                    server,
                    keep: Keep::Nothing,
                    ..
                },
                Some(host),
            ) => departures
                .entry(host)
                .or_default()
                .push((size(server), action.id)),
            (
                ActionKind::Migrate { .. }
                | ActionKind::UpdateServer { .. }
                | ActionKind::DeleteServer { .. }
                | ActionKind::Settle { .. }
                | ActionKind::EnsureImage { .. }
                | ActionKind::DeleteImage { .. }
                | ActionKind::SetPower { .. }
                // It took its room as a domain that was nobody's.
                | ActionKind::Import { .. }
                | ActionKind::Adopt { .. }
                | ActionKind::TakeOver { .. }
                | ActionKind::RecordServer { .. }
                | ActionKind::ForgetServer { .. }
                | ActionKind::Move { .. }
                | ActionKind::Record(_),
                _,
            ) => {}
        }
    }
    Changes { arrivals, departures }
}

/// One resource: its name for people, the filter that asks for it, its ratio, and how much of it is meant.
type Row = (&'static str, &'static str, f64, fn(Amounts) -> u64);

pub(super) fn check_capacity(
    plan: &Plan,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
    scheduler: &SchedulerSettings,
    findings: &mut Vec<LintFinding>,
) {
    let sizes: BTreeMap<ServerId, Amounts> = recorded
        .servers
        .values()
        .map(|record| {
            let host = record.host.as_ref().and_then(|host| observed.get(host));
            let inventory = host.and_then(|observation| observation.inventory());
            let domain = inventory.and_then(|inventory| {
                let domain = inventory.domains.get(&record.id.uuid())?;
                let cpus = pinned(inventory, domain).count() as u64;
                Some((cpus, given(inventory, domain).count() as u64))
            });
            let (own_cpus, devices) = domain.unwrap_or_default();
            let size = Amounts {
                own_cpus,
                devices,
                ..resources(&record.spec).into()
            };
            (record.id, size)
        })
        .collect();
    let Changes { arrivals, departures } = changes(plan, &sizes);
    if arrivals.is_empty() {
        return;
    }
    let used = at_first(recorded, observed);
    let ancestors = Ancestors::of(plan);
    let rows: [Row; 5] = [
        (
            "MiB of memory",
            "RamFilter",
            scheduler.ram_allocation_ratio,
            |of| of.ram_mib,
        ),
        (
            "MiB of disk",
            "DiskFilter",
            scheduler.disk_allocation_ratio,
            |of| of.disk_mib,
        ),
        ("processors", "CoreFilter", scheduler.cpu_allocation_ratio, |of| {
            of.vcpus
        }),
        (
            "processors to pin servers to",
            Filter::NumaTopology.name(),
            1.0,
            |of| of.own_cpus,
        ),
        ("PCI devices", Filter::PciPassthrough.name(), 1.0, |of| of.devices),
    ];
    let asks = |filter: &str| scheduler.filters.iter().any(|name| name == filter);
    for (host, arrivals) in &arrivals {
        let Some(inventory) = observed
            .get(*host)
            .and_then(|observation| observation.inventory())
        else {
            continue;
        };
        let leaves = departures.get(host).map_or(&[][..], Vec::as_slice);
        let to_pin = inventory
            .facts
            .cells
            .iter()
            .map(|cell| cell.dedicated_cpus.len() as u64);
        let limit = Amounts {
            own_cpus: to_pin.sum(),
            devices: inventory.facts.pci_devices.len() as u64,
            ..capacity(inventory).into()
        };
        let base = used.get(*host).copied().unwrap_or_default();
        for (what, _, ratio, of) in rows.into_iter().filter(|(_, filter, ..)| asks(filter)) {
            let change = |(size, action): &(Amounts, OperationId)| Change {
                amount: of(*size),
                action: *action,
            };
            let comes: Vec<Change> = arrivals.iter().map(change).collect();
            let goes: Vec<Change> = leaves.iter().map(change).collect();
            let base = of(base);
            // Half a unit for rounding: amounts are whole numbers.
            let allowed = of(limit) as f64 * ratio + 0.5;
            let all: u64 = comes
                .iter()
                .map(|change| change.amount)
                .fold(base, u64::saturating_add);
            if all as f64 <= allowed {
                continue;
            }
            // What is overfull from the start is nobody's fault here, unless something is added.
            let worst = worst(base, &comes, &goes, &ancestors);
            if worst > base && worst as f64 > allowed {
                findings.push(LintFinding::OverCapacity {
                    host: (*host).clone(),
                    what,
                    used: worst,
                    limit: (of(limit) as f64 * ratio) as u64,
                });
            }
        }
    }
}
