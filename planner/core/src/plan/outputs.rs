//! Which outputs a plan changes.

use super::types::{OutputChange, OutputValue, PlanMode, PlanOptions};
use crate::model::RecordedFleet;
use std::collections::{BTreeMap, BTreeSet};

/// The outputs that a plan of some targets may write: as recorded, but for those that only the plan's own moves
/// change. `unmoved` are the declared outputs evaluated with every server where it is recorded, `planned` with every
/// server where the plan has it.
///
/// An output that also differs for another reason, for example a target left out, is for a plan of the whole fleet.
#[must_use]
pub fn outputs_of_targets(
    recorded: &RecordedFleet,
    unmoved: &BTreeMap<String, OutputValue>,
    planned: &BTreeMap<String, OutputValue>,
) -> BTreeMap<String, OutputValue> {
    let as_recorded = recorded_outputs(recorded);
    as_recorded
        .into_iter()
        .map(|(name, record)| {
            let moved = planned
                .get(&name)
                .filter(|planned| unmoved.get(&name) == Some(&record) && planned.value.is_some());
            let value = moved.cloned().unwrap_or(record);
            (name, value)
        })
        .collect()
}

fn recorded_outputs(recorded: &RecordedFleet) -> BTreeMap<String, OutputValue> {
    let value = |record: &crate::model::OutputRecord| OutputValue {
        value: Some(record.value.clone()),
        waits_for: None,
        sensitive: record.sensitive,
    };
    recorded
        .outputs
        .iter()
        .map(|(name, record)| (name.clone(), value(record)))
        .collect()
}

pub(super) fn output_changes(
    recorded: &RecordedFleet,
    outputs: &BTreeMap<String, OutputValue>,
    options: &PlanOptions,
) -> BTreeMap<String, OutputChange> {
    let nothing = BTreeMap::new();
    let outputs = match options.mode {
        PlanMode::RefreshOnly => return BTreeMap::new(),
        // What the targets leave behind may still be named.
        PlanMode::Destroy if options.is_partial() => return BTreeMap::new(),
        PlanMode::Destroy => &nothing,
        PlanMode::Apply => outputs,
    };
    let before = recorded_outputs(recorded);
    let names: BTreeSet<&String> = before.keys().chain(outputs.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let before = before.get(name).cloned();
            let after = outputs.get(name).cloned();
            (before != after).then(|| (name.clone(), OutputChange { before, after }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OutputRecord;
    use serde_json::{Value, json};

    fn value(value: impl Into<Option<Value>>) -> OutputValue {
        OutputValue {
            value: value.into(),
            waits_for: None,
            sensitive: false,
        }
    }

    fn outputs(of: &[(&str, OutputValue)]) -> BTreeMap<String, OutputValue> {
        of.iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    #[test]
    fn a_plan_of_targets_writes_what_its_own_moves_change() {
        let mut recorded = RecordedFleet::empty(1);
        for (name, value) in [
            ("moved", json!("n1")),
            ("unmoved", json!("n2")),
            ("edited", json!("n1")),
            ("unknown", json!("n1")),
            ("gone", json!(1)),
        ] {
            let record = OutputRecord {
                format: 1,
                value,
                sensitive: false,
            };
            recorded.outputs.insert(name.to_owned(), record);
        }
        let unmoved = outputs(&[
            ("moved", value(json!("n1"))),
            ("unmoved", value(json!("n2"))),
            ("edited", value(json!(["n1"]))),
            ("unknown", value(json!("n1"))),
            ("new", value(json!("n1"))),
        ]);
        let planned = outputs(&[
            ("moved", value(json!("n3"))),
            ("unmoved", value(json!("n2"))),
            ("edited", value(json!(["n3"]))),
            ("unknown", value(None)),
            ("new", value(json!("n3"))),
        ]);
        let written = outputs_of_targets(&recorded, &unmoved, &planned);
        let changes = output_changes(&recorded, &written, &PlanOptions::default());
        let change = OutputChange {
            before: Some(value(json!("n1"))),
            after: Some(value(json!("n3"))),
        };
        assert_eq!(changes, [("moved".to_owned(), change)].into());
    }
}
