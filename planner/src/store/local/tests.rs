//! What needs the connection in hand.

use super::LocalStore;
use crate::store::StoreError;
use drover_core::record::{Layout, Transaction, Write};
use tempfile::TempDir;

fn layout() -> Layout {
    Layout::new(
        &"prod".parse().expect("a name"),
        &"default".parse().expect("a name"),
    )
}

fn large(name: &str) -> Transaction {
    Transaction {
        compares: Vec::new(),
        writes: vec![Write::Put {
            key: layout().output(name),
            value: vec![b'x'; 100_000],
        }],
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_nothing_is_written() {
    let directory = TempDir::with_prefix("drover-store-").expect("a temporary directory");
    let path = directory.path().join("s");
    let store = LocalStore::open(path.clone(), layout().fleet())
        .await
        .expect("made");
    // SQLite answers the same when it may not grow as when the disk is full.
    store
        .with("limit", |connection| {
            connection.pragma_update(None, "max_page_count", 40)
        })
        .await
        .expect("limited");
    store.commit(&large("a")).await.expect("there is room");
    let error = store.commit(&large("b")).await.expect_err("there is none");
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot write: no space is left for the store in {}: free some and try again",
            path.display()
        )
    );
    let (_, rows) = store.read_below(layout().root()).await.expect("a read");
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn a_store_that_may_not_be_written_is_named() {
    let directory = TempDir::with_prefix("drover-store-").expect("a temporary directory");
    let store = LocalStore::open(directory.path().join("s"), layout().fleet())
        .await
        .expect("made");
    store
        .with("protect", |connection| {
            connection.pragma_update(None, "query_only", true)
        })
        .await
        .expect("protected");
    let error = store.commit(&large("a")).await.expect_err("protected");
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
}
