//! The fast path to the host that `explain` would name.
//!
//! What facts decide is worked out once per distinct request (`eligibility`); what placements change is kept as room
//! per host in a tree (`index`) where one weigher decides, alone or beside a soft policy (`blend`), and read in one
//! pass over the eligible hosts otherwise.

mod blend;

use super::config::Profile;
use super::eligibility::{Eligibility, Eligible, TraitsId};
use super::filters::{Depends, Filter};
use super::index::{Extreme, Index, Node, Room};
use super::input::{Policy, Request};
use super::members::Members;
use super::state::{Ask, GroupIndex, HostAsk, HostIndex, World};
use super::weighers::{Of, Scale, Span, Weigher};

/// Trees kept at once: the memory they take is bounded, and a rebuild is no dearer than asking every host.
const MAX_TREES: usize = 64;

/// Multipliers this near to one keep distinct totals distinct, so that one weigher's raw values alone decide.
const EXACT: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// What is kept between decisions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chooser {
    pub(crate) eligibility: Eligibility,
    trees: Vec<Tree>,
    /// Hosts that changed, oldest first; trees catch up when they are used.
    changes: Vec<HostIndex>,
    uses: u64,
    survivors: Vec<HostIndex>,
    totals: Vec<f64>,
    raws: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Tree {
    traits: TraitsId,
    index: Index,
    /// Host to leaf; `u32::MAX` for one that is not eligible.
    leaves: Vec<u32>,
    used: u64,
}

impl Chooser {
    /// Must be told of every change of a host's usage.
    pub(crate) fn changed(&mut self, host: HostIndex) {
        if !self.trees.is_empty() {
            self.changes.push(host);
        }
    }

    /// Must be told when usage was set back as a whole.
    pub(crate) fn reset(&mut self) {
        self.trees.clear();
        self.changes.clear();
    }

    /// The host that `explain` would choose.
    pub(crate) fn choose(&mut self, world: &World, request: &Request) -> Option<HostIndex> {
        let traits = self.eligibility.id(world, request);
        let group = world.group_of(request);
        match self.by_tree(world, group, traits) {
            Some(deciding) => self.first_by_tree(world, request, group, traits, deciding, &[]),
            None => self.by_blend(world, request, group, traits).unwrap_or_else(|| {
                self.survive(world, request, group, traits);
                self.weigh(world, request, group)
            }),
        }
    }

    /// The weigher that orders the tree, where a tree can answer.
    fn by_tree(&self, world: &World, group: Option<GroupIndex>, traits: TraitsId) -> Option<(Weigher, f64)> {
        let deciding = deciding_weigher(world, group)?;
        let reads_usage = self.eligibility.get(traits).reads_usage;
        (!reads_usage && bound_to(world, group).is_none()).then_some(deciding)
    }

    /// Up to `count` hosts, best first, other than `not`.
    pub(crate) fn ranked(
        &mut self,
        world: &World,
        request: &Request,
        not: HostIndex,
        count: usize,
    ) -> Vec<HostIndex> {
        let traits = self.eligibility.id(world, request);
        let group = world.group_of(request);
        if let Some(deciding) = self.by_tree(world, group, traits) {
            let mut not = vec![not];
            for _ in 0..count {
                match self.first_by_tree(world, request, group, traits, deciding, &not) {
                    Some(next) => not.push(next),
                    None => break,
                }
            }
            not.remove(0);
            return not;
        }
        self.survive(world, request, group, traits);
        self.weigh(world, request, group);
        let mut order: Vec<usize> = (0..self.survivors.len())
            .filter(|at| self.survivors[*at] != not)
            .collect();
        order.sort_by(|a, b| self.totals[*b].total_cmp(&self.totals[*a]));
        order
            .into_iter()
            .take(count)
            .map(|at| self.survivors[at])
            .collect()
    }

    fn first_by_tree(
        &mut self,
        world: &World,
        request: &Request,
        group: Option<GroupIndex>,
        traits: TraitsId,
        deciding: (Weigher, f64),
        not: &[HostIndex],
    ) -> Option<HostIndex> {
        let position = self.tree(world, request, traits, deciding);
        let tree = &self.trees[position];
        let eligible = self.eligibility.get(traits);
        let wants = wanted(world, request);
        let leaf = tree.index.first(Extreme::Best, &wants, |leaf| {
            let host = eligible.hosts[leaf];
            !not.contains(&host)
                && (is_unchanging(world, request)
                    || changing_pass(world, &world.ask_member(host, request, group)))
        });
        leaf.map(|leaf| eligible.hosts[leaf])
    }

