//! The embedded store's file: how it is made, opened, and what SQLite's errors mean for its user.

use super::os_lock::OsLock;
use crate::store::error::StoreError;
use nix::sys::statfs;
use rusqlite::{Connection, ErrorCode};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// How long one process waits for another's transaction; each takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The newest schema known here, kept in SQLite's `user_version`.
const SCHEMA: i64 = 1;

/// The revision begins at 1, as in an etcd that was never written to.
const CREATE: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE kv (
        key TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL,
        create_revision INTEGER NOT NULL,
        mod_revision INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE revision (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        value INTEGER NOT NULL
    ) STRICT;
    INSERT INTO revision VALUES (1, 1);
    PRAGMA user_version = 1;
    COMMIT;
";

/// Opens the database in this directory, and makes both where they are missing. Blocks.
pub(super) fn open(directory: &Path) -> Result<Connection, StoreError> {
    let cannot = |attempted, path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Directory {
            attempted,
            path,
            source,
        }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(cannot("make", directory))?;
    refuse_network(directory)?;

    // SQLite does not wait for others while it switches a new file to WAL.
    let setup_lock = directory.join("setup.lock");
    let setup = OsLock::take(&setup_lock).map_err(cannot("lock", &setup_lock))?;
    let file = directory.join("state.db");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .map_err(cannot("open", &file))?;
    let connection = configure(&file).map_err(|error| explain("open", directory, error))?;
    let schema: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| explain("open", directory, error))?;
    match schema {
        0 => connection
            .execute_batch(CREATE)
            .map_err(|error| explain("make its tables", directory, error))?,
        SCHEMA => {}
        found => {
            return Err(StoreError::NewerSchema {
                path: directory.to_owned(),
                found,
                known: SCHEMA,
            });
        }
    }
    drop(setup);
    Ok(connection)
}

fn configure(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
    // FULL syncs the log at every commit: what was reported as written survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn refuse_network(directory: &Path) -> Result<(), StoreError> {
    let kind = statfs::statfs(directory)
        .map_err(|errno| StoreError::Directory {
            attempted: "look at",
            path: directory.to_owned(),
            source: errno.into(),
        })?
        .filesystem_type();
    let network = [
        statfs::NFS_SUPER_MAGIC,
        statfs::SMB_SUPER_MAGIC,
        statfs::AFS_SUPER_MAGIC,
        statfs::CODA_SUPER_MAGIC,
        statfs::NCP_SUPER_MAGIC,
    ];
    if network.contains(&kind) {
        return Err(StoreError::NetworkFileSystem {
            path: directory.to_owned(),
        });
    }
    Ok(())
}

/// What a failure of SQLite means here.
pub(super) fn explain(attempted: &'static str, directory: &Path, source: rusqlite::Error) -> StoreError {
    let path = directory.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull {
            attempted,
            path,
            source,
        },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::NotWritable {
                attempted,
                path,
                source,
            }
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, source },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy {
            attempted,
            path,
            waited: BUSY_TIMEOUT,
            source,
        },
        Some(_) | None => StoreError::Sqlite {
            attempted,
            path,
            source,
        },
    }
}
