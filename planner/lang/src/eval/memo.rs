//! What was computed once and need not be computed for every instance: 10,000 instances that each refer to
//! `server.web[*].id` must not build 10,000 lists of 10,000 items.

use super::{Evaluator, each_free_name};
use crate::value::{Sequence, Value};
use hcl::edit::expr::Expression;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An expression by where it stands in memory: the parsed files outlive the evaluator.
type ExpressionKey = usize;

#[derive(Default)]
pub(super) struct Memo {
    /// Values of expressions that do not depend on the instance or a `for`; nothing for those that do.
    values: BTreeMap<ExpressionKey, Option<Value>>,
    /// What a splat with these attributes gave for this collection, which is kept so that its address stays its
    /// own.
    splats: BTreeMap<(usize, String), (Arc<Sequence>, Value)>,
}

/// Shortest collection whose splats are kept.
const WORTH_KEEPING: usize = 16;

impl Evaluator<'_> {
    /// The value of an expression, computed once if it depends neither on the instance nor on a `for` around it.
    pub(super) fn memoised(
        &mut self,
        expression: &Expression,
        compute: fn(&mut Self, &Expression) -> Value,
    ) -> Value {
        if self.inside_template_file {
            return compute(self, expression);
        }
        let key: ExpressionKey = std::ptr::from_ref(expression).addr();
        match self.memo.values.get(&key) {
            Some(Some(value)) if self.scope.is_empty() || self.unshadowed(expression) => {
                return value.clone();
            }
            Some(Some(_) | None) => return compute(self, expression),
            None => {}
        }
        if !worth_it(expression) || !self.same_everywhere(expression) {
            self.memo.values.insert(key, None);
            return compute(self, expression);
        }
        let before = self.diagnostics.count();
        let value = compute(self, expression);
        // A failed one is computed again, so that `try` and the report both see why.
        if !value.is_failed() && self.diagnostics.count() == before {
            self.memo.values.insert(key, Some(value.clone()));
        }
        value
    }

    /// The same expression has another value in another module, or another instance of it. What splats gave for a
    /// collection stays right.
    pub(crate) fn forget_expressions(&mut self) {
        self.memo.values.clear();
    }

    fn unshadowed(&self, expression: &Expression) -> bool {
        let mut free = true;
        each_free_name(expression, &mut |name| {
            free &= !self.scope.iter().any(|(bound, _)| **bound == *name.root);
        });
        free
    }

    fn same_everywhere(&self, expression: &Expression) -> bool {
        let mut same = true;
        each_free_name(expression, &mut |name| {
            same &= !matches!(name.root, "count" | "each" | "self");
        });
        same && self.unshadowed(expression)
    }

    pub(super) fn remembered_splat(&self, items: &Arc<Sequence>, path: &str) -> Option<Value> {
        if items.len() < WORTH_KEEPING {
            return None;
        }
        let key = (Arc::as_ptr(items).addr(), path.to_owned());
        self.memo.splats.get(&key).map(|(_, value)| value.clone())
    }

    pub(super) fn remember_splat(&mut self, items: &Arc<Sequence>, path: String, value: &Value) {
        if items.len() >= WORTH_KEEPING && !value.is_failed() {
            self.memo
                .splats
                .insert((Arc::as_ptr(items).addr(), path), (items.clone(), value.clone()));
        }
    }
}

/// A plain `var.x` costs no more than finding it here.
fn worth_it(expression: &Expression) -> bool {
    use hcl::edit::expr::TraversalOperator;
    match expression {
        Expression::Variable(_) => false,
        Expression::Traversal(traversal) => {
            !matches!(traversal.expr, Expression::Variable(_))
                || traversal.operators.iter().any(|operator| {
                    matches!(
                        operator.value(),
                        TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_)
                    )
                })
        }
        Expression::Null(_)
        | Expression::Bool(_)
        | Expression::Number(_)
        | Expression::String(_)
        | Expression::Array(_)
        | Expression::Object(_)
        | Expression::StringTemplate(_)
        | Expression::HeredocTemplate(_)
        | Expression::Parenthesis(_)
        | Expression::Conditional(_)
        | Expression::FuncCall(_)
        | Expression::UnaryOp(_)
        | Expression::BinaryOp(_)
        | Expression::ForExpr(_) => true,
    }
}
