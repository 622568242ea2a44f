//! The contents of lists, tuples, sets, maps and objects, with what must be known about them without looking
//! at every item again.

use super::{Cause, Marks, Value, compare};
use drover_types::Address;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// What a collection holds, computed once when it is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    pub(crate) marks: Marks,
    pub(crate) unknown: Option<Cause>,
    pub(crate) weight: u64,
    pub(crate) depth: u32,
}

impl Summary {
    fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Self {
        let mut summary = Self {
            weight: 1,
            ..Self::default()
        };
        for value in values {
            summary.marks |= value.held_marks();
            summary.weight = summary.weight.saturating_add(value.weight());
            summary.depth = summary.depth.max(value.depth());
            if let Some(cause) = value.why_unknown()
                && summary.unknown.as_ref().is_none_or(|known| cause < known)
            {
                summary.unknown = Some(cause.clone());
            }
        }
        summary.depth += 1;
        summary
    }
}

/// The items of a list, tuple or set.
#[derive(Debug)]
pub struct Sequence {
    items: Vec<Value>,
    summary: Summary,
    /// Indexes sorted by item, made when something is first looked for: 10,000 instances that each look into
    /// the same list stay linear.
    sorted: OnceLock<Vec<usize>>,
}

impl Sequence {
    pub(crate) fn new(items: Vec<Value>) -> Self {
        let summary = Summary::of(items.iter());
        Self {
            items,
            summary,
            sorted: OnceLock::new(),
        }
    }

    /// The index of the first item that equals `wanted`.
    #[must_use]
    pub fn position(&self, wanted: &Value) -> Option<usize> {
        let sorted = self.sorted.get_or_init(|| {
            let mut indexes: Vec<usize> = (0..self.items.len()).collect();
            indexes.sort_by(|a, b| compare(&self.items[*a], &self.items[*b]));
            indexes
        });
        let at = sorted.partition_point(|index| compare(&self.items[*index], wanted).is_lt());
        sorted
            .get(at)
            .copied()
            .filter(|index| compare(&self.items[*index], wanted).is_eq())
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl std::ops::Deref for Sequence {
    type Target = [Value];
    fn deref(&self) -> &[Value] {
        &self.items
    }
}

/// The fields of a map or object, sorted by name.
#[derive(Debug)]
pub struct Fields {
    by_name: BTreeMap<Arc<str>, Value>,
    summary: Summary,
    declared: Option<Address>,
}

impl Fields {
    pub(crate) fn new(by_name: BTreeMap<Arc<str>, Value>) -> Self {
        let mut summary = Summary::of(by_name.values());
        let names: u64 = by_name
            .keys()
            .map(|name| u64::try_from(name.len()).unwrap_or(u64::MAX))
            .sum();
        summary.weight = summary.weight.saturating_add(names);
        Self {
            by_name,
            summary,
            declared: None,
        }
    }

    /// The fields of a declared host, flavor, image, group or server.
    pub(crate) fn of_declared(address: Address, by_name: BTreeMap<Arc<str>, Value>) -> Self {
        Self {
            declared: Some(address),
            ..Self::new(by_name)
        }
    }

    /// Which declared thing this object stands for, if for one.
    #[must_use]
    pub fn declared(&self) -> Option<&Address> {
        self.declared.as_ref()
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(crate) fn by_name(&self) -> &BTreeMap<Arc<str>, Value> {
        &self.by_name
    }

    /// The field with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.by_name.get(name)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Arc<str>, &Value)> {
        self.by_name.iter()
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }
}
