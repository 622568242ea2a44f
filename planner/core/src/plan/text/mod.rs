//! The plan for people, at the clarity of Terraform's. What belongs to a whole plan is here; its parts have a file each.

mod alike;
mod balance;
mod block;
mod body;
mod found;
mod layout;
mod notes;
mod outputs;
mod rows;
mod value;

use super::change::{ChangeKind, Counts, changes, count};
use super::types::{Drift, Finding, Plan, PlanMode, UnobservedHost};
use drover_types::ByteSize;
use layout::Page;

pub use balance::balance;
pub use outputs::output_value;

/// How words are set off: escape sequences, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Before what is created.
    pub add: &'static str,
    /// Before what changes.
    pub change: &'static str,
    /// Before what goes.
    pub remove: &'static str,
    /// Before what moves.
    pub moved: &'static str,
    /// Before headings.
    pub bold: &'static str,
    /// Before what is less important.
    pub faint: &'static str,
    /// After each of these.
    pub reset: &'static str,
}

impl Style {
    /// No escape sequences.
    pub const PLAIN: Self = Self {
        add: "",
        change: "",
        remove: "",
        moved: "",
        bold: "",
        faint: "",
        reset: "",
    };

    /// A terminal's colours.
    pub const COLOUR: Self = Self {
        add: "\u{1b}[32m",
        change: "\u{1b}[33m",
        remove: "\u{1b}[31m",
        moved: "\u{1b}[36m",
        bold: "\u{1b}[1m",
        faint: "\u{1b}[2m",
        reset: "\u{1b}[0m",
    };

    const fn of(&self, kind: ChangeKind) -> &'static str {
        match kind {
            ChangeKind::Create | ChangeKind::Import | ChangeKind::RecordNew => self.add,
            ChangeKind::Update | ChangeKind::Reboot | ChangeKind::Adopt | ChangeKind::RecordChanged => {
                self.change
            }
            ChangeKind::Migrate => self.moved,
            ChangeKind::Replace
            | ChangeKind::Succeed
            | ChangeKind::Destroy
            | ChangeKind::Forget
            | ChangeKind::RecordGone => self.remove,
            ChangeKind::HostWork | ChangeKind::RecordMoved | ChangeKind::Release => self.faint,
        }
    }
}

/// How much of a large plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// What changes alike is told together, and long lists are shortened.
    #[default]
    Grouped,
    /// Everything, one by one.
    Full,
}

/// How much of warnings is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Warnings {
    /// All that they say.
    #[default]
    Whole,
    /// A line each, where nothing is wrong beside them.
    Compact,
}

/// How a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    /// How words are set off.
    pub style: Style,
    /// How much of a large plan is shown.
    pub detail: Detail,
    /// How much of warnings is shown.
    pub warnings: Warnings,
}

/// The plan as text of at most 80 columns where names and values allow, ending in a line feed. What many servers
/// have in common is told once, so that a plan of ten thousand can be read.
#[must_use]
pub fn render(plan: &Plan, style: Style) -> String {
    let view = View {
        style,
        ..View::default()
    };
    render_as(plan, view)
}

/// The same as somebody wants to see it.
#[must_use]
pub fn render_as(plan: &Plan, view: View) -> String {
    let mut page = Page::new(view);
    let all = changes(plan);
    notes::inventory(&mut page, plan);
    balance::hosts(&mut page, plan);
    if !(page.warnings == Warnings::Compact && plan.is_whole()) {
        found::findings(&mut page, &plan.findings);
    }
    found::unobserved(&mut page, &plan.unobserved);
    found::drift(&mut page, &plan.drift);
    if !all.is_empty() {
        legend(
            &mut page,
            plan,
            &all.iter().map(|change| change.kind).collect::<Vec<_>>(),
        );
        body::changes(&mut page, plan, &all);
    }
    notes::blocked(&mut page, plan);
    outputs::outputs(&mut page, plan);
    page.gap();
    if plan.is_empty() {
        page.bold(no_changes(plan));
    } else {
        page.bold(&summary(plan));
    }
    notes::limits(&mut page, plan);
    page.finish()
}

/// What a look at the fleet found, where nothing is planned: what is wrong, who did not answer, all drift.
#[must_use]
pub fn drift(drift: &[Drift], unobserved: &[UnobservedHost], findings: &[Finding], style: Style) -> String {
    let mut page = Page::new(View {
        style,
        detail: Detail::Full,
        ..View::default()
    });
    found::findings(&mut page, findings);
    found::unobserved(&mut page, unobserved);
    found::drift(&mut page, drift);
    page.finish()
}

/// "disk has 10GiB and cannot shrink to 5GiB", without what is sensitive.
#[must_use]
pub fn disk_shrinks(has: Option<ByteSize>, asked: Option<ByteSize>) -> String {
    let size =
        |size: Option<ByteSize>| size.map_or_else(|| value::HIDDEN.to_owned(), |size| size.to_string());
    format!("disk has {} and cannot shrink to {}", size(has), size(asked))
}

