//! Carries a plan out: feeds events to the executor's pure function and does what it answers.
//!
//! Nothing is decided here. A commit, a call, a signal or a lost lock becomes an event; each command the
//! executor gives back becomes one task whose answer is again an event.
//!
//! **Invariant:** every task is in one set, and the set is awaited or ended before `run` returns.

use crate::agents::{Agents, Caller, Events};
use crate::store::{Lock, Outcome, Store};
use drover_core::executor::{Command, Event, HeldLock, Limits, ProgressEvent, State, Summary, Ticket, step};
use drover_core::model::RecordedFleet;
use drover_core::plan::Plan;
use drover_core::record::Transaction;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A named point where tests stop an apply. The log tells that it is reached, so that they need not guess when.
macro_rules! stop_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        tracing::info!(point = $name, "reached");
        fail::fail_point!($name);
    };
}

/// How many events may wait: each running operation has at most a few under way.
const EVENT_QUEUE: usize = 1024;
/// How long acknowledgements may take after the end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What an apply works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// The store.
    pub store: &'a Store,
    /// The lock, held.
    pub lock: &'a Lock,
    /// The agents.
    pub agents: &'a Agents,
    /// On whose behalf.
    pub caller: Caller,
    /// `user@host`.
    pub holder: String,
}

/// Carries the plan out and returns how it went. `interrupts` yields once per Ctrl-C or SIGTERM; `show` is
/// called for each progress event, and about once a second without one.
pub async fn run(
    context: &Context<'_>,
    plan: Arc<Plan>,
    recorded: RecordedFleet,
    limits: Limits,
    mut interrupts: mpsc::Receiver<()>,
    mut show: impl FnMut(Option<&ProgressEvent>),
) -> Summary {
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE);
    let mut tasks: JoinSet<()> = JoinSet::new();
    let mut acknowledgements: JoinSet<()> = JoinSet::new();
    let mut state = State::new(plan, limits);
    let mut next = Some(Event::Started {
        now: now(),
        lock: HeldLock {
            create_revision: context.lock.create_revision(),
            token: context.lock.token(),
            holder: context.holder.clone(),
        },
        recorded: Box::new(recorded),
    });
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut lock_told = false;
    loop {
        if let Some(event) = next.take() {
            let (after, commands) = step(state, event);
            state = after;
            for command in commands {
                match command {
                    Command::Report(progress) => show(Some(&progress)),
                    Command::Acknowledge { host, operations } => {
                        let (agents, caller) = (context.agents.clone(), context.caller.clone());
                        acknowledgements
                            .spawn(async move { agents.acknowledge(&caller, &host, &operations).await });
                    }
                    Command::Finish(summary) => {
                        tasks.shutdown().await;
                        // Best effort: what is not thanked for now is thanked for by the next apply.
                        drop(tokio::time::timeout(LAST_WORDS, acknowledgements.join_all()).await);
                        return summary;
                    }
                    command @ (Command::Commit { .. }
                    | Command::Call { .. }
                    | Command::Watch { .. }
                    | Command::Withdraw { .. }) => spawn(context, &mut tasks, command, sender.clone()),
                }
            }
        }
        // Every arm is cancel-safe: channels, an interval, a watch; finished tasks are only collected.
        tokio::select! {
            event = events.recv() => next = event,
            Some(()) = interrupts.recv() => next = Some(Event::Interrupt { now: now() }),
            reason = context.lock.lost(), if !lock_told => {
                lock_told = true;
                next = Some(Event::LockLost { reason: reason.to_string() });
            }
            _ = ticks.tick() => show(None),
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

fn spawn(context: &Context<'_>, tasks: &mut JoinSet<()>, command: Command, events: Events) {
    let agents = context.agents.clone();
    let caller = context.caller.clone();
    match command {
        Command::Commit { ticket, transaction } => {
            let store = context.store.clone();
            let guard = context.lock.guard();
            tasks.spawn(async move {
                stop_point!("before-commit");
                let event = commit(&store, &guard, ticket, transaction).await;
                stop_point!("after-commit");
                drop(events.send(event).await);
            });
        }
        Command::Call {
            operation,
            host,
            request,
        } => {
            tasks.spawn(async move {
                stop_point!("before-call");
                agents.call(&caller, operation, &host, &request, &events).await;
                stop_point!("after-call");
            });
        }
        Command::Watch { operation, host } => {
            tasks.spawn(async move { agents.watch(operation, &host, &events).await });
        }
        Command::Withdraw { operation, host } => {
            tasks.spawn(async move {
                stop_point!("before-withdraw");
                agents.withdraw(&caller, operation, &host, &events).await;
            });
        }
        Command::Report(_) | Command::Acknowledge { .. } | Command::Finish(_) => {
            unreachable!("these are carried out by the loop itself")
        }
    }
}

async fn commit(
    store: &Store,
    lock: &drover_core::record::Compare,
    ticket: Ticket,
    transaction: Transaction,
) -> Event {
    match store.commit_settled(&transaction).await {
        Ok(Outcome::Committed { revision }) => Event::Committed { ticket, revision },
        Ok(Outcome::Conflict { failed }) => {
            if let Some(lost) = failed.iter().find(|failed| failed.compare.key == lock.key) {
                let reason = if lost.found.is_some() {
                    "another command has taken it"
                } else {
                    "it was removed"
                };
                return Event::LockLost {
                    reason: reason.to_owned(),
                };
            }
            let keys = failed.into_iter().map(|failed| failed.compare.key).collect();
            Event::CommitConflict { ticket, keys }
        }
        Err(error) => Event::StoreUnavailable {
            ticket,
            reason: crate::agents::chain(&error),
        },
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
