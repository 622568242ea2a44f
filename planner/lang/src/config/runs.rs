//! Test files: runs that plan the configuration on hosts of given sizes, and what must hold of each.

use super::blocks::TEST_FILE;
use super::conditions::{Rule, Subject, rules};
use super::schema::{self, header};
use super::scope::{Scope, constant};
use super::variables::VariableSource;
use super::{InputFile, files};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::functions::FileReader;
use crate::source::{FileId, SourceMap, Span};
use crate::value::{Number, Type, Value};
use drover_types::{ByteSize, HostName};
use hcl::edit::Span as _;
use hcl::edit::expr::{Expression, TraversalOperator};
use hcl::edit::structure::{Block, Body};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a host of a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Processors.
    pub vcpus: u32,
    /// Memory.
    pub ram: ByteSize,
    /// Disk for servers.
    pub disk: ByteSize,
}

/// Something that a run expects not to hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    /// As written: `check.capacity`.
    pub text: String,
    /// The block, as messages name it.
    context: String,
}

/// One run of a test file.
#[derive(Debug)]
pub struct Run {
    /// Its label.
    pub name: String,
    /// Sizes of hosts.
    pub hosts: BTreeMap<HostName, Capacity>,
    /// What is expected not to hold.
    pub expected: BTreeSet<Expected>,
    /// Values of variables: the file's, then its own.
    pub variables: Vec<VariableSource>,
    block: Arc<Block>,
}

/// A test file, read.
#[derive(Debug)]
pub struct TestFile {
    /// Its path.
    pub path: String,
    /// Its runs, in order.
    pub runs: Vec<Run>,
    sources: SourceMap,
    file: Option<FileId>,
}

/// Reads a test file. With mistakes in it there are no runs.
#[must_use]
pub fn parse_test(input: &InputFile) -> (TestFile, Diagnostics) {
    let mut found = Diagnostics::default();
    let mut sources = SourceMap::default();
    let mut test = TestFile {
        path: input.path.clone(),
        runs: Vec::new(),
        sources: SourceMap::default(),
        file: None,
    };
    if let Some(file) = files::add_source(&mut sources, input, &mut found) {
        let (body, whole) = files::parse_body(&sources, file, &mut found);
        if whole {
            schema::check_body(file, &body, Some(&TEST_FILE), None, &mut found);
            let runs = read_runs(&body, &sources, file, &mut found);
            if !found.has_errors() {
                test.runs = runs;
                test.file = Some(file);
            }
        }
    }
    test.sources = sources;
    (test, found)
}

impl TestFile {
    /// The texts, for printing what is wrong with the file itself.
    #[must_use]
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }

    /// Judges the asserts of a run against what was planned; the texts are those that the places are in.
    #[must_use]
    pub fn judge(&self, run: &Run, scope: &Scope, reader: &dyn FileReader) -> (Diagnostics, SourceMap) {
        let mut sources = scope.sources().clone();
        let Some(own) = self.file else {
            return (Diagnostics::default(), sources);
        };
        let text = self.sources.file(own).text().to_owned();
        let file = sources.add(&self.path, &text);
        let asserts: Vec<Rule<'_>> = rules(&run.block.body, "assert", Subject::TestAssertion);
        let context = schema::title(&run.block);
        let found = scope.judge(&asserts, &sources, file, &context, reader);
        (found, sources)
    }

    /// A mistake that stands at a run as a whole.
    #[must_use]
    pub fn at_run(&self, run: &Run, summary: &str, detail: &str) -> Diagnostic {
        let place = self.file.and_then(|file| header(file, &run.block));
        Diagnostic::error(summary, detail)
            .at_maybe(place)
            .within(schema::title(&run.block))
    }
}

