//! Values as HCL writes them, shortened where nobody reads them whole.

use serde_json::Value;

/// Hexadecimal digits of a digest that are shown: as many as tell contents apart at a glance.
const DIGEST: usize = 12;
/// Longer values are cut.
const LONGEST: usize = 200;

/// What stands for a value that is not to be seen.
pub(super) const HIDDEN: &str = "(sensitive value)";

/// A value on one line.
pub(super) fn value(value: &Value) -> String {
    let text = whole(value);
    if text.chars().count() > LONGEST {
        let kept: String = text.chars().take(LONGEST).collect();
        format!("{kept}…")
    } else {
        text
    }
}

fn whole(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => match short_digest(text) {
            Some(short) => format!("\"{short}…\""),
            None => format!("{text:?}"),
        },
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(whole).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, field)| format!("{} = {}", key(name), whole(field)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
    }
}

/// The begin of a SHA-256 digest.
fn short_digest(text: &str) -> Option<&str> {
    let hex = text.strip_prefix("sha256:")?;
    let is_digest = hex.len() == 64 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_digest.then(|| &text[.."sha256:".len() + DIGEST])
}

/// A name as it stands before an equals sign: quoted where HCL needs it.
pub(super) fn key(name: &str) -> String {
    let plain = name
        .chars()
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && name
            .chars()
            .all(|character| character.is_alphanumeric() || matches!(character, '_' | '-'));
    if plain {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_on_one_line() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let all = json!({ "a b": [1, true, null], "digest": digest, "empty": {} });
        assert_eq!(
            value(&all),
            r#"{ "a b" = [1, true, null], digest = "sha256:0123456789ab…", empty = {} }"#
        );
        assert_eq!(value(&json!("x".repeat(500))).chars().count(), LONGEST + 1);
        assert_eq!(value(&json!("\u{1b}[31m")), r#""\u{1b}[31m""#);
    }
}
