//! Runs operations: one owner task each, which goes on when its client is gone, and whose end is in the log
//! before anybody hears of it.

use super::failure::{Failure, WorkResult, chain, to_log, to_wire};
use super::header::{Header, not_logged, refused};
use super::watch::{OperationStream, Step, ended, running};
use crate::oplog::{AppendError, OperationLog};
use drover_agent_core::oplog::{
    Began, EpochClaim, FailureCode, Incoming, OperationKind, OperationState, Outcome, Record, UnixMillis,
    Verdict, admit,
};
use drover_proto::v1;
use drover_types::{OperationId, RequestId, Sha256Digest};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Serialize;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tracing::Instrument as _;

/// Between two tries to write an operation's end into the log.
const RETRY_END: Duration = Duration::from_secs(1);

/// Continues or undoes an operation after a restart: it looks at what is there, then decides.
pub type RecoverWork = Arc<dyn Fn(Began, OperationHandle) -> BoxFuture<'static, WorkResult> + Send + Sync>;

/// A request for an operation.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Who asks, under which id.
    pub header: Header,
    /// What it does.
    pub kind: OperationKind,
    /// What it works on, and by what right.
    pub claim: EpochClaim,
    /// The request without its header, as [`Began::request`] keeps it for recovery. Equal requests must give
    /// equal values: their digest tells whether an id is used for another request.
    pub request: serde_json::Value,
}

impl NewOperation {
    /// A request for an operation. `request` is the message, its header taken out.
    ///
    /// # Errors
    /// `INTERNAL` where the message has no JSON form.
    pub fn new<M: Serialize>(
        header: Header,
        kind: OperationKind,
        claim: EpochClaim,
        request: &M,
    ) -> Result<Self, Status> {
        let request = serde_json::to_value(request)
            .map_err(|error| Status::internal(format!("the request has no JSON form: {error}")))?;
        Ok(Self {
            header,
            kind,
            claim,
            request,
        })
    }

    fn incoming(self) -> Incoming {
        let digest = Sha256Digest::of(format!("{}\n{}", self.kind.as_str(), self.request).as_bytes());
        Incoming {
            operation: self.header.operation,
            kind: self.kind,
            digest,
            request: self.request,
            token: self.header.token,
            incarnation: None,
            claim: self.claim,
            request_id: self.header.request_id,
            at: now(),
        }
    }
}

/// What a piece of work has of its operation.
#[derive(Debug, Clone)]
pub struct OperationHandle {
    operation: OperationId,
    steps: watch::Sender<Step>,
    log: OperationLog,
    stopping: CancellationToken,
}

impl OperationHandle {
    /// The operation.
    #[must_use]
    pub const fn id(&self) -> OperationId {
        self.operation
    }

    /// Tells the watchers how far it is; only the latest report counts. Never waits.
    pub fn progress(&self, progress: v1::OperationProgress) {
        self.steps.send_replace(Step::Progress(progress));
    }

    /// Tells the watchers what is being done.
    pub fn phase(&self, phase: &str) {
        self.progress(v1::OperationProgress {
            phase: phase.to_owned(),
            ..v1::OperationProgress::default()
        });
    }

    /// The log, for the records that the work itself decides on.
    #[must_use]
    pub const fn log(&self) -> &OperationLog {
        &self.log
    }

    /// Appends records that the work decided on, and syncs.
    ///
    /// # Errors
    /// A `SYSTEM` failure; nothing is in the log then.
    pub async fn record(&self, records: Vec<Record>) -> Result<(), Failure> {
        self.log
            .append(records)
            .await
            .map_err(|error| Failure::from_error(FailureCode::System, &error))
    }

    /// Resolves when the agent is asked to stop. Work that cannot end within the grace time is dropped and
    /// recovered at the next start.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }
}

/// The agent's operations.
#[derive(Debug, Clone)]
pub struct Operations {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: OperationLog,
    live: Mutex<BTreeMap<OperationId, watch::Sender<Step>>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    dropping: CancellationToken,
}

enum Admitted {
    Started(watch::Sender<Step>),
    Attached(watch::Receiver<Step>),
    Ended(v1::OperationFinished),
    Refused(Status),
}

