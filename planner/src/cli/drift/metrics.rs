//! `--metrics-file`: what a look for drift found, as figures for Prometheus' textfile collector.

use super::Look;
use super::ignore::word;
use drover_core::plan::Drift;
use drover_types::{FleetName, ProjectName};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Every word that a difference may have; each has a row, so that none disappears when it falls to nothing.
const KINDS: [&str; 5] = ["attributes", "domain", "epoch", "host", "power"];

/// The figures of a look; of one that failed only that it did. `now` is in seconds since 1970.
pub(super) fn render(fleet: &FleetName, project: &ProjectName, now: i64, look: Option<&Look>) -> String {
    let labels = format!("fleet=\"{fleet}\",project=\"{project}\"");
    let mut text = String::new();
    let whole = look.is_some_and(Look::is_whole);
    gauge(
        &mut text,
        "last_run_timestamp_seconds",
        "When drover drift last ran.",
        &[(labels.clone(), now)],
    );
    gauge(
        &mut text,
        "complete",
        "Whether the last run saw the whole fleet.",
        &[(labels.clone(), i64::from(whole))],
    );
    let Some(look) = look else {
        return text;
    };
    let rows: Vec<(String, i64)> = kinds(&look.drift)
        .into_iter()
        .map(|(kind, number)| (format!("{labels},kind=\"{kind}\""), number))
        .collect();
    gauge(
        &mut text,
        "servers",
        "Differences from the records, by kind; each is of one server.",
        &rows,
    );
    gauge(
        &mut text,
        "ignored",
        "Differences left out because of --ignore.",
        &[(labels.clone(), count(look.ignored))],
    );
    let silent = look.unobserved.iter().filter(|host| !host.accepted).count();
    gauge(
        &mut text,
        "unobserved_hosts",
        "Hosts that did not answer and were not accepted.",
        &[(labels, count(silent))],
    );
    text
}

fn kinds(drift: &[Drift]) -> BTreeMap<&'static str, i64> {
    let mut kinds: BTreeMap<&'static str, i64> = KINDS.map(|kind| (kind, 0)).into();
    for drift in drift {
        *kinds.entry(word(&drift.what)).or_default() += 1;
    }
    kinds
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn gauge(text: &mut String, name: &str, help: &str, rows: &[(String, i64)]) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "# HELP drover_drift_{name} {help}\n# TYPE drover_drift_{name} gauge"
    );
    for (labels, value) in rows {
        let _ = writeln!(text, "drover_drift_{name}{{{labels}}} {value}");
    }
}
