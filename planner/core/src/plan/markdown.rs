//! The plan as a comment of a pull request: what changes in a table, the rest folded away.

use super::action::ActionKind;
use super::blocked::together;
use super::change::{Change, ChangeKind, changes, cost};
use super::text::{Style, counts_in_words, render};
use super::types::{Blocked, Plan, PlanMode};
use crate::placement::names;
use drover_types::Address;

/// So many changes have a row; what follows is counted.
const ROWS: usize = 40;
/// Hosting sites cut comments at 65,536 characters; the folded plan leaves room for the rest.
const DETAILS: usize = 48_000;

/// The plan as Markdown.
#[must_use]
pub fn render_markdown(plan: &Plan) -> String {
    let all = changes(plan);
    let mut out = format!(
        "### Drover: {}\n\nFleet `{}`, project `{}`{}.\n",
        title(plan),
        plan.fleet,
        plan.project,
        match plan.mode {
            PlanMode::Apply => "",
            PlanMode::RefreshOnly => ", records only",
            PlanMode::Destroy => ", to destroy",
        }
    );
    warnings(&mut out, plan);
    let servers: Vec<&Change<'_>> = all.iter().filter(|change| has_row(change.kind)).collect();
    if !servers.is_empty() {
        out.push_str("\n| | Server | Host | Impact | Why |\n|---|---|---|---|---|\n");
        for change in servers.iter().take(ROWS) {
            row(&mut out, change);
        }
        if servers.len() > ROWS {
            out.push_str(&format!(
                "\n… and {} more, in the plan below.\n",
                servers.len() - ROWS
            ));
        }
    }
    if !plan.is_empty() {
        details(&mut out, plan);
    }
    out
}

fn title(plan: &Plan) -> String {
    if plan.is_empty() {
        if plan.is_whole() {
            "no changes".to_owned()
        } else {
            "nothing can be changed".to_owned()
        }
    } else {
        counts_in_words(plan)
    }
}

const fn has_row(kind: ChangeKind) -> bool {
    match kind {
        ChangeKind::Create
        | ChangeKind::Import
        | ChangeKind::Update
        | ChangeKind::Reboot
        | ChangeKind::Migrate
        | ChangeKind::Replace
        | ChangeKind::Succeed
        | ChangeKind::Destroy
        | ChangeKind::Release
        | ChangeKind::Adopt => true,
        ChangeKind::Forget
        | ChangeKind::RecordMoved
        | ChangeKind::RecordNew
        | ChangeKind::RecordChanged
        | ChangeKind::RecordGone
        | ChangeKind::HostWork => false,
    }
}

fn row(out: &mut String, change: &Change<'_>) {
    let from = change.action.host.as_ref().map(ToString::to_string);
    let host = if let ActionKind::Migrate { to, .. } = &change.action.kind {
        format!("{} → {to}", from.unwrap_or_default())
    } else {
        from.unwrap_or_default()
    };
    let word = match change.kind {
        ChangeKind::Create => "create",
        ChangeKind::Import => "import",
        ChangeKind::Reboot => "reboot",
        ChangeKind::Migrate => "migrate",
        ChangeKind::Replace => "**rebuild**",
        ChangeKind::Succeed => "**replace**",
        ChangeKind::Release => "forget",
        ChangeKind::Destroy => "**destroy**",
        ChangeKind::Adopt => "adopt",
        ChangeKind::Update
        | ChangeKind::Forget
        | ChangeKind::RecordMoved
        | ChangeKind::RecordNew
        | ChangeKind::RecordChanged
        | ChangeKind::RecordGone
        | ChangeKind::HostWork => "update",
    };
    out.push_str(&format!(
        "| {word} | `{}` | {} | {} | {} |\n",
        cell(&change.address.to_string()),
        cell(&host),
        cell(&cost(change)),
        cell(&change.action.why.to_string())
    ));
}

