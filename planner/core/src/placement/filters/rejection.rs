//! Why a filter refused a host, as data.

use super::super::devices::Unfit;
use super::super::input::{Name, Network};
use serde::Serialize;
use std::fmt;
use std::net::IpAddr;

/// The part of a requirement that a host did not meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmet {
    /// The extra spec or image property.
    pub key: String,
    /// What was asked.
    pub wanted: String,
    /// What the host has; empty when it has no such fact.
    pub found: Vec<String>,
}

impl Unmet {
    /// `Ok` where every part is met; all that are not are told, as one filter's answer.
    pub(super) fn none_of(
        unmet: impl Iterator<Item = Self>,
        refuse: impl FnOnce(Vec<Self>) -> Rejection,
    ) -> Result<(), Rejection> {
        let unmet: Vec<Self> = unmet.collect();
        if unmet.is_empty() {
            Ok(())
        } else {
            Err(refuse(unmet))
        }
    }
}

/// Why a filter refused a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Rejection {
    /// The host already refused this server.
    Tried,
    /// Another zone, or none.
    Zone {
        /// The zone asked for.
        wanted: Name,
        /// The zones the host is in.
        found: Vec<String>,
    },
    /// Not enough memory.
    Ram {
        /// Asked for.
        wanted_mib: u64,
        /// Still to be promised; below zero when overcommitted.
        free_mib: f64,
        /// What the host has.
        total_mib: u64,
        /// How often it may be promised.
        ratio: f64,
    },
    /// Not enough disk.
    Disk {
        /// Asked for.
        wanted_mib: u64,
        /// Still to be promised; below zero when overcommitted.
        free_mib: f64,
        /// What the host has.
        total_mib: u64,
        /// How often it may be promised.
        ratio: f64,
    },
    /// Not enough vCPUs.
    Vcpus {
        /// Asked for.
        wanted: u64,
        /// Still to be promised; below zero when overcommitted.
        free: f64,
        /// What the host has.
        total: u64,
        /// How often they may be promised.
        ratio: f64,
    },
    /// Disabled or draining.
    Disabled,
    /// Its agent did not answer.
    Down,
    /// Facts of the host do not meet extra specs.
    Capability {
        /// All that is not met.
        unmet: Vec<Unmet>,
    },
    /// No value of the host's aggregates meets some extra specs.
    AggregateSpec {
        /// All that is not met.
        unmet: Vec<Unmet>,
    },
    /// It cannot run what the image needs.
    Image {
        /// All that is not met.
        unmet: Vec<Unmet>,
    },
    /// The versions that the image asks for cannot be read.
    UnreadableVersion {
        /// What is written there.
        wanted: String,
    },
    /// As many members of the group as one host may hold are there already.
    AntiAffinity {
        /// The group.
        group: Name,
        /// Members on the host.
        members: u64,
        /// How many it may hold.
        limit: u64,
    },
    /// The group's members are on other hosts.
    Affinity {
        /// The group.
        group: Name,
        /// Where its members are.
        hosts: Vec<Name>,
    },
    /// As many servers as it may hold.
    Instances {
        /// Servers there.
        instances: u64,
        /// How many there may be.
        limit: u64,
    },
    /// As many builds and moves as it may have at once.
    IoOps {
        /// Under way there.
        io_ops: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The request names a group nobody declared.
    UnknownGroup {
        /// The name.
        group: Name,
    },
    /// It holds none of the servers it must be with.
    NotWith {
        /// These.
        servers: Vec<Name>,
        /// Where they are.
        hosts: Vec<Name>,
    },
    /// It holds a server it must not be with.
    NotWithout {
        /// That one.
        server: Name,
    },
    /// Its address is outside of the network.
    Network {
        /// The network.
        #[serde(serialize_with = "as_text")]
        wanted: Network,
        /// The host's address, if it is known.
        found: Option<IpAddr>,
    },
    /// The host's aggregates do not allow what the image sets.
    AggregateImage {
        /// All that is not met.
        unmet: Vec<Unmet>,
    },
    /// The host's aggregates are for other projects.
    Tenant {
        /// The request's; empty for none.
        project: Name,
    },
    /// The host's aggregates are for other flavors.
    Flavor {
        /// The request's; empty for none.
        flavor: Name,
        /// Those allowed.
        allowed: Vec<String>,
    },
    /// The image may run on isolated hosts alone.
    ImageIsolated,
    /// The host is kept for isolated images.
    HostIsolated,
    /// Its cells or devices do not hold what the server asks of them.
    Devices {
        /// What does not fit.
        #[serde(serialize_with = "as_text")]
        problem: Unfit,
    },
    /// The answer would name what is sensitive.
    Hidden {
        /// What it is about: `the server's availability_zone`.
        what: &'static str,
    },
    /// The host does not measure what it is weighed by.
    NotMeasured {
        /// The metric.
        metric: String,
    },
}

fn as_text<S: serde::Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
