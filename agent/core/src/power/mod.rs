//! Whether a server's domain may be started, must be stopped or is left alone: asked when the agent starts
//! and at every reconcile.
//!
//! Look, then decide; no answer means unknown, never absent.
//! - Nothing is started without the epoch in this log, and nothing while the log's epochs are void.
//! - A domain that runs without the epoch is stopped only where that harms nobody: it carries this fleet's
//!   mark *and* somebody else is proven to hold the server (our own log released it, or the store's record
//!   was shown to us). Otherwise it may be the only running copy, of a fleet whose log was lost: stopping it
//!   would turn a lost file into an outage, so it is reported and left running. It cannot become a second
//!   copy by being left: whoever would start another needs a grant, and a grant needs this host's refusal or
//!   a fence.
//! - A domain without our mark is somebody else's, whatever its name.
//! - While a hand-over of the server is open, its tables decide, not this one; while an operation is open,
//!   that operation does.
//! - A guest that is off although it is wanted on is started only after the host itself restarted. At other
//!   times it was halted from inside or by hand: that is drift, which the planner shows and heals.

use drover_types::{Epoch, PowerState};
use serde::{Deserialize, Serialize};

/// The power state that a server shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedPower {
    /// Running.
    On,
    /// In memory, vCPUs standing still.
    Paused,
    /// No process.
    Off,
}

impl WantedPower {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::On, Self::Paused, Self::Off];
}

/// Why the agent looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Occasion {
    /// The first look since the host booted.
    HostBoot,
    /// Any other look: the agent restarted, libvirt restarted, or time passed.
    Reconcile,
}

impl Occasion {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::HostBoot, Self::Reconcile];
}

/// What libvirt says of the server's domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DomainSight {
    /// libvirt does not answer.
    Unknown,
    /// It answers, and there is no such domain.
    Absent,
    /// There is one.
    Present {
        /// Its state.
        power: PowerState,
        /// Whose it is.
        mark: Mark,
    },
}

/// Whose a domain is, by its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// This fleet's, started under this epoch.
    Ours(Epoch),
    /// None of ours, another fleet's, or not readable.
    Foreign,
}

/// Who else may run the server, as far as it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherHolder {
    /// Nothing proves that there is one.
    NotProven,
    /// Our own log released the server, or the caller was shown the store's record of another holder.
    Proven,
}

impl OtherHolder {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::NotProven, Self::Proven];
}

/// What the log says about who decides at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The log's epochs are void until the host is readmitted.
    Void,
    /// A hand-over of the server is open.
    HandingOver,
    /// An operation on the server is open.
    Busy,
    /// Neither.
    Settled,
}

impl Standing {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::Void, Self::HandingOver, Self::Busy, Self::Settled];
}

/// Everything the decision depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PowerSight {
    /// Why the agent looks.
    pub occasion: Occasion,
    /// Who decides at the moment.
    pub standing: Standing,
    /// The epoch held in the log.
    pub held: Option<Epoch>,
    /// The power state wanted in the log.
    pub wanted: Option<WantedPower>,
    /// The domain.
    pub domain: DomainSight,
    /// Who else may run the server.
    pub other: OtherHolder,
}

/// What to do about a server's domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BootDecision {
    /// libvirt does not answer: look again.
    LookAgain,
    /// The hand-over's tables decide.
    FollowHandover,
    /// The open operation decides.
    FollowOperation,
    /// Define the domain if need be and start it.
    Start,
    /// It is as it shall be, or none of our concern.
    Leave,
    /// Stop it: it runs here although another holder is proven.
    Stop,
    /// Leave it and report.
    Report(Finding),
}

