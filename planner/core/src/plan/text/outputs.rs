//! Outputs that change: on one line where they fit, else element by element, what stays left out.

use super::super::types::{OutputChange, OutputValue, Plan};
use super::layout::{Page, WIDTH};
use super::value::{HIDDEN, key, value};
use crate::placement::grouped;
use serde_json::Value;

/// So many elements of one list or map are shown on each side of a change.
const ELEMENTS: usize = 20;

pub(super) fn outputs(page: &mut Page, plan: &Plan) {
    if plan.outputs.is_empty() {
        return;
    }
    page.gap();
    page.line("Changes to outputs:");
    let width = plan
        .outputs
        .keys()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, change) in &plan.outputs {
        output(page, &format!("{name:width$}"), change);
    }
}

fn output(page: &mut Page, name: &str, change: &OutputChange) {
    let (mark, colour, text) = match (&change.before, &change.after) {
        (None, Some(after)) => ("+", page.style.add, output_value(after)),
        (Some(before), None) => (
            "-",
            page.style.remove,
            format!("{} -> null", output_value(before)),
        ),
        (Some(before), Some(after)) if before.sensitive && after.sensitive => {
            ("~", page.style.change, HIDDEN.to_owned())
        }
        (Some(before), Some(after)) => (
            "~",
            page.style.change,
            format!("{} -> {}", output_value(before), output_value(after)),
        ),
        (None, None) => return,
    };
    let line = format!("  {mark} {name} = {text}");
    if line.chars().count() <= WIDTH {
        page.coloured(colour, &line);
        return;
    }
    let shown = |side: &Option<OutputValue>| {
        side.as_ref()
            .filter(|side| !side.sensitive)
            .and_then(|side| side.value.clone())
    };
    let (before, after) = (shown(&change.before), shown(&change.after));
    match (before, after) {
        (Some(before), Some(after)) => different(page, "  ", name, &before, &after),
        (None, Some(after)) if change.before.is_none() => different(page, "  ", name, &Value::Null, &after),
        (Some(before), None) if change.after.is_none() => different(page, "  ", name, &before, &Value::Null),
        (Some(_) | None, Some(_) | None) => page.coloured(colour, &line),
    }
}

/// An output's value on one line, as far as it may be seen and is known.
#[must_use]
pub fn output_value(output: &OutputValue) -> String {
    match (&output.value, &output.waits_for, output.sensitive) {
        (_, _, true) => HIDDEN.to_owned(),
        (None, Some(reference), false) => format!("(known after apply: {reference})"),
        (None, None, false) => "(known after apply)".to_owned(),
        (Some(known), _, false) => value(known),
    }
}

/// How two values differ, over as many lines as it takes.
fn different(page: &mut Page, indent: &str, name: &str, before: &Value, after: &Value) {
    let inner = format!("{indent}    ");
    let (mark, colour) = match (before, after) {
        (Value::Null, _) => ("+", page.style.add),
        (_, Value::Null) => ("-", page.style.remove),
        (_, _) => ("~", page.style.change),
    };
    match (before, after) {
        (Value::Array(_) | Value::Null, Value::Array(_) | Value::Null) => {
            let none = Vec::new();
            let (before, after) = (
                before.as_array().unwrap_or(&none),
                after.as_array().unwrap_or(&none),
            );
            page.coloured(colour, &format!("{indent}{mark} {name} = ["));
            elements(page, &inner, before, after);
            page.coloured(colour, &format!("{indent}  ]"));
        }
        (Value::Object(_) | Value::Null, Value::Object(_) | Value::Null) => {
            page.coloured(colour, &format!("{indent}{mark} {name} = {{"));
            fields(page, &inner, before, after);
            page.coloured(colour, &format!("{indent}  }}"));
        }
        (_, Value::Null) => page.coloured(
            colour,
            &format!("{indent}{mark} {name} = {} -> null", value(before)),
        ),
        (Value::Null, _) => page.coloured(colour, &format!("{indent}{mark} {name} = {}", value(after))),
        (_, _) => page.coloured(
            colour,
            &format!("{indent}{mark} {name} = {} -> {}", value(before), value(after)),
        ),
    }
}

