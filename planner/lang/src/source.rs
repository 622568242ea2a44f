//! The texts that were read, and places in them. Reading files is the caller's.

use serde::Serialize;
use std::sync::Arc;

/// One text of a [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A half-open range of bytes in one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The text.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// First byte after the range.
    pub end: u32,
}

impl Span {
    /// The range `range` of `file`.
    #[must_use]
    pub fn new(file: FileId, range: std::ops::Range<usize>) -> Self {
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self {
            file,
            start: narrow(range.start),
            end: narrow(range.end.max(range.start)),
        }
    }
}

/// A place as people count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// From 0, in the whole text.
    pub byte: usize,
}

/// One text and where it came from.
#[derive(Debug, Clone)]
pub struct SourceFile {
    path: String,
    text: Arc<str>,
    line_starts: Vec<usize>,
}

impl SourceFile {
    /// The path as given, or for other origins a description such as `<--var web_count>`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The 0-based line that holds this byte.
    fn line_index(&self, byte: usize) -> usize {
        self.line_starts
            .partition_point(|start| *start <= byte)
            .saturating_sub(1)
    }

    /// The line with this number (from 1), without its line end.
    #[must_use]
    pub fn line(&self, number: usize) -> &str {
        let Some(start) = number
            .checked_sub(1)
            .and_then(|index| self.line_starts.get(index))
        else {
            return "";
        };
        let end = self.line_starts.get(number).copied().unwrap_or(self.text.len());
        self.text[*start..end].trim_end_matches(['\n', '\r'])
    }

    /// The byte at which the line with this number (from 1) begins.
    pub(crate) fn line_start(&self, number: usize) -> usize {
        number
            .checked_sub(1)
            .and_then(|index| self.line_starts.get(index))
            .copied()
            .unwrap_or(self.text.len())
    }

    /// The place of a byte; a byte within a character counts as that character's first.
    #[must_use]
    pub fn position(&self, byte: usize) -> Position {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let index = self.line_index(byte);
        let start = self.line_starts.get(index).copied().unwrap_or(0);
        Position {
            line: index + 1,
            column: self.text[start..byte].chars().count() + 1,
            byte,
        }
    }
}

/// Every text of one run, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    files: Vec<Arc<SourceFile>>,
}

impl SourceMap {
    /// What stands at this line and column (from 1, in characters) of a file, to the end of the line.
    #[must_use]
    pub fn find(&self, path: &str, line: usize, column: usize) -> Option<Span> {
        let (id, file) = self.iter().find(|(_, file)| file.path() == path)?;
        let text = file.line(line);
        let (at, _) = text.char_indices().nth(column.checked_sub(1)?)?;
        let start = file.line_start(line);
        Some(Span::new(id, start + at..start + text.len()))
    }

    /// Adds a text; a byte order mark in front is dropped.
    pub fn add(&mut self, path: impl Into<String>, text: &str) -> FileId {
        let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(text).into();
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        let id = FileId(u32::try_from(self.files.len()).expect("fewer than 2^32 files were read"));
        self.files.push(Arc::new(SourceFile {
            path: path.into(),
            text,
            line_starts,
        }));
        id
    }

    /// The text with this id.
    #[must_use]
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// Every text with its id, in the order of addition.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        (0..).map(FileId).zip(self.files.iter().map(|file| &**file))
    }

    /// The text a span covers, cut to whole characters.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        let text = self.file(span.file).text();
        text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// `path:line:column` of a span's beginning.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        let file = self.file(span.file);
        let position = file.position(span.start as usize);
        format!("{}:{}:{}", file.path, position.line, position.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let mut map = SourceMap::default();
        let id = map.add("a.hcl", "\u{feff}é = 1\r\nb = 2");
        let file = map.file(id);
        assert_eq!(
            file.position(3),
            Position {
                line: 1,
                column: 3,
                byte: 3
            }
        );
        assert_eq!(file.position(1).byte, 0, "inside é");
        assert_eq!(file.line(1), "é = 1");
        assert_eq!(file.line(2), "b = 2");
        assert_eq!(file.line(3), "");
        assert_eq!(file.position(999).line, 2);
        assert_eq!(map.place(Span::new(id, 8..9)), "a.hcl:2:1");
    }
}
