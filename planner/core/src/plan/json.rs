//! The plan for programs, in the shape of `terraform show -json`. `docs/plan-json.md` and `docs/plan.schema.json` say
//! what is in it; a field that changes its meaning raises [`FORMAT_VERSION`].

use super::action::ActionKind;
use super::change::{Change, ChangeKind, changes, cost, count};
use super::checks::Check;
use super::reason::Reason;
use super::types::{Drift, DriftKind, OutputChange, OutputValue, Plan};
use crate::diff::attributes;
use drover_types::{Address, InstanceKey};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Version of this form. The minor part rises when something is added, the major when something changes.
pub const FORMAT_VERSION: &str = "1.0";

/// The plan as JSON. What is sensitive is null in it, and marked.
#[must_use]
pub fn render(plan: &Plan) -> Value {
    let all = changes(plan);
    let of = |wanted: bool| {
        all.iter()
            .filter(move |change| (change.kind == ChangeKind::HostWork) == wanted)
    };
    let resource_changes: Vec<Value> = of(false).map(|change| resource(plan, change)).collect();
    let host_actions: Vec<Value> = of(true).map(host_action).collect();
    let output_changes: Map<String, Value> = plan
        .outputs
        .iter()
        .map(|(name, change)| (name.clone(), output(change)))
        .collect();
    json!({
        "format_version": FORMAT_VERSION,
        "drover_version": plan.drover_version,
        "fleet": plan.fleet,
        "project": plan.project,
        "mode": plan.mode,
        "inventory_taken": plan.inventory,
        "balance": plan.balance,
        "targets": plan.targets,
        "digest": plan.digest,
        "config_digest": plan.config_digest,
        "parent": plan.parent,
        "applyable": !plan.is_empty(),
        "complete": plan.is_whole(),
        "summary": count(&all),
        "resource_changes": resource_changes,
        "resource_drift": plan.drift.iter().map(drift).collect::<Vec<_>>(),
        "host_actions": host_actions,
        "joins": plan.joins,
        "output_changes": output_changes,
        "blocked": plan.blocked,
        "unobserved_hosts": plan.unobserved,
        "findings": plan.findings,
        "checks": plan.checks.iter().map(Check::to_json).collect::<Vec<_>>(),
        "explanations": explanations(plan),
    })
}

/// Per server that was to be explained: every host with all its refusals, the weights and the margin.
fn explanations(plan: &Plan) -> Vec<Value> {
    let explanations = plan.explanations.iter();
    explanations
        .map(|(address, explanation)| {
            let mut entry = identity(address);
            entry.insert("explanation".to_owned(), json!(explanation));
            Value::Object(entry)
        })
        .collect()
}

fn resource(plan: &Plan, change: &Change<'_>) -> Value {
    let Change {
        kind,
        address,
        action,
        removal,
    } = change;
    let before = removal.map_or(&action.before, |removal| &removal.before);
    let mut entry = identity(address);
    let mut details = json!({
        "actions": kind.terraform_actions(),
        "before": shown(before, &action.hidden.before),
        "after": shown(&action.after, &action.hidden.after),
        "after_unknown": {},
        "before_sensitive": marks(before, &action.hidden.before),
        "after_sensitive": marks(&action.after, &action.hidden.after),
    });
    if *kind == ChangeKind::Replace && matches!(action.why, Reason::ImageChanged) {
        details["replace_paths"] = json!([["image_checksum"]]);
    }
    let changed = attributes::changed(before, &action.after);
    details["changed_attributes"] = json!(changed);
    entry.insert("change".to_owned(), details);
    if let Some(code) = action_reason(*kind, &action.why) {
        entry.insert("action_reason".to_owned(), json!(code));
    }
    entry.insert("reason".to_owned(), reason(&action.why));
    entry.insert(
        "impact".to_owned(),
        json!({ "class": action.impact.as_str(), "words": cost(change) }),
    );
    entry.insert("verb".to_owned(), json!(action.kind.verb()));
    entry.insert("operation".to_owned(), json!(action.id));
    entry.insert("host".to_owned(), json!(action.host));
    if let ActionKind::Migrate {
        to, cold, copy_bytes, ..
    } = &action.kind
    {
        entry.insert(
            "migration".to_owned(),
            json!({ "to": to, "cold": cold, "copy_bytes": copy_bytes }),
        );
    }
    if let ActionKind::Import { from, .. } = &action.kind {
        entry["change"]["importing"] = json!({ "id": from });
    }
    if let ActionKind::Move { from, .. } = &action.kind {
        entry.insert("previous_address".to_owned(), json!(from));
    }
    if let Some(placement) = plan.placements.get(*address) {
        entry.insert("placement".to_owned(), json!(placement));
    }
    entry.insert("depends_on".to_owned(), json!(action.depends_on));
    Value::Object(entry)
}

