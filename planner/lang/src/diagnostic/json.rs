//! Diagnostics as data, in the shape of Terraform's `diagnostic` object.

use super::{Diagnostic, Diagnostics, ReferenceValue, Severity};
use crate::source::{Position, SourceMap, Span};
use serde::Serialize;

/// A reference and what it stood for.
pub type ValueJson = ReferenceValue;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RangeJson {
    /// The path as given.
    pub filename: String,
    /// First character.
    pub start: Position,
    /// First character after it.
    pub end: Position,
}

/// The lines of the place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnippetJson {
    /// The block, for example `server "web"`.
    pub context: Option<String>,
    /// The line or lines.
    pub code: String,
    /// The number of the first line, from 1.
    pub start_line: usize,
    /// Byte in `code` where the place begins.
    pub highlight_start_offset: usize,
    /// First byte in `code` after it.
    pub highlight_end_offset: usize,
    /// The references in it.
    pub values: Vec<ValueJson>,
}

/// One diagnostic as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiagnosticJson {
    /// `error` or `warning`.
    pub severity: Severity,
    /// The kind of mistake.
    pub summary: String,
    /// What is wrong and what to write instead.
    pub detail: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<RangeJson>,
    /// The text there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<SnippetJson>,
}

fn range(sources: &SourceMap, span: Span) -> RangeJson {
    let file = sources.file(span.file);
    RangeJson {
        filename: file.path().to_owned(),
        start: file.position(span.start as usize),
        end: file.position(span.end as usize),
    }
}

impl Diagnostic {
    /// As data; the hint becomes the last sentence of the detail, second places become sentences too.
    #[must_use]
    pub fn to_json(&self, sources: &SourceMap) -> DiagnosticJson {
        let mut detail = self.detail.clone();
        for label in &self.labels {
            detail.push_str(&format!(" ({}: {}.)", sources.place(label.span), label.text));
        }
        if let Some(hint) = &self.hint {
            let mut letters = hint.chars();
            let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
            detail.push_str(&format!(" {first}{}", letters.as_str()));
        }
        DiagnosticJson {
            severity: self.severity,
            summary: self.summary.clone(),
            detail,
            range: self.span.map(|span| range(sources, span)),
            snippet: self.span.map(|span| self.snippet(sources, span)),
        }
    }

    fn snippet(&self, sources: &SourceMap, span: Span) -> SnippetJson {
        let file = sources.file(span.file);
        let range = range(sources, span);
        let first = file.line_start(range.start.line);
        let code: Vec<&str> = (range.start.line..=range.end.line)
            .map(|number| file.line(number))
            .collect();
        let code = code.join("\n");
        SnippetJson {
            context: self.context.clone(),
            start_line: range.start.line,
            highlight_start_offset: (range.start.byte - first).min(code.len()),
            highlight_end_offset: (range.end.byte - first).min(code.len()),
            code,
            values: self.values.clone(),
        }
    }
}

impl Diagnostics {
    /// All of them as data, errors first.
    #[must_use]
    pub fn to_json(&self, sources: &SourceMap) -> Vec<DiagnosticJson> {
        self.sorted()
            .into_iter()
            .map(|diagnostic| diagnostic.to_json(sources))
            .collect()
    }
}
