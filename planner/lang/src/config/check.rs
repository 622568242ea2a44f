//! What can be said about expressions without evaluating them, so that blocks with no instances, and those that
//! wait for a faulty one, are checked as well.

use super::declarations::Declared;
use super::dynamic::iterator;
use super::graph::{CALL_ARGUMENTS, each_expression, named_output};
use super::program::{Folder, Program};
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::eval::{Found, FreeName, MAX_EXPRESSION_DEPTH, Reference, each_found, too_deep};
use crate::functions;
use crate::source::{FileId, Span};
use drover_types::Kind;
use hcl::edit::Span as _;
use hcl::edit::expr::{Expression, FuncCall, TraversalOperator};
use hcl::edit::structure::{Block, Body};
use std::sync::Arc;

/// What the names in an expression may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    /// None at all: defaults and flags of variables.
    Nothing,
    /// All but `count` and `each`.
    Declared,
    /// `count` too.
    Count,
    /// `each` too.
    Each,
}

/// Checks every expression of every declaration, in every folder.
pub(super) fn check_expressions(program: &Program, found: &mut Diagnostics) {
    for folder in program.folders() {
        check_folder(program, folder, found);
    }
}

fn check_folder(program: &Program, folder: &Folder, found: &mut Diagnostics) {
    let declarations = &folder.declarations;
    let mut checker = Checker {
        program,
        folder,
        found,
        itself: Itself::Nothing,
        items: Vec::new(),
        check: None,
    };
    for declared in declarations.variables.values() {
        for attribute in declared
            .block
            .body
            .attributes()
            .filter(|attribute| attribute.key.as_str() != "type")
        {
            checker.expression(declared.file, &declared.title, &attribute.value, Allowed::Nothing);
        }
        for block in declared.block.body.blocks() {
            each_expression(&block.body, &mut |expression| {
                checker.expression(declared.file, &declared.title, expression, Allowed::Declared);
            });
        }
    }
    for local in declarations.locals.values() {
        checker.expression(local.file, "locals", &local.value, Allowed::Declared);
    }
    if let Some(declared) = &declarations.settings {
        checker.settings(declared, &declared.block.body);
    }
    for declared in declarations.outputs.values() {
        checker.body(declared);
    }
    for (name, declared) in &declarations.checks {
        checker.check = Some(name.clone());
        checker.body(declared);
    }
    for declared in declarations.resources.values().chain(declarations.data.values()) {
        checker.check = declared.check.clone();
        checker.resource(declared);
    }
    checker.check = None;
    for declared in declarations.calls.values() {
        checker.resource(declared);
        checker.inputs(declared);
    }
}

struct Checker<'c> {
    program: &'c Program,
    folder: &'c Folder,
    found: &'c mut Diagnostics,
    itself: Itself,
    /// Names that dynamic blocks around an expression give their items.
    items: Vec<String>,
    /// The check that an expression stands in.
    check: Option<Arc<str>>,
}

/// Whether `self` stands for anything: in postconditions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Itself {
    Nothing,
    Resource,
}

