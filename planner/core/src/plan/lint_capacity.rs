//! That no order of a plan's actions promises a host more than it has.
//!
//! What is done at any moment is a set of actions that holds, with each, all that it waits for. What arrives on a
//! host takes room there at once, what leaves gives room back when it is done.

use super::action::{ActionKind, Keep};
use super::demand::asked_by;
use super::lint::LintFinding;
use super::lint_prefix::{Ancestors, Change, worst};
use super::types::Plan;
use super::world::{capacity, resources};
use crate::executor::ServerOrder;
use crate::model::{
    HostInventory, ObservedDomain, ObservedFleet, RecordedFleet, SchedulerSettings, ServerRecord, ServerSpec,
};
use crate::placement::{CpuPolicy, Filter, PciDevice, Resources};
use drover_types::{HostName, OperationId, PciAddress, PciKind, ServerId};
use std::collections::{BTreeMap, BTreeSet};

/// Devices, each of one of some kinds: how many of which kinds.
type Devices = BTreeMap<BTreeSet<PciKind>, u64>;

/// What is taken of a host, or is there.
#[derive(Debug, Clone, Default)]
struct Amounts {
    vcpus: u64,
    ram_mib: u64,
    disk_mib: u64,
    /// Processors that one server alone is pinned to.
    own_cpus: u64,
    devices: Devices,
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

fn add(sum: &mut Amounts, more: &Resources) {
    sum.vcpus = sum.vcpus.saturating_add(more.vcpus);
    sum.ram_mib = sum.ram_mib.saturating_add(more.ram_mib);
    sum.disk_mib = sum.disk_mib.saturating_add(more.disk_mib);
}

/// One resource of a host.
#[derive(Debug, Clone)]
enum Measure {
    Memory,
    Disk,
    Cpus,
    OwnCpus,
    /// Devices of these kinds.
    Devices(BTreeSet<PciKind>),
}

impl Measure {
    fn of(&self, amounts: &Amounts) -> u64 {
        match self {
            Self::Memory => amounts.ram_mib,
            Self::Disk => amounts.disk_mib,
            Self::Cpus => amounts.vcpus,
            Self::OwnCpus => amounts.own_cpus,
            // Who asks for one of some of these kinds takes one of these.
            Self::Devices(kinds) => {
                let within = amounts.devices.iter().filter(|(of, _)| of.is_subset(kinds));
                within.map(|(_, count)| count).sum()
            }
        }
    }

    /// For people.
    const fn name(&self) -> &'static str {
        match self {
            Self::Memory => "MiB of memory",
            Self::Disk => "MiB of disk",
            Self::Cpus => "processors",
            Self::OwnCpus => "processors to pin servers to",
            Self::Devices(_) => "PCI devices",
        }
    }

    /// Which filter asks for it.
    const fn filter(&self) -> Filter {
        match self {
            Self::Memory => Filter::Ram,
            Self::Disk => Filter::Disk,
            Self::Cpus => Filter::Core,
            Self::OwnCpus => Filter::NumaTopology,
            Self::Devices(_) => Filter::PciPassthrough,
        }
    }

    /// How often it may be promised.
    const fn ratio(&self, scheduler: &SchedulerSettings) -> f64 {
        match self {
            Self::Memory => scheduler.ram_allocation_ratio,
            Self::Disk => scheduler.disk_allocation_ratio,
            Self::Cpus => scheduler.cpu_allocation_ratio,
            Self::OwnCpus | Self::Devices(_) => 1.0,
        }
    }
}

fn counted<'a>(devices: impl Iterator<Item = &'a PciDevice>) -> Devices {
    let mut counts = Devices::new();
    for device in devices {
        *counts.entry([device.kind].into()).or_default() += 1;
    }
    counts
}

/// Devices that servers may have, and the domain has.
fn given<'a>(
    inventory: &'a HostInventory,
    domain: &'a ObservedDomain,
) -> impl Iterator<Item = &'a PciDevice> {
    let all = inventory.facts.pci_devices.iter();
    all.filter(|device| domain.pci_devices.contains(&device.address))
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

fn ordered(order: &ServerOrder) -> Amounts {
    let cells = order.numa.iter().flat_map(|numa| &numa.cells);
    let own = cells.filter(|cell| cell.policy == CpuPolicy::Dedicated);
    let mut devices = Devices::new();
    for asked in &order.devices {
        *devices.entry(asked.kinds.iter().copied().collect()).or_default() += asked.count;
    }
    Amounts {
        vcpus: u64::from(order.vcpus),
        ram_mib: order.ram_mib,
        disk_mib: order.disk_bytes.div_ceil(1 << 20),
        own_cpus: own.map(|cell| cell.vcpus).sum(),
        devices,
    }
}

