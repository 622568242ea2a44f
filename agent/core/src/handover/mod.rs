//! The hand-over of a server between two agents: live migration, and the cold move of a server that is off.
//!
//! ```text
//!   source                                           destination
//!   Offered ── transfer (libvirt, or disk only) ──►  Prepared
//!      │                                                │ whole, paused, flushed
//!      │  ◄──────────────────── ready ──────────────  Ready ───────────────► Declined (never after Acquired)
//!   Transferred (own copy ended)                        │                        │
//!      ├──► Released ─────────── released ───────────►  Acquired                 │
//!      │       ├──► PeerAcquired ──► Settled            └──► Settled             │
//!      │       └──► Reclaimed ◄──────── declined ────────────────────────────────┤
//!      └──► Aborted ──────────── aborted ────────────►  Discarded ◄──────────────┘
//! ```
//!
//! Each side calls its table ([`source_step`], [`destination_step`]) with what it sees and what the peer last
//! said, does the one step it is given, and looks again. The right to run the server moves by two records,
//! `released` at the source and `acquired` at the destination, so that no order of crashes, lost messages and
//! libvirt restarts lets both sides run it; a side that does not know waits or asks. What libvirt says is
//! used to decide *when* to write a record, never *who* may run: its reasons do not survive its restart.
//!
//! An abort waits for libvirt's final word on the transfer; a release only for the end of the own QEMU, which comes
//! first ([`SourceJob::Confirming`]): the guest stands still meanwhile.
//!
//! Two rules choose between safe rows. A source whose copy may have run on after the transfer aborts, for the
//! destination's copy would be a step back in time. And a guest that a crash left stopped is started again
//! from the newer disk, recorded as a reboot.

mod destination;
mod log;
mod source;

pub use destination::{DestinationDomain, DestinationSight, DestinationStep, destination_step};
pub use log::{DestinationLog, HandoverLog, HandoverMode, HandoverSide, SourceLog};
pub use source::{Anomaly, Patience, SourceDomain, SourceJob, SourceSight, SourceStep, source_step};

use crate::oplog::State;
use crate::power::WantedPower;
use drover_types::{Epoch, HostName, OperationId, ServerId};
use serde::{Deserialize, Serialize};

/// What the destination last said about a hand-over, as the source heard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationWord {
    /// It knows nothing of this hand-over.
    Unknown,
    /// It waits for the transfer.
    Prepared,
    /// Transfer complete, guest paused, disk flushed.
    Ready,
    /// It runs the server.
    Acquired,
    /// It never will.
    Declined,
    /// It removed its copy after our `aborted`.
    Discarded,
}

/// What the source last said about a hand-over, as the destination heard it. It counts only from the peer
/// named in the destination's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceWord {
    /// It knows nothing of this hand-over.
    Unknown,
    /// Neither released nor aborted yet.
    Undecided,
    /// The server is the destination's, in this power state.
    Released(WantedPower),
    /// It has noted that the destination acquired.
    Acknowledged,
    /// The server stays at the source.
    Aborted,
    /// It runs the server again after the destination declined.
    Reclaimed,
}

/// What this side has heard of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard<W> {
    /// It was not asked since this agent started.
    NotAsked,
    /// It was asked and did not answer.
    NoAnswer,
    /// Its last answer, however old: every word is safe to act on late.
    Said(W),
}

/// What this agent answers when the source `asker` asks about a hand-over towards it.
///
/// An asker that is not the peer named in the log is told [`DestinationWord::Unknown`].
#[must_use]
pub fn destination_word(
    state: &State,
    server: ServerId,
    operation: OperationId,
    asker: &HostName,
) -> DestinationWord {
    match state.handover(server, operation) {
        Some(HandoverLog {
            peer,
            side: HandoverSide::Destination(log),
            ..
        }) if peer == asker => log.word(),
        Some(_) | None => DestinationWord::Unknown,
    }
}

/// What this agent answers when the destination `asker` asks about a hand-over from it under `epoch`.
///
/// An asker that is not the peer named in the log is told [`SourceWord::Unknown`]. A hand-over that is settled
/// and forgotten, of a server that is held here, was aborted or given back: either way it is not the asker's.
#[must_use]
pub fn source_word(
    state: &State,
    server: ServerId,
    operation: OperationId,
    epoch: Epoch,
    asker: &HostName,
) -> SourceWord {
    match state.handover(server, operation) {
        Some(HandoverLog {
            peer,
            side: HandoverSide::Source { log, .. },
            ..
        }) if peer == asker => log.word(state.wanted_power(server).unwrap_or(WantedPower::Off)),
        Some(_) => SourceWord::Unknown,
        None => {
            let offered = state
                .highest_epoch(server)
                .is_some_and(|highest| highest >= epoch);
            if offered && state.held_epoch(server).is_some() {
                SourceWord::Aborted
            } else {
                SourceWord::Unknown
            }
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
