//! Outputs, now and once hosts are known.

use super::conditions::{
    Failures, Subject, Verdict, check_depends_on, judge_of, judged, resource_rules, rules,
};
use super::declarations::{Declarations, Declared};
use super::evaluate::Evaluated;
use super::graph::Node;
use super::instances::instances;
use super::modules::ModuleInstance;
use super::program::ModuleId;
use super::validations::check_all_validations;
use super::values::ValueStep;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::eval::{Checked, Environment, Evaluator, Limits};
use crate::functions::FileReader;
use crate::value::{Fields, Kind as ValueKind, Marks, Type, Value, convert, encode_json};
use drover_core::plan::{Check, CheckKind};
use drover_types::{Address, HostName, Kind, ModuleStep};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An output's value.
#[derive(Debug, Clone)]
pub struct Output {
    /// The value; unknown where it needs hosts that are not chosen yet.
    pub value: Value,
    /// Whether it is hidden in what people read.
    pub sensitive: bool,
    /// What the file says it is.
    pub description: Option<String>,
}

impl Output {
    /// The value as JSON for records and `drover output`; nothing while it is not wholly known. Numbers that JSON
    /// libraries cannot hold become the nearest they can.
    #[must_use]
    pub fn to_json(&self) -> Option<serde_json::Value> {
        let text = encode_json(&self.value).ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// Who sees an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience<'m> {
    /// People: the root module's.
    People,
    /// The caller of a module, which is this one.
    Caller(&'m [ModuleStep]),
}

/// Evaluates one output block; also tells whether one of its conditions needs what is not known yet.
pub(super) fn read_output(
    declared: &Declared,
    context: String,
    audience: Audience<'_>,
    evaluator: &mut Evaluator<'_>,
) -> (Output, bool) {
    evaluator.enter(declared.file, Some(context));
    check_depends_on(declared, evaluator);
    let constant = |evaluator: &mut Evaluator<'_>, name: &str, ty: &Type| {
        let expression = declared.argument(name)?;
        let value = evaluator.eval(expression);
        match convert(&value, ty) {
            Ok(value) => Some(value),
            Err(error) => {
                let detail = format!("The argument {name:?} cannot be used: {error}.");
                evaluator.fail(expression, Diagnostic::error("Invalid argument value", detail));
                None
            }
        }
    };
    let sensitive = constant(evaluator, "sensitive", &Type::Bool)
        .and_then(|value| value.as_bool())
        .unwrap_or(false);
    let description =
        constant(evaluator, "description", &Type::String).and_then(|value| value.as_str().map(str::to_owned));
    let ephemeral = constant(evaluator, "ephemeral", &Type::Bool)
        .and_then(|value| value.as_bool())
        .unwrap_or(false);
    let mut open = false;
    let mut refused = false;
    if ephemeral
        && audience == Audience::People
        && let Some(expression) = declared.argument("ephemeral")
    {
        let detail = "Outputs of the root module are recorded, so they cannot be ephemeral. Those of other modules can.";
        evaluator.fail(
            expression,
            Diagnostic::error("Ephemeral output not allowed", detail),
        );
        refused = true;
    }
    let rules = rules(&declared.block.body, "precondition", Subject::OutputPrecondition);
    let modules = match audience {
        Audience::People => &[],
        Audience::Caller(modules) => modules,
    };
    let judged = judged(
        CheckKind::OutputValue,
        modules,
        &format!("output.{}", declared.name),
        None,
    );
    if !rules.is_empty() {
        evaluator.checked.begin(&judged);
    }
    for rule in rules {
        match judge_of(&rule, &judged, evaluator) {
            Verdict::Holds => {}
            Verdict::Open => open = true,
            Verdict::Wrong => refused = true,
            Verdict::Fails(diagnostic) => {
                refused = true;
                evaluator.report(*diagnostic);
            }
        }
    }
    let value = match declared.argument("value").filter(|_| !refused) {
        Some(expression) => {
            let value = evaluator.eval(expression);
            if audience == Audience::People && value.holds_ephemeral() {
                let detail = format!(
                    "The output {:?} holds an ephemeral value. Outputs are recorded, and ephemeral values must not be: \
                     leave it out, or write ephemeralasnull(...).",
                    declared.name
                );
                return (
                    Output {
                        value: evaluator.fail(
                            expression,
                            Diagnostic::error("Output refers to ephemeral values", detail),
                        ),
                        sensitive,
                        description,
                    },
                    false,
                );
            }
            if audience == Audience::People && value.holds_sensitive() && !sensitive && !value.is_failed() {
                let detail = format!(
                    "The output {:?} holds a sensitive value. To show it hidden, write sensitive = true in the output.",
                    declared.name
                );
                evaluator.fail(
                    expression,
                    Diagnostic::error("Output refers to sensitive values", detail),
                )
            } else {
                value
            }
        }
        None => Value::failed(),
    };
    let output = Output {
        value: value.marked(Marks::SENSITIVE.when(sensitive) | Marks::EPHEMERAL.when(ephemeral)),
        sensitive,
        description,
    };
    (output, open)
}

/// The outputs once hosts are chosen. Servers that are not in `hosts` have none; what refers to theirs stays
/// unknown.
pub fn resolve_outputs(
    evaluated: &Evaluated,
    hosts: &BTreeMap<Address, HostName>,
    files: &dyn FileReader,
) -> (BTreeMap<String, Output>, Diagnostics) {
    let placed = resolve_placed(evaluated, hosts, files);
    (placed.outputs, placed.found)
}

/// What is known once hosts are chosen.
#[derive(Debug)]
pub struct Placed {
    /// The outputs.
    pub outputs: BTreeMap<String, Output>,
    /// What the conditions of the files came to.
    pub checks: Vec<Check>,
    /// What is found wrong then.
    pub found: Diagnostics,
}

/// The outputs and what the conditions came to, once hosts are chosen; otherwise as [`resolve_outputs`].
pub fn resolve_placed(
    evaluated: &Evaluated,
    hosts: &BTreeMap<Address, HostName>,
    files: &dyn FileReader,
) -> Placed {
    if evaluated.later.is_empty() && evaluated.checked.is_settled() {
        return Placed {
            outputs: evaluated.outputs.clone(),
            checks: evaluated.checked.list(),
            found: Diagnostics::default(),
        };
    }
    let resolved = resolve(evaluated, hosts, files);
    Placed {
        outputs: resolved.outputs,
        checks: resolved.checked.list(),
        found: resolved.found,
    }
}

/// What names stand for once hosts are chosen, and what follows from that.
pub(super) struct Resolved {
    pub(super) environment: Environment,
    pub(super) outputs: BTreeMap<String, Output>,
    checked: Checked,
    pub(super) found: Diagnostics,
}

/// What names stand for once hosts are chosen, the outputs, and what is found wrong then.
pub(super) fn resolve(
    evaluated: &Evaluated,
    hosts: &BTreeMap<Address, HostName>,
    files: &dyn FileReader,
) -> Resolved {
    let mut outputs = evaluated.outputs.clone();
    let Some(file) = evaluated.sources.iter().next().map(|(id, _)| id) else {
        return Resolved {
            environment: evaluated.environment.clone(),
            outputs,
            checked: evaluated.checked.clone(),
            found: Diagnostics::default(),
        };
    };
    let mut evaluator = Evaluator::new(&evaluated.sources, files, file, Limits::default());
    evaluator.environment = evaluated.environment.clone();
    evaluator.checked = evaluated.checked.clone();
    let mut modules = evaluated.modules.clone();
    modules.change_names(&mut evaluator, |names| {
        for ((kind, _), value) in &mut names.resources {
            if *kind == Kind::Server {
                *value = with_hosts(value, hosts);
            }
        }
    });
    let program = &evaluated.program;
    // What is wrong with types and defaults of variables was reported before.
    let values = ValueStep::new(program, &evaluated.sources, &mut Diagnostics::default());
    for step in &evaluated.later {
        match &step.node {
            Node::Output(name) if step.module == ModuleId::ROOT => {
                modules.see(&mut evaluator, ModuleId::ROOT);
                modules.enter(&mut evaluator, ModuleId::ROOT, 0);
                let declared = &program.root().outputs[name];
                let (output, _) =
                    read_output(declared, declared.title.clone(), Audience::People, &mut evaluator);
                outputs.insert(name.to_string(), output);
            }
            Node::Resource(..) | Node::Data(..) => {
                modules.see(&mut evaluator, step.module);
                for at in modules.each(step.module) {
                    modules.enter(&mut evaluator, step.module, at);
                    judge_again(
                        &step.node,
                        program.declarations(step.module),
                        modules.instance(step.module, at),
                        &mut evaluator,
                    );
                }
            }
            Node::Local(_)
            | Node::Variable(_)
            | Node::Output(_)
            | Node::Check(_)
            | Node::Settings
            | Node::Instances
            | Node::Whole => {
                values.evaluate(step, program, &mut modules, &mut evaluator);
            }
        }
    }
    check_all_validations(program, &mut modules, &mut evaluator);
    modules.see(&mut evaluator, ModuleId::ROOT);
    modules.enter(&mut evaluator, ModuleId::ROOT, 0);
    let environment = evaluator.environment.clone();
    Resolved {
        environment,
        outputs,
        checked: std::mem::take(&mut evaluator.checked),
        found: evaluator.into_diagnostics(),
    }
}

/// A block with conditions, its name in its module, and what that stands for.
fn block_of<'d>(
    node: &Node,
    declarations: &'d Declarations,
    environment: &Environment,
) -> Option<(&'d Declared, String, Option<Value>)> {
    match node {
        Node::Resource(kind, name) => {
            let name = (*kind, name.clone());
            let whole = environment.resources.get(&name);
            let own = format!("{kind}.{}", name.1);
            Some((declarations.resources.get(&name)?, own, whole.cloned()))
        }
        Node::Data(kind, name) => {
            let name = (*kind, name.clone());
            let whole = environment.data.get(&name);
            let own = format!("data.{kind}.{}", name.1);
            Some((declarations.data.get(&name)?, own, whole.cloned()))
        }
        Node::Local(_)
        | Node::Variable(_)
        | Node::Output(_)
        | Node::Check(_)
        | Node::Settings
        | Node::Instances
        | Node::Whole => None,
    }
}

