//! Where the two ends of one open hand-over meet inside an agent: the task that drives it, and the requests of
//! the peer and the planner that concern it.

use crate::hypervisor::JobProgress;
use drover_agent_core::handover::{DestinationWord, Heard, SourceWord};
use drover_proto::v1::OperationProgress;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// What the driver of one hand-over shares with those who ask about it.
#[derive(Debug)]
pub(super) struct Desk {
    nudge: Notify,
    heard: Mutex<HeardWords>,
    /// Raised after each step, and once more when the driver is done.
    moved: watch::Sender<u64>,
    progress: watch::Sender<OperationProgress>,
    cold_disk_arriving: Mutex<bool>,
    /// When the stream of the guest's memory ended: all that is left to libvirt is to say so.
    memory_ended: OnceLock<Instant>,
    end: watch::Sender<Option<End>>,
}

/// How a hand-over ended at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The destination runs the server; the figures of the transfer, where libvirt still had them.
    Moved(Option<JobProgress>),
    /// The server is where it was.
    Stayed(String),
}

#[derive(Debug)]
struct HeardWords {
    source: Heard<SourceWord>,
    destination: Heard<DestinationWord>,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            nudge: Notify::new(),
            heard: Mutex::new(HeardWords {
                source: Heard::NotAsked,
                destination: Heard::NotAsked,
            }),
            moved: watch::Sender::new(0),
            progress: watch::Sender::new(OperationProgress::default()),
            cold_disk_arriving: Mutex::new(false),
            memory_ended: OnceLock::new(),
            end: watch::Sender::new(None),
        }
    }

    pub(super) fn finish(&self, end: End) {
        self.end.send_replace(Some(end));
        self.has_moved();
    }

    pub(super) fn end(&self) -> watch::Receiver<Option<End>> {
        self.end.subscribe()
    }

    /// Makes the driver look again at once.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Waits until something happened, or for this long.
    pub(super) async fn wait(&self, at_most: Duration) {
        // A timeout is an ordinary end of this wait.
        let _ = tokio::time::timeout(at_most, self.nudged()).await;
    }

    /// Waits until something happened.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    pub(super) fn source_said(&self) -> Heard<SourceWord> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).source
    }

    pub(super) fn destination_said(&self) -> Heard<DestinationWord> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .destination
    }

    /// Notes what the source said; silence never replaces a word.
    pub(super) fn hear_source(&self, heard: Heard<SourceWord>) {
        let mut words = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        words.source = newer(words.source, heard);
    }

    /// Forgets that the source knew nothing: that was true before it began, and needs to be asked again.
    pub(super) fn forget_unknown_source(&self) {
        let mut words = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if words.source == Heard::Said(SourceWord::Unknown) {
            words.source = Heard::NotAsked;
        }
    }

    /// Notes what the destination said; silence never replaces a word.
    pub(super) fn hear_destination(&self, heard: Heard<DestinationWord>) {
        let mut words = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        words.destination = newer(words.destination, heard);
    }

    pub(super) fn has_moved(&self) {
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn movements(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    pub(super) fn report(&self, progress: OperationProgress) {
        self.progress.send_replace(progress);
    }

    pub(super) fn progress(&self) -> watch::Receiver<OperationProgress> {
        self.progress.subscribe()
    }

    /// Notes that the stream of the guest's memory ended, well or not.
    pub(super) fn memory_has_ended(&self) {
        // Of several it is the first.
        let _later = self.memory_ended.set(Instant::now());
        self.nudge();
    }

    /// Whether that was a moment ago: the guest stands still, and everything is worth a look.
    pub(super) fn memory_ended_within(&self, moment: Duration) -> bool {
        self.memory_ended
            .get()
            .is_some_and(|ended| ended.elapsed() < moment)
    }

    /// Whether the disk of a server that is off is being received.
    pub(super) fn is_cold_disk_arriving(&self) -> bool {
        *self
            .cold_disk_arriving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims the one place for an incoming disk until the claim is dropped; none while another holds it.
    pub(super) fn receive_cold_disk(self: &std::sync::Arc<Self>) -> Option<ColdDiskClaim> {
        let mut arriving = self
            .cold_disk_arriving
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *arriving {
            return None;
        }
        *arriving = true;
        drop(arriving);
        Some(ColdDiskClaim(std::sync::Arc::clone(self)))
    }
}

fn newer<W>(before: Heard<W>, now: Heard<W>) -> Heard<W> {
    match (before, now) {
        (Heard::Said(word), Heard::NoAnswer | Heard::NotAsked) => Heard::Said(word),
        (Heard::NotAsked | Heard::NoAnswer | Heard::Said(_), now) => now,
    }
}

/// Held by the one stream that brings a disk.
#[derive(Debug)]
pub(super) struct ColdDiskClaim(std::sync::Arc<Desk>);

impl Drop for ColdDiskClaim {
    fn drop(&mut self) {
        *self
            .0
            .cold_disk_arriving
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = false;
        self.0.nudge();
    }
}

/// How long to wait before the next attempt at something that keeps failing: doubling up to a limit.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LIMIT: Duration = Duration::from_secs(5);

    pub(super) const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    pub(super) fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(Self::LIMIT);
        wait
    }

    pub(super) fn worked(&mut self) {
        self.next = Self::FIRST;
    }
}
