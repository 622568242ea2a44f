//! What the logs of the two sides can say about one hand-over.

use super::{DestinationWord, SourceWord};
use crate::power::WantedPower;
use drover_types::{Epoch, HostName};
use serde::{Deserialize, Serialize};

/// Whether a running guest is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandoverMode {
    /// Memory and disk, by libvirt's migration.
    Live,
    /// The disk of a server that is off.
    Cold,
}

/// One hand-over in one agent's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverLog {
    /// The epoch reserved for the destination.
    pub epoch: Epoch,
    /// The other agent's host.
    pub peer: HostName,
    /// With or without a running guest.
    pub mode: HandoverMode,
    /// Which side this agent is, and how far it came.
    pub side: HandoverSide,
}

/// Which side an agent is, and how far its log says it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandoverSide {
    /// It gives the server away.
    Source {
        /// The last record.
        log: SourceLog,
        /// The epoch it takes should the destination decline after the release.
        fallback: Epoch,
    },
    /// It takes the server.
    Destination(DestinationLog),
}

/// The source's last record about a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceLog {
    /// Begun.
    Offered,
    /// The guest's latest state is the destination's; the right is still here.
    Transferred,
    /// The right went to the destination.
    Released,
    /// The right stays here.
    Aborted,
    /// Released, and the destination acquired.
    PeerAcquired,
    /// Released, declined, and taken back under the fallback epoch.
    Reclaimed,
}

impl SourceLog {
    /// Every state.
    pub const ALL: &'static [Self] = &[
        Self::Offered,
        Self::Transferred,
        Self::Released,
        Self::Aborted,
        Self::PeerAcquired,
        Self::Reclaimed,
    ];

    /// Whether this side may run the guest.
    #[must_use]
    pub const fn may_run(self) -> bool {
        match self {
            Self::Offered | Self::Transferred | Self::Aborted | Self::Reclaimed => true,
            Self::Released | Self::PeerAcquired => false,
        }
    }

    /// The answer to the destination; `power` is what the guest shall be restored to.
    #[must_use]
    pub const fn word(self, power: WantedPower) -> SourceWord {
        match self {
            Self::Offered | Self::Transferred => SourceWord::Undecided,
            Self::Released => SourceWord::Released(power),
            Self::Aborted => SourceWord::Aborted,
            Self::PeerAcquired => SourceWord::Acknowledged,
            Self::Reclaimed => SourceWord::Reclaimed,
        }
    }
}

/// The destination's last record about a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationLog {
    /// Waiting for the transfer.
    Prepared,
    /// Transfer complete, guest paused, disk flushed.
    Ready,
    /// The server is this side's, in this power state.
    Acquired(WantedPower),
    /// Never to be taken; the copy is still here.
    Declined,
    /// Never to be taken, and the copy is gone.
    DeclinedDiscarded,
    /// The source aborted, and the copy is gone.
    Discarded,
}

impl DestinationLog {
    /// Every state, with every power state.
    pub const ALL: &'static [Self] = &[
        Self::Prepared,
        Self::Ready,
        Self::Acquired(WantedPower::On),
        Self::Acquired(WantedPower::Paused),
        Self::Acquired(WantedPower::Off),
        Self::Declined,
        Self::DeclinedDiscarded,
        Self::Discarded,
    ];

    /// Whether this side may run the guest.
    #[must_use]
    pub const fn may_run(self) -> bool {
        match self {
            Self::Acquired(_) => true,
            Self::Prepared | Self::Ready | Self::Declined | Self::DeclinedDiscarded | Self::Discarded => {
                false
            }
        }
    }

    /// The answer to the source.
    #[must_use]
    pub const fn word(self) -> DestinationWord {
        match self {
            Self::Prepared => DestinationWord::Prepared,
            Self::Ready => DestinationWord::Ready,
            Self::Acquired(_) => DestinationWord::Acquired,
            Self::Declined | Self::DeclinedDiscarded => DestinationWord::Declined,
            Self::Discarded => DestinationWord::Discarded,
        }
    }
}
