//! The evaluator: expressions of the parsed tree to values. It reports every mistake it meets and goes on with
//! a value that stands for "already reported". It knows names only through its [`Environment`]; which blocks
//! there are is not its business.

mod budget;
mod call;
mod checked;
mod environment;
mod for_loop;
mod memo;
mod operators;
mod reference;
mod template;
mod traversal;
mod walk;

pub use budget::{Limits, Usage};
pub(crate) use checked::{Checked, Judged};
pub use environment::{Environment, Instance};
pub use reference::{DataKind, Reference, ReferenceError};
pub(crate) use traversal::get_element;
pub(crate) use walk::{Found, FreeName, each_found, each_free_name, too_deep};

use crate::diagnostic::{Diagnostic, Diagnostics, ReferenceValue};
use crate::functions::FileReader;
use crate::source::{FileId, SourceMap, Span};
use crate::value::{Cause, Kind, Marks, Number, Value, describe};
use budget::Budget;
use hcl::edit::expr::{Expression, ObjectKey};
use memo::Memo;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Deepest expression that is evaluated: the evaluator calls itself for each level.
pub(crate) const MAX_EXPRESSION_DEPTH: usize = 200;
/// Deepest value: comparing, printing and dropping one call themselves for each level.
pub(crate) const MAX_VALUE_DEPTH: u32 = 100;

/// Evaluates expressions of one set of files.
pub struct Evaluator<'a> {
    /// What names stand for.
    pub(crate) environment: Environment,
    /// What was found wrong so far.
    pub(crate) diagnostics: Diagnostics,
    /// What conditions came to.
    pub(crate) checked: Checked,
    sources: &'a SourceMap,
    files: &'a dyn FileReader,
    /// The folder of the module whose names the environment holds.
    folder: Arc<str>,
    file: FileId,
    context: Option<String>,
    instance: Instance,
    scope: Vec<(Arc<str>, Value)>,
    inside_template_file: bool,
    depth: usize,
    budget: Budget,
    memo: Memo,
}

impl<'a> Evaluator<'a> {
    /// An evaluator that knows no names yet; places are reported in `file` until told otherwise.
    pub fn new(sources: &'a SourceMap, files: &'a dyn FileReader, file: FileId, limits: Limits) -> Self {
        Self {
            environment: Environment::default(),
            diagnostics: Diagnostics::default(),
            checked: Checked::default(),
            sources,
            files,
            folder: "".into(),
            file,
            context: None,
            instance: Instance::default(),
            scope: Vec::new(),
            inside_template_file: false,
            depth: 0,
            budget: Budget::new(limits),
            memo: Memo::default(),
        }
    }

    /// What follows stands in another module, or another instance of the same: its names, and the folder whose
    /// files it may read. The names known before are given back.
    pub(crate) fn enter_module(&mut self, environment: Environment, folder: Arc<str>) -> Environment {
        self.folder = folder;
        self.forget_expressions();
        std::mem::replace(&mut self.environment, environment)
    }

    /// What follows stands in this file and block.
    pub(crate) fn enter(&mut self, file: FileId, context: Option<String>) {
        self.file = file;
        self.context = context;
        self.instance = Instance::default();
    }

    /// What `count.index` and `each` stand for from now on.
    pub(crate) fn enter_instance(&mut self, instance: Instance) {
        self.instance = instance;
    }

    /// What was used up so far.
    pub fn usage(&self) -> Usage {
        self.budget.usage()
    }

    /// Everything that was found wrong.
    pub fn into_diagnostics(self) -> Diagnostics {
        let mut found = self.diagnostics;
        if let Some(exhausted) = self.budget.exhausted() {
            found.push(exhausted);
        }
        found
    }

    pub(crate) fn span_of(&self, expression: &impl hcl::edit::Span) -> Option<Span> {
        expression.span().map(|range| Span::new(self.file, range))
    }

