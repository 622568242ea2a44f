//! Credentials that follow their files: new ones are checked before anybody sees them, bad ones change
//! nothing.

use crate::operations::chain;
use drover_proto::transport::{CredentialFiles, Credentials, CredentialsError};
use drover_types::{FleetName, HostName, Identity, Role};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Credentials that were checked, and what a handshake needs of them.
#[derive(Debug)]
pub struct LoadedCredentials {
    /// For our own calls to other agents.
    pub credentials: Credentials,
    /// For calls to us.
    pub server: Arc<rustls::ServerConfig>,
}

/// Why files were not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// They cannot be used at all.
    #[error("the agent's credentials cannot be used")]
    Credentials(#[source] CredentialsError),
    /// TLS refuses them.
    #[error("TLS refuses the agent's credentials")]
    Tls(#[source] rustls::Error),
    /// They are somebody else's.
    #[error("the certificate is {found}, this agent is {expected}")]
    Identity {
        /// Whose they are.
        found: Identity,
        /// Whose they should be.
        expected: Identity,
    },
}

/// The files as they were when last looked at: inode, size, and time of change of each.
type Stamp = [Option<(u64, u64, i64, i64)>; 3];

/// Watches the credential files.
#[derive(Debug)]
pub struct Reloader {
    files: CredentialFiles,
    identity: Identity,
    seen: Stamp,
    current: watch::Sender<Arc<LoadedCredentials>>,
}

impl Reloader {
    /// Loads the credentials of this host's agent. Blocks on the files.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(files: CredentialFiles, fleet: &FleetName, host: &HostName) -> Result<Self, LoadError> {
        let identity = Identity {
            fleet: fleet.clone(),
            role: Role::Agent,
            name: host.clone(),
        };
        let seen = stamp(&files);
        let loaded = load(&files, &identity)?;
        Ok(Self {
            files,
            identity,
            seen,
            current: watch::Sender::new(Arc::new(loaded)),
        })
    }

    /// The current credentials, now and later.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<LoadedCredentials>> {
        self.current.subscribe()
    }

    /// Looks at the files every `interval` until told to stop.
    pub async fn run(mut self, interval: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Both are cancel-safe: nothing is lost when the other comes first.
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(reloader) => self = reloader,
                Err(error) => {
                    tracing::error!(%error, "reloading of certificates ended by a fault");
                    return;
                }
            }
        }
    }

    /// Takes the files if they changed and are good.
    fn look(&mut self) {
        let now = stamp(&self.files);
        if now == self.seen {
            return;
        }
        self.seen = now;
        match load(&self.files, &self.identity) {
            Ok(loaded) => {
                tracing::info!("took new credentials from {}", self.files.cert_file.display());
                self.current.send_replace(Arc::new(loaded));
            }
            Err(error) => {
                tracing::error!(
                    "the credential files changed but were not taken, the old ones stay: {}",
                    chain(&error)
                );
            }
        }
    }
}

fn load(files: &CredentialFiles, expected: &Identity) -> Result<LoadedCredentials, LoadError> {
    let credentials = Credentials::load(files).map_err(LoadError::Credentials)?;
    if credentials.identity() != expected {
        return Err(LoadError::Identity {
            found: credentials.identity().clone(),
            expected: expected.clone(),
        });
    }
    let server = credentials.server_config().map_err(LoadError::Tls)?;
    Ok(LoadedCredentials { credentials, server })
}

fn stamp(files: &CredentialFiles) -> Stamp {
    let of = |path: &Path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
    };
    [of(&files.ca_file), of(&files.cert_file), of(&files.key_file)]
}
