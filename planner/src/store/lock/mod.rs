//! The fleet's lock: who may apply. Here is the lock as its holder has it; taking and breaking it is next door.

mod acquire;
mod record;

pub use acquire::{ExpectMeta, LockRequest};
pub use record::{HeldLock, LockHolder, LockRecord};

use super::Store;
use super::commit::Outcome;
use super::error::StoreError;
use super::etcd::{EtcdStore, LeaseHold};
use drover_core::model::Meta;
use drover_core::record::{Compare, Guard};
use drover_types::FencingToken;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Why a lock is no longer held, or must be taken for lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockLoss {
    /// Its record is gone, or another's is in its place.
    #[error("the lock was removed or taken over")]
    Removed,
    /// etcd ended its lease.
    #[error("the lock's lease has run out")]
    Expired,
    /// The store was out of reach for too long; the lease has run out, or will have before it is seen again.
    #[error("the store does not answer: it could not be renewed for {} s", ttl.as_secs())]
    Unrenewed {
        /// The lease's time to live.
        ttl: Duration,
    },
    /// The task that renews it has ended.
    #[error("the lock is no longer renewed")]
    KeeperEnded,
}

/// The fleet's lock, held.
///
/// Dropped without [`Lock::release`], it is free again when its lease runs out (etcd, 15 s) or at once
/// (embedded store).
#[derive(Debug)]
pub struct Lock {
    store: Store,
    create_revision: u64,
    meta: Meta,
    loss: watch::Receiver<Option<LockLoss>>,
    keeper: AbortOnDropHandle<()>,
    lease: Option<(EtcdStore, LeaseHold)>,
}

impl Lock {
    /// Which lock this is: the revision that created it, and at which `meta` was written with it.
    #[must_use]
    pub const fn create_revision(&self) -> u64 {
        self.create_revision
    }

    /// The token that every request of this apply carries.
    #[must_use]
    pub const fn token(&self) -> FencingToken {
        self.meta.token
    }

    /// `meta` as written with the lock; its revision is [`Lock::create_revision`].
    #[must_use]
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// What every transaction of this apply must demand: that this lock is still there.
    #[must_use]
    pub fn guard(&self) -> Compare {
        Compare {
            key: self.store.layout.lock(),
            guard: Guard::CreateRevision(self.create_revision),
        }
    }

    /// Returns when the lock is lost or must be taken for lost, and never before. Cancel-safe.
    pub async fn lost(&self) -> LockLoss {
        match self.loss.clone().wait_for(Option::is_some).await {
            Ok(loss) => loss.clone().unwrap_or(LockLoss::KeeperEnded),
            Err(_closed) => LockLoss::KeeperEnded,
        }
    }

    /// Lets go of the lock; the token stays as it is. Fails with [`StoreError::LockLost`] if it was gone.
    pub async fn release(self) -> Result<(), StoreError> {
        let mut removed = self.store.remove_lock(self.create_revision).await;
        if let Err(StoreError::OutcomeUnknown { .. }) = removed {
            // The comparison makes a second try harmless; a lock that is gone by then is what was wanted.
            removed = self
                .store
                .remove_lock(self.create_revision)
                .await
                .map(|_| Outcome::Committed {
                    revision: self.create_revision,
                });
        }
        // The task owns the file lock: it is free once the task has ended, not before.
        self.keeper.abort();
        let _ = self.keeper.await;
        if let Some((etcd, lease)) = self.lease {
            etcd.revoke(lease).await;
        }
        match removed? {
            Outcome::Committed { .. } => Ok(()),
            Outcome::Conflict { .. } => Err(StoreError::LockLost(LockLoss::Removed)),
        }
    }
}