/// Judges the conditions of a block's instances, now that hosts are known.
fn judge_again(
    node: &Node,
    declarations: &Declarations,
    inside: &ModuleInstance,
    evaluator: &mut Evaluator<'_>,
) {
    let Some((declared, own, whole)) = block_of(node, declarations, &evaluator.environment) else {
        return;
    };
    let whole = whole.as_ref();
    evaluator.enter(declared.file, Some(inside.context(&declared.title)));
    let rules = resource_rules(declared);
    let mut failures = Failures::default();
    for (key, instance) in instances(declared, evaluator).each() {
        let value = match (&instance.index, &instance.each) {
            (Some(index), _) => whole
                .and_then(Value::as_items)
                .and_then(|items| items.get(usize::try_from(*index).ok()?)),
            (None, Some((key, _))) => whole
                .and_then(Value::as_fields)
                .and_then(|fields| fields.get(key)),
            (None, None) => whole,
        };
        let Some(value) = value.filter(|value| !value.is_failed()) else {
            continue;
        };
        evaluator.enter_instance(instance);
        let judged = || judged(CheckKind::Resource, &inside.path, &own, key.as_ref());
        failures.judge(&rules, judged, value, evaluator);
    }
    failures.report(&mut evaluator.diagnostics);
}

/// A server's object, or all of a block's, with the hosts filled in.
fn with_hosts(value: &Value, hosts: &BTreeMap<Address, HostName>) -> Value {
    if let Some(items) = value.as_items() {
        return Value::tuple(items.iter().map(|item| with_hosts(item, hosts)).collect());
    }
    let Some(fields) = value.as_fields() else {
        return value.clone();
    };
    let Some(address) = fields.declared() else {
        return Value::object(
            fields
                .iter()
                .map(|(key, item)| (key.clone(), with_hosts(item, hosts))),
        );
    };
    let Some(host) = hosts.get(address) else {
        return value.clone();
    };
    let mut by_name = fields.by_name().clone();
    by_name.insert("host".into(), Value::from(host.as_str()));
    ValueKind::Object(Arc::new(Fields::of_declared(address.clone(), by_name))).into()
}
