//! Records as they are shown: what is sensitive in them is not.
//!
//! Only `state pull` and `output NAME` give it back in clear, since that is what they are asked for.

use drover_core::diff::hide_drift;
use drover_core::model::ObservedDomain;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What people read in the place of a hidden value.
pub(super) const HIDDEN: &str = "(sensitive value)";

/// Puts `instead` in the place of each sensitive value of a record.
pub(super) fn hide(record: &mut Value, instead: &Value) {
    let spec = &mut record["spec"];
    for name in names(spec) {
        // A server carries what its flavor and image say.
        let place = match name.as_str() {
            "image_checksum" => spec.pointer_mut("/image/checksum"),
            "host_network" => spec.pointer_mut("/hints/network"),
            name => ["", "/size", "/hints"]
                .into_iter()
                .map(|part| format!("{part}/{name}"))
                .find(|place| spec.pointer(place).is_some())
                .and_then(|place| spec.pointer_mut(&place)),
        };
        if let Some(place) = place {
            place.clone_from(instead);
        }
    }
}

/// `true` by the name of each sensitive attribute, as Terraform's `sensitive_values`.
pub(super) fn marks(record: &Value) -> Value {
    let names = names(&record["spec"]).into_iter();
    names.map(|name| (name, Value::Bool(true))).collect()
}

fn names(spec: &Value) -> BTreeSet<String> {
    let all = spec["sensitive"].as_array().into_iter().flatten();
    all.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// An operation of the journal without the order that it carries, whose every part may be sensitive.
pub(super) fn operation(mut record: Value) -> Value {
    let verb = record["action"]["kind"]["kind"].take();
    if let Some(fields) = record.as_object_mut() {
        fields.remove("action");
        fields.insert("action_kind".to_owned(), verb);
    }
    record
}

/// What a host reports of a server's domain, without what is sensitive of the server.
pub(super) fn domain(
    domain: &ObservedDomain,
    sensitive: &BTreeSet<String>,
) -> Result<Value, serde_json::Error> {
    let mut shown = domain.clone();
    hide_drift(&mut shown.drift, sensitive);
    let mut shown = serde_json::to_value(shown)?;
    for (argument, field) in [
        ("vcpus", "vcpus"),
        ("ram", "ram_mib"),
        ("disk", "disk_mib"),
        ("name", "name"),
    ] {
        if sensitive.contains(argument) {
            shown[field] = Value::Null;
        }
    }
    Ok(shown)
}

/// A value for people, unless the argument that it is of is sensitive.
pub(super) fn shown(argument: &str, sensitive: &BTreeSet<String>, value: &impl ToString) -> String {
    if sensitive.contains(argument) {
        HIDDEN.to_owned()
    } else {
        value.to_string()
    }
}

/// An output as programs read it: what is sensitive has no value.
pub(super) fn output(record: &drover_core::model::OutputRecord) -> Value {
    if record.sensitive {
        json!({ "sensitive": true })
    } else {
        json!({ "sensitive": false, "value": record.value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_carries_of_others_is_hidden_too() {
        let mut record = json!({ "spec": {
            "name": "web-0",
            "labels": { "token": "s3cret" },
            "size": { "ram": "512MiB", "vcpus": 1 },
            "image": { "address": "image.guest", "checksum": "sha256:00" },
            "hints": { "network": "10.0.0.0/8", "priority": 3 },
            "sensitive": ["host_network", "image_checksum", "labels", "ram"],
        }});
        hide(&mut record, &Value::Null);
        let spec = &record["spec"];
        for hidden in ["/labels", "/size/ram", "/image/checksum", "/hints/network"] {
            assert_eq!(spec.pointer(hidden), Some(&Value::Null), "{hidden}");
        }
        assert_eq!(
            (&spec["name"], &spec["size"]["vcpus"]),
            (&"web-0".into(), &1.into())
        );
        assert_eq!(
            marks(&record),
            json!({ "host_network": true, "image_checksum": true, "labels": true, "ram": true })
        );
    }
}