    /// Reports a mistake and gives the value that stands for it.
    pub(crate) fn report(&mut self, mut diagnostic: Diagnostic) -> Value {
        diagnostic.context = diagnostic.context.or_else(|| self.context.clone());
        self.diagnostics.push(diagnostic);
        Value::failed()
    }

    /// Reports a mistake in an expression, with what the references in it stood for.
    pub(crate) fn fail(&mut self, expression: &Expression, diagnostic: Diagnostic) -> Value {
        let span = self.span_of(expression);
        self.fail_at(span, &[expression], diagnostic)
    }

    pub(crate) fn fail_at(
        &mut self,
        span: Option<Span>,
        about: &[&Expression],
        diagnostic: Diagnostic,
    ) -> Value {
        let diagnostic = self.described_at(span, about, diagnostic);
        self.report(diagnostic)
    }

    /// A diagnostic about an expression, with what the references in it stood for; not reported yet.
    pub(crate) fn described(&mut self, expression: &Expression, diagnostic: Diagnostic) -> Diagnostic {
        let span = self.span_of(expression);
        let mut diagnostic = self.described_at(span, &[expression], diagnostic);
        diagnostic.context = diagnostic.context.or_else(|| self.context.clone());
        diagnostic
    }

    fn described_at(
        &mut self,
        span: Option<Span>,
        about: &[&Expression],
        mut diagnostic: Diagnostic,
    ) -> Diagnostic {
        // Without a diagnostic buffer that keeps it, looking the values up would be wasted.
        if diagnostic.values.is_empty() && !self.inside_template_file {
            diagnostic.values = self.reference_values(about);
        }
        diagnostic.at_maybe(span)
    }

    /// What the references in these expressions stand for, for people.
    fn reference_values(&mut self, expressions: &[&Expression]) -> Vec<ReferenceValue> {
        const MOST: usize = 8;
        let mut found: Vec<(String, &Expression)> = Vec::new();
        for expression in expressions {
            walk::each_reference(expression, &mut |reference| {
                let text = self
                    .span_of(reference)
                    .map(|span| self.sources.slice(span).to_owned());
                if let Some(text) = text
                    && found.len() < MOST
                    && !text.contains('\n')
                    && found.iter().all(|(known, _)| *known != text)
                {
                    found.push((text, reference));
                }
            });
        }
        let kept = std::mem::take(&mut self.diagnostics);
        let mut values: Vec<ReferenceValue> = Vec::new();
        for (traversal, expression) in found {
            let value = self.eval(expression);
            if !value.is_failed() && value.as_fields().is_none_or(|fields| fields.declared().is_none()) {
                let statement = describe(&value);
                values.push(ReferenceValue { traversal, statement });
            }
        }
        self.diagnostics = kept;
        values
    }

    /// Evaluates without keeping what was found wrong: the value, and the mistakes apart.
    pub(crate) fn attempt(&mut self, expression: &Expression) -> (Value, Diagnostics) {
        let kept = std::mem::take(&mut self.diagnostics);
        let value = self.eval(expression);
        let found = std::mem::replace(&mut self.diagnostics, kept);
        (value, found)
    }

    /// The value of an expression. What is wrong in it is reported, and the value then is a failed one.
    pub fn eval(&mut self, expression: &Expression) -> Value {
        if !self.step(expression) {
            return Value::failed();
        }
        if self.depth >= MAX_EXPRESSION_DEPTH {
            return self.too_deep(expression);
        }
        self.depth += 1;
        let value = self.dispatch(expression);
        self.depth -= 1;
        match self.span_of(expression) {
            Some(span) => value.from_place(span),
            None => value,
        }
    }

