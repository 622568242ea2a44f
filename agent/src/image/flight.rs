//! One piece of work that many wait for: each sees its progress and its end, and it is given up when the
//! last of them has gone.

use super::order::ImageOrder;
use crate::operations::Failure;
use drover_types::Sha256Digest;
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
    /// All of its base file is there; it is being hashed and brought to the disk, and is not given up any more.
    Whole(WholeImage),
    /// It ended; a success is in the cache.
    Ended(Result<(), Failure>),
}

/// An image whose base file is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeImage {
    /// Digest of the source's bytes.
    pub checksum: Sha256Digest,
    /// Size of the base file, in bytes.
    pub virtual_size: u64,
    /// What it takes on the disk, in bytes.
    pub disk_size: u64,
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

    /// The image, where only settling is left to do.
    pub(super) fn settling(&self) -> Option<WholeImage> {
        match &*self.steps.borrow() {
            FlightStep::Whole(image) => Some(*image),
            FlightStep::Working { .. } | FlightStep::Ended(_) => None,
        }
    }

    /// Resolves when the work has gone, given up or ended.
    pub(super) fn gone(&self) -> watch::Receiver<FlightStep> {
        self.steps.clone()
    }
}

/// How far an image has to be for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enough {
    /// Its bytes are all there.
    Whole,
    /// It is on the disk, and in the cache even after a crash of the machine.
    Settled,
}

/// What a waiter waited for.
#[derive(Debug)]
pub(super) enum Landed {
    /// The base file is whole, but not yet in the cache.
    Whole(WholeImage),
    /// The work has ended.
    Ended(Result<(), Failure>),
}

impl Waiter {
    /// Waits until the base file is whole and `enough` says that this will do, or else for the end. Reports
    /// steps on the way; none where the work was given up.
    pub(super) async fn landed(
        mut self,
        enough: Enough,
        report: &(dyn Fn(&'static str, u64, u64) + Send + Sync),
    ) -> Option<Landed> {
        self.steps.mark_changed();
        loop {
            self.steps.changed().await.ok()?;
            match &*self.steps.borrow_and_update() {
                FlightStep::Working { phase, done, total } => report(phase, *done, *total),
                FlightStep::Whole(image) => match enough {
                    Enough::Whole => return Some(Landed::Whole(*image)),
                    Enough::Settled => report("putting in place", 0, 0),
                },
                FlightStep::Ended(end) => return Some(Landed::Ended(end.clone())),
            }
        }
    }
}
