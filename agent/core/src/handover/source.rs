//! The source's table: from what it sees and hears to its one next step.

use super::{DestinationWord, HandoverMode, Heard, SourceLog};

/// What libvirt says of the source's domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceDomain {
    /// libvirt does not answer.
    Unknown,
    /// There is no such domain.
    Absent,
    /// Its vCPUs run.
    Running,
    /// Paused with the reason "migration", as PERFORM3_DONE recovery leaves it.
    PausedByMigration,
    /// Paused for any other reason.
    PausedOtherwise,
    /// Shut off with the reason "migrated".
    ShutOffMigrated,
    /// Shut off for any other reason, or crashed. The reason "migrated" is lost when libvirtd restarts.
    ShutOff,
}

impl SourceDomain {
    /// Every value.
    pub const ALL: &'static [Self] = &[
        Self::Unknown,
        Self::Absent,
        Self::Running,
        Self::PausedByMigration,
        Self::PausedOtherwise,
        Self::ShutOffMigrated,
        Self::ShutOff,
    ];
}

/// The transfer as the source sees it: libvirt's migration job, or the copy of the disk of a cold move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceJob {
    /// Not begun in this hand-over. After a restart of the agent it counts as ended unless libvirt reports
    /// a job for the domain.
    NotStarted,
    /// Under way: libvirt's final word is outstanding, and nothing may be decided.
    Running,
    /// The own QEMU has ended while the connection that libvirt migrates over stands: had the migration failed, the
    /// guest would have gone on here. libvirt takes 200 ms and more from there to its final word, for which a
    /// destination that is ready need not wait.
    Confirming,
    /// Over, with whatever result.
    Ended,
}

impl SourceJob {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::NotStarted, Self::Running, Self::Confirming, Self::Ended];
}

/// Whether an undecided hand-over still has time (the daemon's setting, or an operator's abort, ends it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Patience {
    /// Keep trying.
    Left,
    /// Give up where that is safe.
    Exhausted,
}

impl Patience {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::Left, Self::Exhausted];
}

/// Everything the source decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceSight {
    /// With or without a running guest.
    pub mode: HandoverMode,
    /// Its last record.
    pub log: SourceLog,
    /// What libvirt says of its domain.
    pub domain: SourceDomain,
    /// The transfer.
    pub job: SourceJob,
    /// What the destination last said.
    pub destination: Heard<DestinationWord>,
    /// Whether there is time left.
    pub patience: Patience,
}

/// What contradicts the protocol and is left to an operator; nothing is run or removed because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Anomaly {
    /// The destination acquired what was not released.
    #[error(
        "the destination says it acquired a server that this host did not release; compare the two operation logs"
    )]
    AcquiredWithoutRelease,
    /// The destination says after the release that it discarded because of an abort.
    #[error(
        "the destination discarded its copy although this host released the server; compare the two operation logs"
    )]
    DiscardedAfterRelease,
    /// The destination lost its log after the release.
    #[error(
        "the destination no longer knows a hand-over that was released to it; its log was lost: readmit that host, then start the server from this host's kept disk or that host's copy"
    )]
    DestinationForgot,
    /// The source decided although this side was never ready.
    #[error("the source released a server that this host was not ready for; compare the two operation logs")]
    ReleasedWithoutReady,
    /// The source lost its log before its decision was heard.
    #[error(
        "the source no longer knows this hand-over; its log was lost: fence that host, then let this one take the server"
    )]
    SourceForgot,
    /// The source took back, or aborted, what this side acquired; or noted an acquisition that never was.
    #[error("the source's decision contradicts this host's operation log; compare the two")]
    Contradiction,
}

