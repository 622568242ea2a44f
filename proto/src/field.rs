//! Reads validated values out of messages: a field that does not hold what it must is named in the error.

use std::str::FromStr;

/// A field of a message does not hold what it must.
#[derive(Debug, thiserror::Error)]
#[error("field {field} holds no valid value")]
pub struct FieldError {
    /// The field's name in the `.proto` file.
    pub field: &'static str,
    /// What is wrong with it.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A message lacks a field that it must have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is missing")]
pub struct Missing;

/// Parses a text field.
///
/// # Errors
/// The field's name and what its type says of the text.
pub fn parse<T>(field: &'static str, text: &str) -> Result<T, FieldError>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|source: T::Err| FieldError {
        field,
        source: Box::new(source),
    })
}

/// Parses a text field that may be empty.
///
/// # Errors
/// As [`parse`], where it is not empty.
pub fn parse_optional<T>(field: &'static str, text: &str) -> Result<Option<T>, FieldError>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    if text.is_empty() {
        Ok(None)
    } else {
        parse(field, text).map(Some)
    }
}

/// Takes a message field that must be there.
///
/// # Errors
/// The field's name, where it is absent.
pub fn required<T>(field: &'static str, value: Option<T>) -> Result<T, FieldError> {
    value.ok_or_else(|| FieldError {
        field,
        source: Box::new(Missing),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_types::ServerId;

    #[test]
    fn a_bad_field_is_named() {
        let error = parse::<ServerId>("server_id", "x").expect_err("no id");
        assert_eq!(error.to_string(), "field server_id holds no valid value");
        assert!(required::<u8>("server", None).is_err());
        assert_eq!(
            parse_optional::<ServerId>("server_id", "").expect("empty is none"),
            None
        );
    }
}
