//! `moved` and `removed` blocks: what became of addresses that the records know. They are read without evaluating
//! anything, since the ids of moved servers are needed before that.

use super::Config;
use super::declarations::Declared;
use super::program::{ModuleId, Program};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::SourceMap;
use drover_core::diff::check_moved;
use drover_core::model::{MoveEnd, Moved, Removed, SourceLocation, shown_within};
use drover_types::{Address, InstanceKey, Kind, ModuleStep};
use hcl::edit::Decorated;
use hcl::edit::expr::{Expression, TraversalOperator};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the files say of addresses that are no longer declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refactorings {
    /// Where what was declared before is now.
    pub moved: Vec<Moved>,
    /// What is not to be destroyed although it is no longer declared.
    pub removed: Vec<Removed>,
}

/// Reads the blocks; mistakes in them are [`evaluate`](super::evaluate)'s to report.
#[must_use]
pub fn refactorings(config: &Config) -> Refactorings {
    read(&config.program, &config.sources, &mut Diagnostics::default())
}

/// The place of a block.
pub(super) fn origin_of(sources: &SourceMap, declared: &Declared) -> SourceLocation {
    let file = sources.file(declared.file);
    let position = file.position(declared.header.map_or(0, |header| header.start as usize));
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    SourceLocation {
        file: file.path().into(),
        line: narrow(position.line),
        column: narrow(position.column),
    }
}

pub(super) fn read(program: &Program, sources: &SourceMap, found: &mut Diagnostics) -> Refactorings {
    for (module, _) in program.modules().skip(1) {
        for declared in &program.declarations(module).imports {
            let detail = "Only the root module can have such a block: write it there, with the module in its addresses \
                          (module.shop.server.web).";
            let diagnostic = Diagnostic::error("Misplaced import block", detail);
            found.push(diagnostic.at_maybe(declared.header).within(&declared.title));
        }
    }
    let mut all = Refactorings::default();
    for (id, _) in program.modules() {
        read_module(program, id, sources, &mut all, found);
    }
    for error in check_moved(&all.moved) {
        let place = program
            .folders()
            .flat_map(|folder| &folder.declarations.moved)
            .find(|declared| error.origin() == Some(&origin_of(sources, declared)))
            .and_then(|declared| declared.header);
        let diagnostic = Diagnostic::error(
            "Contradicting moved blocks",
            format!("{}.", capital(&error.to_string())),
        );
        found.push_distinct(diagnostic.at_maybe(place).hint(Some(error.hint().to_owned())));
    }
    all
}

/// The modules on the way to one, without keys; nothing where a label is no name, which is reported with the block.
fn steps_to(program: &Program, id: ModuleId) -> Option<Vec<ModuleStep>> {
    let mut steps = Vec::new();
    let mut at = id;
    while let Some((caller, name)) = &program.module(at).caller {
        steps.push(ModuleStep {
            name: name.parse().ok()?,
            key: None,
        });
        at = *caller;
    }
    steps.reverse();
    Some(steps)
}

/// The blocks of one module; their addresses are relative to it. What is wrong with a block is said once, however
/// many modules its folder makes.
fn read_module(
    program: &Program,
    id: ModuleId,
    sources: &SourceMap,
    all: &mut Refactorings,
    found: &mut Diagnostics,
) {
    let declarations = program.declarations(id);
    if declarations.moved.is_empty() && declarations.removed.is_empty() {
        return;
    }
    let Some(within) = steps_to(program, id) else {
        return;
    };
    for declared in &declarations.moved {
        let from = end(declared, "from", found);
        let to = end(declared, "to", found);
        let (Some(from), Some(to)) = (from, to) else {
            continue;
        };
        if let Err(problem) = fits(&from, &to) {
            let diagnostic = Diagnostic::error("Invalid moved block", problem);
            found.push_distinct(diagnostic.at_maybe(declared.header).within(&declared.title));
            continue;
        }
        let origin = origin_of(sources, declared);
        all.moved.push(Moved {
            within: within.clone(),
            from,
            to,
            origin,
        });
    }
    for declared in &declarations.removed {
        let Some(from) = end(declared, "from", found) else {
            continue;
        };
        let MoveEnd::Resource(from) = from else {
            let detail =
                "A removed block names a server, image, group or flavor: write its address, module included.";
            let diagnostic = Diagnostic::error("Invalid removed block", detail);
            found.push_distinct(diagnostic.at_maybe(declared.header).within(&declared.title));
            continue;
        };
        all.removed.push(Removed {
            within: within.clone(),
            from,
            destroy: destroys(declared, found),
            origin: origin_of(sources, declared),
        });
    }
}

