//! Functions over sets.

use super::{Call, Function, FunctionError, Outcome, Want};
use crate::value::{Type, Value, convert, unify};

pub(super) const TABLE: &[Function] = &[
    Function::new("setunion", &[("first", Want::Items)], Want::Set, union).variadic("more", Want::Items),
    Function::new(
        "setintersection",
        &[("first", Want::Items)],
        Want::Set,
        intersection,
    )
    .variadic("more", Want::Items),
    Function::new(
        "setsubtract",
        &[("a", Want::Items), ("b", Want::Items)],
        Want::Set,
        subtract,
    ),
    Function::new(
        "setsymmetricdifference",
        &[("first", Want::Items)],
        Want::Set,
        difference,
    )
    .variadic("more", Want::Items),
    Function::new("setproduct", &[], Want::Any, product).variadic("sets", Want::Items),
];

/// All arguments as sets of one type.
fn alike(call: &Call<'_>) -> Result<Vec<Value>, FunctionError> {
    let types: Vec<Type> = call
        .arguments
        .iter()
        .flat_map(|set| set.as_items())
        .flat_map(|set| set.iter())
        .map(Type::of)
        .collect();
    let ty = unify(&types).ok_or_else(|| FunctionError::new("all sets must hold items of the same type"))?;
    let ty = Type::set(ty);
    let sets = call
        .arguments
        .iter()
        .map(|set| convert(set, &ty).map_err(|error| FunctionError::new(error.to_string())));
    sets.collect()
}

fn items(set: &Value) -> &[Value] {
    set.as_items().map_or(&[], |items| &***items)
}

fn has(set: &Value, item: &Value) -> bool {
    set.as_items().is_some_and(|items| items.position(item).is_some())
}

fn union(call: &mut Call<'_>) -> Outcome {
    let sets = alike(call)?;
    Ok(Value::set(sets.iter().flat_map(items).cloned().collect()))
}

fn intersection(call: &mut Call<'_>) -> Outcome {
    let sets = alike(call)?;
    let (first, more) = sets
        .split_first()
        .ok_or_else(|| FunctionError::new("a set is required"))?;
    Ok(Value::set(
        items(first)
            .iter()
            .filter(|item| more.iter().all(|set| has(set, item)))
            .cloned()
            .collect(),
    ))
}

fn subtract(call: &mut Call<'_>) -> Outcome {
    let sets = alike(call)?;
    Ok(Value::set(
        items(&sets[0])
            .iter()
            .filter(|item| !has(&sets[1], item))
            .cloned()
            .collect(),
    ))
}

fn difference(call: &mut Call<'_>) -> Outcome {
    let sets = alike(call)?;
    let mut sets = sets.into_iter();
    let mut result = sets
        .next()
        .ok_or_else(|| FunctionError::new("a set is required"))?;
    for set in sets {
        let left = items(&result).iter().filter(|item| !has(&set, item));
        let right = items(&set).iter().filter(|item| !has(&result, item));
        result = Value::set(left.chain(right).cloned().collect());
    }
    Ok(result)
}

fn product(call: &mut Call<'_>) -> Outcome {
    if call.arguments.len() < 2 {
        return Err(FunctionError::new("at least two collections are required"));
    }
    let mut sizes = call.arguments.iter().map(|set| items(set).len());
    let total = sizes.try_fold(1_usize, usize::checked_mul);
    call.room
        .items(total.and_then(|total| total.checked_mul(call.arguments.len())))?;
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for set in &call.arguments {
        rows = rows
            .iter()
            .flat_map(|row| {
                items(set).iter().map(move |item| {
                    let mut longer = row.clone();
                    longer.push(item.clone());
                    longer
                })
            })
            .collect();
    }
    let rows: Vec<Value> = rows.into_iter().map(Value::tuple).collect();
    let all_sets = call
        .arguments
        .iter()
        .all(|set| matches!(set.kind(), crate::value::Kind::Set(_)));
    Ok(if all_sets {
        Value::set(rows)
    } else {
        Value::tuple(rows)
    })
}
