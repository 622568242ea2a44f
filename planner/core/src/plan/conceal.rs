//! What hosts say of an action may repeat what is sensitive of it: that is taken out before anybody reads it.

use super::action::{Action, ActionKind};
use serde_json::Value;
use std::collections::BTreeSet;

/// What stands in the place of a hidden value.
const HIDDEN: &str = "(sensitive value)";
/// Shorter texts are found in ordinary words too.
const SHORTEST: usize = 4;

impl Action {
    /// The text without the sensitive values that this action carries.
    #[must_use]
    pub fn conceal(&self, text: String) -> String {
        if self.hidden.is_empty() {
            return text;
        }
        let mut secrets = BTreeSet::new();
        for (side, hidden) in [
            (&self.before, &self.hidden.before),
            (&self.after, &self.hidden.after),
        ] {
            for name in hidden {
                gather(&side[name], &mut secrets);
            }
        }
        if let ActionKind::EnsureImage { image } = &self.kind
            && self.hidden.after.contains("source")
        {
            let url = image.source.as_str();
            secrets.insert(url);
            // Hosts speak of a file by its path.
            secrets.extend(url.strip_prefix("file://"));
        }
        // What holds another is replaced first.
        let mut secrets: Vec<&str> = secrets
            .into_iter()
            .filter(|secret| secret.len() >= SHORTEST)
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
            .into_iter()
            .fold(text, |text, secret| text.replace(secret, HIDDEN))
    }
}

/// Every text in a value.
fn gather<'a>(value: &'a Value, texts: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => {
            texts.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| gather(field, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Hidden, Impact, Precondition, Reason};
    use drover_types::{OperationId, Sha256Digest};
    use serde_json::json;

    #[test]
    fn what_is_hidden_is_taken_out_and_nothing_else() {
        let labels: BTreeSet<String> = ["labels".to_owned()].into();
        let mut action = Action {
            id: OperationId::from_uuid(uuid::Uuid::nil()),
            address: "server.web[0]".parse().expect("an address"),
            host: None,
            kind: ActionKind::DeleteImage {
                checksum: Sha256Digest::of(b""),
            },
            precondition: Precondition::AgentLooks,
            why: Reason::Declared,
            before: Value::Null,
            after: json!({ "labels": { "a": "s3cret", "b": "s3cret-too", "c": "no" }, "name": "web-0" }),
            hidden: Hidden::default(),
            impact: Impact::None,
            depends_on: Vec::new(),
        };
        let said = || "web-0 has no s3cret-too and no s3cret".to_owned();
        assert_eq!(action.conceal(said()), said());
        action.hidden = Hidden::new(None, Some(&labels));
        assert_eq!(
            action.conceal(said()),
            "web-0 has no (sensitive value) and no (sensitive value)"
        );
    }
}
