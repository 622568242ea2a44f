//! What changes while servers are placed: free resources per host and members per group.

use super::aggregates::{self, AggregateNumbers};
use super::config::SchedulerConfig;
use super::devices::Terms;
use super::filters::{Depends, Filter};
use super::input::{Aggregate, Group, Host, Name, Policy, Ratio, Ratios, Request, Resources};
use super::members::Members;
use super::sides::{Noted, Sides};
use super::weighers::Weigher;
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A host's position in the order given.
pub(crate) type HostIndex = usize;

/// A group's position in the order given.
pub(crate) type GroupIndex = usize;

/// What no placement changes about a host.
#[derive(Debug, Clone)]
pub(crate) struct HostFacts {
    pub(crate) host: Host,
    /// Metadata of all its aggregates, its zone's included: key to values, split at commas and trimmed.
    pub(crate) metadata: BTreeMap<String, BTreeSet<String>>,
    /// The zones it is in; none but the default one where it is empty.
    pub(crate) zones: BTreeSet<String>,
    /// What they set for this host in numbers.
    pub(crate) aggregate: AggregateNumbers,
    /// The least of the ratios that the configured filters compare with.
    pub(crate) limits: Ratios,
}

/// What is left of a host, and what is going on there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Usage {
    /// Below zero when overcommitted.
    pub(crate) free_ram_mib: i64,
    /// Below zero when overcommitted.
    pub(crate) free_disk_mib: i64,
    pub(crate) vcpus_used: u64,
    pub(crate) instances: u64,
    pub(crate) io_ops: u64,
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

impl Usage {
    fn new(host: &Host) -> Self {
        Self {
            free_ram_mib: signed(host.capacity.ram_mib).saturating_sub(signed(host.used.ram_mib)),
            free_disk_mib: signed(host.capacity.disk_mib).saturating_sub(signed(host.used.disk_mib)),
            vcpus_used: host.used.vcpus,
            instances: host.instances,
            io_ops: host.io_ops,
        }
    }

    /// As Nova's `HostState.consume_from_request`: I/O operations never fall again.
    fn consume(&mut self, wants: &Resources) {
        self.free_ram_mib = self.free_ram_mib.saturating_sub(signed(wants.ram_mib));
        self.free_disk_mib = self.free_disk_mib.saturating_sub(signed(wants.disk_mib));
        self.vcpus_used = self.vcpus_used.saturating_add(wants.vcpus);
        self.instances = self.instances.saturating_add(1);
        self.io_ops = self.io_ops.saturating_add(1);
    }

    /// As [`Self::consume`] so many times over.
    pub(crate) fn consume_many(&mut self, wants: &Resources, count: u64) {
        self.consume(&Resources {
            vcpus: wants.vcpus.saturating_mul(count),
            ram_mib: wants.ram_mib.saturating_mul(count),
            disk_mib: wants.disk_mib.saturating_mul(count),
        });
        // One of them is counted already, and none where there are none.
        self.instances = self.instances.saturating_add(count).saturating_sub(1);
        self.io_ops = self.io_ops.saturating_add(count).saturating_sub(1);
    }

    /// The opposite of [`Self::consume`].
    fn release(&mut self, wants: &Resources) {
        self.free_ram_mib = self.free_ram_mib.saturating_add(signed(wants.ram_mib));
        self.free_disk_mib = self.free_disk_mib.saturating_add(signed(wants.disk_mib));
        self.vcpus_used = self.vcpus_used.saturating_sub(wants.vcpus);
        self.instances = self.instances.saturating_sub(1);
        self.io_ops = self.io_ops.saturating_sub(1);
    }
}

/// Which resources some filter compares with what is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks {
    pub(crate) ram: bool,
    pub(crate) disk: bool,
    pub(crate) vcpus: bool,
    /// Whether a filter looks at what else placements change.
    pub(crate) usage: bool,
}

