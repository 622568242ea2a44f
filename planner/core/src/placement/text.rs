//! An explanation for people: one block per host, every refusal with its numbers, at most 80 columns, no colour.

use super::explain::{Explanation, HostVerdict};
use super::filters::short;
use std::fmt;

const COLUMNS: usize = 80;

/// Longer host names stand on a line of their own.
const WIDEST_NAME: usize = 24;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.headline(f)?;
        let names = self.hosts.iter().map(|host| host.host.as_str().chars().count());
        let width = names.filter(|width| *width <= WIDEST_NAME).max().unwrap_or(0);
        let mut survivor = 0;
        for host in &self.hosts {
            let lines = if host.passed() {
                survivor += 1;
                vec![self.weight_line(host, survivor - 1)]
            } else {
                let refusals = host.refusals.iter();
                refusals
                    .map(|refusal| {
                        let rejection = &refusal.rejection;
                        format!("{}: {rejection}", rejection.label(refusal.filter))
                    })
                    .collect()
            };
            rows(f, host.host.as_str(), width, &lines)?;
        }
        Ok(())
    }
}

impl Explanation {
    /// Why it goes where it goes, in a few words.
    #[must_use]
    pub fn verdict(&self) -> String {
        let all = self.hosts.len();
        let passed = self.hosts.iter().filter(|host| host.passed()).count();
        match (&self.chosen, self.margin) {
            (None, _) => format!("no valid host among {all}"),
            (Some(_), None) => format!("the only one of {all} hosts that passes"),
            (Some(_), Some(0.0)) => format!("the first of the best of {passed} that pass"),
            (Some(_), Some(margin)) if margin < 0.0 => format!(
                "{} below the best of {passed} that pass, so that more servers fit",
                weight(-margin)
            ),
            (Some(_), Some(margin)) => format!("{} above the next of {passed} that pass", weight(margin)),
        }
    }

    fn headline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.chosen {
            Some(host) => writeln!(f, "{}: {host}, {}", self.server, self.verdict()),
            None => writeln!(f, "{}: {}", self.server, self.verdict()),
        }
    }

    fn weight_line(&self, host: &HostVerdict, survivor: usize) -> String {
        let mut line = format!("passes, weight {}", weight(host.total.unwrap_or(0.0)));
        if let Some(barred) = &host.barred {
            line = format!(
                "passes, but {barred}; weight {}",
                weight(host.total.unwrap_or(0.0))
            );
        }
        let parts = self.weighers.iter().filter_map(|column| {
            let (raw, _) = column.values.get(survivor)?;
            Some(format!(
                "{} {}: {}",
                column.weigher,
                short(*raw),
                weight(*column.weights.get(survivor)?)
            ))
        });
        let parts: Vec<String> = parts.collect();
        if !parts.is_empty() {
            line.push_str(&format!(" ({})", parts.join(", ")));
        }
        if self.chosen.as_ref() == Some(&host.host) {
            line.push_str(" <- chosen");
        }
        line
    }
}

/// Four decimals at most, and never 0 for what is not.
fn weight(number: f64) -> String {
    let rounded = (number * 1e4).round() / 1e4 + 0.0;
    if rounded == 0.0 && number != 0.0 {
        format!("{number:.1e}")
    } else {
        format!("{rounded}")
    }
}

/// A name and what is said about it, wrapped behind the column of names.
fn rows(f: &mut fmt::Formatter<'_>, name: &str, width: usize, lines: &[String]) -> fmt::Result {
    let mut label = name;
    if name.chars().count() > width {
        writeln!(f, "  {name}")?;
        label = "";
    }
    let room = COLUMNS - width - 4;
    for line in lines {
        for (number, part) in wrapped(line, room).into_iter().enumerate() {
            let indent = if number == 0 { "" } else { "  " };
            writeln!(f, "  {label:<width$}  {indent}{part}")?;
            label = "";
        }
    }
    Ok(())
}

/// So many names of which the same is said all stand there.
pub(crate) const NAMED: usize = 4;

/// A few names, or the first, the last and how many.
pub(crate) fn names<T: fmt::Display>(names: &[T]) -> String {
    match names {
        [first, .., last] if names.len() > NAMED => {
            format!("{first} … {last} ({} in all)", grouped(names.len()))
        }
        few => few.iter().map(T::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// A number with commas between thousands: "10,000".
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One line of text as lines of 80 columns at most, those behind the first indented by four.
#[must_use]
pub fn paragraph(line: &str) -> String {
    wrapped(line, COLUMNS - 2).join("\n    ")
}

/// Breaks at spaces; a word longer than a line is left whole, so that it can be copied.
fn wrapped(line: &str, room: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for word in line.split(' ') {
        // Later parts are indented by two.
        let limit = if parts.len() > 1 { room - 2 } else { room };
        match parts.last_mut() {
            Some(part) if part.chars().count() + 1 + word.chars().count() <= limit => {
                part.push(' ');
                part.push_str(word);
            }
            Some(_) | None => parts.push(word.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        let texts: Vec<String> = [0, 999, 1000, 10_000, 1_234_567].map(grouped).into();
        assert_eq!(texts, ["0", "999", "1,000", "10,000", "1,234,567"]);
        assert_eq!(names(&["a", "b", "c", "d"]), "a, b, c, d");
        assert_eq!(names(&[1; 2000]), "1 … 1 (2,000 in all)");
    }
}
