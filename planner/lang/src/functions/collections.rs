//! Functions over lists, tuples, maps and objects.

use super::{Call, Cost, Function, FunctionError, Outcome, Want};
use crate::eval::get_element;
use crate::value::{Marks, Number, Type, Value, compare, convert, equal, unify};
use std::collections::BTreeMap;
use std::sync::Arc;
use unicode_segmentation::UnicodeSegmentation as _;

pub(super) const TABLE: &[Function] = &[
    Function::new("length", &[("value", Want::Measurable)], Want::Number, length)
        .keeping_parts()
        .cost(Cost::Constant),
    Function::new("keys", &[("map", Want::Fields)], Want::Texts, keys).keeping_parts(),
    Function::new("values", &[("map", Want::Fields)], Want::Any, values).keeping_parts(),
    Function::new("merge", &[], Want::Any, merge)
        .variadic("maps", Want::Any)
        .keeping_parts(),
    Function::new("concat", &[], Want::Any, concat)
        .variadic("lists", Want::Items)
        .keeping_parts(),
    Function::new(
        "contains",
        &[("list", Want::Items), ("value", Want::Any)],
        Want::Bool,
        contains,
    )
    .cost(Cost::Constant),
    Function::new(
        "index",
        &[("list", Want::Items), ("value", Want::Any)],
        Want::Number,
        index,
    )
    .cost(Cost::Constant),
    Function::new(
        "lookup",
        &[("map", Want::Fields), ("key", Want::Text), ("default", Want::Any)],
        Want::Any,
        lookup,
    )
    .optional(1)
    .keeping_parts()
    .cost(Cost::Constant),
    Function::new(
        "element",
        &[("list", Want::Items), ("index", Want::Number)],
        Want::Any,
        element,
    )
    .keeping_parts()
    .cost(Cost::Constant),
    Function::new("flatten", &[("list", Want::Items)], Want::Any, flatten)
        .keeping_parts()
        .cost(Cost::Weight),
    Function::new("distinct", &[("list", Want::Items)], Want::Any, distinct),
    Function::new("sort", &[("list", Want::Texts)], Want::Texts, sort),
    Function::new("reverse", &[("list", Want::Items)], Want::Any, reverse).keeping_parts(),
    Function::new("range", &[("limit", Want::Number)], Want::Numbers, range).variadic("more", Want::Number),
    Function::new(
        "zipmap",
        &[("keys", Want::Texts), ("values", Want::Items)],
        Want::Any,
        zipmap,
    )
    .keeping_parts(),
    Function::new("compact", &[("list", Want::Items)], Want::Texts, compact),
    Function::new("coalesce", &[], Want::Any, coalesce)
        .variadic("values", Want::Any)
        .keeping_parts(),
    Function::new("coalescelist", &[], Want::Any, coalescelist)
        .variadic("lists", Want::Items)
        .keeping_parts(),
    Function::new(
        "slice",
        &[
            ("list", Want::Items),
            ("start", Want::Number),
            ("end", Want::Number),
        ],
        Want::Any,
        slice,
    )
    .keeping_parts(),
    Function::new(
        "chunklist",
        &[("list", Want::Items), ("size", Want::Number)],
        Want::Any,
        chunklist,
    )
    .keeping_parts(),
    Function::new(
        "matchkeys",
        &[
            ("values", Want::Items),
            ("keys", Want::Items),
            ("search", Want::Items),
        ],
        Want::Any,
        matchkeys,
    ),
    Function::new("one", &[("list", Want::Items)], Want::Any, one)
        .keeping_parts()
        .cost(Cost::Constant),
    Function::new("alltrue", &[("list", Want::Items)], Want::Bool, alltrue),
    Function::new("anytrue", &[("list", Want::Items)], Want::Bool, anytrue),
    Function::new(
        "transpose",
        &[("map", Want::TextsByName)],
        Want::TextsByName,
        transpose,
    )
    .cost(Cost::Weight),
];

fn length(call: &mut Call<'_>) -> Outcome {
    let value = &call.arguments[0];
    let length = match (value.as_items(), value.as_fields(), value.as_str()) {
        (Some(items), _, _) => items.len(),
        (None, Some(fields), _) => fields.len(),
        (None, None, text) => text.unwrap_or_default().graphemes(true).count(),
    };
    Ok(Value::from(Number::from(length)))
}

fn keys(call: &mut Call<'_>) -> Outcome {
    let fields = call.arguments[0].as_fields();
    let names = fields
        .into_iter()
        .flat_map(|fields| fields.iter())
        .map(|(name, _)| Value::from(name.clone()));
    Ok(Value::list(names.collect()))
}

fn values(call: &mut Call<'_>) -> Outcome {
    let fields = call.arguments[0].as_fields();
    Ok(Value::tuple(
        fields
            .into_iter()
            .flat_map(|fields| fields.iter())
            .map(|(_, value)| value.clone())
            .collect(),
    ))
}

