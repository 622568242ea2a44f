//! What a store holds of a whole fleet, before it is read project by project.

use super::key::{Layout, Object};
use super::read::RecordError;
use super::transaction::Entry;
use crate::model::RecordedFleet;
use drover_types::{FleetName, ProjectName};
use std::collections::BTreeSet;

/// The records of all projects of a fleet, at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The fleet.
    pub fleet: FleetName,
    /// The store's revision at which all of it was read.
    pub revision: u64,
    /// Everything below [`Layout::root`].
    pub entries: Vec<Entry>,
}

impl Records {
    /// One project's records.
    ///
    /// # Errors
    /// The first key that is unknown, or whose record is newer than this version or malformed.
    pub fn project(&self, project: &ProjectName) -> Result<RecordedFleet, RecordError> {
        let layout = Layout::new(&self.fleet, project);
        RecordedFleet::from_entries(&layout, self.revision, &self.entries)
    }

    /// The projects that have records, but for `own`.
    #[must_use]
    pub fn others(&self, own: &ProjectName) -> BTreeSet<ProjectName> {
        let layout = Layout::new(&self.fleet, own);
        let objects = self
            .entries
            .iter()
            .filter_map(|entry| layout.parse(entry.key.as_str()).ok());
        objects
            .filter_map(|object| match object {
                Object::OtherProject(project) => Some(project),
                Object::Meta
                | Object::Lock
                | Object::Resource(_)
                | Object::Host(_)
                | Object::Incarnation(_)
                | Object::Deposed(_)
                | Object::Output(_)
                | Object::Ownership(_)
                | Object::Operation(_)
                | Object::Event => None,
            })
            .collect()
    }
}
