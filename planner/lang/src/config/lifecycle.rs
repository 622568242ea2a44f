//! The `lifecycle` block of one instance: what may become of it.

use super::blocks::ROOT;
use super::evaluate::State;
use super::resources::Place;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::value::{Type, convert};
use drover_core::model::{Ignored, Lifecycle, Trigger};
use drover_types::{Address, InstanceKey, Kind, ResourceName};
use hcl::edit::Decorated;
use hcl::edit::expr::{Expression, TraversalOperator};
use hcl::edit::structure::Block;
use std::collections::BTreeSet;

/// Arguments that say how many instances there are or in which order, and are no attributes.
const NO_ATTRIBUTES: [&str; 3] = ["count", "for_each", "depends_on"];

/// What a trigger may name of each kind.
const fn attributes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Host | Kind::Aggregate => &[],
        Kind::Flavor => &["vcpus", "ram", "disk", "extra_specs"],
        Kind::Image => &["source", "checksum", "format", "properties"],
        Kind::Group => &["policy"],
        Kind::Server => &[
            "id",
            "name",
            "flavor",
            "image",
            "group",
            "availability_zone",
            "power",
            "labels",
            "allow_rebuild",
        ],
    }
}

impl State<'_, '_> {
    /// Reads the block, if there is one, into the model.
    pub(super) fn lifecycle(&mut self, at: &Place<'_>) {
        // What is not recorded as a resource has conditions alone, which are judged elsewhere.
        if matches!(at.address.kind, Kind::Host | Kind::Aggregate) {
            return;
        }
        let Some(block) = at.declared.block.body.get_blocks("lifecycle").next() else {
            return;
        };
        let lifecycle = Lifecycle {
            prevent_destroy: self.flag(block, "prevent_destroy"),
            ignore_changes: self.ignored(at, block),
            create_before_destroy: self.flag(block, "create_before_destroy"),
            replace_triggered_by: self.triggers(at, block),
            origin: at.origin.clone(),
        };
        self.desired.lifecycle.insert(at.address.clone(), lifecycle);
    }

    fn flag(&mut self, block: &Block, name: &str) -> bool {
        let Some(attribute) = block.body.get_attribute(name) else {
            return false;
        };
        let value = self.evaluator.eval(&attribute.value);
        if value.is_failed() || value.is_null() {
            return false;
        }
        if let Some(cause) = value.why_unknown() {
            let detail = format!("The value of {name} must be known before placement, but {cause}.");
            let diagnostic = Diagnostic::error("Invalid lifecycle argument", detail);
            self.evaluator.fail(&attribute.value, diagnostic);
            return false;
        }
        match convert(&value, &Type::Bool) {
            Ok(value) => value.as_bool().unwrap_or(false),
            Err(error) => {
                let detail = format!("The argument {name:?} must be true or false: {error}.");
                let diagnostic = Diagnostic::error("Invalid lifecycle argument", detail);
                self.evaluator.fail(&attribute.value, diagnostic);
                false
            }
        }
    }

    fn ignored(&mut self, at: &Place<'_>, block: &Block) -> Ignored {
        let Some(attribute) = block.body.get_attribute("ignore_changes") else {
            return Ignored::default();
        };
        let items = match &attribute.value {
            Expression::Variable(word) if word.as_str() == "all" => return Ignored::All,
            Expression::Array(items) => items,
            other => {
                let detail = "ignore_changes is a list of this block's arguments, without quotes: \
                              [power, labels]. For every one of them write: ignore_changes = all";
                let diagnostic = Diagnostic::error("Invalid ignore_changes", detail);
                self.evaluator.fail(other, diagnostic);
                return Ignored::default();
            }
        };
        let known: Vec<&str> = ROOT
            .iter()
            .find(|schema| schema.word == at.address.kind.as_str())
            .into_iter()
            .flat_map(|schema| schema.arguments)
            .map(|argument| argument.name)
            .filter(|name| !NO_ATTRIBUTES.contains(name))
            .collect();
        let mut names = BTreeSet::new();
        for item in items {
            let name = match item {
                Expression::Variable(name) => name.as_str(),
                Expression::String(name) => name.as_str(),
                _ => "",
            };
            if known.contains(&name) {
                names.insert(name.to_owned());
                continue;
            }
            let detail = if name.is_empty() {
                "Only whole arguments of this block can be ignored, each by its name: [power, labels]."
                    .to_owned()
            } else {
                format!(
                    "No {} has an argument {name:?} that could be ignored. There are {}.",
                    at.address.kind,
                    known.join(", ")
                )
            };
            let hint = did_you_mean(name, known.iter().copied());
            let diagnostic = Diagnostic::error("Invalid ignore_changes", detail).hint(hint);
            self.evaluator.fail(item, diagnostic);
        }
        Ignored::Listed(names)
    }