impl Operations {
    /// Operations kept in this log.
    #[must_use]
    pub fn new(log: OperationLog) -> Self {
        Self {
            inner: Arc::new(Inner {
                log,
                live: Mutex::default(),
                tasks: TaskTracker::new(),
                stopping: CancellationToken::new(),
                dropping: CancellationToken::new(),
            }),
        }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &OperationLog {
        &self.inner.log
    }

    /// Admits a request; where it may begin, runs `work` in a task of its own. The stream is the caller's
    /// view only: dropping it changes nothing, nor does dropping this future: a client that is killed just as
    /// its request is logged leaves an operation that is worked on.
    ///
    /// # Errors
    /// The refusal, with its kind in the metadata `drover-refusal`; or the log's failure. Nothing was done in
    /// either case.
    pub async fn run<F, W>(&self, new: NewOperation, work: F) -> Result<OperationStream, Status>
    where
        F: FnOnce(OperationHandle) -> W + Send + 'static,
        W: Future<Output = WorkResult> + Send + 'static,
    {
        if self.inner.stopping.is_cancelled() {
            return Err(Status::unavailable("the agent is stopping; ask again later"));
        }
        let admission = self.clone().admit(new, |handle| work(handle).boxed());
        match self.inner.tasks.spawn(admission).await {
            Ok(admitted) => admitted,
            Err(fault) => Err(Status::internal(format!(
                "could not begin the operation: {fault}"
            ))),
        }
    }

    async fn admit<F>(self, new: NewOperation, work: F) -> Result<OperationStream, Status>
    where
        F: FnOnce(OperationHandle) -> BoxFuture<'static, WorkResult> + Send + 'static,
    {
        let (operation, kind, request_id) = (new.header.operation, new.kind, new.header.request_id.clone());
        let incoming = new.incoming();
        let (inner, beginning) = (self.inner.clone(), self.inner.clone());
        let (steps, _) = watch::channel(Step::Begun);
        let admitted = self
            .inner
            .log
            .transact_then(
                move |state| {
                    let admission = admit(state, &incoming);
                    let admitted = match admission.verdict {
                        Verdict::Start => Admitted::Started(steps),
                        Verdict::Attach => inner.attached(operation),
                        Verdict::Replay(outcome) => Admitted::Ended(to_wire(&outcome)),
                        Verdict::Refuse(refusal) => Admitted::Refused(refused(&refusal)),
                    };
                    (admission.append, admitted)
                },
                move |admitted| {
                    if let Admitted::Started(steps) = admitted {
                        beginning.live().insert(operation, steps.clone());
                    }
                },
            )
            .await
            .map_err(|error| not_logged(&error))?;
        match admitted {
            Admitted::Started(steps) => {
                let receiver = steps.subscribe();
                self.own(operation, kind, &request_id, steps, work);
                Ok(running(operation, false, receiver))
            }
            Admitted::Attached(receiver) => Ok(running(operation, true, receiver)),
            Admitted::Ended(finished) => Ok(ended(operation, finished)),
            Admitted::Refused(status) => {
                tracing::warn!(request = %request_id, %operation, kind = kind.as_str(), "refused: {}", status.message());
                Err(status)
            }
        }
    }

    /// Watches an operation that the log knows.
    ///
    /// # Errors
    /// `NOT_FOUND` where it was never accepted or its result was acknowledged.
    pub async fn watch(&self, operation: OperationId) -> Result<OperationStream, Status> {
        let inner = self.inner.clone();
        let found = self
            .inner
            .log
            .read(move |state| match state.operation(operation) {
                Some(OperationState::Running(_)) => inner.attached(operation),
                Some(OperationState::Finished { outcome, .. }) => Admitted::Ended(to_wire(outcome)),
                Some(OperationState::Withdrawn { .. }) => Admitted::Ended(to_wire(&Outcome::Failed {
                    code: FailureCode::Withdrawn,
                    message: format!("operation {operation} was withdrawn before it began"),
                    hint: "plan again".to_owned(),
                })),
                None => Admitted::Refused(Status::not_found(format!(
                    "operation {operation} is not in this agent's log: never accepted, or acknowledged"
                ))),
            })
            .await
            .map_err(|error| not_logged(&error))?;
        match found {
            Admitted::Started(steps) => Ok(running(operation, true, steps.subscribe())),
            Admitted::Attached(receiver) => Ok(running(operation, true, receiver)),
            Admitted::Ended(finished) => Ok(ended(operation, finished)),
            Admitted::Refused(status) => Err(status),
        }
    }

    /// Hands every operation that began and has no result to `recover`, each in a task of its own. To be
    /// called once, before requests are served.
    ///
    /// # Errors
    /// Where the log is closed.
    pub async fn resume(&self, recover: RecoverWork) -> Result<usize, AppendError> {
        let open: Vec<Began> = self
            .inner
            .log
            .read(|state| state.running().cloned().collect())
            .await?;
        let count = open.len();
        for began in open {
            let (steps, _) = watch::channel(Step::Begun);
            self.inner.live().insert(began.operation, steps.clone());
            let (operation, kind, request_id) = (began.operation, began.kind, began.request_id.clone());
            tracing::info!(request = %request_id, %operation, kind = kind.as_str(), "resuming after a restart");
            let recover = recover.clone();
            self.own(operation, kind, &request_id, steps, move |handle| {
                recover(began, handle)
            });
        }
        Ok(count)
    }

    /// Begins no more, waits up to `grace` for what runs, then drops it: it stays in the log as begun and is
    /// recovered at the next start. Gives the number dropped.
    pub async fn shut_down(&self, grace: Duration) -> usize {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        let drained = tokio::time::timeout(grace, self.inner.tasks.wait()).await;
        let left = self.inner.live().len();
        if drained.is_err() {
            self.inner.dropping.cancel();
            self.inner.tasks.wait().await;
        }
        // Watchers learn that they were cut.
        self.inner.live().clear();
        left
    }

    fn own<F>(
        &self,
        operation: OperationId,
        kind: OperationKind,
        request_id: &RequestId,
        steps: watch::Sender<Step>,
        work: F,
    ) where
        F: FnOnce(OperationHandle) -> BoxFuture<'static, WorkResult> + Send + 'static,
    {
        let inner = self.inner.clone();
        let span = tracing::info_span!("operation", request = %request_id);
        let handle = OperationHandle {
            operation,
            steps: steps.clone(),
            log: inner.log.clone(),
            stopping: inner.stopping.clone(),
        };
        let owner = async move {
            let dropping = inner.dropping.clone();
            let owned = async {
                fail::fail_point!("after-began");
                tracing::info!(%operation, "{} began", kind.as_str());
                let result = AssertUnwindSafe(async { work(handle).await })
                    .catch_unwind()
                    .await
                    .unwrap_or_else(|_| Err(panicked(operation)));
                fail::fail_point!("before-finished");
                inner.end(operation, kind, &steps, &result).await;
            };
            // Dropping the work in the middle is safe: its end is not in the log, so it is recovered.
            tokio::select! {
                () = owned => {}
                () = dropping.cancelled() => {
                    tracing::warn!(%operation, "{} is cut by the agent's stop and goes on when it is back", kind.as_str());
                }
            }
        };
        self.inner.tasks.spawn(owner.instrument(span));
    }
}

fn panicked(operation: OperationId) -> Failure {
    Failure::new(
        FailureCode::System,
        format!("operation {operation} ended by a fault in the agent; its log says where"),
    )
    .hint("plan again: the next plan starts from what is there; and report the fault")
}

impl Inner {
    fn live(&self) -> MutexGuard<'_, BTreeMap<OperationId, watch::Sender<Step>>> {
        // The map is whole after every statement that holds the lock.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attached(&self, operation: OperationId) -> Admitted {
        match self.live().get(&operation) {
            Some(steps) => Admitted::Attached(steps.subscribe()),
            None => Admitted::Refused(Status::unavailable(format!(
                "operation {operation} is being taken up again; ask again"
            ))),
        }
    }

