//! A text in the pieces that layout moves about. Quoted texts, heredocs and comments are one piece each: what is
//! in them is not touched.

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    /// A quoted text with everything in it.
    Quoted,
    /// From `<<` to the end of the marker that closes it.
    Heredoc,
    /// To the end of the line.
    Comment,
    /// `/* … */`
    Inline,
    Open,
    Close,
    Operator,
    Newline,
}

/// One piece of a text, without the blanks around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
}

impl Token<'_> {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text && matches!(self.kind, Kind::Operator | Kind::Open | Kind::Close | Kind::Name)
    }

    /// Whether the marker that closes a heredoc was found.
    pub(super) fn is_closed_heredoc(&self) -> bool {
        let mut lines = self.text.lines();
        let marker = lines.next().unwrap_or_default();
        let marker = marker.trim_start_matches('<').trim_start_matches('-').trim();
        lines.next_back().is_some_and(|last| last.trim() == marker)
    }
}

/// Operators of more than one character, longer ones first.
const OPERATORS: [&str; 10] = ["...", "==", "!=", "<=", ">=", "=>", "&&", "||", "::", "<<"];

/// Cuts a text into pieces; blanks between them are dropped.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = match first {
            ' ' | '\t' | '\r' | '\u{feff}' => {
                rest = &rest[first.len_utf8()..];
                continue;
            }
            '\n' => (Kind::Newline, 1),
            '#' => (Kind::Comment, line(rest)),
            '/' if rest.starts_with("//") => (Kind::Comment, line(rest)),
            '/' if rest.starts_with("/*") => {
                (Kind::Inline, rest.find("*/").map_or(rest.len(), |end| end + 2))
            }
            '"' => (Kind::Quoted, quoted(rest)),
            '<' if heredoc(rest).is_some() => (Kind::Heredoc, heredoc(rest).unwrap_or(rest.len())),
            '(' | '[' | '{' => (Kind::Open, 1),
            ')' | ']' | '}' => (Kind::Close, 1),
            first if first.is_ascii_digit() => (Kind::Number, number(rest)),
            first if first == '_' || unicode_ident::is_xid_start(first) => (
                Kind::Name,
                rest.find(|letter: char| !is_of_name(letter))
                    .unwrap_or(rest.len()),
            ),
            other => (
                Kind::Operator,
                OPERATORS
                    .iter()
                    .find(|operator| rest.starts_with(**operator))
                    .map_or(other.len_utf8(), |operator| operator.len()),
            ),
        };
        let (piece, after) = rest.split_at(length);
        let text = if kind == Kind::Comment {
            piece.trim_end()
        } else {
            piece
        };
        found.push(Token { kind, text });
        rest = after;
    }
    found
}

/// Whether it may stand within a name, as the parser has it: marks that belong to a letter may too.
fn is_of_name(letter: char) -> bool {
    letter == '-' || unicode_ident::is_xid_continue(letter)
}

/// The length of what is left of the line.
fn line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

fn number(text: &str) -> usize {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(text);
    if let Some(fraction) = text[length..].strip_prefix('.')
        && digits(fraction) > 0
    {
        length += 1 + digits(fraction);
    }
    if let Some(exponent) = text[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        if digits(&exponent[sign..]) > 0 {
            length += 1 + sign + digits(&exponent[sign..]);
        }
    }
    length
}

/// The length of a quoted text; what stands in `${ }` and `%{ }` may hold others.
fn quoted(text: &str) -> usize {
    let bytes = text.as_bytes();
    // Braces open within an interpolation; each inner quoted text has a list of its own.
    let mut open: Vec<usize> = vec![0];
    let mut at = 1;
    while at < bytes.len() {
        let inside = open.last().copied().unwrap_or(0);
        match bytes[at] {
            b'\\' if inside == 0 => at += 1,
            b'$' | b'%' if inside == 0 && bytes.get(at + 1) == Some(&b'{') => {
                let escaped = bytes[at - 1] == bytes[at];
                if !escaped && let Some(last) = open.last_mut() {
                    *last = 1;
                }
                at += 1;
            }
            b'{' if inside > 0 => {
                if let Some(last) = open.last_mut() {
                    *last += 1;
                }
            }
            b'}' if inside > 0 => {
                if let Some(last) = open.last_mut() {
                    *last -= 1;
                }
            }
            b'"' if inside > 0 => open.push(0),
            b'"' => {
                open.pop();
                if open.is_empty() {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The length of a heredoc, if one begins here.
fn heredoc(text: &str) -> Option<usize> {
    let after = text.strip_prefix("<<")?;
    let named = after.strip_prefix('-').unwrap_or(after);
    let first = named.lines().next()?;
    let marker = first.trim_end();
    if marker.is_empty()
        || !marker.chars().all(is_of_name)
        || marker.starts_with(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let mut at = text.len() - named.len() + line(named) + 1;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = line(rest);
        if rest[..length].trim() == marker {
            // What follows the marker's own line begins a new piece.
            return Some(at + rest[..length].trim_end().len());
        }
        at += length + 1;
    }
    Some(text.len())
}
