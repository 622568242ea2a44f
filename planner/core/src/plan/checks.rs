//! What the conditions of the files came to, for a plan's JSON: as Terraform's `checks`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What has conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// A resource with pre- or postconditions.
    Resource,
    /// An output with preconditions.
    OutputValue,
    /// A `check` block.
    Check,
    /// A variable with validations.
    Var,
}

/// What a condition came to; of several the last in this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// It holds.
    Pass,
    /// It needs what is known only after apply.
    Unknown,
    /// It does not hold.
    Fail,
    /// It could not be evaluated.
    Error,
}

/// One instance of what has conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckInstance {
    /// `server.web[0]`, `module.shop["a"].check.capacity`.
    pub address: String,
    /// The worst of its conditions.
    pub status: CheckStatus,
    /// The messages of those that do not hold; what is sensitive is not in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What has conditions, with all its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is.
    pub kind: CheckKind,
    /// Without instance keys: `module.shop.check.capacity`.
    pub address: String,
    /// In the order of their addresses.
    pub instances: Vec<CheckInstance>,
}

impl Check {
    /// The worst of its instances; without any it passes.
    #[must_use]
    pub fn status(&self) -> CheckStatus {
        let all = self.instances.iter().map(|instance| instance.status);
        all.max().unwrap_or(CheckStatus::Pass)
    }

    /// As Terraform shows it.
    pub(super) fn to_json(&self) -> Value {
        let instances: Vec<Value> = self.instances.iter().map(instance).collect();
        json!({
            "address": { "kind": self.kind, "to_display": self.address },
            "status": self.status(),
            "instances": instances,
        })
    }
}

fn instance(instance: &CheckInstance) -> Value {
    let problems = instance.problems.iter();
    let mut entry = json!({
        "address": { "to_display": instance.address },
        "status": instance.status,
    });
    if !instance.problems.is_empty() {
        entry["problems"] = problems.map(|message| json!({ "message": message })).collect();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_problems_are_named() {
        let one = |address: &str, status, problems: &[&str]| CheckInstance {
            address: address.to_owned(),
            status,
            problems: problems.iter().map(|text| (*text).to_owned()).collect(),
        };
        let check = Check {
            kind: CheckKind::Check,
            address: "module.a.check.room".to_owned(),
            instances: vec![
                one("module.a[0].check.room", CheckStatus::Fail, &["No room."]),
                one("module.a[1].check.room", CheckStatus::Unknown, &[]),
            ],
        };
        assert_eq!(
            check.to_json(),
            json!({
                "address": { "kind": "check", "to_display": "module.a.check.room" },
                "status": "fail",
                "instances": [
                    {
                        "address": { "to_display": "module.a[0].check.room" },
                        "status": "fail",
                        "problems": [{ "message": "No room." }],
                    },
                    { "address": { "to_display": "module.a[1].check.room" }, "status": "unknown" },
                ],
            })
        );
    }
}