/// What the source does next. Each step is safe to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceStep {
    /// Look at libvirt again: it did not answer, or its final word is outstanding.
    AwaitLibvirt,
    /// Cancel the transfer, then await libvirt's final word.
    CancelTransfer,
    /// Begin the transfer.
    StartTransfer,
    /// Ask the destination for its word.
    AskDestination,
    /// Append `transferred`.
    WriteTransferred,
    /// End the own QEMU that the migration left paused.
    EndPausedGuest,
    /// Append `released`.
    WriteReleased,
    /// Append `aborted`.
    WriteAborted,
    /// Bring the guest back to its wanted power state: continue it if paused, else define it if need be and
    /// start it from its disk, recorded as a reboot.
    RestoreGuest,
    /// Stop a copy that runs or stands paused here without the right, and report it.
    StopForbiddenGuest,
    /// Remove the domain's definition, keeping the disk.
    Undefine,
    /// Tell the destination the decision and hear its word.
    TellDestination,
    /// Append `peer_acquired`.
    WritePeerAcquired,
    /// Append `reclaimed` with the fallback epoch.
    WriteReclaimed,
    /// Delete the kept disk, then append `settled`.
    DeleteDiskAndSettle,
    /// Append `settled`.
    Settle,
    /// Report; an operator has to look.
    Report(Anomaly),
}

/// The source's next step. Total: every combination has a row.
#[must_use]
pub fn source_step(sight: SourceSight) -> SourceStep {
    match sight.log {
        SourceLog::Offered | SourceLog::Transferred => undecided(sight),
        SourceLog::Released => released(sight),
        SourceLog::Aborted => aborted(sight),
        SourceLog::PeerAcquired => peer_acquired(sight),
        SourceLog::Reclaimed => reclaimed(sight),
    }
}

/// How the source's own copy stands once libvirt's final word is in.
enum OwnCopy {
    /// It runs, or ran after the transfer, or may have: it is the newer one.
    Newest,
    /// The migration left it paused: not newer than the destination's, if that is whole.
    HeldByMigration,
    /// It ended by the migration itself, or was off from the start.
    Ended,
}

fn undecided(sight: SourceSight) -> SourceStep {
    if let Heard::Said(DestinationWord::Acquired) = sight.destination {
        return SourceStep::Report(Anomaly::AcquiredWithoutRelease);
    }
    match (sight.job, sight.patience) {
        (SourceJob::Running, Patience::Left) => return SourceStep::AwaitLibvirt,
        (SourceJob::Running, Patience::Exhausted) => return SourceStep::CancelTransfer,
        (SourceJob::Confirming, Patience::Left | Patience::Exhausted) => return confirming(sight),
        (SourceJob::NotStarted | SourceJob::Ended, Patience::Left | Patience::Exhausted) => {}
    }
    if let SourceDomain::Unknown = sight.domain {
        return SourceStep::AwaitLibvirt;
    }
    if let Some(step) = not_started(sight) {
        return step;
    }
    match own_copy(sight) {
        OwnCopy::Newest => SourceStep::WriteAborted,
        OwnCopy::HeldByMigration => match (by_word(sight), sight.log) {
            (ByWord::Release, SourceLog::Transferred) => SourceStep::EndPausedGuest,
            // Noted ahead of ending it: a copy that is merely off could have run on.
            (ByWord::Release, _) => SourceStep::WriteTransferred,
            (ByWord::Abort, _) => SourceStep::WriteAborted,
            (ByWord::Ask, _) => SourceStep::AskDestination,
        },
        OwnCopy::Ended => match (by_word(sight), sight.mode, sight.log) {
            (ByWord::Release, _, _) => SourceStep::WriteReleased,
            (ByWord::Abort, _, _) => SourceStep::WriteAborted,
            // Noted while libvirt still knows it: its restart loses the reason "migrated".
            (ByWord::Ask, HandoverMode::Live, SourceLog::Offered) => SourceStep::WriteTransferred,
            (ByWord::Ask, _, _) => SourceStep::AskDestination,
        },
    }
}

