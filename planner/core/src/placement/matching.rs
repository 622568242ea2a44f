//! Nova's operators of extra specs (`extra_specs_ops.match`), and the text Python makes of a value.

use super::numbers::float;
use serde_json::Value;

/// Whether `value` meets `requirement`.
///
/// The first word of the requirement may be an operator, and only the word after it counts. No known operator: the
/// whole text must be equal. A numeric operator on something that is no number is met by nothing (Nova raises).
pub(crate) fn matches(value: &str, requirement: &str) -> bool {
    let mut words = python_split(requirement);
    let Some(operator) = words.next() else {
        return value == requirement;
    };
    let numeric = |test: fn(f64, f64) -> bool, word: Option<&str>| match (float(value), word.and_then(float))
    {
        (Some(left), Some(right)) => test(left, right),
        (Some(_) | None, None) | (None, Some(_)) => false,
    };
    let textual =
        |test: fn(&str, &str) -> bool, word: Option<&str>| word.is_some_and(|word| test(value, word));
    match operator {
        "=" | ">=" => numeric(|a, b| a >= b, words.next()),
        "==" => numeric(|a, b| a == b, words.next()),
        "!=" => numeric(|a, b| a != b, words.next()),
        "<=" => numeric(|a, b| a <= b, words.next()),
        "s==" => textual(|a, b| a == b, words.next()),
        "s!=" => textual(|a, b| a != b, words.next()),
        "s<" => textual(|a, b| a < b, words.next()),
        "s<=" => textual(|a, b| a <= b, words.next()),
        "s>" => textual(|a, b| a > b, words.next()),
        "s>=" => textual(|a, b| a >= b, words.next()),
        "<in>" => textual(|a, b| a.contains(b), words.next()),
        "<all-in>" => {
            let mut words = words.peekable();
            words.peek().is_some() && words.all(|word| value.contains(word))
        }
        "<or>" => words.step_by(2).any(|word| word == value),
        _ => value == requirement,
    }
}

const OPERATORS: &str = "=, ==, !=, >=, <=, s==, s!=, s<, s<=, s>, s>=, <in>, <all-in> and <or>";

/// Whether a filter compares hosts or aggregates with the extra spec of this key: those of another scope are read by
/// nobody, or by somebody who checks them.
pub(crate) fn is_compared(key: &str) -> bool {
    match key.split_once(':') {
        Some((scope, _)) => matches!(scope, "capabilities" | "aggregate_instance_extra_specs"),
        None => true,
    }
}

/// Why nothing meets a requirement, or none but the very same text that looks like an operator and is none.
pub(crate) fn flaw_of_requirement(requirement: &str) -> Option<String> {
    let mut words = python_split(requirement);
    let operator = words.next()?;
    let behind = words.next();
    match operator {
        "=" | ">=" | "==" | "!=" | "<=" => match behind {
            Some(word) if float(word).is_some() => None,
            Some(word) => Some(format!("{operator} compares numbers, and {word:?} is none")),
            None => Some(format!("{operator} needs a number behind it")),
        },
        "s==" | "s!=" | "s<" | "s<=" | "s>" | "s>=" | "<in>" | "<all-in>" | "<or>" => behind
            .is_none()
            .then(|| format!("{operator} needs a word behind it")),
        _ => {
            let looks_so = operator.chars().all(|sign| "<>=!~".contains(sign)) && behind.is_some();
            looks_so.then(|| format!("{operator} is no operator; there are {OPERATORS}"))
        }
    }
}

/// As Python's `text.split()`.
fn python_split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_python_space).filter(|word| !word.is_empty())
}

/// As Python's `str.isspace`: four separators are white space there and not in Unicode's property.
pub(crate) fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// As Python's `json.dumps(value)`: blanks behind separators, and only ASCII.
pub(crate) fn python_json(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(python_json).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let text = |(key, value): (&String, &Value)| format!("{}: {}", ascii(key), python_json(value));
            let entries: Vec<String> = entries.iter().map(text).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::String(text) => ascii(text),
        Value::Number(number) if number.is_f64() => python_repr(value),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn ascii(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let mut ascii = String::with_capacity(quoted.len());
    for character in quoted.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

/// As Python's `str(value)`.
pub(crate) fn python_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            python_repr(value)
        }
    }
}

fn python_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => python_float(float),
            Some(_) | None => number.to_string(),
        },
        Value::String(text) => python_quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(python_repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", python_quoted(key), python_repr(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

fn python_quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for character in text.chars() {
        match character {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other if other == quote => {
                quoted.push('\\');
                quoted.push(other);
            }
            other if other.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(other))),
            other => quoted.push(other),
        }
    }
    quoted.push(quote);
    quoted
}

/// Python writes an exponent below 10^-4 and from 10^16 on, with a sign and two digits.
fn python_float(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent
            .strip_prefix('-')
            .map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_answers_as_nova_does() {
        for (value, requirement, expected) in [
            ("4", "= 3", true),
            ("2", "= 3", false),
            ("2.40", "== 2.4", true),
            ("2.4", "!= 2.40", false),
            ("8", ">= 8", true),
            ("8", "<= 7", false),
            ("8", "> 7", false),
            ("> 7", "> 7", true),
            ("a100", "s== a100 extra", true),
            ("a100", "s!= a100", false),
            ("a100", "s< h", true),
            ("t4", "s>= t4", true),
            ("x", "s> y", false),
            ("x", "s<= x", true),
            ("red,blue", "<in> re", true),
            ("red,blue", "<all-in> red blue", true),
            ("red,blue", "<all-in> red green", false),
            ("x", "<all-in>", false),
            ("v100", "<or> a100 <or> v100", true),
            ("<or>", "<or> a100 <or> v100", false),
            ("x", "<or>", false),
            ("x", "s==", false),
            ("true", "true", true),
            ("true", "True", false),
            ("", "", true),
            ("  ", "", false),
            ("abc", ">= 1", false),
            ("1", ">= abc", false),
            ("1_000", "== 1000", true),
            ("1__0", "== 10", false),
            ("\u{664}", ">= \u{663}", true),
            ("\u{664}", "4", false),
            ("nan", "== nan", false),
            ("nan", "!= 1", true),
            ("inf", ">= 1e308", true),
            ("4", ">=\u{1f}4", true),
            ("4", "=4", false),
            ("4", "<or>\u{a0}4", true),
            ("a b", "<or> a b", false),
            ("4", "<or> 3 or 4", true),
            ("é", "s> z", true),
        ] {
            assert_eq!(
                matches(value, requirement),
                expected,
                "{value:?} against {requirement:?}"
            );
        }
    }

    #[test]
    fn values_read_as_python_prints_them() {
        for (json, text) in [
            (r#""plain""#, "plain"),
            ("16", "16"),
            ("2.0", "2.0"),
            ("1e16", "1e+16"),
            ("1.5e-7", "1.5e-07"),
            ("true", "True"),
            (r#"["aes","vmx"]"#, "['aes', 'vmx']"),
            (r#"{"a":[null,1]}"#, "{'a': [None, 1]}"),
            (r#"["it's"]"#, r#"["it's"]"#),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(python_text(&value), text);
        }
        let value: Value = serde_json::from_str(r#"{"a":["x",1.0,true],"b":"é\n"}"#).unwrap();
        assert_eq!(python_json(&value), r#"{"a": ["x", 1.0, true], "b": "\u00e9\n"}"#);
    }
}
