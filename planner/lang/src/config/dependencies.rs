//! `depends_on`: which servers come after which. It names blocks and modules as a whole, or one instance, and is
//! read without evaluating anything.

use super::arguments::with_article;
use super::declarations::{Declarations, Declared};
use super::evaluate::State;
use super::modules::Modules;
use super::program::{ModuleId, Program};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::eval::Reference;
use crate::source::{FileId, Span};
use drover_core::model::Needs;
use drover_types::{Address, InstanceKey, Kind};
use hcl::edit::Span as _;
use hcl::edit::expr::{Expression, TraversalOperator};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What one item of a list names.
struct Needed {
    what: What,
    key: Option<InstanceKey>,
    span: Option<Span>,
}

enum What {
    Server(Arc<str>),
    Module(Arc<str>),
}

/// The servers of each block in each instance of its module.
#[derive(Debug, Default)]
pub(super) struct Blocks(BTreeMap<(ModuleId, usize, Arc<str>), Vec<Address>>);

impl Blocks {
    pub(super) fn add(&mut self, module: ModuleId, at: usize, name: &Arc<str>, address: Address) {
        self.0
            .entry((module, at, name.clone()))
            .or_default()
            .push(address);
    }

    fn block(&self, module: ModuleId, at: usize, name: &Arc<str>) -> &[Address] {
        let servers = self.0.get(&(module, at, name.clone()));
        servers.map_or(&[], Vec::as_slice)
    }

    /// The servers in one instance of a module, and in what it calls.
    fn inside(
        &self,
        program: &Program,
        modules: &Modules,
        module: ModuleId,
        at: usize,
        into: &mut BTreeSet<Address>,
    ) {
        let mut open = vec![(module, at)];
        while let Some((module, at)) = open.pop() {
            let own = self.0.range((module, at, Arc::from(""))..);
            let own = own.take_while(|((of, instance, _), _)| (*of, *instance) == (module, at));
            into.extend(own.flat_map(|(_, servers)| servers.iter().cloned()));
            for called in program.module(module).calls.values() {
                open.extend(modules.called(*called, at).map(|instance| (*called, instance)));
            }
        }
    }
}

/// Checks what `depends_on` says, everywhere.
pub(super) fn check(program: &Program, found: &mut Diagnostics) {
    for folder in program.folders() {
        for declared in dependents(&folder.declarations) {
            read(declared, found);
        }
    }
}

/// The blocks that have `depends_on`.
fn dependents(declarations: &Declarations) -> impl Iterator<Item = &Declared> {
    let all = declarations.resources.values().chain(declarations.calls.values());
    all.filter(|declared| declared.argument("depends_on").is_some())
}

/// The items of a block's `depends_on`; what is wrong is reported and left out.
fn read(declared: &Declared, found: &mut Diagnostics) -> Vec<Needed> {
    let Some(whole) = declared.argument("depends_on") else {
        return Vec::new();
    };
    let mut wrong = |expression: &Expression, problem: &str, hint: Option<&str>| {
        let detail = format!("The argument \"depends_on\" cannot be used: {problem}.");
        let diagnostic = Diagnostic::error("Invalid argument value", detail)
            .at_maybe(declared.span(expression))
            .within(&declared.title);
        found.push(diagnostic.hint(hint.map(str::to_owned)));
    };
    let Expression::Array(items) = whole else {
        let problem = "a list of servers and modules is required";
        wrong(whole, problem, Some("write a list of addresses: [server.NAME]"));
        return Vec::new();
    };
    let mut all = Vec::new();
    for item in items.iter() {
        match needed(item, declared.file) {
            Ok(Some(needed)) => all.push(needed),
            Ok(None) => {}
            Err((problem, hint)) => wrong(item, &problem, hint),
        }
    }
    all
}

