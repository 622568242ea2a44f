//! Many instances that change alike, told together: which, where, and what their values have in common.

use super::super::action::ActionKind;
use super::super::change::{Change, ChangeKind, copied, cost};
use super::super::types::Plan;
use super::block::{new_host, new_place, what_happens, why};
use super::layout::{Page, plural};
use super::rows::{self, Row, Rows};
use crate::placement::grouped;
use drover_types::{Address, HostName, InstanceKey, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// How many hosts, reasons or ranges a line names.
const NAMED: usize = 6;
/// So many different values are all named.
const VALUES_NAMED: usize = 3;
/// Values longer than this together are only counted.
const VALUES_WIDTH: usize = 44;

/// Changes of instances of one block that do the same to the same attributes.
pub(super) struct Alike<'c, 'a> {
    pub(super) kind: ChangeKind,
    pub(super) members: Vec<&'c Change<'a>>,
}

/// Sorts changes into what is alike, in the order of the first of each.
pub(super) fn sorted<'c, 'a>(all: &[&'c Change<'a>]) -> Vec<Alike<'c, 'a>> {
    type Sort = (Kind, Option<Address>, ChangeKind, Vec<String>);
    let mut places: BTreeMap<Sort, usize> = BTreeMap::new();
    let mut sorted: Vec<Alike<'c, 'a>> = Vec::new();
    for change in all {
        let attributes = match change.kind {
            // All there is changes.
            ChangeKind::Create
            | ChangeKind::Import
            | ChangeKind::Destroy
            | ChangeKind::Forget
            | ChangeKind::RecordNew
            | ChangeKind::RecordGone
            | ChangeKind::RecordMoved
            | ChangeKind::Release
            | ChangeKind::HostWork => Vec::new(),
            ChangeKind::Update
            | ChangeKind::Reboot
            | ChangeKind::Migrate
            | ChangeKind::Replace
            | ChangeKind::Succeed
            | ChangeKind::Adopt
            | ChangeKind::RecordChanged => rows::rows(change)
                .changed
                .into_iter()
                .map(|row| row.name)
                .collect(),
        };
        let place = *places
            .entry((change.address.kind, block(change), change.kind, attributes))
            .or_insert(sorted.len());
        if place == sorted.len() {
            sorted.push(Alike {
                kind: change.kind,
                members: Vec::new(),
            });
        }
        sorted[place].members.push(change);
    }
    sorted
}

/// The block that it is an instance of; records that come or go are alike whichever block they are of.
fn block(change: &Change<'_>) -> Option<Address> {
    match change.kind {
        ChangeKind::RecordNew | ChangeKind::RecordGone => return None,
        ChangeKind::Create
        | ChangeKind::Import
        | ChangeKind::Update
        | ChangeKind::Reboot
        | ChangeKind::Migrate
        | ChangeKind::Replace
        | ChangeKind::Succeed
        | ChangeKind::Destroy
        | ChangeKind::Release
        | ChangeKind::RecordMoved
        | ChangeKind::Adopt
        | ChangeKind::Forget
        | ChangeKind::RecordChanged
        | ChangeKind::HostWork => {}
    }
    let mut block = change.address.clone();
    block.key = None;
    for module in &mut block.modules {
        module.key = None;
    }
    Some(block)
}

/// One block for all of them.
pub(super) fn together(page: &mut Page, plan: &Plan, alike: &Alike<'_, '_>) {
    let members = &alike.members;
    let Some(first) = members.first() else { return };
    let (address, number) = (first.address, members.len());
    page.wrapped_in(
        page.style.bold,
        "  # ",
        &format!(
            "{} {} ({})",
            range(members),
            what_happens(first),
            plural(number, address.kind.as_str())
        ),
    );
    if let Some(why) = counted(members.iter().filter_map(|change| why(change)), number) {
        page.wrapped("  # why: ", &why);
    }
    if let Some(impact) = impact(members) {
        page.wrapped("  # impact: ", &impact);
    }
    if let Some(hosts) = hosts(plan, members) {
        page.wrapped("  # host: ", &hosts);
    }
    page.coloured(
        page.style.of(alike.kind),
        &format!(
            "{:>3} {} \"{}\" {{",
            alike.kind.symbol(),
            address.kind,
            address.name
        ),
    );
    rows::print(page, &common(members), "      ");
    page.line("    }");
}

/// Which instances, in the shortest way: `server.web[0-9]`, or the first and the last.
pub(super) fn range(members: &[&Change<'_>]) -> String {
    let (Some(first), Some(last)) = (members.first(), members.last()) else {
        return String::new();
    };
    let same_block = members.iter().all(|change| {
        change.address.modules == first.address.modules && change.address.name == first.address.name
    });
    let indexes: Vec<u64> = members
        .iter()
        .filter_map(|change| match &change.address.key {
            Some(InstanceKey::Index(index)) => Some(*index),
            Some(InstanceKey::Key(_)) | None => None,
        })
        .collect();
    if !same_block || indexes.len() != members.len() {
        return format!("{} … {}", first.address, last.address);
    }
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == index => *end = index,
            Some(_) | None => ranges.push((index, index)),
        }
    }
    let mut words: Vec<String> = ranges
        .iter()
        .take(NAMED)
        .map(|(begin, end)| {
            if begin == end {
                begin.to_string()
            } else {
                format!("{begin}-{end}")
            }
        })
        .collect();
    if ranges.len() > NAMED {
        words.push("…".to_owned());
    }
    let block = Address {
        key: None,
        ..first.address.clone()
    };
    format!("{block}[{}]", words.join(","))
}

