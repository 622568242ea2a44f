//! Conversions between types, and marks.

use super::{Call, Cost, Function, FunctionError, Outcome, Want};
use crate::value::{Fields, Kind, Marks, Type, Value, convert};

pub(super) const TABLE: &[Function] = &[
    Function::new("tostring", &[("value", Want::Any)], Want::Text, |call| {
        to(call, &Type::String)
    }),
    Function::new("tonumber", &[("value", Want::Any)], Want::Number, |call| {
        to(call, &Type::Number)
    }),
    Function::new("tobool", &[("value", Want::Any)], Want::Bool, |call| {
        to(call, &Type::Bool)
    }),
    Function::new("tolist", &[("value", Want::Any)], Want::Any, |call| {
        to(call, &Type::list(Type::Any))
    })
    .keeping_parts(),
    Function::new("toset", &[("value", Want::Any)], Want::Set, |call| {
        to(call, &Type::set(Type::Any))
    }),
    Function::new("tomap", &[("value", Want::Any)], Want::Any, |call| {
        to(call, &Type::map(Type::Any))
    })
    .keeping_parts(),
    Function::new("sensitive", &[("value", Want::Any)], Want::Any, sensitive)
        .keeping_parts()
        .cost(Cost::Constant),
    Function::new("nonsensitive", &[("value", Want::Any)], Want::Any, |call| {
        Ok(call.arguments[0].clone().unmarked(Marks::SENSITIVE))
    })
    .deciding_marks()
    .cost(Cost::Constant),
    Function::new("issensitive", &[("value", Want::Any)], Want::Bool, |call| {
        Ok(Value::from(call.arguments[0].is_sensitive()))
    })
    .deciding_marks()
    .cost(Cost::Constant),
    Function::new("ephemeralasnull", &[("value", Want::Any)], Want::Any, |call| {
        Ok(without_ephemeral(&call.arguments[0]))
    })
    .deciding_marks()
    .cost(Cost::Weight),
];

/// The value with null in place of every ephemeral part.
fn without_ephemeral(value: &Value) -> Value {
    if value.marks().is_ephemeral() {
        return Value::null().marked(value.marks().without(Marks::EPHEMERAL));
    }
    if !value.holds_ephemeral() {
        return value.clone();
    }
    let fields = |fields: &Fields| -> Vec<(std::sync::Arc<str>, Value)> {
        fields
            .iter()
            .map(|(name, value)| (name.clone(), without_ephemeral(value)))
            .collect()
    };
    let items = |items: &[Value]| items.iter().map(without_ephemeral).collect();
    let cleaned = match value.kind() {
        Kind::List(all) => Value::list(items(all)),
        Kind::Tuple(all) => Value::tuple(items(all)),
        Kind::Set(all) => Value::set(items(all)),
        Kind::Map(all) => Value::map(fields(all)),
        Kind::Object(all) => Value::object(fields(all)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Unknown(_) => value.clone(),
    };
    cleaned.marked(value.marks())
}

fn to(call: &mut Call<'_>, ty: &Type) -> Outcome {
    convert(&call.arguments[0], ty).map_err(|error| FunctionError::in_argument(0, error.to_string()))
}

fn sensitive(call: &mut Call<'_>) -> Outcome {
    Ok(call.arguments[0].clone().marked(Marks::SENSITIVE))
}

impl Value {
    /// The same items as a tuple.
    pub(super) fn tuple_of(items: &std::sync::Arc<crate::value::Sequence>) -> Self {
        Kind::Tuple(items.clone()).into()
    }
}