/// What one item names; nothing where that is reported already.
fn needed(item: &Expression, file: FileId) -> Result<Option<Needed>, (String, Option<&'static str>)> {
    let (root, operators) = match item {
        Expression::Variable(name) => (name.as_str(), &[][..]),
        Expression::Traversal(traversal) => match &traversal.expr {
            Expression::Variable(name) => (name.as_str(), &traversal.operators[..]),
            _ => return Err(no_address()),
        },
        _ => return Err(no_address()),
    };
    let Ok((reference, used)) = Reference::parse(root, operators) else {
        return Ok(None);
    };
    let what = match reference {
        Reference::Resource(Kind::Server, name) => What::Server(name),
        Reference::Module(name) => What::Module(name),
        Reference::Resource(kind, name) => {
            let problem = format!(
                "only servers and modules can stand here, but {kind}.{name} is {}",
                with_article(kind)
            );
            return Err((problem, None));
        }
        Reference::Variable(_)
        | Reference::Local(_)
        | Reference::Data(..)
        | Reference::CountIndex
        | Reference::EachKey
        | Reference::EachValue
        | Reference::Path(_)
        | Reference::Drover(_)
        | Reference::Itself => return Err(no_address()),
    };
    let key = match operators.get(used).map(|operator| operator.value()) {
        None | Some(TraversalOperator::FullSplat(_) | TraversalOperator::AttrSplat(_)) => None,
        Some(TraversalOperator::LegacyIndex(index)) => Some(InstanceKey::Index(*index.value())),
        Some(TraversalOperator::Index(Expression::String(key))) => {
            Some(InstanceKey::Key(key.as_str().to_owned()))
        }
        Some(TraversalOperator::Index(Expression::Number(number))) if number.value().is_u64() => {
            number.value().as_u64().map(InstanceKey::Index)
        }
        Some(TraversalOperator::Index(_)) => {
            let problem = "the key of an instance must be a plain number or text here";
            return Err((problem.to_owned(), Some("leave it out to wait for all instances")));
        }
        Some(TraversalOperator::GetAttr(_)) => {
            let problem = "only a whole server or module can stand here, not something of it";
            return Err((problem.to_owned(), None));
        }
    };
    let span = item.span().map(|range| Span::new(file, range));
    Ok(Some(Needed { what, key, span }))
}

fn no_address() -> (String, Option<&'static str>) {
    (
        "only servers and modules can stand here, without quotes".to_owned(),
        Some("write a list of addresses: [server.NAME]"),
    )
}

type Sets = Vec<Arc<BTreeSet<Address>>>;

impl State<'_, '_> {
    /// Notes which servers come after which, now that all are known. Every instance of a block shares what the
    /// block says, and everything in a module what its call says.
    pub(super) fn order_servers(&mut self) {
        let program = self.program;
        // By module, then by instance: what its call and the calls around it say.
        let mut inherited: Vec<Vec<Sets>> = Vec::new();
        for (module, _) in program.modules() {
            let mut by_caller: BTreeMap<usize, Sets> = BTreeMap::new();
            let mut all = Vec::new();
            for at in self.modules.each(module) {
                let outer = self.modules.instance(module, at).caller;
                let sets = match program.call(module) {
                    None => Sets::new(),
                    Some((caller, call)) => by_caller
                        .entry(outer)
                        .or_insert_with(|| {
                            let mut sets = inherited[caller.index()][outer].clone();
                            sets.extend(self.needs(caller, outer, call));
                            sets
                        })
                        .clone(),
                };
                all.push(sets);
            }
            inherited.push(all);
        }
        for (module, _) in program.modules() {
            for ((kind, name), declared) in &program.declarations(module).resources {
                if *kind != Kind::Server {
                    continue;
                }
                for at in self.modules.each(module) {
                    let mut sets = inherited[module.index()][at].clone();
                    sets.extend(self.needs(module, at, declared));
                    if sets.is_empty() {
                        continue;
                    }
                    for address in self.blocks.block(module, at, name).to_vec() {
                        self.desired.depends_on.insert(address, Needs::all(sets.clone()));
                    }
                }
            }
        }
    }

    /// The servers that a block's `depends_on` names in this instance of its module.
    fn needs(&mut self, module: ModuleId, at: usize, declared: &Declared) -> Option<Arc<BTreeSet<Address>>> {
        declared.argument("depends_on")?;
        let mut all = BTreeSet::new();
        // What is wrong with the items was reported by the check.
        for needed in read(declared, &mut Diagnostics::default()) {
            let before = all.len();
            match &needed.what {
                What::Server(name) => {
                    let servers = self.blocks.block(module, at, name).iter();
                    let chosen = servers.filter(|server| needed.key.is_none() || server.key == needed.key);
                    all.extend(chosen.cloned());
                }
                What::Module(name) => {
                    if let Some(called) = self.program.module(module).calls.get(name) {
                        for instance in self.modules.called(*called, at) {
                            let path = &self.modules.instance(*called, instance).path;
                            let key = path.last().and_then(|step| step.key.as_ref());
                            if needed.key.is_none() || key == needed.key.as_ref() {
                                self.blocks
                                    .inside(self.program, &self.modules, *called, instance, &mut all);
                            }
                        }
                    }
                }
            }
            if let Some(key) = &needed.key
                && all.len() == before
                && matches!(needed.what, What::Server(_))
            {
                let detail = format!("depends_on names the instance {key}, but there is none with that key.");
                let diagnostic = Diagnostic::error("Invalid index", detail)
                    .at_maybe(needed.span)
                    .within(&declared.title);
                self.evaluator.report(diagnostic);
            }
        }
        Some(Arc::new(all))
    }
}