/// The processors and devices that a server without a domain gets again with it. Of an imported one only its host
/// knows.
fn expected(record: &ServerRecord, scheduler: &SchedulerSettings) -> Option<(u64, Devices)> {
    if record.imported_from.is_some() {
        return None;
    }
    let asked = asked_by(&record.spec);
    let own = asked
        .cells
        .iter()
        .filter(|cell| cell.policy == CpuPolicy::Dedicated);
    let mut devices = Devices::new();
    for (alias, count) in &asked.devices {
        let kinds = scheduler.pci_aliases.get(alias.as_str()).into_iter().flatten();
        *devices.entry(kinds.copied().collect()).or_default() += count;
    }
    Some((own.map(|cell| cell.vcpus).sum(), devices))
}

/// What servers take before the plan begins, by host.
fn at_first(
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
    scheduler: &SchedulerSettings,
) -> BTreeMap<HostName, Amounts> {
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
        let all: BTreeSet<PciAddress> = domains.flat_map(|domain| &domain.pci_devices).copied().collect();
        let there = inventory.facts.pci_devices.iter();
        sum.devices = counted(there.filter(|device| all.contains(&device.address)));
        for domain in inventory.domains.values() {
            let taken = specs.get(&ServerId::from_uuid(domain.uuid)).map_or(
                Resources {
                    vcpus: u64::from(domain.vcpus),
                    ram_mib: domain.ram_mib,
                    disk_mib: domain.disk_mib,
                },
                |spec| resources(spec),
            );
            add(sum, &taken);
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
            add(sum, &resources(&record.spec));
            if let Some((own_cpus, devices)) = expected(record, scheduler) {
                sum.own_cpus += own_cpus;
                for (kinds, count) in devices {
                    *sum.devices.entry(kinds).or_default() += count;
                }
            }
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

/// What comes to a host.
struct Arrival {
    takes: Amounts,
    /// What the server has there already.
    has: Amounts,
    action: OperationId,
}

/// What the plan's actions add to hosts and take from them.
#[derive(Default)]
struct Changes<'a> {
    arrivals: BTreeMap<&'a HostName, Vec<Arrival>>,
    departures: BTreeMap<&'a HostName, Vec<(Amounts, OperationId)>>,
}

/// What is known of servers before the plan begins.
struct Known<'a> {
    records: BTreeMap<ServerId, &'a ServerRecord>,
    sizes: BTreeMap<ServerId, Amounts>,
    /// How many devices each has, given away by its host still or no longer.
    devices: BTreeMap<ServerId, u64>,
}

impl<'a> Known<'a> {
    fn new(recorded: &'a RecordedFleet, observed: &ObservedFleet, scheduler: &SchedulerSettings) -> Self {
        let records: BTreeMap<ServerId, &ServerRecord> = recorded
            .servers
            .values()
            .map(|record| (record.id, record))
            .collect();
        let sizes = records
            .iter()
            .map(|(id, record)| (*id, resources(&record.spec).into()));
        let mut sizes: BTreeMap<ServerId, Amounts> = sizes.collect();
        let mut devices = BTreeMap::new();
        // Wherever a domain is: it may be on another host than recorded.
        for inventory in observed
            .values()
            .filter_map(|observation| observation.inventory())
        {
            for domain in inventory.domains.values() {
                let server = ServerId::from_uuid(domain.uuid);
                if let Some(size) = sizes.get_mut(&server) {
                    devices.insert(server, domain.pci_devices.len() as u64);
                    size.own_cpus = pinned(inventory, domain).count() as u64;
                    size.devices = counted(given(inventory, domain));
                }
            }
        }
        for (server, record) in records.iter().filter(|(server, _)| !devices.contains_key(server)) {
            if let (Some(size), Some((own_cpus, expected))) =
                (sizes.get_mut(server), expected(record, scheduler))
            {
                size.own_cpus = own_cpus;
                size.devices = expected;
            }
        }
        Self {
            records,
            sizes,
            devices,
        }
    }

    fn size(&self, server: ServerId) -> Amounts {
        self.sizes.get(&server).cloned().unwrap_or_default()
    }