    /// The tree for these traits, up to date.
    fn tree(
        &mut self,
        world: &World,
        request: &Request,
        traits: TraitsId,
        deciding: (Weigher, f64),
    ) -> usize {
        let Self {
            eligibility,
            trees,
            changes,
            uses,
            ..
        } = self;
        *uses += 1;
        let eligible = eligibility.get(traits);
        let node = |host: HostIndex| node(&world.ask_member(host, request, None), deciding);
        let position = match trees.iter().position(|tree| tree.traits == traits) {
            Some(position) => position,
            None => {
                if trees.len() >= MAX_TREES {
                    let oldest = trees.iter().enumerate().min_by_key(|(_, tree)| tree.used);
                    let oldest = oldest.map_or(0, |(position, _)| position);
                    trees.swap_remove(oldest);
                }
                trees.push(Tree::new(traits, eligible, world.len(), node, changes.len()));
                trees.len() - 1
            }
        };
        let tree = &mut trees[position];
        tree.used = *uses;
        tree.catch_up(eligible, changes, node);
        if trees.len() == 1 {
            // Nobody else needs the log.
            changes.clear();
            trees[0].index.seen = 0;
        }
        position
    }

    /// Hosts that pass every filter, into `survivors`.
    fn survive(&mut self, world: &World, request: &Request, group: Option<GroupIndex>, traits: TraitsId) {
        let eligible = self.eligibility.get(traits);
        let wants = wanted(world, request);
        self.survivors.clear();
        let passes = |host: &HostIndex| {
            let ask = world.ask_member(*host, request, group);
            room(&ask.of_host()).holds(&wants)
                && (is_unchanging(world, request) || changing_pass(world, &ask))
                && (!eligible.reads_usage || specs_pass(world, &ask))
        };
        match bound_to(world, group) {
            Some(members) => {
                let eligible = |host: &HostIndex| eligible.hosts.binary_search(host).is_ok();
                self.survivors
                    .extend(members.hosts().filter(eligible).filter(passes));
            }
            None => self
                .survivors
                .extend(eligible.hosts.iter().copied().filter(passes)),
        }
    }

    /// The first of the best `survivors`, as `explain` weighs them; `totals` belong to them in order.
    fn weigh(&mut self, world: &World, request: &Request, group: Option<GroupIndex>) -> Option<HostIndex> {
        let Self {
            survivors,
            totals,
            raws,
            ..
        } = self;
        totals.clear();
        totals.resize(survivors.len(), 0.0);
        if survivors.len() > 1 {
            for (weigher, multiplier) in active(world, group) {
                raws.clear();
                raws.extend(
                    survivors
                        .iter()
                        .map(|host| weigher.raw(&world.ask_member(*host, request, group))),
                );
                let low = raws.iter().copied().fold(f64::INFINITY, f64::min);
                let high = raws.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let span = Span::new(weigher.row().scale, low, high);
                if span.is_flat() {
                    continue;
                }
                for ((total, raw), host) in totals.iter_mut().zip(raws.iter()).zip(survivors.iter()) {
                    let facts = &world.fixed.hosts[*host];
                    *total += weigher.multiplier(facts, multiplier) * span.normalise(*raw);
                }
            }
        }
        let mut best: Option<usize> = None;
        for (at, total) in totals.iter().enumerate() {
            if best.is_none_or(|best| *total > totals[best]) {
                best = Some(at);
            }
        }
        best.map(|at| survivors[at])
    }
}

impl Tree {
    fn new(
        traits: TraitsId,
        eligible: &Eligible,
        hosts: usize,
        node: impl Fn(HostIndex) -> Node,
        seen: usize,
    ) -> Self {
        let mut leaves = vec![u32::MAX; hosts];
        for (leaf, host) in eligible.hosts.iter().enumerate() {
            leaves[*host] = u32::try_from(leaf).expect("fewer than four billion hosts");
        }
        Self {
            traits,
            index: Index::new(&eligible.hosts, node, seen),
            leaves,
            used: 0,
        }
    }

    fn catch_up(&mut self, eligible: &Eligible, changes: &[HostIndex], node: impl Fn(HostIndex) -> Node) {
        let behind = &changes[self.index.seen..];
        if behind.len() > self.leaves.len() / 8 + 4 {
            self.index.rebuild(&eligible.hosts, node, changes.len());
            return;
        }
        for host in behind {
            let leaf = self.leaves[*host];
            if leaf != u32::MAX {
                self.index.set(leaf as usize, node(*host));
            }
        }
        self.index.seen = changes.len();
    }
}

