//! Function calls: arguments by the function's table entry, `try` and `can`, and `templatefile`.

use super::Evaluator;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::functions::{self, Call, Function, FunctionError, ModuleFiles, Parts, Room};
use crate::value::{Cause, Marks, Type, Unknown, Value, convert};
use hcl::edit::expr::{Expression, FuncCall};
use hcl::edit::template::Template;
use std::sync::Arc;

impl Evaluator<'_> {
    #[inline(never)]
    pub(super) fn call(&mut self, expression: &Expression) -> Value {
        let Expression::FuncCall(call) = expression else {
            return Value::failed();
        };
        let name = call.name.name.as_str();
        let plain = match call.name.namespace.as_slice() {
            [] => true,
            [only] => only.as_str() == "core",
            [_, _, ..] => false,
        };
        match name {
            "try" if plain => return self.try_call(call, expression),
            "can" if plain => return self.can_call(call, expression),
            _ => {}
        }
        let Some(function) = functions::find(name).filter(|_| plain) else {
            return self.no_such_function(call, name);
        };
        let Some((arguments, expressions)) = self.arguments(call) else {
            return Value::failed();
        };
        if !self.right_number(function, arguments.len(), call, expression) {
            return Value::failed();
        }
        self.apply(function, &arguments, &expressions, expression)
    }

    fn no_such_function(&mut self, call: &FuncCall, name: &str) -> Value {
        let span = self.span_of(&call.name.name);
        let diagnostic = functions::unknown(name).at_maybe(span);
        // The arguments are looked at all the same: what is wrong in them is reported in the same run.
        for argument in call.args.iter() {
            self.eval(argument);
        }
        self.report(diagnostic)
    }

    /// The arguments and the expression each came from; `…` spreads the last.
    fn arguments<'e>(&mut self, call: &'e FuncCall) -> Option<(Vec<Value>, Vec<&'e Expression>)> {
        let mut values = Vec::with_capacity(call.args.len());
        let mut expressions = Vec::with_capacity(call.args.len());
        for argument in call.args.iter() {
            values.push(self.eval(argument));
            expressions.push(argument);
        }
        if !call.args.expand_final() {
            return Some((values, expressions));
        }
        let (last, expression) = (values.pop()?, expressions.pop()?);
        if let Some(items) = last.as_items() {
            for item in items.iter() {
                values.push(item.clone().marked(last.marks()));
                expressions.push(expression);
            }
            return Some((values, expressions));
        }
        if last.is_failed() {
            return None;
        }
        let detail = match last.why_unknown() {
            Some(cause) => format!("The number of arguments must be known, but {cause}."),
            None => "The argument before \"...\" must be a list, set or tuple.".to_owned(),
        };
        self.fail(
            expression,
            Diagnostic::error("Invalid expanding argument value", detail),
        );
        None
    }

    fn right_number(
        &mut self,
        function: &Function,
        given: usize,
        call: &FuncCall,
        whole: &Expression,
    ) -> bool {
        let least = function.parameters.len() - function.optional;
        let most = if function.variadic.is_some() {
            usize::MAX
        } else {
            function.parameters.len()
        };
        if (least..=most).contains(&given) {
            return true;
        }
        let names: Vec<&str> = function.parameters.iter().map(|(name, _)| *name).collect();
        let usage = match function.variadic {
            Some((name, _)) if names.is_empty() => format!("{}({name}...)", function.name),
            Some((name, _)) => format!("{}({}, {name}...)", function.name, names.join(", ")),
            None => format!("{}({})", function.name, names.join(", ")),
        };
        let (summary, span) = if given < least {
            ("Not enough function arguments", self.span_of(whole))
        } else {
            (
                "Too many function arguments",
                call.args
                    .iter()
                    .nth(most)
                    .and_then(|argument| self.span_of(argument)),
            )
        };
        let span = span.or_else(|| self.span_of(whole));
        let detail = format!("{given} arguments are given, but the function is called as {usage}.");
        self.fail_at(span, &[], Diagnostic::error(summary, detail));
        false
    }

    fn apply(
        &mut self,
        function: &Function,
        arguments: &[Value],
        expressions: &[&Expression],
        whole: &Expression,
    ) -> Value {
        let mut converted = Vec::with_capacity(arguments.len());
        let mut marks = Marks::NONE;
        let mut unknown: Option<&Cause> = None;
        for (at, value) in arguments.iter().enumerate() {
            let (name, want) = *function
                .parameters
                .get(at)
                .or(function.variadic.as_ref())
                .expect("the number of arguments was checked");
            match want.accept(value) {
                Ok(value) => converted.push(value),
                Err(message) => {
                    let error = FunctionError::in_argument(at, message);
                    return self.function_error(function, name, &error, expressions, whole);
                }
            }
            let (tainted, cause) = match function.parts {
                Parts::Kept => (value.marks(), value.unknown().map(Unknown::cause)),
                Parts::Whole => (value.held_marks(), value.why_unknown()),
                Parts::Unmarked => (Marks::NONE, value.unknown().map(Unknown::cause)),
            };
            marks |= tainted;
            unknown = [unknown, cause].into_iter().flatten().min();
        }
        if let Some(cause) = unknown {
            return Value::from(Unknown::new(function.gives.ty(), cause.clone())).marked(marks);
        }
        let cost = converted.iter().map(|value| function.cost.of(value)).sum();
        if !self.steps(cost, whole) {
            return Value::failed();
        }
        let folder = self.folder.clone();
        let mut call = Call {
            arguments: converted,
            files: ModuleFiles {
                reader: self.files,
                folder: &folder,
            },
            room: Room::default(),
        };
        if matches!(function.name, "templatefile" | "templatestring") {
            return self
                .call_template(function, &call, expressions, whole)
                .marked(marks);
        }
        match (function.run)(&mut call) {
            Ok(value) => self.made(value.marked(marks), whole),
            Err(error) => {
                // What is wrong is often said with the value.
                let error = if arguments.iter().any(Value::holds_sensitive) {
                    FunctionError {
                        message: "a value in this call is sensitive, so what is wrong with it is not shown"
                            .to_owned(),
                        ..error
                    }
                } else {
                    error
                };
                let at = error.argument.unwrap_or(0);
                let name = function
                    .parameters
                    .get(at)
                    .or(function.variadic.as_ref())
                    .map_or("", |(name, _)| *name);
                self.function_error(function, name, &error, expressions, whole)
            }
        }
    }

    fn function_error(
        &mut self,
        function: &Function,
        parameter: &str,
        error: &FunctionError,
        expressions: &[&Expression],
        whole: &Expression,
    ) -> Value {
        match error.argument.and_then(|at| expressions.get(at)) {
            Some(expression) => {
                let detail = format!(
                    "Invalid value for the parameter {parameter:?} of {}: {}.",
                    function.name, error.message
                );
                self.fail(expression, Diagnostic::error("Invalid function argument", detail))
            }
            None => {
                let detail = format!("The function {} failed: {}.", function.name, error.message);
                self.fail(whole, Diagnostic::error("Error in function call", detail))
            }
        }
    }

    /// The first argument that can be evaluated.
    fn try_call(&mut self, call: &FuncCall, whole: &Expression) -> Value {
        let mut reasons: Vec<String> = Vec::new();
        for argument in call.args.iter() {
            let (value, found) = self.attempt(argument);
            if !found.has_errors() && !value.is_failed() {
                self.diagnostics.extend(found);
                return value;
            }
            reasons.extend(first_detail(&found));
        }
        if call.args.is_empty() {
            let diagnostic = Diagnostic::error(
                "Not enough function arguments",
                "try needs at least one argument.",
            );
            return self.fail_at(self.span_of(whole), &[], diagnostic);
        }
        let detail = format!("No argument of try could be evaluated: {}", reasons.join(" "));
        self.fail(whole, Diagnostic::error("Error in function call", detail))
    }

    /// Whether the argument can be evaluated.
    fn can_call(&mut self, call: &FuncCall, whole: &Expression) -> Value {
        let mut arguments = call.args.iter();
        let (Some(argument), None) = (arguments.next(), arguments.next()) else {
            let diagnostic = Diagnostic::error(
                "Wrong number of function arguments",
                "can takes exactly one argument.",
            );
            return self.fail_at(self.span_of(whole), &[], diagnostic);
        };
        let (value, found) = self.attempt(argument);
        if found.has_errors() || value.is_failed() {
            return Value::from(false);
        }
        match value.why_unknown() {
            Some(cause) => Unknown::new(Type::Bool, cause.clone()).into(),
            None => Value::from(true),
        }
    }

    /// `templatefile` and `templatestring`.
    fn call_template(
        &mut self,
        function: &Function,
        call: &Call<'_>,
        expressions: &[&Expression],
        whole: &Expression,
    ) -> Value {
        let given = call.text(0);
        let about = expressions.first().copied().unwrap_or(whole);
        if self.inside_template_file {
            let detail = format!("{} cannot be called from within a template.", function.name);
            return self.fail_at(None, &[], Diagnostic::error("Error in function call", detail));
        }
        let text = if function.name == "templatefile" {
            match functions::read_text(call.files, given) {
                Ok(text) => text,
                Err(error) => {
                    let diagnostic = Diagnostic::error("Invalid function argument", format!("{error}."));
                    return self.fail(about, diagnostic);
                }
            }
        } else if matches!(about, Expression::Traversal(_) | Expression::Variable(_)) {
            given.to_owned()
        } else {
            let detail = "templatestring takes a reference to a text that stands elsewhere, for example local.greeting. A \
                          template that stands here can be written as one: \"Hello ${name}\".";
            return self.fail(about, Diagnostic::error("Invalid function argument", detail));
        };
        // The text of a template can be sensitive, its path is not.
        let file = function.name == "templatefile";
        let name = if file { given } else { "template" };
        let shown = if file {
            format!("The template {given:?}")
        } else {
            "The template".to_owned()
        };
        let template: Template = match text.parse() {
            Ok(template) => template,
            Err(error) => {
                let error: hcl::edit::parser::Error = error;
                let place = error.location();
                let detail = format!("{name}:{}:{}: {}.", place.line(), place.column(), error.message());
                return self.fail(whole, Diagnostic::error("Invalid template", detail));
            }
        };
        let names: Vec<(Arc<str>, Value)> = call
            .arguments
            .get(1)
            .and_then(Value::as_fields)
            .map(|fields| {
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            })
            .unwrap_or_default();
        let (value, found) = self.template_file(&template, names, whole);
        if found.has_errors() {
            let said = first_detail(&found).unwrap_or_default();
            let detail = format!("{shown} could not be filled in: {said}");
            return self.fail(whole, Diagnostic::error("Error in template", detail));
        }
        match convert(&value, &Type::String) {
            Ok(text) => text,
            Err(error) => {
                let detail = format!("{shown} does not give a text: {error}.");
                self.fail(whole, Diagnostic::error("Error in template", detail))
            }
        }
    }
}

fn first_detail(found: &Diagnostics) -> Option<String> {
    found.sorted().first().map(|diagnostic| diagnostic.detail.clone())
}
