//! The fleet's lock and the fencing token.

use super::{Fixture, demand, key, layout, lineage, lock_request, open, put, writes};
use drover::store::{
    ExpectMeta, FailedCompare, HeldLock, Lock, LockLoss, LockRecord, Outcome, Store, StoreError,
    StoreSettings,
};
use drover_core::model::{Author, Meta};
use drover_core::record::{FORMAT, Guard, Transaction};
use drover_types::FencingToken;
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

const NO_WAIT: Duration = Duration::ZERO;

async fn take(store: &Store, who: &str) -> Lock {
    store
        .acquire_lock(&lock_request(who, ExpectMeta::Any, NO_WAIT))
        .await
        .expect("the lock is free")
}

/// What stands in the way of taking the lock.
async fn held(store: &Store, who: &str, wait: Duration) -> HeldLock {
    let error = store
        .acquire_lock(&lock_request(who, ExpectMeta::Any, wait))
        .await
        .expect_err("the lock is held");
    match error {
        StoreError::LockHeld { held: Some(held) } => *held,
        other => panic!("{other:?}"),
    }
}

/// `meta` as it stands, and its revision.
async fn meta(store: &Store) -> (Meta, u64) {
    let entries = store.get(&[store.layout().meta()]).await.expect("a read").entries;
    let meta = serde_json::from_slice(&entries[0].value).expect("a record");
    (meta, entries[0].mod_revision)
}

pub(crate) async fn a_held_lock_names_its_holder(fixture: &Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    assert_eq!(other.lock_holder().await.expect("a read"), None);
    let lock = take(&store, "alice").await;

    let entries = store.get(&[store.layout().lock()]).await.expect("a read").entries;
    let mut json: serde_json::Value = serde_json::from_slice(&entries[0].value).expect("JSON");
    assert!(json.as_object_mut().expect("an object").remove("id").is_some());
    assert_eq!(
        json,
        json!({
            "format": FORMAT,
            "who": "alice@desk",
            "pid": std::process::id(),
            "operation": "apply",
            "since": "2026-01-02T03:04:05Z",
            "drover_version": "0.1.0",
            "request_id": "req-00000000-0000-0000-0000-000000000007",
            "token": 1,
        })
    );

    let error = other
        .acquire_lock(&lock_request("bob", ExpectMeta::Any, NO_WAIT))
        .await
        .expect_err("the lock is held");
    assert_eq!(
        error.to_string(),
        format!(
            "the fleet is locked: alice@desk (process {}) has held the lock for apply since 2026-01-02T03:04:05Z",
            std::process::id()
        )
    );
    let seen = other.lock_holder().await.expect("a read").expect("it is held");
    assert_eq!(seen.create_revision, lock.create_revision());
    assert_eq!(seen.record.holder.who, "alice@desk");
    // The same handle asks in vain too: the lock is not the process's but the Lock's.
    assert_eq!(held(&store, "alice", NO_WAIT).await, seen);

    lock.release().await.expect("released");
    assert_eq!(other.lock_holder().await.expect("a read"), None);
    take(&other, "bob").await.release().await.expect("released");
}

pub(crate) async fn meta_and_token_outlive_the_lock(fixture: &Fixture) {
    let store = fixture.open().await;
    let first = take(&store, "alice").await;
    assert_eq!(first.token(), FencingToken::new(1));
    let expected = Meta {
        format: FORMAT,
        fleet: "prod".parse().expect("a fleet name"),
        lineage: lineage(),
        token: FencingToken::new(1),
        drover_version: "0.1.0".to_owned(),
        apply: None,
        by: Some(Author {
            who: "alice@desk".to_owned(),
            command: "apply".to_owned(),
            since: "2026-01-02T03:04:05Z".to_owned(),
        }),
    };
    assert_eq!(first.meta(), &expected);
    assert_eq!(meta(&store).await, (expected.clone(), first.create_revision()));
    first.release().await.expect("released");
    drop(store);

    // Another lineage is asked for, and the one there stays.
    let store = fixture.open().await;
    let mut request = lock_request("alice", ExpectMeta::Any, NO_WAIT);
    request.new_lineage = drover_types::Lineage::from_uuid(uuid::Uuid::from_u128(9));
    let second = store.acquire_lock(&request).await.expect("the lock is free");
    let expected = Meta {
        token: FencingToken::new(2),
        ..expected
    };
    assert_eq!(meta(&store).await, (expected, second.create_revision()));

    // Fleets that share a store share neither lock nor token.
    let other = open(&fixture.settings, "prod-2").await;
    let lock = take(&other, "alice").await;
    assert_eq!(lock.token(), FencingToken::new(1));
    lock.release().await.expect("released");
    second.release().await.expect("released");
}

