//! Progress for any number of watchers: each sees the latest step when it is ready for it, so a slow one
//! holds up neither the work nor the others.

use drover_proto::v1;
use drover_proto::v1::operation_event::Event;
use drover_types::OperationId;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use std::time::Duration;
use tokio::sync::watch;
use tonic::Status;

/// How long a stream is silent at most: whoever hears nothing for some times as long takes the connection for
/// dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

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
    steps: watch::Receiver<Step>,
) -> OperationStream {
    followed(operation, attached, steps, SIGN_OF_LIFE)
}

fn followed(
    operation: OperationId,
    attached: bool,
    mut steps: watch::Receiver<Step>,
    sign_of_life: Duration,
) -> OperationStream {
    // What was reported before the watcher came is shown to it too.
    steps.mark_changed();
    let steps = stream::unfold(Some(steps), move |steps| async move {
        let mut steps = steps?;
        loop {
            match tokio::time::timeout(sign_of_life, steps.changed()).await {
                Err(_elapsed) => return Some((Ok(v1::OperationEvent { event: None }), Some(steps))),
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    let cut = Status::unavailable(
                        "the agent stops; the operation goes on when it is back: ask again with the same id",
                    );
                    return Some((Err(cut), None));
                }
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

#[cfg(test)]
mod tests {
    use super::{Step, followed};
    use drover_types::OperationId;
    use futures::StreamExt as _;
    use std::time::Duration;
    use tokio::sync::watch;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_stream_that_has_nothing_to_tell_shows_that_it_lives() {
        let (steps, receiver) = watch::channel(Step::Begun);
        let operation = OperationId::from_uuid(Uuid::from_u128(1));
        let mut stream = followed(operation, false, receiver, Duration::from_millis(5));
        stream.next().await.expect("accepted").expect("no error");
        for _ in 0..3 {
            let empty = stream.next().await.expect("not ended").expect("no error");
            assert!(empty.event.is_none(), "{empty:?}");
        }
        drop(steps);
        stream.next().await.expect("not ended").expect_err("cut");
    }
}
