//! Times of several rounds, and the table of what came out.

use std::fmt::Write as _;
use std::time::Duration;

/// The times of one thing, one per round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The middle one; of an even number the earlier of the two.
    pub(crate) fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted
            .get((sorted.len().max(1) - 1) / 2)
            .copied()
            .unwrap_or_default()
    }

    /// So many times as long, each.
    pub(crate) fn times(&self, factor: u32) -> Self {
        Self(self.0.iter().map(|time| *time * factor).collect())
    }

    fn show(&self) -> String {
        let (least, most) = (self.0.iter().min(), self.0.iter().max());
        match (least, most) {
            (Some(least), Some(most)) => {
                format!("{} ({}–{})", millis(self.median()), millis(*least), millis(*most))
            }
            (None, _) | (_, None) => "-".to_owned(),
        }
    }
}

/// How much is allowed, given what the raw tools took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) factor: f64,
    pub(crate) plus: Duration,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    /// Measured against raw tools.
    Ratio {
        what: &'static str,
        drover: Times,
        raw: Times,
        allowed: Allowed,
    },
    /// Measured against a fixed limit, in bytes.
    Size {
        what: &'static str,
        bytes: u64,
        limit: u64,
    },
    /// Measured against a fixed limit.
    Time {
        what: &'static str,
        times: Times,
        limit: Duration,
    },
    /// For information.
    Note { what: &'static str, times: Times },
}

fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

impl Allowed {
    fn of(self, raw: &Times) -> Duration {
        raw.median().mul_f64(self.factor) + self.plus
    }
}

impl Row {
    /// Whether it is within its limit; a note has none.
    pub(crate) fn is_met(&self) -> bool {
        match self {
            Self::Ratio {
                drover, raw, allowed, ..
            } => drover.median() <= allowed.of(raw),
            Self::Size { bytes, limit, .. } => bytes < limit,
            Self::Time { times, limit, .. } => times.median() <= *limit,
            Self::Note { .. } => true,
        }
    }

    fn cells(&self) -> [String; 6] {
        let verdict = if self.is_met() { "PASS" } else { "over" }.to_owned();
        match self {
            Self::Ratio {
                what,
                drover,
                raw,
                allowed,
            } => {
                let (Allowed { factor, plus }, limit) = (allowed, allowed.of(raw));
                let ratio = drover.median().as_secs_f64() / raw.median().as_secs_f64().max(1e-9);
                [
                    (*what).to_owned(),
                    drover.show(),
                    raw.show(),
                    format!("{ratio:.2}"),
                    format!("{factor} × + {} = {}", millis(*plus), millis(limit)),
                    verdict,
                ]
            }
            Self::Size { what, bytes, limit } => [
                (*what).to_owned(),
                mib(*bytes),
                "-".to_owned(),
                "-".to_owned(),
                mib(*limit),
                verdict,
            ],
            Self::Time { what, times, limit } => [
                (*what).to_owned(),
                times.show(),
                "-".to_owned(),
                "-".to_owned(),
                millis(*limit),
                verdict,
            ],
            Self::Note { what, times } => {
                let dash = || "-".to_owned();
                [
                    format!("({what})"),
                    times.show(),
                    dash(),
                    dash(),
                    dash(),
                    String::new(),
                ]
            }
        }
    }
}

/// The table, as Markdown. Times are medians, with the least and the most.
pub(crate) fn render(rows: &[Row]) -> String {
    let head = ["", "Drover", "raw tools", "ratio", "at most", ""].map(str::to_owned);
    let mut lines = vec![head];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(widths) {
            let pad = width - cell.chars().count();
            write!(text, "| {cell}{} ", " ".repeat(pad)).expect("writing to a string does not fail");
        }
        text.push_str("|\n");
        if number == 0 {
            let rule: String = widths
                .iter()
                .map(|width| format!("|{}", "-".repeat(width + 2)))
                .collect();
            text.push_str(&rule);
            text.push_str("|\n");
        }
    }
    text
}
