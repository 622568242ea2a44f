//! Functions over texts. What users see as one character (a grapheme cluster) counts as one.

use super::{Call, Function, FunctionError, Outcome, Want};
use crate::value::Value;
use unicode_segmentation::UnicodeSegmentation as _;

const ONE: &[(&str, Want)] = &[("string", Want::Text)];
const CUT: &[(&str, Want)] = &[("string", Want::Text), ("cut", Want::Text)];

pub(super) const TABLE: &[Function] = &[
    Function::new("upper", ONE, Want::Text, |call| {
        Ok(Value::from(call.text(0).to_uppercase()))
    }),
    Function::new("lower", ONE, Want::Text, |call| {
        Ok(Value::from(call.text(0).to_lowercase()))
    }),
    Function::new("title", ONE, Want::Text, title),
    Function::new("trim", CUT, Want::Text, |call| {
        let cut = call.text(1);
        Ok(Value::from(
            call.text(0).trim_matches(|character| cut.contains(character)),
        ))
    }),
    Function::new("trimprefix", CUT, Want::Text, |call| {
        let text = call.text(0);
        Ok(Value::from(text.strip_prefix(call.text(1)).unwrap_or(text)))
    }),
    Function::new("trimsuffix", CUT, Want::Text, |call| {
        let text = call.text(0);
        Ok(Value::from(text.strip_suffix(call.text(1)).unwrap_or(text)))
    }),
    Function::new("trimspace", ONE, Want::Text, |call| {
        Ok(Value::from(call.text(0).trim()))
    }),
    Function::new("chomp", ONE, Want::Text, |call| {
        Ok(Value::from(call.text(0).trim_end_matches(['\n', '\r'])))
    }),
    Function::new(
        "indent",
        &[("spaces", Want::Number), ("string", Want::Text)],
        Want::Text,
        indent,
    ),
    Function::new(
        "replace",
        &[
            ("string", Want::Text),
            ("substring", Want::Text),
            ("replacement", Want::Text),
        ],
        Want::Text,
        replace,
    ),
    Function::new(
        "split",
        &[("separator", Want::Text), ("string", Want::Text)],
        Want::Texts,
        split,
    ),
    Function::new("join", &[("separator", Want::Text)], Want::Text, join).variadic("lists", Want::Texts),
    Function::new(
        "substr",
        &[
            ("string", Want::Text),
            ("offset", Want::Number),
            ("length", Want::Number),
        ],
        Want::Text,
        substr,
    ),
    Function::new("strrev", ONE, Want::Text, |call| {
        Ok(Value::from(
            call.text(0).graphemes(true).rev().collect::<String>(),
        ))
    }),
    Function::new(
        "startswith",
        &[("string", Want::Text), ("prefix", Want::Text)],
        Want::Bool,
        |call| Ok(Value::from(call.text(0).starts_with(call.text(1)))),
    ),
    Function::new(
        "endswith",
        &[("string", Want::Text), ("suffix", Want::Text)],
        Want::Bool,
        |call| Ok(Value::from(call.text(0).ends_with(call.text(1)))),
    ),
    Function::new(
        "strcontains",
        &[("string", Want::Text), ("substring", Want::Text)],
        Want::Bool,
        |call| Ok(Value::from(call.text(0).contains(call.text(1)))),
    ),
];

/// The first letter of each word large, the others as they are, as Go's `strings.Title`.
fn title(call: &mut Call<'_>) -> Outcome {
    let mut out = String::with_capacity(call.text(0).len());
    let mut inside = false;
    for character in call.text(0).chars() {
        if inside {
            out.push(character);
        } else {
            out.extend(character.to_uppercase());
        }
        inside = character.is_alphanumeric() || character == '_' || character == '\'';
    }
    Ok(Value::from(out))
}

fn indent(call: &mut Call<'_>) -> Outcome {
    let spaces = usize::try_from(call.integer(0)?)
        .map_err(|_| FunctionError::in_argument(0, "it must not be negative"))?;
    let text = call.text(1);
    let lines = text.matches('\n').count();
    let added = spaces
        .checked_mul(lines)
        .and_then(|added| added.checked_add(text.len()));
    call.room.bytes(added)?;
    Ok(Value::from(text.replace(
        '\n',
        &format!("\n{}", " ".repeat(if lines == 0 { 0 } else { spaces })),
    )))
}

fn replace(call: &mut Call<'_>) -> Outcome {
    let (text, from, to) = (call.text(0), call.text(1), call.text(2));
    if from.len() > 1 && from.starts_with('/') && from.ends_with('/') {
        let pattern = &from[1..from.len() - 1];
        return super::patterns::replace(text, pattern, to, call.room).map(Value::from);
    }
    let hits = text.matches(from).count();
    let size = hits
        .checked_mul(to.len())
        .and_then(|added| added.checked_add(text.len()));
    call.room.bytes(size)?;
    Ok(Value::from(text.replace(from, to)))
}

fn split(call: &mut Call<'_>) -> Outcome {
    let (separator, text) = (call.text(0), call.text(1));
    if separator.is_empty() {
        return Ok(Value::list(
            text.chars()
                .map(|character| Value::from(character.to_string()))
                .collect(),
        ));
    }
    Ok(Value::list(text.split(separator).map(Value::from).collect()))
}

fn join(call: &mut Call<'_>) -> Outcome {
    if call.arguments.len() < 2 {
        return Err(FunctionError::new("at least one list is required"));
    }
    let items: Vec<&Value> = (1..call.arguments.len()).flat_map(|at| call.items(at)).collect();
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        texts.push(
            item.as_str()
                .ok_or_else(|| FunctionError::in_argument(1, "an item is null"))?,
        );
    }
    let separator = call.text(0);
    let joins = separator.len().checked_mul(texts.len());
    call.room
        .bytes(joins.and_then(|joins| joins.checked_add(texts.iter().map(|text| text.len()).sum())))?;
    Ok(Value::from(texts.join(separator)))
}

fn substr(call: &mut Call<'_>) -> Outcome {
    let letters: Vec<&str> = call.text(0).graphemes(true).collect();
    let count = i64::try_from(letters.len()).unwrap_or(i64::MAX);
    let offset = call.integer(1)?;
    let start = if offset < 0 {
        (count.saturating_add(offset)).max(0)
    } else {
        offset.min(count)
    };
    let length = call.integer(2)?;
    let end = if length < 0 {
        count
    } else {
        start.saturating_add(length).min(count)
    };
    let (start, end) = (
        usize::try_from(start).unwrap_or(0),
        usize::try_from(end).unwrap_or(0),
    );
    Ok(Value::from(letters.get(start..end).unwrap_or_default().concat()))
}
