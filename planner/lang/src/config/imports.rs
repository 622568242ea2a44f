//! `import` blocks: existing domains that become servers. They are evaluated last, when everything that their ids may
//! refer to is known.

use super::arguments::Arguments;
use super::declarations::Declared;
use super::evaluate::State;
use super::instances::instances;
use super::program::ModuleId;
use super::refactoring::origin_of;
use crate::diagnostic::Diagnostic;
use crate::eval::{Evaluator, Instance};
use crate::source::Span;
use crate::value::Value;
use drover_core::model::{Import, ImportId};
use drover_types::{Address, InstanceKey, Kind};
use hcl::edit::Decorated;
use hcl::edit::expr::{Expression, TraversalOperator};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A server that names no image: only an imported one may.
#[derive(Debug, Clone)]
pub(super) struct WithoutImage {
    pub(super) address: Address,
    pub(super) header: Option<Span>,
    pub(super) title: String,
}

impl State<'_, '_> {
    /// Evaluates the blocks of the root module; those of others were reported.
    pub(super) fn imports(&mut self) {
        let mut places: BTreeMap<ImportId, Address> = BTreeMap::new();
        let program = self.program;
        for declared in &program.root().imports {
            self.modules.enter(&mut self.evaluator, ModuleId::ROOT, 0);
            self.evaluator.enter(declared.file, Some(declared.title.clone()));
            let origin = origin_of(self.sources, declared);
            let all = instances(declared, &mut self.evaluator);
            for (_, instance) in all.each() {
                self.evaluator.enter_instance(instance);
                let to = target(declared, &mut self.evaluator);
                let mut arguments = Arguments::new(&mut self.evaluator, declared);
                let id = arguments.parsed::<ImportId>("id");
                let id = arguments.require("id", id);
                let (Some(to), Some(id)) = (to, id) else { continue };
                if let Some(other) = places.get(&id) {
                    let detail = format!(
                        "{id} would become both {other} and {to}. A domain becomes one server: remove one of the blocks."
                    );
                    self.contradiction(declared, detail);
                    continue;
                }
                places.insert(id.clone(), to.clone());
                let written = declared.argument("to");
                if let Some(place) = written.and_then(|to| declared.span(to)) {
                    self.import_places.insert(to.clone(), place);
                }
                let origin = Some(origin.clone());
                let before = self.desired.imports.insert(to.clone(), Import { id, origin });
                if before.is_some() {
                    let detail = format!("Two domains would become {to}. Remove one of the import blocks.");
                    self.contradiction(declared, detail);
                }
            }
            self.evaluator.enter_instance(Instance::default());
        }
    }

    fn contradiction(&mut self, declared: &Declared, detail: String) {
        let diagnostic = Diagnostic::error("Contradicting import blocks", detail);
        self.evaluator
            .report(diagnostic.at_maybe(declared.header).within(&declared.title));
    }

    /// Reports servers that are made from nothing.
    pub(super) fn check_images(&mut self) {
        for lacking in std::mem::take(&mut self.without_image) {
            if self.desired.imports.contains_key(&lacking.address) {
                continue;
            }
            let detail = format!(
                "The argument \"image\" is required in {}, but is not set. Write for example:\nimage = image.debian",
                lacking.title
            );
            let hint = "a server that is imported goes without: write its import block, or image = null for one that \
                        was imported before";
            let diagnostic = Diagnostic::error("Missing required argument", detail)
                .at_maybe(lacking.header)
                .within(&lacking.title)
                .hint(Some(hint.to_owned()));
            self.evaluator.diagnostics.push_distinct(diagnostic);
        }
    }
}

/// The address of an import, with the keys in it evaluated.
fn target(declared: &Declared, evaluator: &mut Evaluator<'_>) -> Option<Address> {
    let expression = declared.argument("to")?;
    let detail = match address(expression, evaluator) {
        Ok(address) if address.kind == Kind::Server => return Some(address),
        Ok(address) => format!("{address} is no server: domains become servers, and nothing else."),
        // What is wrong with a key is reported where it is evaluated.
        Err(Some(())) => return None,
        Err(None) => {
            "The argument \"to\" must be the address of a server, without quotes: server.web, server.web[0], \
                      server.db[each.key], module.shop.server.web."
                .to_owned()
        }
    };
    let diagnostic = Diagnostic::error("Invalid import block", detail);
    evaluator.report(
        diagnostic
            .at_maybe(declared.span(expression))
            .within(&declared.title),
    );
    None
}

/// The address that an expression is; `Err(Some)` where a key in it could not be evaluated.
fn address(expression: &Expression, evaluator: &mut Evaluator<'_>) -> Result<Address, Option<()>> {
    let Expression::Traversal(traversal) = expression else {
        return Err(None);
    };
    let Expression::Variable(root) = &traversal.expr else {
        return Err(None);
    };
    let mut text = root.as_str().to_owned();
    for operator in traversal.operators.iter().map(Decorated::value) {
        match operator {
            TraversalOperator::GetAttr(name) => write!(text, ".{}", name.as_str()).map_err(|_| None)?,
            TraversalOperator::Index(index) => {
                let key = key(&evaluator.eval(index)).ok_or_else(|| {
                    evaluator.fail(
                        index,
                        Diagnostic::error(
                            "Invalid import block",
                            "A key in the argument \"to\" must be a text or a whole number that is known before hosts are.",
                        ),
                    );
                    Some(())
                })?;
                write!(text, "{key}").map_err(|_| None)?;
            }
            TraversalOperator::LegacyIndex(_)
            | TraversalOperator::AttrSplat(_)
            | TraversalOperator::FullSplat(_) => return Err(None),
        }
    }
    text.parse().map_err(|_| None)
}

fn key(value: &Value) -> Option<InstanceKey> {
    if value.is_sensitive() || value.why_unknown().is_some() {
        return None;
    }
    match (value.as_str(), value.as_number()) {
        (Some(text), _) => Some(InstanceKey::Key(text.to_owned())),
        (None, Some(number)) => number.as_u64().map(InstanceKey::Index),
        (None, None) => None,
    }
}
