//! Which declaration refers to which, across modules, the order in which they can be evaluated, and cycles.

use super::declarations::Declared;
use super::program::{ModuleId, Program};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::eval::{DataKind, FreeName, Reference, each_free_name};
use crate::source::{FileId, Span};
use drover_types::Kind;
use hcl::edit::Span as _;
use hcl::edit::expr::{Expression, TraversalOperator};
use hcl::edit::structure::Body;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something in a module that is evaluated once for each instance of the module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Settings,
    /// A value that the caller gives. The root module's are there from the beginning.
    Variable(Arc<str>),
    Local(Arc<str>),
    Resource(Kind, Arc<str>),
    Data(DataKind, Arc<str>),
    Output(Arc<str>),
    Check(Arc<str>),
    /// How many instances the module itself has: before everything in it.
    Instances,
    /// Everything in the module: nothing to evaluate, but `depends_on` can name it.
    Whole,
}

/// A node and the module it is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    pub(super) module: ModuleId,
    pub(super) node: Node,
}

impl Step {
    fn text(&self, program: &Program) -> String {
        let module = &program.module(self.module).title;
        let inner = match &self.node {
            Node::Settings => return "the drover block".to_owned(),
            Node::Instances | Node::Whole => return module.clone(),
            Node::Variable(name) => format!("var.{name}"),
            Node::Local(name) => format!("local.{name}"),
            Node::Resource(kind, name) => format!("{kind}.{name}"),
            Node::Data(kind, name) => format!("data.{kind}.{name}"),
            Node::Output(name) => format!("output.{name}"),
            Node::Check(name) => format!("check.{name}"),
        };
        if module.is_empty() {
            inner
        } else {
            format!("{module}.{inner}")
        }
    }
}

/// Calls `visit` for each expression in a body and the blocks in it.
pub(super) fn each_expression<'e>(body: &'e Body, visit: &mut dyn FnMut(&'e Expression)) {
    for attribute in body.attributes() {
        visit(&attribute.value);
    }
    for block in body.blocks() {
        each_expression(&block.body, visit);
    }
}

/// The output that a reference to a module names: `module.a.x`, `module.a[0].x`, `module.a[*].x`. Nothing where only
/// evaluation can tell.
pub(super) fn named_output<'e>(name: &FreeName<'e>) -> Option<&'e str> {
    let mut rest = name.operators.iter().skip(1).map(|operator| operator.value());
    match rest.next()? {
        TraversalOperator::GetAttr(output) => Some(output.as_str()),
        TraversalOperator::Index(_)
        | TraversalOperator::LegacyIndex(_)
        | TraversalOperator::AttrSplat(_)
        | TraversalOperator::FullSplat(_) => match rest.next()? {
            TraversalOperator::GetAttr(output) => Some(output.as_str()),
            TraversalOperator::Index(_)
            | TraversalOperator::LegacyIndex(_)
            | TraversalOperator::AttrSplat(_)
            | TraversalOperator::FullSplat(_) => None,
        },
    }
}

/// Arguments of a `module` block that are not values for its variables.
pub(super) const CALL_ARGUMENTS: [&str; 4] = ["source", "count", "for_each", "depends_on"];

struct Edge {
    to: usize,
    span: Option<Span>,
}

struct Graph<'p> {
    program: &'p Program,
    nodes: Vec<Step>,
    edges: Vec<Vec<Edge>>,
}

/// The nodes of one module.
fn nodes_of(program: &Program, module: ModuleId, nodes: &mut Vec<Step>) {
    let declarations = program.declarations(module);
    let mut add = |node: Node| nodes.push(Step { module, node });
    if module != ModuleId::ROOT {
        add(Node::Instances);
        declarations
            .variables
            .keys()
            .cloned()
            .map(Node::Variable)
            .for_each(&mut add);
    }
    declarations.settings.iter().for_each(|_| add(Node::Settings));
    declarations
        .locals
        .keys()
        .cloned()
        .map(Node::Local)
        .for_each(&mut add);
    let resources = declarations.resources.keys().cloned();
    resources
        .map(|(kind, name)| Node::Resource(kind, name))
        .for_each(&mut add);
    let data = declarations.data.keys().cloned();
    data.map(|(kind, name)| Node::Data(kind, name)).for_each(&mut add);
    declarations
        .outputs
        .keys()
        .cloned()
        .map(Node::Output)
        .for_each(&mut add);
    declarations
        .checks
        .keys()
        .cloned()
        .map(Node::Check)
        .for_each(&mut add);
    if module != ModuleId::ROOT {
        add(Node::Whole);
    }
}

