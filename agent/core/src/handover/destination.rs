//! The destination's table: from what it sees and hears to its one next step.

use super::{Anomaly, DestinationLog, HandoverMode, Heard, Patience, SourceWord};
use crate::power::WantedPower;

/// What the destination sees of the incoming copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DestinationDomain {
    /// libvirt does not answer.
    Unknown,
    /// There is no such domain, and no whole copy.
    Absent,
    /// The transfer is under way.
    Incoming,
    /// The transfer is complete and nothing runs. Live: the guest is paused and libvirt has no job for it.
    /// Cold: the disk is whole and verified.
    Arrived,
    /// Its vCPUs run.
    Running,
    /// Live: defined, but its QEMU is gone.
    ShutOff,
}

impl DestinationDomain {
    /// Every value.
    pub const ALL: &'static [Self] = &[
        Self::Unknown,
        Self::Absent,
        Self::Incoming,
        Self::Arrived,
        Self::Running,
        Self::ShutOff,
    ];
}

/// Everything the destination decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DestinationSight {
    /// With or without a running guest.
    pub mode: HandoverMode,
    /// Its last record.
    pub log: DestinationLog,
    /// What it sees of the copy.
    pub domain: DestinationDomain,
    /// What the source last said.
    pub source: Heard<SourceWord>,
    /// Whether there is time left to wait for the transfer.
    pub patience: Patience,
}

/// What the destination does next. Each step is safe to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DestinationStep {
    /// Look again: libvirt did not answer, or the transfer is under way.
    Wait,
    /// Ask the source for its word.
    AskSource,
    /// Pause a guest that runs here without the right, and report it.
    PauseForbiddenGuest,
    /// Flush the disk, then append `ready`.
    FlushAndWriteReady,
    /// Append `acquired` with the power state that the source released it in.
    WriteAcquired(WantedPower),
    /// Append `declined`.
    WriteDeclined,
    /// Bring the guest to this power state: continue it if paused, else start it from its disk, recorded as
    /// a reboot.
    RestoreGuest(WantedPower),
    /// Remove domain and disk of the copy, then append `discarded`.
    Discard,
    /// Tell the source this side's word and hear its own.
    TellSource,
    /// Append `settled`.
    Settle,
    /// Report; an operator has to look.
    Report(Anomaly),
}

/// The destination's next step. Total: every combination has a row.
#[must_use]
pub fn destination_step(sight: DestinationSight) -> DestinationStep {
    match sight.log {
        DestinationLog::Prepared => prepared(sight),
        DestinationLog::Ready => ready(sight),
        DestinationLog::Acquired(power) => acquired(sight, power),
        DestinationLog::Declined => DestinationStep::Discard,
        DestinationLog::DeclinedDiscarded => match sight.source {
            Heard::Said(SourceWord::Aborted | SourceWord::Reclaimed | SourceWord::Unknown) => {
                DestinationStep::Settle
            }
            Heard::Said(SourceWord::Acknowledged) => DestinationStep::Report(Anomaly::Contradiction),
            Heard::NotAsked
            | Heard::NoAnswer
            | Heard::Said(SourceWord::Undecided | SourceWord::Released(_)) => DestinationStep::TellSource,
        },
        DestinationLog::Discarded => DestinationStep::Settle,
    }
}

