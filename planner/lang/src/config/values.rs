//! What is nothing but a value: locals, checks, and in modules variables and outputs. They are evaluated again once hosts
//! are known, where they need them.

use super::conditions::run_check;
use super::graph::{CALL_ARGUMENTS, Node, Step};
use super::modules::Modules;
use super::outputs::{Audience, read_output};
use super::program::{FolderId, Program};
use super::variables::{Rules, module_variable, read_rules};
use crate::diagnostic::Diagnostics;
use crate::eval::Evaluator;
use crate::source::SourceMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Evaluates what is nothing but a value: locals, and in modules variables and outputs.
pub(super) struct ValueStep {
    /// The rules of variables, by folder and name.
    rules: BTreeMap<(FolderId, Arc<str>), Rules>,
}

impl ValueStep {
    /// Reads the rules of the variables of all folders but the root module's.
    pub(super) fn new(program: &Program, sources: &SourceMap, found: &mut Diagnostics) -> Self {
        let mut rules = BTreeMap::new();
        for (_, module) in program.modules().skip(1) {
            for (name, declared) in &program.folder(module.folder).declarations.variables {
                rules
                    .entry((module.folder, name.clone()))
                    .or_insert_with(|| read_rules(declared, sources, found));
            }
        }
        Self { rules }
    }

    /// Evaluates a step in every instance of its module; true if it must be evaluated again once hosts are known.
    pub(super) fn evaluate(
        &self,
        step: &Step,
        program: &Program,
        modules: &mut Modules,
        evaluator: &mut Evaluator<'_>,
    ) -> bool {
        let module = step.module;
        let declarations = program.declarations(module);
        let mut later = false;
        match &step.node {
            Node::Local(name) => {
                let local = &declarations.locals[name];
                modules.see(evaluator, module);
                for at in modules.each(module) {
                    modules.enter(evaluator, module, at);
                    let context = modules.instance(module, at).context("locals");
                    evaluator.enter(local.file, Some(context));
                    let value = evaluator.eval(&local.value);
                    later |= value.why_unknown().is_some();
                    evaluator.environment.locals.insert(name.clone(), value);
                }
            }
            Node::Output(name) => {
                let declared = &declarations.outputs[name];
                modules.see(evaluator, module);
                for at in modules.each(module) {
                    modules.enter(evaluator, module, at);
                    let inside = modules.instance(module, at);
                    let context = inside.context(&declared.title);
                    let audience = Audience::Caller(&inside.path);
                    let (output, open) = read_output(declared, context, audience, evaluator);
                    let value = output.value;
                    later |= open || value.why_unknown().is_some();
                    modules.output(module, at, name, value);
                }
            }
            Node::Check(name) => {
                let declared = &declarations.checks[name];
                let data = declarations.scoped.get(name);
                modules.see(evaluator, module);
                for at in modules.each(module) {
                    modules.enter(evaluator, module, at);
                    let context = modules.instance(module, at).context(&declared.title);
                    let path = modules.instance(module, at).path.clone();
                    later |= run_check(declared, data, &path, context, evaluator);
                }
            }
            Node::Variable(name) => {
                let Some((caller, call)) = program.call(module) else {
                    return false;
                };
                let declared = &declarations.variables[name];
                let Some(rules) = self.rules.get(&(program.module(module).folder, name.clone())) else {
                    return false;
                };
                let expression = call.argument(name).filter(|_| !CALL_ARGUMENTS.contains(&&**name));
                modules.see(evaluator, caller);
                for at in modules.each(module) {
                    let outer = modules.instance(module, at).caller;
                    let names = modules.instance(module, at).names.clone();
                    let given = expression.map(|expression| {
                        modules.enter(evaluator, caller, outer);
                        let context = modules.instance(caller, outer).context(&call.title);
                        evaluator.enter(call.file, Some(context));
                        evaluator.enter_instance(names);
                        (evaluator.eval(expression), call.span(expression))
                    });
                    let value = match module_variable(declared, rules, given) {
                        Ok(value) => value,
                        Err(diagnostic) => evaluator.report(*diagnostic),
                    };
                    later |= value.why_unknown().is_some();
                    let variables = &mut modules.names(evaluator, module, at).variables;
                    variables.insert(name.clone(), value);
                }
            }
            Node::Settings | Node::Resource(..) | Node::Data(..) | Node::Instances | Node::Whole => {}
        }
        later
    }
}
