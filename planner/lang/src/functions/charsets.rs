//! CSV, and texts in other character encodings.

use super::{Call, Function, FunctionError, Outcome, Want};
use crate::value::Value;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) const TABLE: &[Function] = &[
    Function::new("csvdecode", &[("string", Want::Text)], Want::Any, csvdecode),
    Function::new(
        "textencodebase64",
        &[("string", Want::Text), ("encoding", Want::Text)],
        Want::Text,
        encode,
    ),
    Function::new(
        "textdecodebase64",
        &[("source", Want::Text), ("encoding", Want::Text)],
        Want::Text,
        decode,
    ),
];

/// One object per line; the first line names their attributes.
fn csvdecode(call: &mut Call<'_>) -> Outcome {
    let wrong = |error: &csv::Error| {
        let message = match error.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len,
                len,
                pos,
            } => {
                let line = pos.as_ref().map_or(0, csv::Position::line);
                format!("line {line} has {len} fields, the first has {expected_len}")
            }
            _ => error.to_string(),
        };
        FunctionError::in_argument(0, message)
    };
    let mut reader = csv::Reader::from_reader(call.text(0).as_bytes());
    let names: Vec<Arc<str>> = reader
        .headers()
        .map_err(|error| wrong(&error))?
        .iter()
        .map(Arc::from)
        .collect();
    let different: BTreeSet<&Arc<str>> = names.iter().collect();
    if different.len() != names.len() {
        return Err(FunctionError::in_argument(0, "two columns have the same name"));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| wrong(&error))?;
        rows.push(Value::object(
            names.iter().cloned().zip(record.iter().map(Value::from)),
        ));
    }
    Ok(Value::list(rows))
}

/// An encoding as functions name it.
#[derive(Clone, Copy)]
enum Named {
    /// `UTF-16` without a byte order: the text begins with a mark of it, and big endian is written.
    Utf16,
    Known(&'static Encoding),
}

const MARK: u16 = 0xFEFF;

fn named(call: &Call<'_>) -> Result<Named, FunctionError> {
    let name = call.text(1);
    if name.eq_ignore_ascii_case("utf-16") {
        return Ok(Named::Utf16);
    }
    Encoding::for_label(name.as_bytes())
        .map(Named::Known)
        .ok_or_else(|| FunctionError::in_argument(1, format!("{name:?} is no known encoding")))
}

fn encode(call: &mut Call<'_>) -> Outcome {
    let text = call.text(0);
    let bytes: Vec<u8> = match named(call)? {
        Named::Utf16 => std::iter::once(MARK)
            .chain(text.encode_utf16())
            .flat_map(u16::to_be_bytes)
            .collect(),
        Named::Known(encoding) if encoding == UTF_16LE => {
            text.encode_utf16().flat_map(u16::to_le_bytes).collect()
        }
        Named::Known(encoding) if encoding == UTF_16BE => {
            text.encode_utf16().flat_map(u16::to_be_bytes).collect()
        }
        Named::Known(encoding) => {
            let (bytes, _, replaced) = encoding.encode(text);
            if replaced {
                let message = format!("the text has characters that {} does not have", encoding.name());
                return Err(FunctionError::in_argument(0, message));
            }
            bytes.into_owned()
        }
    };
    Ok(Value::from(STANDARD.encode(bytes)))
}

fn decode(call: &mut Call<'_>) -> Outcome {
    let named = named(call)?;
    let bytes = STANDARD
        .decode(call.text(0))
        .map_err(|_| FunctionError::in_argument(0, "the text is not base64"))?;
    let (encoding, bytes) = match (named, bytes.as_slice()) {
        (Named::Known(encoding), all) => (encoding, all),
        (Named::Utf16, [0xFF, 0xFE, rest @ ..]) => (UTF_16LE, rest),
        (Named::Utf16, [0xFE, 0xFF, rest @ ..] | rest) => (UTF_16BE, rest),
    };
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .map(|text| Value::from(text.into_owned()))
        .ok_or_else(|| {
            let message = format!("what it decodes to is not a text in {}", encoding.name());
            FunctionError::in_argument(0, message)
        })
}
