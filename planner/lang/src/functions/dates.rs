//! Dates of a given time. Nothing here asks a clock.

use super::{Call, Function, FunctionError, Outcome, Want};
use crate::value::{Number, Value};
use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use std::fmt::Write as _;

pub(super) const TABLE: &[Function] = &[
    Function::new(
        "formatdate",
        &[("spec", Want::Text), ("timestamp", Want::Text)],
        Want::Text,
        formatdate,
    ),
    Function::new(
        "timeadd",
        &[("timestamp", Want::Text), ("duration", Want::Text)],
        Want::Text,
        timeadd,
    ),
    Function::new(
        "timecmp",
        &[("timestamp_a", Want::Text), ("timestamp_b", Want::Text)],
        Want::Number,
        timecmp,
    ),
];

/// A moment and the offset it was written with.
struct Moment {
    timestamp: Timestamp,
    offset: Offset,
}

impl Moment {
    fn civil(&self) -> DateTime {
        self.offset.to_datetime(self.timestamp)
    }
}

/// Reads RFC 3339, and nothing of the laxer forms that the library takes as well.
fn moment(call: &Call<'_>, at: usize) -> Result<Moment, FunctionError> {
    let text = call.text(at);
    let wrong = || {
        let message =
            format!("{text:?} is not a time as RFC 3339 writes it, for example \"2025-01-31T12:00:00Z\"");
        FunctionError::in_argument(at, message)
    };
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(byte, wanted)| match wanted {
                    b'0' => byte.is_ascii_digit(),
                    other => byte == other,
                })
    };
    let (Some(head), Some(rest)) = (text.get(..19), text.get(19..)) else {
        return Err(wrong());
    };
    let digits = rest
        .strip_prefix('.')
        .map_or(0, |rest| 1 + rest.bytes().take_while(u8::is_ascii_digit).count());
    let zone = &rest[digits..];
    let known = zone == "Z" || shape(zone, "+00:00") || shape(zone, "-00:00");
    if !shape(head, "0000-00-00T00:00:00") || digits == 1 || !known {
        return Err(wrong());
    }
    let timestamp: Timestamp = text.parse().map_err(|_| wrong())?;
    let seconds = match zone.split_at_checked(1) {
        Some((sign, clock)) if !clock.is_empty() => {
            let part = |range: std::ops::Range<usize>| clock[range].parse::<i32>().map_err(|_| wrong());
            let seconds = part(0..2)? * 3600 + part(3..5)? * 60;
            if sign == "-" { -seconds } else { seconds }
        }
        Some(_) | None => 0,
    };
    let offset = Offset::from_seconds(seconds).map_err(|_| wrong())?;
    Ok(Moment { timestamp, offset })
}

fn timecmp(call: &mut Call<'_>) -> Outcome {
    let order = moment(call, 0)?.timestamp.cmp(&moment(call, 1)?.timestamp);
    Ok(Value::from(Number::from(order as i64)))
}

/// Reads a duration as Go writes it: `1h30m`, `-1.5h`, `250ms`.
fn duration(text: &str) -> Option<SignedDuration> {
    let signed = text.strip_prefix('-');
    let mut rest = signed.or_else(|| text.strip_prefix('+')).unwrap_or(text);
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(end);
        let units: [(&str, i128); 8] = [
            ("ns", 1),
            ("us", 1_000),
            ("µs", 1_000),
            ("μs", 1_000),
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000),
        ];
        let (unit, factor) = units.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || whole.len() > 18 || fraction.contains('.') {
            return None;
        }
        let fraction = &fraction[..fraction.len().min(15)];
        let digits = |text: &str| {
            if text.is_empty() {
                Some(0)
            } else {
                text.parse::<i128>().ok()
            }
        };
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        total += digits(whole)? * factor + digits(fraction)? * factor / scale;
        rest = &after[unit.len()..];
    }
    let total = if signed.is_some() { -total } else { total };
    let nanoseconds = i64::try_from(total).ok()?;
    Some(SignedDuration::from_nanos(nanoseconds))
}

