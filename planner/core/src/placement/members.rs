//! Which hosts hold members of a group.

use super::state::HostIndex;
use std::collections::BTreeMap;

/// Where the members of one group are, and how many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members(BTreeMap<HostIndex, u64>);

impl Members {
    pub(crate) fn on(&self, host: HostIndex) -> u64 {
        self.0.get(&host).copied().unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = HostIndex> + '_ {
        self.0.keys().copied()
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(super) fn add(&mut self, host: HostIndex) {
        *self.0.entry(host).or_insert(0) += 1;
    }

    pub(super) fn remove(&mut self, host: HostIndex) {
        if let Some(count) = self.0.get_mut(&host) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&host);
            }
        }
    }
}
