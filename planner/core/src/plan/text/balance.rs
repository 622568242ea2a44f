//! How evenly hosts are filled, before and after a plan that evens them out.

use super::super::balance::{Balance, HostBalance, Shares};
use super::super::types::Plan;
use super::layout::Page;

/// Of more hosts the most changed are shown.
const SHOWN: usize = 30;

/// The gist of it in one line.
#[must_use]
pub fn balance(balance: &Balance) -> String {
    let plural = if balance.moves == 1 { "" } else { "s" };
    format!(
        "Imbalance {} -> {}: {} move{plural}, at most {} to copy",
        balance.before,
        balance.after,
        balance.moves,
        crate::placement::filters::human_mib(balance.moved_mib as f64)
    )
}

/// A line for each host that changes.
pub(super) fn hosts(page: &mut Page, plan: &Plan) {
    let Some(found) = &plan.balance else {
        return;
    };
    page.gap();
    page.bold(&balance(found));
    let mut changed: Vec<&HostBalance> = found
        .hosts
        .iter()
        .filter(|host| host.before != host.after)
        .collect();
    let most = page.most(SHOWN);
    let left = changed.len().saturating_sub(most);
    if left > 0 {
        changed.sort_by(|one, other| change(other).total_cmp(&change(one)));
        changed.truncate(most);
        page.shortened = true;
    }
    let rows: Vec<[String; 4]> = changed
        .iter()
        .map(|host| {
            let both =
                |of: fn(&Shares) -> f64| format!("{:.1} -> {:.1} %", of(&host.before), of(&host.after));
            [
                host.host.to_string(),
                both(|shares| shares.ram),
                both(|shares| shares.disk),
                both(|shares| shares.vcpus),
            ]
        })
        .collect();
    let header = ["host", "memory", "disk", "processors"].map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&header).chain(&rows);
        cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    for [host, ram, disk, vcpus] in std::iter::once(&header).chain(&rows) {
        let [first, second, third] = widths;
        page.line(&format!("  {host:first$}  {ram:second$}  {disk:third$}  {vcpus}"));
    }
    if left > 0 {
        page.line(&format!("  and {left} hosts that change less"));
    }
}

fn change(host: &HostBalance) -> f64 {
    let (before, after) = (&host.before, &host.after);
    (before.ram - after.ram).abs() + (before.disk - after.disk).abs() + (before.vcpus - after.vcpus).abs()
}