fn timeadd(call: &mut Call<'_>) -> Outcome {
    let start = moment(call, 0)?;
    let duration = duration(call.text(1)).ok_or_else(|| {
        let message = format!(
            "{:?} is not a duration; write numbers with units h, m, s, ms, us or ns, for example \"1h30m\"",
            call.text(1)
        );
        FunctionError::in_argument(1, message)
    })?;
    let timestamp = start
        .timestamp
        .checked_add(duration)
        .map_err(|_| FunctionError::in_argument(1, "the result is beyond the year 9999"))?;
    let moment = Moment {
        timestamp,
        offset: start.offset,
    };
    let civil = moment.civil();
    let clock = civil.strftime("%Y-%m-%dT%H:%M:%S");
    Ok(Value::from(format!("{clock}{}", zone(moment.offset, "Z", ":"))))
}

/// The offset as `+01:00`, or `zero` where there is none.
fn zone(offset: Offset, zero: &str, colon: &str) -> String {
    let seconds = offset.seconds();
    if seconds == 0 && !zero.is_empty() {
        return zero.to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

/// Terraform's verbs: a run of one letter; texts stand in single quotes.
fn formatdate(call: &mut Call<'_>) -> Outcome {
    let moment = moment(call, 1)?;
    let civil = moment.civil();
    let wrong = |message: String| FunctionError::in_argument(0, message);
    let mut out = String::new();
    let mut rest = call.text(0);
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            rest = quoted(&rest[1..], &mut out)
                .ok_or_else(|| wrong("a text that begins with ' has no end".to_owned()))?;
            continue;
        }
        let end = rest.find(|letter| letter != first).unwrap_or(rest.len());
        let (verb, after) = rest.split_at(end);
        rest = after;
        if !first.is_ascii_alphabetic() {
            out.push_str(verb);
            continue;
        }
        let half = (civil.hour() + 11) % 12 + 1;
        match verb {
            "YYYY" => write!(out, "{:04}", civil.year()),
            "YY" => write!(out, "{:02}", civil.year().rem_euclid(100)),
            "MMMM" => write!(out, "{}", civil.strftime("%B")),
            "MMM" => write!(out, "{}", civil.strftime("%b")),
            "MM" => write!(out, "{:02}", civil.month()),
            "M" => write!(out, "{}", civil.month()),
            "DD" => write!(out, "{:02}", civil.day()),
            "D" => write!(out, "{}", civil.day()),
            "EEEE" => write!(out, "{}", civil.strftime("%A")),
            "EEE" => write!(out, "{}", civil.strftime("%a")),
            "hh" => write!(out, "{:02}", civil.hour()),
            "h" => write!(out, "{}", civil.hour()),
            "HH" => write!(out, "{half:02}"),
            "H" => write!(out, "{half}"),
            "AA" => write!(out, "{}", if civil.hour() < 12 { "AM" } else { "PM" }),
            "aa" => write!(out, "{}", if civil.hour() < 12 { "am" } else { "pm" }),
            "mm" => write!(out, "{:02}", civil.minute()),
            "m" => write!(out, "{}", civil.minute()),
            "ss" => write!(out, "{:02}", civil.second()),
            "s" => write!(out, "{}", civil.second()),
            "ZZZZZ" => write!(out, "{}", zone(moment.offset, "", ":")),
            "ZZZZ" => write!(out, "{}", zone(moment.offset, "", "")),
            "ZZZ" => write!(out, "{}", zone(moment.offset, "UTC", "")),
            "Z" => write!(out, "{}", zone(moment.offset, "Z", ":")),
            other => {
                let message = format!("{other:?} is no part of a date; a text in it stands in single quotes");
                return Err(wrong(message));
            }
        }
        .expect("writing to a String cannot fail");
    }
    Ok(Value::from(out))
}

/// Takes a text up to its closing quote, where two quotes stand for one; what follows it.
fn quoted<'t>(text: &'t str, out: &mut String) -> Option<&'t str> {
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('\'')?;
        out.push_str(before);
        match after.strip_prefix('\'') {
            Some(more) => {
                out.push('\'');
                rest = more;
            }
            None => return Some(after),
        }
    }
}
