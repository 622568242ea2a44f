//! What aggregates say about each host: texts for filters to compare, and numbers that stand for a setting.

use super::config::{Profile, SchedulerConfig, Weights};
use super::input::{Aggregate, Host, Name, Ratio, Ratios};
use super::numbers::{float, int};
use super::weighers::Weigher;
use std::collections::{BTreeMap, BTreeSet};

/// The metadata key that makes an aggregate a zone.
const ZONE_KEY: &str = "availability_zone";

/// Metadata keys of ratios, and the setting each stands for.
pub(crate) const RATIO_KEYS: [&str; 3] = [
    "cpu_allocation_ratio",
    "ram_allocation_ratio",
    "disk_allocation_ratio",
];

/// Metadata keys of limits.
pub(crate) const LIMIT_KEYS: [&str; 2] = ["max_instances_per_host", "max_io_ops_per_host"];

/// What a host's aggregates set, or what is configured where they set nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AggregateNumbers {
    pub(crate) ratios: Ratios,
    pub(crate) max_instances: u64,
    pub(crate) max_io_ops: u64,
    /// Per weigher: its multiplier, where one is set.
    pub(crate) multipliers: [Option<f64>; Weigher::COUNT],
}

/// Key to values.
type Metadata = BTreeMap<String, BTreeSet<String>>;

/// What the aggregates of one host say about it.
pub(crate) struct OfHost {
    pub(crate) metadata: Metadata,
    /// Empty where none of them is a zone.
    pub(crate) zones: BTreeSet<String>,
    pub(crate) numbers: AggregateNumbers,
}

/// What is known of aggregates once hosts are put in order.
pub(crate) struct ByHost {
    /// In the order given.
    pub(crate) hosts: Vec<OfHost>,
    /// Zones that at least one aggregate carries.
    pub(crate) zones: BTreeSet<String>,
    /// The weighers that count for any host, in order, with the configured multiplier.
    pub(crate) weighers: Vec<(Weigher, f64)>,
    /// Per weigher: whether an aggregate sets another multiplier for some host.
    pub(crate) differs: [bool; Weigher::COUNT],
}

impl ByHost {
    pub(crate) fn weighs(&self, weigher: Weigher) -> bool {
        self.weighers.iter().any(|(other, _)| *other == weigher)
    }
}

pub(crate) fn by_host(config: &SchedulerConfig, hosts: &[Host], aggregates: &[Aggregate]) -> ByHost {
    let mut memberships: BTreeMap<&Name, Vec<&Aggregate>> = BTreeMap::new();
    for aggregate in aggregates {
        // A host named twice in one aggregate is in it once; sets do not mind.
        for host in &aggregate.hosts {
            memberships.entry(host).or_default().push(aggregate);
        }
    }
    let own = hosts.iter().filter_map(|host| host.zone.as_ref());
    let carried = aggregates
        .iter()
        .filter_map(|aggregate| aggregate.metadata.get(ZONE_KEY));
    let zones = own
        .map(|zone| zone.as_str().to_owned())
        .chain(carried.cloned())
        .collect();
    let hosts: Vec<OfHost> = hosts
        .iter()
        .map(|host| {
            let member_of = memberships.get(&host.name).map_or(&[][..], Vec::as_slice);
            OfHost {
                metadata: metadata(host, member_of),
                zones: zones_of(host, member_of, config.profile),
                numbers: numbers(config, host, member_of),
            }
        })
        .collect();
    let differs = Weigher::ALL.map(|weigher| {
        let mut set = hosts
            .iter()
            .map(|host| host.numbers.multipliers[weigher as usize]);
        set.any(|set| set.is_some())
    });
    let weighers = Weigher::ALL
        .into_iter()
        .map(|weigher| (weigher, config.weights.get(weigher)))
        .filter(|(weigher, configured)| *configured != 0.0 || differs[*weigher as usize])
        .collect();
    ByHost {
        hosts,
        zones,
        weighers,
        differs,
    }
}