/// What one node needs, as far as it is known, with the place that says so.
struct Needs<'g> {
    program: &'g Program,
    index: &'g BTreeMap<&'g Step, usize>,
    found: BTreeMap<usize, Option<Span>>,
}

impl Needs<'_> {
    fn step(&mut self, module: ModuleId, node: Node, span: Option<Span>) {
        if let Some(to) = self.index.get(&Step { module, node }) {
            self.found.entry(*to).or_insert(span);
        }
    }

    /// What an expression in a module refers to.
    fn expression(&mut self, module: ModuleId, file: FileId, expression: &Expression) {
        let program = self.program;
        each_free_name(expression, &mut |name| {
            let Ok((reference, _)) = Reference::parse(name.root, name.operators) else {
                return;
            };
            let span = name.expression.span().map(|range| Span::new(file, range));
            match reference {
                Reference::Variable(name) => self.step(module, Node::Variable(name), span),
                Reference::Local(name) => self.step(module, Node::Local(name), span),
                Reference::Resource(kind, name) => self.step(module, Node::Resource(kind, name), span),
                Reference::Data(kind, name) => self.step(module, Node::Data(kind, name), span),
                Reference::Drover(_) => self.step(ModuleId::ROOT, Node::Settings, span),
                Reference::Module(called) => {
                    let Some(called) = program.module(module).calls.get(&called).copied() else {
                        return;
                    };
                    match named_output(&name) {
                        Some(output) => self.step(called, Node::Output(output.into()), span),
                        None => {
                            self.step(called, Node::Instances, span);
                            for output in program.declarations(called).outputs.keys() {
                                self.step(called, Node::Output(output.clone()), span);
                            }
                        }
                    }
                }
                Reference::CountIndex
                | Reference::EachKey
                | Reference::EachValue
                | Reference::Path(_)
                | Reference::Itself => {}
            }
        });
    }

    /// What `depends_on` names: modules as a whole, everything else as any reference.
    fn depends_on(&mut self, module: ModuleId, file: FileId, expression: &Expression) {
        self.expression(module, file, expression);
        let program = self.program;
        each_free_name(expression, &mut |name| {
            if let Ok((Reference::Module(called), _)) = Reference::parse(name.root, name.operators)
                && let Some(called) = program.module(module).calls.get(&called).copied()
            {
                let span = name.expression.span().map(|range| Span::new(file, range));
                self.step(called, Node::Whole, span);
            }
        });
    }

    fn block(&mut self, module: ModuleId, declared: &Declared) {
        let depends_on = declared.argument("depends_on");
        each_expression(&declared.block.body, &mut |expression| {
            if depends_on.is_some_and(|depends_on| std::ptr::eq(depends_on, expression)) {
                self.depends_on(module, declared.file, expression);
            } else {
                self.expression(module, declared.file, expression);
            }
        });
    }

    fn of(&mut self, step: &Step) {
        let program = self.program;
        let module = step.module;
        let declarations = program.declarations(module);
        if step.node != Node::Instances {
            self.step(module, Node::Instances, None);
        }
        match &step.node {
            Node::Settings => {
                if let Some(settings) = &declarations.settings {
                    self.block(module, settings);
                }
            }
            Node::Instances => {
                let Some((caller, call)) = program.call(module) else {
                    return;
                };
                self.step(caller, Node::Instances, None);
                for name in ["count", "for_each"] {
                    if let Some(expression) = call.argument(name) {
                        self.expression(caller, call.file, expression);
                    }
                }
                if let Some(expression) = call.argument("depends_on") {
                    self.depends_on(caller, call.file, expression);
                }
            }
            Node::Variable(name) => {
                if let Some((caller, call)) = program.call(module)
                    && !CALL_ARGUMENTS.contains(&&**name)
                    && let Some(expression) = call.argument(name)
                {
                    self.expression(caller, call.file, expression);
                }
            }
            Node::Local(name) => {
                let local = &declarations.locals[name];
                self.expression(module, local.file, &local.value);
            }
            Node::Resource(kind, name) => {
                self.block(module, &declarations.resources[&(*kind, name.clone())]);
            }
            Node::Data(kind, name) => {
                // The records of which project are read where none is named.
                self.step(ModuleId::ROOT, Node::Settings, None);
                self.block(module, &declarations.data[&(*kind, name.clone())]);
            }
            Node::Output(name) => self.block(module, &declarations.outputs[name]),
            Node::Check(name) => {
                self.block(module, &declarations.checks[name]);
                // What cannot be found fails the check, whether or not an assert asks for it.
                if let Some((kind, data)) = declarations.scoped.get(name) {
                    self.step(module, Node::Data(*kind, data.clone()), None);
                }
            }
            Node::Whole => {
                let mut inside = Vec::new();
                nodes_of(program, module, &mut inside);
                for step in inside.into_iter().filter(|inner| inner.node != Node::Whole) {
                    self.step(module, step.node, None);
                }
                for called in program.module(module).calls.values() {
                    self.step(*called, Node::Whole, None);
                }
            }
        }
    }
}