/// Where the group's members are, if the next one must join them.
fn bound_to(world: &World, group: Option<GroupIndex>) -> Option<&Members> {
    let asked = world.fixed.filters.contains(&Filter::GroupAffinity);
    let view = world.group_view(group.filter(|_| asked)?);
    (view.is(Policy::Affinity) && !view.members.is_empty()).then_some(view.members)
}

/// The weighers that can tell hosts apart for a member of this group: without the group, soft policies weigh zero.
fn active(world: &World, group: Option<GroupIndex>) -> impl Iterator<Item = (Weigher, f64)> + '_ {
    let policy = group.map(|group| world.group_view(group).group.policy);
    let weighers = world.fixed.weighers.iter().copied();
    weighers.filter(move |(weigher, _)| match weigher.row().of {
        Of::Host | Of::Request => true,
        Of::Group(wanted) => policy == Some(wanted),
    })
}

/// The one weigher whose raw values order the hosts, where there is just one and rounding cannot make ties:
/// integers below 2^53 stay distinct when divided by the same range and multiplied by an ordinary multiplier.
fn deciding_weigher(world: &World, group: Option<GroupIndex>) -> Option<(Weigher, f64)> {
    let mut active = active(world, group);
    let (weigher, multiplier) = active.next()?;
    let row = weigher.row();
    let alone = active.next().is_none() && row.of == Of::Host && !world.fixed.differs(weigher);
    (alone && row.whole && row.scale == Scale::FromZero && EXACT.contains(&multiplier.abs()))
        .then_some((weigher, multiplier))
}

fn node(ask: &Ask<'_>, (weigher, multiplier): (Weigher, f64)) -> Node {
    let raw = weigher.raw(ask);
    let key = if multiplier > 0.0 { raw } else { -raw };
    Node {
        room: room(&ask.of_host()),
        key,
        opposite: -key,
    }
}

/// What each resource filter would compare with the amount one server wants.
pub(crate) fn room(ask: &HostAsk<'_>) -> Room {
    let capacity = &ask.facts.host.capacity;
    let all = room_for_many(ask);
    Room {
        ram: if ask.fixed.asks.ram {
            all.ram.min(capacity.ram_mib as f64)
        } else {
            all.ram
        },
        disk: if ask.fixed.asks.disk {
            all.disk.min(capacity.disk_mib as f64)
        } else {
            all.disk
        },
        vcpus: if ask.fixed.asks.vcpus {
            all.vcpus.min(capacity.vcpus as f64)
        } else {
            all.vcpus
        },
    }
}

/// What several servers together may still take.
pub(crate) fn room_for_many(ask: &HostAsk<'_>) -> Room {
    let (asks, limits) = (ask.fixed.asks, ask.facts.limits);
    Room {
        ram: if asks.ram {
            ask.usable_ram_mib(limits.ram)
        } else {
            f64::INFINITY
        },
        disk: if asks.disk {
            ask.usable_disk_mib(limits.disk)
        } else {
            f64::INFINITY
        },
        vcpus: if asks.vcpus {
            ask.usable_vcpus(limits.cpu)
        } else {
            f64::INFINITY
        },
    }
}

/// What the request wants of each resource; Placement does not ask for an amount of zero.
pub(crate) fn wanted(world: &World, request: &Request) -> Room {
    let amount = |amount: u64| match (world.fixed.config.profile, amount) {
        // Above the room of a leaf without a host.
        (Profile::Modern, 0) => f64::MIN,
        (Profile::Modern | Profile::Legacy, amount) => amount as f64,
    };
    let wants = &request.wants;
    Room {
        ram: amount(wants.ram_mib),
        disk: amount(wants.disk_mib),
        vcpus: amount(wants.vcpus),
    }
}

/// Whether room and facts decide alone.
pub(crate) fn is_unchanging(world: &World, request: &Request) -> bool {
    request.group.is_none() && !world.fixed.asks.usage && !request.names_others() && request.demand.is_none()
}

/// The filters whose answer placements change, beside room and specs.
pub(crate) fn changing_pass(world: &World, ask: &Ask<'_>) -> bool {
    let mut filters = world.fixed.filters.iter().filter(|filter| {
        matches!(
            filter.row().depends,
            Depends::Members | Depends::Usage | Depends::Others | Depends::Devices
        )
    });
    filters.all(|filter| filter.check(ask).is_ok())
}

pub(crate) fn specs_pass(world: &World, ask: &Ask<'_>) -> bool {
    let mut filters = world
        .fixed
        .filters
        .iter()
        .filter(|filter| filter.row().depends == Depends::Specs);
    filters.all(|filter| filter.check(ask).is_ok())
}
