//! What stands around the changes: what is blocked, what is left aside.

use super::super::blocked::together;
use super::super::types::{Blocked, BlockedBy, HostRejection, Plan};
use super::Warnings;
use super::layout::{Page, plural};
use crate::placement::{NAMED, grouped, names};
use std::collections::BTreeMap;

/// Of longer lists only this many are shown.
pub(super) const SHOWN: usize = 50;
/// So many hosts that turned a server away are all named.
const HOSTS: usize = 12;

/// What stands above all else where no host was asked.
pub(super) fn inventory(page: &mut Page, plan: &Plan) {
    if let Some(taken) = &plan.inventory {
        page.bold(&format!(
            "Planned from an inventory file of {taken}; no host was asked."
        ));
    }
}

pub(super) fn blocked(page: &mut Page, plan: &Plan) {
    if plan.blocked.is_empty() {
        return;
    }
    page.gap();
    page.bold("Blocked, and left as it is:");
    let short = page.most(1) == 1;
    let alike = together(&plan.blocked, |one, other| short && are_alike(one, other));
    for (blocked, addresses) in alike.iter().take(page.most(SHOWN)) {
        page.gap();
        let headline = format!(
            "{} cannot be {} ({})",
            names(addresses),
            done(&blocked.verb),
            blocked.why
        );
        page.wrapped_in(page.style.remove, "  ! ", &headline);
        page.shortened |= addresses.len() > NAMED;
        match &blocked.by {
            BlockedBy::NoHost { rejections, conflict } => {
                page.line(if rejections.is_empty() {
                    "      no host can take it"
                } else {
                    "      no host can take it:"
                });
                self::rejections(page, rejections);
                if !conflict.is_empty() {
                    page.wrapped("      ", &format!("no host passes {}", conflict.join(" and ")));
                }
            }
            BlockedBy::CannotImport { problems, .. } => {
                for problem in problems {
                    page.wrapped("      ", &problem.to_string());
                }
            }
            BlockedBy::Imported { host } => {
                page.wrapped(
                    "      ",
                    &format!("it was imported as it was found on {host}, and stays there as it is"),
                );
            }
            BlockedBy::HasDevices { host } => {
                page.wrapped(
                    "      ",
                    &format!("it has PCI devices of {host}, and such a guest cannot be moved while it runs"),
                );
            }
            BlockedBy::NoImage => page.line("      it has no image to be made from"),
            BlockedBy::DataLoss => {
                page.wrapped("      ", "it would lose what is on the root disk");
            }
            BlockedBy::Unobserved { host } => {
                page.wrapped("      ", &format!("host {host} did not answer"));
            }
            BlockedBy::Needs { address } => {
                page.wrapped("      ", &format!("it needs {address}, which is blocked itself"));
            }
            BlockedBy::DiskShrinks { has, asked } => {
                page.wrapped("      ", &format!("its {}", super::disk_shrinks(*has, *asked)));
            }
            BlockedBy::HostInUse { host } => {
                page.wrapped(
                    "      ",
                    &format!("host {host} is no longer declared and still holds it"),
                );
            }
        }
        if !blocked.hint.is_empty() {
            let hint = match blocked.hint.strip_prefix("it would fit with ") {
                Some(remedies) if addresses.len() > 1 => format!("one of them would fit with {remedies}"),
                Some(_) | None => blocked.hint.clone(),
            };
            page.wrapped("      hint: ", &hint);
        }
    }
    more(page, alike.len());
}

/// Whether the same may be said of both.
fn are_alike(one: &Blocked, other: &Blocked) -> bool {
    (&one.verb, &one.why, &one.by, &one.hint) == (&other.verb, &other.why, &other.by, &other.hint)
}

/// Each host that cannot take it; where they are many, each filter with how many it turned away.
fn rejections(page: &mut Page, rejections: &[HostRejection]) {
    if rejections.len() <= page.most(HOSTS) {
        for rejection in rejections {
            page.wrapped(
                "        ",
                &format!("{}  {}: {}", rejection.host, rejection.filter, rejection.why),
            );
        }
        return;
    }
    let mut by_filter: BTreeMap<&str, Vec<&HostRejection>> = BTreeMap::new();
    for rejection in rejections {
        by_filter.entry(&rejection.filter).or_default().push(rejection);
    }
    let mut by_number: Vec<(&str, Vec<&HostRejection>)> = by_filter.into_iter().collect();
    by_number.sort_by(|one, other| other.1.len().cmp(&one.1.len()).then(one.0.cmp(other.0)));
    for (filter, turned_away) in by_number {
        let example = turned_away
            .first()
            .map(|first| format!(", for example {}: {}", first.host, first.why))
            .unwrap_or_default();
        page.wrapped(
            "        ",
            &format!(
                "{filter} turns away {}{example}",
                plural(turned_away.len(), "host")
            ),
        );
    }
    page.shortened = true;
}

/// The participle of an action's verb.
fn done(verb: &str) -> String {
    match verb {
        "stop" => "stopped".to_owned(),
        "rebuild" => "rebuilt".to_owned(),
        "forget" => "forgotten".to_owned(),
        "evict" | "fetch" | "adopt" | "import" | "start" | "record" | "reboot" | "destroy" => {
            format!("{verb}ed")
        }
        other => format!("{other}d"),
    }
}

pub(super) fn placements(page: &mut Page, plan: &Plan) {
    for explanation in plan.explanations.values() {
        page.gap();
        let text = explanation.to_string();
        let mut lines = text.lines();
        page.bold(lines.next().unwrap_or_default());
        for line in lines {
            page.line(line);
        }
    }
}

/// Warnings as a line each; what is wrong is never among them.
fn compact(page: &mut Page, plan: &Plan) {
    let mut lines: Vec<String> = plan
        .findings
        .iter()
        .map(|finding| match &finding.address {
            Some(address) => format!("{address}: {}", finding.message),
            None => finding.message.clone(),
        })
        .collect();
    if !plan.targets.is_empty() {
        lines.push(limited(plan));
    }
    if lines.is_empty() {
        return;
    }
    page.gap();
    page.coloured(page.style.change, "Warnings:");
    for line in &lines {
        page.line(&format!("  - {line}"));
    }
    page.line("To see all that they say, leave out --compact-warnings.");
}

fn limited(plan: &Plan) -> String {
    let names: Vec<String> = plan.targets.iter().map(ToString::to_string).collect();
    format!("this plan is limited to {}", names.join(", "))
}

/// What the plan leaves aside, and what of it was not shown.
pub(super) fn limits(page: &mut Page, plan: &Plan) {
    if page.warnings == Warnings::Compact && plan.is_whole() {
        compact(page, plan);
    } else if !plan.targets.is_empty() {
        page.gap();
        page.wrapped_in(page.style.change, "", &format!("Warning: {}", limited(plan)));
        page.wrapped(
            "  ",
            "Everything else is left as it is, also where it differs from the configuration. Of outputs only those \
             change that follow what this plan does. Targets are for getting out of trouble, not for everyday work.",
        );
        page.wrapped(
            "  hint: ",
            "afterwards, look at the rest with `drover plan` without --target",
        );
    }
    if page.shortened {
        page.gap();
        page.line("Shortened; --full shows everything one by one.");
    }
}

pub(super) fn more(page: &mut Page, number: usize) {
    if number > page.most(SHOWN) {
        page.line(&format!("      … and {} more", grouped(number - SHOWN)));
        page.shortened = true;
    }
}
