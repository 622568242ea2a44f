//! What is wrong with a configuration as a scheduler reads it, known from the files alone.

use super::build::Inputs;
use super::types::{Finding, PlanOptions};
use super::world::scheduler;
use crate::diff::diff;
use crate::model::{DesiredFleet, ObservedFleet, RecordedFleet, SourceLocation};
use drover_types::{Address, HostName, InstanceKey, Kind, Lineage, Sha256Digest};
use uuid::Uuid;

/// All that every plan of this configuration will find wrong with it, whatever the hosts report, each with the block
/// that it is about.
#[must_use]
pub fn declared_findings(desired: &DesiredFleet) -> Vec<(Finding, Option<&SourceLocation>)> {
    let (recorded, observed) = (RecordedFleet::empty(0), ObservedFleet::new());
    let lineage = Lineage::from_uuid(Uuid::nil());
    let inputs = Inputs {
        desired,
        recorded: &recorded,
        observed: &observed,
        lineage,
        drover_version: "",
        config_digest: Sha256Digest::from_bytes([0; 32]),
    };
    let created = diff(desired, &recorded, &observed, lineage, &PlanOptions::default());
    let (_, findings) = scheduler(&inputs, &created);
    let located = findings.into_iter().map(|finding| {
        let origin = finding
            .address
            .as_ref()
            .and_then(|address| origin(desired, address));
        (finding, origin)
    });
    located.collect()
}

fn origin<'d>(desired: &'d DesiredFleet, address: &Address) -> Option<&'d SourceLocation> {
    let servers = desired.servers.get(address).map(|server| &server.origin);
    servers
        .or_else(|| desired.flavors.get(address).map(|flavor| &flavor.origin))
        .or_else(|| desired.images.get(address).map(|image| &image.origin))
        .or_else(|| desired.groups.get(address).map(|group| &group.origin))
        .or_else(|| desired.aggregates.get(address).map(|aggregate| &aggregate.origin))
        .or_else(|| {
            let name = match &address.key {
                Some(InstanceKey::Key(name)) => name.as_str(),
                Some(InstanceKey::Index(_)) | None => address.name.as_str(),
            };
            let name: HostName = name.parse().ok().filter(|_| address.kind == Kind::Host)?;
            desired.hosts.get(&name).map(|host| &host.origin)
        })
}
