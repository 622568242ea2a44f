//! What a look at the fleet found: what is wrong, hosts that did not answer, drift.

use super::super::types::{Drift, DriftKind, Finding, Severity, UnobservedHost};
use super::layout::{Page, plural};
use super::notes::{SHOWN, more};

pub(super) fn findings(page: &mut Page, findings: &[Finding]) {
    for finding in findings {
        let (word, colour) = match finding.severity {
            Severity::Error => ("Error", page.style.remove),
            Severity::Warning => ("Warning", page.style.change),
        };
        page.gap();
        let about = finding
            .address
            .as_ref()
            .map(|address| format!("{address}: "))
            .unwrap_or_default();
        page.wrapped_in(colour, "", &format!("{word}: {about}{}", finding.message));
        if !finding.hint.is_empty() {
            page.wrapped("  hint: ", &finding.hint);
        }
    }
}

pub(super) fn unobserved(page: &mut Page, hosts: &[UnobservedHost]) {
    for host in hosts {
        page.gap();
        let colour = if host.accepted {
            page.style.change
        } else {
            page.style.remove
        };
        let word = if host.accepted { "Warning" } else { "Error" };
        page.wrapped_in(colour, "", &format!("{word}: host {} {}", host.host, host.why));
        let servers = match host.servers.len() {
            0 => "No server is recorded there".to_owned(),
            number => format!(
                "The state of {} recorded there is unknown",
                plural(number, "server")
            ),
        };
        page.wrapped(
            "  ",
            &format!("{servers}; nothing is planned on it or away from it."),
        );
        if !host.accepted {
            let remedy = host.why.remedy();
            page.wrapped(
                "  hint: ",
                &format!("{remedy}, or accept it with --allow-unreachable {}", host.host),
            );
        }
    }
}

pub(super) fn drift(page: &mut Page, found: &[Drift]) {
    if found.is_empty() {
        return;
    }
    page.gap();
    page.bold("Changed outside of Drover:");
    for drift in found.iter().take(page.most(SHOWN)) {
        let (address, host) = (&drift.address, &drift.host);
        match &drift.what {
            DriftKind::Power { recorded, found } => {
                page.wrapped(
                    "  ",
                    &format!("~ {address} on {host} is {found}; it was recorded as {recorded}"),
                );
            }
            DriftKind::DomainGone => {
                page.wrapped(
                    "  ",
                    &format!("- {address} is gone: {host} has no such domain any more"),
                );
            }
            DriftKind::Moved { from } => {
                page.wrapped(
                    "  ",
                    &format!("> {address} is on {host}; it was recorded on {from}"),
                );
            }
            DriftKind::Attributes { attributes } => {
                page.wrapped("  ", &format!("~ {address} on {host} was altered:"));
                for attribute in attributes {
                    page.line(&format!(
                        "      ~ {} = {:?} -> {:?}",
                        attribute.attribute, attribute.expected, attribute.found
                    ));
                }
            }
            DriftKind::Epoch { recorded, found } => {
                page.wrapped(
                    "  ",
                    &format!("~ {address}: {host} holds epoch {found}, recorded is {recorded}"),
                );
            }
            DriftKind::Orphan { not_adopted } => {
                page.wrapped("  ", &format!("+ {address} is on {host} and not recorded"));
                if !not_adopted.is_empty() {
                    page.wrapped("      ", &format!("not adopted: {not_adopted}"));
                }
            }
        }
    }
    more(page, found.len());
}
