//! Lines and wrapping.

use super::{Detail, Style, View, Warnings};
use crate::placement::grouped;

/// Columns that fit a terminal of the usual width.
pub(super) const WIDTH: usize = 80;

/// A text that grows line by line.
pub(super) struct Page {
    text: String,
    pub(super) style: Style,
    detail: Detail,
    pub(super) warnings: Warnings,
    /// Something was left out that more detail would show.
    pub(super) shortened: bool,
}

impl Page {
    pub(super) const fn new(view: View) -> Self {
        Self {
            text: String::new(),
            style: view.style,
            detail: view.detail,
            warnings: view.warnings,
            shortened: false,
        }
    }

    /// How many of a list's entries are shown, if no more than so many should be.
    pub(super) const fn most(&self, shortened: usize) -> usize {
        match self.detail {
            Detail::Grouped => shortened,
            Detail::Full => usize::MAX,
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// An empty line, unless one is there or nothing is.
    pub(super) fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A line as it is. Control characters are shown as escapes: names from hosts must not move the cursor.
    pub(super) fn line(&mut self, text: &str) {
        self.coloured("", text);
    }

    pub(super) fn bold(&mut self, text: &str) {
        self.wrapped_in(self.style.bold, "", text);
    }

    pub(super) fn coloured(&mut self, colour: &'static str, text: &str) {
        self.text.push_str(colour);
        for character in text.chars() {
            if character.is_control() {
                self.text.extend(character.escape_default());
            } else {
                self.text.push(character);
            }
        }
        if !colour.is_empty() {
            self.text.push_str(self.style.reset);
        }
        self.text.push('\n');
    }

    /// Words wrapped at 80 columns, each line behind `indent`.
    pub(super) fn wrapped(&mut self, indent: &str, text: &str) {
        self.wrapped_in("", indent, text);
    }

    pub(super) fn wrapped_in(&mut self, colour: &'static str, indent: &str, text: &str) {
        let room = WIDTH.saturating_sub(indent.chars().count()).max(20);
        // A word in front ("hint:") stands on the first line only; a mark of comments stands on each.
        let hanging = indent.chars().any(char::is_alphabetic);
        let blank: String = indent
            .chars()
            .map(|character| if character == '#' { '#' } else { ' ' })
            .collect();
        let mut indent = indent;
        let mut line = String::new();
        let mut used = 0;
        for word in text.split_whitespace() {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > room {
                self.coloured(colour, &format!("{indent}{line}"));
                if hanging {
                    indent = &blank;
                }
                line.clear();
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
        self.coloured(colour, &format!("{indent}{line}"));
    }
}

/// "1 server", "3 servers".
pub(super) fn plural(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{} {one}s", grouped(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_many() {
        assert_eq!(plural(1, "server"), "1 server");
        assert_eq!(plural(1000, "server"), "1,000 servers");
    }

    #[test]
    fn lines_are_wrapped_behind_their_mark() {
        let mut page = Page::new(View::default());
        page.wrapped("  # ", &"word ".repeat(20));
        page.wrapped("  hint: ", &"word ".repeat(20));
        let text = page.finish();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let begins: Vec<&str> = text.lines().map(|line| &line[..8]).collect();
        assert_eq!(begins, ["  # word", "  # word", "  hint: ", "        "]);
    }
}