/// As Nova's `aggregate_metadata_get_by_host`: values are split at commas and trimmed.
fn metadata(host: &Host, aggregates: &[&Aggregate]) -> Metadata {
    let mut metadata = Metadata::new();
    let own = host.zone.iter().map(|zone| (ZONE_KEY, zone.as_str()));
    let theirs = aggregates
        .iter()
        .flat_map(|aggregate| &aggregate.metadata)
        .map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in own.chain(theirs) {
        metadata.entry(key.to_owned()).or_default().extend(items(value));
    }
    metadata
}

/// A value is split at commas by AvailabilityZoneFilter, as all metadata, and taken whole by what came after it
/// (`map_az_to_placement_aggregate`), for which `a,b` is the one zone of that name.
fn zones_of(host: &Host, aggregates: &[&Aggregate], profile: Profile) -> BTreeSet<String> {
    let own = host.zone.as_ref().map(Name::as_str);
    let theirs = aggregates
        .iter()
        .filter_map(|aggregate| aggregate.metadata.get(ZONE_KEY));
    let written = own.into_iter().chain(theirs.map(String::as_str));
    match profile {
        Profile::Legacy => written.flat_map(items).collect(),
        Profile::Modern => written.map(str::to_owned).collect(),
    }
}

fn items(value: &str) -> impl Iterator<Item = String> {
    value.split(',').map(|item| item.trim().to_owned())
}

fn numbers(config: &SchedulerConfig, host: &Host, aggregates: &[&Aggregate]) -> AggregateNumbers {
    let ratio = |key, own: Ratio| {
        let set = least(aggregates, key, float);
        set.and_then(|set| Ratio::try_from(set).ok()).unwrap_or(own)
    };
    let [cpu, ram, disk] = RATIO_KEYS;
    let limit = |key, configured: u64| {
        let set = least(aggregates, key, int);
        // Below zero nothing passes, as at zero.
        set.map_or(configured, |set| u64::try_from(set).unwrap_or(0))
    };
    let mut multipliers = [None; Weigher::COUNT];
    for weigher in Weigher::ALL {
        let set = least(aggregates, weigher.row().metadata, float);
        multipliers[weigher as usize] = set.filter(|set| set.is_finite());
    }
    AggregateNumbers {
        ratios: Ratios {
            cpu: ratio(cpu, host.ratios.cpu),
            ram: ratio(ram, host.ratios.ram),
            disk: ratio(disk, host.ratios.disk),
        },
        max_instances: limit(LIMIT_KEYS[0], config.max_instances_per_host),
        max_io_ops: limit(LIMIT_KEYS[1], config.max_io_ops_per_host),
        multipliers,
    }
}

/// Why metadata cannot stand for the setting that its key is for. Nova takes the setting itself for what is no number,
/// and counts with any number.
pub(crate) fn flaw_of_metadata(key: &str, text: &str) -> Option<String> {
    let number = float(text);
    if RATIO_KEYS.contains(&key) {
        let ratio = number.and_then(|number| Ratio::try_from(number).ok());
        return ratio
            .is_none()
            .then(|| "a ratio must be above 0 and at most 1000000".to_owned());
    }
    if LIMIT_KEYS.contains(&key) {
        let limit = int(text).filter(|limit| *limit >= 0);
        return limit
            .is_none()
            .then(|| "it must be a whole number from 0".to_owned());
    }
    if Weigher::ALL.iter().any(|weigher| weigher.row().metadata == key) {
        let multiplier = number.filter(|number| Weights::ALLOWED.contains(number));
        return multiplier
            .is_none()
            .then(|| "a multiplier must be a number between -1e9 and 1e9".to_owned());
    }
    None
}

/// Whether Nova would count with it.
pub(crate) fn is_number(key: &str, text: &str) -> bool {
    if LIMIT_KEYS.contains(&key) {
        int(text).is_some()
    } else {
        float(text).is_some()
    }
}

/// As Nova's `validate_num_values`: the least that the aggregates set, or nothing where one of them is no number.
fn least<T: PartialOrd>(aggregates: &[&Aggregate], key: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut least = None;
    for text in aggregates
        .iter()
        .filter_map(|aggregate| aggregate.metadata.get(key))
    {
        let value = read(text)?;
        least = match least {
            Some(least) if least <= value => Some(least),
            Some(_) | None => Some(value),
        };
    }
    least
}
