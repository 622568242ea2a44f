//! Both stores give the same answers, revisions included, to the same random transactions.

use super::{Fixture, demand, key, put};
use drover_core::record::{Guard, Key, Transaction, Write};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::{Just, ValueTree};
use proptest::test_runner::TestRunner;

/// A guard by what it is compared with: the record as it is, or a revision beside.
#[derive(Debug, Clone, Copy)]
enum Demand {
    Absent,
    Modified { beside: u64 },
    Created { beside: u64 },
}

#[derive(Debug, Clone)]
struct Step {
    demands: Vec<(usize, Demand)>,
    /// For each of the keys: leave it, remove it, or put this.
    changes: [Option<Option<u8>>; 4],
}

fn step() -> impl Strategy<Value = Step> {
    // Most demands hold, so that most transactions are carried out.
    let beside = || select(vec![0, 0, 0, 0, 0, 1]);
    let one = prop_oneof![
        1 => Just(Demand::Absent),
        3 => beside().prop_map(|beside| Demand::Modified { beside }),
        3 => beside().prop_map(|beside| Demand::Created { beside }),
    ];
    let change = prop_oneof![
        3 => Just(None),
        1 => Just(Some(None)),
        3 => any::<u8>().prop_map(|value| Some(Some(value))),
    ];
    (
        vec((0..4_usize, one), 0..3),
        [change.clone(), change.clone(), change.clone(), change],
    )
        .prop_map(|(demands, changes)| Step { demands, changes })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transactions_have_the_same_outcomes() {
    let (local, etcd) = (Fixture::local(), Fixture::etcd());
    let (local, etcd) = (local.open().await, etcd.open().await);
    let keys: Vec<Key> = ["a", "b", "c", "d"].map(|name| key(&local, name)).to_vec();
    let mut created = [0_u64; 4];
    let mut runner = TestRunner::deterministic();
    let mut committed = 0;
    for number in 0..400 {
        let step = step().new_tree(&mut runner).expect("a step").current();
        let now = local.read_all().await.expect("a read");
        let compares = step
            .demands
            .iter()
            .map(|&(index, wanted)| {
                let found = now.entries.iter().find(|entry| entry.key == keys[index]);
                let guard = match (wanted, found) {
                    (Demand::Absent, _) | (_, None) => Guard::Absent,
                    (Demand::Modified { beside }, Some(entry)) => {
                        Guard::ModRevision(entry.mod_revision + beside)
                    }
                    (Demand::Created { beside }, Some(_)) => Guard::CreateRevision(created[index] + beside),
                };
                demand(&keys[index], guard)
            })
            .collect();
        let writes = keys
            .iter()
            .zip(step.changes)
            .filter_map(|(key, change)| match change? {
                Some(value) => Some(put(key, value)),
                None => Some(Write::Delete { key: key.clone() }),
            })
            .collect();
        let transaction = Transaction { compares, writes };
        let outcome = local.commit(&transaction).await.expect("a certain answer");
        assert_eq!(
            outcome,
            etcd.commit(&transaction).await.expect("a certain answer"),
            "transaction {number}: {transaction:?}"
        );
        let after = local.read_all().await.expect("a read");
        assert_eq!(
            after,
            etcd.read_all().await.expect("a read"),
            "after {number}: {transaction:?}"
        );
        for (index, key) in keys.iter().enumerate() {
            let was = now.entries.iter().any(|entry| &entry.key == key);
            if !was && after.entries.iter().any(|entry| &entry.key == key) {
                created[index] = after.revision;
            }
        }
        committed += u32::from(after.revision > now.revision);
    }
    assert!(
        (100..400).contains(&committed),
        "{committed} of 400 changed anything"
    );
}
