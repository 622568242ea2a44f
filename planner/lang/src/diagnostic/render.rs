//! Diagnostics for people, drawn by annotate-snippets.

use super::{Diagnostic, Diagnostics, Severity};
use crate::source::{SourceMap, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Whether escape codes for colour may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Readable in a log.
    Plain,
    /// For a terminal.
    Colour,
}

/// Columns that text is wrapped to.
const WIDTH: usize = 80;
/// Columns the renderer puts in front of a note.
const NOTE_INDENT: usize = 8;

/// Breaks a text into lines at blanks; line breaks of the text are kept.
fn wrap(text: &str) -> String {
    let room = WIDTH - NOTE_INDENT;
    let mut out = String::new();
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        let mut used = 0;
        for word in line.split(' ') {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > room {
                out.push('\n');
                used = 0;
            } else if used > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += length;
        }
    }
    out
}

/// Control characters of a hostile file would move the cursor: they are shown as escapes.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let keep = !character.is_control() || character == '\n' || character == '\t';
            let escaped = (!keep).then(|| character.escape_default()).into_iter().flatten();
            keep.then_some(character).into_iter().chain(escaped)
        })
        .collect()
}

/// The part of the text that is handed to the renderer: the lines around the place, so that printing does not
/// get slower with the size of the file.
fn window(text: &str, range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[range.end..]
        .find('\n')
        .map_or(text.len(), |at| range.end + at);
    start..end
}

fn whole_characters(text: &str, span: Span) -> std::ops::Range<usize> {
    let clamp = |byte: u32| {
        let mut byte = (byte as usize).min(text.len());
        while !text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    };
    let (start, end) = (clamp(span.start), clamp(span.end));
    start..end.max(start)
}

/// Longest line drawn; a longer one is cut to what surrounds the place.
const LONGEST_LINE: usize = 1_000;

fn snippet<'a>(
    sources: &'a SourceMap,
    span: Span,
    kind: AnnotationKind,
    label: &str,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let file = sources.file(span.file);
    let text = file.text();
    let mut place = whole_characters(text, span);
    // Only the first lines of a long place are drawn.
    if place.len() > LONGEST_LINE {
        let end = whole_characters(
            text,
            Span {
                end: span.start + 200,
                ..span
            },
        );
        place.end = end.end;
    }
    let mut shown = window(text, place.clone());
    if shown.len() > LONGEST_LINE * 2 {
        let around = whole_characters(
            text,
            Span {
                start: u32::try_from(place.start.saturating_sub(100))
                    .unwrap_or(0)
                    .max(u32::try_from(shown.start).unwrap_or(0)),
                end: u32::try_from(place.end + 100)
                    .unwrap_or(u32::MAX)
                    .min(u32::try_from(shown.end).unwrap_or(u32::MAX)),
                file: span.file,
            },
        );
        shown = around;
    }
    let line = file.position(shown.start).line;
    let source: String = text[shown.clone()]
        .chars()
        .flat_map(|character| {
            // One byte for one byte keeps the offsets right.
            let plain = !character.is_control() || matches!(character, '\n' | '\t' | '\r');
            let width = if plain { 0 } else { character.len_utf8() };
            plain
                .then_some(character)
                .into_iter()
                .chain(std::iter::repeat_n('?', width))
        })
        .collect();
    let range = place.start - shown.start..place.end - shown.start;
    let annotation = kind.span(range);
    let annotation = if label.is_empty() {
        annotation
    } else {
        annotation.label(printable(label))
    };
    Snippet::source(source)
        .line_start(line)
        .path(file.path())
        .annotation(annotation)
}

impl Diagnostic {
    /// For people: summary, the lines with the place marked, the detail, the values, the hint.
    #[must_use]
    pub fn render(&self, sources: &SourceMap, style: Style) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group: Group<'_> = match self.span {
            None => Group::with_title(level.primary_title(printable(&self.summary))),
            Some(span) => {
                let label = self
                    .context
                    .as_ref()
                    .map(|context| format!("in {context}"))
                    .unwrap_or_default();
                level.primary_title(printable(&self.summary)).element(snippet(
                    sources,
                    span,
                    AnnotationKind::Primary,
                    &label,
                ))
            }
        };
        for label in &self.labels {
            group = group.element(snippet(sources, label.span, AnnotationKind::Context, &label.text));
        }
        if !self.detail.is_empty() {
            group = group.element(Level::NOTE.no_name().message(wrap(&printable(&self.detail))));
        }
        for value in &self.values {
            let text = format!("{} {}", value.traversal, value.statement);
            group = group.element(Level::NOTE.no_name().message(wrap(&printable(&text))));
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(wrap(&printable(hint))));
        }
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Colour => Renderer::styled(),
        };
        renderer.term_width(WIDTH).render(&[group])
    }
}

impl Diagnostics {
    /// All of them for people, errors first, with a blank line between; empty where there is nothing.
    #[must_use]
    pub fn render(&self, sources: &SourceMap, style: Style) -> String {
        let mut out: Vec<String> = self
            .sorted()
            .into_iter()
            .map(|diagnostic| diagnostic.render(sources, style))
            .collect();
        if self.dropped() > 0 {
            out.push(format!("More was found; only the first {} are shown.", out.len()));
        }
        let mut text = out.join("\n\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}
