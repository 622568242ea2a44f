//! References, attributes, indexes and splats.

use super::{Evaluator, Reference};
use crate::diagnostic::{Diagnostic, MOST_COMPARED, did_you_mean};
use crate::source::Span;
use crate::value::{Kind, Number, Sequence, Type, Unknown, Value, convert, describe};
use hcl::edit::Decorated;
use hcl::edit::expr::{Expression, TraversalOperator};
use std::sync::Arc;

type Operators = [Decorated<TraversalOperator>];

impl Evaluator<'_> {
    #[inline(never)]
    pub(super) fn traversal(&mut self, expression: &Expression) -> Value {
        match expression {
            Expression::Traversal(traversal) => {
                let (value, used) = match &traversal.expr {
                    Expression::Variable(name) => self.root(name.as_str(), &traversal.operators, expression),
                    other => (self.eval(other), 0),
                };
                self.follow(value, &traversal.operators[used..], expression)
            }
            Expression::Variable(name) => self.root(name.as_str(), &[], expression).0,
            _ => Value::failed(),
        }
    }

    /// What a traversal begins with, and how many of its operators that took.
    fn root(&mut self, name: &str, operators: &Operators, whole: &Expression) -> (Value, usize) {
        if let Some((_, value)) = self.scope.iter().rev().find(|(bound, _)| **bound == *name) {
            return (value.clone(), 0);
        }
        if self.inside_template_file {
            let known = self.scope.iter().map(|(bound, _)| &**bound);
            let hint = did_you_mean(name, known);
            let detail = format!("The template uses {name:?}, which is not among the values given to it.");
            return (
                self.report(Diagnostic::error("Unknown reference", detail).hint(hint)),
                operators.len(),
            );
        }
        match Reference::parse(name, operators) {
            Ok((reference, used)) => match self.look_up(&reference) {
                Some(value) => (value, used),
                None => {
                    let span = self.span_of(whole);
                    (self.undeclared(&reference, span), operators.len())
                }
            },
            Err(error) => {
                let span = self.span_of(whole);
                let known = self.scope.iter().map(|(bound, _)| &**bound);
                let hint = did_you_mean(name, known).or(error.hint);
                let diagnostic = Diagnostic::error("Unknown reference", error.detail)
                    .hint(hint)
                    .at_maybe(span);
                (self.report(diagnostic), operators.len())
            }
        }
    }

    fn look_up(&self, reference: &Reference) -> Option<Value> {
        let environment = &self.environment;
        match reference {
            Reference::Variable(name) => environment.variables.get(name).cloned(),
            Reference::Local(name) => environment.locals.get(name).cloned(),
            Reference::Resource(kind, name) => environment.resources.get(&(*kind, name.clone())).cloned(),
            Reference::Module(name) => environment.modules.get(name).cloned(),
            Reference::Data(kind, name) => environment.data.get(&(*kind, name.clone())).cloned(),
            Reference::Path(name) => environment.paths.get(name).cloned(),
            Reference::Drover(name) => environment.drover.get(name).cloned(),
            Reference::CountIndex => self.instance.index.map(|index| Value::from(Number::from(index))),
            Reference::EachKey => self
                .instance
                .each
                .as_ref()
                .map(|(key, _)| Value::from(key.clone())),
            Reference::EachValue => self.instance.each.as_ref().map(|(_, value)| value.clone()),
            Reference::Itself => environment.itself.clone(),
        }
    }

    /// Reports a reference that stands for nothing.
    #[inline(never)]
    fn undeclared(&mut self, reference: &Reference, span: Option<Span>) -> Value {
        let environment = &self.environment;
        if let Reference::Data(kind, name) = reference
            && environment.scoped.contains_key(&(*kind, name.clone()))
        {
            return self.report(reference.scoped(None).at_maybe(span));
        }
        fn few<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Vec<Arc<str>> {
            names.take(MOST_COMPARED + 1).cloned().collect()
        }
        let known: Vec<Arc<str>> = match reference {
            Reference::Variable(_) => few(environment.variables.keys()),
            Reference::Local(_) => few(environment.locals.keys()),
            Reference::Resource(kind, _) => {
                let from = environment.resources.range((*kind, Arc::from(""))..);
                let of_kind = from.map(|(key, _)| key).take_while(|(other, _)| other == kind);
                of_kind
                    .take(MOST_COMPARED + 1)
                    .map(|(_, name)| name.clone())
                    .collect()
            }
            Reference::Module(_) => few(environment.modules.keys()),
            Reference::Data(kind, _) => {
                let of_kind = environment.data.keys().filter(|(other, _)| other == kind);
                of_kind.map(|(_, name)| name.clone()).collect()
            }
            Reference::Path(_) => environment.paths.keys().cloned().collect(),
            Reference::Drover(_) => environment.drover.keys().cloned().collect(),
            Reference::CountIndex | Reference::EachKey | Reference::EachValue | Reference::Itself => {
                Vec::new()
            }
        };
        let diagnostic = reference.undeclared(known.iter().map(|name| &**name));
        self.report(diagnostic.at_maybe(span))
    }

    /// Applies the operators one after another.
    fn follow(&mut self, mut value: Value, operators: &Operators, whole: &Expression) -> Value {
        for (at, operator) in operators.iter().enumerate() {
            if value.is_failed() {
                return value;
            }
            let rest = &operators[at + 1..];
            value = match operator.value() {
                TraversalOperator::GetAttr(name) => self.attribute(&value, name.as_str(), operator, whole),
                TraversalOperator::LegacyIndex(index) => {
                    let key = Value::from(Number::from(*index.value()));
                    self.element(&value, &key, operator, whole)
                }
                TraversalOperator::Index(key) => {
                    let key = self.eval(key);
                    self.element(&value, &key, operator, whole)
                }
                TraversalOperator::AttrSplat(_) => {
                    let attributes = rest
                        .iter()
                        .take_while(|operator| matches!(operator.value(), TraversalOperator::GetAttr(_)))
                        .count();
                    let (inner, after) = rest.split_at(attributes);
                    let value = self.splat(&value, inner, whole);
                    return self.follow(value, after, whole);
                }
                TraversalOperator::FullSplat(_) => return self.splat(&value, rest, whole),
            };
        }
        value
    }

    fn wrong(
        &mut self,
        operator: &Decorated<TraversalOperator>,
        whole: &Expression,
        diagnostic: Diagnostic,
    ) -> Value {
        let span = self.span_of(operator).or_else(|| self.span_of(whole));
        self.fail_at(span, &[whole], diagnostic)
    }

    fn attribute(
        &mut self,
        value: &Value,
        name: &str,
        operator: &Decorated<TraversalOperator>,
        whole: &Expression,
    ) -> Value {
        let found = match value.kind() {
            Kind::Object(fields) | Kind::Map(fields) => match fields.get(name) {
                Some(field) => Ok(field.clone()),
                None => {
                    let what = match fields.declared() {
                        Some(address) => format!("{address} has no attribute {name:?}. It has"),
                        None if matches!(value.kind(), Kind::Map(_)) => {
                            format!("This map has no key {name:?}. It has")
                        }
                        None => format!("This object has no attribute {name:?}. It has"),
                    };
                    let detail = format!("{what} {}.", listed(fields.names()));
                    Err(Diagnostic::error("Unsupported attribute", detail)
                        .hint(did_you_mean(name, fields.names())))
                }
            },
            Kind::Unknown(unknown) => {
                let ty = match unknown.ty() {
                    Type::Object(attributes) => match attributes.get(name) {
                        Some(attribute) => attribute.ty.clone(),
                        None => Type::Any,
                    },
                    Type::Map(item) => (**item).clone(),
                    Type::Any
                    | Type::Bool
                    | Type::Number
                    | Type::String
                    | Type::List(_)
                    | Type::Set(_)
                    | Type::Tuple(_) => Type::Any,
                };
                Ok(Unknown::new(ty, unknown.cause().clone()).into())
            }
            Kind::Null => Err(Diagnostic::error(
                "Attempt to get attribute from null value",
                format!("This value is null, so it has no attribute {name:?}."),
            )),
            Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => {
                let first = items
                    .first()
                    .and_then(Value::as_fields)
                    .and_then(|fields| fields.declared());
                let what = match first {
                    Some(address) => format!("{}.{} has several instances", address.kind, address.name),
                    None => format!("This value {}", describe(value)),
                };
                let detail = if items.is_empty() {
                    format!("{what}, so it has no attribute {name:?}.")
                } else {
                    format!("{what}. Write [0].{name} for the first or [*].{name} for all.")
                };
                Err(Diagnostic::error("Unsupported attribute", detail))
            }
            Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
                let detail = format!(
                    "This value is a {}, which has no attributes, so {name:?} cannot be read from it.",
                    Type::of(value).friendly()
                );
                Err(Diagnostic::error("Unsupported attribute", detail))
            }
        };
        match found {
            Ok(found) => found.marked(value.marks()),
            Err(diagnostic) => self.wrong(operator, whole, diagnostic),
        }
    }

    fn element(
        &mut self,
        value: &Value,
        key: &Value,
        operator: &Decorated<TraversalOperator>,
        whole: &Expression,
    ) -> Value {
        match get_element(value, key) {
            Ok(found) => found.marked(value.marks() | key.marks()),
            Err(_) if value.holds_sensitive() || key.holds_sensitive() => {
                let detail = "This value does not have the item that is asked for. What is asked for is sensitive and \
                              not shown.";
                self.wrong(operator, whole, Diagnostic::error("Invalid index", detail))
            }
            Err((detail, hint)) => self.wrong(
                operator,
                whole,
                Diagnostic::error("Invalid index", detail).hint(hint),
            ),
        }
    }

    /// Applies `inner` to every item; a single value counts as one item, null as none.
    fn splat(&mut self, value: &Value, inner: &Operators, whole: &Expression) -> Value {
        let single;
        let items: &Arc<Sequence> = match value.kind() {
            Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => items,
            Kind::Null => return Value::tuple(Vec::new()).marked(value.marks()),
            Kind::Unknown(unknown) => {
                return Value::from(Unknown::new(Type::Any, unknown.cause().clone())).marked(value.marks());
            }
            Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Map(_) | Kind::Object(_) => {
                single = Arc::new(Sequence::new(vec![value.clone().unmarked(value.marks())]));
                &single
            }
        };
        let path = attribute_path(inner);
        if let Some(known) = path.as_ref().and_then(|path| self.remembered_splat(items, path)) {
            return known.marked(value.marks());
        }
        if !self.steps(items.len(), whole) {
            return Value::failed();
        }
        let mut results = Vec::with_capacity(items.len());
        for item in items.iter() {
            let result = self.follow(item.clone(), inner, whole);
            if result.is_failed() {
                return result;
            }
            results.push(result);
        }
        let result = self.made(Value::tuple(results), whole);
        if let Some(path) = path {
            self.remember_splat(items, path, &result);
        }
        result.marked(value.marks())
    }
}

