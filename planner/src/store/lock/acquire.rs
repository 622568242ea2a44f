//! Takes the lock and breaks it. Taking it raises the fencing token in `meta`, and checks in the same transaction
//! that the fleet is still as the plan saw it. One algorithm for both stores: they differ in what keeps others
//! out, a lease or a file lock.

use super::record::{HeldLock, LockHolder, LockRecord, parse, put};
use super::{Lock, LockLoss};
use crate::store::commit::Outcome;
use crate::store::error::StoreError;
use crate::store::etcd::{EtcdStore, LeaseHold};
use crate::store::local::{LocalStore, OsLock};
use crate::store::{Backend, Store};
use drover_core::model::{ApplyMark, Author, Meta};
use drover_core::record::{Compare, FORMAT, Guard, Transaction, Write};
use drover_types::{FencingToken, Lineage};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// More lost races in a row than any real crowd causes.
const MAX_RACES: u32 = 100;
/// How long a holder may need between taking the lock and saying who it is.
const INTRODUCTION: Duration = Duration::from_secs(1);

/// What `meta` must be for a plan to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectMeta {
    /// Whatever it is.
    Any,
    /// The store was never applied to.
    Absent,
    /// Last changed at this revision.
    At(u64),
}

/// A wish for the lock.
#[derive(Debug, Clone)]
pub struct LockRequest {
    /// Who wants it.
    pub holder: LockHolder,
    /// Checked in the transaction that takes the lock.
    pub expect_meta: ExpectMeta,
    /// Written into `meta` with the token: the plan that is about to be applied, none for anything else.
    pub apply: Option<ApplyMark>,
    /// The history that begins here if the store has none: the one the plan derived its ids from.
    pub new_lineage: Lineage,
    /// How long to wait for another holder; zero asks once.
    pub wait: Duration,
}

/// What keeps others out while the lock is being taken.
enum Hold {
    Lease(EtcdStore, LeaseHold),
    File(LocalStore, OsLock),
}

enum Attempt {
    Taken(Box<Lock>),
    Held { held: Option<HeldLock>, revision: u64 },
    Raced,
}

/// `meta` and `lock`, read together.
struct LockState {
    revision: u64,
    meta: Option<(Meta, u64)>,
    held: Option<HeldLock>,
}

impl Store {
    /// Takes the fleet's lock, and waits for it as long as the request says.
    ///
    /// Fails with [`StoreError::LockHeld`] while another holds it, and with [`StoreError::StaleMeta`] if the
    /// fleet has changed. After [`StoreError::OutcomeUnknown`], or if the future is dropped, the lock is not
    /// held, or will not be once its lease has run out; the token may have been raised.
    pub async fn acquire_lock(&self, request: &LockRequest) -> Result<Lock, StoreError> {
        let start = Instant::now();
        let mut races = 0;
        loop {
            match self.attempt(request).await? {
                Attempt::Taken(lock) => return Ok(*lock),
                Attempt::Held { held, revision } => {
                    let patience = if held.is_none() {
                        INTRODUCTION
                    } else {
                        Duration::ZERO
                    };
                    let deadline = start + request.wait.max(patience);
                    let held = held.map(Box::new);
                    if Instant::now() >= deadline {
                        return Err(StoreError::LockHeld { held });
                    }
                    // Whether it changed or time is up, one more attempt tells.
                    let _ = timeout_at(deadline, self.wait_for_lock(revision)).await;
                }
                Attempt::Raced => {
                    races += 1;
                    if races == MAX_RACES {
                        return Err(StoreError::LockContended { attempts: races });
                    }
                }
            }
        }
    }

    /// The lock as it is held now, by a process that may still be alive.
    pub async fn lock_holder(&self) -> Result<Option<HeldLock>, StoreError> {
        let held = self.lock_state().await?.held;
        match &self.backend {
            Backend::Etcd(_) => Ok(held),
            Backend::Local(local) => Ok(if local.is_held().await? { held } else { None }),
        }
    }

    /// Removes the lock created at this revision. From then on every transaction of its holder fails.
    ///
    /// In the embedded store a holder that is alive but stopped still keeps others out.
    pub async fn force_unlock(&self, create_revision: u64) -> Result<(), StoreError> {
        match self.remove_lock(create_revision).await? {
            Outcome::Committed { .. } => Ok(()),
            Outcome::Conflict { .. } => Err(StoreError::LockChanged {
                expected: create_revision,
                found: self.lock_state().await?.held.map(Box::new),
            }),
        }
    }

    /// Raises the fencing token, to this value at least, and returns it: after a store was restored from a
    /// copy, agents may have seen a higher one than it knows.
    pub async fn bump_token(
        &self,
        request: &LockRequest,
        at_least: FencingToken,
    ) -> Result<FencingToken, StoreError> {
        let lock = self.acquire_lock(request).await?;
        let mut meta = lock.meta.clone();
        if meta.token < at_least {
            meta.token = at_least;
            let transaction = Transaction {
                compares: vec![lock.guard()],
                writes: vec![put(self.layout.meta(), &meta)],
            };
            if let Outcome::Conflict { .. } = self.commit(&transaction).await? {
                return Err(StoreError::LockLost(LockLoss::Removed));
            }
        }
        lock.release().await?;
        Ok(meta.token)
    }

