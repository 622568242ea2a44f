//! JSON, base64 and URLs.

use super::{Call, Cost, Function, FunctionError, Outcome, Want};
use crate::value::{Value, decode_json, encode_json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

pub(super) const TABLE: &[Function] = &[
    Function::new("jsonencode", &[("value", Want::Any)], Want::Text, jsonencode).cost(Cost::Weight),
    Function::new("jsondecode", &[("text", Want::Text)], Want::Any, jsondecode),
    Function::new("base64encode", &[("text", Want::Text)], Want::Text, |call| {
        Ok(Value::from(STANDARD.encode(call.text(0))))
    }),
    Function::new("base64decode", &[("text", Want::Text)], Want::Text, base64decode),
    Function::new("urlencode", &[("text", Want::Text)], Want::Text, urlencode),
];

fn jsonencode(call: &mut Call<'_>) -> Outcome {
    let text =
        encode_json(&call.arguments[0]).map_err(|error| FunctionError::in_argument(0, error.to_string()))?;
    Ok(Value::from(text))
}

fn jsondecode(call: &mut Call<'_>) -> Outcome {
    decode_json(call.text(0)).map_err(|error| FunctionError::in_argument(0, error.to_string()))
}

fn base64decode(call: &mut Call<'_>) -> Outcome {
    let bytes = STANDARD
        .decode(call.text(0))
        .map_err(|_| FunctionError::in_argument(0, "the text is not base64"))?;
    String::from_utf8(bytes)
        .map(Value::from)
        .map_err(|_| FunctionError::in_argument(0, "what it decodes to is not a text in UTF-8"))
}

/// As Go's `url.QueryEscape`.
fn urlencode(call: &mut Call<'_>) -> Outcome {
    let mut out = String::new();
    for byte in call.text(0).bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => write!(out, "%{other:02X}").expect("writing to a String cannot fail"),
        }
    }
    Ok(Value::from(out))
}