    fn triggers(&mut self, at: &Place<'_>, block: &Block) -> BTreeSet<Trigger> {
        let Some(attribute) = block.body.get_attribute("replace_triggered_by") else {
            return BTreeSet::new();
        };
        let Expression::Array(items) = &attribute.value else {
            self.no_trigger(&attribute.value, "It is a list of addresses");
            return BTreeSet::new();
        };
        let mut triggers = BTreeSet::new();
        for item in items {
            if let Some(trigger) = self.trigger(at, item) {
                triggers.insert(trigger);
            }
        }
        triggers
    }

    fn no_trigger(&mut self, expression: &Expression, problem: &str) {
        let detail = format!(
            "{problem}: write for example replace_triggered_by = [image.debian, flavor.small.disk, server.db[0]]"
        );
        let diagnostic = Diagnostic::error("Invalid replace_triggered_by", detail);
        self.evaluator.fail(expression, diagnostic);
    }

    fn trigger(&mut self, at: &Place<'_>, item: &Expression) -> Option<Trigger> {
        let Expression::Traversal(traversal) = item else {
            self.no_trigger(item, "Only an address can stand here, without quotes");
            return None;
        };
        let root = match &traversal.expr {
            Expression::Variable(root) => root.as_str(),
            _ => "",
        };
        let kind = Kind::ALL.iter().copied().find(|kind| kind.as_str() == root);
        let Some(kind) = kind.filter(|kind| !attributes(*kind).is_empty()) else {
            self.no_trigger(
                item,
                "Only flavors, images, groups and servers can replace a server",
            );
            return None;
        };
        let mut operators = traversal.operators.iter().map(Decorated::value).peekable();
        let Some(TraversalOperator::GetAttr(name)) = operators.next() else {
            self.no_trigger(item, "A name must follow the kind");
            return None;
        };
        let name: ResourceName = name.as_str().parse().ok()?;
        let mut key = None;
        if let Some(TraversalOperator::Index(index)) = operators.peek() {
            key = Some(self.instance_key(index)?);
            operators.next();
        }
        let attribute = match operators.next() {
            None => None,
            Some(TraversalOperator::GetAttr(attribute)) => Some(attribute.as_str().to_owned()),
            Some(_) => {
                self.no_trigger(item, "An address is a kind, a name, an instance and an attribute");
                return None;
            }
        };
        if operators.next().is_some() {
            self.no_trigger(item, "Nothing can follow the attribute");
            return None;
        }
        if let Some(attribute) = &attribute
            && !attributes(kind).contains(&attribute.as_str())
        {
            let known = attributes(kind);
            let detail = format!(
                "No {kind} has an attribute {attribute:?} whose change could be watched. There are {}.",
                known.join(", ")
            );
            let diagnostic = Diagnostic::error("Invalid replace_triggered_by", detail)
                .hint(did_you_mean(attribute, known.iter().copied()));
            self.evaluator.fail(item, diagnostic);
            return None;
        }
        let address = Address {
            modules: at.address.modules.clone(),
            kind,
            name,
            key,
        };
        Some(Trigger { address, attribute })
    }

    fn instance_key(&mut self, index: &Expression) -> Option<InstanceKey> {
        let value = self.evaluator.eval(index);
        if value.is_failed() {
            return None;
        }
        let number = value.as_number().and_then(|number| number.as_u64());
        let key = match (number, value.as_str()) {
            (Some(index), _) => Some(InstanceKey::Index(index)),
            (None, Some(key)) => Some(InstanceKey::Key(key.to_owned())),
            (None, None) => None,
        };
        if key.is_none() {
            self.no_trigger(index, "An instance is a whole number or a text that is known");
        }
        key
    }
}
