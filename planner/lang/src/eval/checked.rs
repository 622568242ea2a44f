//! What conditions came to, by what they are conditions of.

use drover_core::plan::{Check, CheckInstance, CheckKind, CheckStatus};
use std::collections::BTreeMap;

/// Whose conditions are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) kind: CheckKind,
    /// Without instance keys.
    pub(crate) block: String,
    pub(crate) instance: String,
}

/// Everything that was judged so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checked(BTreeMap<(CheckKind, String), BTreeMap<String, CheckInstance>>);

impl Checked {
    /// Judging begins, or begins again: what was known of it before is void.
    pub(crate) fn begin(&mut self, judged: &Judged) {
        let instance = CheckInstance {
            address: judged.instance.clone(),
            status: CheckStatus::Pass,
            problems: Vec::new(),
        };
        self.0
            .entry((judged.kind, judged.block.clone()))
            .or_default()
            .insert(judged.instance.clone(), instance);
    }

    /// One condition of it came to this.
    pub(crate) fn add(&mut self, judged: &Judged, status: CheckStatus, problem: Option<&str>) {
        let instances = self.0.get_mut(&(judged.kind, judged.block.clone()));
        if let Some(instance) = instances.and_then(|instances| instances.get_mut(&judged.instance)) {
            instance.status = instance.status.max(status);
            instance.problems.extend(problem.map(str::to_owned));
        }
    }

    /// Nothing that was judged waits for what is not known yet.
    pub(crate) fn is_settled(&self) -> bool {
        let mut all = self.0.values().flat_map(BTreeMap::values);
        all.all(|instance| instance.status != CheckStatus::Unknown)
    }

    /// All of it, in the order of addresses.
    pub(crate) fn list(&self) -> Vec<Check> {
        let all = self.0.iter();
        all.map(|((kind, address), instances)| Check {
            kind: *kind,
            address: address.clone(),
            instances: instances.values().cloned().collect(),
        })
        .collect()
    }
}
