//! What placements change beside room and groups, kept only where a filter or weigher asks for it: where servers
//! are that others name, which images run on a host, and what is left of its cells and devices.

use super::devices::{Demand, Devices, Terms};
use super::filters::{Depends, Filter};
use super::input::{Host, ImageProperties, Name};
use super::state::HostIndex;
use super::weighers::Weigher;
use std::collections::{BTreeMap, BTreeSet};

/// How many servers of a host have an image that sets a property to a value.
type Images = BTreeMap<(String, String), u64>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Sides {
    /// Servers and their hosts; `None` where no filter asks.
    places: Option<BTreeSet<(Name, HostIndex)>>,
    /// Servers that are on their way off these hosts: nobody's company there any more, and in the way until they are
    /// gone.
    leaving: BTreeSet<(Name, HostIndex)>,
    /// Per host; empty where no weigher asks.
    images: Vec<Images>,
    /// Per host; empty where neither a filter nor a weigher asks.
    devices: Vec<Devices>,
    /// Of a host that is not in the list.
    none: Devices,
}

/// A server as it is noted here.
#[derive(Clone, Copy)]
pub(crate) struct Noted<'a> {
    pub(crate) name: &'a Name,
    pub(crate) image: &'a ImageProperties,
    pub(crate) demand: Option<&'a Demand>,
}

impl Sides {
    pub(crate) fn new(filters: &[Filter], hosts: &[Host], weighs: impl Fn(Weigher) -> bool) -> Self {
        let asked = filters
            .iter()
            .any(|filter| filter.row().depends == Depends::Others);
        let devices = filters
            .iter()
            .any(|filter| filter.row().depends == Depends::Devices);
        Self {
            places: asked.then(BTreeSet::new),
            leaving: BTreeSet::new(),
            images: if weighs(Weigher::ImageProperties) {
                vec![Images::new(); hosts.len()]
            } else {
                Vec::new()
            },
            devices: if devices || weighs(Weigher::Pci) {
                hosts
                    .iter()
                    .map(|host| Devices::new(&host.numa, &host.pci, &host.seated))
                    .collect()
            } else {
                Vec::new()
            },
            none: Devices::default(),
        }
    }

    pub(crate) fn add(&mut self, host: HostIndex, server: Noted<'_>, terms: &Terms<'_>) {
        if let Some(places) = &mut self.places {
            places.insert((server.name.clone(), host));
        }
        if let Some(devices) = self.devices.get_mut(host) {
            devices.take(server.name, server.demand, terms);
        }
        if let Some(images) = self.images.get_mut(host) {
            for (property, value) in &server.image.0 {
                *images.entry((property.clone(), value.clone())).or_insert(0) += 1;
            }
        }
    }

    pub(crate) fn remove(&mut self, host: HostIndex, server: Noted<'_>) {
        if let Some(places) = &mut self.places {
            let place = (server.name.clone(), host);
            places.remove(&place);
            self.leaving.remove(&place);
        }
        if let Some(devices) = self.devices.get_mut(host) {
            devices.give_back(server.name);
        }
        if let Some(images) = self.images.get_mut(host) {
            for (property, value) in &server.image.0 {
                if let Some(count) = images.get_mut(&(property.clone(), value.clone())) {
                    *count = count.saturating_sub(1);
                }
            }
        }
    }

    /// A server is on its way off the host; what it has there it keeps until [`Self::remove`].
    pub(crate) fn leave(&mut self, host: HostIndex, server: &Name) {
        if let Some(places) = &mut self.places {
            let place = (server.clone(), host);
            if places.remove(&place) {
                self.leaving.insert(place);
            }
        }
    }

    /// What is left of the host's cells and devices.
    pub(crate) fn devices(&self, host: HostIndex) -> &Devices {
        self.devices.get(host).unwrap_or(&self.none)
    }

    /// Whether the server is on that host.
    pub(crate) fn holds(&self, server: &Name, host: HostIndex) -> bool {
        let places = self.places.as_ref();
        places.is_some_and(|places| places.contains(&(server.clone(), host)))
    }

    /// Whether the server is on that host, or not gone from it yet.
    pub(crate) fn holds_or_lets_go(&self, server: &Name, host: HostIndex) -> bool {
        self.holds(server, host) || self.leaving.contains(&(server.clone(), host))
    }

    /// The hosts on which the server is.
    pub(crate) fn hosts_of(&self, server: &Name) -> impl Iterator<Item = HostIndex> + '_ {
        let range = (server.clone(), 0)..=(server.clone(), HostIndex::MAX);
        let places = self
            .places
            .iter()
            .flat_map(move |places| places.range(range.clone()));
        places.map(|(_, host)| *host)
    }

    /// How many servers of the host have an image that sets the property to this.
    pub(crate) fn images_with(&self, host: HostIndex, property: &str, value: &str) -> u64 {
        let images = self.images.get(host);
        images
            .and_then(|images| images.get(&(property.to_owned(), value.to_owned())))
            .copied()
            .unwrap_or(0)
    }
}