fn merge(call: &mut Call<'_>) -> Outcome {
    let mut merged: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    for (at, argument) in call.arguments.iter().enumerate() {
        match argument.as_fields() {
            Some(fields) => merged.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone()))),
            None if argument.is_null() => {}
            None => {
                let what = Type::of(argument).friendly();
                return Err(FunctionError::in_argument(
                    at,
                    format!("a map or object is required, but this is {what}"),
                ));
            }
        }
    }
    Ok(Value::object(merged))
}

fn concat(call: &mut Call<'_>) -> Outcome {
    let total = (0..call.arguments.len()).map(|at| call.items(at).len()).sum();
    call.room.items(Some(total))?;
    Ok(Value::tuple(
        (0..call.arguments.len())
            .flat_map(|at| call.items(at).iter().cloned())
            .collect(),
    ))
}

/// By `==`: a number is not the text that shows it.
fn position(call: &Call<'_>) -> Option<usize> {
    call.arguments[0].as_items()?.position(&call.arguments[1])
}

fn contains(call: &mut Call<'_>) -> Outcome {
    Ok(Value::from(position(call).is_some()))
}

fn index(call: &mut Call<'_>) -> Outcome {
    position(call)
        .map(|at| Value::from(Number::from(at)))
        .ok_or_else(|| FunctionError::new("the item is not in the list"))
}

fn lookup(call: &mut Call<'_>) -> Outcome {
    let found = call.arguments[0]
        .as_fields()
        .and_then(|fields| fields.get(call.text(1)));
    match (found, call.arguments.get(2)) {
        (Some(value), _) => Ok(value.clone()),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => {
            let message = format!("the map has no key {:?}, and no default is given", call.text(1));
            Err(FunctionError::in_argument(1, message))
        }
    }
}

fn element(call: &mut Call<'_>) -> Outcome {
    let length = i64::try_from(call.items(0).len()).unwrap_or(i64::MAX);
    if length == 0 {
        return Err(FunctionError::in_argument(
            0,
            "the list is empty, so it has no element",
        ));
    }
    // As Terraform since 1.10: a negative index counts from the end.
    let at = call.integer(1)?.rem_euclid(length);
    let list = call.arguments[0]
        .as_items()
        .map(Value::tuple_of)
        .unwrap_or_else(Value::null);
    get_element(&list, &Value::from(Number::from(at))).map_err(|(message, _)| FunctionError::new(message))
}

fn flatten(call: &mut Call<'_>) -> Outcome {
    fn gather(items: &[Value], marks: Marks, out: &mut Vec<Value>) {
        for item in items {
            match item.as_items() {
                Some(inner) => gather(inner, marks | item.marks(), out),
                None => out.push(item.clone().marked(marks)),
            }
        }
    }
    let weight = usize::try_from(call.arguments[0].weight()).ok();
    let mut out = Vec::new();
    call.room.bytes(weight)?;
    gather(call.items(0), Marks::NONE, &mut out);
    Ok(Value::tuple(out))
}

fn distinct(call: &mut Call<'_>) -> Outcome {
    let Some(items) = call.arguments[0].as_items() else {
        return Ok(Value::null());
    };
    let first = items
        .iter()
        .enumerate()
        .filter(|(at, item)| items.position(item) == Some(*at));
    Ok(Value::tuple(first.map(|(_, item)| item.clone()).collect()))
}

fn sort(call: &mut Call<'_>) -> Outcome {
    let mut items = call.items(0).to_vec();
    items.sort_by(compare);
    Ok(Value::list(items))
}

fn reverse(call: &mut Call<'_>) -> Outcome {
    Ok(Value::tuple(call.items(0).iter().rev().cloned().collect()))
}

fn range(call: &mut Call<'_>) -> Outcome {
    let (start, limit) = match call.arguments.len() {
        1 => (Number::from(0_i64), call.number(0)),
        2 | 3 => (call.number(0), call.number(1)),
        _ => return Err(FunctionError::new("range takes one, two or three numbers")),
    };
    let step = match call.arguments.len() {
        3 => call.number(2),
        _ => Number::from(if limit < start { -1_i64 } else { 1 }),
    };
    if step.is_zero() {
        return Err(FunctionError::in_argument(2, "the step must not be zero"));
    }
    let down = step.is_negative();
    if (down && limit > start) || (!down && limit < start) {
        let way = if down { "less" } else { "greater" };
        return Err(FunctionError::in_argument(
            1,
            format!("with this step the limit must be {way} than the start"),
        ));
    }
    let mut numbers = Vec::new();
    let mut current = start;
    while if down { current > limit } else { current < limit } {
        // As Terraform.
        if numbers.len() >= 1024 * 64 {
            return Err(FunctionError::new(
                "the result would have more than 65536 numbers",
            ));
        }
        let next = current
            .add(&step)
            .map_err(|error| FunctionError::new(error.to_string()))?;
        numbers.push(Value::from(current));
        current = next;
    }
    Ok(Value::list(numbers))
}

