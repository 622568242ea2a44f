//! One change of a server: what, where, why, at which cost to the guest, and its attributes.

use super::super::action::ActionKind;
use super::super::change::{Change, ChangeKind, cost};
use super::super::reason::Reason;
use super::super::types::{Placement, Plan};
use super::layout::Page;
use super::rows;
use drover_types::HostName;

/// How many hosts a shortened list names.
const HOSTS_NAMED: usize = 8;

pub(super) fn server(page: &mut Page, plan: &Plan, change: &Change<'_>) {
    let address = change.address;
    let on = change
        .action
        .host
        .as_ref()
        .map(|host| format!(" on {host}"))
        .unwrap_or_default();
    let headline = if let ActionKind::Migrate { to, .. } = &change.action.kind {
        format!("{address} will be migrated to {to}")
    } else if let ActionKind::Import { from, .. } = &change.action.kind {
        format!("{address} will be imported from {from}")
    } else {
        format!("{address} {}{on}", what_happens(change))
    };
    page.wrapped_in(page.style.bold, "  # ", &headline);
    if let Some(why) = why(change) {
        page.wrapped("  # why: ", &why);
    }
    let cost = cost(change);
    if !cost.is_empty() {
        page.wrapped("  # impact: ", &cost);
    }
    if let Some(placement) = new_place(plan, change) {
        let mut there = format!("{}, {}", placement.host, placement.why);
        if !placement.alternates.is_empty() {
            there.push_str(&format!("; else {}", names(&placement.alternates)));
        }
        page.wrapped("  # host: ", &there);
    }
    let symbol = change.kind.symbol();
    page.coloured(
        page.style.of(change.kind),
        &format!("{symbol:>3} {} \"{}\" {{", address.kind, address.name),
    );
    rows::print(page, &rows::rows(change), "      ");
    page.line("    }");
}

/// The words after the address: "will be created", "must be rebuilt".
pub(super) fn what_happens(change: &Change<'_>) -> &'static str {
    match (&change.action.kind, change.kind) {
        (
            ActionKind::SetPower {
                power: crate::model::Power::Off,
                ..
            },
            _,
        ) => "will be stopped",
        (ActionKind::SetPower { .. }, _) => "will be started",
        (_, ChangeKind::Create) => "will be created",
        (_, ChangeKind::Import) => "will be imported",
        (_, ChangeKind::Replace) => "must be rebuilt",
        (_, ChangeKind::Succeed) => "must be replaced",
        (_, ChangeKind::Release) => "will be forgotten",
        (_, ChangeKind::Destroy) => "will be destroyed",
        (_, ChangeKind::Adopt) => "will be recorded as found",
        (_, ChangeKind::Migrate) => "will be migrated",
        (_, ChangeKind::Reboot) => "will be updated with a reboot",
        (
            _,
            ChangeKind::Update
            | ChangeKind::Forget
            | ChangeKind::RecordNew
            | ChangeKind::RecordChanged
            | ChangeKind::RecordGone
            | ChangeKind::RecordMoved
            | ChangeKind::HostWork,
        ) => "will be updated in place",
    }
}

/// Why; nothing where it is plain: what is declared and not there is created.
pub(super) fn why(change: &Change<'_>) -> Option<String> {
    match &change.action.why {
        Reason::Declared | Reason::ImportAsked { .. } => None,
        reason => Some(reason.to_string()),
    }
}

/// The host that has the server once this is done.
pub(super) fn new_host<'a>(change: &Change<'a>) -> Option<&'a HostName> {
    if let ActionKind::Migrate { to, .. } = &change.action.kind {
        Some(to)
    } else {
        change.action.host.as_ref()
    }
}

/// The placement that this change brings about.
pub(super) fn new_place<'p>(plan: &'p Plan, change: &Change<'_>) -> Option<&'p Placement> {
    let placement = plan.placements.get(change.address)?;
    (new_host(change) == Some(&placement.host)).then_some(placement)
}

/// The first few names and how many more there are.
pub(super) fn names(hosts: &[HostName]) -> String {
    let mut text = hosts
        .iter()
        .take(HOSTS_NAMED)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if hosts.len() > HOSTS_NAMED {
        text.push_str(&format!(" and {} more", hosts.len() - HOSTS_NAMED));
    }
    text
}