/// Reports what is removed and declared all the same.
pub(super) fn check_removed<'a>(
    removed: &[Removed],
    program: &Program,
    sources: &SourceMap,
    declared: impl Iterator<Item = &'a Address>,
    found: &mut Diagnostics,
) {
    if removed.is_empty() {
        return;
    }
    let mut by_block: BTreeMap<Address, Vec<&Address>> = BTreeMap::new();
    for address in declared {
        by_block
            .entry(without_keys(address.clone()))
            .or_default()
            .push(address);
    }
    let is_declared = |one: &&Removed| {
        let mut whole = one.from.clone();
        whole.modules.splice(0..0, one.within.iter().cloned());
        let instances = by_block.get(&without_keys(whole));
        instances.is_some_and(|all| all.iter().any(|address| one.covers(address)))
    };
    for one in removed.iter().filter(is_declared) {
        let place = program
            .folders()
            .flat_map(|folder| &folder.declarations.removed)
            .find(|declared| one.origin == origin_of(sources, declared))
            .and_then(|declared| declared.header);
        let detail = format!(
            "{} is said to be removed, and it is still declared. Remove its block, or this one.",
            shown_within(&one.within, &one.from)
        );
        found.push_distinct(Diagnostic::error("Removed resource still declared", detail).at_maybe(place));
    }
}

fn without_keys(mut address: Address) -> Address {
    address.key = None;
    for module in &mut address.modules {
        module.key = None;
    }
    address
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

fn destroys(declared: &Declared, found: &mut Diagnostics) -> bool {
    let Some(block) = declared.block.body.get_blocks("lifecycle").next() else {
        return true;
    };
    match block
        .body
        .get_attribute("destroy")
        .map(|attribute| &attribute.value)
    {
        Some(Expression::Bool(destroy)) => *destroy.value(),
        // Reported as missing.
        None => true,
        Some(other) => {
            let detail = "The argument \"destroy\" must be true or false as such: nothing is evaluated here.";
            let diagnostic = Diagnostic::error("Invalid removed block", detail);
            found.push_distinct(diagnostic.at_maybe(declared.span(other)).within(&declared.title));
            true
        }
    }
}

/// Why a thing cannot be moved there.
fn fits(from: &MoveEnd, to: &MoveEnd) -> Result<(), String> {
    match (from, to) {
        (from, to) if from == to => Err(format!("from and to are the same address, {from}.")),
        (MoveEnd::Resource(from), MoveEnd::Resource(to)) if from.kind != to.kind => Err(format!(
            "{from} is of another kind than {to}: a {} stays a {}.",
            from.kind, from.kind
        )),
        (MoveEnd::Resource(from), MoveEnd::Resource(_)) if from.kind == Kind::Host => {
            Err("Hosts cannot be moved: their labels are the names in their certificates.".to_owned())
        }
        (MoveEnd::Resource(_), MoveEnd::Resource(_)) | (MoveEnd::Module(_), MoveEnd::Module(_)) => Ok(()),
        (MoveEnd::Resource(_), MoveEnd::Module(_)) | (MoveEnd::Module(_), MoveEnd::Resource(_)) => Err(
            format!("{from} and {to} are a resource and a module: move each to its own kind."),
        ),
    }
}

fn end(declared: &Declared, name: &str, found: &mut Diagnostics) -> Option<MoveEnd> {
    let expression = declared.argument(name)?;
    match address(expression) {
        Some(end) => Some(end),
        None => {
            let detail = format!(
                "The argument {name:?} must be an address, without quotes and with nothing to evaluate: \
                 server.web, server.web[0], server.db[\"primary\"], module.shop."
            );
            let word = declared.block.ident.as_str();
            let diagnostic = Diagnostic::error(format!("Invalid {word} block"), detail);
            found.push_distinct(
                diagnostic
                    .at_maybe(declared.span(expression))
                    .within(&declared.title),
            );
            None
        }
    }
}

/// The address that an expression is, where nothing in it needs evaluating.
pub(super) fn address(expression: &Expression) -> Option<MoveEnd> {
    let Expression::Traversal(traversal) = expression else {
        return None;
    };
    let Expression::Variable(root) = &traversal.expr else {
        return None;
    };
    let mut text = root.as_str().to_owned();
    for operator in traversal.operators.iter().map(Decorated::value) {
        match operator {
            TraversalOperator::GetAttr(name) => write!(text, ".{}", name.as_str()).ok()?,
            TraversalOperator::Index(Expression::Number(index)) => {
                let index = index.value().as_u64()?;
                write!(text, "{}", InstanceKey::Index(index)).ok()?;
            }
            TraversalOperator::Index(Expression::String(key)) => {
                write!(text, "{}", InstanceKey::Key(key.as_str().to_owned())).ok()?;
            }
            TraversalOperator::Index(_)
            | TraversalOperator::LegacyIndex(_)
            | TraversalOperator::AttrSplat(_)
            | TraversalOperator::FullSplat(_) => return None,
        }
    }
    text.parse().ok()
}
