//! Reads and transactions.

use super::{Fixture, demand, key, open, put, writes};
use drover::store::{FailedCompare, MAX_BYTES, Outcome, Row, Store, StoreError};
use drover_core::record::{Compare, Guard, Key, Transaction, Write};
use std::collections::BTreeMap;

async fn commit(store: &Store, transaction: &Transaction) -> u64 {
    match store.commit(transaction).await.expect("a certain answer") {
        Outcome::Committed { revision } => revision,
        Outcome::Conflict { failed } => panic!("conflict: {failed:?}"),
    }
}

pub(crate) async fn revisions_and_conflicts(fixture: &Fixture) {
    let store = fixture.open().await;
    let (a, b, absent) = (key(&store, "a"), key(&store, "b"), key(&store, "absent"));
    let created = commit(&store, &writes(vec![put(&a, 1), put(&b, 1)])).await;
    let changed = commit(&store, &writes(vec![put(&a, 2)])).await;
    assert!(changed > created, "{changed} after {created}");

    let row = Row {
        key: a.clone(),
        value: b"2".to_vec(),
        create_revision: created,
        mod_revision: changed,
    };
    // A guard, and what is found if it fails.
    let cases: Vec<(Compare, Option<Option<Row>>)> = vec![
        (demand(&absent, Guard::Absent), None),
        (demand(&a, Guard::ModRevision(changed)), None),
        (demand(&a, Guard::CreateRevision(created)), None),
        (demand(&a, Guard::Absent), Some(Some(row.clone()))),
        (demand(&a, Guard::ModRevision(created)), Some(Some(row.clone()))),
        (
            demand(&a, Guard::CreateRevision(changed)),
            Some(Some(row.clone())),
        ),
        (demand(&absent, Guard::ModRevision(created)), Some(None)),
        (demand(&absent, Guard::CreateRevision(created)), Some(None)),
    ];
    for (compare, expected) in &cases {
        let outcome = store
            .commit(&Transaction {
                compares: vec![compare.clone()],
                writes: Vec::new(),
            })
            .await
            .expect("a certain answer");
        let failed = match outcome {
            Outcome::Committed { revision } => {
                assert_eq!(revision, changed, "nothing written, nothing moved");
                None
            }
            Outcome::Conflict { failed } => {
                assert_eq!(failed.len(), 1);
                assert_eq!(&failed[0].compare, compare);
                Some(failed[0].found.clone())
            }
        };
        assert_eq!(&failed, expected, "{compare:?}");
    }

    // One transaction with all of them: only those that fail are named, in order, and nothing is written.
    let all = Transaction {
        compares: cases.iter().map(|(compare, _)| compare.clone()).collect(),
        writes: vec![put(&b, 9), put(&absent, 9)],
    };
    let expected: Vec<FailedCompare> = cases
        .iter()
        .filter_map(|(compare, found)| {
            found.clone().map(|found| FailedCompare {
                compare: compare.clone(),
                found,
            })
        })
        .collect();
    let outcome = store.commit(&all).await.expect("a certain answer");
    assert_eq!(outcome, Outcome::Conflict { failed: expected });
    let snapshot = store
        .get(&[absent.clone(), b.clone(), a.clone()])
        .await
        .expect("a read");
    assert_eq!(snapshot.revision, changed);
    let values: Vec<(&str, &[u8], u64)> = snapshot
        .entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.as_slice(), entry.mod_revision))
        .collect();
    assert_eq!(
        values,
        [
            (a.as_str(), b"2".as_slice(), changed),
            (b.as_str(), b"1".as_slice(), created)
        ]
    );

    // Removing what is not there changes nothing; what is made again is new.
    assert_eq!(
        commit(&store, &writes(vec![Write::Delete { key: absent }])).await,
        changed
    );
    let removed = commit(&store, &writes(vec![Write::Delete { key: a.clone() }])).await;
    let again = commit(&store, &writes(vec![put(&a, 3)])).await;
    assert!(
        changed < removed && removed < again,
        "{changed} {removed} {again}"
    );
    let still = Transaction {
        compares: vec![demand(&a, Guard::CreateRevision(created))],
        writes: vec![put(&a, 4)],
    };
    let Outcome::Conflict { failed } = store.commit(&still).await.expect("a certain answer") else {
        panic!("a record made again passed for the old one");
    };
    assert_eq!(
        failed[0].found.as_ref().map(|row| row.create_revision),
        Some(again)
    );
}

