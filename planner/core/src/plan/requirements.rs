//! What is written down for filters and weighers and can mean nothing: no host could ever meet it, or nobody has the
//! name. Nova finds that out with the first request, or never.

use super::build::host_address;
use super::settings::settings_finding;
use super::types::{Finding, Severity};
use super::world::short_name;
use crate::model::DesiredFleet;
use crate::placement::{
    SchedulerConfig, flaw_of_metadata, flaw_of_requirement, flaw_of_versions, is_compared,
};
use drover_types::{Address, HostName};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Every such text of flavors, images, aggregates and the scheduler block.
pub(super) fn findings(desired: &DesiredFleet) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (address, flavor) in &desired.flavors {
        let specs = flavor.spec.extra_specs.iter().filter(|(key, _)| is_compared(key));
        let flaws = specs.filter_map(|(key, text)| Some((key, text, flaw_of_requirement(text)?)));
        let hidden = flavor.spec.sensitive.contains("extra_specs");
        findings.extend(told(address, "extra_specs", hidden, flaws));
    }
    for (address, image) in &desired.images {
        let profile = SchedulerConfig::default().profile;
        let versions = ["img_hv_requested_version", "hypervisor_version_requires"];
        let properties = versions
            .iter()
            .filter_map(|key| image.spec.properties.get_key_value(*key));
        let flaws = properties.filter_map(|(key, text)| Some((key, text, flaw_of_versions(text, profile)?)));
        let hidden = image.spec.sensitive.contains("properties");
        findings.extend(told(address, "properties", hidden, flaws));
    }
    for (address, aggregate) in &desired.aggregates {
        let metadata = aggregate.spec.metadata.iter();
        let flaws = metadata.filter_map(|(key, text)| Some((key, text, flaw_of_metadata(key, text)?)));
        let hidden = aggregate.spec.sensitive.contains("metadata");
        findings.extend(told(address, "metadata", hidden, flaws));
    }
    findings.extend(settings(desired));
    findings.extend(addresses(desired));
    findings
}

/// Hosts at the address of another: one agent answers there, and it is that of one host.
fn addresses(desired: &DesiredFleet) -> Vec<Finding> {
    let mut first: BTreeMap<String, &HostName> = BTreeMap::new();
    let mut findings = Vec::new();
    for (name, host) in &desired.hosts {
        match first.entry(host.spec.address.to_string()) {
            Entry::Vacant(entry) => {
                entry.insert(name);
            }
            Entry::Occupied(other) => findings.push(Finding {
                severity: Severity::Error,
                address: Some(host_address(name)),
                message: format!(
                    "its address is {}, and so is that of host {}",
                    other.key(),
                    other.get()
                ),
                hint: "give each host the address of its own agent".to_owned(),
            }),
        }
    }
    findings
}

fn told<'a>(
    address: &'a Address,
    argument: &'a str,
    hidden: bool,
    flaws: impl Iterator<Item = (&'a String, &'a String, String)>,
) -> impl Iterator<Item = Finding> {
    flaws.map(move |(key, text, flaw)| {
        let message = if hidden {
            format!("{argument} has what no host can ever meet, and is sensitive")
        } else {
            format!("{argument}: {key} = {text:?}: {flaw}")
        };
        Finding {
            severity: Severity::Error,
            address: Some(address.clone()),
            message,
            hint: format!("correct {argument}"),
        }
    })
}

