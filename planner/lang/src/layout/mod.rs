//! The layout of files as `drover fmt` writes them: two blanks per level, one blank between words, `=` and
//! comments of neighbouring lines below each other. Only blanks change: every other piece stays as it is and
//! where it is, comments included.

mod tokens;

use crate::config::InputFile;
use crate::diagnostic::Diagnostics;
use crate::source::{FileId, SourceMap};
use tokens::{Kind, Token, tokens};
use unicode_segmentation::UnicodeSegmentation as _;

/// A file with its layout put in order.
///
/// # Errors
/// What is wrong with its syntax, and the text that the places are in.
pub fn arrange_file(input: &InputFile) -> Result<String, (Diagnostics, SourceMap)> {
    let mut sources = SourceMap::default();
    let mut found = Diagnostics::default();
    let Some(file) = crate::config::add_text(&mut sources, input, &mut found) else {
        return Err((found, sources));
    };
    arrange(&sources, file).map_err(|found| (found, sources))
}

/// The text with its layout put in order. A text with mistakes in its syntax is left alone: they are reported.
///
/// # Errors
/// What is wrong with its syntax.
pub fn arrange(sources: &SourceMap, file: FileId) -> Result<String, Diagnostics> {
    let mut found = Diagnostics::default();
    let (_, whole) = crate::config::parse_text(sources, file, &mut found);
    if !whole || found.has_errors() {
        return Err(found);
    }
    let tokens = tokens(sources.file(file).text());
    let mut lines: Vec<Line<'_>> = tokens
        .split_inclusive(|token| token.kind == Kind::Newline)
        .map(Line::new)
        .collect();
    indent(&mut lines);
    align(&mut lines);
    let mut out = String::new();
    for line in &lines {
        line.write(&mut out);
    }
    Ok(out)
}

/// Whether a bracket, a quoted text or a heredoc in this text is not closed yet.
pub(crate) fn is_unfinished(text: &str) -> bool {
    let tokens = tokens(text);
    let brackets = Brackets::of(&tokens);
    let open = tokens.last().is_some_and(|last| match last.kind {
        Kind::Heredoc => !last.is_closed_heredoc(),
        Kind::Inline => !last.text.ends_with("*/"),
        Kind::Name
        | Kind::Number
        | Kind::Quoted
        | Kind::Comment
        | Kind::Open
        | Kind::Close
        | Kind::Operator
        | Kind::Newline => false,
    });
    open || brackets.opened > brackets.closed
}

/// One line in the parts that are put below those of its neighbours.
struct Line<'t> {
    indent: usize,
    /// What stands before `=`, or all of the line.
    head: String,
    /// From `=` on, where a whole expression follows it on this line.
    value: Option<String>,
    comment: Option<&'t str>,
    /// Blanks before `=` and before the comment.
    gaps: [usize; 2],
    brackets: Brackets,
}

/// How a line changes the number of open brackets.
struct Brackets {
    opened: usize,
    closed: usize,
}

