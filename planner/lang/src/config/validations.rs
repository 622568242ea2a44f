//! `validation` blocks of variables: what must hold of the values that they are given.

use super::conditions::{judged, message as message_of};
use super::declarations::{Declarations, Declared};
use super::modules::Modules;
use super::program::{ModuleId, Program};
use crate::diagnostic::{Diagnostic, ReferenceValue};
use crate::eval::{Evaluator, each_free_name};
use crate::value::{Type, Value, convert, describe};
use drover_core::plan::{CheckKind, CheckStatus};
use drover_types::ModuleStep;
use hcl::edit::expr::Expression;

/// The summary where a validation does not hold.
pub(super) const FAILED_VALIDATION: &str = "Invalid value for variable";

/// A `validation` block, complete ones only: the schema reports others.
struct Validation<'d> {
    condition: &'d Expression,
    message: &'d Expression,
    /// It refers to nothing but variables.
    own: bool,
}

fn validations(declared: &Declared) -> impl Iterator<Item = Validation<'_>> {
    declared.block.body.get_blocks("validation").filter_map(|block| {
        let condition = &block.body.get_attribute("condition")?.value;
        let message = &block.body.get_attribute("error_message")?.value;
        let mut own = true;
        for expression in [condition, message] {
            each_free_name(expression, &mut |name| own &= name.root == "var");
        }
        Some(Validation {
            condition,
            message,
            own,
        })
    })
}

/// Checks the validations of the root module's variables that refer to variables alone: before anything is made of
/// the values.
pub(super) fn check_own_validations(declarations: &Declarations, evaluator: &mut Evaluator<'_>) {
    check_validations(declarations, &[], |validation| validation.own, evaluator);
}

/// Checks the validations of the variables of all modules, and of the root module's those that refer to more than
/// variables. They come last, so that they can refer to anything.
pub(super) fn check_all_validations(program: &Program, modules: &mut Modules, evaluator: &mut Evaluator<'_>) {
    for (module, _) in program.modules() {
        let declarations = program.declarations(module);
        let mut variables = declarations.variables.values();
        if !variables.any(|declared| validations(declared).next().is_some()) {
            continue;
        }
        let root = module == ModuleId::ROOT;
        modules.see(evaluator, module);
        for at in modules.each(module) {
            modules.enter(evaluator, module, at);
            let path = modules.instance(module, at).path.clone();
            check_validations(
                declarations,
                &path,
                |validation| !(root && validation.own),
                evaluator,
            );
        }
    }
}

fn check_validations(
    declarations: &Declarations,
    modules: &[ModuleStep],
    chosen: impl Fn(&Validation<'_>) -> bool,
    evaluator: &mut Evaluator<'_>,
) {
    for (name, declared) in &declarations.variables {
        let known = evaluator.environment.variables.get(name);
        if known.is_none_or(Value::is_failed) {
            continue;
        }
        let mut whose = None;
        for validation in validations(declared).filter(&chosen) {
            let whose = whose.get_or_insert_with(|| {
                let whose = judged(CheckKind::Var, modules, &format!("var.{name}"), None);
                evaluator.checked.begin(&whose);
                whose
            });
            evaluator.enter(declared.file, Some(declared.title.clone()));
            let (status, problem) = check(name, declared, &validation, evaluator);
            evaluator.checked.add(whose, status, problem.as_deref());
        }
    }
}

/// What a validation came to; where it does not hold, its message.
fn check(
    name: &str,
    declared: &Declared,
    validation: &Validation<'_>,
    evaluator: &mut Evaluator<'_>,
) -> (CheckStatus, Option<String>) {
    let Validation {
        condition, message, ..
    } = *validation;
    let value = evaluator.eval(condition);
    if value.is_failed() {
        return (CheckStatus::Error, None);
    }
    let wrong = |evaluator: &mut Evaluator<'_>, detail: &str| {
        evaluator.fail(
            condition,
            Diagnostic::error("Invalid validation condition", detail),
        );
        (CheckStatus::Error, None)
    };
    let truth = match convert(&value, &Type::Bool) {
        Ok(truth) => truth,
        Err(error) => {
            let detail = format!("The condition must be true or false: {error}.");
            return wrong(evaluator, &detail);
        }
    };
    match truth.as_bool() {
        Some(true) => return (CheckStatus::Pass, None),
        Some(false) => {}
        None if truth.why_unknown().is_some() => return (CheckStatus::Unknown, None),
        None => return wrong(evaluator, "The condition is null; it must be true or false."),
    }
    let text = message_of(message, evaluator);
    let variable = evaluator
        .environment
        .variables
        .get(name)
        .cloned()
        .unwrap_or_else(Value::null);
    let given = variable
        .origin()
        .filter(|origin| Some(origin.file) != declared.header.map(|header| header.file));
    let mut diagnostic = evaluator.described(condition, Diagnostic::error(FAILED_VALIDATION, text.clone()));
    let itself = format!("var.{name}");
    if diagnostic.values.iter().all(|value| value.traversal != itself) {
        diagnostic.values.push(ReferenceValue {
            traversal: itself,
            statement: describe(&variable),
        });
    }
    diagnostic = diagnostic.at_maybe(given.or(declared.header));
    if let Some(rule) = declared.span(condition) {
        diagnostic = diagnostic.label(rule, "checked by this rule");
    }
    // Several rules can be broken by the one value.
    evaluator.diagnostics.push_distinct(diagnostic);
    (CheckStatus::Fail, Some(text))
}
