//! Values of expressions. Each knows whether it is sensitive and where it came from; what is not known yet says
//! why. Collections are shared, and know in advance what they hold, so that looking at 10,000 instances from
//! 10,000 places costs nothing.

mod collection;
mod convert;
mod json;
mod marks;
mod number;
mod print;
mod show;
mod types;
mod unify;
mod unknown;

pub use collection::{Fields, Sequence};
pub use convert::{ConvertError, convert};
pub use json::{JsonError, decode_json, encode_json};
pub use marks::Marks;
pub use number::{Number, NumberError};
pub(crate) use print::quoted;
pub use print::{print, print_type};
pub use show::{describe, show};
pub use types::{AttributeType, Type};
pub(crate) use unify::unify;
pub use unknown::{Cause, Unknown};

use crate::source::Span;
use std::sync::Arc;

/// What a value is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// No value; may stand for any type.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    String(Arc<str>),
    /// Items of one type, in order.
    List(Arc<Sequence>),
    /// Items of any types, in order: what `[…]` gives.
    Tuple(Arc<Sequence>),
    /// Different items of one type, sorted.
    Set(Arc<Sequence>),
    /// Values of one type by name.
    Map(Arc<Fields>),
    /// Values of any types by name: what `{…}` gives.
    Object(Arc<Fields>),
    /// Not known yet.
    Unknown(Arc<Unknown>),
}

/// A value of an expression.
#[derive(Debug, Clone)]
pub struct Value {
    kind: Kind,
    marks: Marks,
    origin: Option<Span>,
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            marks: Marks::NONE,
            origin: None,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Kind::Bool(value).into()
    }
}

impl From<Number> for Value {
    fn from(value: Number) -> Self {
        Kind::Number(value).into()
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Kind::String(value.into()).into()
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Kind::String(value.into()).into()
    }
}

impl From<Arc<str>> for Value {
    fn from(value: Arc<str>) -> Self {
        Kind::String(value).into()
    }
}

impl From<Unknown> for Value {
    fn from(value: Unknown) -> Self {
        Kind::Unknown(Arc::new(value)).into()
    }
}

impl Value {
    /// No value.
    #[must_use]
    pub fn null() -> Self {
        Kind::Null.into()
    }

    /// A value of an expression that is already reported as wrong: whatever is made of it stays silent.
    #[must_use]
    pub fn failed() -> Self {
        Unknown::new(Type::Any, Cause::Failed).into()
    }

    /// Items of any types.
    #[must_use]
    pub fn tuple(items: Vec<Self>) -> Self {
        Kind::Tuple(Arc::new(Sequence::new(items))).into()
    }