/// What no placement changes: settings, facts, who is in which zone.
#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) config: SchedulerConfig,
    /// The filters that are really asked, in order.
    pub(crate) filters: Vec<Filter>,
    /// The weighers that count for any host, in order, with the configured multiplier.
    pub(crate) weighers: Vec<(Weigher, f64)>,
    pub(crate) asks: Asks,
    pub(crate) hosts: IndexMap<Name, HostFacts>,
    pub(crate) groups: IndexMap<Name, Group>,
    /// Zones that at least one aggregate carries.
    pub(crate) zones: BTreeSet<String>,
    /// Per weigher: whether an aggregate sets another multiplier for some host.
    differs: [bool; Weigher::COUNT],
}

fn noted(request: &Request) -> Noted<'_> {
    Noted {
        name: &request.name,
        image: &request.needs.image,
        demand: request.demand.as_deref(),
    }
}

impl Fixed {
    /// What a host's cells and devices are asked for beside the demand.
    pub(super) fn terms(&self, host: HostIndex) -> Terms<'_> {
        Terms::of(&self.config, self.hosts[host].host.ratios)
    }

    /// Whether the weigher's multiplier is not the same for all hosts.
    pub(crate) fn differs(&self, weigher: Weigher) -> bool {
        self.differs[weigher as usize]
    }
}

/// Everything a filter or weigher may look at.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) fixed: Arc<Fixed>,
    usage: Vec<Usage>,
    members: Vec<Members>,
    pub(super) sides: Sides,
}

impl World {
    pub(crate) fn new(
        config: SchedulerConfig,
        hosts: Vec<Host>,
        aggregates: &[Aggregate],
        groups: Vec<Group>,
    ) -> Self {
        let filters = config.effective_filters();
        let asked = |filter| filters.contains(&filter);
        let either = |plain, aggregate| asked(Filter::Placement) || asked(plain) || asked(aggregate);
        let asks = Asks {
            ram: either(Filter::Ram, Filter::AggregateRam),
            disk: either(Filter::Disk, Filter::AggregateDisk),
            vcpus: either(Filter::Core, Filter::AggregateCore),
            usage: filters
                .iter()
                .any(|filter| filter.row().depends == Depends::Usage),
        };
        let by_host = aggregates::by_host(&config, &hosts, aggregates);
        let sides = Sides::new(&filters, &hosts, |weigher| by_host.weighs(weigher));
        let usage = hosts.iter().map(Usage::new).collect();
        let hosts: IndexMap<Name, HostFacts> = hosts
            .into_iter()
            .zip(by_host.hosts)
            .map(|(host, of_host)| {
                let limit = |plain, own: Ratio, of_aggregate, set: Ratio| {
                    let own_counts = asked(Filter::Placement) || asked(plain) || !asked(of_aggregate);
                    match (own_counts, asked(of_aggregate)) {
                        (true, true) if set < own => set,
                        (true, true | false) => own,
                        (false, _) => set,
                    }
                };
                let (own, set) = (host.ratios, of_host.numbers.ratios);
                let limits = Ratios {
                    cpu: limit(Filter::Core, own.cpu, Filter::AggregateCore, set.cpu),
                    ram: limit(Filter::Ram, own.ram, Filter::AggregateRam, set.ram),
                    disk: limit(Filter::Disk, own.disk, Filter::AggregateDisk, set.disk),
                };
                let facts = HostFacts {
                    metadata: of_host.metadata,
                    zones: of_host.zones,
                    aggregate: of_host.numbers,
                    limits,
                    host,
                };
                (facts.host.name.clone(), facts)
            })
            .collect();
        let groups: IndexMap<Name, Group> = groups
            .into_iter()
            .map(|group| (group.name.clone(), group))
            .collect();
        let mut world = Self {
            usage,
            members: vec![Members::default(); groups.len()],
            sides,
            fixed: Arc::new(Fixed {
                config,
                filters,
                weighers: by_host.weighers,
                asks,
                hosts,
                groups,
                zones: by_host.zones,
                differs: by_host.differs,
            }),
        };
        world.seat_residents();
        world
    }

    /// Servers that are there already count as members of their groups and for what others name.
    fn seat_residents(&mut self) {
        let fixed = Arc::clone(&self.fixed);
        for (index, facts) in fixed.hosts.values().enumerate() {
            for resident in &facts.host.residents {
                let group = resident.group.as_ref();
                if let Some(group) = group.and_then(|group| fixed.groups.get_index_of(group)) {
                    self.members[group].add(index);
                }
                let noted = Noted {
                    name: &resident.name,
                    image: &resident.image,
                    demand: None,
                };
                self.sides.add(index, noted, &fixed.terms(index));
            }
        }
    }