pub(crate) async fn limits_are_refused_before_sending(fixture: &Fixture) {
    let store = fixture.open().await;
    let keys: Vec<Key> = (0..129).map(|n| key(&store, &format!("k{n:03}"))).collect();
    let many = |count: usize| keys.iter().take(count).map(|key| put(key, 1)).collect::<Vec<_>>();
    let guards = |guard: Guard| Transaction {
        compares: vec![demand(&keys[0], guard)],
        writes: Vec::new(),
    };
    let cases = [
        (
            writes(many(129)),
            "a transaction of 129 operations is over the limit of 128",
        ),
        (
            Transaction {
                compares: keys.iter().map(|key| demand(key, Guard::Absent)).collect(),
                writes: Vec::new(),
            },
            "a transaction of 129 operations is over the limit of 128",
        ),
        (
            writes(vec![put(&keys[0], 1), Write::Delete { key: keys[0].clone() }]),
            "a transaction writes /drover/v1/prod/default/out/k000 twice",
        ),
        (
            guards(Guard::ModRevision(0)),
            "a transaction demands revision 0 of /drover/v1/prod/default/out/k000: records have 1 to 2^63 - 1",
        ),
        (
            guards(Guard::CreateRevision(u64::MAX)),
            "a transaction demands revision 18446744073709551615 of /drover/v1/prod/default/out/k000: records have 1 \
             to 2^63 - 1",
        ),
    ];
    for (transaction, expected) in cases {
        let error = store.commit(&transaction).await.expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
    let error = store
        .commit(&writes(vec![put(&keys[0], "x".repeat(MAX_BYTES))]))
        .await
        .expect_err("refused");
    assert!(
        matches!(error, StoreError::TooLarge { bytes } if bytes > MAX_BYTES),
        "{error:?}"
    );
    assert_eq!(store.read_all().await.expect("a read").entries, []);
}

/// What passes the check passes etcd's own limits too.
pub(crate) async fn the_largest_transactions_are_taken(fixture: &Fixture) {
    let store = fixture.open().await;
    let one = key(&store, "one");
    let room = MAX_BYTES - one.as_str().len() - 64;
    commit(&store, &writes(vec![put(&one, "x".repeat(room))])).await;

    let keys: Vec<Key> = (0..128).map(|n| key(&store, &format!("k{n:03}"))).collect();
    let fixed: usize = keys.iter().map(|key| 3 * key.as_str().len() + 3 * 64).sum();
    let each = (MAX_BYTES - fixed) / 128;
    let full = Transaction {
        compares: keys.iter().map(|key| demand(key, Guard::Absent)).collect(),
        writes: keys.iter().map(|key| put(key, "y".repeat(each))).collect(),
    };
    commit(&store, &full).await;
    let entries = store.read_all().await.expect("a read").entries;
    assert_eq!(entries.len(), 129);
    assert_eq!(
        entries.iter().map(|entry| entry.value.len()).sum::<usize>(),
        room + 128 * each
    );
    // A refusal hands back everything found, all 1.5 MiB of it.
    let Outcome::Conflict { failed } = store.commit(&full).await.expect("a certain answer") else {
        panic!("written twice");
    };
    assert_eq!(failed.len(), 128);
}

pub(crate) async fn five_thousand_records_of_one_fleet(fixture: &Fixture) {
    let store = fixture.open().await;
    for neighbour in ["pro", "prod-2", "prod0"] {
        let other = open(&fixture.settings, neighbour).await;
        commit(&other, &writes(vec![put(&key(&other, "a"), 0)])).await;
    }
    let mut expected = BTreeMap::new();
    for block in 0..50 {
        let keys: Vec<Key> = (0..100)
            .map(|n| key(&store, &format!("k{}", n * 50 + block)))
            .collect();
        let revision = commit(&store, &writes(keys.iter().map(|key| put(key, block)).collect())).await;
        expected.extend(
            keys.into_iter()
                .map(|key| (key, (block.to_string().into_bytes(), revision))),
        );
    }
    let snapshot = store.read_all().await.expect("a read");
    assert_eq!(snapshot.entries.len(), 5_000);
    assert!(snapshot.entries.is_sorted_by(|a, b| a.key < b.key));
    let found: BTreeMap<_, _> = snapshot
        .entries
        .into_iter()
        .map(|entry| (entry.key, (entry.value, entry.mod_revision)))
        .collect();
    assert_eq!(found, expected);

    let wanted: Vec<Key> = expected.keys().step_by(10).cloned().collect();
    let some = store.get(&wanted).await.expect("a read");
    assert_eq!(some.revision, snapshot.revision);
    assert_eq!(
        some.entries
            .into_iter()
            .map(|entry| entry.key)
            .collect::<Vec<_>>(),
        wanted
    );
}

pub(crate) async fn one_revision_while_a_writer_works(fixture: &Fixture) {
    let store = fixture.open().await;
    let writer = fixture.open().await;
    let (first, last) = (key(&store, "a"), key(&store, "z"));
    for block in 0..10 {
        let fill = (0..100)
            .map(|n| put(&key(&store, &format!("m{block}-{n}")), 0))
            .collect();
        commit(&store, &writes(fill)).await;
    }
    let pair = [first.clone(), last.clone()];
    commit(&writer, &writes(vec![put(&first, 0), put(&last, 0)])).await;
    let writing = tokio::spawn({
        let (first, last) = (first.clone(), last.clone());
        async move {
            for n in 1.. {
                commit(&writer, &writes(vec![put(&first, n), put(&last, n)])).await;
            }
        }
    });
    let mut seen = Vec::new();
    let mut revision = 0;
    // Until the writer was seen at work ten times.
    while seen.len() < 10 {
        let snapshot = store.read_all().await.expect("a read");
        assert!(snapshot.revision >= revision);
        revision = snapshot.revision;
        assert_eq!(snapshot.entries.len(), 1_002);
        let (head, tail) = (&snapshot.entries[0], &snapshot.entries[1_001]);
        assert_eq!((&head.key, &tail.key), (&first, &last));
        assert_eq!(head.value, tail.value);
        assert_eq!(head.mod_revision, tail.mod_revision);
        assert!(head.mod_revision <= revision);
        let two = store.get(&pair).await.expect("a read").entries;
        assert_eq!(two[0].value, two[1].value);
        if seen.last() != Some(&head.value) {
            seen.push(head.value.clone());
        }
    }
    writing.abort();
    let end = writing.await.expect_err("it goes on until it is stopped");
    assert!(end.is_cancelled(), "the writer failed: {end}");
}

pub(crate) async fn counting_from_many_handles(fixture: &Fixture) {
    let counter = key(&fixture.open().await, "counter");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = fixture.open().await;
        let counter = counter.clone();
        tasks.spawn(async move {
            let mut added = 0;
            while added < 25 {
                let found = store.get(std::slice::from_ref(&counter)).await.expect("a read");
                let (value, guard) = found.entries.first().map_or((0, Guard::Absent), |entry| {
                    let text = std::str::from_utf8(&entry.value).expect("a number");
                    (
                        text.parse::<u32>().expect("a number"),
                        Guard::ModRevision(entry.mod_revision),
                    )
                });
                let add = Transaction {
                    compares: vec![demand(&counter, guard)],
                    writes: vec![put(&counter, value + 1)],
                };
                match store.commit(&add).await.expect("a certain answer") {
                    Outcome::Committed { .. } => added += 1,
                    Outcome::Conflict { failed } => assert_eq!(failed.len(), 1),
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("the task counts to its end");
    }
    let entries = fixture
        .open()
        .await
        .get(&[counter])
        .await
        .expect("a read")
        .entries;
    assert_eq!(entries[0].value, b"100");
}
