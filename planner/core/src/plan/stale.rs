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
    let Some((meta, revision)) = &recorded.meta else {
        let why = "the store is empty, and was not when the plan was made".to_owned();
        return match plan.parent.meta_revision {
            None => Staleness::Fresh,
            Some(_) => Staleness::Stale { why },
        };
    };
    let stale = |why: String| Staleness::Stale {
        why: match &meta.by {
            Some(by) => format!("{why}; changed last by {by}"),
            None => why,
        },
    };
    if meta.lineage != plan.parent.lineage {
        let why = match plan.parent.meta_revision {
            None => "the store was empty when it was made, and is not any more",
            Some(_) => "the store is another one than it was made from",
        };
        return stale(why.to_owned());
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
