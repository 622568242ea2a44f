//! Servers put on hosts for trial: fits, moves and what an arrangement is worth.

use super::super::choose::{self, Chooser};
use super::super::eligibility::TraitsId;
use super::super::index::Room;
use super::super::input::Request;
use super::super::state::{GroupIndex, HostIndex, World};
use super::Answer;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A request with what is worked out once about it.
#[derive(Debug)]
pub(crate) struct Item<'r> {
    pub(crate) request: &'r Request,
    pub(crate) traits: TraitsId,
    pub(crate) group: Option<GroupIndex>,
    pub(crate) wants: Room,
    /// Hosts no fact speaks against.
    pub(crate) eligible: Rc<[HostIndex]>,
    /// An extra spec names something that placements change.
    reads_usage: bool,
    /// Its answer depends on the order in which servers are placed.
    pub(crate) ordered: bool,
    /// Share of a mean host that it takes, of the scarcest resource.
    pub(crate) size: f64,
}

impl<'r> Item<'r> {
    pub(crate) fn new(
        world: &World,
        chooser: &mut Chooser,
        shared: &mut BTreeMap<TraitsId, Rc<[HostIndex]>>,
        request: &'r Request,
    ) -> Self {
        let traits = chooser.eligibility.id(world, request);
        let eligible = chooser.eligibility.get(traits);
        let hosts = shared
            .entry(traits)
            .or_insert_with(|| eligible.hosts.as_slice().into());
        Self {
            request,
            traits,
            group: world.group_of(request),
            wants: choose::wanted(world, request),
            eligible: Rc::clone(hosts),
            reads_usage: eligible.reads_usage,
            ordered: eligible.reads_usage || request.names_others() || request.demand.is_some(),
            size: world.mean().largest_share(&request.wants),
        }
    }

    pub(crate) fn fits(&self, world: &World, host: HostIndex) -> bool {
        let ask = world.ask_member(host, self.request, self.group);
        choose::room(&ask.of_host()).holds(&self.wants)
            && (choose::is_unchanging(world, self.request) || choose::changing_pass(world, &ask))
            && (!self.reads_usage || choose::specs_pass(world, &ask))
    }

    pub(crate) fn fits_anywhere(&self, world: &World) -> bool {
        self.eligible.iter().any(|host| self.fits(world, *host))
    }
}

/// What an arrangement is worth: first how many of each priority, highest first, then how large they are.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(crate) struct Score {
    counts: Vec<(i64, usize)>,
    size: f64,
}

impl Score {
    pub(crate) fn of<'i, 'r: 'i>(placed: impl Iterator<Item = &'i Item<'r>>) -> Self {
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        let mut sizes = Vec::new();
        for item in placed {
            *counts.entry(item.request.priority).or_insert(0) += 1;
            sizes.push(item.size);
        }
        // The order of adding must not make two equal arrangements differ.
        sizes.sort_by(f64::total_cmp);
        Self {
            counts: counts.into_iter().rev().collect(),
            size: sizes.iter().sum(),
        }
    }
}

/// Hosts with some of the batch on them.
#[derive(Debug, Clone)]
pub(crate) struct Board<'b> {
    pub(crate) start: Rc<World>,
    pub(crate) world: World,
    pub(crate) items: &'b [Item<'b>],
    pub(crate) hosts: Vec<Option<HostIndex>>,
    /// Placed items, in the order of placing.
    pub(crate) order: Vec<usize>,
    /// Fits looked at.
    pub(crate) steps: u64,
}

