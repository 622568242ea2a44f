//! One set of tests for both stores, and what each has for itself. etcd is the real one, on loopback.

mod alike;
mod etcd;
mod etcd_only;
mod local_only;
mod locks;
mod lost_answers;
mod transactions;

use drover::store::{ExpectMeta, LockHolder, LockRequest, Store, StoreSettings};
use drover_core::record::{Compare, Guard, Key, Layout, Transaction, Write};
use drover_types::{FleetName, Lineage, RequestId};
use etcd::{Cluster, Wire};
use std::fmt;
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// A store made for one test.
struct Fixture {
    settings: StoreSettings,
    /// How long a lock may outlive its holder.
    lock_outlives: Duration,
    _parts: Parts,
}

/// Removed and ended with the fixture.
enum Parts {
    Local { _directory: TempDir },
    Etcd { _cluster: Cluster },
}

impl Fixture {
    fn local() -> Self {
        let directory = TempDir::with_prefix("drover-store-").expect("a temporary directory");
        Self {
            settings: StoreSettings::Local {
                path: directory.path().join(".drover"),
            },
            lock_outlives: Duration::from_secs(2),
            _parts: Parts::Local {
                _directory: directory,
            },
        }
    }

    fn etcd() -> Self {
        let cluster = Cluster::start(1, Wire::Tls);
        Self {
            settings: cluster.settings(),
            lock_outlives: Duration::from_secs(40),
            _parts: Parts::Etcd { _cluster: cluster },
        }
    }

    /// A handle with a connection of its own.
    async fn open(&self) -> Store {
        open(&self.settings, "prod").await
    }
}

async fn open(settings: &StoreSettings, fleet: &str) -> Store {
    Store::open(settings, layout(fleet))
        .await
        .expect("the store opens")
        .0
}

fn layout(fleet: &str) -> Layout {
    let fleet: FleetName = fleet.parse().expect("a fleet name");
    Layout::new(&fleet, &"default".parse().expect("a project name"))
}

/// A key of the fleet for a test's own use.
fn key(store: &Store, name: &str) -> Key {
    store.layout().output(name)
}

fn put(key: &Key, value: impl fmt::Display) -> Write {
    Write::Put {
        key: key.clone(),
        value: format!("{value}").into_bytes(),
    }
}

fn demand(key: &Key, guard: Guard) -> Compare {
    Compare {
        key: key.clone(),
        guard,
    }
}

fn writes(writes: Vec<Write>) -> Transaction {
    Transaction {
        compares: Vec::new(),
        writes,
    }
}

fn lock_request(who: &str, expect_meta: ExpectMeta, wait: Duration) -> LockRequest {
    LockRequest {
        holder: LockHolder {
            who: format!("{who}@desk"),
            pid: std::process::id(),
            operation: "apply".to_owned(),
            since: "2026-01-02T03:04:05Z".to_owned(),
            drover_version: "0.1.0".to_owned(),
            request_id: RequestId::from_uuid(Uuid::from_u128(7)),
        },
        expect_meta,
        apply: None,
        new_lineage: lineage(),
        wait,
    }
}

fn lineage() -> Lineage {
    Lineage::from_uuid(Uuid::from_u128(0x0123_4567_89ab_cdef))
}

/// Every case named here is run against both stores.
macro_rules! for_both_stores {
    ($($module:ident :: $case:ident),* $(,)?) => {
        mod on_local {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::$module::$case(&crate::Fixture::local()).await;
            })*
        }
        mod on_etcd {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::$module::$case(&crate::Fixture::etcd()).await;
            })*
        }
    };
}

for_both_stores![
    transactions::revisions_and_conflicts,
    transactions::limits_are_refused_before_sending,
    transactions::the_largest_transactions_are_taken,
    transactions::five_thousand_records_of_one_fleet,
    transactions::one_revision_while_a_writer_works,
    transactions::counting_from_many_handles,
    locks::a_held_lock_names_its_holder,
    locks::meta_and_token_outlive_the_lock,
    locks::a_stale_plan_gets_no_lock,
    locks::waiting_for_the_holder,
    locks::one_at_a_time,
    locks::the_token_rises_whatever_comes_between,
    locks::the_old_holder_is_fenced_off,
    locks::a_dropped_lock_is_free_again,
    locks::a_killed_holder_is_free_again,
    locks::raising_the_token,
    locks::records_of_a_later_version,
];
