//! The scheduler: hosts and what is left of them, one decision after another.

use super::batch::Conflict;
use super::choose::Chooser;
use super::config::SchedulerConfig;
use super::explain::{self, Explanation, Refusal};
use super::input::{Aggregate, Group, Host, Name, Policy, Request};
use super::state::{HostIndex, World};
use super::validate::{self, InputErrors};

/// Hosts, groups and what the servers placed so far have consumed.
#[derive(Debug, Clone)]
pub struct Scheduler {
    pub(crate) world: World,
    pub(crate) chooser: Chooser,
}

/// A host the scheduler was not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("host {0:?} is not among the scheduler's hosts")]
pub struct UnknownHost(pub Name);

impl Scheduler {
    /// A scheduler over these hosts, in this order: ties go to the first.
    ///
    /// # Errors
    /// Every mistake in the input at once.
    pub fn new(
        config: SchedulerConfig,
        hosts: Vec<Host>,
        aggregates: &[Aggregate],
        groups: Vec<Group>,
    ) -> Result<Self, InputErrors> {
        validate::world(&config, &hosts, aggregates, &groups)?;
        Ok(Self {
            world: World::new(config, hosts, aggregates, groups),
            chooser: Chooser::default(),
        })
    }

    /// Every mistake in these requests: names twice, sizes too large, groups nobody declared.
    ///
    /// # Errors
    /// All of them at once.
    pub fn check(&self, requests: &[Request]) -> Result<(), InputErrors> {
        validate::requests(requests, |group| self.world.fixed.groups.contains_key(group))
    }

    /// The decision about one request in full; consumes nothing.
    #[must_use]
    pub fn explain(&self, request: &Request) -> Explanation {
        explain::explain(&self.world, request)
    }

    /// Why no host takes a request: the smallest set of constraints, and what would help; `None` when one does.
    #[must_use]
    pub fn conflict(&self, request: &Request) -> Option<Conflict> {
        super::batch::conflict(&self.world, request)
    }

    /// Chooses the host that [`Self::explain`] names and consumes what the server takes there; `None` leaves
    /// everything as it was.
    pub fn place(&mut self, request: &Request) -> Option<Name> {
        let chosen = self.chooser.choose(&self.world, request)?;
        self.consume(chosen, request);
        Some(self.world.name(chosen).clone())
    }

    /// As [`Self::place`], and says why: slower, since every filter is asked of every host.
    pub fn decide(&mut self, request: &Request) -> Explanation {
        let explanation = self.explain(request);
        let chosen = explanation.chosen.as_ref();
        if let Some(chosen) = chosen.and_then(|name| self.world.fixed.hosts.get_index_of(name)) {
            self.consume(chosen, request);
        }
        explanation
    }

    /// Puts a server on a host whatever the filters say, as for one that already runs there.
    ///
    /// # Errors
    /// There is no such host.
    pub fn force(&mut self, host: &Name, request: &Request) -> Result<(), UnknownHost> {
        let index = self.index(host)?;
        self.consume(index, request);
        Ok(())
    }

    /// Takes a server off the host that [`Self::place`] or [`Self::force`] put it on.
    ///
    /// # Errors
    /// There is no such host.
    pub fn release(&mut self, host: &Name, request: &Request) -> Result<(), UnknownHost> {
        let index = self.index(host)?;
        self.take_off(index, request);
        Ok(())
    }

    /// Notes that a server is on its way off the host that [`Self::place`] or [`Self::force`] put it on: it keeps its
    /// room there, and is no member of its group and nobody's company any more. Who wants to be without it waits until
    /// it is gone: until [`Self::release`] of the same request without its group.
    ///
    /// # Errors
    /// There is no such host.
    pub fn leave(&mut self, host: &Name, request: &Request) -> Result<(), UnknownHost> {
        let index = self.index(host)?;
        let group = self.world.group_of(request);
        self.world.leave(index, request, group);
        self.chooser.changed(index);
        Ok(())
    }

    /// The next best hosts for a server that was placed on `host`, best first, their capacity reserved: what it
    /// takes there counts as used from now on, and under anti-affinity its place in the group too.
    ///
    /// Call it once the whole batch is placed, so that no reservation takes a place that a server needs. A member of
    /// an affinity group has none: its host is where the others are.
    ///
    /// # Errors
    /// There is no such host.
    pub fn reserve_alternates(
        &mut self,
        host: &Name,
        request: &Request,
        count: usize,
    ) -> Result<Vec<Name>, UnknownHost> {
        let placed = self.index(host)?;
        self.take_off(placed, request);
        let alternates = self.chooser.ranked(&self.world, request, placed, count);
        self.consume(placed, request);
        let mut reservation = request.clone();
        let group = self
            .world
            .group_of(request)
            .map(|group| self.world.group_view(group).group.policy);
        if group != Some(Policy::AntiAffinity) {
            reservation.group = None;
        }
        for alternate in &alternates {
            self.consume(*alternate, &reservation);
        }
        Ok(alternates
            .into_iter()
            .map(|index| self.world.name(index).clone())
            .collect())
    }

    /// The constraints a placed server breaks where it is, itself left out of the account; none when it may stay.
    /// That its host was tried before, or is busy, is no
    /// reason to leave.
    ///
    /// # Errors
    /// There is no such host.
    pub fn still_fits(&mut self, host: &Name, request: &Request) -> Result<Vec<Refusal>, UnknownHost> {
        let index = self.index(host)?;
        self.world.release(index, request, self.world.group_of(request));
        let ask = self.world.ask(index, request);
        let filters = self
            .world
            .fixed
            .filters
            .iter()
            .filter(|filter| !filter.is_for_newcomers());
        let broken = filters
            .filter_map(|filter| {
                filter.check(&ask).err().map(|rejection| Refusal {
                    filter: *filter,
                    rejection,
                })
            })
            .collect();
        self.world.consume(index, request, self.world.group_of(request));
        Ok(broken)
    }

    pub(super) fn index(&self, host: &Name) -> Result<HostIndex, UnknownHost> {
        self.world
            .fixed
            .hosts
            .get_index_of(host)
            .ok_or_else(|| UnknownHost(host.clone()))
    }

    pub(crate) fn consume(&mut self, host: HostIndex, request: &Request) {
        let group = self.world.group_of(request);
        self.world.consume(host, request, group);
        self.chooser.changed(host);
    }

    pub(crate) fn take_off(&mut self, host: HostIndex, request: &Request) {
        let group = self.world.group_of(request);
        self.world.release(host, request, group);
        self.chooser.changed(host);
    }
}