    /// How many hosts there are.
    pub(crate) fn len(&self) -> usize {
        self.usage.len()
    }

    pub(crate) fn group_of(&self, request: &Request) -> Option<GroupIndex> {
        request
            .group
            .as_ref()
            .and_then(|name| self.fixed.groups.get_index_of(name))
    }

    pub(crate) fn name(&self, host: HostIndex) -> &Name {
        &self.fixed.hosts[host].host.name
    }

    pub(crate) fn consume(&mut self, host: HostIndex, request: &Request, group: Option<GroupIndex>) {
        self.usage[host].consume(&request.wants);
        if let Some(group) = group {
            self.members[group].add(host);
        }
        self.sides.add(host, noted(request), &self.fixed.terms(host));
    }

    pub(crate) fn release(&mut self, host: HostIndex, request: &Request, group: Option<GroupIndex>) {
        self.usage[host].release(&request.wants);
        if let Some(group) = group {
            self.members[group].remove(host);
        }
        self.sides.remove(host, noted(request));
    }

    /// The server keeps its room on the host, and is no member of its group and nobody's company there any more.
    pub(crate) fn leave(&mut self, host: HostIndex, request: &Request, group: Option<GroupIndex>) {
        if let Some(group) = group {
            self.members[group].remove(host);
        }
        self.sides.leave(host, &request.name);
    }

    pub(crate) fn usage_of(&self, host: HostIndex) -> Usage {
        self.usage[host]
    }

    /// Whether a member of any group is on the host.
    pub(crate) fn holds_members(&self, host: HostIndex) -> bool {
        self.members.iter().any(|members| members.on(host) > 0)
    }

    /// What would be left of the host's scarcest resource with this much more taken, as a share of its limit.
    pub(crate) fn slack_after(&self, host: HostIndex, wants: &Resources) -> f64 {
        let ask = self.ask_usage(host);
        let share = |usable: f64, wanted: u64, total: u64, ratio: f64| {
            (usable - wanted as f64) / (total as f64 * ratio).max(1.0)
        };
        let (capacity, limits) = (&ask.facts.host.capacity, ask.facts.limits);
        share(
            ask.usable_ram_mib(limits.ram),
            wants.ram_mib,
            capacity.ram_mib,
            limits.ram.get(),
        ) + share(
            ask.usable_disk_mib(limits.disk),
            wants.disk_mib,
            capacity.disk_mib,
            limits.disk.get(),
        ) + share(
            ask.usable_vcpus(limits.cpu),
            wants.vcpus,
            capacity.vcpus,
            limits.cpu.get(),
        )
    }

    /// What all hosts have, at their ratios, divided by their number.
    pub(crate) fn mean(&self) -> Mean {
        let count = (self.len() as f64).max(1.0);
        let sum = |limit: fn(&HostFacts) -> f64| self.fixed.hosts.values().map(limit).sum::<f64>() / count;
        Mean {
            vcpus: sum(|facts| facts.host.capacity.vcpus as f64 * facts.limits.cpu.get()),
            ram_mib: sum(|facts| facts.host.capacity.ram_mib as f64 * facts.limits.ram.get()),
            disk_mib: sum(|facts| facts.host.capacity.disk_mib as f64 * facts.limits.disk.get()),
        }
    }

