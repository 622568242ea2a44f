//! Checking bodies against what [`super::blocks`] says of each block.

use super::blocks::{Argument, BlockSchema, ROOT, Times};
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::source::{FileId, Span};
use hcl::edit::Span as _;
use hcl::edit::structure::{Block, Body, Structure};
use std::collections::BTreeMap;
/// What Terraform's users would write first.
const ELSEWHERE: [(&str, &str); 5] = [
    ("resource", "write the kind itself: server \"name\" { … }"),
    ("terraform", "settings stand in the block drover { … }"),
    ("provider", "Drover needs no providers"),
    (
        "data",
        "a data block stands outside of all others, or in a check, whose asserts alone know it then",
    ),
    ("policy", "policies stand in the block drover { … }"),
];

/// The block's type and labels as written, for messages.
pub(super) fn title(block: &Block) -> String {
    let labels = block.labels.iter().map(|label| {
        let short: String = label.as_str().chars().take(40).collect();
        format!(" {short:?}")
    });
    std::iter::once(block.ident.as_str().to_owned())
        .chain(labels)
        .collect()
}

/// From the block's type to its last label.
pub(super) fn header(file: FileId, block: &Block) -> Option<Span> {
    let first = block.ident.span()?;
    let last = block
        .labels
        .last()
        .and_then(|label| label.span())
        .unwrap_or_else(|| first.clone());
    Some(Span::new(file, first.start..last.end))
}

/// Checks one body; `context` names the block it belongs to, nothing for a whole file.
pub(super) fn check_body(
    file: FileId,
    body: &Body,
    schema: Option<&'static BlockSchema>,
    context: Option<&str>,
    found: &mut Diagnostics,
) {
    let (arguments, blocks, free) = match schema {
        Some(schema) => (schema.arguments, schema.blocks, schema.free),
        None => (&[][..], ROOT, false),
    };
    let place = |diagnostic: Diagnostic, span: Option<std::ops::Range<usize>>| {
        let diagnostic = diagnostic.at_maybe(span.map(|span| Span::new(file, span)));
        match context {
            Some(context) => diagnostic.within(context),
            None => diagnostic,
        }
    };
    let mut once: BTreeMap<&str, Option<Span>> = BTreeMap::new();
    for structure in body.iter() {
        match structure {
            Structure::Attribute(attribute) => {
                let name = attribute.key.as_str();
                if free || arguments.iter().any(|argument| argument.name == name) {
                    continue;
                }
                let diagnostic = unknown_argument(name, arguments, blocks, context);
                found.push(place(diagnostic, attribute.key.span()));
            }
            Structure::Block(inner) => {
                let word = inner.ident.as_str();
                if word == "dynamic" && schema.is_some() && !blocks.is_empty() {
                    check_dynamic(file, inner, blocks, context, found);
                    continue;
                }
                let Some(schema) = blocks.iter().find(|schema| schema.word == word) else {
                    found.push(place(
                        unknown_block(inner, arguments, blocks, context),
                        inner.ident.span(),
                    ));
                    continue;
                };
                if schema.times == Times::Once
                    && let Some(first) = once.insert(word, header(file, inner))
                {
                    let detail = format!("Only one {word:?} block may stand here.");
                    let mut diagnostic = Diagnostic::error("Duplicate block", detail);
                    if let Some(first) = first {
                        diagnostic = diagnostic.label(first, "first one here");
                    }
                    found.push(place(diagnostic, inner.ident.span()));
                }
                check_block(file, inner, schema, context, found);
            }
        }
    }
}

/// Checks a block that makes others, and its content against what it makes.
fn check_dynamic(
    file: FileId,
    block: &Block,
    blocks: &'static [BlockSchema],
    outer: Option<&str>,
    found: &mut Diagnostics,
) {
    let title = title(block);
    let context = match outer {
        Some(outer) => format!("{outer}, {title}"),
        None => title,
    };
    let wrong = |diagnostic: Diagnostic, span: Option<Span>| diagnostic.at_maybe(span).within(&context);
    let [label] = block.labels.as_slice() else {
        let detail =
            "A dynamic block has one label, the type of the blocks it makes: write dynamic \"state\" { … }";
        found.push(wrong(
            Diagnostic::error("Missing label for block", detail),
            header(file, block),
        ));
        return;
    };
    let word = label.as_str();
    let known: Vec<&'static str> = blocks.iter().map(|schema| schema.word).collect();
    if let Some(refused) = super::dynamic::refused(word, &known) {
        let span = label.span().map(|range| Span::new(file, range));
        found.push(wrong(refused, span));
        return;
    }
    for attribute in block.body.attributes() {
        let name = attribute.key.as_str();
        let span = attribute.key.span().map(|range| Span::new(file, range));
        if !["for_each", "iterator", "labels"].contains(&name) {
            let detail = format!(
                "An argument named {name:?} is not expected in {context}. It has for_each, iterator, labels; what the made \
                 blocks have stands in content {{ … }}."
            );
            found.push(wrong(Diagnostic::error("Unsupported argument", detail), span));
        }
        if name == "iterator" && !matches!(attribute.value, hcl::edit::expr::Expression::Variable(_)) {
            let detail = "iterator is a name without quotes, by which the content knows its item.";
            found.push(wrong(Diagnostic::error("Invalid iterator", detail), span));
        }
    }
    if !block.body.has_attribute("for_each") {
        let detail = format!(
            "The argument \"for_each\" is required in {context}: one block is made for each of its items."
        );
        found.push(wrong(
            Diagnostic::error("Missing required argument", detail),
            header(file, block),
        ));
    }
    let mut contents = 0;
    for inner in block.body.blocks() {
        if inner.ident.as_str() != "content" {
            let detail = format!("Only one content block stands in {context}.");
            let span = inner.ident.span().map(|range| Span::new(file, range));
            found.push(wrong(Diagnostic::error("Unsupported block type", detail), span));
            continue;
        }
        contents += 1;
        if let Some(schema) = blocks.iter().find(|schema| schema.word == word) {
            check_arguments(file, inner, schema, &format!("{context}, content"), found);
        }
    }
    if contents != 1 {
        let detail = format!(
            "Exactly one content {{ … }} block is required in {context}: what is made for each item."
        );
        found.push(wrong(
            Diagnostic::error("Invalid dynamic block", detail),
            header(file, block),
        ));
    }
}