/// The elements place by place, without those that both begin and end with.
fn elements(page: &mut Page, indent: &str, before: &[Value], after: &[Value]) {
    let same = |(one, other): &(&Value, &Value)| one == other;
    let begin = before.iter().zip(after).take_while(same).count();
    let (before, after) = (&before[begin..], &after[begin..]);
    let end = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take_while(same)
        .count();
    let (before, after) = (&before[..before.len() - end], &after[..after.len() - end]);
    let most = page.most(ELEMENTS);
    let (mut unchanged, mut shown, mut left) = (begin, 0, 0);
    for place in 0..before.len().max(after.len()) {
        let (mark, colour, text) = match (before.get(place), after.get(place)) {
            (Some(one), Some(other)) if one == other => {
                unchanged += 1;
                continue;
            }
            (Some(one), Some(other)) => (
                "~",
                page.style.change,
                format!("{} -> {}", value(one), value(other)),
            ),
            (Some(one), None) => ("-", page.style.remove, value(one)),
            (None, Some(other)) => ("+", page.style.add, value(other)),
            (None, None) => continue,
        };
        if shown >= most {
            left += 1;
            continue;
        }
        self::unchanged(page, indent, std::mem::take(&mut unchanged), "element");
        page.coloured(colour, &format!("{indent}{mark} {text},"));
        shown += 1;
    }
    if left > 0 {
        page.line(&format!("{indent}… {} more", grouped(left)));
        page.shortened = true;
    }
    self::unchanged(page, indent, unchanged + end, "element");
}

fn fields(page: &mut Page, indent: &str, before: &Value, after: &Value) {
    let entries = |side: &Value| side.as_object().cloned().unwrap_or_default();
    let (before, after) = (entries(before), entries(after));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let (mut same, mut shown) = (0, 0);
    let most = page.most(ELEMENTS);
    let mut left = 0;
    for name in names {
        let nothing = Value::Null;
        let (one, other) = (
            before.get(name).unwrap_or(&nothing),
            after.get(name).unwrap_or(&nothing),
        );
        if one == other {
            same += 1;
        } else if shown < most {
            shown += 1;
            different(page, indent, &key(name), one, other);
        } else {
            left += 1;
        }
    }
    if left > 0 {
        page.line(&format!("{indent}… {} more", grouped(left)));
        page.shortened = true;
    }
    unchanged(page, indent, same, "attribute");
}

fn unchanged(page: &mut Page, indent: &str, number: usize, what: &str) {
    if number > 0 {
        let plural = if number == 1 { "" } else { "s" };
        page.coloured(
            page.style.faint,
            &format!(
                "{indent}  # ({} unchanged {what}{plural} hidden)",
                grouped(number)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::View;
    use super::*;
    use serde_json::json;

    fn change(before: Option<Value>, after: Option<Value>) -> String {
        let side = |value: Option<Value>| {
            value.map(|value| OutputValue {
                value: Some(value),
                waits_for: None,
                sensitive: false,
            })
        };
        let mut page = Page::new(View::default());
        let change = OutputChange {
            before: side(before),
            after: side(after),
        };
        output(&mut page, "hosts", &change);
        page.finish()
    }

    #[test]
    fn long_lists_show_what_changes_in_them() {
        let hosts: Vec<String> = (0..30).map(|at| format!("host-{at:02}")).collect();
        let mut after = hosts.clone();
        after[3] = "elsewhere".to_owned();
        after.push("one-more".to_owned());
        insta::assert_snapshot!(change(Some(json!(hosts)), Some(json!(after))), @r#"
        ~ hosts = [
              # (3 unchanged elements hidden)
            ~ "host-03" -> "elsewhere",
              # (26 unchanged elements hidden)
            + "one-more",
          ]
        "#);
        insta::assert_snapshot!(change(None, Some(json!(hosts))), @r#"
        + hosts = [
            + "host-00",
            + "host-01",
            + "host-02",
            + "host-03",
            + "host-04",
            + "host-05",
            + "host-06",
            + "host-07",
            + "host-08",
            + "host-09",
            + "host-10",
            + "host-11",
            + "host-12",
            + "host-13",
            + "host-14",
            + "host-15",
            + "host-16",
            + "host-17",
            + "host-18",
            + "host-19",
            … 10 more
          ]
        "#);
    }

    #[test]
    fn long_maps_show_the_entries_that_change() {
        let by_name = |host: &str| json!({ "a": "a long enough text that this does not fit on one line", "b": host, "c": { "d": [1] } });
        insta::assert_snapshot!(change(Some(by_name("n1")), Some(by_name("n2"))), @r#"
        ~ hosts = {
            ~ b = "n1" -> "n2"
              # (2 unchanged attributes hidden)
          }
        "#);
        insta::assert_snapshot!(change(Some(by_name("n1")), None), @r#"
        - hosts = {
            - a = "a long enough text that this does not fit on one line" -> null
            - b = "n1" -> null
            - c = {
                - d = [
                    - 1,
                  ]
              }
          }
        "#);
    }

    #[test]
    fn short_values_stay_on_one_line() {
        assert_eq!(change(None, Some(json!(["n1"]))), "  + hosts = [\"n1\"]\n");
        assert_eq!(
            change(Some(json!(["n1"])), Some(json!(["n2"]))),
            "  ~ hosts = [\"n1\"] -> [\"n2\"]\n"
        );
    }
}
