//! Looking through an expression without evaluating it: which names it uses, and how deep it is.

use super::MAX_EXPRESSION_DEPTH;
use hcl::edit::Decorated;
use hcl::edit::expr::{Expression, FuncCall, ObjectKey, TraversalOperator};
use hcl::edit::template::{Directive, Element, Template};

/// A name used in an expression that no `for` within it binds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FreeName<'e> {
    /// The first word.
    pub(crate) root: &'e str,
    /// What follows it.
    pub(crate) operators: &'e [Decorated<TraversalOperator>],
    /// The whole traversal or variable.
    pub(crate) expression: &'e Expression,
}

/// What looking through an expression finds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'e> {
    Name(FreeName<'e>),
    Call(&'e FuncCall),
}

type Visit<'v, 'e> = &'v mut dyn FnMut(Found<'e>);

/// Calls `visit` for each free name and each call. What is nested deeper than can be evaluated is left out.
pub(crate) fn each_found<'e>(expression: &'e Expression, visit: &mut dyn FnMut(Found<'e>)) {
    let mut bound = Vec::new();
    walk(expression, 0, &mut bound, visit);
}

/// Calls `visit` for each free name.
pub(crate) fn each_free_name<'e>(expression: &'e Expression, visit: &mut dyn FnMut(FreeName<'e>)) {
    each_found(expression, &mut |found| {
        if let Found::Name(name) = found {
            visit(name);
        }
    });
}

/// Calls `visit` for each traversal or variable, those that `for` binds within it left out.
pub(super) fn each_reference<'e>(expression: &'e Expression, visit: &mut dyn FnMut(&'e Expression)) {
    each_free_name(expression, &mut |name| visit(name.expression));
}

fn walk<'e>(expression: &'e Expression, depth: usize, bound: &mut Vec<&'e str>, visit: Visit<'_, 'e>) {
    if depth > MAX_EXPRESSION_DEPTH {
        return;
    }
    let depth = depth + 1;
    match expression {
        Expression::Null(_) | Expression::Bool(_) | Expression::Number(_) | Expression::String(_) => {}
        Expression::Array(array) => array.iter().for_each(|item| walk(item, depth, bound, visit)),
        Expression::Object(object) => {
            for (key, value) in object.iter() {
                if let ObjectKey::Expression(key) = key {
                    walk(key, depth, bound, visit);
                }
                walk(value.expr(), depth, bound, visit);
            }
        }
        Expression::StringTemplate(template) => elements(template.iter(), depth, bound, visit),
        Expression::HeredocTemplate(heredoc) => elements(heredoc.template.iter(), depth, bound, visit),
        Expression::Parenthesis(inner) => walk(inner.inner(), depth, bound, visit),
        Expression::Variable(name) => {
            if !bound.contains(&name.as_str()) {
                visit(Found::Name(FreeName {
                    root: name.as_str(),
                    operators: &[],
                    expression,
                }));
            }
        }
        Expression::Conditional(conditional) => {
            walk(&conditional.cond_expr, depth, bound, visit);
            walk(&conditional.true_expr, depth, bound, visit);
            walk(&conditional.false_expr, depth, bound, visit);
        }
        Expression::FuncCall(call) => {
            visit(Found::Call(call));
            call.args
                .iter()
                .for_each(|argument| walk(argument, depth, bound, visit));
        }
        Expression::Traversal(traversal) => {
            match &traversal.expr {
                Expression::Variable(name) => {
                    if !bound.contains(&name.as_str()) {
                        visit(Found::Name(FreeName {
                            root: name.as_str(),
                            operators: &traversal.operators,
                            expression,
                        }));
                    }
                }
                other => walk(other, depth, bound, visit),
            }
            for operator in &traversal.operators {
                if let TraversalOperator::Index(index) = operator.value() {
                    walk(index, depth, bound, visit);
                }
            }
        }
        Expression::UnaryOp(operation) => walk(&operation.expr, depth, bound, visit),
        Expression::BinaryOp(operation) => {
            walk(&operation.lhs_expr, depth, bound, visit);
            walk(&operation.rhs_expr, depth, bound, visit);
        }
        Expression::ForExpr(each) => {
            walk(&each.intro.collection_expr, depth, bound, visit);
            let before = bound.len();
            bound.extend(each.intro.key_var.iter().map(|name| name.as_str()));
            bound.push(each.intro.value_var.as_str());
            if let Some(key) = &each.key_expr {
                walk(key, depth, bound, visit);
            }
            walk(&each.value_expr, depth, bound, visit);
            if let Some(condition) = &each.cond {
                walk(&condition.expr, depth, bound, visit);
            }
            bound.truncate(before);
        }
    }
}

