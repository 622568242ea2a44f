//! Transactions whose outcome must be known: repeated while the answer is lost, and recognised when an earlier
//! try turns out to have been carried out.
//!
//! Repeating is safe because such a transaction compares what it writes: once carried out, its own comparisons
//! fail, and the records found instead are the ones it wrote.

use super::Store;
use super::commit::{FailedCompare, Outcome};
use super::error::StoreError;
use drover_core::record::{Guard, Transaction, Write};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// For how long an unknown outcome is looked into: an election of etcd takes a few seconds, and a lock whose
/// lease ran out meanwhile is reported by its own keeper.
const SETTLE_FOR: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

impl Store {
    /// Carries a transaction out whole or not at all, and finds out which where the answer is lost.
    ///
    /// Every key that is written, but for those every writer writes (`meta`), must also be compared; otherwise
    /// a second try could overwrite what somebody else wrote after the first. Fails with
    /// [`StoreError::OutcomeUnknown`] only if the store cannot be asked for half a minute.
    pub async fn commit_settled(&self, transaction: &Transaction) -> Result<Outcome, StoreError> {
        let mut in_doubt = match self.commit(transaction).await {
            Err(error @ StoreError::OutcomeUnknown { .. }) => error,
            certain => return certain,
        };
        let deadline = Instant::now() + SETTLE_FOR;
        while Instant::now() < deadline {
            match self.commit(transaction).await {
                Ok(Outcome::Conflict { failed }) if was_carried_out(transaction, &failed) => {
                    let revision = self.revision_of(&failed).await?;
                    return Ok(Outcome::Committed { revision });
                }
                Ok(outcome) => return Ok(outcome),
                Err(error @ StoreError::OutcomeUnknown { .. }) => in_doubt = error,
                // This try did nothing, which says nothing of the one before.
                Err(StoreError::Unreachable { .. } | StoreError::Busy { .. }) => {}
                Err(error) => return Err(error),
            }
            sleep(PAUSE).await;
        }
        Err(in_doubt)
    }

    /// The revision of the records found, all written at once; the store's own where they were all removed.
    async fn revision_of(&self, failed: &[FailedCompare]) -> Result<u64, StoreError> {
        let written = failed
            .iter()
            .filter_map(|failed| failed.found.as_ref())
            .map(|row| row.mod_revision)
            .max();
        match written {
            Some(revision) => Ok(revision),
            None => Ok(self.get(&[self.layout().meta()]).await?.revision),
        }
    }
}

/// Whether the failed comparisons show that this very transaction was carried out before: every record it
/// compares and writes is as it would have left it, all from one revision.
fn was_carried_out(transaction: &Transaction, failed: &[FailedCompare]) -> bool {
    let failed: BTreeMap<_, _> = failed
        .iter()
        .map(|failed| (&failed.compare.key, failed))
        .collect();
    let mut explained = 0;
    let mut revision = None;
    for compare in &transaction.compares {
        let write = transaction.writes.iter().find(|write| match write {
            Write::Put { key, .. } | Write::Delete { key } => *key == compare.key,
        });
        let found = failed.get(&compare.key);
        match (write, &compare.guard, found) {
            // What is only compared, like the lock, must still hold; it is counted below if it does not.
            (None, _, _) => {}
            // A record that keeps its create revision, or one that was not there and is not, shows nothing.
            (Some(_), Guard::CreateRevision(_), None) | (Some(Write::Delete { .. }), Guard::Absent, None) => {
            }
            (Some(Write::Put { value, .. }), _, Some(failed)) => {
                let Some(row) = &failed.found else {
                    return false;
                };
                if row.value != *value || *revision.get_or_insert(row.mod_revision) != row.mod_revision {
                    return false;
                }
                explained += 1;
            }
            (Some(Write::Delete { .. }), _, Some(failed)) => {
                if failed.found.is_some() {
                    return false;
                }
                explained += 1;
            }
            (Some(_), _, None) => return false,
        }
    }
    explained > 0 && explained == failed.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Row;
    use drover_core::record::{Compare, Key, Layout};

    fn layout() -> Layout {
        Layout::new(
            &"prod".parse().expect("a fleet's name"),
            &"default".parse().expect("a project's name"),
        )
    }

    fn key(name: &str) -> Key {
        format!("{}{name}", layout().root()).parse().expect("a key")
    }

    fn transaction() -> Transaction {
        let compare = |key, guard| Compare { key, guard };
        let put = |key, value: &str| Write::Put {
            key,
            value: value.as_bytes().to_vec(),
        };
        Transaction {
            compares: vec![
                compare(layout().lock(), Guard::CreateRevision(7)),
                compare(key("new"), Guard::Absent),
                compare(key("old"), Guard::ModRevision(5)),
                compare(key("gone"), Guard::ModRevision(6)),
                compare(key("never"), Guard::Absent),
            ],
            writes: vec![
                put(layout().meta(), "meta"),
                put(key("new"), "1"),
                put(key("old"), "2"),
                Write::Delete { key: key("gone") },
                Write::Delete { key: key("never") },
            ],
        }
    }

    /// The comparison of that key as failed, with a record found of this value and revision.
    fn failed(at: &Key, found: Option<(&str, u64)>) -> FailedCompare {
        let compare = transaction()
            .compares
            .into_iter()
            .find(|compare| compare.key == *at);
        FailedCompare {
            compare: compare.expect("it is compared"),
            found: found.map(|(value, revision)| Row {
                key: at.clone(),
                value: value.as_bytes().to_vec(),
                create_revision: 1,
                mod_revision: revision,
            }),
        }
    }

    fn own() -> Vec<FailedCompare> {
        vec![
            failed(&key("new"), Some(("1", 9))),
            failed(&key("old"), Some(("2", 9))),
            failed(&key("gone"), None),
        ]
    }

    #[test]
    fn a_transaction_knows_its_own_work() {
        assert!(was_carried_out(&transaction(), &own()));
    }

    #[test]
    fn the_work_of_others_is_not_taken_for_it() {
        let with = |at: usize, other: FailedCompare| {
            let mut failed = own();
            failed[at] = other;
            failed
        };
        let cases = [
            ("another value", with(0, failed(&key("new"), Some(("3", 9))))),
            ("another revision", with(1, failed(&key("old"), Some(("2", 8))))),
            ("removed since", with(1, failed(&key("old"), None))),
            ("there again", with(2, failed(&key("gone"), Some(("x", 9))))),
            ("one of them as before", own()[..2].to_vec()),
            ("nothing at all", Vec::new()),
            (
                "the lock lost",
                own()
                    .into_iter()
                    .chain([failed(&layout().lock(), None)])
                    .collect(),
            ),
        ];
        for (what, failed) in cases {
            assert!(!was_carried_out(&transaction(), &failed), "{what}");
        }
    }
}