pub(crate) async fn a_stale_plan_gets_no_lock(fixture: &Fixture) {
    let store = fixture.open().await;
    let cases = async |expect: ExpectMeta| {
        store
            .acquire_lock(&lock_request("alice", expect, NO_WAIT))
            .await
            .map(|lock| lock.create_revision())
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        cases(ExpectMeta::At(5)).await,
        Err("the fleet has changed since the plan was made (meta is at no revision, the plan was made at revision 5): \
             plan again"
            .to_owned())
    );
    let lock = store
        .acquire_lock(&lock_request("alice", ExpectMeta::Absent, NO_WAIT))
        .await
        .expect("a store without meta");
    lock.release().await.expect("released");
    let (before, revision) = meta(&store).await;
    assert_eq!(
        cases(ExpectMeta::Absent).await,
        Err(format!(
            "the fleet has changed since the plan was made (meta is at revision {revision}, the plan was made at no \
             revision; changed last by apply by alice@desk, begun 2026-01-02T03:04:05Z): plan again"
        ))
    );
    assert!(cases(ExpectMeta::At(revision - 1)).await.is_err());
    // A refusal leaves neither a lock nor a raised token.
    assert_eq!(meta(&store).await, (before, revision));
    assert_eq!(store.lock_holder().await.expect("a read"), None);

    let lock = store
        .acquire_lock(&lock_request("alice", ExpectMeta::At(revision), NO_WAIT))
        .await
        .expect("the plan is fresh");
    assert_eq!(lock.token(), FencingToken::new(2));
    lock.release().await.expect("released");
}

pub(crate) async fn waiting_for_the_holder(fixture: &Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let lock = take(&store, "alice").await;
    let begin = Instant::now();
    let held = held(&other, "bob", Duration::from_millis(700)).await;
    assert_eq!(held.record.holder.who, "alice@desk");
    let waited = begin.elapsed();
    assert!((0.7..5.0).contains(&waited.as_secs_f64()), "{waited:?}");

    let waiting = tokio::spawn(async move {
        let lock = other
            .acquire_lock(&lock_request("bob", ExpectMeta::Any, Duration::from_secs(60)))
            .await
            .expect("the lock becomes free");
        (Instant::now(), lock)
    });
    lock.release().await.expect("released");
    let released = Instant::now();
    let (taken, lock) = waiting.await.expect("the task ends");
    assert!(taken.saturating_duration_since(released) < Duration::from_secs(3));
    assert_eq!(lock.token(), FencingToken::new(2));
    lock.release().await.expect("released");
}

