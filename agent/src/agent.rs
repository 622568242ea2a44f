//! What every service of one running agent shares.

use crate::config::Config;
use crate::hypervisor::HypervisorThreads;
use crate::image::ImageCache;
use crate::inventory::{Monitor, Profiles};
use crate::migration::Handovers;
use crate::operations::Operations;
use crate::server::Claims;
use crate::tls::LoadedCredentials;
use std::sync::Arc;
use tokio::sync::watch;

/// One running agent.
#[derive(Debug)]
pub struct Agent {
    /// Its configuration.
    pub config: Config,
    /// What it was asked to do.
    pub operations: Operations,
    /// Images.
    pub images: ImageCache,
    /// libvirt.
    pub hypervisor: HypervisorThreads,
    /// What this host can run.
    pub profiles: Profiles,
    /// What this host measures.
    pub monitor: Monitor,
    /// Who may take room in this host's NUMA cells.
    pub claims: Claims,
    /// Servers on their way to or from another host.
    pub handovers: Handovers,
    /// This agent's certificate, as it is now.
    pub credentials: watch::Receiver<Arc<LoadedCredentials>>,
}