/// The step between the end of the own QEMU and libvirt's final word: a release, where the destination says that it
/// has everything. Whatever else it says, the final word decides.
fn confirming(sight: SourceSight) -> SourceStep {
    match (sight.mode, sight.domain) {
        (HandoverMode::Live, SourceDomain::Unknown | SourceDomain::Absent) => {}
        (HandoverMode::Live, SourceDomain::ShutOff | SourceDomain::ShutOffMigrated) => {}
        (HandoverMode::Live | HandoverMode::Cold, _) => return SourceStep::AwaitLibvirt,
    }
    match sight.destination {
        Heard::Said(DestinationWord::Ready) => SourceStep::WriteReleased,
        Heard::NotAsked | Heard::Said(DestinationWord::Prepared) => SourceStep::AskDestination,
        Heard::NoAnswer
        | Heard::Said(
            DestinationWord::Unknown
            | DestinationWord::Acquired
            | DestinationWord::Declined
            | DestinationWord::Discarded,
        ) => SourceStep::AwaitLibvirt,
    }
}

/// The step while the transfer has not begun and could; `None` once it has, or cannot any more.
fn not_started(sight: SourceSight) -> Option<SourceStep> {
    let startable = match (sight.mode, sight.domain) {
        (HandoverMode::Live, SourceDomain::Running | SourceDomain::PausedOtherwise) => true,
        (HandoverMode::Cold, SourceDomain::ShutOff | SourceDomain::ShutOffMigrated) => true,
        (HandoverMode::Live | HandoverMode::Cold, _) => false,
    };
    if sight.job != SourceJob::NotStarted || sight.log != SourceLog::Offered || !startable {
        return None;
    }
    match (sight.destination, sight.patience) {
        (Heard::Said(DestinationWord::Prepared), Patience::Left) => Some(SourceStep::StartTransfer),
        (Heard::NotAsked | Heard::NoAnswer, Patience::Left) => Some(SourceStep::AskDestination),
        (Heard::NotAsked | Heard::NoAnswer | Heard::Said(_), Patience::Left | Patience::Exhausted) => None,
    }
}

fn own_copy(sight: SourceSight) -> OwnCopy {
    match (sight.mode, sight.domain, sight.log) {
        (_, SourceDomain::Running | SourceDomain::PausedOtherwise, _) => OwnCopy::Newest,
        (HandoverMode::Live, SourceDomain::PausedByMigration, _) => OwnCopy::HeldByMigration,
        (HandoverMode::Cold, SourceDomain::PausedByMigration, _) => OwnCopy::Newest,
        (HandoverMode::Live, SourceDomain::ShutOffMigrated, _) => OwnCopy::Ended,
        // Without the reason "migrated" the guest may have run on and ended by itself: only our own record
        // tells that it ended after the transfer.
        (HandoverMode::Live, SourceDomain::ShutOff | SourceDomain::Absent, SourceLog::Transferred) => {
            OwnCopy::Ended
        }
        (HandoverMode::Live, SourceDomain::ShutOff | SourceDomain::Absent | SourceDomain::Unknown, _) => {
            OwnCopy::Newest
        }
        (
            HandoverMode::Cold,
            SourceDomain::ShutOff
            | SourceDomain::ShutOffMigrated
            | SourceDomain::Absent
            | SourceDomain::Unknown,
            _,
        ) => OwnCopy::Ended,
    }
}

/// What the destination's word means for a source whose own copy does not run.
enum ByWord {
    Release,
    Abort,
    Ask,
}

fn by_word(sight: SourceSight) -> ByWord {
    match (sight.destination, sight.patience) {
        (Heard::Said(DestinationWord::Ready), Patience::Left | Patience::Exhausted) => ByWord::Release,
        (
            Heard::Said(DestinationWord::Unknown | DestinationWord::Declined | DestinationWord::Discarded),
            Patience::Left | Patience::Exhausted,
        ) => ByWord::Abort,
        // Answered above as an anomaly; an abort would not be wrong, a release would.
        (Heard::Said(DestinationWord::Acquired), Patience::Left | Patience::Exhausted) => ByWord::Ask,
        (Heard::NotAsked, Patience::Left | Patience::Exhausted) => ByWord::Ask,
        (Heard::NoAnswer | Heard::Said(DestinationWord::Prepared), Patience::Left) => ByWord::Ask,
        (Heard::NoAnswer | Heard::Said(DestinationWord::Prepared), Patience::Exhausted) => ByWord::Abort,
    }
}

