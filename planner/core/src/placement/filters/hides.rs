//! What is sensitive of servers, images, hosts and aggregates, and which filters' answers would name it.

use super::Filter;
use std::collections::{BTreeMap, BTreeSet};

/// An argument, how it is spoken of without its value, and the filters that name its value.
type HidesRow = (&'static str, &'static str, &'static [Filter]);

const SERVER: &[HidesRow] = &[
    (
        "availability_zone",
        "the server's availability_zone",
        &[Filter::AvailabilityZone, Filter::Placement],
    ),
    (
        "ram",
        "the flavor's ram",
        &[Filter::Ram, Filter::AggregateRam, Filter::Placement],
    ),
    (
        "disk",
        "the flavor's disk",
        &[Filter::Disk, Filter::AggregateDisk, Filter::Placement],
    ),
    (
        "vcpus",
        "the flavor's vcpus",
        &[Filter::Core, Filter::AggregateCore, Filter::Placement],
    ),
    (
        "extra_specs",
        "the flavor's extra_specs",
        &[
            Filter::ComputeCapabilities,
            Filter::AggregateInstanceExtraSpecs,
            Filter::NumaTopology,
            Filter::PciPassthrough,
        ],
    ),
    (
        "group",
        "the server's group",
        &[Filter::GroupAffinity, Filter::GroupAntiAffinity],
    ),
    ("same_host", "the server's same_host", &[Filter::SameHost]),
    (
        "different_host",
        "the server's different_host",
        &[Filter::DifferentHost],
    ),
    ("host_network", "the server's host_network", &[Filter::Network]),
    ("flavor", "the server's flavor", &[Filter::AggregateFlavors]),
];

const IMAGE: &[HidesRow] = &[(
    "properties",
    "the image's properties",
    &[Filter::ImageProperties, Filter::AggregateImageIsolation],
)];

const HOST: &[HidesRow] = &[
    (
        "availability_zone",
        "the host's availability_zone",
        &[Filter::AvailabilityZone, Filter::Placement],
    ),
    ("labels", "the host's labels", &[Filter::ComputeCapabilities]),
    ("address", "the host's address", &[Filter::Network]),
];

const AGGREGATE: &[HidesRow] = &[(
    "metadata",
    "an aggregate's metadata",
    &[
        Filter::AvailabilityZone,
        Filter::AggregateInstanceExtraSpecs,
        Filter::AggregateRam,
        Filter::AggregateDisk,
        Filter::AggregateCore,
        Filter::AggregateNumInstances,
        Filter::AggregateIoOps,
        Filter::AggregateImageIsolation,
        Filter::AggregateTenants,
        Filter::AggregateFlavors,
    ],
)];

/// Filters whose answers would name what is sensitive, each with what it is instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hides(BTreeMap<Filter, &'static str>);

impl Hides {
    /// Of a server, the sensitive arguments of its flavor among them, and of its image.
    #[must_use]
    pub fn of_server(server: &BTreeSet<String>, image: Option<&BTreeSet<String>>) -> Self {
        let mut hides = Self::default();
        hides.add(SERVER, server);
        if let Some(image) = image {
            hides.add(IMAGE, image);
        }
        hides
    }

    /// Of a host, and of the aggregates that it is in.
    #[must_use]
    pub fn of_host<'a>(
        host: &BTreeSet<String>,
        aggregates: impl IntoIterator<Item = &'a BTreeSet<String>>,
    ) -> Self {
        let mut hides = Self::default();
        hides.add(HOST, host);
        for aggregate in aggregates {
            hides.add(AGGREGATE, aggregate);
        }
        hides
    }

    fn add(&mut self, rows: &[HidesRow], sensitive: &BTreeSet<String>) {
        for (argument, words, filters) in rows {
            if sensitive.contains(*argument) {
                self.0.extend(filters.iter().map(|filter| (*filter, *words)));
            }
        }
    }

    /// Whether everything may be named.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What this filter's answer would name, if that is sensitive.
    pub(crate) fn from(&self, filter: Filter) -> Option<&'static str> {
        self.0.get(&filter).copied()
    }
}