impl<'p> Graph<'p> {
    fn build(program: &'p Program) -> Self {
        let mut nodes: Vec<Step> = Vec::new();
        for (module, _) in program.modules() {
            nodes_of(program, module, &mut nodes);
        }
        let index: BTreeMap<&Step, usize> = nodes.iter().enumerate().map(|(at, step)| (step, at)).collect();
        let mut edges = Vec::with_capacity(nodes.len());
        for step in &nodes {
            let mut needs = Needs {
                program,
                index: &index,
                found: BTreeMap::new(),
            };
            needs.of(step);
            edges.push(
                needs
                    .found
                    .into_iter()
                    .map(|(to, span)| Edge { to, span })
                    .collect(),
            );
        }
        Self {
            program,
            nodes,
            edges,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Every node after all that it needs. Nodes on a cycle are reported, and listed apart.
pub(super) fn order(program: &Program, found: &mut Diagnostics) -> (Vec<Step>, Vec<Step>) {
    let graph = Graph::build(program);
    let mut marks = vec![Mark::New; graph.nodes.len()];
    let mut order: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    let mut cyclic: Vec<usize> = Vec::new();
    for start in 0..graph.nodes.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // By hand instead of by recursion: a chain of references can be as long as the files allow.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        marks[start] = Mark::Open;
        while let Some((node, next)) = path.last().copied() {
            let Some(edge) = graph.edges[node].get(next) else {
                marks[node] = Mark::Done;
                order.push(node);
                path.pop();
                continue;
            };
            if let Some(top) = path.last_mut() {
                top.1 += 1;
            }
            match marks[edge.to] {
                Mark::Done => {}
                Mark::New => {
                    marks[edge.to] = Mark::Open;
                    path.push((edge.to, 0));
                }
                Mark::Open => {
                    let from = path.iter().position(|(node, _)| *node == edge.to).unwrap_or(0);
                    let members: Vec<usize> = path[from..].iter().map(|(node, _)| *node).collect();
                    found.push(cycle(&graph, &members));
                    cyclic.extend(members);
                }
            }
        }
    }
    let named = |all: Vec<usize>| all.into_iter().map(|at| graph.nodes[at].clone()).collect();
    cyclic.sort_unstable();
    cyclic.dedup();
    (named(order), named(cyclic))
}

fn cycle(graph: &Graph<'_>, members: &[usize]) -> Diagnostic {
    const SHOWN: usize = 12;
    let name = |at: usize| graph.nodes[at].text(graph.program);
    let step = |position: usize| {
        let (from, to) = (members[position], members[(position + 1) % members.len()]);
        graph.edges[from]
            .iter()
            .find(|edge| edge.to == to)
            .and_then(|edge| edge.span)
    };
    if let [only] = members {
        let detail = format!(
            "{} refers to itself. Its value would have to be known before it is computed; remove this reference.",
            name(*only)
        );
        return Diagnostic::error("Self-referential block", detail).at_maybe(step(0));
    }
    let mut path: Vec<String> = members.iter().take(SHOWN).map(|member| name(*member)).collect();
    if members.len() > SHOWN {
        path.push(format!("({} more)", members.len() - SHOWN));
    }
    path.push(name(members[0]));
    let detail = format!(
        "These refer to each other in a circle, so none can be computed first: {}. Remove one of the references.",
        path.join(" -> ")
    );
    let mut diagnostic = Diagnostic::error("Cycle of references", detail).at_maybe(step(0));
    for (position, member) in members.iter().enumerate().take(SHOWN).skip(1) {
        if let Some(span) = step(position) {
            let to = members[(position + 1) % members.len()];
            diagnostic = diagnostic.label(span, format!("{} refers to {}", name(*member), name(to)));
        }
    }
    diagnostic
}
