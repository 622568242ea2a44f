//! The words for why a filter refused a host, for what would help, and how hard that is.

use super::Filter;
use super::rejection::{Rejection, Unmet};
use std::fmt;

/// What there is to say about a rejection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Words {
    /// Why the host was refused.
    pub(crate) why: String,
    /// What would have to be otherwise, after "it would fit with".
    pub(crate) remedy: String,
    /// How hard that is.
    pub(crate) effort: Effort,
}

/// How hard an obstacle is to remove: what an operator can free or switch comes first, then by how much is missing.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Effort {
    /// Room on the host, by the share that is missing.
    Free(f64),
    /// Something to switch or to wait for.
    Switch(u8),
    /// Something of the servers there.
    Rearrange,
    /// Where the host belongs.
    Regroup,
    /// What the host is.
    Change,
    /// A larger host, by the share that is missing.
    Enlarge(f64),
    /// The request is wrong.
    Correct,
}

/// A number of MiB as people write it: `512 MiB`, `3.5 GiB`.
pub(crate) fn human_mib(mib: f64) -> String {
    let (number, unit) = if mib.abs() >= 1024.0 * 1024.0 {
        (mib / (1024.0 * 1024.0), "TiB")
    } else if mib.abs() >= 1024.0 {
        (mib / 1024.0, "GiB")
    } else {
        (mib, "MiB")
    };
    format!("{} {unit}", short(number))
}

/// The same of what is needed: rounded up, so that so much is enough.
pub(crate) fn at_least_mib(mib: f64) -> String {
    let unit = if mib.abs() >= 1024.0 * 1024.0 {
        1024.0 * 1024.0
    } else if mib.abs() >= 1024.0 {
        1024.0
    } else {
        1.0
    };
    let hundredths = (mib / unit * 100.0).ceil();
    human_mib(hundredths / 100.0 * unit + 1e-6)
}

/// At most two decimals, none that are zero; rounded down, so that "left" never promises too much.
pub(crate) fn short(number: f64) -> String {
    // Added to nothing, the zero below zero is the plain one.
    let hundredths = (number * 100.0).floor() / 100.0 + 0.0;
    format!("{hundredths}")
}

fn whole_mib(mib: f64) -> String {
    format!("{} MiB", short(mib))
}

/// An amount of something countable: how it is written, and what it is called where more of it is asked for.
struct Countable {
    write: fn(f64) -> String,
    /// Where the above would show two numbers alike that differ.
    exactly: fn(f64) -> String,
    /// Rounded up.
    at_least: fn(f64) -> String,
    free: &'static str,
    unit: &'static str,
}

const MEMORY: Countable = Countable {
    write: human_mib,
    exactly: whole_mib,
    at_least: at_least_mib,
    free: "memory",
    unit: "",
};
const DISK: Countable = Countable {
    write: human_mib,
    exactly: whole_mib,
    at_least: at_least_mib,
    free: "disk",
    unit: "",
};
const VCPUS: Countable = Countable {
    write: short,
    exactly: short,
    at_least: short,
    free: "vCPU",
    unit: " vCPU",
};

impl Countable {
    fn words(&self, host: &str, wanted: u64, free: f64, total: u64, ratio: f64) -> Words {
        let limit = if wanted > total { total as f64 } else { free };
        let alike = (self.write)(wanted as f64) == (self.write)(limit);
        let write = if alike { self.exactly } else { self.write };
        let missing = wanted as f64 - free;
        let share = missing / (total as f64).max(1.0);
        let (wants, has) = (write(wanted as f64), write(total as f64));
        if wanted > total {
            return Words {
                why: format!("wants {wants}, the whole host has {has}"),
                remedy: format!(
                    "a host of at least {}{}, where {host} has {has}",
                    (self.at_least)(wanted as f64),
                    self.unit
                ),
                effort: Effort::Enlarge(share),
            };
        }
        let times = if ratio == 1.0 {
            String::new()
        } else {
            format!(" × {ratio}")
        };
        Words {
            why: format!("wants {wants}, {} of {has}{times} left", write(free)),
            remedy: format!(
                "{} more {} free on {host}",
                (self.at_least)(missing.ceil()),
                self.free
            ),
            effort: Effort::Free(share),
        }
    }
}

fn listed<T: fmt::Display>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn each(unmet: &[Unmet], between: &str, words: impl Fn(&Unmet) -> String) -> String {
    let each: Vec<String> = unmet.iter().map(words).collect();
    each.join(between)
}

impl Unmet {
    fn asked(&self) -> String {
        format!("{} {:?}", self.key, self.wanted)
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wants {:?}, ", self.key, self.wanted)?;
        if self.found.is_empty() {
            f.write_str("host has none")
        } else {
            write!(f, "host has {}", self.found.join(", "))
        }
    }
}

