//! How many more servers of each flavor fit.

use super::super::build::Inputs;
use super::super::world::flavor_request;
use super::standing::Standing;
use crate::model::FlavorSpec;
use drover_types::{Address, HostName};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many more servers of a flavor fit, if no others are created.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlavorRoom {
    /// The flavor.
    pub flavor: Address,
    /// Its processors.
    pub vcpus: u64,
    /// Its memory in MiB.
    pub ram_mib: u64,
    /// Its disk in MiB.
    pub disk_mib: u64,
    /// On all hosts together.
    pub more: u64,
    /// In each zone, also those where none fits; a host may be in several.
    pub zones: BTreeMap<String, u64>,
    /// On each host that takes any.
    pub hosts: BTreeMap<HostName, u64>,
    /// How many hosts each filter keeps from taking one more.
    pub stopped_by: BTreeMap<String, u64>,
}

/// How many more servers fit of each of these flavors: of an image that asks for nothing, in no group, each flavor
/// as if it were the only one to be created. Exactly so many find a host one after another.
#[must_use]
pub fn capacity(
    standing: &mut Standing,
    inputs: &Inputs<'_>,
    wanted: impl Fn(&Address) -> bool,
) -> Vec<FlavorRoom> {
    let flavors = inputs.desired.flavors.iter();
    let asked: Vec<(&Address, &FlavorSpec)> = flavors
        .filter(|(address, _)| wanted(address))
        .map(|(address, flavor)| (address, &flavor.spec))
        .collect();
    asked
        .into_iter()
        .map(|(address, spec)| of_flavor(standing, inputs, address, spec))
        .collect()
}

fn of_flavor(
    standing: &mut Standing,
    inputs: &Inputs<'_>,
    address: &Address,
    spec: &FlavorSpec,
) -> FlavorRoom {
    let request = flavor_request(inputs, address, spec);
    let mut room = FlavorRoom {
        flavor: address.clone(),
        vcpus: request.wants.vcpus,
        ram_mib: request.wants.ram_mib,
        disk_mib: request.wants.disk_mib,
        more: 0,
        zones: BTreeMap::new(),
        hosts: BTreeMap::new(),
        stopped_by: BTreeMap::new(),
    };
    let mut on_host = BTreeMap::new();
    for (name, host) in &standing.hosts {
        let fill = standing
            .scheduler
            .fill(name, &request)
            .expect("every host of the map is one of the engine's");
        if let Some(filter) = fill.stopped_by {
            *room.stopped_by.entry(filter.name().to_owned()).or_insert(0) += 1;
        }
        if fill.count > 0 {
            room.more = room.more.saturating_add(fill.count);
            room.hosts.insert(host.clone(), fill.count);
            on_host.insert(name.clone(), fill.count);
        }
    }
    for (zone, hosts) in standing.scheduler.zones() {
        let counts = hosts.iter().filter_map(|host| on_host.get(host));
        let sum = counts.fold(0_u64, |sum, count| sum.saturating_add(*count));
        room.zones.insert(zone.to_string(), sum);
    }
    room
}
