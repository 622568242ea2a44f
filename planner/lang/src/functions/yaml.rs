//! YAML. Reading is a library's; writing is done here, because the layout (every text quoted, lists not
//! indented) is part of Terraform's result and no library has it.

use super::timestamps::rfc3339;
use super::{Call, Cost, Function, FunctionError, Outcome, Want};
use crate::eval::MAX_VALUE_DEPTH;
use crate::value::{Kind, Number, Value};
use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

pub(super) const TABLE: &[Function] = &[
    Function::new("yamlencode", &[("value", Want::Any)], Want::Text, yamlencode).cost(Cost::Weight),
    Function::new("yamldecode", &[("text", Want::Text)], Want::Any, yamldecode),
];

/// Tags of values that Terraform's language has, and of texts for which it takes others.
const TAGS: [&str; 9] = [
    "str",
    "float",
    "int",
    "bool",
    "map",
    "seq",
    "null",
    "binary",
    "timestamp",
];
/// Before the names of YAML's own tags.
const NAMESPACE: &str = "tag:yaml.org,2002:";

/// The text with each timestamp in it in quotes, as RFC 3339; or why Terraform's language has no such value.
fn with_times_as_texts(text: &str) -> Result<Cow<'_, str>, String> {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    // What is no YAML is for the reader to report.
    for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
        let tag = match event.tag() {
            None => None,
            Some(tag) => {
                let name = tag.suffix_in_namespace(NAMESPACE);
                let name = name.filter(|name| TAGS.contains(&&**name));
                Some(name.ok_or_else(|| format!("the tag {} is not supported", tag.original()))?)
            }
        };
        let tagged = tag.as_deref() == Some("timestamp");
        let Event::Scalar(value, style, ..) = &event else {
            if tagged {
                return Err("a list or a map cannot be a timestamp".to_owned());
            }
            continue;
        };
        let time = match style {
            ScalarStyle::Plain if tagged || tag.is_none() => rfc3339(value),
            // What is in quotes is a text, whatever it is tagged as.
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted if tagged => None,
            ScalarStyle::Plain
            | ScalarStyle::SingleQuoted
            | ScalarStyle::DoubleQuoted
            | ScalarStyle::Literal
            | ScalarStyle::Folded => {
                if tagged {
                    return Err("a block of text cannot be a timestamp".to_owned());
                }
                continue;
            }
        };
        if tagged {
            if time.is_none() && *style == ScalarStyle::Plain {
                return Err(format!("{value:?} is not a timestamp as YAML writes it"));
            }
            let place = span.tag_span().and_then(|place| bytes(&place));
            // Written out, since a document may give "!!" another meaning.
            edits.extend(place.map(|place| (place, format!("!<{NAMESPACE}str>"))));
        }
        if let Some(time) = time {
            edits.extend(bytes(&span).map(|place| (place, format!("\"{time}\""))));
        }
    }
    if edits.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len() + 16 * edits.len());
    let mut done = 0;
    for (place, new) in edits {
        out.push_str(text.get(done..place.start).unwrap_or_default());
        out.push_str(&new);
        done = place.end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Ok(Cow::Owned(out))
}

/// Where it is in the text.
fn bytes(span: &Span) -> Option<Range<usize>> {
    Some(span.start.byte_offset()?..span.end.byte_offset()?)
}

fn yamldecode(call: &mut Call<'_>) -> Outcome {
    let text = with_times_as_texts(call.text(0)).map_err(|problem| FunctionError::in_argument(0, problem))?;
    // Binary values stay as they are written: in base64.
    let options = serde_saphyr::options! { ignore_binary_tag_for_string: true };
    let read: Result<Read, _> = serde_saphyr::from_str_with_options(&text, options);
    let Read(value) = read.map_err(|error| {
        let said = error.to_string();
        let first = said.lines().next().unwrap_or_default().trim_end_matches('.');
        FunctionError::in_argument(0, format!("the text is not YAML: {first}"))
    })?;
    if value.depth() > MAX_VALUE_DEPTH {
        return Err(FunctionError::in_argument(0, "it is nested too deeply"));
    }
    call.room.items(usize::try_from(value.weight()).ok())?;
    Ok(value)
}

