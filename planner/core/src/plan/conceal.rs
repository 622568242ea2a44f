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
        let text = secrets
            .into_iter()
            .fold(text, |text, secret| text.replace(secret, HIDDEN));
        let aliases = self.hidden_aliases();
        aliases
            .iter()
            .fold(text, |text, alias| without_word(&text, alias))
    }

    /// Names of devices that are part of a hidden value.
    fn hidden_aliases(&self) -> BTreeSet<&str> {
        let hidden = self.hidden.before.contains("extra_specs") || self.hidden.after.contains("extra_specs");
        let order = self.kind.order().filter(|_| hidden);
        let devices = order.into_iter().flat_map(|order| &order.devices);
        devices.map(|devices| devices.alias.as_str()).collect()
    }
}

/// The text without a word, however short, where it stands alone.
fn without_word(text: &str, word: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut concealed = String::with_capacity(text.len());
    let mut end = 0;
    for (at, _) in text.match_indices(word).filter(|_| !word.is_empty()) {
        let (before, behind) = (&text[..at], &text[at + word.len()..]);
        concealed.push_str(&text[end..at]);
        let alone = !before.ends_with(is_part) && !behind.starts_with(is_part);
        concealed.push_str(if alone { HIDDEN } else { word });
        end = at + word.len();
    }
    concealed + &text[end..]
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
    fn a_hidden_name_is_taken_out_where_it_is_a_word() {
        let told = "n1: wants 2 of gpu, 0 free (gpu-2, gpus and gpugpu have some); gpu";
        assert_eq!(
            without_word(told, "gpu"),
            "n1: wants 2 of (sensitive value), 0 free (gpu-2, gpus and gpugpu have some); (sensitive value)"
        );
        assert_eq!(without_word(told, ""), told);
    }

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