    /// Writes the end into the log, then tells the watchers. Goes on trying: what was done must be known.
    async fn end(
        &self,
        operation: OperationId,
        kind: OperationKind,
        steps: &watch::Sender<Step>,
        result: &WorkResult,
    ) {
        let outcome = to_log(result);
        match result {
            Ok(_) => tracing::info!(%operation, "{} succeeded", kind.as_str()),
            Err(failure) => tracing::warn!(%operation, "{} failed: {failure}", kind.as_str()),
        }
        loop {
            let record = Record::Finished {
                operation,
                outcome: outcome.clone(),
            };
            match self.log.append(vec![record]).await {
                Ok(()) => break,
                Err(error @ (AppendError::Write(_) | AppendError::NoRoom(_))) => {
                    tracing::error!(%operation, "its end cannot be logged yet: {}", chain(&error));
                    tokio::time::sleep(RETRY_END).await;
                }
                Err(
                    error @ (AppendError::Broken
                    | AppendError::Closed
                    | AppendError::Refused(_)
                    | AppendError::Encode(_)),
                ) => {
                    tracing::error!(%operation, "its end cannot be logged: {}", chain(&error));
                    self.live().remove(&operation);
                    return;
                }
            }
        }
        self.live().remove(&operation);
        steps.send_replace(Step::Finished(to_wire(&outcome)));
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