    fn dispatch(&mut self, expression: &Expression) -> Value {
        match expression {
            Expression::Null(_) => Value::null(),
            Expression::Bool(truth) => Value::from(*truth.value()),
            Expression::Number(number) => self.number(number, expression),
            Expression::String(text) => Value::from(text.as_str()),
            Expression::Array(_) => self.array(expression),
            Expression::Object(_) => self.object(expression),
            Expression::StringTemplate(template) => self.quoted_template(template, expression),
            Expression::HeredocTemplate(heredoc) => self.heredoc_template(&heredoc.template, expression),
            Expression::Parenthesis(inner) => self.eval(inner.inner()),
            Expression::Variable(_) | Expression::Traversal(_) => self.memoised(expression, Self::traversal),
            Expression::Conditional(conditional) => self.conditional(conditional, expression),
            Expression::FuncCall(_) => self.memoised(expression, Self::call),
            Expression::UnaryOp(operation) => self.unary(operation, expression),
            Expression::BinaryOp(operation) => self.binary(operation, expression),
            Expression::ForExpr(_) => self.memoised(expression, Self::for_expression),
        }
    }

    #[inline(never)]
    fn too_deep(&mut self, expression: &Expression) -> Value {
        let span = self.span_of(expression);
        let detail = format!(
            "Expressions may be nested {MAX_EXPRESSION_DEPTH} levels deep. Split this one with local values."
        );
        self.report(Diagnostic::error("Expression nested too deeply", detail).at_maybe(span))
    }

    #[inline(never)]
    fn number(&mut self, number: &hcl::edit::Formatted<hcl::edit::Number>, expression: &Expression) -> Value {
        // The parser's number is a float beyond 64 bits; the text is exact.
        let written = self.span_of(expression).map(|span| self.sources.slice(span));
        let text: String = match written {
            Some(text) if !text.is_empty() && !self.inside_template_file => text
                .chars()
                .filter(|character| !character.is_whitespace())
                .collect(),
            Some(_) | None => number.value().to_string(),
        };
        match Number::parse(&text).or_else(|_| Number::parse(&number.value().to_string())) {
            Ok(number) => Value::from(number),
            Err(error) => self.fail(
                expression,
                Diagnostic::error("Invalid number", format!("{error}.")),
            ),
        }
    }

    #[inline(never)]
    fn array(&mut self, expression: &Expression) -> Value {
        let Expression::Array(array) = expression else {
            return Value::failed();
        };
        let mut items = Vec::with_capacity(array.len());
        for item in array.iter() {
            items.push(self.eval(item));
        }
        self.made(Value::tuple(items), expression)
    }

    #[inline(never)]
    fn object(&mut self, expression: &Expression) -> Value {
        let Expression::Object(object) = expression else {
            return Value::failed();
        };
        let mut fields: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        let mut marks = Marks::NONE;
        let mut unknown: Option<Cause> = None;
        for (key, value) in object.iter() {
            let key = match key {
                ObjectKey::Ident(ident) => Value::from(ident.as_str()),
                ObjectKey::Expression(key) => {
                    let value = self.eval(key);
                    self.object_key(&value, key)
                }
            };
            let value = self.eval(value.expr());
            marks |= key.marks();
            match (key.kind(), key.why_unknown()) {
                (Kind::String(name), _) => {
                    fields.insert(name.clone(), value);
                }
                (_, Some(cause)) => unknown = unknown.or_else(|| Some(cause.clone())),
                (_, None) => {}
            }
        }
        if let Some(cause) = unknown {
            return crate::value::Unknown::new(crate::value::Type::Any, cause).into();
        }
        self.made(Value::object(fields).marked(marks), expression)
    }

    /// A key as text; where it cannot be one, that is reported.
    pub(crate) fn object_key(&mut self, key: &Value, expression: &Expression) -> Value {
        let problem = match crate::value::convert(key, &crate::value::Type::String) {
            Ok(text) if !text.is_null() => return text,
            Ok(_) => "The key is null. A key must be a text.".to_owned(),
            Err(error) => format!("A key must be a text: {error}."),
        };
        let hint = matches!(expression, Expression::Traversal(_))
            .then(|| "put the key in parentheses if it is a reference: (var.name) = …".to_owned());
        self.fail(
            expression,
            Diagnostic::error("Invalid object key", problem).hint(hint),
        )
    }
}