fn settings(desired: &DesiredFleet) -> Vec<Finding> {
    let settings = &desired.scheduler;
    let mut findings = Vec::new();
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for filter in &settings.filters {
        *counts.entry(filter).or_default() += 1;
    }
    let twice = counts.iter().filter(|(_, count)| **count > 1);
    findings.extend(twice.map(|(filter, _)| settings_finding(format!("filters has {filter:?} twice"))));
    let unknown = |argument: &str, kind: &str, name: &String| {
        settings_finding(format!(
            "{argument} has {name:?}, and no {kind} of that name is declared"
        ))
    };
    let hosts: BTreeSet<&str> = desired.hosts.keys().map(|host| host.as_str()).collect();
    let strangers = settings
        .isolated_hosts
        .iter()
        .filter(|name| !hosts.contains(name.as_str()));
    findings.extend(strangers.map(|name| unknown("isolated_hosts", "host", name)));
    let images = desired.images.keys().map(|image| short_name(image).to_string());
    let images: BTreeSet<String> = images.collect();
    let strangers = settings
        .isolated_images
        .iter()
        .filter(|name| !images.contains(*name));
    findings.extend(strangers.map(|name| unknown("isolated_images", "image", name)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{address, desired, with_aggregate, with_hosts};

    fn texts(fleet: &DesiredFleet) -> Vec<String> {
        let findings = findings(fleet);
        let told = findings.iter().map(|finding| match &finding.address {
            Some(address) => format!("{address}: {}", finding.message),
            None => finding.message.clone(),
        });
        told.collect()
    }

    #[test]
    fn what_no_host_can_meet_and_nobody_is_named_is_found_all_at_once() {
        let mut fleet = with_hosts(desired(), &["n1"]);
        assert_eq!(texts(&fleet), Vec::<String>::new());
        let flavor = address("flavor.small");
        let specs = [
            ("capabilities:free_ram_mb", ">= abc"),
            ("capabilities:x", "<in>"),
            ("ssd", "~ 3"),
            ("hw:cpu_policy", "> all"),
            ("capabilities:y", "<or> a <or> b"),
        ];
        let of = fleet.flavors.get_mut(&flavor).expect("there");
        of.spec.extra_specs = specs.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
        let image = fleet.images.keys().next().cloned().expect("an image");
        let of = fleet.images.get_mut(&image).expect("there");
        let version = ("hypervisor_version_requires".to_owned(), ">>9".to_owned());
        of.spec.properties = [version].into();
        fleet = with_aggregate(fleet, "aggregate.a", &["n1"], ("ram_allocation_ratio", "x"));
        fleet = with_aggregate(fleet, "aggregate.b", &["n1"], ("max_instances_per_host", "3"));
        let settings = &mut fleet.scheduler;
        settings.filters.push("RamFilter".to_owned());
        settings.isolated_hosts = ["n1", "n9"].map(str::to_owned).into();
        settings.isolated_images = ["nope".to_owned()].into();
        assert_eq!(
            texts(&fleet),
            [
                "flavor.small: extra_specs: capabilities:free_ram_mb = \">= abc\": >= compares numbers, and \"abc\" is \
                 none",
                "flavor.small: extra_specs: capabilities:x = \"<in>\": <in> needs a word behind it",
                "flavor.small: extra_specs: ssd = \"~ 3\": ~ is no operator; there are =, ==, !=, >=, <=, s==, s!=, s<, \
                 s<=, s>, s>=, <in>, <all-in> and <or>",
                &format!(
                    "{image}: properties: hypervisor_version_requires = \">>9\": write versions such as \">=2.11, \
                     <9.0\""
                ),
                "aggregate.a: metadata: ram_allocation_ratio = \"x\": a ratio must be above 0 and at most 1000000",
                "filters has \"RamFilter\" twice",
                "isolated_hosts has \"n9\", and no host of that name is declared",
                "isolated_images has \"nope\", and no image of that name is declared",
            ]
        );
        let n1 = fleet.hosts[&crate::testing::host("n1")].clone();
        fleet.hosts.insert(crate::testing::host("n2"), n1);
        let same = texts(&fleet).pop().expect("one more");
        assert!(
            same.starts_with("host.n2: its address is ") && same.ends_with(" host n1"),
            "{same}"
        );
        let of = fleet.flavors.get_mut(&flavor).expect("there");
        of.spec.sensitive.insert("extra_specs".to_owned());
        let hidden = texts(&fleet).join("\n");
        assert!(
            !hidden.contains("abc") && hidden.contains("is sensitive"),
            "{hidden}"
        );
    }
}