impl<'b> Board<'b> {
    pub(crate) fn new(start: World, items: &'b [Item<'b>]) -> Self {
        Self {
            start: Rc::new(start.clone()),
            world: start,
            items,
            hosts: vec![None; items.len()],
            order: Vec::new(),
            steps: 0,
        }
    }

    pub(crate) fn with(start: World, items: &'b [Item<'b>], answer: &Answer) -> Self {
        let mut board = Self::new(start, items);
        for at in &answer.order {
            board.put(
                *at,
                answer.hosts[*at].expect("only placed requests are in the order"),
            );
        }
        board
    }

    pub(crate) fn fits(&mut self, at: usize, host: HostIndex) -> bool {
        self.steps += 1;
        self.items[at].fits(&self.world, host)
    }

    pub(crate) fn put(&mut self, at: usize, host: HostIndex) {
        let item = &self.items[at];
        self.world.consume(host, item.request, item.group);
        self.hosts[at] = Some(host);
        self.order.push(at);
    }

    /// Takes the items off that `leave`, each from its host.
    pub(crate) fn take_off(&mut self, leave: impl Fn(usize, HostIndex) -> bool) -> Vec<usize> {
        let mut taken = Vec::new();
        let order = std::mem::take(&mut self.order);
        for at in order {
            match self.hosts[at] {
                Some(host) if leave(at, host) => {
                    self.remove(at, host);
                    taken.push(at);
                }
                Some(_) | None => self.order.push(at),
            }
        }
        taken
    }

    /// Takes back the last [`Self::put`].
    pub(crate) fn undo(&mut self) {
        if let Some(at) = self.order.pop()
            && let Some(host) = self.hosts[at]
        {
            self.remove(at, host);
        }
    }

    fn remove(&mut self, at: usize, host: HostIndex) {
        let item = &self.items[at];
        self.world.release(host, item.request, item.group);
        self.hosts[at] = None;
    }

    /// Whether placing one after another in `order` passes every filter at every step; only what reads usage can
    /// fail here.
    pub(crate) fn replays(&self) -> bool {
        if !self.order.iter().any(|at| self.items[*at].ordered) {
            return true;
        }
        let mut world = World::clone(&self.start);
        self.order.iter().all(|at| {
            let (item, host) = (&self.items[*at], self.hosts[*at]);
            host.is_some_and(|host| {
                let fits = item.fits(&world, host);
                world.consume(host, item.request, item.group);
                fits
            })
        })
    }

    pub(crate) fn score(&self) -> Score {
        Score::of(self.order.iter().map(|at| &self.items[*at]))
    }

    pub(crate) fn answer(&self) -> Answer {
        Answer {
            hosts: self.hosts.clone(),
            order: self.order.clone(),
        }
    }
}

/// An upper bound on how many of these items fit: what all hosts together can hold, and what groups allow.
pub(crate) fn at_most(world: &World, items: &[Item<'_>], wanted: &[usize]) -> usize {
    let mut room = Room {
        ram: 0.0,
        disk: 0.0,
        vcpus: 0.0,
    };
    for host in 0..world.len() {
        let here = choose::room_for_many(&world.ask_usage(host));
        room.ram += here.ram.max(0.0);
        room.disk += here.disk.max(0.0);
        room.vcpus += here.vcpus.max(0.0);
    }
    let smallest_first = |wants: fn(&Room) -> f64, room: f64| {
        let mut wants: Vec<f64> = wanted
            .iter()
            .map(|at| wants(&items[*at].wants).max(0.0))
            .collect();
        wants.sort_by(f64::total_cmp);
        let mut taken = 0.0;
        let fitting = wants.into_iter().take_while(|want| {
            taken += want;
            taken <= room
        });
        fitting.count()
    };
    let mut members: BTreeMap<GroupIndex, usize> = BTreeMap::new();
    for group in wanted.iter().filter_map(|at| items[*at].group) {
        *members.entry(group).or_insert(0) += 1;
    }
    let surplus = |(group, members): (GroupIndex, usize)| {
        members.saturating_sub(usize::try_from(world.places_in(group)).unwrap_or(usize::MAX))
    };
    let surplus: usize = members.into_iter().map(surplus).sum();
    smallest_first(|wants| wants.ram, room.ram)
        .min(smallest_first(|wants| wants.disk, room.disk))
        .min(smallest_first(|wants| wants.vcpus, room.vcpus))
        .min(wanted.len() - surplus)
}
