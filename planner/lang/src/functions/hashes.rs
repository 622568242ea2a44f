//! Digests of texts and files, and UUIDs derived from names.

use super::files::read_call_bytes;
use super::{Call, Function, FunctionError, Outcome, Want};
use crate::value::Value;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use std::fmt::Write as _;
use uuid::Uuid;

const TEXT: &[(&str, Want)] = &[("string", Want::Text)];
const PATH: &[(&str, Want)] = &[("path", Want::Text)];

pub(super) const TABLE: &[Function] = &[
    Function::new("md5", TEXT, Want::Text, |call| {
        Ok(hex::<Md5>(call.text(0).as_bytes()))
    }),
    Function::new("sha1", TEXT, Want::Text, |call| {
        Ok(hex::<Sha1>(call.text(0).as_bytes()))
    }),
    Function::new("sha256", TEXT, Want::Text, |call| {
        Ok(hex::<Sha256>(call.text(0).as_bytes()))
    }),
    Function::new("sha512", TEXT, Want::Text, |call| {
        Ok(hex::<Sha512>(call.text(0).as_bytes()))
    }),
    Function::new("base64sha256", TEXT, Want::Text, |call| {
        Ok(base64::<Sha256>(call.text(0).as_bytes()))
    }),
    Function::new("base64sha512", TEXT, Want::Text, |call| {
        Ok(base64::<Sha512>(call.text(0).as_bytes()))
    }),
    Function::new("filemd5", PATH, Want::Text, |call| {
        Ok(hex::<Md5>(&read_call_bytes(call)?))
    }),
    Function::new("filesha1", PATH, Want::Text, |call| {
        Ok(hex::<Sha1>(&read_call_bytes(call)?))
    }),
    Function::new("filesha256", PATH, Want::Text, |call| {
        Ok(hex::<Sha256>(&read_call_bytes(call)?))
    }),
    Function::new("filesha512", PATH, Want::Text, |call| {
        Ok(hex::<Sha512>(&read_call_bytes(call)?))
    }),
    Function::new("filebase64sha256", PATH, Want::Text, |call| {
        Ok(base64::<Sha256>(&read_call_bytes(call)?))
    }),
    Function::new("filebase64sha512", PATH, Want::Text, |call| {
        Ok(base64::<Sha512>(&read_call_bytes(call)?))
    }),
    Function::new(
        "uuidv5",
        &[("namespace", Want::Text), ("name", Want::Text)],
        Want::Text,
        uuidv5,
    ),
];

fn hex<D: Digest>(bytes: &[u8]) -> Value {
    let mut text = String::new();
    for byte in D::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    Value::from(text)
}

fn base64<D: Digest>(bytes: &[u8]) -> Value {
    Value::from(STANDARD.encode(D::digest(bytes)))
}

fn uuidv5(call: &mut Call<'_>) -> Outcome {
    let namespace = match call.text(0) {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        other => Uuid::try_parse(other)
            .map_err(|_| FunctionError::in_argument(0, "a namespace is dns, url, oid, x500 or a UUID"))?,
    };
    Ok(Value::from(
        Uuid::new_v5(&namespace, call.text(1).as_bytes()).to_string(),
    ))
}
