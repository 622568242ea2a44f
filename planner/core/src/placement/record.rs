//! A decision in the form of the recorded Nova decisions (`nova-vectors/1`), for simulation and comparison.

use super::batch::{Method, Unplaced};
use super::explain::Explanation;
use super::input::Name;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The server.
    pub server: Name,
    /// Hosts left after all filters, in the order given.
    pub passed: Vec<Name>,
    /// Every other host, with the first filter that removed it.
    pub rejected_by: IndexMap<Name, String>,
    /// Every host that fails a filter, with all it fails when each is asked alone; not recorded by newer Novas.
    #[serde(default)]
    pub failing_filters: IndexMap<Name, Vec<String>>,
    /// Weigher to host to raw and normalised value; empty with one host left, absent with none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighers: Option<IndexMap<String, IndexMap<Name, [Number; 2]>>>,
    /// Host to total; absent when none passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<IndexMap<Name, f64>>,
    /// Hosts whose total is the highest, in the order given.
    pub top: Vec<Name>,
    /// The first of `top`, or `None`: no valid host.
    pub chosen: Option<Name>,
}

/// A server's part in a batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchPart {
    /// Its turn, from 0; `None` without a host.
    pub turn: Option<usize>,
    /// How the batch was placed.
    #[serde(flatten)]
    pub method: Method,
    /// Why it has no host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unplaced: Option<Unplaced>,
}

/// Python's way: integers stay integers, and a flat column is the integer 0.
fn number(value: f64, whole: bool) -> Number {
    if whole && value.fract() == 0.0 && value.abs() < 9e15 {
        Number::from(value as i64)
    } else {
        Number::from_f64(value).unwrap_or_else(|| Number::from(0))
    }
}

impl From<&Explanation> for DecisionRecord {
    fn from(explanation: &Explanation) -> Self {
        let refused = || explanation.hosts.iter().filter(|host| !host.passed());
        let passed: Vec<(Name, f64)> = explanation
            .hosts
            .iter()
            .filter_map(|host| host.total.map(|total| (host.host.clone(), total)))
            .collect();
        let best = passed
            .iter()
            .map(|(_, total)| *total)
            .fold(f64::NEG_INFINITY, f64::max);
        let weighers = explanation.weighers.iter().map(|column| {
            let flat = column.values.iter().all(|(_, normalised)| *normalised == 0.0);
            let whole = column.weigher.row().whole;
            let values = passed
                .iter()
                .zip(&column.values)
                .map(|((host, _), (raw, normalised))| {
                    (host.clone(), [number(*raw, whole), number(*normalised, flat)])
                });
            (column.weigher.key().to_owned(), values.collect())
        });
        Self {
            server: explanation.server.clone(),
            rejected_by: refused()
                .map(|host| (host.host.clone(), host.refusals[0].filter.name().to_owned()))
                .collect(),
            failing_filters: refused()
                .map(|host| {
                    let filters = host
                        .refusals
                        .iter()
                        .map(|refusal| refusal.filter.name().to_owned());
                    (host.host.clone(), filters.collect())
                })
                .collect(),
            weighers: (!passed.is_empty()).then(|| weighers.collect()),
            weights: (!passed.is_empty()).then(|| passed.iter().cloned().collect()),
            top: passed
                .iter()
                .filter(|(_, total)| *total == best)
                .map(|(host, _)| host.clone())
                .collect(),
            chosen: explanation.chosen.clone(),
            passed: passed.into_iter().map(|(host, _)| host).collect(),
        }
    }
}
