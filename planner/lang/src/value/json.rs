//! JSON to values and back. Own code, because numbers must stay exact in both directions.

use super::{Kind, Number, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Why there is no JSON, or no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON.
    #[error("the text is not JSON: {expected} was expected at byte {at}")]
    Syntax {
        /// Where.
        at: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// The text is nested too deeply.
    #[error("the JSON text is nested more than {MAX_DEPTH} levels deep")]
    Depth,
    /// A number is out of range.
    #[error("the JSON text holds a number that is out of range")]
    Number,
    /// The value is not wholly known.
    #[error("the value is not known yet")]
    Unknown,
}

const MAX_DEPTH: u32 = 100;

/// The value as JSON without blanks, objects sorted by name, as Terraform's `jsonencode`.
///
/// # Errors
/// When something in it is not known yet.
pub fn encode_json(value: &Value) -> Result<String, JsonError> {
    let mut out = String::new();
    write_value(value, &mut out)?;
    Ok(out)
}

fn write_value(value: &Value, out: &mut String) -> Result<(), JsonError> {
    match value.kind() {
        Kind::Null => out.push_str("null"),
        Kind::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Kind::Number(number) => write!(out, "{number}").expect("writing to a String cannot fail"),
        Kind::String(text) => write_text(text, out),
        Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                write_value(item, out)?;
            }
            out.push(']');
        }
        Kind::Map(fields) | Kind::Object(fields) => {
            out.push('{');
            for (number, (name, field)) in fields.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                write_value(field, out)?;
            }
            out.push('}');
        }
        Kind::Unknown(_) => return Err(JsonError::Unknown),
    }
    Ok(())
}

/// As Go's encoder: `<`, `>`, `&` and the two Unicode line ends are escaped, so that the text may stand in HTML.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("writing to a String cannot fail");
            }
            control if u32::from(control) < 0x20 => {
                write!(out, "\\u{:04x}", u32::from(control)).expect("writing to a String cannot fail");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The value a JSON text stands for: tuples and objects, as Terraform's `jsondecode`. Of two fields with the
/// same name the last counts.
///
/// # Errors
/// When the text is not JSON, is nested too deeply, or holds a number out of range.
pub fn decode_json(text: &str) -> Result<Value, JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    let value = reader.value(0)?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.expected("the end"));
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax {
            at: self.at,
            expected,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: u32) -> Result<Value, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::Depth);
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::from),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) | None => {
                for (word, value) in [
                    ("null", Value::null()),
                    ("true", true.into()),
                    ("false", false.into()),
                ] {
                    if self.text[self.at..].starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.expected("a value"))
            }
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.eat(b'-');
        let digits = |reader: &mut Self| {
            let from = reader.at;
            while matches!(reader.peek(), Some(b'0'..=b'9')) {
                reader.at += 1;
            }
            reader.at > from
        };
        let zero = self.peek() == Some(b'0');
        let whole = self.at;
        if !digits(self) || (zero && self.at > whole + 1) {
            return Err(self.expected("a number"));
        }
        if self.eat(b'.') && !digits(self) {
            return Err(self.expected("a digit"));
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            if !digits(self) {
                return Err(self.expected("a digit"));
            }
        }
        Number::parse(&self.text[start..self.at])
            .map(Value::from)
            .map_err(|_| JsonError::Number)
    }

    fn array(&mut self, depth: u32) -> Result<Value, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.eat(b']') {
            return Ok(Value::tuple(items));
        }
        loop {
            self.blanks();
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.eat(b']') {
                return Ok(Value::tuple(items));
            }
            if !self.eat(b',') {
                return Err(self.expected("',' or ']'"));
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, JsonError> {
        self.at += 1;
        let mut fields: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        self.blanks();
        if self.eat(b'}') {
            return Ok(Value::object(fields));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.expected("'\"'"));
            }
            let name = self.string()?;
            self.blanks();
            if !self.eat(b':') {
                return Err(self.expected("':'"));
            }
            self.blanks();
            let value = self.value(depth + 1)?;
            fields.insert(name.into(), value);
            self.blanks();
            if self.eat(b'}') {
                return Ok(Value::object(fields));
            }
            if !self.eat(b',') {
                return Err(self.expected("',' or '}'"));
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(character) = rest.chars().next() else {
                return Err(self.expected("'\"'"));
            };
            match character {
                '"' => {
                    self.at += 1;
                    return Ok(out);
                }
                '\\' => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                control if u32::from(control) < 0x20 => return Err(self.expected("no control character")),
                other => {
                    self.at += other.len_utf8();
                    out.push(other);
                }
            }
        }
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .ok_or_else(|| self.expected("4 hexadecimal digits"))?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(self.expected("4 hexadecimal digits"));
        }
        self.at += 4;
        Ok(u32::from_str_radix(digits, 16).expect("four hexadecimal digits were checked"))
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let Some(byte) = self.peek() else {
            return Err(self.expected("an escape"));
        };
        if !byte.is_ascii() {
            return Err(self.expected("an escape"));
        }
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let code = if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
                    let back = self.at;
                    self.at += 2;
                    let second = self.hex()?;
                    if (0xdc00..0xe000).contains(&second) {
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    } else {
                        self.at = back;
                        first
                    }
                } else {
                    first
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => {
                self.at -= 1;
                return Err(self.expected("an escape"));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_it_writes() {
        for text in [
            "null",
            "[1,2.5,-3,true,\"a\\n\\\"\"]",
            "{\"a\":{\"b\":[]},\"c\":9007199254740993}",
            "\"\\u003ca\\u003e\"",
            "0.1000000000000000000000000000001",
        ] {
            assert_eq!(encode_json(&decode_json(text).expect(text)).as_deref(), Ok(text));
        }
        assert_eq!(
            decode_json("\"\\ud83d\\ude00\"").expect("text").as_str(),
            Some("😀")
        );
    }

    #[test]
    fn refuses_what_is_no_json() {
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "01",
            "1.",
            "tru",
            "\"\\x\"",
            "\"\\u12\"",
            "1 2",
            "\"\n\"",
            "'a'",
            "\"\\é\"",
        ] {
            assert!(
                matches!(decode_json(bad), Err(JsonError::Syntax { .. })),
                "{bad:?} was accepted"
            );
        }
        assert_eq!(decode_json(&"[".repeat(100_000)).err(), Some(JsonError::Depth));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]{}\",:0-9a-f\\\\u.eé-]{0,40}") {
            if let Ok(value) = decode_json(&text) {
                let encoded = encode_json(&value).expect("all is known");
                prop_assert!(crate::value::equal(&decode_json(&encoded).expect("own output"), &value));
            }
        }
    }
}
