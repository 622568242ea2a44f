//! Values in messages: short, and never a sensitive one.

use super::{Cause, Kind, Type, Value, encode_json};

/// Longest text shown whole, in characters.
const LONGEST: usize = 60;

/// What a value is, in the words of Terraform's diagnostics: `is 5`, `is list of string with 5 elements`.
#[must_use]
pub fn describe(value: &Value) -> String {
    if value.marks().is_ephemeral() {
        return "has an ephemeral value".to_owned();
    }
    if value.is_sensitive() {
        return "has a sensitive value".to_owned();
    }
    let count = |number: usize, one: &str, many: &str| match number {
        0 => format!("with no {many}"),
        1 => format!("with 1 {one}"),
        number => format!("with {number} {many}"),
    };
    match value.kind() {
        Kind::Null => "is null".to_owned(),
        Kind::Bool(truth) => format!("is {truth}"),
        Kind::Number(number) => format!("is {}", cut(&number.to_string())),
        Kind::String(text) => format!("is {}", quoted(text)),
        Kind::List(items) | Kind::Set(items) => {
            format!(
                "is {} {}",
                Type::of(value).friendly(),
                count(items.len(), "element", "elements")
            )
        }
        Kind::Tuple(items) => format!("is tuple {}", count(items.len(), "element", "elements")),
        Kind::Map(fields) => {
            format!(
                "is {} {}",
                Type::of(value).friendly(),
                count(fields.len(), "element", "elements")
            )
        }
        Kind::Object(fields) => match fields.declared() {
            Some(address) => format!("is the {} {address}", address.kind),
            None => format!("is object {}", count(fields.len(), "attribute", "attributes")),
        },
        Kind::Unknown(unknown) => match unknown.cause() {
            Cause::Failed => "could not be computed".to_owned(),
            Cause::Placement(_) => "is known after placement".to_owned(),
            Cause::Store(_) => "is known once the fleet's store was read".to_owned(),
            Cause::Variable(_) => "is not known while the files alone are checked".to_owned(),
        },
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST).collect();
    format!("{head}...")
}

fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

/// A value on one line as JSON, cut where it is long; `(sensitive value)` for a marked one.
#[must_use]
pub fn show(value: &Value) -> String {
    if value.holds_sensitive() {
        return "(sensitive value)".to_owned();
    }
    if value.holds_ephemeral() {
        return "(ephemeral value)".to_owned();
    }
    if value.weight() > 10_000 {
        return describe(value);
    }
    encode_json(value).map_or_else(|_| describe(value), |text| cut(&text))
}