fn zipmap(call: &mut Call<'_>) -> Outcome {
    let (keys, values) = (call.items(0), call.items(1));
    if keys.len() != values.len() {
        let message = format!("there are {} keys but {} values", keys.len(), values.len());
        return Err(FunctionError::in_argument(1, message));
    }
    let mut fields = BTreeMap::new();
    for (key, value) in keys.iter().zip(values) {
        let name = key
            .as_str()
            .ok_or_else(|| FunctionError::in_argument(0, "a key must not be null"))?;
        fields.insert(Arc::from(name), value.clone());
    }
    Ok(Value::object(fields))
}

fn compact(call: &mut Call<'_>) -> Outcome {
    let mut kept = Vec::new();
    for item in call.items(0) {
        let text =
            convert(item, &Type::String).map_err(|error| FunctionError::in_argument(0, error.to_string()))?;
        if text.as_str().is_some_and(|text| !text.is_empty()) {
            kept.push(text);
        }
    }
    Ok(Value::list(kept))
}

fn coalesce(call: &mut Call<'_>) -> Outcome {
    let types: Vec<Type> = call.arguments.iter().map(Type::of).collect();
    let ty = unify(&types).ok_or_else(|| FunctionError::new("all arguments must have the same type"))?;
    let found = call
        .arguments
        .iter()
        .find(|value| !value.is_null() && value.as_str() != Some(""));
    let found = found.ok_or_else(|| FunctionError::new("no argument is neither null nor empty"))?;
    convert(found, &ty).map_err(|error| FunctionError::new(error.to_string()))
}

fn coalescelist(call: &mut Call<'_>) -> Outcome {
    let found = call
        .arguments
        .iter()
        .find(|value| value.as_items().is_some_and(|items| !items.is_empty()));
    found
        .cloned()
        .ok_or_else(|| FunctionError::new("all lists are empty"))
}

fn slice(call: &mut Call<'_>) -> Outcome {
    let length = call.items(0).len();
    let place = |at: usize| {
        let number = call.integer(at)?;
        usize::try_from(number)
            .ok()
            .filter(|number| *number <= length)
            .ok_or_else(|| {
                FunctionError::in_argument(
                    at,
                    format!("it must be between 0 and {length}, the length of the list"),
                )
            })
    };
    let (start, end) = (place(1)?, place(2)?);
    if start > end {
        return Err(FunctionError::in_argument(
            1,
            "the start must not be greater than the end",
        ));
    }
    Ok(Value::tuple(call.items(0)[start..end].to_vec()))
}

fn chunklist(call: &mut Call<'_>) -> Outcome {
    let size = usize::try_from(call.integer(1)?)
        .map_err(|_| FunctionError::in_argument(1, "it must not be negative"))?;
    let items = call.items(0);
    let size = if size == 0 { items.len().max(1) } else { size };
    Ok(Value::tuple(
        items
            .chunks(size)
            .map(|chunk| Value::tuple(chunk.to_vec()))
            .collect(),
    ))
}

fn matchkeys(call: &mut Call<'_>) -> Outcome {
    let (values, keys) = (call.items(0), call.items(1));
    if values.len() != keys.len() {
        return Err(FunctionError::in_argument(
            1,
            "there must be as many keys as values",
        ));
    }
    let search = call.arguments[2].as_items();
    let wanted = |key: &Value| search.is_some_and(|search| search.position(key).is_some());
    Ok(Value::tuple(
        values
            .iter()
            .zip(keys)
            .filter(|(_, key)| wanted(key))
            .map(|(value, _)| value.clone())
            .collect(),
    ))
}

fn one(call: &mut Call<'_>) -> Outcome {
    match call.items(0) {
        [] => Ok(Value::null()),
        [only] => Ok(only.clone()),
        more => {
            let message = format!(
                "a list with no or one item is required, but this has {}",
                more.len()
            );
            Err(FunctionError::in_argument(0, message))
        }
    }
}

fn truths(call: &Call<'_>) -> Result<Vec<bool>, FunctionError> {
    let each = call.items(0).iter().map(|item| match convert(item, &Type::Bool) {
        Ok(truth) => Ok(truth.as_bool().unwrap_or(false)),
        Err(error) => Err(FunctionError::in_argument(0, error.to_string())),
    });
    each.collect()
}

fn alltrue(call: &mut Call<'_>) -> Outcome {
    Ok(Value::from(truths(call)?.into_iter().all(|truth| truth)))
}

fn anytrue(call: &mut Call<'_>) -> Outcome {
    Ok(Value::from(truths(call)?.into_iter().any(|truth| truth)))
}

fn transpose(call: &mut Call<'_>) -> Outcome {
    let mut result: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
    for (name, list) in call.arguments[0]
        .as_fields()
        .into_iter()
        .flat_map(|fields| fields.iter())
    {
        for item in list.as_items().into_iter().flat_map(|items| items.iter()) {
            let text = item
                .as_str()
                .ok_or_else(|| FunctionError::in_argument(0, "an item must not be null"))?;
            let names = result.entry(text.into()).or_default();
            let name = Value::from(name.clone());
            if !names.last().is_some_and(|last| equal(last, &name)) {
                names.push(name);
            }
        }
    }
    Ok(Value::map(
        result.into_iter().map(|(name, list)| (name, Value::list(list))),
    ))
}