/// A reason's fields, and what people are told.
fn reason(why: &Reason) -> Value {
    let mut fields = json!(why);
    fields["words"] = json!(why.to_string());
    fields
}

/// Terraform's word for the reason, where it has one; nothing where the action says all.
fn action_reason(kind: ChangeKind, why: &Reason) -> Option<String> {
    let word = match (kind, why) {
        (_, Reason::Declared) => return None,
        (ChangeKind::Destroy | ChangeKind::Forget | ChangeKind::RecordGone, Reason::NotDeclared) => {
            "delete_because_no_resource_config".to_owned()
        }
        (ChangeKind::Replace, Reason::ImageChanged) => "replace_because_cannot_update".to_owned(),
        (_, _) => json!(why)["reason"]
            .as_str()
            .unwrap_or_default()
            .replace('-', "_"),
    };
    Some(word)
}

/// Attributes with null for what is hidden.
fn shown(side: &Value, hidden: &BTreeSet<String>) -> Value {
    let mut side = side.clone();
    if let Some(attributes) = side.as_object_mut() {
        for (_, value) in attributes.iter_mut().filter(|(name, _)| hidden.contains(*name)) {
            *value = Value::Null;
        }
    }
    side
}

/// `true` for each attribute that is hidden; `false` where there is no side to hide anything of.
fn marks(side: &Value, hidden: &BTreeSet<String>) -> Value {
    match side.as_object() {
        None => Value::Bool(false),
        Some(attributes) => attributes
            .keys()
            .filter(|name| hidden.contains(*name))
            .map(|name| (name.clone(), Value::Bool(true)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// What was changed outside, as the change that it was; only the attributes concerned.
#[must_use]
pub fn drift(drift: &Drift) -> Value {
    let (actions, before, after) = match &drift.what {
        DriftKind::Power { recorded, found } => {
            ("update", json!({ "power": recorded }), json!({ "power": found }))
        }
        DriftKind::DomainGone => ("delete", json!({ "host": drift.host }), Value::Null),
        DriftKind::Moved { from } => ("update", json!({ "host": from }), json!({ "host": drift.host })),
        DriftKind::Attributes { attributes } => {
            let side = |value: fn(&crate::model::AttributeDrift) -> &String| -> Value {
                attributes
                    .iter()
                    .map(|one| (one.attribute.clone(), json!(value(one))))
                    .collect::<Map<_, _>>()
                    .into()
            };
            ("update", side(|one| &one.expected), side(|one| &one.found))
        }
        DriftKind::Epoch { recorded, found } => {
            ("update", json!({ "epoch": recorded }), json!({ "epoch": found }))
        }
        DriftKind::Orphan { .. } => ("create", Value::Null, json!({ "host": drift.host })),
    };
    let mut entry = identity(&drift.address);
    entry.insert(
        "change".to_owned(),
        json!({
            "actions": [actions],
            "before_sensitive": marks(&before, &BTreeSet::new()),
            "after_sensitive": marks(&after, &BTreeSet::new()),
            "before": before,
            "after": after,
            "after_unknown": {},
        }),
    );
    entry.insert("server".to_owned(), json!(drift.server));
    entry.insert("host".to_owned(), json!(drift.host));
    entry.insert("what".to_owned(), json!(drift.what));
    Value::Object(entry)
}

fn host_action(change: &Change<'_>) -> Value {
    let mut entry = identity(change.address);
    entry.insert("verb".to_owned(), json!(change.action.kind.verb()));
    entry.insert("host".to_owned(), json!(change.action.host));
    entry.insert("operation".to_owned(), json!(change.action.id));
    entry.insert("reason".to_owned(), reason(&change.action.why));
    entry.insert("depends_on".to_owned(), json!(change.action.depends_on));
    Value::Object(entry)
}

/// What every entry about a resource begins with.
#[must_use]
pub fn identity(address: &Address) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("address".to_owned(), json!(address));
    if !address.modules.is_empty() {
        entry.insert("module_address".to_owned(), json!(module(address)));
    }
    entry.insert("mode".to_owned(), json!("managed"));
    entry.insert("type".to_owned(), json!(address.kind.as_str()));
    entry.insert("name".to_owned(), json!(address.name));
    if let Some(key) = key(address) {
        entry.insert("index".to_owned(), key);
    }
    entry
}

/// The module's address: `module.shop["a"]`; empty in the root module.
#[must_use]
pub fn module(address: &Address) -> String {
    let full = address.to_string();
    let own = format!(".{}.{}", address.kind, address.name);
    full.rfind(&own).map_or("", |at| &full[..at]).to_owned()
}

/// The instance's key as a number or a text.
#[must_use]
pub fn key(address: &Address) -> Option<Value> {
    address.key.as_ref().map(|key| match key {
        InstanceKey::Index(index) => json!(index),
        InstanceKey::Key(key) => json!(key),
    })
}

fn output(change: &OutputChange) -> Value {
    let side = |output: &Option<OutputValue>| output.as_ref().and_then(|output| output.value.clone());
    let sensitive = |output: &Option<OutputValue>| output.as_ref().is_some_and(|output| output.sensitive);
    // A sensitive value is in the plan file, which is private, and never in what is printed.
    let shown = |output: &Option<OutputValue>| if sensitive(output) { None } else { side(output) };
    json!({
        "actions": [output_action(change)],
        "before": shown(&change.before),
        "after": shown(&change.after),
        "after_unknown": change.after.as_ref().is_some_and(|output| output.value.is_none()),
        "before_sensitive": sensitive(&change.before),
        "after_sensitive": sensitive(&change.after),
    })
}

/// Terraform's word for what becomes of an output.
#[must_use]
pub fn output_action(change: &OutputChange) -> &'static str {
    match (&change.before, &change.after) {
        (None, Some(_)) => "create",
        (Some(_), None) => "delete",
        (Some(before), Some(after)) if before == after => "no-op",
        (Some(_) | None, Some(_) | None) => "update",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_null_and_marked() {
        let side = json!({ "labels": { "token": "x" }, "name": "web" });
        let hidden = BTreeSet::from(["labels".to_owned()]);
        assert_eq!(shown(&side, &hidden), json!({ "labels": null, "name": "web" }));
        assert_eq!(marks(&side, &hidden), json!({ "labels": true }));
        assert_eq!(marks(&Value::Null, &hidden), json!(false));
    }

    #[test]
    fn addresses_are_taken_apart() {
        let address: Address = "module.shop[\"a\"].server.web[3]".parse().expect("an address");
        assert_eq!(
            Value::Object(identity(&address)),
            json!({
                "address": "module.shop[\"a\"].server.web[3]",
                "module_address": "module.shop[\"a\"]",
                "mode": "managed",
                "type": "server",
                "name": "web",
                "index": 3,
            })
        );
    }
}
