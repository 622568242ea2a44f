use super::{Failure, Header, NewOperation, OperationStream, Operations, WorkResult};
use crate::oplog::{LogFile, OperationLog};
use drover_agent_core::oplog::{EpochClaim, FailureCode, OperationKind};
use drover_proto::v1::operation_event::Event;
use drover_proto::v1::operation_finished::Outcome;
use drover_proto::v1::operation_result::Result as Success;
use drover_proto::v1::{ImageResult, OperationEvent, OperationProgress};
use drover_types::{FencingToken, IncarnationId, OperationId, RequestId};
use futures::{FutureExt as _, StreamExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::{Code, Status};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(120);

fn open(dir: &Path) -> Operations {
    let life = IncarnationId::from_uuid(Uuid::from_u128(1));
    let host = "n1".parse().expect("a name");
    let file = LogFile::open(&dir.join("operations.log"), &host, life, false).expect("a log");
    Operations::new(OperationLog::start(file).expect("a thread"))
}

fn asking(id: u128, token: u64, request: &str) -> NewOperation {
    let header = Header {
        operation: OperationId::from_uuid(Uuid::from_u128(id)),
        token: FencingToken::new(token),
        request_id: RequestId::from_untrusted("req-test"),
        project: "default".parse().expect("a name"),
    };
    NewOperation::new(header, OperationKind::FetchImage, EpochClaim::Host, &request).expect("JSON")
}

fn image(cached: bool) -> WorkResult {
    Ok(Success::Image(ImageResult {
        checksum: "sha256:00".to_owned(),
        cached,
        ..ImageResult::default()
    }))
}

async fn next(stream: &mut OperationStream) -> Option<Result<OperationEvent, Status>> {
    tokio::time::timeout(PATIENCE, stream.next())
        .await
        .expect("an event in time")
}

async fn accepted(stream: &mut OperationStream) -> bool {
    match next(stream).await.expect("not ended").expect("no error").event {
        Some(Event::Accepted(accepted)) => accepted.attached,
        other => panic!("not accepted but {other:?}"),
    }
}

async fn outcome(stream: &mut OperationStream) -> Outcome {
    loop {
        match next(stream).await.expect("not ended").expect("no error").event {
            Some(Event::Finished(finished)) => {
                assert!(next(stream).await.is_none(), "finished is the last");
                return finished.outcome.expect("an outcome");
            }
            Some(Event::Progress(_) | Event::Accepted(_)) => {}
            None => panic!("nothing was told for long"),
        }
    }
}

fn is_cached(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Succeeded(result) => match &result.result {
            Some(Success::Image(image)) => image.cached,
            other => panic!("no image but {other:?}"),
        },
        Outcome::Failed(failure) => panic!("failed: {failure:?}"),
    }
}

#[tokio::test]
async fn work_goes_on_without_its_client_and_runs_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let operations = open(dir.path());
    let runs = Arc::new(AtomicU32::new(0));
    let (release, released) = oneshot::channel::<()>();
    let first = operations
        .run(asking(1, 1, "a"), {
            let runs = runs.clone();
            |handle| async move {
                runs.fetch_add(1, Ordering::SeqCst);
                handle.phase("fetching");
                released.await.expect("released");
                image(false)
            }
        })
        .await
        .expect("admitted");
    drop(first);
    let again = |runs: Arc<AtomicU32>| {
        operations.run(asking(1, 1, "a"), move |_| async move {
            runs.fetch_add(1, Ordering::SeqCst);
            image(true)
        })
    };
    let mut attached = again(runs.clone()).await.expect("attached");
    let mut slow = again(runs.clone()).await.expect("attached");
    assert!(accepted(&mut attached).await, "it was running already");
    release.send(()).expect("the work waits");
    assert!(!is_cached(&outcome(&mut attached).await));
    assert!(!is_cached(&outcome(&mut slow).await));

    let mut stored = again(runs.clone()).await.expect("replayed");
    assert!(accepted(&mut stored).await);
    assert!(!is_cached(&outcome(&mut stored).await), "the stored result");
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    let other = operations.run(asking(1, 1, "b"), |_| async { image(true) }).await;
    let status = other.err().expect("another request under the same id");
    assert_eq!(status.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_request_whose_client_is_gone_before_the_answer_is_worked_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let operations = open(dir.path());
    let mut asked = operations
        .run(asking(1, 1, "a"), |_| async { image(false) })
        .boxed();
    // It is sent to the log, and nobody is left to hear what the log says.
    assert!(futures::poll!(asked.as_mut()).is_pending());
    drop(asked);
    let mut stream = loop {
        match operations.watch(OperationId::from_uuid(Uuid::from_u128(1))).await {
            Ok(stream) => break stream,
            Err(status) => assert_eq!(status.code(), Code::NotFound),
        }
        tokio::task::yield_now().await;
    };
    assert!(!is_cached(&outcome(&mut stream).await));
}

