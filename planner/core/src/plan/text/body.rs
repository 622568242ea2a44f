//! The changes: servers in full or, where many are alike, together; then work on hosts, then records.

use super::super::action::ActionKind;
use super::super::change::{Change, ChangeKind};
use super::super::types::Plan;
use super::alike::{self, Alike};
use super::layout::{Page, plural};
use super::{block, rows};
use drover_types::HostName;
use std::collections::BTreeMap;

/// Of more instances than this that change alike none is shown in full.
const ALIKE: usize = 10;
/// So many blocks are shown; of what follows each change is a line.
const BLOCKS: usize = 60;
/// So many changes are lines; what follows is counted.
const LINES: usize = 200;

pub(super) fn changes(page: &mut Page, plan: &Plan, all: &[Change<'_>]) {
    let (records, others): (Vec<_>, Vec<_>) = all.iter().partition(|change| is_record(change.kind));
    let (host_work, servers): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|change| change.kind == ChangeKind::HostWork);
    self::servers(page, plan, &servers);
    if !host_work.is_empty() {
        page.gap();
        work(page, &host_work);
    }
    if !records.is_empty() {
        page.gap();
        page.line("  # written down, no host is touched:");
        self::records(page, &records);
    }
}

const fn is_record(kind: ChangeKind) -> bool {
    match kind {
        ChangeKind::RecordNew
        | ChangeKind::RecordChanged
        | ChangeKind::RecordGone
        | ChangeKind::RecordMoved
        | ChangeKind::Forget => true,
        ChangeKind::Create
        | ChangeKind::Update
        | ChangeKind::Reboot
        | ChangeKind::Migrate
        | ChangeKind::Replace
        | ChangeKind::Succeed
        | ChangeKind::Destroy
        | ChangeKind::Import
        | ChangeKind::Adopt
        | ChangeKind::Release
        | ChangeKind::HostWork => false,
    }
}

fn servers(page: &mut Page, plan: &Plan, servers: &[&Change<'_>]) {
    let mut blocks = 0;
    let mut rest: Vec<&Change<'_>> = Vec::new();
    let (alike, most) = (page.most(ALIKE), page.most(BLOCKS));
    for group in alike::sorted(servers) {
        if blocks >= most {
            rest.extend(&group.members);
        } else if group.members.len() > alike {
            page.gap();
            alike::together(page, plan, &group);
            page.shortened = true;
            blocks += 1;
        } else {
            for change in &group.members {
                page.gap();
                block::server(page, plan, change);
            }
            blocks += group.members.len();
        }
    }
    if !rest.is_empty() {
        page.gap();
        page.line("  # and so will these:");
        lines(page, &rest);
    }
}

/// One line each.
fn lines(page: &mut Page, changes: &[&Change<'_>]) {
    let most = page.most(LINES);
    for change in changes.iter().take(most) {
        let place = match (&change.action.kind, &change.action.host) {
            (ActionKind::Migrate { to, .. }, Some(from)) => format!(" from {from} to {to}"),
            (_, Some(host)) => format!(" on {host}"),
            (_, None) => String::new(),
        };
        let text = format!(
            "{:>3} {} {}{place}",
            change.kind.symbol(),
            change.address,
            block::what_happens(change)
        );
        page.coloured(page.style.of(change.kind), &text);
    }
    let mut left: BTreeMap<ChangeKind, (usize, &'static str)> = BTreeMap::new();
    for change in changes.iter().skip(most) {
        left.entry(change.kind)
            .or_insert((0, block::what_happens(change)))
            .0 += 1;
    }
    for (kind, (number, words)) in left {
        let text = format!("{:>3} {} more {words}", kind.symbol(), plural(number, "server"));
        page.coloured(page.style.of(kind), &text);
    }
    page.shortened = true;
}

fn records(page: &mut Page, records: &[&Change<'_>]) {
    let alike = page.most(ALIKE);
    for group in alike::sorted(records) {
        if group.members.len() > alike {
            page.shortened = true;
            let Alike { kind, members } = &group;
            let kinds = members
                .first()
                .map_or("record", |change| change.address.kind.as_str());
            let text = format!(
                "{:>3} {} ({})",
                kind.symbol(),
                alike::range(members),
                plural(members.len(), kinds)
            );
            page.coloured(page.style.of(*kind), &text);
            continue;
        }
        for change in &group.members {
            record(page, change);
        }
    }
}

fn record(page: &mut Page, change: &Change<'_>) {
    let style = page.style.of(change.kind);
    let symbol = change.kind.symbol();
    let line = match &change.action.kind {
        ActionKind::Move { from, .. } => format!("{symbol:>3} {from} is {} now", change.address),
        _ => format!("{symbol:>3} {}", change.address),
    };
    page.coloured(style, &line);
    if change.kind == ChangeKind::RecordChanged {
        rows::print(page, &rows::rows(change), "      ");
    }
}

/// One line per image and kind of work, with the hosts.
fn work(page: &mut Page, all: &[&Change<'_>]) {
    let mut by_text: BTreeMap<String, Vec<HostName>> = BTreeMap::new();
    for change in all {
        let address = change.address;
        let text = match &change.action.kind {
            ActionKind::EnsureImage { .. } => format!("{address} will be fetched to"),
            ActionKind::DeleteImage { .. } => format!("{address} will be removed from the cache of"),
            ActionKind::Settle { .. } => {
                format!("{address}: {}; it is settled first, on", change.action.why)
            }
            ActionKind::DeleteServer { .. } => format!("what {address} left behind will be removed from"),
            ActionKind::CreateServer { .. }
            | ActionKind::Import { .. }
            | ActionKind::UpdateServer { .. }
            | ActionKind::SetPower { .. }
            | ActionKind::Migrate { .. }
            | ActionKind::Adopt { .. }
            | ActionKind::TakeOver { .. }
            | ActionKind::RecordServer { .. }
            | ActionKind::ForgetServer { .. }
            | ActionKind::Move { .. }
            | ActionKind::Record(_) => continue,
        };
        by_text
            .entry(text)
            .or_default()
            .extend(change.action.host.clone());
    }
    for (text, hosts) in by_text {
        page.wrapped("  # ", &format!("{text} {}", block::names(&hosts)));
    }
}
