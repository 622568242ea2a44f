//! What differs between the domain that was asked for and the one that is there.

use super::attribute::Attribute;
use serde::Serialize;
use std::collections::BTreeMap;

/// Which of libvirt's two descriptions of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The running one.
    Live,
    /// The one that the next start uses.
    Persistent,
}

/// One attribute that is not as it was rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttributeDrift {
    /// The attribute.
    pub attribute: Attribute,
    /// What was rendered; `None` for something added.
    pub expected: Option<String>,
    /// What is there; `None` for something removed.
    pub found: Option<String>,
    /// In which description.
    pub place: Place,
}

/// Every difference, in the order of attributes, live ahead of persistent. `live` is `None` for a domain
/// that does not run, `persistent` for one that has no definition (which is for the caller to report).
#[must_use]
pub fn drift(
    expected: &BTreeMap<Attribute, String>,
    live: Option<&BTreeMap<Attribute, String>>,
    persistent: Option<&BTreeMap<Attribute, String>>,
) -> Vec<AttributeDrift> {
    let mut all = Vec::new();
    for (place, found) in [(Place::Live, live), (Place::Persistent, persistent)] {
        let Some(found) = found else { continue };
        let compared = |attribute: &Attribute| match place {
            Place::Live => attribute.is_kept_when_running(),
            Place::Persistent => true,
        };
        for (attribute, value) in expected.iter().filter(|(attribute, _)| compared(attribute)) {
            if found.get(attribute) != Some(value) {
                all.push(AttributeDrift {
                    attribute: attribute.clone(),
                    expected: Some(value.clone()),
                    found: found.get(attribute).cloned(),
                    place,
                });
            }
        }
        let added = found.iter().filter(|(attribute, _)| {
            attribute.is_drift_when_added() && compared(attribute) && !expected.contains_key(attribute)
        });
        all.extend(added.map(|(attribute, value)| AttributeDrift {
            attribute: attribute.clone(),
            expected: None,
            found: Some(value.clone()),
            place,
        }));
    }
    all.sort_by(|a, b| (&a.attribute, a.place).cmp(&(&b.attribute, b.place)));
    all
}
