//! Functions that take regular expressions. The syntax is that of RE2, as Terraform's; matching takes time in
//! proportion to the text.

use super::{Call, Function, FunctionError, Outcome, Room, Want};
use crate::value::Value;
use regex::{Captures, Regex, RegexBuilder};
use std::sync::Arc;

const PATTERN: &[(&str, Want)] = &[("pattern", Want::Text), ("string", Want::Text)];

pub(super) const TABLE: &[Function] = &[
    Function::new("regex", PATTERN, Want::Any, first),
    Function::new("regexall", PATTERN, Want::Any, all),
];

/// Largest compiled pattern, in bytes: `(a{1000}){1000}` would take gigabytes.
const LARGEST: usize = 4 << 20;

fn compile(pattern: &str, argument: usize) -> Result<Regex, FunctionError> {
    RegexBuilder::new(pattern)
        .size_limit(LARGEST)
        .dfa_size_limit(LARGEST)
        .build()
        .map_err(|error| {
            let reason = match error {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                // The library draws the pattern over several lines; the last one says what is wrong.
                other => other
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned(),
            };
            let short: String = pattern.chars().take(80).collect();
            FunctionError::in_argument(argument, format!("{short:?} is no regular expression: {reason}"))
        })
}

/// The whole match without groups, a list with plain ones, an object with named ones.
fn shape(regex: &Regex, found: &Captures<'_>) -> Result<Value, FunctionError> {
    let names: Vec<Option<&str>> = regex.capture_names().skip(1).collect();
    let text = |at: usize| {
        found
            .get(at)
            .map_or_else(Value::null, |part| Value::from(part.as_str()))
    };
    if names.is_empty() {
        return Ok(text(0));
    }
    if names.iter().all(Option::is_none) {
        return Ok(Value::tuple((1..=names.len()).map(text).collect()));
    }
    if names.iter().any(Option::is_none) {
        return Err(FunctionError::in_argument(
            0,
            "either all groups have names or none",
        ));
    }
    let named = (1..)
        .zip(names)
        .filter_map(|(at, name)| Some((Arc::from(name?), text(at))));
    Ok(Value::object(named))
}

fn first(call: &mut Call<'_>) -> Outcome {
    let regex = compile(call.text(0), 0)?;
    let found = regex.captures(call.text(1));
    let found = found.ok_or_else(|| FunctionError::in_argument(1, "the pattern does not match the text"))?;
    shape(&regex, &found)
}

fn all(call: &mut Call<'_>) -> Outcome {
    let regex = compile(call.text(0), 0)?;
    let mut matches = Vec::new();
    for found in regex.captures_iter(call.text(1)) {
        matches.push(shape(&regex, &found)?);
        call.room.items(matches.len().checked_mul(regex.captures_len()))?;
    }
    Ok(Value::tuple(matches))
}

/// Replaces every match; `$1` and `${name}` in the replacement stand for groups.
pub(super) fn replace(
    text: &str,
    pattern: &str,
    replacement: &str,
    room: Room,
) -> Result<String, FunctionError> {
    let regex = compile(pattern, 1)?;
    let mut out = String::new();
    let mut last = 0;
    for found in regex.captures_iter(text) {
        let whole = found.get(0).expect("a match has a whole");
        out.push_str(&text[last..whole.start()]);
        found.expand(replacement, &mut out);
        last = whole.end();
        room.bytes(Some(out.len()))?;
    }
    out.push_str(&text[last..]);
    Ok(out)
}
