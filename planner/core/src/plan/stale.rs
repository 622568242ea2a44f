//! Whether a plan still fits the store.

use super::types::Plan;
use crate::model::RecordedFleet;

/// Whether a plan still fits the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Staleness {
    /// Nothing changed since it was made.
    Fresh,
    /// All that changed was done by an apply of this very plan: it can go on.
    Resumable,
    /// Something else changed.
    Stale {
        /// What, in words.
        why: String,
    },
}

/// Compares a plan's parent with the store.
#[must_use]
pub fn staleness(plan: &Plan, recorded: &RecordedFleet) -> Staleness {
    let stale = |why: String| Staleness::Stale { why };
    let Some((meta, revision)) = &recorded.meta else {
        return match plan.parent.meta_revision {
            None => Staleness::Fresh,
            Some(_) => stale("the store is empty, and was not when the plan was made".to_owned()),
        };
    };
    if meta.lineage != plan.parent.lineage {
        return stale("the store is another one than the plan was made from".to_owned());
    }
    if plan.parent.meta_revision == Some(*revision) {
        return Staleness::Fresh;
    }
    match &meta.apply {
        Some(mark) if mark.plan == plan.digest && mark.parent == plan.parent.meta_revision => {
            Staleness::Resumable
        }
        Some(_) | None => {
            let parent = plan
                .parent
                .meta_revision
                .map_or("none".to_owned(), |revision| revision.to_string());
            stale(format!(
                "it was made at revision {parent} of the fleet, which is at {revision} now"
            ))
        }
    }
}
