//! What is sensitive of a server stays so where its domain was altered.

use crate::model::{AttributeDrift, DesiredFleet, RecordedFleet};
use crate::plan::{Drift, DriftKind};
use std::collections::BTreeSet;

/// What stands in the place of a hidden value.
const HIDDEN: &str = "(sensitive value)";

/// A value, unless the argument that it is of is sensitive.
pub(super) fn unless_hidden<T>(argument: &str, sensitive: &BTreeSet<String>, value: T) -> Option<T> {
    (!sensitive.contains(argument)).then_some(value)
}

/// Takes the sensitive values out of what was found; both as recorded and as declared now.
pub(super) fn hide(drift: &mut [Drift], desired: &DesiredFleet, recorded: &RecordedFleet) {
    for drift in drift {
        let DriftKind::Attributes { attributes } = &mut drift.what else {
            continue;
        };
        if let Some(record) = recorded.servers.get(&drift.address) {
            hide_drift(attributes, &record.spec.sensitive);
        }
        if let Some(server) = desired.servers.get(&drift.address) {
            hide_drift(attributes, &server.spec.sensitive);
        }
    }
}

/// Takes the values of sensitive arguments out of what is altered in a domain.
pub fn hide_drift(attributes: &mut [AttributeDrift], sensitive: &BTreeSet<String>) {
    if sensitive.is_empty() {
        return;
    }
    for attribute in attributes {
        if arguments(&attribute.attribute)
            .iter()
            .any(|argument| sensitive.contains(*argument))
        {
            HIDDEN.clone_into(&mut attribute.expected);
            HIDDEN.clone_into(&mut attribute.found);
        }
    }
}

/// The arguments of a server or of its flavor and image that an attribute of its domain shows.
fn arguments(attribute: &str) -> &'static [&'static str] {
    match attribute {
        "memory_kib" | "current_memory_kib" => &["ram"],
        "vcpus" | "current_vcpus" => &["vcpus"],
        "name" => &["name"],
        disk if disk.starts_with("disk.") => &["disk", "image_checksum"],
        // The rest is no argument's.
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SavedConfiguration;

    #[test]
    fn values_of_sensitive_arguments_are_not_told() {
        let of = |attribute: &str| AttributeDrift {
            attribute: attribute.to_owned(),
            expected: "524288".to_owned(),
            found: "1048576".to_owned(),
            configuration: SavedConfiguration::Persistent,
            heals_live: false,
        };
        let mut found = vec![of("memory_kib"), of("vcpus"), of("disk.vda.file")];
        hide_drift(
            &mut found,
            &["ram".to_owned(), "image_checksum".to_owned()].into(),
        );
        let told: Vec<&str> = found.iter().map(|one| one.found.as_str()).collect();
        assert_eq!(told, [HIDDEN, "1048576", HIDDEN]);
    }
}
