//! Numbers that JSON has not, or that are beyond what a number here can be: `Infinity` and `NaN`, which Python writes, and
//! `1e400`. They are read as texts, so that each is told with its place beside all other mistakes.

/// The document with quotes around each such number.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while !rest.is_empty() {
        let length = if rest.starts_with('"') {
            end_of_text(rest)
        } else {
            let word = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            word.max(rest.chars().next().map_or(0, char::len_utf8))
        };
        let (token, behind) = rest.split_at(length);
        let beyond =
            token.starts_with(is_part) && token.parse::<f64>().is_ok_and(|number| !number.is_finite());
        if beyond {
            quoted.extend(["\"", token, "\""]);
        } else {
            quoted.push_str(token);
        }
        rest = behind;
    }
    quoted
}

fn is_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '-' | '.')
}

/// Where the text ends that begins here; one that is not closed ends with the document.
fn end_of_text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_numbers_becomes_a_text_and_nothing_else_does() {
        let text = r#"{"a": Infinity, "b": [-Infinity,NaN, 1e400 ,-2E+999], "NaN": "say \"Infinity\" \\", "c": 1e300, "ü": null}"#;
        let made = quoted(text);
        assert_eq!(
            made,
            r#"{"a": "Infinity", "b": ["-Infinity","NaN", "1e400" ,"-2E+999"], "NaN": "say \"Infinity\" \\", "c": 1e300, "ü": null}"#
        );
        assert_eq!(quoted(&made), made);
        for broken in ["", "\"", "{\"a", "\"\\", "ü", "Infinity", "+"] {
            let again = quoted(broken);
            assert!(again.contains(broken), "{again}");
        }
    }
}