impl Checker<'_> {
    /// The `drover` block, with the items of its dynamic blocks.
    fn settings(&mut self, declared: &Declared, body: &Body) {
        for attribute in body.attributes() {
            self.expression(
                declared.file,
                &declared.title,
                &attribute.value,
                Allowed::Declared,
            );
        }
        for block in body.blocks() {
            if block.ident.as_str() != "dynamic" {
                self.settings(declared, &block.body);
                continue;
            }
            let part = |name: &str| block.body.get_attribute(name).map(|attribute| &attribute.value);
            if let Some(for_each) = part("for_each") {
                self.expression(declared.file, &declared.title, for_each, Allowed::Declared);
            }
            self.items.push(iterator(block).to_owned());
            if let Some(labels) = part("labels") {
                self.expression(declared.file, &declared.title, labels, Allowed::Declared);
            }
            for content in block.body.blocks() {
                self.settings(declared, &content.body);
            }
            self.items.pop();
        }
    }

    /// A block whose expressions may refer to everything that is declared.
    fn body(&mut self, declared: &Declared) {
        each_expression(&declared.block.body, &mut |expression| {
            self.expression(declared.file, &declared.title, expression, Allowed::Declared);
        });
    }

    fn resource(&mut self, declared: &Declared) {
        let count = declared.argument("count");
        let for_each = declared.argument("for_each");
        if let (Some(count), Some(for_each)) = (count, for_each) {
            let detail = "A block may have count or for_each, not both: they are two ways to say how many instances it has.";
            let mut diagnostic =
                Diagnostic::error("Invalid combination of \"count\" and \"for_each\"", detail)
                    .at_maybe(declared.span(for_each))
                    .within(&declared.title);
            if let Some(span) = declared.span(count) {
                diagnostic = diagnostic.label(span, "count is set here");
            }
            self.found.push(diagnostic);
        }
        let inside = match (count, for_each) {
            (Some(_), _) => Allowed::Count,
            (None, Some(_)) => Allowed::Each,
            (None, None) => Allowed::Declared,
        };
        for attribute in declared.block.body.attributes() {
            let name = attribute.key.as_str();
            let allowed = if ["count", "for_each", "depends_on", "source"].contains(&name) {
                Allowed::Declared
            } else {
                inside
            };
            self.expression(declared.file, &declared.title, &attribute.value, allowed);
        }
        for block in declared.block.body.blocks() {
            self.inner(declared, block, inside);
        }
    }

    fn inner(&mut self, declared: &Declared, block: &Block, allowed: Allowed) {
        let postcondition = block.ident.as_str() == "postcondition";
        self.itself = if postcondition {
            Itself::Resource
        } else {
            Itself::Nothing
        };
        // What is ignored are names of arguments, and no references.
        let ignored = |name: &str| block.ident.as_str() == "lifecycle" && name == "ignore_changes";
        for attribute in block
            .body
            .attributes()
            .filter(|attribute| !ignored(attribute.key.as_str()))
        {
            self.expression(declared.file, &declared.title, &attribute.value, allowed);
        }
        self.itself = Itself::Nothing;
        for inner in block.body.blocks() {
            self.inner(declared, inner, allowed);
        }
    }

    /// Whether a call gives the module's variables what they need, and nothing else.
    fn inputs(&mut self, call: &Declared) {
        let Some(called) = self.folder.calls.get(&call.name) else {
            return;
        };
        let called = self.program.folder(*called);
        let variables = &called.declarations.variables;
        for attribute in call.block.body.attributes() {
            let name = attribute.key.as_str();
            if CALL_ARGUMENTS.contains(&name) || variables.contains_key(name) {
                continue;
            }
            let has = has(variables.keys());
            let detail = format!("The module in {} has no variable {name:?}. {has}", called.path);
            let hint = match name {
                "version" => Some("a local module has no versions: it is what its folder holds".to_owned()),
                "providers" => Some("Drover needs no providers".to_owned()),
                _ => did_you_mean(name, variables.keys().map(|name| &**name)),
            };
            let diagnostic = Diagnostic::error("Unsupported argument", detail).hint(hint);
            self.report(call.file, &call.title, attribute.key.span(), diagnostic);
        }
        for (name, variable) in variables {
            if variable.argument("default").is_some() || call.block.body.has_attribute(name) {
                continue;
            }
            let detail = format!(
                "The module in {} needs a value for its variable {name:?}: write {name} = ... in this block, or give the \
                 variable a default.",
                called.path
            );
            let mut diagnostic = Diagnostic::error("Missing required argument", detail)
                .at_maybe(call.header)
                .within(&call.title);
            if let Some(header) = variable.header {
                diagnostic = diagnostic.label(header, "declared here");
            }
            self.found.push_distinct(diagnostic);
        }
    }

    fn report(
        &mut self,
        file: FileId,
        context: &str,
        place: Option<std::ops::Range<usize>>,
        diagnostic: Diagnostic,
    ) {
        let span = place.map(|range| Span::new(file, range));
        self.found.push(diagnostic.at_maybe(span).within(context));
    }

    fn expression(&mut self, file: FileId, context: &str, expression: &Expression, allowed: Allowed) {
        if let Some(part) = too_deep(expression) {
            let detail = format!(
                "Expressions may be nested {MAX_EXPRESSION_DEPTH} levels deep. Split this one with local values."
            );
            self.report(
                file,
                context,
                part.span(),
                Diagnostic::error("Expression nested too deeply", detail),
            );
        }
        each_found(expression, &mut |found| match found {
            Found::Name(name) => self.name(file, context, name, allowed),
            Found::Call(call) => self.call(file, context, call),
        });
    }

    fn call(&mut self, file: FileId, context: &str, call: &FuncCall) {
        let name = call.name.name.as_str();
        if functions::names().any(|known| known == name) {
            return;
        }
        self.report(file, context, call.name.name.span(), functions::unknown(name));
    }

    fn name(&mut self, file: FileId, context: &str, name: FreeName<'_>, allowed: Allowed) {
        if self.items.iter().any(|item| item == name.root) {
            return;
        }
        let place = name.expression.span();
        let reference = match Reference::parse(name.root, name.operators) {
            Ok((reference, _)) => reference,
            Err(error) => {
                let diagnostic = Diagnostic::error("Unknown reference", error.detail).hint(error.hint);
                self.report(file, context, place, diagnostic);
                return;
            }
        };
        if allowed == Allowed::Nothing {
            let detail = format!(
                "{} cannot be used here: this value must be constant.",
                reference.text()
            );
            self.report(
                file,
                context,
                place,
                Diagnostic::error("References not allowed", detail),
            );
            return;
        }
        if let Some((operator, diagnostic)) = self.misused_module(&reference, &name) {
            self.report(file, context, operator, diagnostic);
        }
        if let Some(diagnostic) = self.missing(&reference, allowed) {
            self.report(file, context, place, diagnostic);
        }
    }

    /// What is wrong with a reference to a module's output, and with which operator of it.
    fn misused_module(
        &self,
        reference: &Reference,
        name: &FreeName<'_>,
    ) -> Option<(Option<std::ops::Range<usize>>, Diagnostic)> {
        let Reference::Module(called) = reference else {
            return None;
        };
        let call = self.folder.declarations.calls.get(called)?;
        let folder = self.program.folder(*self.folder.calls.get(called)?);
        let output = named_output(name)?;
        let several = call.argument("count").is_some() || call.argument("for_each").is_some();
        let at = |at: usize| name.operators.get(at).and_then(hcl::edit::Span::span);
        let last = match name.operators.get(1).map(|operator| operator.value())? {
            TraversalOperator::Index(_) | TraversalOperator::LegacyIndex(_) if !several => {
                let detail = format!(
                    "module.{called} has neither count nor for_each, so there are no instances to choose from. Write \
                     module.{called}.{output}."
                );
                return Some((at(1), Diagnostic::error("Invalid index", detail)));
            }
            TraversalOperator::GetAttr(_) if several => {
                let detail = format!(
                    "module.{called} has several instances. Choose one with its key in brackets, or write \
                     {} for all.",
                    if call.argument("count").is_some() {
                        format!("module.{called}[*].{output}")
                    } else {
                        format!("values(module.{called})[*].{output}")
                    }
                );
                return Some((at(1), Diagnostic::error("Unsupported attribute", detail)));
            }
            TraversalOperator::GetAttr(_) => 1,
            TraversalOperator::Index(_)
            | TraversalOperator::LegacyIndex(_)
            | TraversalOperator::AttrSplat(_)
            | TraversalOperator::FullSplat(_) => 2,
        };
        let outputs = &folder.declarations.outputs;
        if outputs.contains_key(output) {
            return None;
        }
        let detail = format!(
            "module.{called} has no output {output:?}. {}",
            has(outputs.keys())
        );
        let hint = did_you_mean(output, outputs.keys().map(|name| &**name));
        Some((
            at(last),
            Diagnostic::error("Unsupported attribute", detail).hint(hint),
        ))
    }

    fn missing(&self, reference: &Reference, allowed: Allowed) -> Option<Diagnostic> {
        let all = &self.folder.declarations;
        match reference {
            Reference::Variable(name) => (!all.variables.contains_key(name))
                .then(|| reference.undeclared(all.variables.keys().map(|name| &**name))),
            Reference::Local(name) => (!all.locals.contains_key(name))
                .then(|| reference.undeclared(all.locals.keys().map(|name| &**name))),
            Reference::Resource(kind, name) => {
                if all.resources.contains_key(&(*kind, name.clone())) {
                    return None;
                }
                let from = all.resources.range((*kind, Arc::from(""))..);
                let of_kind = from.map(|(key, _)| key).take_while(|(other, _)| other == kind);
                let diagnostic = reference.undeclared(of_kind.map(|(_, name)| &**name));
                let elsewhere = Kind::ALL
                    .iter()
                    .find(|other| all.resources.contains_key(&(**other, name.clone())));
                let hint = elsewhere.map(|other| format!("there is a {other} of this name: {other}.{name}"));
                Some(if diagnostic.hint.is_some() {
                    diagnostic
                } else {
                    diagnostic.hint(hint)
                })
            }
            Reference::Module(name) => (!all.calls.contains_key(name))
                .then(|| reference.undeclared(all.calls.keys().map(|name| &**name))),
            Reference::Data(kind, name) => match all.data.get(&(*kind, name.clone())) {
                Some(data) => self.scoped(reference, data),
                None => {
                    let of_kind = all.data.iter().filter(|((other, _), data)| {
                        other == kind && (data.check.is_none() || data.check == self.check)
                    });
                    Some(reference.undeclared(of_kind.map(|((_, name), _)| &**name)))
                }
            },
            Reference::CountIndex => (allowed != Allowed::Count).then(|| reference.undeclared([])),
            Reference::EachKey | Reference::EachValue => {
                (allowed != Allowed::Each).then(|| reference.undeclared([]))
            }
            Reference::Itself => (self.itself == Itself::Nothing).then(|| reference.undeclared([])),
            Reference::Path(name) => {
                let known = ["module", "root", "cwd"];
                (!known.contains(&&**name)).then(|| reference.undeclared(known))
            }
            Reference::Drover(name) => {
                let known = ["fleet", "project"];
                (!known.contains(&&**name)).then(|| reference.undeclared(known))
            }
        }
    }

    /// Why a reference to this block reaches nothing: it stands in another place's check.
    fn scoped(&self, reference: &Reference, data: &Declared) -> Option<Diagnostic> {
        let check = data
            .check
            .as_ref()
            .filter(|check| self.check.as_ref() != Some(*check))?;
        let diagnostic = reference.scoped(Some(check));
        Some(match data.header {
            Some(header) => diagnostic.label(header, "declared here"),
            None => diagnostic,
        })
    }
}

/// The names that there are, in a sentence.
fn has<'n>(names: impl Iterator<Item = &'n Arc<str>>) -> String {
    let names: Vec<&str> = names.map(|name| &**name).collect();
    if names.is_empty() {
        "It has none.".to_owned()
    } else {
        format!("It has {}.", names.join(", "))
    }
}
