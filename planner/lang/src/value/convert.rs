//! Conversion of values to a wanted type, by Terraform's rules.

use super::{AttributeType, Kind, Marks, Number, Type, Unknown, Value, describe, unify};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a value cannot become the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct ConvertError {
    /// Where in the value, for example `[0].name`; empty for the value itself.
    pub path: String,
    /// For example `a number is required, but this is string`.
    pub message: String,
}

impl ConvertError {
    fn new(message: String) -> Self {
        Self {
            path: String::new(),
            message,
        }
    }

    fn inside(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }
}

fn article(ty: &Type) -> &'static str {
    if matches!(ty, Type::Object(_)) { "an" } else { "a" }
}

fn mismatch(value: &Value, ty: &Type) -> ConvertError {
    let what = if value.held_marks() != Marks::NONE {
        Type::of(value).friendly()
    } else {
        describe(value).trim_start_matches("is ").to_owned()
    };
    ConvertError::new(format!(
        "{} {} is required, but this is {what}",
        article(ty),
        ty.friendly()
    ))
}

/// The value as `ty`: numbers and truth values to texts and back, tuples to lists and sets, objects to maps and
/// back, missing optional attributes filled. Null and what is unknown pass. Marks and origins are kept.
///
/// # Errors
/// When there is no such conversion; the place within the value is named.
pub fn convert(value: &Value, ty: &Type) -> Result<Value, ConvertError> {
    let keep = |converted: Value| {
        let converted = converted.marked(value.marks());
        match value.origin() {
            Some(span) => converted.from_place(span),
            None => converted,
        }
    };
    match (value.kind(), ty) {
        (_, Type::Any) | (Kind::Null, _) => Ok(value.clone()),
        (Kind::Bool(_), Type::Bool) | (Kind::Number(_), Type::Number) | (Kind::String(_), Type::String) => {
            Ok(value.clone())
        }
        (Kind::Unknown(unknown), _) => Ok(keep(Unknown::new(ty.clone(), unknown.cause().clone()).into())),
        (Kind::Bool(truth), Type::String) => Ok(keep(Value::from(if *truth { "true" } else { "false" }))),
        (Kind::Number(number), Type::String) => Ok(keep(Value::from(number.to_string()))),
        (Kind::String(text), Type::Number) => match Number::parse(text) {
            Ok(number) => Ok(keep(Value::from(number))),
            Err(_) => Err(mismatch(value, ty)),
        },
        (Kind::String(text), Type::Bool) => match &**text {
            "true" => Ok(keep(Value::from(true))),
            "false" => Ok(keep(Value::from(false))),
            _ => Err(mismatch(value, ty)),
        },
        (Kind::List(items) | Kind::Tuple(items) | Kind::Set(items), Type::List(wanted)) => {
            let items = each(items, wanted)?;
            Ok(keep(Value::list(items)))
        }
        (Kind::List(items) | Kind::Tuple(items) | Kind::Set(items), Type::Set(wanted)) => {
            let items = each(items, wanted)?;
            Ok(keep(Value::set(items)))
        }
        (Kind::List(items) | Kind::Tuple(items), Type::Tuple(wanted)) => {
            if items.len() != wanted.len() {
                let message = format!(
                    "{} items are required, but there are {}",
                    wanted.len(),
                    items.len()
                );
                return Err(ConvertError::new(message));
            }
            let items: Result<Vec<Value>, ConvertError> = (0..)
                .zip(items.iter().zip(wanted.iter()))
                .map(|(index, (item, ty))| {
                    convert(item, ty).map_err(|error| error.inside(&format!("[{index}]")))
                })
                .collect();
            Ok(keep(Value::tuple(items?)))
        }
        (Kind::Map(fields) | Kind::Object(fields), Type::Map(wanted)) => {
            let wanted = common(fields.iter().map(|(_, field)| field), wanted)?;
            let fields: Result<BTreeMap<Arc<str>, Value>, ConvertError> = fields
                .iter()
                .map(|(name, field)| match convert(field, &wanted) {
                    Ok(field) => Ok((name.clone(), field)),
                    Err(error) => Err(error.inside(&format!("[{name:?}]"))),
                })
                .collect();
            Ok(keep(Value::map(fields?)))
        }
        (Kind::Map(fields) | Kind::Object(fields), Type::Object(wanted)) => {
            let mut result = BTreeMap::new();
            for (name, attribute) in wanted.iter() {
                result.insert(name.clone(), attribute_value(fields.get(name), name, attribute)?);
            }
            Ok(keep(Value::object(result)))
        }
        (_, _) => Err(mismatch(value, ty)),
    }
}

fn attribute_value(
    given: Option<&Value>,
    name: &str,
    attribute: &AttributeType,
) -> Result<Value, ConvertError> {
    let given = match (given, &attribute.default) {
        (Some(value), Some(default)) if value.is_null() => default,
        (Some(value), _) => value,
        (None, Some(default)) => default,
        (None, None) if attribute.optional => return Ok(Value::null()),
        (None, None) => return Err(ConvertError::new(format!("attribute {name:?} is required"))),
    };
    convert(given, &attribute.ty).map_err(|error| error.inside(&format!(".{name}")))
}

/// The type the items of a collection get: for `any` the one all of them can become.
fn common<'a>(items: impl Iterator<Item = &'a Value>, wanted: &Type) -> Result<Type, ConvertError> {
    if *wanted != Type::Any {
        return Ok(wanted.clone());
    }
    let types: Vec<Type> = items.map(Type::of).collect();
    unify(&types).ok_or_else(|| ConvertError::new("all elements must have the same type".to_owned()))
}

fn each(items: &[Value], wanted: &Type) -> Result<Vec<Value>, ConvertError> {
    let wanted = common(items.iter(), wanted)?;
    (0..)
        .zip(items)
        .map(|(index, item)| convert(item, &wanted).map_err(|error| error.inside(&format!("[{index}]"))))
        .collect()
}
