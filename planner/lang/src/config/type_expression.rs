//! Type constraints as `variable` blocks write them: `string`, `list(number)`, `object({ … optional(…) })`.

use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::eval::{Evaluator, MAX_EXPRESSION_DEPTH};
use crate::value::{AttributeType, Type, Value, convert};
use hcl::edit::expr::{Expression, FuncCall, ObjectKey};
use std::collections::BTreeMap;
use std::sync::Arc;

const WORDS: [&str; 9] = [
    "any", "bool", "number", "string", "list", "set", "map", "tuple", "object",
];

/// The type an expression stands for; a mistake is reported and counts as `any`.
pub(super) fn read_type(expression: &Expression, evaluator: &mut Evaluator<'_>) -> Type {
    read(expression, evaluator, 0)
}

fn wrong(
    evaluator: &mut Evaluator<'_>,
    expression: &Expression,
    detail: String,
    hint: Option<String>,
) -> Type {
    let diagnostic = Diagnostic::error("Invalid type specification", detail).hint(hint);
    let span = evaluator.span_of(expression);
    evaluator.report(diagnostic.at_maybe(span));
    Type::Any
}

fn read(expression: &Expression, evaluator: &mut Evaluator<'_>, depth: usize) -> Type {
    if depth > MAX_EXPRESSION_DEPTH {
        return wrong(
            evaluator,
            expression,
            "The type is nested too deeply.".to_owned(),
            None,
        );
    }
    match expression {
        Expression::Variable(word) => match word.as_str() {
            "any" => Type::Any,
            "bool" => Type::Bool,
            "number" => Type::Number,
            "string" => Type::String,
            // As Terraform: short for a collection of anything.
            "list" => Type::list(Type::Any),
            "map" => Type::map(Type::Any),
            "set" => wrong(
                evaluator,
                expression,
                "The type set needs the type of its items: set(string).".to_owned(),
                None,
            ),
            "object" | "tuple" => {
                let detail = format!(
                    "The type {} needs its parts: object({{ name = string }}), tuple([string]).",
                    word.as_str()
                );
                wrong(evaluator, expression, detail, None)
            }
            other => {
                let detail = format!("{other:?} is not a type. There are {}.", WORDS.join(", "));
                let hint = match other {
                    "int" | "integer" | "float" => Some("did you mean \"number\"?".to_owned()),
                    "boolean" => Some("did you mean \"bool\"?".to_owned()),
                    "str" | "text" => Some("did you mean \"string\"?".to_owned()),
                    _ => did_you_mean(other, WORDS),
                };
                wrong(evaluator, expression, detail, hint)
            }
        },
        Expression::String(text) => {
            let text = text.as_str();
            let hint = WORDS
                .contains(&text)
                .then(|| format!("write {text} without quotes"));
            wrong(
                evaluator,
                expression,
                "A type stands without quotes.".to_owned(),
                hint,
            )
        }
        Expression::Parenthesis(inner) => read(inner.inner(), evaluator, depth + 1),
        Expression::FuncCall(call) => constructor(call, expression, evaluator, depth + 1),
        Expression::Null(_)
        | Expression::Bool(_)
        | Expression::Number(_)
        | Expression::Array(_)
        | Expression::Object(_)
        | Expression::StringTemplate(_)
        | Expression::HeredocTemplate(_)
        | Expression::Conditional(_)
        | Expression::Traversal(_)
        | Expression::UnaryOp(_)
        | Expression::BinaryOp(_)
        | Expression::ForExpr(_) => {
            let detail = format!("This is not a type. There are {}.", WORDS.join(", "));
            wrong(evaluator, expression, detail, None)
        }
    }
}

fn constructor(call: &FuncCall, whole: &Expression, evaluator: &mut Evaluator<'_>, depth: usize) -> Type {
    let name = call.name.name.as_str();
    let mut arguments = call.args.iter();
    let only = match (arguments.next(), arguments.next()) {
        (Some(only), None) => Some(only),
        (_, _) => None,
    };
    match (name, only) {
        ("list", Some(item)) => Type::list(read(item, evaluator, depth)),
        ("set", Some(item)) => Type::set(read(item, evaluator, depth)),
        ("map", Some(item)) => Type::map(read(item, evaluator, depth)),
        ("tuple", Some(Expression::Array(items))) => {
            Type::Tuple(items.iter().map(|item| read(item, evaluator, depth)).collect())
        }
        ("object", Some(Expression::Object(attributes))) => {
            let mut types = BTreeMap::new();
            for (key, value) in attributes.iter() {
                let Some(name) = attribute_name(key) else {
                    let detail = "The names of an object type's attributes are plain names.".to_owned();
                    wrong(evaluator, value.expr(), detail, None);
                    continue;
                };
                types.insert(name, attribute_type(value.expr(), evaluator, depth));
            }
            Type::Object(Arc::new(types))
        }
        ("optional", _) => {
            let detail = "optional(…) can be used only for attributes of an object type.".to_owned();
            wrong(evaluator, whole, detail, None)
        }
        ("list" | "set" | "map", _) => wrong(
            evaluator,
            whole,
            format!("{name} takes the type of its items: {name}(string)."),
            None,
        ),
        ("tuple", _) => wrong(
            evaluator,
            whole,
            "tuple takes a list of types: tuple([string, number]).".to_owned(),
            None,
        ),
        ("object", _) => {
            let detail =
                "object takes its attributes with their types: object({ name = string }).".to_owned();
            wrong(evaluator, whole, detail, None)
        }
        (other, _) => {
            let detail = format!("{other:?} is not a type. There are {}.", WORDS.join(", "));
            let hint = did_you_mean(other, WORDS);
            wrong(evaluator, whole, detail, hint)
        }
    }
}

fn attribute_name(key: &ObjectKey) -> Option<Arc<str>> {
    match key {
        ObjectKey::Ident(name) => Some(name.as_str().into()),
        ObjectKey::Expression(Expression::String(name)) => Some(name.as_str().into()),
        ObjectKey::Expression(_) => None,
    }
}

fn attribute_type(expression: &Expression, evaluator: &mut Evaluator<'_>, depth: usize) -> AttributeType {
    let Expression::FuncCall(call) = expression else {
        return AttributeType::required(read(expression, evaluator, depth));
    };
    if call.name.name.as_str() != "optional" {
        return AttributeType::required(read(expression, evaluator, depth));
    }
    let arguments: Vec<&Expression> = call.args.iter().collect();
    let (ty, default) = match arguments.as_slice() {
        [ty] => (read(ty, evaluator, depth), None),
        [ty, default] => {
            let ty = read(ty, evaluator, depth);
            let value = default_value(default, &ty, evaluator);
            (ty, value)
        }
        _ => {
            let detail = "optional takes a type and maybe a default: optional(string, \"a\").".to_owned();
            (wrong(evaluator, expression, detail, None), None)
        }
    };
    AttributeType {
        ty,
        optional: true,
        default,
    }
}

fn default_value(expression: &Expression, ty: &Type, evaluator: &mut Evaluator<'_>) -> Option<Value> {
    let value = evaluator.eval(expression);
    if value.is_failed() {
        return None;
    }
    match convert(&value, ty) {
        Ok(value) => Some(value),
        Err(error) => {
            let span = evaluator.span_of(expression);
            let detail = format!("This default does not fit the attribute's type {ty}: {error}.");
            evaluator.report(
                Diagnostic::error("Invalid default value for optional attribute", detail).at_maybe(span),
            );
            None
        }
    }
}