fn released(sight: SourceSight) -> SourceStep {
    if let Some(stop) = stop_forbidden(sight.domain) {
        return stop;
    }
    match sight.destination {
        Heard::Said(DestinationWord::Declined) => SourceStep::WriteReclaimed,
        Heard::Said(DestinationWord::Acquired) => SourceStep::WritePeerAcquired,
        Heard::Said(DestinationWord::Discarded) => SourceStep::Report(Anomaly::DiscardedAfterRelease),
        Heard::Said(DestinationWord::Unknown) => SourceStep::Report(Anomaly::DestinationForgot),
        Heard::NotAsked
        | Heard::NoAnswer
        | Heard::Said(DestinationWord::Ready | DestinationWord::Prepared) => match sight.domain {
            SourceDomain::ShutOff | SourceDomain::ShutOffMigrated => SourceStep::Undefine,
            SourceDomain::Absent
            | SourceDomain::Unknown
            | SourceDomain::Running
            | SourceDomain::PausedByMigration
            | SourceDomain::PausedOtherwise => SourceStep::TellDestination,
        },
    }
}

const fn stop_forbidden(domain: SourceDomain) -> Option<SourceStep> {
    match domain {
        SourceDomain::Running | SourceDomain::PausedByMigration | SourceDomain::PausedOtherwise => {
            Some(SourceStep::StopForbiddenGuest)
        }
        SourceDomain::Unknown
        | SourceDomain::Absent
        | SourceDomain::ShutOff
        | SourceDomain::ShutOffMigrated => None,
    }
}

fn peer_acquired(sight: SourceSight) -> SourceStep {
    if let Some(stop) = stop_forbidden(sight.domain) {
        return stop;
    }
    match sight.domain {
        SourceDomain::Unknown => SourceStep::AwaitLibvirt,
        SourceDomain::ShutOff | SourceDomain::ShutOffMigrated => SourceStep::Undefine,
        SourceDomain::Absent
        | SourceDomain::Running
        | SourceDomain::PausedByMigration
        | SourceDomain::PausedOtherwise => SourceStep::DeleteDiskAndSettle,
    }
}

fn aborted(sight: SourceSight) -> SourceStep {
    if let Heard::Said(DestinationWord::Acquired) = sight.destination {
        return SourceStep::Report(Anomaly::AcquiredWithoutRelease);
    }
    if let Some(step) = not_restored(sight) {
        return step;
    }
    match sight.destination {
        Heard::Said(DestinationWord::Unknown | DestinationWord::Declined | DestinationWord::Discarded) => {
            SourceStep::Settle
        }
        Heard::NotAsked
        | Heard::NoAnswer
        | Heard::Said(DestinationWord::Prepared | DestinationWord::Ready | DestinationWord::Acquired) => {
            SourceStep::TellDestination
        }
    }
}

fn reclaimed(sight: SourceSight) -> SourceStep {
    not_restored(sight).unwrap_or(SourceStep::Settle)
}

/// The step that brings the guest back after the right stayed here; `None` when it is back.
fn not_restored(sight: SourceSight) -> Option<SourceStep> {
    match (sight.domain, sight.mode) {
        (SourceDomain::Unknown, _) => Some(SourceStep::AwaitLibvirt),
        (SourceDomain::Running | SourceDomain::PausedOtherwise, _) => None,
        (SourceDomain::PausedByMigration | SourceDomain::Absent, _) => Some(SourceStep::RestoreGuest),
        (SourceDomain::ShutOff | SourceDomain::ShutOffMigrated, HandoverMode::Live) => {
            Some(SourceStep::RestoreGuest)
        }
        (SourceDomain::ShutOff | SourceDomain::ShutOffMigrated, HandoverMode::Cold) => None,
    }
}
