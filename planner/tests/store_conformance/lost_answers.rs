//! Requests that etcd carries out while its answers get lost on the way.

use super::etcd::{Cluster, Wire};
use super::{demand, key, layout, lock_request, put, writes};
use drover::store::{ExpectMeta, Outcome, Store, StoreError, StoreSettings, StoreWarning};
use drover_core::record::{Guard, Transaction};
use drover_types::FencingToken;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A way to a member that swallows every answer from the moment it has passed on a request with this text.
struct LossyWay {
    endpoint: String,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl LossyWay {
    async fn to(member: &str, text: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::from_listener(listener, member, text)
    }

    fn from_listener(listener: TcpListener, member: &str, text: &'static str) -> Self {
        let target = member.trim_start_matches("http://").to_owned();
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let lost = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.expect("the member listens");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let (seen, lost) = (Arc::clone(&lost), Arc::clone(&lost));
                ways.spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                        if buffer[..length]
                            .windows(text.len())
                            .any(|window| window == text.as_bytes())
                        {
                            seen.store(true, Ordering::SeqCst);
                        }
                        if to_server.write_all(&buffer[..length]).await.is_err() {
                            break;
                        }
                    }
                });
                ways.spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                        if !lost.load(Ordering::SeqCst)
                            && to_client.write_all(&buffer[..length]).await.is_err()
                        {
                            break;
                        }
                    }
                });
            }
        });
        Self {
            endpoint,
            _task: tokio_util::task::AbortOnDropHandle::new(task),
        }
    }
}

/// A store that knows two ways to its one member: the lossy one, on which it settles, and a sound one that
/// accepts nothing before that.
async fn opened_over(cluster: &Cluster, way: &LossyWay) -> (Store, LossyWay) {
    let member = &cluster.members[0].endpoint;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let sound = format!("http://{}", listener.local_addr().expect("it is bound"));
    let settings = StoreSettings::Etcd {
        endpoints: vec![sound, way.endpoint.clone()],
        ca_file: None,
        cert_file: None,
        key_file: None,
    };
    let (store, warnings) = Store::open(&settings, layout("prod")).await.expect("it opens");
    assert!(
        warnings
            .iter()
            .any(|warning| matches!(warning, StoreWarning::MemberDown(_))),
        "{warnings:?}"
    );
    (store, LossyWay::from_listener(listener, member, "\0never sent\0"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_answer_may_be_done() {
    let cluster = Cluster::start(1, Wire::Plain);
    let way = LossyWay::to(&cluster.members[0].endpoint, "canary").await;
    let (store, _sound) = opened_over(&cluster, &way).await;
    let a = key(&store, "a");
    let error = store
        .commit(&writes(vec![put(&a, "canary")]))
        .await
        .expect_err("no answer");
    assert!(matches!(error, StoreError::OutcomeUnknown { .. }), "{error:?}");
    // Looking goes another way.
    assert_eq!(store.get(&[a]).await.expect("a read").entries[0].value, b"canary");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_taken_without_answer_is_known_again() {
    let cluster = Cluster::start(1, Wire::Plain);
    let way = LossyWay::to(&cluster.members[0].endpoint, "alice@desk").await;
    let (store, _sound) = opened_over(&cluster, &way).await;
    let lock = store
        .acquire_lock(&lock_request("alice", ExpectMeta::Any, Duration::ZERO))
        .await
        .expect("taken, as a look shows");
    assert_eq!(lock.token(), FencingToken::new(1));
    let guarded = Transaction {
        compares: vec![lock.guard()],
        writes: vec![put(&key(&store, "a"), 1)],
    };
    assert!(matches!(
        store.commit(&guarded).await,
        Ok(Outcome::Committed { .. })
    ));
    lock.release().await.expect("released");
    assert_eq!(cluster.etcdctl(&["lease", "list"]).trim(), "found 0 leases");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_write_without_answer_is_known_to_be_done() {
    let cluster = Cluster::start(1, Wire::Plain);
    let way = LossyWay::to(&cluster.members[0].endpoint, "canary").await;
    let (store, _sound) = opened_over(&cluster, &way).await;
    let a = key(&store, "a");
    let write = Transaction {
        compares: vec![demand(&a, Guard::Absent)],
        writes: vec![put(&a, "canary")],
    };
    let outcome = store.commit_settled(&write).await.expect("found out");
    let found = store.get(&[a]).await.expect("a read");
    let revision = found.entries[0].mod_revision;
    assert_eq!(outcome, Outcome::Committed { revision });

    // It was carried out once: whoever else wants the same is told that it is there.
    let second = store.commit_settled(&write).await.expect("an answer");
    assert!(matches!(second, Outcome::Conflict { .. }), "{second:?}");
}