impl Brackets {
    fn of(tokens: &[Token<'_>]) -> Self {
        let count = |kind: Kind| tokens.iter().filter(|token| token.kind == kind).count();
        Self {
            opened: count(Kind::Open),
            closed: count(Kind::Close),
        }
    }
}

impl<'t> Line<'t> {
    fn new(tokens: &[Token<'t>]) -> Self {
        let tokens = match tokens.split_last() {
            Some((last, before)) if last.kind == Kind::Newline => before,
            Some(_) | None => tokens,
        };
        let (tokens, comment) = match tokens.split_last() {
            Some((last, before)) if last.kind == Kind::Comment && !before.is_empty() => {
                (before, Some(last.text))
            }
            Some(_) | None => (tokens, None),
        };
        let brackets = Brackets::of(tokens);
        let equals = tokens
            .iter()
            .skip(1)
            .position(|token| token.is("="))
            .map(|at| at + 1);
        let cut = equals.filter(|at| {
            let after = Brackets::of(&tokens[*at..]);
            after.opened == after.closed
        });
        let (head, value) = match cut {
            Some(at) => (spaced(&tokens[..at]), Some(spaced(&tokens[at..]))),
            None => (spaced(tokens), None),
        };
        Self {
            indent: 0,
            head,
            value,
            comment,
            gaps: [1, 1],
            brackets,
        }
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    fn write(&self, out: &mut String) {
        let blanks = |number: usize| std::iter::repeat_n(' ', number);
        if !self.is_empty() {
            out.extend(blanks(self.indent * 2));
            out.push_str(&self.head);
            if let Some(value) = &self.value {
                out.extend(blanks(self.gaps[0]));
                out.push_str(value);
            }
            if let Some(comment) = self.comment {
                out.extend(blanks(self.gaps[1]));
                out.push_str(comment);
            }
        }
        out.push('\n');
    }
}

fn width(text: &str) -> usize {
    // Only the last line of a piece that has several counts: what follows it stands there.
    let last = text.rsplit('\n').next().unwrap_or(text);
    last.graphemes(true).count()
}

/// Gives each line its level, as Terraform does: brackets that one line opens are one level, however many they are,
/// and a line that closes as many as it opens stands on the level that it leaves open, `}, {` too.
fn indent(lines: &mut [Line<'_>]) {
    // How many brackets are open on each level.
    let mut levels: Vec<usize> = Vec::new();
    for line in lines {
        let Brackets { opened, closed } = line.brackets;
        let mut left = closed.saturating_sub(opened);
        while left > 0
            && let Some(last) = levels.last_mut()
        {
            let closing = left.min(*last);
            *last -= closing;
            left -= closing;
            if *last == 0 {
                levels.pop();
            }
        }
        line.indent = levels.len();
        if opened > closed {
            levels.push(opened - closed);
        }
    }
}

/// Puts `=` and comments of neighbouring lines below each other.
fn align(lines: &mut [Line<'_>]) {
    let same_column = |lines: &mut [Line<'_>], part: usize, has: &dyn Fn(&Line<'_>) -> Option<usize>| {
        let mut start = 0;
        while start < lines.len() {
            let widths: Vec<usize> = lines[start..].iter().map_while(has).collect();
            let widest = widths.iter().copied().max().unwrap_or(0);
            for (line, width) in lines[start..].iter_mut().zip(&widths) {
                line.gaps[part] = widest - width + 1;
            }
            start += widths.len().max(1);
        }
    };
    same_column(lines, 0, &|line| {
        line.value.as_ref()?;
        // From the left edge, as Terraform: `{ x = 1` may be followed by lines of the level that it opens.
        Some(line.indent * 2 + width(&line.head))
    });
    same_column(lines, 1, &|line| {
        line.comment?;
        let value = line.value.as_ref().map_or(0, |value| line.gaps[0] + width(value));
        Some(line.indent * 2 + width(&line.head) + value)
    });
}

/// Pieces of one line with the blanks that belong between them.
fn spaced(tokens: &[Token<'_>]) -> String {
    let mut out = String::new();
    for (at, token) in tokens.iter().enumerate() {
        if let Some(before) = at.checked_sub(1).map(|at| &tokens[at])
            && blank_between(at.checked_sub(2).map(|at| &tokens[at]), before, token)
        {
            out.push(' ');
        }
        out.push_str(token.text);
    }
    out
}

/// Whether a blank belongs between two pieces; `earlier` stands before them.
fn blank_between(earlier: Option<&Token<'_>>, left: &Token<'_>, right: &Token<'_>) -> bool {
    let glued = |token: &Token<'_>| token.is(".") || token.is("::");
    if glued(left) || glued(right) || right.is(",") || right.is("...") {
        return false;
    }
    if left.is(",") {
        return true;
    }
    // `in [` is no index, and `if (` and `in (` are no calls.
    let word = left.kind == Kind::Name && earlier.is_some() && (left.is("in") || left.is("if"));
    if left.kind == Kind::Name && right.is("(") {
        return word;
    }
    if right.is("[") && (matches!(left.kind, Kind::Name | Kind::Number) || left.kind == Kind::Close) {
        return word;
    }
    if left.is("!") {
        return false;
    }
    if left.is("-") && is_sign(earlier) {
        return false;
    }
    if left.is("{") || right.is("}") {
        return !(left.is("{") && right.is("}"));
    }
    left.kind != Kind::Open && right.kind != Kind::Close
}

/// Whether a minus after this stands for a negative number and not for a difference.
fn is_sign(before: Option<&Token<'_>>) -> bool {
    match before {
        None => true,
        Some(token) => match token.kind {
            Kind::Open | Kind::Comment | Kind::Inline | Kind::Newline => true,
            Kind::Operator => !token.is("..."),
            Kind::Name => token.is("in") || token.is("if"),
            Kind::Number | Kind::Quoted | Kind::Heredoc | Kind::Close => false,
        },
    }
}