/// `a.b` where all operators read attributes.
fn attribute_path(operators: &Operators) -> Option<String> {
    let mut path = String::new();
    for operator in operators {
        let TraversalOperator::GetAttr(name) = operator.value() else {
            return None;
        };
        path.push('.');
        path.push_str(name.as_str());
    }
    Some(path)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 12;
    let mut names: Vec<&str> = names.take(MOST + 1).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    if names.len() > MOST {
        names[MOST] = "...";
    }
    names.join(", ")
}

/// The item at a key, as `value[key]`; the error is what is wrong and what was probably meant.
pub(crate) fn get_element(value: &Value, key: &Value) -> Result<Value, (String, Option<String>)> {
    let plain = |detail: String| (detail, None);
    if let Some(cause) = value.unknown().or_else(|| key.unknown()).map(Unknown::cause) {
        return Ok(Unknown::new(Type::Any, cause.clone()).into());
    }
    if key.is_null() {
        return Err(plain(
            "The key is null, so nothing can be read with it.".to_owned(),
        ));
    }
    match value.kind() {
        Kind::List(items) | Kind::Tuple(items) => {
            let number = convert(key, &Type::Number)
                .map_err(|error| plain(format!("The index of a list must be a number: {error}.")))?;
            let index = number.as_number().and_then(|number| number.as_u64());
            let found = index.and_then(|index| items.get(usize::try_from(index).unwrap_or(usize::MAX)));
            found.cloned().ok_or_else(|| {
                let held = match items.len() {
                    0 => "is empty".to_owned(),
                    1 => "has 1 item, with index 0".to_owned(),
                    length => format!("has {length} items, with indexes from 0 to {}", length - 1),
                };
                plain(format!("There is no item with index {}: the list {held}.", crate::value::show(&number)))
            })
        }
        Kind::Map(fields) | Kind::Object(fields) => {
            let name = convert(key, &Type::String)
                .map_err(|error| plain(format!("The key of a map must be a text: {error}.")))?;
            let name = name.as_str().unwrap_or_default();
            fields.get(name).cloned().ok_or_else(|| {
                let detail = format!("There is no item with the key {name:?}. The keys are {}.", listed(fields.names()));
                (detail, did_you_mean(name, fields.names()))
            })
        }
        Kind::Set(_) => Err(plain(
            "The items of a set have no order, so none can be picked by index. Turn it into a list with tolist first."
                .to_owned(),
        )),
        Kind::Null => Err(plain("This value is null, so it has no items.".to_owned())),
        Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
            Err(plain(format!("This value is a {}, which has no items.", Type::of(value).friendly())))
        }
        Kind::Unknown(unknown) => Ok(Unknown::new(Type::Any, unknown.cause().clone()).into()),
    }
}
