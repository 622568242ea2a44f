//! Whole values for people, as `terraform console` prints them.

use super::{Kind, Type, Value, describe};
use std::fmt::Write as _;

/// A value as an expression that would give it, over several lines. What is sensitive or ephemeral is not shown.
#[must_use]
pub fn print(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

fn write(value: &Value, level: usize, out: &mut String) {
    if value.marks().is_ephemeral() {
        return out.push_str("(ephemeral value)");
    }
    if value.is_sensitive() {
        return out.push_str("(sensitive value)");
    }
    match value.kind() {
        Kind::Null => out.push_str("null"),
        Kind::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Kind::Number(number) => out.push_str(&number.to_string()),
        Kind::String(text) => write_text(text, level, out),
        Kind::Unknown(_) => {
            let why = describe(value);
            out.push('(');
            out.push_str(why.strip_prefix("is ").unwrap_or(&why));
            out.push(')');
        }
        Kind::Tuple(items) => write_items(items, level, out),
        Kind::List(items) => wrapped("tolist", out, |out| write_items(items, level, out)),
        Kind::Set(items) => wrapped("toset", out, |out| write_items(items, level, out)),
        Kind::Object(fields) => write_fields(fields.iter(), level, out),
        Kind::Map(fields) => wrapped("tomap", out, |out| write_fields(fields.iter(), level, out)),
    }
}

fn wrapped(word: &str, out: &mut String, inner: impl FnOnce(&mut String)) {
    out.push_str(word);
    out.push('(');
    inner(out);
    out.push(')');
}

fn blanks(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', level * 2));
}

fn write_items(items: &[Value], level: usize, out: &mut String) {
    if items.is_empty() {
        return out.push_str("[]");
    }
    out.push_str("[\n");
    for item in items {
        blanks(level + 1, out);
        write(item, level + 1, out);
        out.push_str(",\n");
    }
    blanks(level, out);
    out.push(']');
}

fn write_fields<'v>(
    fields: impl Iterator<Item = (&'v std::sync::Arc<str>, &'v Value)>,
    level: usize,
    out: &mut String,
) {
    let before = out.len();
    out.push_str("{\n");
    let mut any = false;
    for (name, field) in fields {
        any = true;
        blanks(level + 1, out);
        quote(name, out);
        out.push_str(" = ");
        write(field, level + 1, out);
        out.push('\n');
    }
    if !any {
        out.truncate(before);
        return out.push_str("{}");
    }
    blanks(level, out);
    out.push('}');
}

/// A text in quotes, or where it has several lines as a heredoc.
fn write_text(text: &str, level: usize, out: &mut String) {
    let plain = text.chars().all(|letter| letter == '\n' || !letter.is_control());
    if !text.contains('\n') || !plain || text.lines().any(|line| line.trim() == "EOT") {
        return quote(text, out);
    }
    out.push_str("<<EOT\n");
    out.push_str(&text.replace("${", "$${").replace("%{", "%%{"));
    out.push_str("\nEOT");
    if level > 0 {
        out.push('\n');
        blanks(level, out);
    }
}

/// A text as it stands in a file.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(text, &mut out);
    out
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' | '%' if letters.peek() == Some(&'{') => {
                out.push(letter);
                out.push(letter);
            }
            other if other.is_control() => {
                write!(out, "\\u{:04x}", u32::from(other)).expect("writing to a String cannot fail");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The type of a value as `type(...)` prints it.
#[must_use]
pub fn print_type(value: &Value) -> String {
    fn write(ty: &Type, level: usize, out: &mut String) {
        match ty {
            Type::Any => out.push_str("dynamic"),
            Type::Bool | Type::Number | Type::String => out.push_str(&ty.to_string()),
            Type::List(item) => wrapped("list", out, |out| write(item, level, out)),
            Type::Set(item) => wrapped("set", out, |out| write(item, level, out)),
            Type::Map(item) => wrapped("map", out, |out| write(item, level, out)),
            Type::Tuple(items) if items.is_empty() => out.push_str("tuple([])"),
            Type::Object(fields) if fields.is_empty() => out.push_str("object({})"),
            Type::Tuple(items) => {
                out.push_str("tuple([\n");
                for item in items.iter() {
                    blanks(level + 1, out);
                    write(item, level + 1, out);
                    out.push_str(",\n");
                }
                blanks(level, out);
                out.push_str("])");
            }
            Type::Object(fields) => {
                out.push_str("object({\n");
                for (name, field) in fields.iter() {
                    blanks(level + 1, out);
                    out.push_str(name);
                    out.push_str(": ");
                    write(&field.ty, level + 1, out);
                    out.push_str(",\n");
                }
                blanks(level, out);
                out.push_str("})");
            }
        }
    }
    let mut out = String::new();
    write(&Type::of(value), 0, &mut out);
    out
}