/// A value as YAML's reader hands it over.
struct Read(Value);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::null())
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::null())
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::from(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(Number::from(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(Number::from(number)))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        Number::parse(&number.to_string())
            .map(Value::from)
            .map_err(E::custom)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Read(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::tuple(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        while let Some((Read(key), Read(value))) = entries.next_entry()? {
            let key: Arc<str> = match key.kind() {
                Kind::String(text) => text.clone(),
                Kind::Number(number) => number.to_string().into(),
                Kind::Bool(truth) => truth.to_string().into(),
                Kind::Null
                | Kind::List(_)
                | Kind::Tuple(_)
                | Kind::Set(_)
                | Kind::Map(_)
                | Kind::Object(_)
                | Kind::Unknown(_) => return Err(A::Error::custom("a key must be a text")),
            };
            all.insert(key, value);
        }
        Ok(Value::object(all))
    }
}

fn yamlencode(call: &mut Call<'_>) -> Outcome {
    let mut out = String::new();
    write_value(&call.arguments[0], 0, Place::Root, &mut out);
    Ok(Value::from(out))
}

/// What stands in front of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// `"name":`
    Key,
    /// `-`
    Item,
}

/// Writes a value and its line end; `indent` is that of the lines below it.
fn write_value(value: &Value, indent: usize, place: Place, out: &mut String) {
    let gap = if place == Place::Root { "" } else { " " };
    match value.kind() {
        // Unknown ones never come here: the call would be unknown.
        Kind::Null | Kind::Unknown(_) => writeln!(out, "{gap}null"),
        Kind::Bool(truth) => writeln!(out, "{gap}{truth}"),
        Kind::Number(number) => writeln!(out, "{gap}{number}"),
        Kind::String(text) => {
            out.push_str(gap);
            write_text(text, indent, out);
            Ok(())
        }
        Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) if items.is_empty() => {
            writeln!(out, "{gap}[]")
        }
        Kind::Map(fields) | Kind::Object(fields) if fields.is_empty() => writeln!(out, "{gap}{{}}"),
        Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => {
            if place == Place::Key {
                out.push('\n');
            }
            // Below a key, lists stand at the key's own column.
            let column = if place == Place::Key {
                indent.saturating_sub(2)
            } else {
                indent
            };
            for (at, item) in items.iter().enumerate() {
                match (place, at) {
                    (Place::Item, 0) => out.push(' '),
                    (_, _) => out.extend(std::iter::repeat_n(' ', column)),
                }
                out.push('-');
                write_value(item, column + 2, Place::Item, out);
            }
            Ok(())
        }
        Kind::Map(fields) | Kind::Object(fields) => {
            if place == Place::Key {
                out.push('\n');
            }
            for (at, (name, field)) in fields.iter().enumerate() {
                match (place, at) {
                    (Place::Item, 0) => out.push(' '),
                    (_, _) => out.extend(std::iter::repeat_n(' ', indent)),
                }
                write_quoted(name, out);
                out.push(':');
                write_value(field, indent + 2, Place::Key, out);
            }
            Ok(())
        }
    }
    .expect("writing to a String cannot fail");
}

/// A text in quotes, or as a block where it has several lines and can be one.
fn write_text(text: &str, indent: usize, out: &mut String) {
    let plain = text.chars().all(|letter| letter == '\n' || !letter.is_control());
    let trailing = text.lines().any(|line| line.ends_with(' ')) || text.ends_with(' ');
    let leading = text.starts_with([' ', '\n']);
    if !text.contains('\n') || !plain || trailing || leading {
        write_quoted(text, out);
        out.push('\n');
        return;
    }
    let chomp = if text.ends_with("\n\n") {
        "+"
    } else if text.ends_with('\n') {
        ""
    } else {
        "-"
    };
    out.push('|');
    out.push_str(chomp);
    out.push('\n');
    let indent = indent.max(2);
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if other.is_control() => {
                write!(out, "\\u{:04X}", u32::from(other)).expect("writing to a String cannot fail");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