fn elements<'e>(
    elements: impl Iterator<Item = &'e Element>,
    depth: usize,
    bound: &mut Vec<&'e str>,
    visit: Visit<'_, 'e>,
) {
    for element in elements {
        match element {
            Element::Literal(_) => {}
            Element::Interpolation(interpolation) => walk(&interpolation.expr, depth, bound, visit),
            Element::Directive(directive) => match &**directive {
                Directive::If(choice) => {
                    walk(&choice.if_expr.cond_expr, depth, bound, visit);
                    template(&choice.if_expr.template, depth, bound, visit);
                    if let Some(otherwise) = &choice.else_expr {
                        template(&otherwise.template, depth, bound, visit);
                    }
                }
                Directive::For(each) => {
                    walk(&each.for_expr.collection_expr, depth, bound, visit);
                    let before = bound.len();
                    bound.extend(each.for_expr.key_var.iter().map(|name| name.as_str()));
                    bound.push(each.for_expr.value_var.as_str());
                    template(&each.for_expr.template, depth, bound, visit);
                    bound.truncate(before);
                }
            },
        }
    }
}

fn template<'e>(template: &'e Template, depth: usize, bound: &mut Vec<&'e str>, visit: Visit<'_, 'e>) {
    if depth <= MAX_EXPRESSION_DEPTH {
        elements(template.iter(), depth + 1, bound, visit);
    }
}

/// The first part of an expression that is nested deeper than can be evaluated.
pub(crate) fn too_deep(expression: &Expression) -> Option<&Expression> {
    deepest(expression, 0)
}

fn deepest(expression: &Expression, depth: usize) -> Option<&Expression> {
    if depth > MAX_EXPRESSION_DEPTH {
        return Some(expression);
    }
    let depth = depth + 1;
    match expression {
        Expression::Null(_)
        | Expression::Bool(_)
        | Expression::Number(_)
        | Expression::String(_)
        | Expression::Variable(_) => None,
        Expression::Array(array) => array.iter().find_map(|item| deepest(item, depth)),
        Expression::Object(object) => object.iter().find_map(|(key, value)| {
            key.as_expr()
                .and_then(|key| deepest(key, depth))
                .or_else(|| deepest(value.expr(), depth))
        }),
        Expression::StringTemplate(template) => deepest_element(template.iter(), depth),
        Expression::HeredocTemplate(heredoc) => deepest_element(heredoc.template.iter(), depth),
        Expression::Parenthesis(inner) => deepest(inner.inner(), depth),
        Expression::Conditional(conditional) => deepest(&conditional.cond_expr, depth)
            .or_else(|| deepest(&conditional.true_expr, depth))
            .or_else(|| deepest(&conditional.false_expr, depth)),
        Expression::FuncCall(call) => call.args.iter().find_map(|argument| deepest(argument, depth)),
        Expression::Traversal(traversal) => deepest(&traversal.expr, depth).or_else(|| {
            traversal
                .operators
                .iter()
                .find_map(|operator| match operator.value() {
                    TraversalOperator::Index(index) => deepest(index, depth),
                    TraversalOperator::AttrSplat(_)
                    | TraversalOperator::FullSplat(_)
                    | TraversalOperator::GetAttr(_)
                    | TraversalOperator::LegacyIndex(_) => None,
                })
        }),
        Expression::UnaryOp(operation) => deepest(&operation.expr, depth),
        Expression::BinaryOp(operation) => {
            deepest(&operation.lhs_expr, depth).or_else(|| deepest(&operation.rhs_expr, depth))
        }
        Expression::ForExpr(each) => deepest(&each.intro.collection_expr, depth)
            .or_else(|| each.key_expr.as_ref().and_then(|key| deepest(key, depth)))
            .or_else(|| deepest(&each.value_expr, depth))
            .or_else(|| {
                each.cond
                    .as_ref()
                    .and_then(|condition| deepest(&condition.expr, depth))
            }),
    }
}

fn deepest_element<'e>(elements: impl Iterator<Item = &'e Element>, depth: usize) -> Option<&'e Expression> {
    // Templates nest at most as deep as the parser's own limit, so only their expressions are looked at.
    for element in elements {
        let found = match element {
            Element::Literal(_) => None,
            Element::Interpolation(interpolation) => deepest(&interpolation.expr, depth),
            Element::Directive(directive) => match &**directive {
                Directive::If(choice) => deepest(&choice.if_expr.cond_expr, depth)
                    .or_else(|| deepest_element(choice.if_expr.template.iter(), depth + 1))
                    .or_else(|| {
                        let otherwise = choice.else_expr.as_ref()?;
                        deepest_element(otherwise.template.iter(), depth + 1)
                    }),
                Directive::For(each) => deepest(&each.for_expr.collection_expr, depth)
                    .or_else(|| deepest_element(each.for_expr.template.iter(), depth + 1)),
            },
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