impl Rejection {
    /// What there is to say; `host` is the host refused.
    pub(crate) fn words(&self, host: &str) -> Words {
        let words = |why: String, remedy: String, effort| Words { why, remedy, effort };
        match self {
            Self::Tried => words(
                "refused this server before".to_owned(),
                format!("{host} tried again"),
                Effort::Switch(1),
            ),
            Self::Zone { wanted, found } => words(
                format!("wants zone {wanted}, host is in {}", found.join(", ")),
                format!("{host} in zone {wanted}"),
                Effort::Regroup,
            ),
            Self::Ram {
                wanted_mib,
                free_mib,
                total_mib,
                ratio,
            } => MEMORY.words(host, *wanted_mib, *free_mib, *total_mib, *ratio),
            Self::Disk {
                wanted_mib,
                free_mib,
                total_mib,
                ratio,
            } => DISK.words(host, *wanted_mib, *free_mib, *total_mib, *ratio),
            Self::Vcpus {
                wanted,
                free,
                total,
                ratio,
            } => VCPUS.words(host, *wanted, *free, *total, *ratio),
            Self::Disabled => words(
                "disabled".to_owned(),
                format!("{host} enabled"),
                Effort::Switch(0),
            ),
            Self::Down => words("down".to_owned(), format!("{host} up"), Effort::Switch(0)),
            Self::Capability { unmet } | Self::AggregateSpec { unmet } | Self::Image { unmet } => words(
                each(unmet, "; ", ToString::to_string),
                format!("{host} meeting {}", each(unmet, " and ", Unmet::asked)),
                Effort::Change,
            ),
            Self::UnreadableVersion { wanted } => words(
                format!("img_hv_requested_version is {wanted:?}, which cannot be read"),
                "img_hv_requested_version written as \">=2.6,<8.0\"".to_owned(),
                Effort::Correct,
            ),
            Self::AntiAffinity {
                group,
                members,
                limit,
            } => {
                let most = if *limit == 1 {
                    String::new()
                } else {
                    format!(", at most {limit}")
                };
                words(
                    format!("holds {members} of group {group}{most}"),
                    format!("one less of group {group} on {host}"),
                    Effort::Rearrange,
                )
            }
            Self::Affinity { group, hosts } => words(
                format!("group {group} is on {}", listed(hosts)),
                format!("group {group} on {host}"),
                Effort::Rearrange,
            ),
            Self::Instances { instances, limit } => words(
                format!("holds {instances} servers, at most {limit}"),
                format!("one server less on {host}"),
                Effort::Rearrange,
            ),
            Self::IoOps { io_ops, limit } => words(
                format!("{io_ops} builds and moves under way, at most {limit}"),
                format!("a build or move on {host} finished"),
                Effort::Switch(1),
            ),
            Self::UnknownGroup { group } => words(
                format!("group {group} is not declared"),
                format!("group {group} declared"),
                Effort::Correct,
            ),
            Self::NotWith { servers, hosts } if hosts.is_empty() => words(
                format!("wants to be with {}, on no host", listed(servers)),
                format!("{} on {host}", listed(servers)),
                Effort::Rearrange,
            ),
            Self::NotWith { servers, hosts } => words(
                format!("wants to be with {}, on {}", listed(servers), listed(hosts)),
                format!("{} on {host}", listed(servers)),
                Effort::Rearrange,
            ),
            Self::NotWithout { server } => words(
                format!("holds {server}, which it must not be with"),
                format!("{server} away from {host}"),
                Effort::Rearrange,
            ),
            Self::Network { wanted, found } => {
                let found = found.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
                words(
                    format!("wants network {wanted}, host's address is {found}"),
                    format!("{host} in network {wanted}"),
                    Effort::Change,
                )
            }
            Self::AggregateImage { unmet } => {
                let why = |unmet: &Unmet| {
                    let Unmet { key, wanted, found } = unmet;
                    format!("{key} {wanted:?}, aggregates allow {}", listed(found))
                };
                words(
                    format!("image has {}", each(unmet, "; ", why)),
                    format!(
                        "{host} in an aggregate for {}",
                        each(unmet, " and ", Unmet::asked)
                    ),
                    Effort::Regroup,
                )
            }
            Self::Tenant { project } => words(
                format!("kept for other projects than {:?}", project.as_str()),
                format!("{host} in an aggregate for project {:?}", project.as_str()),
                Effort::Regroup,
            ),
            Self::Flavor { flavor, allowed } => words(
                format!(
                    "flavor is {:?}, aggregates allow {}",
                    flavor.as_str(),
                    listed(allowed)
                ),
                format!("{host} in an aggregate for flavor {:?}", flavor.as_str()),
                Effort::Regroup,
            ),
            Self::ImageIsolated => words(
                "the image may run on isolated hosts alone".to_owned(),
                format!("{host} among the isolated hosts"),
                Effort::Regroup,
            ),
            Self::HostIsolated => words(
                "kept for isolated images".to_owned(),
                format!("{host} no isolated host"),
                Effort::Regroup,
            ),
            Self::Devices { problem } => words(problem.to_string(), problem.remedy(host), Effort::Rearrange),
            Self::Hidden { what } => words(
                format!("{what} does not fit (sensitive value)"),
                format!("{host} meeting {what}"),
                Effort::Change,
            ),
            Self::NotMeasured { metric } => words(
                format!("does not measure {metric}"),
                format!("{host} measuring {metric}"),
                Effort::Change,
            ),
        }
    }
}

impl Rejection {
    /// What people call what a filter looks at; of one that looks at several things, which of them it was.
    #[must_use]
    pub const fn label(&self, filter: Filter) -> &'static str {
        match (filter, self) {
            (Filter::Placement, Self::Ram { .. }) => Filter::Ram.label(),
            (Filter::Placement, Self::Disk { .. }) => Filter::Disk.label(),
            (Filter::Placement, Self::Vcpus { .. }) => Filter::Core.label(),
            (Filter::Placement, Self::Zone { .. }) => Filter::AvailabilityZone.label(),
            (filter, _) => filter.label(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words("the host").why)
    }
}