/// Texts with how often each occurs, the most frequent first; the number is left out where there is but one.
fn counted(texts: impl Iterator<Item = String>, all: usize) -> Option<String> {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for text in texts {
        *numbers.entry(text).or_default() += 1;
    }
    let mut by_number: Vec<(String, usize)> = numbers.into_iter().collect();
    by_number.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    match by_number.as_slice() {
        [] => None,
        [(text, number)] if *number == all => Some(text.clone()),
        several => {
            let mut words: Vec<String> = several
                .iter()
                .take(NAMED)
                .map(|(text, number)| format!("{text} ({})", grouped(*number)))
                .collect();
            if several.len() > NAMED {
                words.push(format!("and {} more", several.len() - NAMED));
            }
            Some(words.join("; "))
        }
    }
}

/// How many servers move, and what is copied.
#[derive(Default, Clone, Copy)]
struct Moved {
    servers: usize,
    memory: u64,
    disk: u64,
}

fn impact(members: &[&Change<'_>]) -> Option<String> {
    let (mut live, mut cold) = (Moved::default(), Moved::default());
    for change in members {
        if let ActionKind::Migrate {
            order,
            cold: is_cold,
            copy_bytes,
            ..
        } = &change.action.kind
        {
            let moved = if *is_cold { &mut cold } else { &mut live };
            moved.servers += 1;
            moved.disk = moved.disk.saturating_add(order.disk_bytes);
            let memory = copy_bytes.saturating_sub(order.disk_bytes);
            moved.memory = moved.memory.saturating_add(memory);
        }
    }
    if live.servers + cold.servers == 0 {
        let costs = members
            .iter()
            .map(|change| cost(change))
            .filter(|cost| !cost.is_empty());
        return counted(costs, members.len());
    }
    let words = |moved: Moved, how: &str| {
        (moved.servers > 0).then(|| {
            format!(
                "{how} migration of {}, {} in all",
                grouped(moved.servers),
                copied(moved.memory, moved.disk)
            )
        })
    };
    let both: Vec<String> = [words(live, "live"), words(cold, "cold")]
        .into_iter()
        .flatten()
        .collect();
    Some(both.join("; "))
}

/// On how many hosts, and how many on each.
fn hosts(plan: &Plan, members: &[&Change<'_>]) -> Option<String> {
    let mut on: BTreeMap<&HostName, usize> = BTreeMap::new();
    for change in members {
        if let Some(host) = new_host(change) {
            *on.entry(host).or_default() += 1;
        }
    }
    let mut text = spread(&on)?;
    let reasons = members
        .iter()
        .filter_map(|change| new_place(plan, change))
        .map(|placement| placement.why.clone());
    let reasons: BTreeSet<String> = reasons.collect();
    if let [why] = reasons.into_iter().collect::<Vec<_>>().as_slice() {
        text.push_str(&format!("; {why}"));
    }
    Some(text)
}

/// "n1 (34), n2 (33)", "100 hosts, 100 on each: n000, n001, … and 94 more".
pub(super) fn spread(on: &BTreeMap<&HostName, usize>) -> Option<String> {
    let mut by_number: Vec<(&HostName, usize)> = on.iter().map(|(host, number)| (*host, *number)).collect();
    by_number.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let (most, least) = (by_number.first()?.1, by_number.last()?.1);
    if by_number.len() == 1 {
        return Some(format!("all on {}", by_number[0].0));
    }
    let mut words: Vec<String> = by_number
        .iter()
        .take(NAMED)
        .map(|(host, number)| {
            if most == least {
                host.to_string()
            } else {
                format!("{host} ({})", grouped(*number))
            }
        })
        .collect();
    if by_number.len() > NAMED {
        words.push(format!("and {} more", grouped(by_number.len() - NAMED)));
    }
    let each = if most == least {
        format!("{} on each", grouped(most))
    } else {
        format!("{} to {} on each", grouped(least), grouped(most))
    };
    Some(format!(
        "{}, {each}: {}",
        plural(by_number.len(), "host"),
        words.join(", ")
    ))
}

/// The rows of all, each with what its values have in common.
fn common(members: &[&Change<'_>]) -> Rows {
    let mut by_name: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut unchanged = usize::MAX;
    for change in members {
        let rows = rows::rows(change);
        unchanged = unchanged.min(rows.unchanged);
        for row in rows.changed {
            by_name.entry(row.name.clone()).or_default().push(row);
        }
    }
    let changed = by_name
        .into_iter()
        .map(|(name, rows)| Row {
            name,
            before: side(rows.iter().map(|row| row.before.as_deref())),
            after: side(rows.iter().map(|row| row.after.as_deref())),
            forces: rows.first().map_or("", |row| row.forces),
        })
        .collect();
    Rows { changed, unchanged }
}

/// One value where all have the same, a few where there are few, else how many.
fn side<'t>(values: impl Iterator<Item = Option<&'t str>>) -> Option<String> {
    let values: Vec<&str> = values.flatten().collect();
    let different: BTreeSet<&str> = values.iter().copied().collect();
    let (first, last) = (values.first()?, values.last()?);
    let number = grouped(different.len());
    let all: Vec<&str> = different.iter().copied().collect();
    let listed = all.join(", ");
    Some(if different.len() == 1 {
        (*first).to_owned()
    } else if different.len() <= VALUES_NAMED && listed.chars().count() <= VALUES_WIDTH {
        listed
    } else if first.chars().count() + last.chars().count() <= VALUES_WIDTH {
        format!("{first} … {last} ({number} different)")
    } else {
        format!("({number} different)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::host;

    #[test]
    fn hosts_are_spread_evenly_or_not() {
        let names: Vec<HostName> = (0..100).map(|at| host(&format!("n{at:03}"))).collect();
        let even: BTreeMap<&HostName, usize> = names.iter().map(|name| (name, 100)).collect();
        assert_eq!(
            spread(&even).as_deref(),
            Some("100 hosts, 100 on each: n000, n001, n002, n003, n004, n005, and 94 more")
        );
        let uneven = BTreeMap::from([(&names[0], 1), (&names[1], 2000)]);
        assert_eq!(
            spread(&uneven).as_deref(),
            Some("2 hosts, 1 to 2,000 on each: n001 (2,000), n000 (1)")
        );
        assert_eq!(
            spread(&BTreeMap::from([(&names[0], 7)])).as_deref(),
            Some("all on n000")
        );
        assert_eq!(spread(&BTreeMap::new()), None);
    }

    #[test]
    fn values_in_common() {
        let common = |values: &[&str]| side(values.iter().map(|value| Some(*value)));
        assert_eq!(common(&["1", "1"]).as_deref(), Some("1"));
        assert_eq!(common(&["\"a\"", "\"b\""]).as_deref(), Some("\"a\", \"b\""));
        let names: Vec<String> = (0..50).map(|at| format!("\"web-{at}\"")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(
            common(&names).as_deref(),
            Some("\"web-0\" … \"web-49\" (50 different)")
        );
        let long: Vec<String> = (0..50).map(|at| format!("{at:040}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        assert_eq!(common(&long).as_deref(), Some("(50 different)"));
    }
}
