//! The embedded store: SQLite in a directory of one machine, for several processes at once. Readers see one
//! revision while an apply writes. Its lock dies with its holder's process.

mod database;
mod os_lock;

use super::commit::{FailedCompare, Outcome, Row, holds};
use super::error::StoreError;
use super::lock::LockLoss;
use super::range_end;
use drover_core::record::{Key, Transaction, Write};
use drover_types::FleetName;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

pub(super) use os_lock::OsLock;

/// How soon one who waits for the lock tries again.
const RETRY: Duration = Duration::from_millis(100);
/// How often the holder looks whether its lock was taken from it.
const LOOK: Duration = Duration::from_millis(500);

/// An open embedded store. Clones share one connection.
#[derive(Debug, Clone)]
pub(super) struct LocalStore {
    directory: Arc<Path>,
    /// The fleet's own: fleets that share a directory do not lock each other out.
    lock_file: Arc<Path>,
    connection: Arc<Mutex<Connection>>,
}

impl LocalStore {
    /// Opens the store in `path`, and makes it where it is missing.
    pub(super) async fn open(path: PathBuf, fleet: &FleetName) -> Result<Self, StoreError> {
        let lock_file = path.join(format!("{fleet}.lock")).into();
        blocking(move || {
            let connection = database::open(&path)?;
            Ok(Self {
                lock_file,
                directory: path.into(),
                connection: Arc::new(Mutex::new(connection)),
            })
        })
        .await
    }

