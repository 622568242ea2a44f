//! What the files declare, by name, with everything that can be said about it before anything is evaluated.

use super::schema::{header, title};
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::eval::DataKind;
use crate::source::{FileId, Span};
use drover_types::{HostName, Kind, ResourceName, VariableName};
use hcl::edit::Span as _;
use hcl::edit::expr::Expression;
use hcl::edit::structure::{Block, BlockLabel, Body, Structure};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A block that declares something by name.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) file: FileId,
    pub(super) name: Arc<str>,
    pub(super) block: Block,
    /// From the block's type to its label.
    pub(super) header: Option<Span>,
    /// For messages: `server "web"`.
    pub(super) title: String,
    /// The check that it stands in, whose asserts alone know it.
    pub(super) check: Option<Arc<str>>,
}

impl Declared {
    /// The expression of an argument.
    pub(super) fn argument(&self, name: &str) -> Option<&Expression> {
        self.block
            .body
            .get_attribute(name)
            .map(|attribute| &attribute.value)
    }

    /// Whether it may have several instances.
    pub(super) fn is_repeated(&self) -> bool {
        self.argument("count").is_some() || self.argument("for_each").is_some()
    }

    /// The place of an expression in this block.
    pub(super) fn span(&self, expression: &impl hcl::edit::Span) -> Option<Span> {
        expression.span().map(|range| Span::new(self.file, range))
    }
}

/// One local value.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) file: FileId,
    pub(super) value: Expression,
    pub(super) name_span: Option<Span>,
}

/// Everything declared, in the order of the files.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    pub(super) settings: Option<Declared>,
    pub(super) variables: BTreeMap<Arc<str>, Declared>,
    pub(super) locals: BTreeMap<Arc<str>, Local>,
    pub(super) resources: BTreeMap<(Kind, Arc<str>), Declared>,
    pub(super) outputs: BTreeMap<Arc<str>, Declared>,
    pub(super) checks: BTreeMap<Arc<str>, Declared>,
    /// `data` blocks, those in checks too.
    pub(super) data: BTreeMap<(DataKind, Arc<str>), Declared>,
    /// The `data` block in each check that has one.
    pub(super) scoped: BTreeMap<Arc<str>, (DataKind, Arc<str>)>,
    /// `module` blocks.
    pub(super) calls: BTreeMap<Arc<str>, Declared>,
    pub(super) moved: Vec<Declared>,
    pub(super) removed: Vec<Declared>,
    pub(super) imports: Vec<Declared>,
}

/// Names that are taken by what expressions can begin with or by later needs.
const RESERVED_VARIABLES: [&str; 8] = [
    "source",
    "version",
    "providers",
    "count",
    "for_each",
    "lifecycle",
    "depends_on",
    "locals",
];

impl Declarations {
    /// Takes over the blocks of a file that was checked against the schema.
    pub(super) fn add(&mut self, file: FileId, body: Body, found: &mut Diagnostics) {
        for structure in body {
            let Structure::Block(block) = structure else {
                continue;
            };
            let header = header(file, &block);
            let title = title(&block);
            let word = block.ident.as_str().to_owned();
            if word == "locals" {
                self.add_locals(file, block.body, found);
                continue;
            }
            if word == "data" {
                self.add_data(file, block, None, found);
                continue;
            }
            let name: Arc<str> = block.labels.first().map_or("", |label| label.as_str()).into();
            let label = block
                .labels
                .first()
                .and_then(|label| label.span())
                .map(|range| Span::new(file, range));
            let mut declared = Declared {
                file,
                name: name.clone(),
                block,
                header,
                title,
                check: None,
            };
            let kind = Kind::ALL.iter().copied().find(|kind| kind.as_str() == word);
            match (word.as_str(), kind) {
                ("drover", _) => match &self.settings {
                    Some(first) => found.push(duplicate(
                        &declared,
                        first.header,
                        "Only one drover block may be declared.",
                    )),
                    None => self.settings = Some(declared),
                },
                ("moved", _) => self.moved.push(declared),
                ("removed", _) => self.removed.push(declared),
                ("import", _) => self.imports.push(declared),
                (_, None) if declared.block.labels.is_empty() => {}
                ("variable", _) => {
                    if RESERVED_VARIABLES.contains(&&*name) {
                        let detail =
                            format!("The name {name:?} is reserved. Choose another name for the variable.");
                        found.push(
                            Diagnostic::error("Invalid variable name", detail)
                                .at_maybe(label)
                                .within(&declared.title),
                        );
                    }
                    check_name::<VariableName>(&declared, label, found);
                    insert(&mut self.variables, name, declared, found);
                }
                ("module", _) => {
                    check_name::<ResourceName>(&declared, label, found);
                    insert(&mut self.calls, name, declared, found);
                }
                ("output", _) => {
                    check_name::<VariableName>(&declared, label, found);
                    insert(&mut self.outputs, name, declared, found);
                }
                ("check", _) => {
                    check_name::<VariableName>(&declared, label, found);
                    if declared.block.body.get_blocks("assert").next().is_none() {
                        let detail =
                            "A check needs at least one assert { condition = ..., error_message = ... }.";
                        found.push(
                            Diagnostic::error("Missing assert block", detail)
                                .at_maybe(declared.header)
                                .within(&declared.title),
                        );
                    }
                    for data in declared.block.body.remove_blocks("data") {
                        self.add_data(file, data, Some(&declared), found);
                    }
                    insert(&mut self.checks, name, declared, found);
                }
                (_, Some(kind)) if !declared.block.labels.is_empty() => {
                    if kind == Kind::Host {
                        check_name::<HostName>(&declared, label, found);
                    } else {
                        check_name::<ResourceName>(&declared, label, found);
                    }
                    match self.resources.get(&(kind, name.clone())) {
                        Some(first) => {
                            let detail = format!(
                                "A {kind} named {name:?} is declared twice. Each {kind} needs a name of its own."
                            );
                            found.push(duplicate(&declared, first.header, &detail));
                        }
                        None => {
                            self.resources.insert((kind, name), declared);
                        }
                    }
                }
                (_, _) => {}
            }
        }
    }