pub(crate) async fn one_at_a_time(fixture: &Fixture) {
    let inside = Arc::new(AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..6 {
        let store = fixture.open().await;
        let inside = Arc::clone(&inside);
        tasks.spawn(async move {
            let request = lock_request(&format!("user{n}"), ExpectMeta::Any, Duration::from_secs(60));
            let lock = store.acquire_lock(&request).await.expect("its turn comes");
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
            let token = lock.token().get();
            // A write under the lock, so that holders overlap if they can.
            let mine = Transaction {
                compares: vec![lock.guard()],
                writes: vec![put(&key(&store, "turn"), n)],
            };
            assert!(matches!(store.commit(&mine).await, Ok(Outcome::Committed { .. })));
            inside.fetch_sub(1, Ordering::SeqCst);
            lock.release().await.expect("released");
            token
        });
    }
    let mut tokens = Vec::new();
    while let Some(token) = tasks.join_next().await {
        tokens.push(token.expect("the task ends"));
    }
    tokens.sort_unstable();
    assert_eq!(tokens, [1, 2, 3, 4, 5, 6]);
}

/// Somebody writes `meta` without the lock all the while: no write is lost, so no token is given out twice.
pub(crate) async fn the_token_rises_whatever_comes_between(fixture: &Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    take(&store, "alice").await.release().await.expect("released");
    let writing = tokio::spawn(async move {
        let mut written = Vec::new();
        while written.len() < 100 {
            let (mut found, revision) = meta(&other).await;
            found.token = found.token.next();
            let raise = Transaction {
                compares: vec![demand(&other.layout().meta(), Guard::ModRevision(revision))],
                writes: vec![put(
                    &other.layout().meta(),
                    serde_json::to_string(&found).expect("JSON"),
                )],
            };
            if let Outcome::Committed { revision } = other.commit(&raise).await.expect("a certain answer") {
                written.push((revision, found.token));
            }
        }
        written
    });
    let mut tokens = Vec::new();
    while !writing.is_finished() {
        let (_, revision) = meta(&store).await;
        match store
            .acquire_lock(&lock_request("alice", ExpectMeta::At(revision), NO_WAIT))
            .await
        {
            Ok(lock) => {
                tokens.push((lock.create_revision(), lock.token()));
                lock.release().await.expect("released");
            }
            Err(error) => assert!(matches!(error, StoreError::StaleMeta { .. }), "{error:?}"),
        }
    }
    tokens.extend(writing.await.expect("the task ends"));
    tokens.sort_unstable();
    assert!(
        tokens.is_sorted_by(|a, b| a.0 < b.0 && a.1.next() == b.1),
        "{tokens:?}"
    );
}

pub(crate) async fn the_old_holder_is_fenced_off(fixture: &Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let old = take(&store, "alice").await;
    let guarded = |value: u32| Transaction {
        compares: vec![old.guard()],
        writes: vec![put(&key(&store, "a"), value)],
    };
    assert!(matches!(
        store.commit(&guarded(1)).await,
        Ok(Outcome::Committed { .. })
    ));

    let error = other
        .force_unlock(old.create_revision() + 1)
        .await
        .expect_err("another lock");
    assert!(
        matches!(&error, StoreError::LockChanged { found: Some(found), .. }
        if found.create_revision == old.create_revision()),
        "{error:?}"
    );
    other.force_unlock(old.create_revision()).await.expect("removed");
    let new = other
        .acquire_lock(&lock_request("bob", ExpectMeta::Any, Duration::from_secs(10)))
        .await
        .expect("the old holder lets go");
    assert_eq!(new.token(), old.token().next());

    let loss = timeout(Duration::from_secs(10), old.lost())
        .await
        .expect("the loss is reported");
    assert_eq!(loss, LockLoss::Removed);
    let Outcome::Conflict { failed } = store.commit(&guarded(2)).await.expect("a certain answer") else {
        panic!("the old holder wrote");
    };
    let [
        FailedCompare {
            compare,
            found: Some(found),
        },
    ] = failed.as_slice()
    else {
        panic!("{failed:?}");
    };
    assert_eq!(compare, &old.guard());
    assert_eq!(found.create_revision, new.create_revision());
    let record: LockRecord = serde_json::from_slice(&found.value).expect("a record");
    assert_eq!(record.holder.who, "bob@desk");
    let value = &store.get(&[key(&store, "a")]).await.expect("a read").entries[0].value;
    assert_eq!(value, b"1");

    let error = old.release().await.expect_err("it is gone");
    assert!(
        matches!(error, StoreError::LockLost(LockLoss::Removed)),
        "{error:?}"
    );
    // The old holder's going has not touched the new lock.
    assert!(matches!(
        other
            .commit(&Transaction {
                compares: vec![new.guard()],
                writes: vec![]
            })
            .await,
        Ok(Outcome::Committed { .. })
    ));
    new.release().await.expect("released");
}

pub(crate) async fn a_dropped_lock_is_free_again(fixture: &Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let lock = take(&store, "alice").await;
    drop(lock);
    let lock = other
        .acquire_lock(&lock_request("bob", ExpectMeta::Any, fixture.lock_outlives))
        .await
        .expect("nobody renews it");
    assert_eq!(lock.token(), FencingToken::new(2));
    lock.release().await.expect("released");
}

/// The variable by which a test hands its store to a process of its own.
const CHILD: &str = "DROVER_TEST_HOLD_LOCK_OF";

/// Runs in a process of its own: takes the lock, says so, and keeps it until it is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_killed_holder_is_free_again"]
async fn hold_the_lock_until_killed() {
    let Ok(text) = std::env::var(CHILD) else {
        return;
    };
    let parts: Vec<&str> = text.split('|').collect();
    let settings = match parts.as_slice() {
        [path] => StoreSettings::Local { path: path.into() },
        [endpoint, ca, cert, key] => StoreSettings::Etcd {
            endpoints: vec![(*endpoint).to_owned()],
            ca_file: Some(ca.into()),
            cert_file: Some(cert.into()),
            key_file: Some(key.into()),
        },
        other => panic!("{other:?}"),
    };
    let store = open(&settings, "prod").await;
    let lock = take(&store, "child").await;
    println!("\nheld {}", lock.create_revision());
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("the parent kills this process");
}

pub(crate) async fn a_killed_holder_is_free_again(fixture: &Fixture) {
    let text = match &fixture.settings {
        StoreSettings::Local { path } => path.display().to_string(),
        StoreSettings::Etcd {
            endpoints,
            ca_file,
            cert_file,
            key_file,
        } => [ca_file, cert_file, key_file]
            .iter()
            .fold(endpoints[0].clone(), |text, file| {
                format!("{text}|{}", file.as_ref().expect("TLS").display())
            }),
    };
    let store = fixture.open().await;
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "locks::hold_the_lock_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(CHILD, text)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test runs again");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let revision: u64 = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            line.strip_prefix("held ")
                .map(|text| text.parse().expect("a revision"))
        })
        .expect("the child takes the lock");

    let found = held(&store, "alice", NO_WAIT).await;
    assert_eq!(found.create_revision, revision);
    assert_eq!(found.record.holder.who, "child@desk");
    assert_eq!(found.record.holder.pid, child.id());

    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
    let lock = store
        .acquire_lock(&lock_request("alice", ExpectMeta::Any, fixture.lock_outlives))
        .await
        .expect("a dead process holds nothing");
    assert_eq!(lock.token(), found.record.token.next());
    let theirs = Transaction {
        compares: vec![demand(&store.layout().lock(), Guard::CreateRevision(revision))],
        writes: vec![put(&key(&store, "late"), 1)],
    };
    assert!(matches!(
        store.commit(&theirs).await,
        Ok(Outcome::Conflict { .. })
    ));
    lock.release().await.expect("released");
}