    /// Everything whose key begins with `root`, at one revision.
    pub(super) async fn read_below(&self, root: &str) -> Result<(u64, Vec<Row>), StoreError> {
        let root = root.to_owned();
        let (revision, raw) = self
            .with("read all records", move |connection| {
                let transaction = connection.transaction()?;
                let revision = current_revision(&transaction)?;
                let rows = transaction
                    .prepare_cached(
                        "SELECT key, value, create_revision, mod_revision FROM kv
                         WHERE key >= ?1 AND key < ?2 ORDER BY key",
                    )?
                    .query_map(params![root, range_end(&root)], |row| {
                        Ok((
                            row.get::<_, String>(0)?,
                            row.get(1)?,
                            revision_at(row, 2)?,
                            revision_at(row, 3)?,
                        ))
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                Ok((revision, rows))
            })
            .await?;
        let rows = raw
            .into_iter()
            .map(|(key, value, create_revision, mod_revision)| {
                let key = key.parse().map_err(|_| StoreError::ForeignKey { key })?;
                Ok(Row {
                    key,
                    value,
                    create_revision,
                    mod_revision,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok((revision, rows))
    }

    /// These records, as far as they exist, at one revision.
    pub(super) async fn get(&self, keys: &[Key]) -> Result<(u64, Vec<Row>), StoreError> {
        let keys = keys.to_vec();
        self.with("read records", move |connection| {
            let transaction = connection.transaction()?;
            let revision = current_revision(&transaction)?;
            let mut rows = Vec::new();
            for key in &keys {
                rows.extend(find(&transaction, key)?);
            }
            Ok((revision, rows))
        })
        .await
    }

    /// Carries the transaction out, or not at all. It is carried out even if this future is dropped.
    pub(super) async fn commit(&self, transaction: &Transaction) -> Result<Outcome, StoreError> {
        let transaction = transaction.clone();
        let attempted = "write";
        let result = self
            .with(attempted, move |connection| Ok(commit(connection, &transaction)))
            .await?;
        match result {
            Ok(outcome) => Ok(outcome),
            Err(CommitFailure::Undone(source)) => Err(database::explain(attempted, &self.directory, source)),
            Err(CommitFailure::InDoubt(source)) => Err(StoreError::OutcomeUnknown {
                attempted,
                source: Box::new(database::explain(attempted, &self.directory, source)),
            }),
        }
    }

    /// Takes the operating system's lock, or nothing if a living process holds it.
    pub(super) async fn try_hold(&self) -> Result<Option<OsLock>, StoreError> {
        self.with_lock_file(OsLock::try_take).await
    }

    /// Whether a living process holds the lock.
    pub(super) async fn is_held(&self) -> Result<bool, StoreError> {
        self.with_lock_file(OsLock::is_held).await
    }

    /// Returns when it is worth trying for the lock again.
    pub(super) async fn wait_for_lock(&self) {
        sleep(RETRY).await;
    }

    /// Holds the operating system's lock for as long as the record created at `create_revision` is there, and
    /// reports when it is not.
    pub(super) async fn keep(
        self,
        hold: OsLock,
        key: Key,
        create_revision: u64,
        report: watch::Sender<Option<LockLoss>>,
    ) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A failure to read says nothing about the lock, which the file still holds.
            if let Ok((_, rows)) = self.get(std::slice::from_ref(&key)).await
                && rows.first().map(|row| row.create_revision) != Some(create_revision)
            {
                report.send_replace(Some(LockLoss::Removed));
                drop(hold);
                return;
            }
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        attempted: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        blocking(move || {
            // A panic inside has rolled its transaction back, so the connection is as good as before.
            let mut connection = this.connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection).map_err(|error| database::explain(attempted, &this.directory, error))
        })
        .await
    }

    async fn with_lock_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = Arc::clone(&self.lock_file);
        blocking(move || {
            work(&path).map_err(|source| StoreError::Directory {
                attempted: "lock",
                path: path.to_path_buf(),
                source,
            })
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// How a transaction failed.
enum CommitFailure {
    /// Rolled back.
    Undone(rusqlite::Error),
    /// The disk failed at the very end: the log may hold it or not.
    InDoubt(rusqlite::Error),
}

impl From<rusqlite::Error> for CommitFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Undone(error)
    }
}

fn commit(connection: &mut Connection, request: &Transaction) -> Result<Outcome, CommitFailure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = current_revision(&transaction)?;
    let mut failed = Vec::new();
    for compare in &request.compares {
        let found = find(&transaction, &compare.key)?;
        if !holds(&compare.guard, found.as_ref()) {
            failed.push(FailedCompare {
                compare: compare.clone(),
                found,
            });
        }
    }
    if !failed.is_empty() {
        return Ok(Outcome::Conflict { failed });
    }
    let revision = before + 1;
    let mut changed = 0;
    for write in &request.writes {
        changed += match write {
            Write::Put { key, value } => transaction
                .prepare_cached(
                    "INSERT INTO kv VALUES (?1, ?2, ?3, ?3)
                     ON CONFLICT (key) DO UPDATE SET value = ?2, mod_revision = ?3",
                )?
                .execute(params![key.as_str(), value, revision.cast_signed()])?,
            Write::Delete { key } => transaction
                .prepare_cached("DELETE FROM kv WHERE key = ?1")?
                .execute(params![key.as_str()])?,
        };
    }
    if changed == 0 {
        return Ok(Outcome::Committed { revision: before });
    }
    transaction.execute("UPDATE revision SET value = ?1", params![revision.cast_signed()])?;
    transaction
        .commit()
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => CommitFailure::Undone(error),
            Some(_) | None => CommitFailure::InDoubt(error),
        })?;
    Ok(Outcome::Committed { revision })
}

fn current_revision(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT value FROM revision", [], |row| revision_at(row, 0))
}

fn find(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Row>> {
    connection
        .prepare_cached("SELECT value, create_revision, mod_revision FROM kv WHERE key = ?1")?
        .query_row(params![key.as_str()], |row| {
            Ok(Row {
                key: key.clone(),
                value: row.get(0)?,
                create_revision: revision_at(row, 1)?,
                mod_revision: revision_at(row, 2)?,
            })
        })
        .optional()
}

/// A revision from a column; SQLite's integers have a sign, revisions do not use it.
fn revision_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

#[cfg(test)]
mod tests;