/// Why each server goes where it does, or stays: every host, with the filters that turned it away or its weight.
/// Holds what the plan was asked to explain (see `PlanOptions::explain`); nothing for a plan read from a file.
#[must_use]
pub fn explain(plan: &Plan, style: Style) -> String {
    let mut page = Page::new(View {
        style,
        ..View::default()
    });
    notes::placements(&mut page, plan);
    page.finish()
}

fn legend(page: &mut Page, plan: &Plan, kinds: &[ChangeKind]) {
    page.gap();
    page.wrapped(
        "",
        match plan.mode {
            PlanMode::Apply => "Drover will perform the following actions. They are marked so:",
            PlanMode::RefreshOnly => "Drover will bring its records up to date and change nothing else:",
            PlanMode::Destroy => "Drover will destroy what follows:",
        },
    );
    let known = [
        (ChangeKind::Create, "create"),
        (ChangeKind::Import, "import as it is"),
        (ChangeKind::Update, "update in place"),
        (ChangeKind::Migrate, "migrate to another host"),
        (ChangeKind::Replace, "destroy the root disk, then create it anew"),
        (ChangeKind::Succeed, "create a replacement, then destroy"),
        (ChangeKind::Destroy, "destroy"),
        (ChangeKind::Release, "forget, and leave the guest running"),
        (ChangeKind::RecordMoved, "file under another address"),
    ];
    for (kind, words) in known {
        if kinds.iter().any(|found| found.symbol() == kind.symbol()) {
            page.line(&format!("{:>3} {words}", kind.symbol()));
        }
    }
}

fn no_changes(plan: &Plan) -> &'static str {
    match (plan.mode, plan.is_whole()) {
        (PlanMode::Destroy, true) => "No changes. There is nothing to destroy.",
        (PlanMode::RefreshOnly, true) if !plan.drift.is_empty() => {
            "Nothing of this is settled by writing it down. `drover plan` shows what brings it in order."
        }
        (PlanMode::RefreshOnly, true) => "No changes. The records match what the hosts report.",
        (PlanMode::Apply, true) => "No changes. The fleet matches the configuration.",
        (PlanMode::Apply | PlanMode::RefreshOnly | PlanMode::Destroy, false) => {
            "Nothing can be changed until what is said above is settled."
        }
    }
}

/// The line that counts: "Plan: 3 to create, 0 to update, 1 to reboot, 0 to destroy." What is rare is named
/// where there is any.
#[must_use]
pub fn summary(plan: &Plan) -> String {
    let counts = count(&changes(plan));
    let mut text = format!(
        "Plan: {}.",
        counted(&counts, "to create", "to update", "to destroy")
    );
    if counts.record > 0 {
        let records = if counts.record == 1 { "record" } else { "records" };
        text.push_str(&format!(" {} {records} to write.", counts.record));
    }
    text
}

/// "3 to create, 0 to update, 1 to reboot, 0 to destroy".
#[must_use]
pub fn counts_in_words(plan: &Plan) -> String {
    counted(&count(&changes(plan)), "to create", "to update", "to destroy")
}

/// The line that counts what an apply did: "1 created, 0 updated, 2 migrated, 0 destroyed".
#[must_use]
pub fn done_summary(counts: &Counts) -> String {
    counted(counts, "created", "updated", "destroyed")
}

fn counted(counts: &Counts, create: &str, update: &str, destroy: &str) -> String {
    // "to create" gives "to migrate", "created" gives "migrated".
    let form = |verb: &str| match create.split_once(' ') {
        Some((to, _)) => format!("{to} {verb}"),
        None => format!("{}ed", verb.trim_end_matches('e')),
    };
    let parts = [
        (counts.import, form("import"), false),
        (counts.create, create.to_owned(), true),
        (counts.update, update.to_owned(), true),
        (counts.migrate, form("migrate"), false),
        (counts.reboot, form("reboot"), false),
        (counts.replace, form("replace"), false),
        (counts.destroy, destroy.to_owned(), true),
    ];
    parts
        .into_iter()
        .filter(|(number, _, always)| *always || *number > 0)
        .map(|(number, words, _)| format!("{number} {words}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rare_is_counted_where_there_is_any() {
        let few = Counts {
            create: 2,
            ..Counts::default()
        };
        assert_eq!(done_summary(&few), "2 created, 0 updated, 0 destroyed");
        let all = Counts {
            import: 8,
            create: 1,
            update: 2,
            migrate: 3,
            reboot: 4,
            replace: 5,
            destroy: 6,
            record: 7,
        };
        assert_eq!(
            counted(&all, "to create", "to update", "to destroy"),
            "8 to import, 1 to create, 2 to update, 3 to migrate, 4 to reboot, 5 to replace, 6 to destroy"
        );
        assert_eq!(
            done_summary(&all),
            "8 imported, 1 created, 2 updated, 3 migrated, 4 rebooted, 5 replaced, 6 destroyed"
        );
    }
}