impl Run {
    /// Takes out what the run expects not to hold. What is left counts against it, warnings of checks too; the
    /// second part is what was expected and did hold.
    #[must_use]
    pub fn unexpected(&self, found: &Diagnostics) -> (Diagnostics, BTreeSet<Expected>) {
        let mut left = Diagnostics::default();
        let mut missing = self.expected.clone();
        for diagnostic in found.sorted() {
            let condition = Subject::is_summary(&diagnostic.summary)
                || diagnostic.summary == super::validations::FAILED_VALIDATION;
            let expected = self
                .expected
                .iter()
                .find(|expected| condition && diagnostic.context.as_ref() == Some(&expected.context));
            match expected {
                Some(expected) => {
                    missing.remove(expected);
                }
                None => {
                    let mut diagnostic = diagnostic.clone();
                    if condition {
                        diagnostic.severity = Severity::Error;
                    }
                    left.push_distinct(diagnostic);
                }
            }
        }
        (left, missing)
    }

    /// Whether the run expects this not to hold, by its address without a key.
    #[must_use]
    pub fn expects(&self, text: &str) -> Option<&Expected> {
        self.expected.iter().find(|expected| expected.text == text)
    }
}

/// Runs plan; the word may be written, as in Terraform's tests.
fn check_command(block: &Block, file: FileId, found: &mut Diagnostics) {
    let Some(attribute) = block.body.get_attribute("command") else {
        return;
    };
    let word = match &attribute.value {
        Expression::Variable(word) => word.as_str(),
        _ => "",
    };
    if word != "plan" {
        let place = attribute.value.span().map(|range| Span::new(file, range));
        let detail = "A run plans on the hosts that it declares, and there is no agent that could apply: command is plan.";
        found.push(Diagnostic::error("Invalid command", detail).at_maybe(place));
    }
}

fn read_runs(body: &Body, sources: &SourceMap, file: FileId, found: &mut Diagnostics) -> Vec<Run> {
    let everywhere = read_hosts(body, sources, file, found);
    let shared = values(body, sources, file);
    let mut names: BTreeMap<String, Option<Span>> = BTreeMap::new();
    let mut runs = Vec::new();
    for block in body.get_blocks("run") {
        let name = block.labels.first().map_or("", |label| label.as_str()).to_owned();
        let place = header(file, block);
        if let Some(first) = names.insert(name.clone(), place) {
            let detail = format!("Two runs have the name {name:?}.");
            let mut diagnostic = Diagnostic::error("Duplicate run", detail).at_maybe(place);
            if let Some(first) = first {
                diagnostic = diagnostic.label(first, "first one here");
            }
            found.push(diagnostic);
        }
        let mut hosts = everywhere.clone();
        hosts.extend(read_hosts(&block.body, sources, file, found));
        let expected = block
            .body
            .get_attribute("expect_failures")
            .map(|attribute| read_expected(&attribute.value, file, found))
            .unwrap_or_default();
        if expected.is_empty() && block.body.get_blocks("assert").next().is_none() {
            let detail = "A run needs at least one assert block, or expect_failures; else it tests nothing.";
            found.push(Diagnostic::error("Run without conditions", detail).at_maybe(place));
        }
        check_command(block, file, found);
        let own = values(&block.body, sources, file);
        runs.push(Run {
            name,
            hosts,
            expected,
            variables: shared.iter().cloned().chain(own).collect(),
            block: Arc::new(block.clone()),
        });
    }
    if runs.is_empty() && !found.has_errors() {
        let detail = "A test file needs at least one run \"name\" { ... }.";
        found.push(Diagnostic::error("No runs", detail).at(Span::new(file, 0..0)));
    }
    runs
}

/// The `variables` block of a body as a file of variables: the text with everything else blanked, so that places
/// are the file's own.
fn values(body: &Body, sources: &SourceMap, file: FileId) -> Option<VariableSource> {
    let block = body.get_blocks("variables").next()?;
    let text = sources.file(file).text();
    let mut kept = String::with_capacity(text.len());
    let ranges: Vec<std::ops::Range<usize>> = block
        .body
        .attributes()
        .filter_map(|attribute| attribute.span())
        .collect();
    for (at, letter) in text.char_indices() {
        if letter == '\n' || ranges.iter().any(|range| range.contains(&at)) {
            kept.push(letter);
        } else {
            kept.extend(std::iter::repeat_n(' ', letter.len_utf8()));
        }
    }
    Some(VariableSource::File {
        path: sources.file(file).path().to_owned(),
        bytes: kept.into_bytes(),
    })
}

