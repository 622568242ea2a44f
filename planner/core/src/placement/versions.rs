//! Comma-separated version predicates, as `img_hv_requested_version` carries them.

use std::cmp::Ordering;

/// Whether `version` (libvirt's integer, 2.11.1 is 2011001) meets every predicate; `None` when one cannot be read.
pub(crate) fn satisfies(version: u64, predicates: &str) -> Option<bool> {
    let actual = parts(version);
    let mut all = true;
    for predicate in predicates.split(',') {
        all &= holds(&actual, predicate.trim())?;
    }
    Some(all)
}

/// As people write it: `2.11.1`.
pub(crate) fn text(version: u64) -> String {
    let parts: Vec<String> = parts(version).iter().map(ToString::to_string).collect();
    parts.join(".")
}

/// As `oslo_utils.versionutils.convert_version_to_str`: thousands, the first one not zero.
fn parts(mut version: u64) -> Vec<u64> {
    let mut parts = Vec::new();
    while version != 0 {
        parts.insert(0, version % 1000);
        version /= 1000;
    }
    parts
}

fn holds(actual: &[u64], predicate: &str) -> Option<bool> {
    let split = predicate.find(|c: char| !matches!(c, '<' | '>' | '=' | '!'))?;
    let (operator, version) = predicate.split_at(split);
    let order = compare(actual, &numbers(version.trim())?);
    match operator {
        "<" => Some(order.is_lt()),
        "<=" => Some(order.is_le()),
        ">" => Some(order.is_gt()),
        ">=" => Some(order.is_ge()),
        "==" => Some(order.is_eq()),
        "!=" => Some(order.is_ne()),
        _ => None,
    }
}

fn numbers(version: &str) -> Option<Vec<u64>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// Missing parts count as zero: 2.6 equals 2.6.0.
fn compare(actual: &[u64], wanted: &[u64]) -> Ordering {
    let part = |parts: &[u64], at: usize| parts.get(at).copied().unwrap_or(0);
    (0..actual.len().max(wanted.len()))
        .map(|at| part(actual, at).cmp(&part(wanted, at)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicates_compare_part_by_part() {
        for (version, predicates, expected) in [
            (2_011_001, "==2.11.1", Some(true)),
            (2_011_001, ">=2.6, <8.0", Some(true)),
            (2_011_001, ">=2.6,<2.11", Some(false)),
            (9_000_000, ">= 9.0", Some(true)),
            (4_002_001, "!=4.2.1", Some(false)),
            (4_002_001, "4.2.1", None),
            (4_002_001, "~=4", None),
            (4_002_001, "", None),
            (12_001, "==12.1", Some(true)),
            (1_002_003_004, "> 1.2.3", Some(true)),
            (4_002_001, ">=x", None),
        ] {
            assert_eq!(satisfies(version, predicates), expected, "{version} {predicates}");
        }
    }
}
