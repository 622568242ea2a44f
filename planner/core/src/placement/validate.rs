//! What a scheduler refuses to start with: every mistake is reported, not only the first.

use super::aggregates::{LIMIT_KEYS, flaw_of_metadata, is_number};
use super::config::{SchedulerConfig, Weights};
use super::input::{Aggregate, Group, Host, Name, Request, Resources};
use super::weighers::Weigher;
use std::collections::BTreeSet;
use std::fmt;

/// Largest amount of memory or disk, in MiB (8 EiB): sums of these stay exact in a double and in 64 bits.
pub(crate) const MAX_MIB: u64 = 1 << 43;

/// Largest number of vCPUs of one host or server.
pub(crate) const MAX_VCPUS: u64 = 1 << 20;

/// One mistake in what the scheduler was given.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InputError {
    /// Two hosts, groups, aggregates or servers of one name.
    #[error("{kind} {name:?} is given twice; names must be unique")]
    Twice {
        /// host, group, aggregate or server.
        kind: &'static str,
        /// The name.
        name: Name,
    },
    /// An amount below zero.
    #[error("{kind} {name:?}: {field} is {value}; it must not be negative")]
    Negative {
        /// host or server.
        kind: &'static str,
        /// Its name.
        name: Name,
        /// The field.
        field: &'static str,
        /// What was given.
        value: i64,
    },
    /// An amount no machine has.
    #[error("{kind} {name:?}: {field} is {value}, more than the largest accepted, {limit}")]
    TooLarge {
        /// host or server.
        kind: &'static str,
        /// Its name.
        name: Name,
        /// The field.
        field: &'static str,
        /// What was given.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// A ratio that is zero, negative, not finite or beyond a million.
    #[error("host {host:?}: {field} is {value}; a ratio must be above 0 and at most 1000000")]
    Ratio {
        /// The host.
        host: Name,
        /// The field.
        field: &'static str,
        /// What was given.
        value: f64,
    },
    /// A number in an aggregate's metadata that its setting cannot have.
    #[error("aggregate {aggregate:?}: {key} is {value:?}; {problem}")]
    Metadata {
        /// The aggregate.
        aggregate: Name,
        /// The key.
        key: String,
        /// What was given.
        value: String,
        /// What it must be.
        problem: String,
    },
    /// A multiplier that is not finite.
    #[error("weight {weigher} has multiplier {value:?}; it must be a number between -1e9 and 1e9")]
    Multiplier {
        /// The weigher.
        weigher: Weigher,
        /// What was given.
        value: f64,
    },
    /// A filter, weigher, policy or reference nobody knows.
    #[error("{place}: unknown {kind} {name:?}{hint}")]
    Unknown {
        /// Where it was named.
        place: String,
        /// filter, weigher, policy, group, host or server.
        kind: &'static str,
        /// What was written.
        name: String,
        /// `; did you mean "…"?`, or nothing.
        hint: Hint,
    },
    /// A group that no server could ever be placed in.
    #[error("group {0:?} allows no server on any host; max_server_per_host must be at least 1")]
    EmptyLimit(Name),
    /// Something missing, or of another type than it must be.
    #[error("{place} {problem}")]
    Shape {
        /// Where: `hosts[3].ram_mb`.
        place: String,
        /// What is wrong with it, and what it must be.
        problem: String,
    },
    /// An option this scheduler does not offer.
    #[error("{option} is {value}; only {only} is supported, so that a plan can be repeated")]
    Unsupported {
        /// The option.
        option: &'static str,
        /// What was given.
        value: i64,
        /// What is supported.
        only: i64,
    },
}

impl InputError {
    /// A reference to nobody; of the many names that a fleet may have none is looked for that is near.
    pub(crate) fn unknown(place: String, kind: &'static str, name: &Name) -> Self {
        Self::Unknown {
            place,
            kind,
            name: name.to_string(),
            hint: Hint(None),
        }
    }
}

/// The nearest known word, shown as a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint(Option<String>);

impl Hint {
    /// The known word nearest to `written`, if one is near.
    #[must_use]
    pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        // Comparing costs length × length: a word far longer than any known one is near none.
        if written.len() > 64 {
            return Self(None);
        }
        let near = known
            .into_iter()
            .map(|word| (distance(&written.to_lowercase(), &word.to_lowercase()), word))
            .filter(|(distance, word)| *distance <= word.len() / 3 + 1)
            .min_by_key(|(distance, _)| *distance);
        Self(near.map(|(_, word)| word.to_owned()))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(word) => write!(f, "; did you mean {word:?}?"),
            None => Ok(()),
        }
    }
}

