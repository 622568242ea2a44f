//! What is blocked, told once where the same may be said of several.

use super::types::Blocked;
use drover_types::Address;
use std::collections::BTreeMap;

/// Sorts what is blocked into what is alike, in the order of the first of each.
///
/// Of those with one hint each is compared with the one told last, so that thousands cost no more than few.
pub(super) fn together(
    all: &[Blocked],
    are_alike: impl Fn(&Blocked, &Blocked) -> bool,
) -> Vec<(&Blocked, Vec<&Address>)> {
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sorted: Vec<(&Blocked, Vec<&Address>)> = Vec::new();
    for blocked in all {
        let at = last.get(blocked.hint.as_str()).copied();
        match at.filter(|at| are_alike(sorted[*at].0, blocked)) {
            Some(at) => sorted[at].1.push(&blocked.address),
            None => {
                last.insert(&blocked.hint, sorted.len());
                sorted.push((blocked, vec![&blocked.address]));
            }
        }
    }
    sorted
}