pub(crate) async fn raising_the_token(fixture: &Fixture) {
    let store = fixture.open().await;
    let request = lock_request("alice", ExpectMeta::Any, NO_WAIT);
    let raise = async |to: u64| {
        store
            .bump_token(&request, FencingToken::new(to))
            .await
            .expect("raised")
            .get()
    };
    assert_eq!(raise(0).await, 1);
    assert_eq!(raise(40).await, 40);
    assert_eq!(raise(7).await, 41);
    assert_eq!(meta(&store).await.0.token, FencingToken::new(41));
    let lock = take(&store, "bob").await;
    assert_eq!(lock.token(), FencingToken::new(42));
    let error = store
        .bump_token(&request, FencingToken::new(100))
        .await
        .expect_err("an apply runs");
    assert!(matches!(error, StoreError::LockHeld { .. }), "{error:?}");
    lock.release().await.expect("released");
}

pub(crate) async fn records_of_a_later_version(fixture: &Fixture) {
    let store = fixture.open().await;
    let request = lock_request("alice", ExpectMeta::Any, NO_WAIT);
    let meta_key = layout("prod").meta();
    for (text, expected) in [
        (
            r#"{"format": 99, "surprise": true}"#,
            "the record /drover/v1/prod/meta has format 99; this drover reads up to 1: use a newer one",
        ),
        (
            "{",
            "cannot read the record /drover/v1/prod/meta, last changed at revision ",
        ),
        (
            r#"{"format": 1}"#,
            "cannot read the record /drover/v1/prod/meta, last changed at revision ",
        ),
    ] {
        store
            .commit(&writes(vec![put(&meta_key, text)]))
            .await
            .expect("written");
        let error = store.acquire_lock(&request).await.expect_err("not understood");
        assert!(error.to_string().starts_with(expected), "{error}");
        let lock = store.get(&[store.layout().lock()]).await.expect("a read");
        assert_eq!(lock.entries, []);
    }
}
