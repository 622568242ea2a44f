//! Expressions that stand in no file of the configuration and are evaluated against it: those of a console and
//! of tests.

use super::conditions::{Rule, Verdict, judge};
use super::evaluate::Evaluated;
use super::outputs::{Output, resolve};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::eval::{Environment, Evaluator, Limits};
use crate::functions::FileReader;
use crate::source::{FileId, SourceMap, Span};
use crate::value::{Type, Value, convert, print, print_type};
use drover_types::{Address, HostName};
use hcl::edit::expr::Expression;
use std::collections::BTreeMap;

/// What names stand for once hosts are known.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    environment: Environment,
    sources: SourceMap,
}

/// What an expression came to.
#[derive(Debug)]
pub struct Answer {
    /// As people read it; nothing where it could not be evaluated.
    pub text: Option<String>,
    /// What was wrong.
    pub found: Diagnostics,
    /// The texts, for printing it.
    pub sources: SourceMap,
}

impl Scope {
    /// The names of an evaluated configuration, with servers on these hosts; its outputs, and what is found wrong
    /// now that hosts are known.
    #[must_use]
    pub fn of(
        evaluated: &Evaluated,
        hosts: &BTreeMap<Address, HostName>,
        files: &dyn FileReader,
    ) -> (Self, BTreeMap<String, Output>, Diagnostics) {
        let resolved = resolve(evaluated, hosts, files);
        let scope = Self {
            environment: resolved.environment,
            sources: evaluated.sources.clone(),
        };
        (scope, resolved.outputs, resolved.found)
    }

    /// Evaluates one expression. `type(...)` around it gives its type.
    #[must_use]
    pub fn answer(&self, text: &str, files: &dyn FileReader) -> Answer {
        let mut sources = self.sources.clone();
        let file = sources.add("<console>", text);
        let mut found = Diagnostics::default();
        let expression: Expression = match text.parse() {
            Ok(expression) => expression,
            Err(error) => {
                let error: hcl::edit::parser::Error = error;
                let at = error.location().offset().min(text.len());
                let detail = format!("The parser says: {}.", error.message());
                found.push(Diagnostic::error("Invalid expression", detail).at(Span::new(file, at..at)));
                return Answer {
                    text: None,
                    found,
                    sources,
                };
            }
        };
        let asked = type_argument(&expression);
        let mut evaluator = self.evaluator(&sources, file, files);
        let value = evaluator.eval(asked.unwrap_or(&expression));
        let found = evaluator.into_diagnostics();
        let text = (!found.has_errors() && !value.is_failed()).then(|| match asked {
            Some(_) => print_type(&value),
            None => print(&value),
        });
        Answer { text, found, sources }
    }

    /// The texts of the configuration, to which another file can be added.
    pub(super) fn sources(&self) -> &SourceMap {
        &self.sources
    }

    fn evaluator<'e>(
        &self,
        sources: &'e SourceMap,
        file: FileId,
        files: &'e dyn FileReader,
    ) -> Evaluator<'e> {
        let mut evaluator = Evaluator::new(sources, files, file, Limits::default());
        evaluator.environment = self.environment.clone();
        evaluator
    }

    /// Judges conditions that stand in `file`, which is one of `sources`. One that needs what is not known fails.
    pub(super) fn judge(
        &self,
        rules: &[Rule<'_>],
        sources: &SourceMap,
        file: FileId,
        context: &str,
        files: &dyn FileReader,
    ) -> Diagnostics {
        let mut evaluator = self.evaluator(sources, file, files);
        evaluator.enter(file, Some(context.to_owned()));
        for rule in rules {
            match judge(rule, &mut evaluator) {
                Verdict::Holds | Verdict::Wrong => {}
                Verdict::Fails(diagnostic) => {
                    evaluator.diagnostics.push_distinct(*diagnostic);
                }
                Verdict::Open => {
                    let detail = "The condition needs what is not known: is a server without a host?";
                    let diagnostic = Diagnostic::error("Unknown condition value", detail);
                    evaluator.fail(rule.condition, diagnostic);
                }
            }
        }
        evaluator.into_diagnostics()
    }
}

/// What stands in `type(...)`, which is no function: only people ask for types.
fn type_argument(expression: &Expression) -> Option<&Expression> {
    let Expression::FuncCall(call) = expression else {
        return None;
    };
    let mut arguments = call.args.iter();
    match (call.name.name.as_str(), arguments.next(), arguments.next()) {
        ("type", Some(only), None) if call.name.namespace.is_empty() => Some(only),
        (_, _, _) => None,
    }
}

/// Whether a text goes on: a bracket, a quoted text or a heredoc in it is not closed yet.
#[must_use]
pub fn is_unfinished(text: &str) -> bool {
    crate::layout::is_unfinished(text)
}

/// The value of a constant expression as a whole number.
pub(super) fn constant(
    expression: &Expression,
    ty: &Type,
    sources: &SourceMap,
    file: FileId,
    found: &mut Diagnostics,
) -> Option<Value> {
    let mut evaluator = Evaluator::new(sources, &crate::functions::NoFiles, file, Limits::default());
    let value = evaluator.eval(expression);
    let converted = match convert(&value, ty) {
        Ok(value) if !value.is_null() && value.why_unknown().is_none() => Some(value),
        Ok(_) => None,
        Err(error) => {
            let detail = format!("{error}.");
            evaluator.fail(expression, Diagnostic::error("Invalid argument value", detail));
            None
        }
    };
    found.extend(evaluator.into_diagnostics());
    converted
}
