//! A store in memory: keys with both revisions, transactions, one lock.

use crate::model::{ApplyMark, Meta, RecordedFleet};
use crate::plan::{Plan, Staleness, staleness};
use crate::record::{Entry, FORMAT, Guard, Key, Layout, Transaction, Write};
use crate::testing::desired;
use drover_types::FencingToken;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
struct Row {
    value: Vec<u8>,
    created: u64,
    changed: u64,
}

#[derive(Debug, Clone)]
pub(super) struct FakeStore {
    rows: BTreeMap<Key, Row>,
    revision: u64,
    pub(super) layout: Layout,
}

impl FakeStore {
    pub(super) fn new() -> Self {
        let fleet = desired();
        Self {
            rows: BTreeMap::new(),
            revision: 1,
            layout: Layout::new(&fleet.fleet, &fleet.project),
        }
    }

    pub(super) fn commit(&mut self, transaction: &Transaction) -> Result<u64, Vec<Key>> {
        assert!(transaction.compares.len() <= 128 && transaction.writes.len() <= 128);
        let failed: Vec<Key> = transaction
            .compares
            .iter()
            .filter(|compare| {
                let row = self.rows.get(&compare.key);
                !match compare.guard {
                    Guard::Absent => row.is_none(),
                    Guard::ModRevision(revision) => row.is_some_and(|row| row.changed == revision),
                    Guard::CreateRevision(revision) => row.is_some_and(|row| row.created == revision),
                }
            })
            .map(|compare| compare.key.clone())
            .collect();
        if !failed.is_empty() {
            return Err(failed);
        }
        self.revision += 1;
        let mut written = std::collections::BTreeSet::new();
        for write in &transaction.writes {
            let key = match write {
                Write::Put { key, value } => {
                    let created = self.rows.get(key).map_or(self.revision, |row| row.created);
                    let row = Row {
                        value: value.clone(),
                        created,
                        changed: self.revision,
                    };
                    self.rows.insert(key.clone(), row);
                    key
                }
                Write::Delete { key } => {
                    self.rows.remove(key);
                    key
                }
            };
            assert!(
                written.insert(key.clone()),
                "{key} is written twice in one transaction"
            );
        }
        Ok(self.revision)
    }

    pub(super) fn read(&self) -> RecordedFleet {
        let entries: Vec<Entry> = self
            .rows
            .iter()
            .map(|(key, row)| Entry {
                key: key.clone(),
                value: row.value.clone(),
                mod_revision: row.changed,
            })
            .collect();
        RecordedFleet::from_entries(&self.layout, self.revision, &entries).expect("readable records")
    }

    /// Takes the lock for a plan, as the store does: token raised, `meta` marked. A dead holder's lock is gone.
    pub(super) fn lock(&mut self, plan: &Plan) -> Option<super::super::HeldLock> {
        let recorded = self.read();
        match staleness(plan, &recorded) {
            Staleness::Fresh | Staleness::Resumable => {}
            Staleness::Stale { .. } => return None,
        }
        let token = recorded
            .meta
            .as_ref()
            .map_or(FencingToken::new(0), |(meta, _)| meta.token)
            .next();
        let meta = Meta {
            format: FORMAT,
            fleet: plan.fleet.clone(),
            lineage: plan.parent.lineage,
            token,
            drover_version: "0.1.0".to_owned(),
            apply: Some(ApplyMark {
                plan: plan.digest,
                parent: plan.parent.meta_revision,
            }),
            by: None,
        };
        self.rows.remove(&self.layout.lock());
        let lock = Write::Put {
            key: self.layout.lock(),
            value: b"{}".to_vec(),
        };
        let revision = self
            .commit(&Transaction {
                compares: Vec::new(),
                writes: vec![lock, self.layout.put_meta(&meta)],
            })
            .expect("nothing is compared");
        Some(super::super::HeldLock {
            create_revision: revision,
            token,
            holder: "me@here".to_owned(),
        })
    }
}
