//! What the journal keeps of an action: enough to ask again, and to write its result down later.

use crate::model::OperationRecord;
use crate::plan::Action;
use serde::{Deserialize, Serialize};

/// An action as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journaled {
    /// The action.
    pub action: Action,
    /// Which of a create's candidates; 0 otherwise.
    pub candidate: usize,
}

impl Journaled {
    /// Reads it back.
    ///
    /// # Errors
    /// Where the entry was written by a drover with other actions.
    pub fn read(record: &OperationRecord) -> Result<Self, serde_json::Error> {
        Self::deserialize(&record.action)
    }
}