/// Levenshtein's distance in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, character) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, other) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(character != *other);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

/// All mistakes found.
#[derive(Debug, Clone, PartialEq)]
pub struct InputErrors(pub Vec<InputError>);

impl InputErrors {
    /// `Ok` when there are none.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Reports every name that occurs again.
    pub(crate) fn repeated<'n>(&mut self, kind: &'static str, names: impl Iterator<Item = &'n Name>) {
        let mut seen = BTreeSet::new();
        // That a name is missing is said elsewhere.
        for name in names.filter(|name| !name.as_str().is_empty()) {
            if !seen.insert(name) {
                self.0.push(InputError::Twice {
                    kind,
                    name: name.clone(),
                });
            }
        }
    }

    fn amounts(&mut self, kind: &'static str, name: &Name, prefix: [&'static str; 3], amount: &Resources) {
        let limits = [
            (prefix[0], amount.vcpus, MAX_VCPUS),
            (prefix[1], amount.ram_mib, MAX_MIB),
            (prefix[2], amount.disk_mib, MAX_MIB),
        ];
        for (field, value, limit) in limits {
            if value > limit {
                self.0.push(InputError::TooLarge {
                    kind,
                    name: name.clone(),
                    field,
                    value,
                    limit,
                });
            }
        }
    }
}

impl fmt::Display for InputErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InputErrors {}

/// Every mistake in hosts, aggregates, groups and settings.
pub(crate) fn world(
    config: &SchedulerConfig,
    hosts: &[Host],
    aggregates: &[Aggregate],
    groups: &[Group],
) -> Result<(), InputErrors> {
    let mut errors = InputErrors(Vec::new());
    for (weigher, value) in config.weights.active() {
        if !Weights::ALLOWED.contains(&value) {
            errors.0.push(InputError::Multiplier { weigher, value });
        }
    }
    errors.repeated("host", hosts.iter().map(|host| &host.name));
    errors.repeated("aggregate", aggregates.iter().map(|aggregate| &aggregate.name));
    errors.repeated("group", groups.iter().map(|group| &group.name));
    for host in hosts {
        errors.amounts(
            "host",
            &host.name,
            ["vcpus", "memory (MiB)", "disk (MiB)"],
            &host.capacity,
        );
        let used = ["vcpus used", "memory used (MiB)", "disk used (MiB)"];
        errors.amounts("host", &host.name, used, &host.used);
    }
    let known: BTreeSet<&Name> = hosts.iter().map(|host| &host.name).collect();
    for aggregate in aggregates {
        for name in aggregate.hosts.iter().filter(|name| !known.contains(name)) {
            let place = format!("aggregate {:?}", aggregate.name);
            errors.0.push(InputError::unknown(place, "host", name));
        }
        // What is no number stands for nothing, as Nova has it.
        for (key, value) in &aggregate.metadata {
            let limits = LIMIT_KEYS.contains(&key.as_str());
            if let Some(problem) = flaw_of_metadata(key, value)
                && is_number(key, value)
                && !limits
            {
                errors.0.push(InputError::Metadata {
                    aggregate: aggregate.name.clone(),
                    key: key.clone(),
                    value: value.clone(),
                    problem,
                });
            }
        }
    }
    for group in groups.iter().filter(|group| group.max_per_host == 0) {
        errors.0.push(InputError::EmptyLimit(group.name.clone()));
    }
    errors.into_result()
}

/// Every mistake in a batch of requests.
pub(crate) fn requests(requests: &[Request], is_group: impl Fn(&Name) -> bool) -> Result<(), InputErrors> {
    let mut errors = InputErrors(Vec::new());
    errors.repeated("server", requests.iter().map(|request| &request.name));
    for request in requests {
        errors.amounts(
            "server",
            &request.name,
            ["vcpus", "memory (MiB)", "disk (MiB)"],
            &request.wants,
        );
        if let Some(group) = request.group.as_ref().filter(|group| !is_group(group)) {
            let place = format!("server {:?}", request.name);
            errors.0.push(InputError::unknown(place, "group", group));
        }
    }
    errors.into_result()
}