fn prepared(sight: DestinationSight) -> DestinationStep {
    match sight.source {
        Heard::Said(SourceWord::Aborted) => return DestinationStep::Discard,
        Heard::Said(SourceWord::Released(_)) => {
            return DestinationStep::Report(Anomaly::ReleasedWithoutReady);
        }
        Heard::Said(SourceWord::Acknowledged | SourceWord::Reclaimed) => {
            return DestinationStep::Report(Anomaly::Contradiction);
        }
        Heard::NotAsked | Heard::NoAnswer | Heard::Said(SourceWord::Undecided | SourceWord::Unknown) => {}
    }
    match (sight.domain, sight.patience) {
        (DestinationDomain::Unknown | DestinationDomain::Incoming, _) => DestinationStep::Wait,
        (DestinationDomain::Arrived, _) => DestinationStep::FlushAndWriteReady,
        (DestinationDomain::Running, _) => DestinationStep::PauseForbiddenGuest,
        (DestinationDomain::ShutOff, _) => DestinationStep::WriteDeclined,
        (DestinationDomain::Absent, Patience::Left) => match sight.source {
            Heard::Said(SourceWord::Undecided | SourceWord::Unknown) => DestinationStep::Wait,
            Heard::NotAsked
            | Heard::NoAnswer
            | Heard::Said(
                SourceWord::Released(_)
                | SourceWord::Acknowledged
                | SourceWord::Aborted
                | SourceWord::Reclaimed,
            ) => DestinationStep::AskSource,
        },
        (DestinationDomain::Absent, Patience::Exhausted) => DestinationStep::WriteDeclined,
    }
}

/// From here on time plays no part: only the source's word, or the loss of a copy whose release the source
/// has not decided on, ends the wait.
fn ready(sight: DestinationSight) -> DestinationStep {
    match sight.source {
        Heard::Said(SourceWord::Released(power)) => return DestinationStep::WriteAcquired(power),
        Heard::Said(SourceWord::Aborted) => return DestinationStep::Discard,
        Heard::Said(SourceWord::Acknowledged | SourceWord::Reclaimed) => {
            return DestinationStep::Report(Anomaly::Contradiction);
        }
        Heard::NotAsked | Heard::NoAnswer | Heard::Said(SourceWord::Undecided | SourceWord::Unknown) => {}
    }
    if let DestinationDomain::Running = sight.domain {
        return DestinationStep::PauseForbiddenGuest;
    }
    match sight.source {
        Heard::Said(SourceWord::Unknown) => DestinationStep::Report(Anomaly::SourceForgot),
        Heard::Said(SourceWord::Undecided) => match sight.domain {
            DestinationDomain::Absent | DestinationDomain::ShutOff => DestinationStep::WriteDeclined,
            DestinationDomain::Unknown
            | DestinationDomain::Incoming
            | DestinationDomain::Arrived
            | DestinationDomain::Running => DestinationStep::AskSource,
        },
        Heard::NotAsked
        | Heard::NoAnswer
        | Heard::Said(
            SourceWord::Released(_) | SourceWord::Acknowledged | SourceWord::Aborted | SourceWord::Reclaimed,
        ) => DestinationStep::AskSource,
    }
}

fn acquired(sight: DestinationSight, power: WantedPower) -> DestinationStep {
    if let Heard::Said(SourceWord::Aborted | SourceWord::Reclaimed) = sight.source {
        return DestinationStep::Report(Anomaly::Contradiction);
    }
    match (sight.domain, power, sight.mode) {
        (DestinationDomain::Unknown | DestinationDomain::Incoming, _, _) => return DestinationStep::Wait,
        (DestinationDomain::Running, WantedPower::On, _)
        | (DestinationDomain::Arrived, WantedPower::Paused, HandoverMode::Live)
        | (DestinationDomain::Arrived, WantedPower::Off, HandoverMode::Cold)
        | (DestinationDomain::Absent | DestinationDomain::ShutOff, WantedPower::Off, _) => {}
        (
            DestinationDomain::Running
            | DestinationDomain::Arrived
            | DestinationDomain::Absent
            | DestinationDomain::ShutOff,
            WantedPower::On | WantedPower::Paused | WantedPower::Off,
            HandoverMode::Live | HandoverMode::Cold,
        ) => return DestinationStep::RestoreGuest(power),
    }
    match sight.source {
        Heard::Said(SourceWord::Acknowledged | SourceWord::Unknown) => DestinationStep::Settle,
        Heard::NotAsked
        | Heard::NoAnswer
        | Heard::Said(
            SourceWord::Undecided | SourceWord::Released(_) | SourceWord::Aborted | SourceWord::Reclaimed,
        ) => DestinationStep::TellSource,
    }
}
