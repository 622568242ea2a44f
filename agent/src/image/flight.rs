//! One piece of work that many wait for: each sees its progress and its end, and it is given up when the
//! last of them has gone.

use super::order::ImageOrder;
use crate::operations::Failure;
use std::sync::{Arc, Weak};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How far it is.
#[derive(Debug, Clone)]
pub(super) enum FlightStep {
    /// It goes on; total 0: not known.
    Working {
        /// In words.
        phase: &'static str,
        /// Bytes.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// It ended; a success is in the cache.
    Ended(Result<(), Failure>),
}

/// A download under way, as the cache knows it.
#[derive(Debug)]
pub(super) struct Flight {
    order: ImageOrder,
    steps: watch::Receiver<FlightStep>,
    waiters: Weak<DropGuard>,
}

/// One of those who wait.
#[derive(Debug)]
pub(super) struct Waiter {
    steps: watch::Receiver<FlightStep>,
    _stay: Arc<DropGuard>,
    /// The work is for the very order that this one has.
    pub(super) same_order: bool,
}

impl Flight {
    /// A new flight: what the cache keeps, its first waiter, the sender of its steps, and what tells its
    /// work to give up.
    pub(super) fn new(order: &ImageOrder) -> (Self, Waiter, watch::Sender<FlightStep>, CancellationToken) {
        let (sender, steps) = watch::channel(FlightStep::Working {
            phase: "waiting",
            done: 0,
            total: 0,
        });
        let give_up = CancellationToken::new();
        let stay = Arc::new(give_up.clone().drop_guard());
        let flight = Self {
            order: order.clone(),
            steps: steps.clone(),
            waiters: Arc::downgrade(&stay),
        };
        let waiter = Waiter {
            steps,
            _stay: stay,
            same_order: true,
        };
        (flight, waiter, sender, give_up)
    }

    /// One more waiter; none where it is being given up.
    pub(super) fn join(&self, order: &ImageOrder) -> Option<Waiter> {
        Some(Waiter {
            steps: self.steps.clone(),
            _stay: self.waiters.upgrade()?,
            same_order: self.order == *order,
        })
    }

    /// Resolves when the work has gone, given up or ended.
    pub(super) fn gone(&self) -> watch::Receiver<FlightStep> {
        self.steps.clone()
    }
}

impl Waiter {
    /// Waits for the end and reports steps on the way; none where the work was given up.
    pub(super) async fn end(
        mut self,
        report: &(dyn Fn(&'static str, u64, u64) + Send + Sync),
    ) -> Option<Result<(), Failure>> {
        self.steps.mark_changed();
        loop {
            self.steps.changed().await.ok()?;
            match &*self.steps.borrow_and_update() {
                FlightStep::Working { phase, done, total } => report(phase, *done, *total),
                FlightStep::Ended(end) => return Some(end.clone()),
            }
        }
    }
}