fn read_hosts(
    body: &Body,
    sources: &SourceMap,
    file: FileId,
    found: &mut Diagnostics,
) -> BTreeMap<HostName, Capacity> {
    let mut hosts = BTreeMap::new();
    for block in body.get_blocks("host") {
        let label = block.labels.first().map_or("", |label| label.as_str());
        let Ok(name) = label.parse::<HostName>() else {
            let detail = format!("{label:?} is not a valid name of a host.");
            found.push(Diagnostic::error("Invalid name", detail).at_maybe(header(file, block)));
            continue;
        };
        let mut argument = |name: &str, ty: &Type| {
            let expression = &block.body.get_attribute(name)?.value;
            let value = constant(expression, ty, sources, file, found)?;
            Some((value, expression))
        };
        let vcpus = argument("vcpus", &Type::Number);
        let ram = argument("ram", &Type::String);
        let disk = argument("disk", &Type::String);
        let mut wrong = |expression: &Expression, detail: String| {
            let span = expression.span().map(|range| Span::new(file, range));
            found.push(Diagnostic::error("Invalid argument value", detail).at_maybe(span));
        };
        let vcpus = vcpus.and_then(|(value, expression)| {
            let number = value.as_number().and_then(Number::as_u64);
            let number = number
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| *number > 0);
            if number.is_none() {
                wrong(
                    expression,
                    "vcpus must be a whole number of at least 1.".to_owned(),
                );
            }
            number
        });
        let mut size = |given: Option<(Value, &Expression)>| {
            let (value, expression) = given?;
            match value.as_str().unwrap_or_default().parse::<ByteSize>() {
                Ok(size) => Some(size),
                Err(error) => {
                    wrong(expression, format!("{error}."));
                    None
                }
            }
        };
        let (ram, disk) = (size(ram), size(disk));
        if let (Some(vcpus), Some(ram), Some(disk)) = (vcpus, ram, disk) {
            hosts.insert(name, Capacity { vcpus, ram, disk });
        }
    }
    hosts
}

/// References to what has conditions: `var.x`, `check.x`, `output.x`, `server.x`.
fn read_expected(list: &Expression, file: FileId, found: &mut Diagnostics) -> BTreeSet<Expected> {
    let mut expected = BTreeSet::new();
    let mut wrong = |about: &Expression| {
        let detail =
            "expect_failures is a list of what has conditions: [var.x, check.x, output.x, server.x].";
        let span = about.span().map(|range| Span::new(file, range));
        found.push(Diagnostic::error("Invalid expect_failures", detail).at_maybe(span));
    };
    let Expression::Array(items) = list else {
        wrong(list);
        return expected;
    };
    for item in items.iter() {
        let named = match item {
            Expression::Traversal(traversal) => match (&traversal.expr, traversal.operators.as_slice()) {
                (Expression::Variable(root), [only]) => match only.value() {
                    TraversalOperator::GetAttr(name) => Some((root.as_str(), name.as_str())),
                    TraversalOperator::Index(_)
                    | TraversalOperator::LegacyIndex(_)
                    | TraversalOperator::AttrSplat(_)
                    | TraversalOperator::FullSplat(_) => None,
                },
                (_, _) => None,
            },
            _ => None,
        };
        match named {
            Some((root @ ("var" | "check" | "output" | "server"), name)) => {
                let word = if root == "var" { "variable" } else { root };
                expected.insert(Expected {
                    text: format!("{root}.{name}"),
                    context: format!("{word} {name:?}"),
                });
            }
            Some((_, _)) | None => wrong(item),
        }
    }
    expected
}
