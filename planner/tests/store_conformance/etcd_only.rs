//! What only etcd does: members that stop, leases that run out, histories that are cut, certificates.

use super::etcd::{Cluster, Wire};
use super::{key, layout, lock_request, open, put, writes};
use drover::store::{ExpectMeta, LockLoss, Outcome, Store, StoreError, StoreSettings, StoreWarning};
use drover_core::record::{Key, Transaction};
use futures::FutureExt;
use nix::sys::signal::Signal;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// An error and its sources, as the command prints them.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

async fn take(store: &Store) -> drover::store::Lock {
    store
        .acquire_lock(&lock_request("alice", ExpectMeta::Any, Duration::ZERO))
        .await
        .expect("the lock is free")
}

/// Writes, and where the answer is lost looks before it writes again.
async fn write_surely(store: &Store, transaction: &Transaction, key: &Key, value: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let error = match store.commit(transaction).await {
            Ok(Outcome::Committed { .. }) => return,
            Ok(Outcome::Conflict { failed }) => panic!("{failed:?}"),
            Err(error) => error,
        };
        assert!(
            matches!(
                error,
                StoreError::OutcomeUnknown { .. } | StoreError::Unreachable { .. }
            ),
            "{error:?}"
        );
        assert!(Instant::now() < deadline, "{}", chain(&error));
        if let Ok(found) = store.get(std::slice::from_ref(key)).await
            && found
                .entries
                .first()
                .is_some_and(|entry| entry.value == value.as_bytes())
        {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_three_members_may_stop() {
    let mut cluster = Cluster::start(3, Wire::Tls);
    let settings = cluster.settings();
    let store = open(&settings, "prod").await;
    let lock = take(&store).await;
    let counter = key(&store, "counter");
    for stopped in 0..3 {
        cluster.members[stopped].stop();
        let value = stopped.to_string();
        let guarded = Transaction {
            compares: vec![lock.guard()],
            writes: vec![put(&counter, &value)],
        };
        write_surely(&store, &guarded, &counter, &value).await;
        assert_eq!(store.read_all().await.expect("a read").entries.len(), 3);

        let (again, warnings) = Store::open(&settings, layout("prod"))
            .await
            .expect("two members answer");
        let down: Vec<&str> = warnings
            .iter()
            .filter_map(|warning| match warning {
                StoreWarning::MemberDown(failure) => Some(failure.endpoint.as_str()),
                StoreWarning::OldEtcd { .. } => None,
            })
            .collect();
        assert_eq!(down, [cluster.members[stopped].endpoint.as_str()]);
        assert_eq!(
            again
                .get(std::slice::from_ref(&counter))
                .await
                .expect("a read")
                .entries[0]
                .value,
            value.as_bytes()
        );

        cluster.members[stopped].start_again();
        cluster.wait_until_healthy();
    }
    assert_eq!(lock.lost().now_or_never(), None, "the lease outlives members");

    // Without a majority nothing is done, and every member is named.
    cluster.members[0].stop();
    cluster.members[1].stop();
    let error = store.read_all().await.expect_err("no majority");
    let StoreError::Unreachable { failures, .. } = &error else {
        panic!("{error:?}");
    };
    let mut named: Vec<&str> = failures.iter().map(|failure| failure.endpoint.as_str()).collect();
    named.sort_unstable();
    let mut all: Vec<&str> = cluster
        .members
        .iter()
        .map(|member| member.endpoint.as_str())
        .collect();
    all.sort_unstable();
    assert_eq!(named, all);
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_cannot_be_renewed_is_reported() {
    let cluster = Cluster::start(1, Wire::Plain);
    let store = open(&cluster.settings(), "prod").await;
    let lock = take(&store).await;
    let begin = Instant::now();
    cluster.members[0].signal(Signal::SIGSTOP);
    let loss = timeout(Duration::from_secs(40), lock.lost())
        .await
        .expect("reported");
    let after = begin.elapsed();
    cluster.members[0].signal(Signal::SIGCONT);
    assert_eq!(
        loss,
        LockLoss::Unrenewed {
            ttl: Duration::from_secs(15)
        }
    );
    assert!((9.0..21.0).contains(&after.as_secs_f64()), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_ended_by_somebody_is_reported_at_once() {
    let cluster = Cluster::start(1, Wire::Tls);
    let store = open(&cluster.settings(), "prod").await;
    let lock = take(&store).await;
    let list = cluster.etcdctl(&["lease", "list"]);
    let lease = list.lines().last().expect("one lease").trim().to_owned();
    let begin = Instant::now();
    cluster.etcdctl(&["lease", "revoke", &lease]);
    let loss = timeout(Duration::from_secs(20), lock.lost())
        .await
        .expect("reported");
    assert!(matches!(loss, LockLoss::Removed | LockLoss::Expired), "{loss:?}");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let error = lock.release().await.expect_err("it is gone");
    assert!(
        matches!(error, StoreError::LockLost(LockLoss::Removed)),
        "{error:?}"
    );
}

/// A kept lock outlives its lease's time to live many times over.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_lock_stays() {
    let cluster = Cluster::start(1, Wire::Plain);
    let store = open(&cluster.settings(), "prod").await;
    let lock = take(&store).await;
    let lost = timeout(Duration::from_secs(22), lock.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
    lock.release().await.expect("released");
    assert_eq!(cluster.etcdctl(&["lease", "list"]).trim(), "found 0 leases");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_not_taken_for_a_refusal() {
    let mut cluster = Cluster::start(1, Wire::Plain);
    let store = open(&cluster.settings(), "prod").await;
    let a = key(&store, "a");
    let write = writes(vec![put(&a, 1)]);
    cluster.members[0].signal(Signal::SIGSTOP);
    let error = store.commit(&write).await.expect_err("no answer");
    cluster.members[0].signal(Signal::SIGCONT);
    assert_eq!(
        chain(&error),
        format!(
            "cannot tell whether the store did what it was asked (write): look before repeating it: {}: no answer \
             within 5.0 s",
            cluster.members[0].endpoint
        )
    );
    write_surely(&store, &write, &a, "1").await;

    // Whereas a member that is not there at all has certainly done nothing.
    cluster.members[0].stop();
    let deadline = Instant::now() + Duration::from_secs(30);
    let error = loop {
        match store
            .commit(&writes(vec![put(&a, 2)]))
            .await
            .expect_err("nobody is there")
        {
            StoreError::OutcomeUnknown { .. } if Instant::now() < deadline => {}
            error => break error,
        }
    };
    assert_eq!(
        error.to_string(),
        format!(
            "cannot write: no etcd endpoint can be used: {}: tcp connect error: Connection refused (os error 111)",
            cluster.members[0].endpoint
        )
    );
    cluster.members[0].start_again();
    cluster.wait_until_healthy();
    assert_eq!(store.get(&[a]).await.expect("a read").entries[0].value, b"1");
}

/// etcd forgets the revision that is being read, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_read_begins_again() {
    let cluster = Cluster::start(1, Wire::Plain);
    let store = open(&cluster.settings(), "prod").await;
    for block in 0..15 {
        let fill = (0..100)
            .map(|n| put(&key(&store, &format!("k{block}-{n}")), n))
            .collect();
        store.commit(&writes(fill)).await.expect("written");
    }
    let mut client = etcd_client::Client::connect([&cluster.members[0].endpoint], None)
        .await
        .expect("a client");
    // How many reads were given up: with each, etcd compacts more seldom, so that some come through however long a read
    // takes.
    let given_up = Arc::new(AtomicU64::new(0));
    let compacting = tokio::spawn({
        let (store, given_up) = (store.clone(), Arc::clone(&given_up));
        let extra = key(&store, "z");
        async move {
            for count in 1.. {
                // A read takes about as long at first; etcd itself compacts every few minutes.
                let pace = 15 * (1 + given_up.load(Ordering::Relaxed));
                tokio::time::sleep(Duration::from_millis(pace)).await;
                let written = store
                    .commit(&writes(vec![put(&extra, count)]))
                    .await
                    .expect("written");
                let Outcome::Committed { revision } = written else {
                    panic!("nothing was compared");
                };
                client
                    .compact(revision.cast_signed(), None)
                    .await
                    .expect("compacted");
            }
        }
    });
    let mut read = 0;
    while read + given_up.load(Ordering::Relaxed) < 60 {
        match store.read_all().await {
            Ok(snapshot) => {
                assert!(
                    (1_500..=1_501).contains(&snapshot.entries.len()),
                    "{}",
                    snapshot.entries.len()
                );
                read += 1;
            }
            Err(StoreError::Compacted { attempts: 5 }) => {
                given_up.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("{}", chain(&error)),
        }
    }
    compacting.abort();
    assert!(read > 0, "{given_up:?} reads were given up");
    assert!(
        compacting
            .await
            .expect_err("it goes on until it is stopped")
            .is_cancelled()
    );
}

fn with_files(
    settings: &StoreSettings,
    ca: &str,
    cert: Option<&str>,
    file: impl Fn(&str) -> PathBuf,
) -> StoreSettings {
    let StoreSettings::Etcd { endpoints, .. } = settings else {
        panic!("{settings:?}");
    };
    StoreSettings::Etcd {
        endpoints: endpoints.clone(),
        ca_file: Some(file(ca)),
        cert_file: cert.map(|name| file(&format!("{name}.pem"))),
        key_file: cert.map(|name| file(&format!("{name}.key"))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_do_not_fit_are_explained() {
    let cluster = Cluster::start(1, Wire::Tls);
    let settings = cluster.settings();
    let endpoint = &cluster.members[0].endpoint;
    fs::write(cluster.file("empty.pem"), "").expect("a file");
    let empty = cluster.file("empty.pem");
    let missing = cluster.file("missing.pem");
    let cases = [
        (
            "other-ca.pem",
            Some("tls"),
            vec![endpoint.as_str(), "invalid peer certificate"],
        ),
        (
            "ca.pem",
            Some("other"),
            vec![
                endpoint.as_str(),
                "does etcd accept the certificate in cert_file?",
            ],
        ),
        (
            "ca.pem",
            None,
            vec![
                endpoint.as_str(),
                "does etcd accept the certificate in cert_file?",
            ],
        ),
        (
            "missing.pem",
            Some("tls"),
            vec![
                "cannot read ca_file",
                missing.to_str().expect("text"),
                "No such file",
            ],
        ),
        (
            "empty.pem",
            Some("tls"),
            vec![
                "ca_file",
                empty.to_str().expect("text"),
                "holds no certificate in PEM",
            ],
        ),
        (
            "ca.pem",
            Some("missing"),
            vec!["cannot read cert_file", "missing.pem"],
        ),
    ];
    for (ca, cert, expected) in cases {
        let wrong = with_files(&settings, ca, cert, |name| cluster.file(name));
        let error = Store::open(&wrong, layout("prod")).await.expect_err("refused");
        let text = chain(&error);
        for part in expected {
            assert!(text.contains(part), "{ca} {cert:?}: {text:?} lacks {part:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_are_not_one_store() {
    let (one, two) = (Cluster::start(1, Wire::Plain), Cluster::start(1, Wire::Plain));
    let endpoints = vec![one.members[0].endpoint.clone(), two.members[0].endpoint.clone()];
    let settings = StoreSettings::Etcd {
        endpoints: endpoints.clone(),
        ca_file: None,
        cert_file: None,
        key_file: None,
    };
    let error = Store::open(&settings, layout("prod"))
        .await
        .expect_err("two clusters");
    let text = error.to_string();
    assert!(
        text.contains(&endpoints[0]) && text.contains(&endpoints[1]),
        "{text}"
    );
    assert!(
        text.ends_with("belong to different etcd clusters: name the members of one"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_gives_a_warning() {
    let cluster = Cluster::start(1, Wire::Plain);
    let version = cluster.version();
    let (_, warnings) = Store::open(&cluster.settings(), layout("prod"))
        .await
        .expect("it opens");
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let expected = if version.starts_with("3.4.") {
        vec![format!(
            "etcd at {} is version {version}, which is no longer maintained: use 3.5 or 3.6",
            cluster.members[0].endpoint
        )]
    } else {
        Vec::new()
    };
    assert_eq!(texts, expected);
}