#[tokio::test]
async fn a_lower_token_is_refused_by_name_and_does_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let operations = open(dir.path());
    let mut stream = operations
        .run(asking(1, 5, "a"), |_| async { image(false) })
        .await
        .expect("admitted");
    outcome(&mut stream).await;
    let refused = operations
        .run(asking(2, 4, "b"), |_| async { panic!("must not begin") })
        .await
        .err()
        .expect("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let kind = refused.metadata().get("drover-refusal").expect("a kind");
    assert_eq!(kind, "stale_token");
}

#[tokio::test]
async fn a_watcher_that_never_reads_holds_nobody_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let operations = open(dir.path());
    let _never_read = operations
        .run(asking(1, 1, "a"), |handle| async move {
            for done_bytes in 0..100_000 {
                handle.progress(OperationProgress {
                    done_bytes,
                    ..OperationProgress::default()
                });
            }
            image(false)
        })
        .await
        .expect("admitted");
    let mut watcher = operations
        .watch(OperationId::from_uuid(Uuid::from_u128(1)))
        .await
        .expect("in the log");
    assert!(!is_cached(&outcome(&mut watcher).await));
}

#[tokio::test]
async fn a_fault_in_the_work_is_a_failure_not_a_hang() {
    let dir = tempfile::tempdir().expect("a directory");
    let operations = open(dir.path());
    let mut stream = operations
        .run(asking(1, 1, "a"), |_| async { panic!("a fault") })
        .await
        .expect("admitted");
    match outcome(&mut stream).await {
        Outcome::Failed(failure) => {
            assert!(failure.message.contains("fault in the agent"), "{failure:?}");
        }
        Outcome::Succeeded(result) => panic!("succeeded: {result:?}"),
    }
}

#[tokio::test]
async fn work_cut_by_a_stop_is_recovered_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut stream;
    {
        let operations = open(dir.path());
        stream = operations
            .run(asking(1, 3, "what to fetch"), |_| {
                std::future::pending::<WorkResult>()
            })
            .await
            .expect("admitted");
        assert!(!accepted(&mut stream).await);
        assert_eq!(operations.shut_down(Duration::from_millis(1)).await, 1);
        let refused = operations
            .run(asking(2, 3, "b"), |_| async { image(false) })
            .await;
        assert_eq!(refused.err().expect("stopping").code(), Code::Unavailable);
    }
    let cut = next(&mut stream).await.expect("told").expect_err("cut");
    assert_eq!(cut.code(), Code::Unavailable);
    drop(stream);

    let operations = reopened(dir.path()).await;
    let count = operations
        .resume(Arc::new(|began, handle| {
            async move {
                handle.phase("looking");
                assert_eq!(began.request, serde_json::json!("what to fetch"));
                Err(Failure::new(FailureCode::Fetch, "the source is gone").hint("plan again"))
            }
            .boxed()
        }))
        .await
        .expect("resumed");
    assert_eq!(count, 1);
    let mut watcher = operations
        .run(asking(1, 3, "what to fetch"), |_| async { panic!("must attach") })
        .await
        .expect("attached");
    match outcome(&mut watcher).await {
        Outcome::Failed(failure) => {
            assert_eq!(failure.message, "the source is gone");
            assert_eq!(failure.hint, "plan again");
            assert_eq!(failure.code(), drover_proto::v1::FailureCode::Fetch);
        }
        Outcome::Succeeded(result) => panic!("succeeded: {result:?}"),
    }
}

/// Opens the log again once its first owner thread has let go of the lock.
async fn reopened(dir: &Path) -> Operations {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let host = "n1".parse().expect("a name");
    let life = IncarnationId::from_uuid(Uuid::from_u128(2));
    loop {
        match LogFile::open(&dir.join("operations.log"), &host, life, false) {
            Ok(file) => return Operations::new(OperationLog::start(file).expect("a thread")),
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}
