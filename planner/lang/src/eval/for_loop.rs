//! `for` expressions, and walking through collections for them and for templates.

use super::Evaluator;
use crate::diagnostic::Diagnostic;
use crate::value::{Cause, Kind, Marks, Type, Unknown, Value, convert};
use hcl::edit::expr::{Expression, ForExpr};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a loop walks through.
pub(super) enum Iterated {
    /// Keys and values in order, and the collection's marks.
    Items(Vec<(Value, Value)>, Marks),
    /// Not known yet.
    Unknown(Cause, Marks),
}

/// What one turn of a loop contributes.
enum Turn {
    Skipped,
    Item(Value),
    Field(Arc<str>, Value),
    Unknown(Cause),
}

impl Evaluator<'_> {
    /// The keys and values of a collection expression; something else is reported.
    pub(super) fn iterate(&mut self, collection: &Expression) -> Iterated {
        let value = self.eval(collection);
        let marks = value.marks();
        let problem = match value.kind() {
            Kind::List(items) | Kind::Tuple(items) => {
                let numbered = (0_u64..).zip(items.iter());
                return Iterated::Items(
                    numbered
                        .map(|(index, item)| (Value::from(crate::value::Number::from(index)), item.clone()))
                        .collect(),
                    marks,
                );
            }
            Kind::Set(items) => {
                return Iterated::Items(
                    items.iter().map(|item| (item.clone(), item.clone())).collect(),
                    marks,
                );
            }
            Kind::Map(fields) | Kind::Object(fields) => {
                let pairs = fields
                    .iter()
                    .map(|(name, field)| (Value::from(name.clone()), field.clone()));
                return Iterated::Items(pairs.collect(), marks);
            }
            Kind::Unknown(unknown) => return Iterated::Unknown(unknown.cause().clone(), marks),
            Kind::Null => "This value is null, so there is nothing to walk through.".to_owned(),
            Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => format!(
                "This value is a {}. Only lists, sets, tuples, maps and objects can be walked through.",
                Type::of(&value).friendly()
            ),
        };
        self.fail(
            collection,
            Diagnostic::error("Iteration over non-iterable value", problem),
        );
        Iterated::Unknown(Cause::Failed, Marks::NONE)
    }

    /// Binds the names of a loop for one turn.
    pub(super) fn bind(&mut self, key: Option<&Arc<str>>, value: &Arc<str>, pair: (Value, Value)) {
        if let Some(name) = key {
            self.scope.push((name.clone(), pair.0));
        }
        self.scope.push((value.clone(), pair.1));
    }

    /// Binds one name until it is unbound.
    pub(crate) fn bind_name(&mut self, name: &Arc<str>, value: Value) {
        self.scope.push((name.clone(), value));
    }

    pub(crate) fn unbind(&mut self, to: usize) {
        self.scope.truncate(to);
    }

    pub(crate) fn bound(&self) -> usize {
        self.scope.len()
    }

    #[inline(never)]
    pub(super) fn for_expression(&mut self, expression: &Expression) -> Value {
        let Expression::ForExpr(each) = expression else {
            return Value::failed();
        };
        let (pairs, mut marks) = match self.iterate(&each.intro.collection_expr) {
            Iterated::Items(pairs, marks) => (pairs, marks),
            Iterated::Unknown(cause, marks) => {
                return Value::from(Unknown::new(Type::Any, cause)).marked(marks);
            }
        };
        if !self.steps(pairs.len(), expression) {
            return Value::failed();
        }
        let key_name: Option<Arc<str>> = each.intro.key_var.as_ref().map(|name| name.as_str().into());
        let value_name: Arc<str> = each.intro.value_var.as_str().into();
        let before = self.bound();
        let mut items: Vec<Value> = Vec::new();
        let mut groups: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
        let mut unknown: Option<Cause> = None;
        for pair in pairs {
            self.bind(key_name.as_ref(), &value_name, pair);
            let turn = self.turn(each, &mut marks, &groups);
            self.unbind(before);
            match turn {
                Turn::Skipped => {}
                Turn::Item(item) => items.push(item),
                Turn::Field(name, value) => groups.entry(name).or_default().push(value),
                Turn::Unknown(Cause::Failed) => return Value::failed(),
                Turn::Unknown(cause) => {
                    unknown = Some(unknown.map_or(cause.clone(), |known| known.min(cause)));
                }
            }
        }
        if let Some(cause) = unknown {
            return Value::from(Unknown::new(Type::Any, cause)).marked(marks);
        }
        let value = if each.key_expr.is_none() {
            Value::tuple(items)
        } else if each.grouping {
            Value::object(
                groups
                    .into_iter()
                    .map(|(name, values)| (name, Value::tuple(values))),
            )
        } else {
            Value::object(
                groups
                    .into_iter()
                    .filter_map(|(name, mut values)| values.pop().map(|value| (name, value))),
            )
        };
        self.made(value.marked(marks), expression)
    }

    fn turn(&mut self, each: &ForExpr, marks: &mut Marks, groups: &BTreeMap<Arc<str>, Vec<Value>>) -> Turn {
        if let Some(condition) = &each.cond {
            let value = self.eval(&condition.expr);
            *marks |= value.marks();
            match convert(&value, &Type::Bool).map(|truth| (truth.as_bool(), truth.unknown().cloned())) {
                Ok((Some(true), _)) => {}
                Ok((Some(false), _)) => return Turn::Skipped,
                Ok((None, Some(unknown))) => return Turn::Unknown(unknown.cause().clone()),
                Ok((None, None)) => {
                    let diagnostic = Diagnostic::error(
                        "Invalid \"for\" condition",
                        "The condition is null. It must be true or false.",
                    );
                    self.fail(&condition.expr, diagnostic);
                    return Turn::Unknown(Cause::Failed);
                }
                Err(error) => {
                    let detail = format!("The condition must be true or false: {error}.");
                    self.fail(
                        &condition.expr,
                        Diagnostic::error("Invalid \"for\" condition", detail),
                    );
                    return Turn::Unknown(Cause::Failed);
                }
            }
        }
        let Some(key_expression) = &each.key_expr else {
            return Turn::Item(self.eval(&each.value_expr));
        };
        let key = self.eval(key_expression);
        let key = self.object_key(&key, key_expression);
        *marks |= key.marks();
        let value = self.eval(&each.value_expr);
        if let Some(cause) = key.why_unknown() {
            return Turn::Unknown(cause.clone());
        }
        let name: Arc<str> = key.as_str().unwrap_or_default().into();
        if !each.grouping && groups.contains_key(&name) {
            let detail = format!(
                "Two items of the collection give the key {name:?}. If that is intended, write \"...\" after the value \
                 expression to gather all values of a key in a list."
            );
            self.fail(key_expression, Diagnostic::error("Duplicate object key", detail));
            return Turn::Unknown(Cause::Failed);
        }
        Turn::Field(name, value)
    }
}
