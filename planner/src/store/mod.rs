//! The store of a fleet's records: etcd, or the embedded one of a single machine, behind one type.
//!
//! It reads everything at one revision, carries out transactions with comparisons, and holds the fleet's
//! lock. What the records mean, and what must be compared with what, is left to `drover-core`.
//!
//! **Invariant:** only [`StoreError::OutcomeUnknown`] leaves open whether something was written; whoever gets
//! it looks before repeating, as [`Store::commit_settled`] does.

mod commit;
mod error;
mod etcd;
mod local;
mod lock;
mod settings;
mod settle;

pub use commit::{FailedCompare, MAX_BYTES, MAX_OPERATIONS, Outcome, Row, Snapshot};
pub use error::{EndpointCause, EndpointFailure, StoreError};
pub use lock::{ExpectMeta, HeldLock, Lock, LockHolder, LockLoss, LockRecord, LockRequest};
pub use settings::{SettingsError, StoreSettings};

use drover_core::record::{Entry, Key, Layout, Transaction};
use std::fmt;

/// An open store of one fleet. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    layout: Layout,
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Etcd(etcd::EtcdStore),
    Local(local::LocalStore),
}

/// Something about the store that the user should know, and that stops nothing.
#[derive(Debug)]
pub enum StoreWarning {
    /// A version that gets no more fixes.
    OldEtcd {
        /// The member.
        endpoint: String,
        /// Its version.
        version: String,
    },
    /// A member that did not answer; others did.
    MemberDown(EndpointFailure),
}

impl fmt::Display for StoreWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OldEtcd { endpoint, version } => write!(
                f,
                "etcd at {endpoint} is version {version}, which is no longer maintained: use 3.5 or 3.6"
            ),
            Self::MemberDown(failure) => write!(f, "an etcd member cannot be used: {failure}"),
        }
    }
}

impl Store {
    /// Opens the store of this layout's fleet. The embedded one is made where it is missing; of etcd, one
    /// member that answers is enough.
    pub async fn open(
        settings: &StoreSettings,
        layout: Layout,
    ) -> Result<(Self, Vec<StoreWarning>), StoreError> {
        let (backend, warnings) = match settings {
            StoreSettings::Local { path } => (
                Backend::Local(local::LocalStore::open(path.clone(), layout.fleet()).await?),
                Vec::new(),
            ),
            StoreSettings::Etcd {
                endpoints,
                ca_file,
                cert_file,
                key_file,
            } => {
                let files = etcd::TlsFiles {
                    ca: ca_file.clone(),
                    cert: cert_file.clone(),
                    key: key_file.clone(),
                };
                let (etcd, warnings) = etcd::EtcdStore::connect(endpoints, &files).await?;
                (Backend::Etcd(etcd), warnings)
            }
        };
        Ok((Self { layout, backend }, warnings))
    }

    /// Which keys are the fleet's.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Every record of the fleet, all projects, at one revision.
    pub async fn read_all(&self) -> Result<Snapshot, StoreError> {
        let root = self.layout.root();
        let (revision, rows) = match &self.backend {
            Backend::Etcd(etcd) => etcd.read_below(root).await?,
            Backend::Local(local) => local.read_below(root).await?,
        };
        Ok(Snapshot {
            revision,
            entries: rows.into_iter().map(Entry::from).collect(),
        })
    }

    /// These records at one revision, sorted by key; those that do not exist are left out.
    pub async fn get(&self, keys: &[Key]) -> Result<Snapshot, StoreError> {
        let (revision, rows) = self.rows(keys).await?;
        let mut entries: Vec<Entry> = rows.into_iter().map(Entry::from).collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Snapshot { revision, entries })
    }

    /// Carries a transaction out whole or not at all.
    ///
    /// At most [`MAX_OPERATIONS`] comparisons, as many writes, and [`MAX_BYTES`] in all: more is refused
    /// before anything is sent. Dropping the future does not call the transaction back.
    pub async fn commit(&self, transaction: &Transaction) -> Result<Outcome, StoreError> {
        commit::check(transaction)?;
        match &self.backend {
            Backend::Etcd(etcd) => etcd.commit(transaction, None).await,
            Backend::Local(local) => local.commit(transaction).await,
        }
    }

    async fn rows(&self, keys: &[Key]) -> Result<(u64, Vec<Row>), StoreError> {
        match &self.backend {
            Backend::Etcd(etcd) => etcd.get(keys).await,
            Backend::Local(local) => local.get(keys).await,
        }
    }
}

/// The first key after all that begin with `root`, which ends in a slash.
fn range_end(root: &str) -> String {
    let stem = root.strip_suffix('/').expect("a layout's root ends in a slash");
    format!("{stem}0")
}
