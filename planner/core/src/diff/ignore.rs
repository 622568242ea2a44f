//! `ignore_changes`: what is declared, with what is to be ignored taken from the records.

use crate::model::{
    DesiredFleet, DesiredResource, Ignored, Lifecycle, PlacementHints, PlainRecord, RecordedFleet, ServerSpec,
};
use drover_types::Address;
use std::collections::{BTreeMap, BTreeSet};

/// The declarations with every ignored attribute as it is recorded. What is not recorded yet is created as declared.
#[must_use]
pub fn settle_ignored(mut desired: DesiredFleet, recorded: &RecordedFleet) -> DesiredFleet {
    let lifecycle = std::mem::take(&mut desired.lifecycle);
    plain(
        &mut desired.flavors,
        &recorded.flavors,
        &lifecycle,
        |spec, before, ignored| {
            keep_hidden(ignored, &mut spec.sensitive, &before.sensitive);
            keep(ignored, "vcpus", &mut spec.vcpus, &before.vcpus);
            keep(ignored, "ram", &mut spec.ram, &before.ram);
            keep(ignored, "disk", &mut spec.disk, &before.disk);
            keep(ignored, "extra_specs", &mut spec.extra_specs, &before.extra_specs);
        },
    );
    plain(
        &mut desired.images,
        &recorded.images,
        &lifecycle,
        |spec, before, ignored| {
            keep_hidden(ignored, &mut spec.sensitive, &before.sensitive);
            keep(ignored, "source", &mut spec.source, &before.source);
            keep(ignored, "checksum", &mut spec.checksum, &before.checksum);
            keep(ignored, "format", &mut spec.format, &before.format);
            keep(ignored, "properties", &mut spec.properties, &before.properties);
        },
    );
    plain(
        &mut desired.groups,
        &recorded.groups,
        &lifecycle,
        |spec, before, ignored| {
            keep(ignored, "policy", &mut spec.policy, &before.policy);
            // The rules are the policy's.
            keep(
                ignored,
                "policy",
                &mut spec.max_server_per_host,
                &before.max_server_per_host,
            );
        },
    );
    for (address, server) in &mut desired.servers {
        // A server carries its flavor's size and its image's digest: those may just have become the recorded ones.
        let flavor = desired.flavors.get(&server.spec.flavor);
        if let Some(flavor) = flavor.filter(|_| lifecycle.contains_key(&server.spec.flavor)) {
            server.spec.size.clone_from(&flavor.spec);
        }
        if let Some(used) = &mut server.spec.image
            && let Some(image) = desired.images.get(&used.address)
            && lifecycle.contains_key(&used.address)
        {
            used.checksum = image.spec.checksum;
        }
        if let (Some(lifecycle), Some(record)) = (lifecycle.get(address), recorded.servers.get(address)) {
            keep_server(&lifecycle.ignore_changes, &mut server.spec, &record.spec);
        }
    }
    desired.lifecycle = lifecycle;
    desired
}

fn keep<T: Clone>(ignored: &Ignored, argument: &str, declared: &mut T, recorded: &T) {
    if ignored.covers(argument) {
        declared.clone_from(recorded);
    }
}

/// What is hidden of an ignored argument stays as it is recorded, too.
fn keep_hidden(ignored: &Ignored, declared: &mut BTreeSet<String>, recorded: &BTreeSet<String>) {
    declared.retain(|argument| !ignored.covers(argument));
    declared.extend(
        recorded
            .iter()
            .filter(|argument| ignored.covers(argument))
            .cloned(),
    );
}

fn plain<S>(
    declared: &mut BTreeMap<Address, DesiredResource<S>>,
    recorded: &BTreeMap<Address, PlainRecord<S>>,
    lifecycle: &BTreeMap<Address, Lifecycle>,
    keep: impl Fn(&mut S, &S, &Ignored),
) {
    for (address, lifecycle) in lifecycle {
        if let (Some(resource), Some(record)) = (declared.get_mut(address), recorded.get(address)) {
            keep(&mut resource.spec, &record.spec, &lifecycle.ignore_changes);
        }
    }
}

fn keep_server(ignored: &Ignored, declared: &mut ServerSpec, recorded: &ServerSpec) {
    let ServerSpec {
        name,
        flavor,
        size,
        image,
        group,
        availability_zone,
        power,
        labels,
        allow_rebuild,
        sensitive,
        hints,
    } = recorded;
    let PlacementHints {
        same_host,
        different_host,
        network,
        priority,
    } = hints;
    keep(ignored, "same_host", &mut declared.hints.same_host, same_host);
    keep(
        ignored,
        "different_host",
        &mut declared.hints.different_host,
        different_host,
    );
    keep(ignored, "host_network", &mut declared.hints.network, network);
    keep(ignored, "priority", &mut declared.hints.priority, priority);
    keep_hidden(ignored, &mut declared.sensitive, sensitive);
    keep(ignored, "name", &mut declared.name, name);
    keep(ignored, "flavor", &mut declared.flavor, flavor);
    keep(ignored, "flavor", &mut declared.size, size);
    keep(ignored, "image", &mut declared.image, image);
    keep(ignored, "group", &mut declared.group, group);
    keep(
        ignored,
        "availability_zone",
        &mut declared.availability_zone,
        availability_zone,
    );
    keep(ignored, "power", &mut declared.power, power);
    keep(ignored, "labels", &mut declared.labels, labels);
    keep(
        ignored,
        "allow_rebuild",
        &mut declared.allow_rebuild,
        allow_rebuild,
    );
}

/// Whether a difference that a host reports in a domain belongs to an ignored argument of its server.
pub(super) fn ignores_drift(ignored: &Ignored, attribute: &str) -> bool {
    let argument = match attribute {
        "memory_kib" | "current_memory_kib" | "vcpus" | "current_vcpus" => "flavor",
        "name" => "name",
        disk if disk.starts_with("disk.") => "image",
        // The rest is no argument's: only `all` covers it.
        _ => "",
    };
    ignored.covers(argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_belongs_to_the_argument_that_makes_it() {
        let flavor = Ignored::Listed(["flavor".to_owned()].into());
        assert!(ignores_drift(&flavor, "current_memory_kib"));
        assert!(!ignores_drift(&flavor, "disk.vda.file"));
        assert!(!ignores_drift(&flavor, "clock"));
        assert!(ignores_drift(&Ignored::All, "clock"));
        assert!(!ignores_drift(&Ignored::default(), "vcpus"));
    }
}
