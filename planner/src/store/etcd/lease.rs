//! The lease behind the fleet's lock in etcd: granted, kept alive by one task, given back.
//!
//! A keep-alive that is answered "ok" proves nothing about the lock, and one that is not answered nothing
//! about its loss. So the task looks at the lock's own record each time, watches it in between, and gives the
//! lock up for lost when the lease may have run out unseen. Every transaction compares the lock anyway: what
//! is reported here only ends the work sooner.

use super::EtcdStore;
use super::members::Repeat;
use crate::store::error::StoreError;
use crate::store::lock::LockLoss;
use drover_core::record::Key;
use etcd_client::{Error, WatchOptions, WatchStream};
use std::future::pending;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};

/// How long a lock outlives its holder.
const TTL: Duration = Duration::from_secs(15);
/// Three chances to renew before it runs out.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Opening a watch must not use up the time that renewing needs.
const OPEN_WATCH: Duration = Duration::from_secs(1);
/// Before a broken watch is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// A granted lease.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct LeaseHold {
    id: i64,
    /// Before the lease began to run: it cannot have run out earlier than TTL after this.
    granted: Instant,
}

impl LeaseHold {
    pub(super) const fn id(&self) -> i64 {
        self.id
    }
}

impl EtcdStore {
    /// Begins a lease. One whose answer is lost runs out by itself.
    pub(in crate::store) async fn grant(&self) -> Result<LeaseHold, StoreError> {
        let granted = Instant::now();
        let response = self
            .members
            .call("begin a lease", Repeat::Harmless, |mut client| async move {
                client.lease_grant(TTL.as_secs().cast_signed(), None).await
            })
            .await?;
        Ok(LeaseHold {
            id: response.id(),
            granted,
        })
    }

    /// Ends a lease at once, and with it whatever record hangs on it, now or by a request still under way.
    /// If this fails it ends by itself.
    pub(in crate::store) async fn revoke(&self, lease: LeaseHold) {
        let revoked = self
            .members
            .call("end a lease", Repeat::Harmless, |mut client| async move {
                client.lease_revoke(lease.id).await
            })
            .await;
        if let Err(error) = revoked {
            tracing::debug!(%error, lease = lease.id, "lease left to run out");
        }
    }

    /// Renews the lease until the lock is lost, which it reports.
    pub(in crate::store) async fn keep(
        self,
        lease: LeaseHold,
        key: Key,
        create_revision: u64,
        report: watch::Sender<Option<LockLoss>>,
    ) {
        let loss = self.keep_until_lost(lease, &key, create_revision).await;
        report.send_replace(Some(loss));
    }

    async fn keep_until_lost(&self, lease: LeaseHold, key: &Key, create_revision: u64) -> LockLoss {
        let mut ticks = interval(RENEW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut runs_out = lease.granted + TTL;
        let mut events: Option<WatchStream> = None;
        loop {
            tokio::select! {
                // Cancel-safe: a tick that was not taken comes again.
                _ = ticks.tick() => {
                    let asked = Instant::now();
                    match timeout_at(runs_out, self.renew(lease, key, create_revision)).await {
                        Ok(Ok(Renewal::Held)) => runs_out = asked + TTL,
                        Ok(Ok(Renewal::Lost(loss))) => return loss,
                        // Tried again at the next tick, until time is up.
                        Ok(Err(error)) => tracing::debug!(%error, "lock not renewed"),
                        Err(_elapsed) => return LockLoss::Unrenewed { ttl: TTL },
                    }
                    if events.is_none() {
                        events = timeout(OPEN_WATCH, self.open_watch(key, create_revision)).await.ok().flatten();
                    }
                }
                // Cancel-safe: it is a point in time.
                () = sleep_until(runs_out) => return LockLoss::Unrenewed { ttl: TTL },
                // Cancel-safe: a message is taken whole from the stream or stays in it.
                change = next_change(&mut events) => match change {
                    Change::Seen => return LockLoss::Removed,
                    // The next tick looks at the record and opens a new one.
                    Change::StreamEnded => events = None,
                },
            }
        }
    }

    async fn renew(&self, lease: LeaseHold, key: &Key, create_revision: u64) -> Result<Renewal, StoreError> {
        let alive = self
            .members
            .call("renew the lock", Repeat::Harmless, |mut client| async move {
                match client.lease_keep_alive(lease.id).await {
                    Ok(_streams) => Ok(true),
                    // etcd-client's word for a lease that has run out or was ended.
                    Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                    Err(error) => Err(error),
                }
            })
            .await?;
        if !alive {
            return Ok(Renewal::Lost(LockLoss::Expired));
        }
        let (_, rows) = self.get(std::slice::from_ref(key)).await?;
        Ok(match rows.first() {
            Some(row) if row.create_revision == create_revision => Renewal::Held,
            Some(_) | None => Renewal::Lost(LockLoss::Removed),
        })
    }

    async fn open_watch(&self, key: &Key, after: u64) -> Option<WatchStream> {
        let options = WatchOptions::new().with_start_revision(after.cast_signed() + 1);
        self.members
            .current()
            .watch(key.as_str(), Some(options))
            .await
            .inspect_err(|error| tracing::debug!(%error, "no watch on the lock"))
            .ok()
    }

    /// Returns when the record of the lock has changed after this revision, and at times for nothing.
    pub(in crate::store) async fn wait_for_lock(&self, key: &Key, after: u64) {
        let until = Instant::now() + RENEW_EVERY;
        let mut events = timeout_at(until, self.open_watch(key, after))
            .await
            .ok()
            .flatten();
        if events.is_some() {
            match timeout_at(until, next_change(&mut events)).await {
                Ok(Change::Seen) | Err(_) => return,
                Ok(Change::StreamEnded) => {}
            }
        }
        sleep(PAUSE).await;
    }
}

enum Renewal {
    Held,
    Lost(LockLoss),
}

enum Change {
    Seen,
    StreamEnded,
}

/// The next event of the stream; without a stream, none ever.
async fn next_change(events: &mut Option<WatchStream>) -> Change {
    let Some(stream) = events else {
        return pending().await;
    };
    loop {
        match stream.message().await {
            Ok(Some(message)) if !message.events().is_empty() => return Change::Seen,
            Ok(Some(message)) if message.canceled() => return Change::StreamEnded,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Change::StreamEnded,
        }
    }
}