    /// Takes over a `data` block; `check` is the block that it stands in.
    fn add_data(&mut self, file: FileId, block: Block, check: Option<&Declared>, found: &mut Diagnostics) {
        let [kind, name] = block.labels.as_slice() else {
            return;
        };
        let place = |label: &BlockLabel| label.span().map(|range| Span::new(file, range));
        let (kind_place, name_place) = (place(kind), place(name));
        let (kind, name): (String, Arc<str>) = (kind.as_str().to_owned(), name.as_str().into());
        let declared = Declared {
            file,
            name: name.clone(),
            header: header(file, &block),
            title: match check {
                Some(check) => format!("{}, {}", check.title, title(&block)),
                None => title(&block),
            },
            block,
            check: check.map(|check| check.name.clone()),
        };
        if check.is_some() {
            refuse_repetition_and_conditions(&declared, found);
        }
        let Some(kind) = DataKind::named(&kind) else {
            let known = DataKind::ALL.map(DataKind::as_str);
            let detail = format!(
                "There is no data of type {kind:?}. There are {}.",
                known.join(", ")
            );
            let diagnostic = Diagnostic::error("Unknown type of data", detail)
                .at_maybe(kind_place)
                .within(&declared.title);
            found.push(diagnostic.hint(did_you_mean(&kind, known)));
            return;
        };
        check_name::<ResourceName>(&declared, name_place, found);
        match self.data.get(&(kind, name.clone())) {
            Some(first) => {
                let mut detail = format!("A data block of type {kind} named {name:?} is declared twice.");
                if declared.check.is_some() || first.check.is_some() {
                    detail += " One in a check needs a name of its own too.";
                }
                found.push(duplicate(&declared, first.header, &detail));
            }
            None => {
                if let Some(check) = &declared.check {
                    self.scoped.insert(check.clone(), (kind, name.clone()));
                }
                self.data.insert((kind, name), declared);
            }
        }
    }

    fn add_locals(&mut self, file: FileId, body: Body, found: &mut Diagnostics) {
        for structure in body {
            let Structure::Attribute(attribute) = structure else {
                continue;
            };
            let name: Arc<str> = attribute.key.as_str().into();
            let name_span = attribute.key.span().map(|range| Span::new(file, range));
            if let Err(error) = name.parse::<VariableName>() {
                let diagnostic =
                    Diagnostic::error("Invalid name", format!("{name:?} is not a valid name: {error}."));
                found.push(diagnostic.at_maybe(name_span).within("locals"));
            }
            if let Some(first) = self.locals.get(&name) {
                let detail = format!("A local value named {name:?} is declared twice.");
                let mut diagnostic = Diagnostic::error("Duplicate local value", detail)
                    .at_maybe(name_span)
                    .within("locals");
                if let Some(first) = first.name_span {
                    diagnostic = diagnostic.label(first, "first declared here");
                }
                found.push(diagnostic);
                continue;
            }
            self.locals.insert(
                name,
                Local {
                    file,
                    value: attribute.value,
                    name_span,
                },
            );
        }
    }
}

/// Reports what a `data` block may have only outside of checks.
fn refuse_repetition_and_conditions(declared: &Declared, found: &mut Diagnostics) {
    let mut refuse = |summary: String, detail: &str, span: Option<Span>| {
        let diagnostic = Diagnostic::error(summary, detail);
        found.push(diagnostic.at_maybe(span).within(&declared.title));
    };
    for name in ["count", "for_each"] {
        if let Some(expression) = declared.argument(name) {
            let detail =
                "A data block in a check has neither count nor for_each. Declare it outside of the check.";
            refuse(
                format!("Invalid {name:?} argument"),
                detail,
                declared.span(expression),
            );
        }
    }
    for lifecycle in declared.block.body.get_blocks("lifecycle") {
        let detail = "A data block in a check has no conditions of its own: the check's asserts are about it. What must \
                      hold before anything is planned, stands with a data block outside of the check.";
        refuse(
            "Invalid lifecycle block".to_owned(),
            detail,
            header(declared.file, lifecycle),
        );
    }
}

fn duplicate(declared: &Declared, first: Option<Span>, detail: &str) -> Diagnostic {
    let word = declared.block.ident.as_str();
    let diagnostic =
        Diagnostic::error(format!("Duplicate {word} declaration"), detail).at_maybe(declared.header);
    match first {
        Some(first) => diagnostic.label(first, "first declared here"),
        None => diagnostic,
    }
}

fn insert(
    all: &mut BTreeMap<Arc<str>, Declared>,
    name: Arc<str>,
    declared: Declared,
    found: &mut Diagnostics,
) {
    match all.get(&name) {
        Some(first) => {
            let word = declared.block.ident.as_str();
            let detail = format!("The {word} {name:?} is declared twice.");
            found.push(duplicate(&declared, first.header, &detail));
        }
        None => {
            all.insert(name, declared);
        }
    }
}

fn check_name<T: std::str::FromStr<Err = drover_types::NameError>>(
    declared: &Declared,
    label: Option<Span>,
    found: &mut Diagnostics,
) {
    if let Err(error) = declared.name.parse::<T>() {
        let short: String = declared.name.chars().take(80).collect();
        let detail = format!("{short:?} is not a valid name: {error}.");
        found.push(
            Diagnostic::error("Invalid name", detail)
                .at_maybe(label)
                .within(&declared.title),
        );
    }
}
