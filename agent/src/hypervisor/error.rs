//! Why a call to the hypervisor failed.

use drover_types::ServerId;
use std::time::Duration;

/// What libvirt said of a failure, with its numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("libvirt: {message} (code {code}, domain {domain})")]
pub struct LibvirtFailure {
    /// `virErrorNumber`.
    pub code: u32,
    /// `virErrorDomain`.
    pub domain: u32,
    /// Its message.
    pub message: String,
}

/// Why a call to the hypervisor failed.
#[derive(Debug, thiserror::Error)]
pub enum HypervisorError {
    /// libvirt is away: nothing is known of any domain.
    #[error("libvirt did not answer while {attempt}; check that libvirtd runs on this host")]
    Unavailable {
        /// What was attempted.
        attempt: String,
        /// What libvirt's client said.
        #[source]
        source: LibvirtFailure,
    },
    /// The call took too long; it may still take effect.
    #[error("libvirt did not answer within {} s while {attempt}", .limit.as_secs())]
    TimedOut {
        /// What was attempted.
        attempt: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// There is no such domain.
    #[error("{attempt}: libvirt has no domain {server}")]
    NoDomain {
        /// What was attempted.
        attempt: String,
        /// The server.
        server: ServerId,
    },
    /// libvirt refused or failed.
    #[error("libvirt failed while {attempt}")]
    Failed {
        /// What was attempted.
        attempt: String,
        /// Its own words.
        #[source]
        source: LibvirtFailure,
    },
    /// The thread of the call ended without an answer.
    #[error("the call ended without an answer while {attempt}")]
    ThreadLost {
        /// What was attempted.
        attempt: &'static str,
        /// How the thread ended.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl HypervisorError {
    /// Whether libvirt itself is away, so that nothing is known.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::TimedOut { .. } | Self::ThreadLost { .. } => true,
            Self::NoDomain { .. } | Self::Failed { .. } => false,
        }
    }
}