    /// The host's side of a question in which the request plays no part.
    pub(crate) fn ask_usage(&self, index: HostIndex) -> HostAsk<'_> {
        HostAsk {
            facts: &self.fixed.hosts[index],
            usage: &self.usage[index],
            fixed: &self.fixed,
        }
    }

    /// How many more members the group's policy allows on all hosts together.
    pub(crate) fn places_in(&self, group: GroupIndex) -> u64 {
        let view = self.group_view(group);
        let asked = self.fixed.filters.contains(&Filter::GroupAntiAffinity);
        if !(asked && view.is(Policy::AntiAffinity)) {
            return u64::MAX;
        }
        let limit = view.group.max_per_host;
        let full: u64 = view
            .members
            .hosts()
            .map(|host| view.members.on(host).min(limit))
            .sum();
        (self.len() as u64).saturating_mul(limit).saturating_sub(full)
    }

    pub(crate) fn group_view(&self, group: GroupIndex) -> GroupView<'_> {
        GroupView {
            group: &self.fixed.groups[group],
            members: &self.members[group],
        }
    }

    /// The question filters and weighers answer about one host.
    pub(crate) fn ask<'a>(&'a self, index: HostIndex, request: &'a Request) -> Ask<'a> {
        self.ask_member(index, request, self.group_of(request))
    }

    /// The same where the group's position is known already.
    pub(crate) fn ask_member<'a>(
        &'a self,
        index: HostIndex,
        request: &'a Request,
        group: Option<GroupIndex>,
    ) -> Ask<'a> {
        Ask {
            index,
            facts: &self.fixed.hosts[index],
            usage: &self.usage[index],
            request,
            group: group.map(|group| self.group_view(group)),
            sides: &self.sides,
            fixed: &self.fixed,
        }
    }
}

/// A group and where its members are now.
#[derive(Clone, Copy)]
pub(crate) struct GroupView<'a> {
    pub(crate) group: &'a Group,
    pub(crate) members: &'a Members,
}

impl GroupView<'_> {
    pub(crate) fn is(&self, policy: Policy) -> bool {
        self.group.policy == policy
    }
}

/// One host and one request, put to a filter or a weigher.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) index: HostIndex,
    pub(crate) facts: &'a HostFacts,
    pub(crate) usage: &'a Usage,
    pub(crate) request: &'a Request,
    pub(crate) group: Option<GroupView<'a>>,
    pub(crate) sides: &'a Sides,
    pub(crate) fixed: &'a Fixed,
}

impl<'a> Ask<'a> {
    /// What the host's cells and devices are asked for beside the demand.
    pub(crate) fn terms(&self) -> Terms<'a> {
        self.fixed.terms(self.index)
    }

    pub(crate) fn of_host(&self) -> HostAsk<'a> {
        HostAsk {
            facts: self.facts,
            usage: self.usage,
            fixed: self.fixed,
        }
    }
}

/// One host, without a request.
#[derive(Clone, Copy)]
pub(crate) struct HostAsk<'a> {
    pub(crate) facts: &'a HostFacts,
    pub(crate) usage: &'a Usage,
    pub(crate) fixed: &'a Fixed,
}

impl HostAsk<'_> {
    /// Memory that may still be promised at this ratio, in Nova's order of operations.
    pub(crate) fn usable_ram_mib(&self, ratio: Ratio) -> f64 {
        let total = self.facts.host.capacity.ram_mib;
        usable(total, ratio.get(), self.usage.free_ram_mib)
    }

    /// Disk that may still be promised at this ratio, in MiB.
    pub(crate) fn usable_disk_mib(&self, ratio: Ratio) -> f64 {
        let total = self.facts.host.capacity.disk_mib;
        usable(total, ratio.get(), self.usage.free_disk_mib)
    }

    /// vCPUs that may still be promised at this ratio.
    pub(crate) fn usable_vcpus(&self, ratio: Ratio) -> f64 {
        self.facts.host.capacity.vcpus as f64 * ratio.get() - self.usage.vcpus_used as f64
    }
}

/// What a host has on average, at its ratios.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mean {
    vcpus: f64,
    ram_mib: f64,
    disk_mib: f64,
}

impl Mean {
    /// The largest of the shares of a mean host that this takes.
    pub(crate) fn largest_share(&self, wants: &Resources) -> f64 {
        let share = |wanted: u64, mean: f64| wanted as f64 / mean.max(1.0);
        share(wants.ram_mib, self.ram_mib)
            .max(share(wants.disk_mib, self.disk_mib))
            .max(share(wants.vcpus, self.vcpus))
    }
}

/// `total * ratio - used`, each step rounded as Python rounds it.
fn usable(total: u64, ratio: f64, free: i64) -> f64 {
    let used = signed(total).saturating_sub(free);
    total as f64 * ratio - used as f64
}