    async fn attempt(&self, request: &LockRequest) -> Result<Attempt, StoreError> {
        let LockState { revision, meta, held } = self.lock_state().await?;
        let hold = match &self.backend {
            Backend::Etcd(etcd) => {
                if held.is_some() {
                    return Ok(Attempt::Held { held, revision });
                }
                Hold::Lease(etcd.clone(), etcd.grant().await?)
            }
            Backend::Local(local) => {
                let Some(file) = local.try_hold().await? else {
                    return Ok(Attempt::Held { held, revision });
                };
                // Nobody alive holds it, so the record was left by a process that died.
                if let Some(dead) = held {
                    self.remove_lock(dead.create_revision).await?;
                }
                Hold::File(local.clone(), file)
            }
        };
        match self.take(request, meta, &hold).await {
            Ok(Some((create_revision, meta))) => {
                Ok(Attempt::Taken(Box::new(self.keep(hold, create_revision, meta))))
            }
            not_taken => {
                if let Hold::Lease(etcd, lease) = hold {
                    etcd.revoke(lease).await;
                }
                not_taken.map(|_| Attempt::Raced)
            }
        }
    }

    /// Writes the lock and `meta`; nothing if somebody else wrote one of them first.
    async fn take(
        &self,
        request: &LockRequest,
        found: Option<(Meta, u64)>,
        hold: &Hold,
    ) -> Result<Option<(u64, Meta)>, StoreError> {
        let (key, meta_key) = (self.layout.lock(), self.layout.meta());
        let found_revision = found.as_ref().map(|(_, revision)| *revision);
        let expected = match request.expect_meta {
            ExpectMeta::Any => found_revision,
            ExpectMeta::Absent => None,
            ExpectMeta::At(revision) => Some(revision),
        };
        if expected != found_revision {
            return Err(StoreError::StaleMeta {
                expected,
                found: found_revision,
                by: found.and_then(|(meta, _)| meta.by).map(Box::new),
            });
        }
        let LockHolder {
            who,
            operation,
            since,
            drover_version,
            ..
        } = request.holder.clone();
        let by = Some(Author {
            who,
            command: operation,
            since,
        });
        let meta = match found {
            Some((meta, _)) => Meta {
                token: meta.token.next(),
                format: FORMAT,
                drover_version,
                apply: request.apply.clone(),
                by,
                ..meta
            },
            None => Meta {
                format: FORMAT,
                fleet: self.layout.fleet().clone(),
                lineage: request.new_lineage,
                token: FencingToken::new(1),
                drover_version,
                apply: request.apply.clone(),
                by,
            },
        };
        let record = LockRecord {
            format: FORMAT,
            holder: request.holder.clone(),
            token: meta.token,
            id: Uuid::new_v4(),
        };
        let transaction = Transaction {
            compares: vec![
                Compare {
                    key: key.clone(),
                    guard: Guard::Absent,
                },
                Compare {
                    key: meta_key.clone(),
                    guard: found_revision.map_or(Guard::Absent, Guard::ModRevision),
                },
            ],
            writes: vec![put(key.clone(), &record), put(meta_key, &meta)],
        };
        let outcome = match hold {
            Hold::Lease(etcd, lease) => etcd.commit(&transaction, Some((&key, lease))).await,
            Hold::File(local, _) => local.commit(&transaction).await,
        };
        match outcome {
            Ok(Outcome::Committed { revision }) => Ok(Some((revision, meta))),
            Ok(Outcome::Conflict { .. }) => Ok(None),
            Err(error @ StoreError::OutcomeUnknown { .. }) => match self.lock_state().await {
                Ok(LockState { held: Some(held), .. }) if held.record.id == record.id => {
                    Ok(Some((held.create_revision, meta)))
                }
                Ok(_) | Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn keep(&self, hold: Hold, create_revision: u64, meta: Meta) -> Lock {
        let (report, loss) = watch::channel(None);
        let key = self.layout.lock();
        let (keeper, lease) = match hold {
            Hold::Lease(etcd, lease) => (
                tokio::spawn(etcd.clone().keep(lease, key, create_revision, report)),
                Some((etcd, lease)),
            ),
            Hold::File(local, file) => (tokio::spawn(local.keep(file, key, create_revision, report)), None),
        };
        Lock {
            store: self.clone(),
            create_revision,
            meta,
            loss,
            keeper: AbortOnDropHandle::new(keeper),
            lease,
        }
    }

    async fn wait_for_lock(&self, after: u64) {
        match &self.backend {
            Backend::Etcd(etcd) => etcd.wait_for_lock(&self.layout.lock(), after).await,
            Backend::Local(local) => local.wait_for_lock().await,
        }
    }

    async fn lock_state(&self) -> Result<LockState, StoreError> {
        let (meta_key, lock_key) = (self.layout.meta(), self.layout.lock());
        let (revision, rows) = self.rows(&[meta_key.clone(), lock_key.clone()]).await?;
        let mut state = LockState {
            revision,
            meta: None,
            held: None,
        };
        for row in rows {
            if row.key == meta_key {
                state.meta = Some((parse(&row)?, row.mod_revision));
            } else {
                state.held = Some(HeldLock {
                    record: parse(&row)?,
                    create_revision: row.create_revision,
                });
            }
        }
        Ok(state)
    }

    pub(super) async fn remove_lock(&self, create_revision: u64) -> Result<Outcome, StoreError> {
        let key = self.layout.lock();
        self.commit(&Transaction {
            compares: vec![Compare {
                key: key.clone(),
                guard: Guard::CreateRevision(create_revision),
            }],
            writes: vec![Write::Delete { key }],
        })
        .await
    }
}