    /// Items of one type: the caller has converted them.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Kind::List(Arc::new(Sequence::new(items))).into()
    }

    /// Items of one type, sorted, without repetition: the caller has converted them.
    #[must_use]
    pub fn set(mut items: Vec<Self>) -> Self {
        items.sort_by(compare);
        items.dedup_by(|a, b| compare(a, b).is_eq());
        Kind::Set(Arc::new(Sequence::new(items))).into()
    }

    /// Values of any types by name.
    #[must_use]
    pub fn object(fields: impl IntoIterator<Item = (Arc<str>, Self)>) -> Self {
        Kind::Object(Arc::new(Fields::new(fields.into_iter().collect()))).into()
    }

    /// Values of one type by name: the caller has converted them.
    #[must_use]
    pub fn map(fields: impl IntoIterator<Item = (Arc<str>, Self)>) -> Self {
        Kind::Map(Arc::new(Fields::new(fields.into_iter().collect()))).into()
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Where it was written, if that is known.
    #[must_use]
    pub fn origin(&self) -> Option<Span> {
        self.origin
    }

    /// Written here, unless it came from somewhere else already.
    #[must_use]
    pub fn from_place(mut self, span: Span) -> Self {
        self.origin = self.origin.or(Some(span));
        self
    }

    /// The same value as if it had been written nowhere: its place is in a text that is not kept.
    pub(crate) fn without_origin(mut self) -> Self {
        self.origin = None;
        self
    }

    /// The marks of this value itself; see [`Value::held_marks`] for its parts.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// Whether this value itself must not be shown.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.marks.is_sensitive()
    }

    /// The same value with these marks too; a mark is never taken away.
    #[must_use]
    pub fn marked(mut self, marks: Marks) -> Self {
        self.marks |= marks;
        self
    }

    /// The same value without these marks of its own.
    #[must_use]
    pub fn unmarked(mut self, marks: Marks) -> Self {
        self.marks = self.marks.without(marks);
        self
    }

    /// The marks of it and of everything in it.
    #[must_use]
    pub fn held_marks(&self) -> Marks {
        self.marks
            | match &self.kind {
                Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => items.summary().marks,
                Kind::Map(fields) | Kind::Object(fields) => fields.summary().marks,
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Unknown(_) => {
                    Marks::NONE
                }
            }
    }

    /// Whether it or anything in it must not be shown.
    #[must_use]
    pub fn holds_sensitive(&self) -> bool {
        self.held_marks().is_sensitive()
    }

    /// Whether it or anything in it must not be stored.
    #[must_use]
    pub fn holds_ephemeral(&self) -> bool {
        self.held_marks().is_ephemeral()
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// What is not known about this value itself.
    #[must_use]
    pub fn unknown(&self) -> Option<&Unknown> {
        match &self.kind {
            Kind::Unknown(unknown) => Some(unknown),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::List(_)
            | Kind::Tuple(_)
            | Kind::Set(_)
            | Kind::Map(_)
            | Kind::Object(_) => None,
        }
    }

    /// Why it or something in it is not known; a cause that was reported already comes first.
    #[must_use]
    pub fn why_unknown(&self) -> Option<&Cause> {
        match &self.kind {
            Kind::Unknown(unknown) => Some(unknown.cause()),
            Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => items.summary().unknown.as_ref(),
            Kind::Map(fields) | Kind::Object(fields) => fields.summary().unknown.as_ref(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => None,
        }
    }

    /// Whether its making was already reported as wrong.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.unknown()
            .is_some_and(|unknown| *unknown.cause() == Cause::Failed)
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Kind::String(text) = &self.kind {
            Some(text)
        } else {
            None
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<&Number> {
        if let Kind::Number(number) = &self.kind {
            Some(number)
        } else {
            None
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Kind::Bool(value) = self.kind {
            Some(value)
        } else {
            None
        }
    }

    /// The items of a list, tuple or set.
    #[must_use]
    pub fn as_items(&self) -> Option<&Arc<Sequence>> {
        if let Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) = &self.kind {
            Some(items)
        } else {
            None
        }
    }

    /// The fields of a map or object.
    #[must_use]
    pub fn as_fields(&self) -> Option<&Arc<Fields>> {
        if let Kind::Map(fields) | Kind::Object(fields) = &self.kind {
            Some(fields)
        } else {
            None
        }
    }

    /// How many values it is made of, counted as if nothing were shared, plus the bytes of its texts.
    #[must_use]
    pub fn weight(&self) -> u64 {
        match &self.kind {
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Unknown(_) => 1,
            Kind::String(text) => 1 + u64::try_from(text.len()).unwrap_or(u64::MAX),
            Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => items.summary().weight,
            Kind::Map(fields) | Kind::Object(fields) => fields.summary().weight,
        }
    }

    /// How deep collections stand in each other.
    #[must_use]
    pub fn depth(&self) -> u32 {
        match &self.kind {
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Unknown(_) | Kind::String(_) => 0,
            Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => items.summary().depth,
            Kind::Map(fields) | Kind::Object(fields) => fields.summary().depth,
        }
    }
}

fn rank(kind: &Kind) -> u8 {
    match kind {
        Kind::Null => 0,
        Kind::Bool(_) => 1,
        Kind::Number(_) => 2,
        Kind::String(_) => 3,
        Kind::List(_) | Kind::Tuple(_) | Kind::Set(_) => 4,
        Kind::Map(_) | Kind::Object(_) => 5,
        Kind::Unknown(_) => 6,
    }
}

/// A total order over values, whatever their marks and origins: numbers by value, texts by their bytes.
#[must_use]
pub fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (&a.kind, &b.kind) {
        (Kind::Bool(a), Kind::Bool(b)) => a.cmp(b),
        (Kind::Number(a), Kind::Number(b)) => a.cmp(b),
        (Kind::String(a), Kind::String(b)) => a.cmp(b),
        (Kind::List(a) | Kind::Tuple(a) | Kind::Set(a), Kind::List(b) | Kind::Tuple(b) | Kind::Set(b)) => {
            if Arc::ptr_eq(a, b) {
                return std::cmp::Ordering::Equal;
            }
            let pairs = a.iter().zip(b.iter());
            pairs
                .map(|(a, b)| compare(a, b))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Kind::Map(a) | Kind::Object(a), Kind::Map(b) | Kind::Object(b)) => {
            if Arc::ptr_eq(a, b) {
                return std::cmp::Ordering::Equal;
            }
            let pairs = a.iter().zip(b.iter());
            pairs
                .map(|((a_name, a), (b_name, b))| a_name.cmp(b_name).then_with(|| compare(a, b)))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// Whether two values are the same, whatever their marks and origins. A list equals a tuple with the same
/// items, a map an object with the same fields.
#[must_use]
pub fn equal(a: &Value, b: &Value) -> bool {
    compare(a, b).is_eq()
}
