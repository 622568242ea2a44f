//! How much an evaluation may compute and keep: nested `for` expressions can multiply a few lines of text into
//! more than any machine holds.

use super::{Evaluator, MAX_VALUE_DEPTH};
use crate::diagnostic::Diagnostic;
use crate::value::{Kind, Value};
use hcl::edit::expr::Expression;

/// Most that one evaluation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Expressions evaluated and items walked through.
    pub steps: u64,
    /// Items and fields of collections made.
    pub items: u64,
    /// Bytes of texts made.
    pub bytes: u64,
    /// Weight of one value as if nothing in it were shared; see [`Value::weight`].
    pub weight: u64,
}

impl Default for Limits {
    /// Some seconds and some hundred MiB at most; 10,000 servers with 20 attributes take about a fiftieth.
    fn default() -> Self {
        Self {
            steps: 50_000_000,
            items: 5_000_000,
            bytes: 256 << 20,
            weight: 64 << 20,
        }
    }
}

/// What an evaluation has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Expressions evaluated and items walked through.
    pub steps: u64,
    /// Items and fields of collections made.
    pub items: u64,
    /// Bytes of texts made.
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    used: Usage,
    /// What is reported in the end, even where `try` or a condition's other side met it.
    exhausted: Option<Diagnostic>,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            used: Usage::default(),
            exhausted: None,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.used
    }

    pub(super) fn exhausted(self) -> Option<Diagnostic> {
        self.exhausted
    }
}

impl Evaluator<'_> {
    /// Counts one step. `false` when there are none left, which is reported at the expression that met it.
    pub(super) fn step(&mut self, expression: &Expression) -> bool {
        self.steps(1, expression)
    }

    pub(super) fn steps(&mut self, number: usize, expression: &Expression) -> bool {
        if self.budget.exhausted.is_some() {
            return false;
        }
        self.budget.used.steps = self.budget.used.steps.saturating_add(number as u64);
        if self.budget.used.steps > self.budget.limits.steps {
            let limit = self.budget.limits.steps;
            self.exhaust(expression, &format!("more than {limit} steps"));
            return false;
        }
        true
    }

    #[inline(never)]
    fn exhaust(&mut self, expression: &Expression, what: &str) {
        let span = self.span_of(expression);
        let detail = format!(
            "Evaluating this expression takes {what}. Nested \"for\" expressions and setproduct multiply the \
             sizes of their collections: make the collections smaller, or compute the result once in a local value."
        );
        let mut diagnostic = Diagnostic::error("Evaluation too large", detail).at_maybe(span);
        diagnostic.context.clone_from(&self.context);
        self.budget.exhausted = Some(diagnostic);
    }

    /// Counts so many items that are about to be made; `false` when that is too many, which is reported.
    pub(super) fn items(&mut self, number: usize, expression: &Expression) -> bool {
        if self.budget.exhausted.is_some() {
            return false;
        }
        self.budget.used.items = self.budget.used.items.saturating_add(number as u64);
        if self.budget.used.items > self.budget.limits.items {
            let limit = self.budget.limits.items;
            self.exhaust(expression, &format!("more than {limit} items of collections"));
            return false;
        }
        true
    }

    /// Counts so many bytes of text that are about to be made.
    pub(super) fn bytes(&mut self, number: usize, expression: &Expression) -> bool {
        if self.budget.exhausted.is_some() {
            return false;
        }
        self.budget.used.bytes = self.budget.used.bytes.saturating_add(number as u64);
        if self.budget.used.bytes > self.budget.limits.bytes {
            let limit = self.budget.limits.bytes >> 20;
            self.exhaust(expression, &format!("more than {limit} MiB of text"));
            return false;
        }
        true
    }

    /// Counts a value just made, and refuses one that is too deep or, with what it shares, too large.
    pub(super) fn made(&mut self, value: Value, expression: &Expression) -> Value {
        let fits = match value.kind() {
            Kind::String(text) => self.bytes(text.len(), expression),
            Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => self.items(items.len(), expression),
            Kind::Map(fields) | Kind::Object(fields) => self.items(fields.len(), expression),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Unknown(_) => true,
        };
        if !fits {
            return Value::failed();
        }
        if value.depth() > MAX_VALUE_DEPTH {
            let detail = format!("Collections may be nested {MAX_VALUE_DEPTH} levels deep.");
            return self.fail_at(
                self.span_of(expression),
                &[],
                Diagnostic::error("Value nested too deeply", detail),
            );
        }
        if value.weight() > self.budget.limits.weight {
            self.exhaust(expression, "more memory than one value may have");
            return Value::failed();
        }
        value
    }
}
