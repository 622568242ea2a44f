//! The attributes of a change, both sides beside each other: only what changes, and how much else there is.

use super::super::action::ActionKind;
use super::super::change::{Change, ChangeKind};
use super::layout::{Page, WIDTH};
use super::value::{HIDDEN, key, value};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One attribute, or one entry of an attribute that is a map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// Its name: `vcpus`, `labels.tier`.
    pub(super) name: String,
    /// As it is, in words.
    pub(super) before: Option<String>,
    /// As it will be, in words.
    pub(super) after: Option<String>,
    /// What changing it does beyond the change itself.
    pub(super) forces: &'static str,
}

/// The rows that change, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) changed: Vec<Row>,
    /// How many attributes stay as they are.
    pub(super) unchanged: usize,
}

/// The attributes of both sides side by side.
pub(super) fn rows(change: &Change<'_>) -> Rows {
    let before = change
        .removal
        .map_or(&change.action.before, |removal| &removal.before);
    let hidden = &change.action.hidden;
    let sides = [
        parts(before, &hidden.before),
        parts(&change.action.after, &hidden.after),
    ];
    let names: BTreeSet<&String> = sides.iter().flat_map(BTreeMap::keys).collect();
    let mut rows = Rows::default();
    for name in names {
        let [before, after] = [sides[0].get(name), sides[1].get(name)];
        if before.map(|part| part.value) == after.map(|part| part.value) {
            rows.unchanged += 1;
            continue;
        }
        let words = |part: Option<&Part<'_>>| {
            part.map(|part| {
                if part.hidden {
                    HIDDEN.to_owned()
                } else {
                    value(part.value)
                }
            })
        };
        rows.changed.push(Row {
            name: name.clone(),
            before: words(before),
            after: words(after),
            forces: forces(change, name),
        });
    }
    rows
}

struct Part<'a> {
    value: &'a Value,
    hidden: bool,
}

/// A side's attributes; maps are taken apart, so that only the entries that change are shown, unless they are
/// hidden.
fn parts<'a>(side: &'a Value, hidden: &BTreeSet<String>) -> BTreeMap<String, Part<'a>> {
    let mut parts = BTreeMap::new();
    let Value::Object(attributes) = side else {
        return parts;
    };
    for (name, attribute) in attributes.iter().filter(|(_, attribute)| !attribute.is_null()) {
        match attribute {
            Value::Object(entries) if !hidden.contains(name) => {
                parts.extend(
                    entries.iter().map(|(entry, value)| {
                        (format!("{name}.{}", key(entry)), Part { value, hidden: false })
                    }),
                );
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                let part = Part {
                    value: attribute,
                    hidden: hidden.contains(name),
                };
                parts.insert(name.clone(), part);
            }
        }
    }
    parts
}

/// Which attribute is the reason for a reboot or a rebuild.
fn forces(change: &Change<'_>, name: &str) -> &'static str {
    match (&change.action.kind, change.kind) {
        (ActionKind::CreateServer { .. }, ChangeKind::Replace | ChangeKind::Succeed)
            if name == "image_checksum" =>
        {
            "forces a new root disk"
        }
        (ActionKind::UpdateServer { .. }, ChangeKind::Reboot) if matches!(name, "vcpus" | "ram" | "disk") => {
            "forces a reboot"
        }
        (_, _) => "",
    }
}

/// Prints the rows of one change, the names beside each other.
pub(super) fn print(page: &mut Page, rows: &Rows, indent: &str) {
    let width = rows
        .changed
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or(0);
    for row in &rows.changed {
        let (mark, colour, text) = match (&row.before, &row.after) {
            (Some(before), Some(after)) if before == after => ("~", page.style.change, after.clone()),
            (Some(before), Some(after)) => ("~", page.style.change, format!("{before} -> {after}")),
            (None, Some(after)) => ("+", page.style.add, after.clone()),
            (Some(before), None) => ("-", page.style.remove, format!("{before} -> null")),
            (None, None) => continue,
        };
        let line = format!("{indent}{mark} {:width$} = {text}", row.name);
        if row.forces.is_empty() {
            page.coloured(colour, &line);
        } else if line.chars().count() + row.forces.chars().count() + 3 <= WIDTH {
            page.coloured(colour, &format!("{line} # {}", row.forces));
        } else {
            page.coloured(colour, &line);
            page.coloured(colour, &format!("{indent}  # {}", row.forces));
        }
    }
    if rows.unchanged > 0 {
        let attributes = if rows.unchanged == 1 {
            "attribute"
        } else {
            "attributes"
        };
        page.coloured(
            page.style.faint,
            &format!("{indent}  # ({} unchanged {attributes} hidden)", rows.unchanged),
        );
    }
}