/// What must be seen without unfolding anything.
fn warnings(out: &mut String, plan: &Plan) {
    let mut lines = Vec::new();
    for host in plan.unobserved.iter().filter(|host| !host.accepted) {
        lines.push(format!("host `{}` could not be looked at", host.host));
    }
    let alike = |one: &Blocked, other: &Blocked| (&one.verb, &one.hint) == (&other.verb, &other.hint);
    for (blocked, addresses) in together(&plan.blocked, alike) {
        let code = |address: &&Address| format!("`{}`", cell(&address.to_string()));
        let addresses: Vec<String> = addresses.iter().map(code).collect();
        lines.push(format!(
            "{} {} blocked ({}): {}",
            names(&addresses),
            if addresses.len() == 1 { "is" } else { "are" },
            blocked.verb,
            cell(&blocked.hint)
        ));
    }
    for finding in &plan.findings {
        let about = finding
            .address
            .as_ref()
            .map(|address| format!("`{}`: ", cell(&address.to_string())))
            .unwrap_or_default();
        lines.push(format!("{about}{}", cell(&finding.message)));
    }
    if !plan.drift.is_empty() {
        lines.push(format!(
            "{} changed outside of Drover",
            if plan.drift.len() == 1 {
                "1 server was".to_owned()
            } else {
                format!("{} servers were", plan.drift.len())
            }
        ));
    }
    if !plan.targets.is_empty() {
        let names: Vec<String> = plan
            .targets
            .iter()
            .map(|target| format!("`{}`", cell(&target.to_string())))
            .collect();
        lines.push(format!("limited to {}", names.join(", ")));
    }
    if lines.is_empty() {
        return;
    }
    out.push('\n');
    for line in lines.iter().take(ROWS) {
        out.push_str(&format!("- :warning: {line}\n"));
    }
    if lines.len() > ROWS {
        out.push_str(&format!("- … and {} more\n", lines.len() - ROWS));
    }
}

/// Text that cannot leave its cell, nor be taken for HTML.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' => out.push_str("\\|"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '`' => out.push('\''),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// The whole plan, folded; the marks stand in front, where they are coloured.
fn details(out: &mut String, plan: &Plan) {
    let text = render(plan, Style::PLAIN);
    let mut body = String::with_capacity(text.len());
    let mut cut = false;
    for line in text.lines() {
        if body.len() + line.len() > DETAILS {
            cut = true;
            break;
        }
        body.push_str(&marked(line));
        body.push('\n');
    }
    // A fence that nothing in the text can close.
    let longest = text
        .split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    out.push_str(&format!(
        "\n<details><summary>The plan</summary>\n\n{fence}diff\n{body}{fence}\n"
    ));
    if cut {
        out.push_str("\nThe plan is longer than a comment may be: `drover show PLANFILE` has all of it.\n");
    }
    out.push_str("\n</details>\n");
}

/// A line with its mark in the first column, as `diff` has it; `!` is its mark for what changes.
fn marked(line: &str) -> String {
    let body = line.trim_start();
    let indent = &line[..line.len() - body.len()];
    let (mark, rest) = if let Some(rest) = body.strip_prefix("-/+ ") {
        ("-", format!("/+ {rest}"))
    } else if let Some(rest) = body.strip_prefix("+ ") {
        ("+", format!("  {rest}"))
    } else if let Some(rest) = body.strip_prefix("- ") {
        ("-", format!("  {rest}"))
    } else if let Some(rest) = body.strip_prefix("~ ").or_else(|| body.strip_prefix("> ")) {
        ("!", format!("  {rest}"))
    } else {
        return line.to_owned();
    };
    let indent = indent.strip_prefix(' ').unwrap_or(indent);
    format!("{mark}{indent}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_to_the_front_and_columns_stay() {
        for (line, moved) in [
            ("  + server \"web\" {", "+   server \"web\" {"),
            ("      ~ ram = 1 -> 2", "!       ram = 1 -> 2"),
            ("-/+ server \"db\" {", "-/+ server \"db\" {"),
            ("    }", "    }"),
            ("- x", "-  x"),
        ] {
            assert_eq!(marked(line), moved);
        }
    }

    #[test]
    fn cells_hold_what_would_leave_them() {
        assert_eq!(cell("a|b<c>`d`\n"), "a\\|b&lt;c&gt;'d' ");
    }
}
