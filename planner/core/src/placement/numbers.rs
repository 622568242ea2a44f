//! Numbers out of texts, as Python's `int()` and `float()` read them.

use std::borrow::Cow;
use std::num::IntErrorKind;

/// The zero of every other script's decimal digits, the other nine behind it (Unicode 15.0, as in Python 3.12).
const ZEROS: [u32; 67] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
    0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0,
    0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50,
    0x11d50, 0x11da0, 0x11f50, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6,
    0x1e140, 0x1e2f0, 0x1e4f0, 0x1e950, 0x1fbf0,
];

/// As `float(text)`.
pub(crate) fn float(text: &str) -> Option<f64> {
    plain(text)?.parse().ok()
}

/// As `int(text)`; what 64 bits do not hold is the largest or the smallest that they do.
pub(crate) fn int(text: &str) -> Option<i64> {
    match plain(text)?.parse::<i64>() {
        Ok(number) => Some(number),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
    }
}

/// The same where nothing below zero makes sense.
pub(crate) fn natural(text: &str) -> Option<u64> {
    int(text).and_then(|number| u64::try_from(number).ok())
}

/// The text as Rust reads numbers: ASCII digits, no blanks around, and no underscore, of which Python takes one
/// between two digits.
fn plain(text: &str) -> Option<Cow<'_, str>> {
    let text = text.trim();
    if text.is_ascii() && !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let characters: Vec<char> = text.chars().map(ascii_digit).collect();
    let digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
    let between_digits = |at: usize| at > 0 && digit(at - 1) && digit(at + 1);
    let mut plain = String::with_capacity(characters.len());
    for (at, character) in characters.iter().enumerate() {
        if *character != '_' {
            plain.push(*character);
        } else if !between_digits(at) {
            return None;
        }
    }
    Some(Cow::Owned(plain))
}

/// The ASCII digit that a digit of any script stands for; any other character is left as it is.
fn ascii_digit(character: char) -> char {
    let code = u32::from(character);
    let below = ZEROS.partition_point(|zero| *zero <= code).checked_sub(1);
    below
        .and_then(|at| char::from_digit(code - ZEROS[at], 10))
        .unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_python_reads_them() {
        for (text, as_float, as_int) in [
            ("1_000", Some(1000.0), Some(1000)),
            ("\u{b}+4\u{a0}", Some(4.0), Some(4)),
            // A blank to `split`, and none to numbers.
            ("4\u{1f}", None, None),
            ("\u{665}\u{660}", Some(50.0), Some(50)),
            ("-\u{967}_\u{96f}", Some(-19.0), Some(-19)),
            ("\u{ff11}.\u{ff15}e\u{1d7d0}", Some(150.0), None),
            ("1\u{1e4f9}", Some(19.0), Some(19)),
            ("99999999999999999999", Some(1e20), Some(i64::MAX)),
            ("-99999999999999999999", Some(-1e20), Some(i64::MIN)),
            ("1.5", Some(1.5), None),
            // No decimal digits: a superscript, a numeral, a fraction.
            ("\u{b2}", None, None),
            ("\u{2165}", None, None),
            ("\u{bd}", None, None),
            ("1__0", None, None),
            ("_1", None, None),
            ("1_", None, None),
            ("1_.0", None, None),
            ("1 0", None, None),
            ("", None, None),
        ] {
            assert_eq!((float(text), int(text)), (as_float, as_int), "{text:?}");
        }
    }
}