    /// Whether the server keeps its devices, whatever kinds their aliases mean by now: it asks for what it asked for.
    fn keeps_devices(&self, order: &ServerOrder) -> bool {
        let asked = order
            .devices
            .iter()
            .map(|devices| (devices.alias.as_str(), devices.count));
        let count: u64 = order.devices.iter().map(|devices| devices.count).sum();
        let has = self.devices.get(&order.id).copied().unwrap_or_default();
        let before = self.records.get(&order.id);
        let before = before.map_or_else(Vec::new, |record| asked_by(&record.spec).devices);
        has >= count && asked.eq(before.iter().map(|(alias, count)| (alias.as_str(), *count)))
    }
}

fn changes<'a>(plan: &'a Plan, known: &Known<'_>) -> Changes<'a> {
    let rebuilt = rebuilt(plan);
    let mut changes = Changes::default();
    let mut arrives = |host: &'a HostName, takes: Amounts, has: Amounts, action: OperationId| {
        let arrivals = changes.arrivals.entry(host).or_default();
        arrivals.push(Arrival { takes, has, action });
    };
    let mut departs = |host: &'a HostName, size: Amounts, action: OperationId| {
        changes.departures.entry(host).or_default().push((size, action));
    };
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
                    let again = rebuilt.get(&order.id) == Some(&&candidate.host);
                    let has = if again { known.size(order.id) } else { Amounts::default() };
                    arrives(&candidate.host, ordered(order), has, action.id);
                }
            }
            (ActionKind::Migrate { order, to, .. }, Some(from)) => {
                let leaves = brought.insert(order.id, ordered(order));
                let leaves = leaves.unwrap_or_else(|| known.size(order.id));
                arrives(to, ordered(order), Amounts::default(), action.id);
                departs(from, leaves, action.id);
            }
            (ActionKind::UpdateServer { order, .. }, Some(host)) => {
                let mut takes = ordered(order);
                if !takes.devices.is_empty() && known.keeps_devices(order) {
                    takes.devices.clear();
                }
                arrives(host, takes, known.size(order.id), action.id);
            }
            (
                ActionKind::DeleteServer {
                    server,
                    keep: Keep::Nothing,
                    ..
                },
                Some(host),
            ) => departs(host, known.size(*server), action.id),
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
    changes
}

/// The resources that some filter asks for, devices by the kinds that come to the host.
fn measures(scheduler: &SchedulerSettings, arrivals: &[Arrival]) -> Vec<Measure> {
    let kinds: BTreeSet<&BTreeSet<PciKind>> = arrivals
        .iter()
        .flat_map(|arrival| arrival.takes.devices.keys())
        .collect();
    let devices = kinds.into_iter().cloned().map(Measure::Devices);
    let all = [Measure::Memory, Measure::Disk, Measure::Cpus, Measure::OwnCpus];
    let asked = all.into_iter().chain(devices).filter(|measure| {
        let mut filters = scheduler.filters.iter();
        filters.any(|name| name == measure.filter().name())
    });
    asked.collect()
}

pub(super) fn check_capacity(
    plan: &Plan,
    recorded: &RecordedFleet,
    observed: &ObservedFleet,
    scheduler: &SchedulerSettings,
    findings: &mut Vec<LintFinding>,
) {
    let Changes { arrivals, departures } = changes(plan, &Known::new(recorded, observed, scheduler));
    if arrivals.is_empty() {
        return;
    }
    let used = at_first(recorded, observed, scheduler);
    let ancestors = Ancestors::of(plan);
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
            devices: counted(inventory.facts.pci_devices.iter()),
            ..capacity(inventory).into()
        };
        let base = used.get(*host).cloned().unwrap_or_default();
        for measure in measures(scheduler, arrivals) {
            let comes = arrivals.iter().map(|arrival| Change {
                amount: (measure.of(&arrival.takes)).saturating_sub(measure.of(&arrival.has)),
                action: arrival.action,
            });
            let goes = leaves.iter().map(|(size, action)| Change {
                amount: measure.of(size),
                action: *action,
            });
            let (comes, goes): (Vec<Change>, Vec<Change>) = (comes.collect(), goes.collect());
            let base = measure.of(&base);
            let most = measure.of(&limit) as f64 * measure.ratio(scheduler);
            // Half a unit for rounding: amounts are whole numbers.
            let allowed = most + 0.5;
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
                    what: measure.name(),
                    used: worst,
                    limit: most as u64,
                });
            }
        }
    }
}