fn check_block(
    file: FileId,
    block: &Block,
    schema: &'static BlockSchema,
    outer: Option<&str>,
    found: &mut Diagnostics,
) {
    let title = title(block);
    let context = match outer {
        Some(outer) => format!("{outer}, {title}"),
        None => title,
    };
    if block.labels.len() != schema.labels.len() {
        let detail = match schema.labels {
            [] => format!(
                "A {:?} block has no label: write {} {{ … }}",
                schema.word, schema.word
            ),
            names => {
                let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
                let (number, given) = (names.len(), block.labels.len());
                let word = if number == 1 { "label" } else { "labels" };
                format!(
                    "A {:?} block has {number} {word}, this one has {given}: write {} {} {{ … }}",
                    schema.word,
                    schema.word,
                    names.join(" ")
                )
            }
        };
        let summary = if block.labels.len() < schema.labels.len() {
            "Missing label for block"
        } else {
            "Extraneous label for block"
        };
        let extra = block
            .labels
            .get(schema.labels.len())
            .and_then(|label| label.span());
        let span = extra
            .map(|range| Span::new(file, range))
            .or_else(|| header(file, block));
        found.push(Diagnostic::error(summary, detail).at_maybe(span).within(&context));
    }
    check_arguments(file, block, schema, &context, found);
}

/// Checks what stands in a block.
fn check_arguments(
    file: FileId,
    block: &Block,
    schema: &'static BlockSchema,
    context: &str,
    found: &mut Diagnostics,
) {
    for argument in schema.arguments.iter().filter(|argument| argument.required) {
        if !block.body.has_attribute(argument.name) {
            let detail = format!(
                "The argument {:?} is required in {context}, but is not set. Write for example:\n{} = {}",
                argument.name, argument.name, argument.example
            );
            let diagnostic = Diagnostic::error("Missing required argument", detail);
            found.push_distinct(diagnostic.at_maybe(header(file, block)).within(context));
        }
    }
    check_body(file, &block.body, Some(schema), Some(context), found);
}

fn unknown_argument(
    name: &str,
    arguments: &'static [Argument],
    blocks: &'static [BlockSchema],
    context: Option<&str>,
) -> Diagnostic {
    if blocks.iter().any(|block| block.word == name) {
        let detail = format!("{name:?} is a block, not an argument: write {name} {{ … }} without \"=\".");
        return Diagnostic::error("Unsupported argument", detail);
    }
    let Some(context) = context else {
        let detail = format!(
            "An argument named {name:?} cannot stand outside of a block. For a value of your own, write it in a block \
             locals {{ … }}."
        );
        return Diagnostic::error("Unsupported argument", detail);
    };
    let known: Vec<&str> = arguments.iter().map(|argument| argument.name).collect();
    let detail = format!(
        "An argument named {name:?} is not expected in {context}. It has {}.",
        known.join(", ")
    );
    Diagnostic::error("Unsupported argument", detail).hint(did_you_mean(name, known))
}

fn unknown_block(
    block: &Block,
    arguments: &'static [Argument],
    blocks: &'static [BlockSchema],
    context: Option<&str>,
) -> Diagnostic {
    let word = block.ident.as_str();
    if let Some(argument) = arguments.iter().find(|argument| argument.name == word) {
        let detail = format!(
            "{word:?} is an argument, not a block: write {word} = {}",
            argument.example
        );
        return Diagnostic::error("Unsupported block type", detail);
    }
    let known: Vec<&str> = blocks.iter().map(|block| block.word).collect();
    let place = context.map_or_else(|| "here".to_owned(), |context| format!("in {context}"));
    let known_text = if known.is_empty() {
        "It has no blocks.".to_owned()
    } else {
        format!("There are {}.", known.join(", "))
    };
    let detail = format!("Blocks of type {word:?} are not expected {place}. {known_text}");
    let hint = ELSEWHERE
        .iter()
        .find(|(other, _)| *other == word)
        .map(|(_, hint)| (*hint).to_owned());
    Diagnostic::error("Unsupported block type", detail).hint(hint.or_else(|| did_you_mean(word, known)))
}
