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
pub(crate) struct Checked {
    judged: BTreeMap<(CheckKind, String), BTreeMap<String, CheckInstance>>,
    /// What was not found for a check, by its instance: that fails it, whatever its asserts come to.
    missing: BTreeMap<String, String>,
}

impl Checked {
    /// Judging begins, or begins again: what was known of it before is void.
    pub(crate) fn begin(&mut self, judged: &Judged) {
        let missing = self.missing.get(&judged.instance);
        let instance = CheckInstance {
            address: judged.instance.clone(),
            status: missing.map_or(CheckStatus::Pass, |_| CheckStatus::Fail),
            problems: missing.cloned().into_iter().collect(),
        };
        self.judged
            .entry((judged.kind, judged.block.clone()))
            .or_default()
            .insert(judged.instance.clone(), instance);
    }

    /// One condition of it came to this.
    pub(crate) fn add(&mut self, judged: &Judged, status: CheckStatus, problem: Option<&str>) {
        let instances = self.judged.get_mut(&(judged.kind, judged.block.clone()));
        if let Some(instance) = instances.and_then(|instances| instances.get_mut(&judged.instance)) {
            instance.status = instance.status.max(status);
            instance.problems.extend(problem.map(str::to_owned));
        }
    }

    /// Something that it needs was not found. It is to be judged all the same.
    pub(crate) fn lacks(&mut self, judged: Judged, problem: &str) {
        self.missing.insert(judged.instance, problem.to_owned());
    }

    /// Nothing that was judged waits for what is not known yet.
    pub(crate) fn is_settled(&self) -> bool {
        let mut all = self.judged.values().flat_map(BTreeMap::values);
        all.all(|instance| instance.status != CheckStatus::Unknown)
    }

    /// All of it, in the order of addresses.
    pub(crate) fn list(&self) -> Vec<Check> {
        let all = self.judged.iter();
        all.map(|((kind, address), instances)| Check {
            kind: *kind,
            address: address.clone(),
            instances: instances.values().cloned().collect(),
        })
        .collect()
    }
}
