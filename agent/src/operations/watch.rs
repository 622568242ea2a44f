//! Progress for any number of watchers: each sees the latest step when it is ready for it, so a slow one
//! holds up neither the work nor the others.

use drover_proto::v1;
use drover_proto::v1::operation_event::Event;
use drover_types::OperationId;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tonic::Status;

/// What a watcher of an operation receives; `finished` is the last.
pub type OperationStream = BoxStream<'static, Result<v1::OperationEvent, Status>>;

/// How far an operation is.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// No progress was reported yet.
    Begun,
    /// It goes on.
    Progress(v1::OperationProgress),
    /// It ended, and its end is in the log.
    Finished(v1::OperationFinished),
}

fn event(event: Event) -> v1::OperationEvent {
    v1::OperationEvent { event: Some(event) }
}

fn accepted(operation: OperationId, attached: bool) -> v1::OperationEvent {
    event(Event::Accepted(v1::OperationAccepted {
        operation_id: operation.to_string(),
        attached,
    }))
}

/// The stream of an operation that ended before.
pub(super) fn ended(operation: OperationId, finished: v1::OperationFinished) -> OperationStream {
    stream::iter([
        Ok(accepted(operation, true)),
        Ok(event(Event::Finished(finished))),
    ])
    .boxed()
}

/// The stream of an operation that runs.
pub(super) fn running(
    operation: OperationId,
    attached: bool,
    mut steps: watch::Receiver<Step>,
) -> OperationStream {
    // What was reported before the watcher came is shown to it too.
    steps.mark_changed();
    let steps = stream::unfold(Some(steps), |steps| async move {
        let mut steps = steps?;
        loop {
            if steps.changed().await.is_err() {
                let cut = Status::unavailable(
                    "the agent stops; the operation goes on when it is back: ask again with the same id",
                );
                return Some((Err(cut), None));
            }
            let step = steps.borrow_and_update().clone();
            match step {
                Step::Begun => {}
                Step::Progress(progress) => return Some((Ok(event(Event::Progress(progress))), Some(steps))),
                Step::Finished(finished) => return Some((Ok(event(Event::Finished(finished))), None)),
            }
        }
    });
    stream::once(std::future::ready(Ok(accepted(operation, attached))))
        .chain(steps)
        .boxed()
}
