//! `dynamic` blocks: a block that stands in another once for each item of a collection.

use super::blocks::DYNAMIC;
use super::declarations::Declared;
use super::schema::title;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::eval::Evaluator;
use crate::value::{Kind, Type, Value, convert};
use hcl::edit::expr::Expression;
use hcl::edit::structure::{Block, BlockLabel};
use hcl::edit::{Decorated, Ident};
use std::sync::Arc;

/// A block in another: one that is written there, or one that a `dynamic` block makes.
pub(super) struct Inner {
    pub(super) declared: Declared,
    /// The name that its content knows the item by, and the item.
    item: Option<(Arc<str>, Value)>,
}

impl Inner {
    /// Evaluates something of the block with its item known.
    pub(super) fn within<T>(
        &self,
        evaluator: &mut Evaluator<'_>,
        read: impl FnOnce(&Declared, &mut Evaluator<'_>) -> T,
    ) -> T {
        let before = evaluator.bound();
        if let Some((name, item)) = &self.item {
            // The same expressions stand for something else with each item.
            evaluator.forget_expressions();
            evaluator.bind_name(name, item.clone());
        }
        let result = read(&self.declared, evaluator);
        evaluator.unbind(before);
        result
    }
}

/// The name by which the content of a `dynamic` block knows its item.
pub(super) fn iterator(block: &Block) -> &str {
    let named = block
        .body
        .get_attribute("iterator")
        .map(|attribute| &attribute.value);
    match named {
        Some(Expression::Variable(name)) => name.as_str(),
        Some(_) | None => block.labels.first().map_or("", |label| label.as_str()),
    }
}

/// The blocks with this name in `declared`, those that `dynamic` blocks make included; nothing where a collection
/// is wrong or not known, which is reported.
pub(super) fn inner(declared: &Declared, word: &str, evaluator: &mut Evaluator<'_>) -> Option<Vec<Inner>> {
    debug_assert!(DYNAMIC.contains(&word));
    let mut all: Vec<Inner> = Vec::new();
    let mut complete = true;
    for block in declared.block.body.blocks() {
        if block.ident.as_str() == word {
            all.push(Inner {
                declared: part(declared, block, block.clone()),
                item: None,
            });
        } else if block.ident.as_str() == "dynamic"
            && block.labels.first().is_some_and(|label| label.as_str() == word)
        {
            match made(declared, word, block, evaluator) {
                Some(made) => all.extend(made),
                None => complete = false,
            }
        }
    }
    complete.then_some(all)
}

/// The only block with this name; that there are several is reported.
pub(super) fn only(declared: &Declared, word: &str, evaluator: &mut Evaluator<'_>) -> Option<Option<Inner>> {
    let mut all = inner(declared, word, evaluator)?;
    // Several that are written out were reported with the structure of the file.
    if all.len() > 1 && all.iter().any(|one| one.item.is_some()) {
        let place = all
            .iter()
            .find(|one| one.item.is_some())
            .and_then(|one| one.declared.header);
        let detail = format!(
            "Only one {word:?} block may stand here, but there are {} in all.",
            all.len()
        );
        evaluator.report(Diagnostic::error("Duplicate block", detail).at_maybe(place));
        return None;
    }
    all.truncate(1);
    Some(all.pop())
}

fn part(declared: &Declared, written: &Block, block: Block) -> Declared {
    Declared {
        file: declared.file,
        name: block.labels.first().map_or("", |label| label.as_str()).into(),
        header: super::schema::header(declared.file, written),
        title: format!("{}, {}", declared.title, title(written)),
        block,
        check: None,
    }
}

/// The blocks that a `dynamic` block makes.
fn made(declared: &Declared, word: &str, block: &Block, evaluator: &mut Evaluator<'_>) -> Option<Vec<Inner>> {
    // What is missing was reported with the structure of the file.
    let for_each = &block.body.get_attribute("for_each")?.value;
    let content = block.body.get_blocks("content").next()?;
    let name: Arc<str> = iterator(block).into();
    let collection = evaluator.eval(for_each);
    let mut all = Vec::new();
    for (key, value) in items(&collection, for_each, evaluator)? {
        let item = Value::object([(Arc::from("key"), key), (Arc::from("value"), value)]);
        let mut one = content.clone();
        one.ident = Decorated::new(Ident::new(word));
        let mut inner = Inner {
            declared: part(declared, block, one),
            item: Some((name.clone(), item)),
        };
        let labels = block.body.get_attribute("labels").map(|labels| &labels.value);
        let labels = match labels {
            Some(labels) => inner.within(evaluator, |_, evaluator| read_labels(labels, evaluator))?,
            None => Vec::new(),
        };
        inner.declared.name = labels.first().map_or("", String::as_str).into();
        inner.declared.block.labels = labels.into_iter().map(BlockLabel::from).collect();
        all.push(inner);
    }
    Some(all)
}

/// Keys and values of a collection; nothing, and reported, where it is none or not known.
fn items(
    collection: &Value,
    expression: &Expression,
    evaluator: &mut Evaluator<'_>,
) -> Option<Vec<(Value, Value)>> {
    if collection.is_failed() {
        return None;
    }
    let problem = match collection.kind() {
        Kind::List(items) | Kind::Tuple(items) => {
            let keyed = (0_u64..).zip(items.iter());
            return Some(
                keyed
                    .map(|(at, item)| (Value::from(crate::value::Number::from(at)), item.clone()))
                    .collect(),
            );
        }
        Kind::Set(items) => return Some(items.iter().map(|item| (item.clone(), item.clone())).collect()),
        Kind::Map(fields) | Kind::Object(fields) => {
            let fields = fields.iter();
            return Some(
                fields
                    .map(|(name, value)| (Value::from(name.clone()), value.clone()))
                    .collect(),
            );
        }
        Kind::Unknown(unknown) => format!(
            "How many blocks there are must be known, but {}.",
            unknown.cause()
        ),
        Kind::Null => "for_each is null. Write a list, map or set; an empty one for no block.".to_owned(),
        Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => format!(
            "for_each takes a list, map or set, but this is {}.",
            Type::of(collection).friendly()
        ),
    };
    evaluator.fail(
        expression,
        Diagnostic::error("Invalid dynamic for_each value", problem),
    );
    None
}

fn read_labels(expression: &Expression, evaluator: &mut Evaluator<'_>) -> Option<Vec<String>> {
    let value = evaluator.eval(expression);
    if value.is_failed() {
        return None;
    }
    let texts = convert(&value, &Type::list(Type::String)).ok();
    let texts: Option<Vec<String>> = texts.as_ref().and_then(Value::as_items).and_then(|items| {
        items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect()
    });
    if texts.is_none() {
        let detail = "labels must be a list of known texts, one for each label of the block.";
        evaluator.fail(expression, Diagnostic::error("Invalid dynamic labels", detail));
    }
    texts
}

/// Why a `dynamic` block may not make blocks of this name, if it may not.
pub(super) fn refused(word: &str, known: &[&'static str]) -> Option<Diagnostic> {
    if !known.contains(&word) {
        let detail = format!(
            "Blocks of type {word:?} are not expected here. There are {}.",
            known.join(", ")
        );
        let diagnostic = Diagnostic::error("Unsupported block type", detail);
        return Some(diagnostic.hint(did_you_mean(word, known.iter().copied())));
    }
    if DYNAMIC.contains(&word) {
        return None;
    }
    let detail = format!(
        "{word:?} blocks cannot be dynamic: they are read before anything is computed, as in Terraform."
    );
    Some(Diagnostic::error("Invalid dynamic block", detail))
}
