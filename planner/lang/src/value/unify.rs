//! One type that several values can be converted to, by Terraform's rules.

use super::{AttributeType, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The type all of these can become, if there is one. `Any` among them is whatever the others are.
pub(crate) fn unify(types: &[Type]) -> Option<Type> {
    let mut result = Type::Any;
    for ty in types {
        result = pair(&result, ty)?;
    }
    Some(result)
}

fn item(items: &[Type]) -> Option<Type> {
    unify(items)
}

fn pair(a: &Type, b: &Type) -> Option<Type> {
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (Type::Any, other) | (other, Type::Any) => Some(other.clone()),
        (Type::String, other) | (other, Type::String) if other.is_primitive() => Some(Type::String),
        (Type::List(a), Type::List(b)) => Some(Type::list(pair(a, b)?)),
        (Type::Set(a), Type::Set(b)) | (Type::Set(a), Type::List(b)) | (Type::List(a), Type::Set(b)) => {
            Some(Type::set(pair(a, b)?))
        }
        (Type::Map(a), Type::Map(b)) => Some(Type::map(pair(a, b)?)),
        (Type::Tuple(items), Type::List(other)) | (Type::List(other), Type::Tuple(items)) => {
            Some(Type::list(pair(&item(items)?, other)?))
        }
        (Type::Tuple(items), Type::Set(other)) | (Type::Set(other), Type::Tuple(items)) => {
            Some(Type::set(pair(&item(items)?, other)?))
        }
        (Type::Tuple(a), Type::Tuple(b)) => {
            if a.len() == b.len() {
                let both: Option<Vec<Type>> = a.iter().zip(b.iter()).map(|(a, b)| pair(a, b)).collect();
                if let Some(both) = both {
                    return Some(Type::Tuple(both.into()));
                }
            }
            Some(Type::list(pair(&item(a)?, &item(b)?)?))
        }
        (Type::Object(attributes), Type::Map(other)) | (Type::Map(other), Type::Object(attributes)) => {
            let types: Vec<Type> = attributes
                .values()
                .map(|attribute| attribute.ty.clone())
                .collect();
            Some(Type::map(pair(&unify(&types)?, other)?))
        }
        (Type::Object(a), Type::Object(b)) => objects(a, b),
        (_, _) => None,
    }
}

fn objects(a: &BTreeMap<Arc<str>, AttributeType>, b: &BTreeMap<Arc<str>, AttributeType>) -> Option<Type> {
    if a.len() == b.len() && a.keys().eq(b.keys()) {
        let both: Option<BTreeMap<Arc<str>, AttributeType>> = a
            .iter()
            .zip(b.values())
            .map(|((name, a), b)| Some((name.clone(), AttributeType::required(pair(&a.ty, &b.ty)?))))
            .collect();
        if let Some(both) = both {
            return Some(Type::Object(Arc::new(both)));
        }
    }
    let types: Vec<Type> = a
        .values()
        .chain(b.values())
        .map(|attribute| attribute.ty.clone())
        .collect();
    Some(Type::map(unify(&types)?))
}
