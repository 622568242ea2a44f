//! Timestamps as YAML writes them, in the forms that Terraform's `yamldecode` takes: a date, a date and a time apart,
//! or RFC 3339, with digits in front left out. Its language has no times, so they become texts of RFC 3339.

use jiff::civil::Date;
use std::fmt::Write as _;

/// The timestamp as a text of RFC 3339, in whole seconds and with the offset that it was written with; nothing where
/// the text is no timestamp.
pub(super) fn rfc3339(text: &str) -> Option<String> {
    let mut rest = text;
    let year = digits(&mut rest, 4, 4)?;
    let month = after('-', &mut rest)?;
    let day = after('-', &mut rest)?;
    let date = Date::new(narrow(year)?, narrow(month)?, narrow(day)?).ok()?;
    let mut out = format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day());
    let separator = rest.chars().next();
    match separator {
        None => out.push_str("T00:00:00Z"),
        Some('T' | 't' | ' ') => {
            rest = match separator {
                Some(' ') => rest.trim_start_matches(' '),
                Some(_) | None => &rest[1..],
            };
            let hour = digits(&mut rest, 1, 2)?;
            let minute = after(':', &mut rest)?;
            let second = after(':', &mut rest)?;
            if hour > 23 || minute > 59 || second > 59 {
                return None;
            }
            skip_fraction(&mut rest);
            write!(out, "T{hour:02}:{minute:02}:{second:02}").expect("writing to a String cannot fail");
            // Without a `T` there is no zone, and the time is UTC's.
            match separator {
                Some(' ') if rest.is_empty() => out.push('Z'),
                Some(' ') => return None,
                Some(_) | None => out.push_str(&zone(rest)?),
            }
        }
        Some(_) => return None,
    }
    Some(out)
}

fn narrow<T: TryFrom<u32>>(number: u32) -> Option<T> {
    number.try_into().ok()
}

/// Takes so many digits off the front.
fn digits(rest: &mut &str, least: usize, most: usize) -> Option<u32> {
    let found = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if found < least {
        return None;
    }
    let (number, after) = rest.split_at(found);
    *rest = after;
    number.parse().ok()
}

/// Takes a mark and one or two digits behind it.
fn after(mark: char, rest: &mut &str) -> Option<u32> {
    *rest = rest.strip_prefix(mark)?;
    digits(rest, 1, 2)
}

/// Leaves out parts of a second; what is none stays, and is then in the way.
fn skip_fraction(rest: &mut &str) {
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let after = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
        if after.len() < fraction.len() {
            *rest = after;
        }
    }
}

/// `Z`, or an offset of hours and minutes; none is `Z` too.
fn zone(text: &str) -> Option<String> {
    if text == "Z" {
        return Some("Z".to_owned());
    }
    let sign = text.chars().next().filter(|sign| matches!(sign, '+' | '-'))?;
    let mut rest = &text[1..];
    let hours = digits(&mut rest, 2, 2)?;
    rest = rest.strip_prefix(':')?;
    let minutes = digits(&mut rest, 2, 2)?;
    // As Go, which reads an offset of 24 hours, and an hour of 60 minutes.
    if !rest.is_empty() || hours > 24 || minutes > 60 {
        return None;
    }
    let all = hours * 60 + minutes;
    Some(match all {
        0 => "Z".to_owned(),
        _ => format!("{sign}{:02}:{:02}", all / 60, all % 60),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_as_terraform_reads_them() {
        for (text, expected) in [
            // The library's own examples.
            ("2006-1-2", "2006-01-02T00:00:00Z"),
            // Those of the type's page, <https://yaml.org/type/timestamp.html>.
            ("2001-12-15T02:59:43.1Z", "2001-12-15T02:59:43Z"),
            ("2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43-05:00"),
            ("2001-12-15 2:59:43.10", "2001-12-15T02:59:43Z"),
            ("2002-12-14", "2002-12-14T00:00:00Z"),
            ("2001-12-14 21:59:43", "2001-12-14T21:59:43Z"),
            ("2001-12-14   21:59:43", "2001-12-14T21:59:43Z"),
            ("2001-1-4T1:9:3Z", "2001-01-04T01:09:03Z"),
            ("2001-12-14T21:59:43+00:00", "2001-12-14T21:59:43Z"),
            (
                "2001-12-14T21:59:43.123456789012+05:30",
                "2001-12-14T21:59:43+05:30",
            ),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("0000-01-01", "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "2001",
            "2001-12",
            "2001-12-",
            "01-12-14",
            "20011-12-14",
            "2001-13-14",
            "2001-02-29",
            "2001-12-014",
            "2001-12-14T",
            "2001-12-14T21:59",
            "2001-12-14T21:59:43",
            "2001-12-14T24:00:00Z",
            "2001-12-14T21:59:60Z",
            "2001-12-14T21:59:43.Z",
            "2001-12-14T21:59:43z",
            "2001-12-14T21:59:43-5",
            "2001-12-14T21:59:43-05:00x",
            // Of the type's page too; the library cannot read it either.
            "2001-12-14 21:59:43.10 -5",
            "2001-12-14 21:59:43Z",
            "2001-12-14x",
            "-2001-12-14",
            "２001-12-14",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
    }
}
