//! Texts to parsed bodies. The parser stops at the first mistake of a text; here the block with the mistake is
//! blanked and the rest is parsed again, so that all of them are reported in one run.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::{FileId, SourceMap, Span};
use hcl::edit::Span as _;
use hcl::edit::structure::{Body, Structure};
use std::collections::BTreeMap;

/// A text to parse.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// As the user names it.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Largest text that is parsed.
const LARGEST: usize = 64 << 20;
/// Most syntax errors reported of one file: each costs parsing it again.
const MOST_ERRORS: usize = 10;
/// Most duplicate attributes reported of one file.
const MOST_DUPLICATES: usize = 25;

/// Adds a file's text to the sources; what is not UTF-8 is reported and left out.
pub(crate) fn add_source(
    sources: &mut SourceMap,
    file: &InputFile,
    found: &mut Diagnostics,
) -> Option<FileId> {
    if file.bytes.len() > LARGEST {
        let detail = format!("{} is larger than {} MiB.", file.path, LARGEST >> 20);
        found.push(Diagnostic::error("File too large", detail));
        return None;
    }
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => Some(sources.add(file.path.clone(), text)),
        Err(error) => {
            let good = String::from_utf8_lossy(&file.bytes[..error.valid_up_to()]);
            let id = sources.add(file.path.clone(), &good);
            let at = error.valid_up_to();
            let detail =
                format!("The byte at offset {at} is not part of a UTF-8 text. Save the file as UTF-8.");
            found.push(Diagnostic::error("Invalid character encoding", detail).at(Span::new(id, at..at)));
            None
        }
    }
}

/// The body of a text, and whether all of it could be read. Everything wrong with its syntax is reported; then
/// the body holds what is left.
pub(crate) fn parse_body(sources: &SourceMap, file: FileId, found: &mut Diagnostics) -> (Body, bool) {
    let original = sources.file(file).text();
    let mut text = original.to_owned();
    let mut renamed: BTreeMap<usize, String> = BTreeMap::new();
    let mut errors = 0;
    loop {
        let error = match text.parse::<Body>() {
            Ok(mut body) => {
                report_duplicates(&mut body, &renamed, file, found);
                return (body, errors == 0);
            }
            Err(error) => error,
        };
        let at = error.location().offset();
        if error.message().contains("found redefined attribute")
            && renamed.len() < MOST_DUPLICATES
            && rename(&mut text, at, &mut renamed)
        {
            continue;
        }
        found.push(syntax_error(original, file, at, error.message()));
        errors += 1;
        if errors >= MOST_ERRORS || !blank_block(&mut text, at) {
            return (Body::new(), false);
        }
    }
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '-'
}

/// Gives a duplicate attribute another name of the same length, so that the rest keeps its place.
fn rename(text: &mut String, at: usize, renamed: &mut BTreeMap<usize, String>) -> bool {
    let name: String = text[at..]
        .chars()
        .take_while(|character| is_name(*character))
        .collect();
    let number = renamed.len();
    let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
    // Unlikely names: where one is taken after all, the parser complains again and the next is tried.
    let mut other = format!("{}{}", letter(number), letter(number / 26));
    other.truncate(name.len());
    while other.len() < name.len() {
        other.push('q');
    }
    if name.is_empty() {
        return false;
    }
    text.replace_range(at..at + name.len(), &other);
    renamed.entry(at).or_insert(name);
    true
}

/// Takes the renamed attributes out again and reports them, each with the first of its name.
fn report_duplicates(
    body: &mut Body,
    renamed: &BTreeMap<usize, String>,
    file: FileId,
    found: &mut Diagnostics,
) {
    if renamed.is_empty() {
        return;
    }
    let mut duplicates: Vec<(usize, String, std::ops::Range<usize>)> = Vec::new();
    for (index, structure) in body.iter().enumerate() {
        if let Structure::Attribute(attribute) = structure
            && let Some(range) = attribute.key.span()
            && let Some(name) = renamed.get(&range.start)
        {
            duplicates.push((index, name.clone(), range));
        }
    }
    for (_, name, range) in &duplicates {
        let detail =
            format!("The argument {name:?} is set twice in this block. Each argument may be set only once.");
        let mut diagnostic =
            Diagnostic::error("Attribute redefined", detail).at(Span::new(file, range.clone()));
        if let Some(first) = body.get_attribute(name).and_then(|first| first.key.span()) {
            diagnostic = diagnostic.label(Span::new(file, first), "first set here");
        }
        found.push(diagnostic);
    }
    for (index, _, _) in duplicates.into_iter().rev() {
        body.remove(index);
    }
    for block in body.blocks_mut() {
        report_duplicates(&mut block.body, renamed, file, found);
    }
}

/// What the parser says, with the place, and for frequent slips what to write instead.
fn syntax_error(text: &str, file: FileId, at: usize, message: &str) -> Diagnostic {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let here = text[at..].chars().next();
    let length = here
        .filter(|character| *character != '\n')
        .map_or(0, char::len_utf8);
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before = text[line_start..at].trim();
    let rest = text[at..].lines().next().unwrap_or_default();
    let hint = if at >= text.trim_end().len() {
        Some("the text ends here: is a closing '}', ']', ')' or '\"' missing above?".to_owned())
    } else if rest.matches('"').count() % 2 == 1 && !rest.contains("\\\"") {
        Some("a text that begins on this line is not closed: a '\"' is missing".to_owned())
    } else if message.contains("nested levels") {
        Some("compute inner parts in local values".to_owned())
    } else if here == Some('\'') {
        Some("texts stand in double quotes: \"…\"".to_owned())
    } else if here == Some(':') && !before.contains(' ') && !before.is_empty() {
        Some(format!("arguments are set with '=': {before} = …"))
    } else if before.starts_with(|c: char| c.is_alphabetic())
        && before.contains('{')
        && is_assignment(rest, before)
    {
        Some("a block on one line holds one argument; put each argument on a line of its own".to_owned())
    } else {
        None
    };
    let mut sentence: String = message.chars().take(400).collect();
    if let Some(first) = sentence.get(..1) {
        sentence = first.to_uppercase() + &sentence[1..];
    }
    Diagnostic::error("Invalid syntax", format!("{sentence}."))
        .at(Span::new(file, at..at + length))
        .hint(hint)
}

fn is_assignment(rest: &str, before: &str) -> bool {
    before.contains('=') && (rest.starts_with(',') || rest.contains('='))
}

/// Blanks the top-level block or attribute that holds `at`, line ends kept. `false` when nothing is left to do.
fn blank_block(text: &mut String, at: usize) -> bool {
    let starts_item = |line: &str| {
        line.chars()
            .next()
            .is_some_and(|first| first.is_alphabetic() || first == '_')
    };
    let at = at.min(text.len());
    let mut start = 0;
    let mut end = text.len();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if starts_item(line) {
            if offset <= at {
                start = offset;
            } else {
                end = offset;
                break;
            }
        }
        offset += line.len();
    }
    let blanked: String = text[start..end]
        .chars()
        .flat_map(|character| {
            let (fill, times) = if character == '\n' {
                ('\n', 1)
            } else {
                (' ', character.len_utf8())
            };
            std::iter::repeat_n(fill, times)
        })
        .collect();
    if blanked == text[start..end] {
        return false;
    }
    text.replace_range(start..end, &blanked);
    true
}
