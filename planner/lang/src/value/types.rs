//! Types, as `variable` blocks write them and messages name them.

use super::{Kind, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Whatever is given.
    Any,
    /// True or false.
    Bool,
    /// A number.
    Number,
    /// A text.
    String,
    /// Items of one type, in order.
    List(Arc<Type>),
    /// Different items of one type.
    Set(Arc<Type>),
    /// Values of one type by name.
    Map(Arc<Type>),
    /// So many items of these types.
    Tuple(Arc<[Type]>),
    /// These attributes.
    Object(Arc<BTreeMap<Arc<str>, AttributeType>>),
}

/// One attribute of an object type.
#[derive(Debug, Clone)]
pub struct AttributeType {
    /// Its type.
    pub ty: Type,
    /// Whether it may be missing.
    pub optional: bool,
    /// What a missing one becomes, if not null.
    pub default: Option<Value>,
}

impl PartialEq for AttributeType {
    fn eq(&self, other: &Self) -> bool {
        let defaults = match (&self.default, &other.default) {
            (None, None) => true,
            (Some(a), Some(b)) => super::equal(a, b),
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.ty == other.ty && self.optional == other.optional && defaults
    }
}

impl Eq for AttributeType {}

impl AttributeType {
    /// An attribute that must be there.
    #[must_use]
    pub fn required(ty: Type) -> Self {
        Self {
            ty,
            optional: false,
            default: None,
        }
    }
}

impl Type {
    /// A list of these.
    #[must_use]
    pub fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    /// A set of these.
    #[must_use]
    pub fn set(item: Self) -> Self {
        Self::Set(Arc::new(item))
    }

    /// A map of these.
    #[must_use]
    pub fn map(item: Self) -> Self {
        Self::Map(Arc::new(item))
    }

    /// Whether it is a text, a number or a truth value.
    #[must_use]
    pub fn is_primitive(&self) -> bool {
        matches!(self, Self::Bool | Self::Number | Self::String)
    }

    /// The type of a value. Looks at every item of tuples and objects, at the first of lists, sets and maps.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let first = |mut values: Box<dyn Iterator<Item = &Value> + '_>| {
            Arc::new(values.find(|value| !value.is_null()).map_or(Self::Any, Self::of))
        };
        match value.kind() {
            Kind::Null => Self::Any,
            Kind::Bool(_) => Self::Bool,
            Kind::Number(_) => Self::Number,
            Kind::String(_) => Self::String,
            Kind::List(items) => Self::List(first(Box::new(items.iter()))),
            Kind::Set(items) => Self::Set(first(Box::new(items.iter()))),
            Kind::Tuple(items) => Self::Tuple(items.iter().map(Self::of).collect()),
            Kind::Map(fields) => Self::Map(first(Box::new(fields.iter().map(|(_, value)| value)))),
            Kind::Object(fields) => {
                let types = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), AttributeType::required(Self::of(value))));
                Self::Object(Arc::new(types.collect()))
            }
            Kind::Unknown(unknown) => unknown.ty().clone(),
        }
    }

    /// The type in messages: `string`, `list of string`, `object`.
    #[must_use]
    pub fn friendly(&self) -> String {
        match self {
            Self::Any => "any type".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Number => "number".to_owned(),
            Self::String => "string".to_owned(),
            Self::List(item) => format!("list of {}", item.friendly()),
            Self::Set(item) => format!("set of {}", item.friendly()),
            Self::Map(item) => format!("map of {}", item.friendly()),
            Self::Tuple(_) => "tuple".to_owned(),
            Self::Object(_) => "object".to_owned(),
        }
    }
}

/// As a `variable` block writes it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Bool => f.write_str("bool"),
            Self::Number => f.write_str("number"),
            Self::String => f.write_str("string"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Set(item) => write!(f, "set({item})"),
            Self::Map(item) => write!(f, "map({item})"),
            Self::Tuple(items) => {
                f.write_str("tuple([")?;
                for (number, item) in items.iter().enumerate() {
                    let comma = if number > 0 { ", " } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("])")
            }
            Self::Object(attributes) => {
                f.write_str("object({")?;
                for (number, (name, attribute)) in attributes.iter().enumerate() {
                    let comma = if number > 0 { ", " } else { "" };
                    if attribute.optional {
                        write!(f, "{comma}{name}=optional({})", attribute.ty)?;
                    } else {
                        write!(f, "{comma}{name}={}", attribute.ty)?;
                    }
                }
                f.write_str("})")
            }
        }
    }
}