/// What an agent reports about a domain that it leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Finding {
    /// The log is void.
    #[error(
        "the domain is left as it is: this host's operation log was lost or restored; run `drover host readmit`"
    )]
    EpochsVoid,
    /// Running without the epoch, and nothing proves that somebody else holds it.
    #[error(
        "the domain runs although this host's log does not hold the server; the next plan adopts it or names its holder"
    )]
    RunningWithoutEpoch,
    /// Defined without the epoch, and off.
    #[error(
        "a domain of this fleet is defined here although this host's log does not hold the server; it is not started"
    )]
    LeftOver,
    /// Held here, and its domain is another fleet's or not readable.
    #[error(
        "a domain with this server's id does not carry this fleet's mark; somebody replaced its definition"
    )]
    MarkLost,
    /// Held under a lower epoch than the domain carries.
    #[error(
        "the domain carries a later epoch than this host's log holds; the log was restored from an older copy"
    )]
    LaterEpoch,
    /// Not in the state it shall have.
    #[error("the domain is not in the power state it shall have; the next plan shows and heals it")]
    PowerDrift,
    /// Held here, and its domain is gone.
    #[error("the server's domain is gone; the next plan shows and heals it")]
    DomainGone,
}

/// What to do about one server's domain. Total, and without effect: repeat it as often as you like.
#[must_use]
pub fn decide_start(sight: PowerSight) -> BootDecision {
    match (sight.standing, sight.domain) {
        (_, DomainSight::Unknown) => BootDecision::LookAgain,
        (Standing::Void, DomainSight::Absent | DomainSight::Present { .. }) => {
            BootDecision::Report(Finding::EpochsVoid)
        }
        (Standing::HandingOver, DomainSight::Absent | DomainSight::Present { .. }) => {
            BootDecision::FollowHandover
        }
        (Standing::Busy, DomainSight::Absent | DomainSight::Present { .. }) => BootDecision::FollowOperation,
        (Standing::Settled, DomainSight::Absent) => match sight.held {
            None => BootDecision::Leave,
            Some(_) => held(sight, Activity::Off, Finding::DomainGone),
        },
        (Standing::Settled, DomainSight::Present { power, mark }) => match (sight.held, mark) {
            (None, Mark::Foreign) => BootDecision::Leave,
            (None, Mark::Ours(_)) => not_held(activity(power), sight.other),
            (Some(_), Mark::Foreign) => BootDecision::Report(Finding::MarkLost),
            (Some(epoch), Mark::Ours(marked)) if marked > epoch => BootDecision::Report(Finding::LaterEpoch),
            (Some(_), Mark::Ours(_)) => held(sight, activity(power), Finding::PowerDrift),
        },
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    Off,
    Paused,
    Running,
}

const fn activity(power: PowerState) -> Activity {
    match power {
        PowerState::Shutdown | PowerState::Crashed => Activity::Off,
        PowerState::Paused => Activity::Paused,
        // Asleep by its own will, on its way down, or not told: there is a process, and it may run on.
        PowerState::Running | PowerState::ShuttingDown | PowerState::Suspended | PowerState::NoState => {
            Activity::Running
        }
    }
}

const fn not_held(activity: Activity, other: OtherHolder) -> BootDecision {
    match (activity, other) {
        (Activity::Running | Activity::Paused, OtherHolder::Proven) => BootDecision::Stop,
        (Activity::Running | Activity::Paused, OtherHolder::NotProven) => {
            BootDecision::Report(Finding::RunningWithoutEpoch)
        }
        (Activity::Off, OtherHolder::Proven | OtherHolder::NotProven) => {
            BootDecision::Report(Finding::LeftOver)
        }
    }
}

fn held(sight: PowerSight, activity: Activity, drift: Finding) -> BootDecision {
    match (sight.wanted, activity) {
        (None, _)
        | (Some(WantedPower::On), Activity::Running)
        | (Some(WantedPower::Paused), Activity::Paused) => BootDecision::Leave,
        (Some(WantedPower::Off), Activity::Off) => match drift {
            Finding::DomainGone => BootDecision::Report(drift),
            Finding::EpochsVoid
            | Finding::RunningWithoutEpoch
            | Finding::LeftOver
            | Finding::MarkLost
            | Finding::LaterEpoch
            | Finding::PowerDrift => BootDecision::Leave,
        },
        (Some(WantedPower::On), Activity::Off) => match sight.occasion {
            Occasion::HostBoot => BootDecision::Start,
            Occasion::Reconcile => BootDecision::Report(drift),
        },
        (Some(WantedPower::On), Activity::Paused)
        | (Some(WantedPower::Paused), Activity::Running | Activity::Off)
        | (Some(WantedPower::Off), Activity::Running | Activity::Paused) => BootDecision::Report(drift),
    }
}

#[cfg(test)]
mod tests;
