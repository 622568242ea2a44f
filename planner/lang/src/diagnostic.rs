//! What is wrong with the files, gathered until everything was looked at. Printing is in the submodules.

mod json;
mod render;
mod suggest;

pub use json::{DiagnosticJson, RangeJson, SnippetJson, ValueJson};
pub use render::Style;
pub(crate) use suggest::{MOST as MOST_COMPARED, did_you_mean};

use crate::source::Span;
use serde::Serialize;
use std::collections::BTreeSet;

/// How bad it is. Errors sort before warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing may be planned.
    Error,
    /// Planning goes on.
    Warning,
}

/// A second place that belongs to the mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is there.
    pub text: String,
}

/// A reference within the faulty expression and what it stood for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ReferenceValue {
    /// As written, for example `var.names`.
    pub traversal: String,
    /// For example `is 5` or `is list of string with 5 elements`.
    pub statement: String,
}

/// One mistake or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The kind of mistake, a few words.
    pub summary: String,
    /// What is wrong with which object, and what to write instead.
    pub detail: String,
    /// The exact place, where there is one.
    pub span: Option<Span>,
    /// The block it is in, for example `server "web"`.
    pub context: Option<String>,
    /// Other places that belong to it.
    pub labels: Vec<Label>,
    /// What the references in the expression stood for.
    pub values: Vec<ReferenceValue>,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error without a place yet.
    #[must_use]
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            summary: summary.into(),
            detail: detail.into(),
            span: None,
            context: None,
            labels: Vec::new(),
            values: Vec::new(),
            hint: None,
        }
    }

    /// A warning without a place yet.
    #[must_use]
    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(summary, detail)
        }
    }

    /// With this place.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// With this place, where there is one.
    #[must_use]
    pub fn at_maybe(mut self, span: Option<Span>) -> Self {
        self.span = span.or(self.span);
        self
    }

    /// Within this block.
    #[must_use]
    pub fn within(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// With a second place.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// With what was probably meant; nothing changes for `None`.
    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

/// Most diagnostics kept of one run: more would only bury the first ones.
const MAX_DIAGNOSTICS: usize = 1_000;

/// Everything found so far. The same mistake at the same place is kept once, however many instances meet it.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// What was pushed, and under which name at its place.
    seen: BTreeSet<(Severity, Option<Span>, String)>,
    names: Vec<String>,
    errors: usize,
    dropped: usize,
}

impl Diagnostics {
    /// Adds one. Of two with the same place and summary only the first is kept; without a place, the detail
    /// counts too.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if diagnostic.span.is_none() {
            return self.push_distinct(diagnostic);
        }
        self.push_as(diagnostic.summary.clone(), diagnostic);
    }

    fn push_as(&mut self, name: String, diagnostic: Diagnostic) {
        let key = (diagnostic.severity, diagnostic.span, name.clone());
        if self.list.len() >= MAX_DIAGNOSTICS {
            self.errors += usize::from(diagnostic.severity == Severity::Error);
            self.dropped += 1;
            return;
        }
        if self.seen.insert(key) {
            self.errors += usize::from(diagnostic.severity == Severity::Error);
            self.list.push(diagnostic);
            self.names.push(name);
        }
    }

    /// Adds one of several mistakes that stand at the same place, such as arguments that one block lacks: of two
    /// with the same place and summary the detail tells them apart.
    pub(crate) fn push_distinct(&mut self, diagnostic: Diagnostic) {
        let mut key = diagnostic.summary.clone();
        key.push('\n');
        key.push_str(&diagnostic.detail);
        self.push_as(key, diagnostic);
    }

    /// Adds all of another collection.
    pub fn extend(&mut self, other: Self) {
        for (diagnostic, name) in other.list.into_iter().zip(other.names) {
            self.push_as(name, diagnostic);
        }
        self.dropped += other.dropped;
    }

    /// The same, with nothing worse than a warning among them.
    pub(crate) fn into_warnings(self) -> Self {
        let mut all = Self::default();
        for (mut diagnostic, name) in self.list.into_iter().zip(self.names) {
            diagnostic.severity = Severity::Warning;
            all.push_as(name, diagnostic);
        }
        all.dropped += self.dropped;
        all
    }

    /// Whether there is an error among them.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many were kept.
    pub(crate) fn count(&self) -> usize {
        self.list.len() + self.dropped
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many were not kept because there were too many; the same one may be counted twice.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Errors first, each severity by file and place, those without a place first.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<&Diagnostic> = self.list.iter().collect();
        all.sort_by_key(|diagnostic| (diagnostic.severity, diagnostic.span));
        all
    }
}
