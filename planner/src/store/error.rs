//! What can go wrong with a store, in the user's words: on which object, where, and what to do next.

use super::lock::{HeldLock, LockLoss};
use super::settings::SettingsError;
use drover_core::model::Author;
use drover_core::record::Key;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A failure of a store.
///
/// Everything but [`StoreError::OutcomeUnknown`] means that nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The settings contradict themselves.
    #[error("the store's settings cannot work")]
    Settings(#[from] SettingsError),
    /// A file named in the settings cannot be read.
    #[error("cannot read {setting} of state \"etcd\", {}", path.display())]
    ReadFile {
        /// `ca_file`, `cert_file` or `key_file`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file named in the settings holds something else.
    #[error("{setting} of state \"etcd\", {}, holds no {expected} in PEM", path.display())]
    NotPem {
        /// `ca_file`, `cert_file` or `key_file`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },

    /// No member of the cluster can be used; nothing was sent, or what was sent changes nothing.
    #[error("cannot {attempted}: no etcd endpoint can be used: {}", EachFailure(failures))]
    Unreachable {
        /// What was to be done.
        attempted: &'static str,
        /// Why, for each endpoint, in the order tried.
        failures: Vec<EndpointFailure>,
    },
    /// etcd said no.
    #[error("cannot {attempted}: etcd refused")]
    Refused {
        /// What was to be done.
        attempted: &'static str,
        /// Its words.
        source: EndpointFailure,
    },
    /// The endpoints are not one cluster.
    #[error("{first} and {second} belong to different etcd clusters: name the members of one")]
    DifferentClusters {
        /// One endpoint.
        first: String,
        /// Another.
        second: String,
    },
    /// The store's history was cut away under every attempt to read it.
    #[error(
        "cannot read all records at one revision: etcd compacted it {attempts} times meanwhile; try again"
    )]
    Compacted {
        /// How often it was tried.
        attempts: u32,
    },

    /// The answer was lost: the transaction may or may not have been carried out, now or a little later.
    #[error("cannot tell whether the store did what it was asked ({attempted}): look before repeating it")]
    OutcomeUnknown {
        /// What was to be done.
        attempted: &'static str,
        /// What was seen instead of an answer.
        source: Box<dyn Error + Send + Sync>,
    },

    /// More than etcd takes at once.
    #[error(
        "a transaction of {operations} operations is over the limit of {}",
        super::commit::MAX_OPERATIONS
    )]
    TooManyOperations {
        /// Comparisons or writes, whichever are more.
        operations: usize,
    },
    /// More than etcd takes at once.
    #[error(
        "a transaction of {bytes} bytes is over the limit of {}",
        super::commit::MAX_BYTES
    )]
    TooLarge {
        /// As it would be sent, at most.
        bytes: usize,
    },
    /// The order would decide, and there is none.
    #[error("a transaction writes {key} twice")]
    WrittenTwice {
        /// The key.
        key: Key,
    },
    /// A guard that no record can satisfy.
    #[error("a transaction demands revision {revision} of {key}: records have 1 to 2^63 - 1")]
    ImpossibleRevision {
        /// The key.
        key: Key,
        /// As demanded.
        revision: u64,
    },

    /// A key that is not text, or none of Drover's.
    #[error("the store holds a key that is not Drover's, {key:?}: remove it")]
    ForeignKey {
        /// As text, as far as it is.
        key: String,
    },
    /// A record that cannot be read.
    #[error("cannot read the record {key}, last changed at revision {mod_revision}")]
    UnreadableRecord {
        /// Its key.
        key: Key,
        /// When it was written.
        mod_revision: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record of a later version.
    #[error(
        "the record {key} has format {format}; this drover reads up to {}: use a newer one",
        drover_core::record::FORMAT
    )]
    NewerRecord {
        /// Its key.
        key: Key,
        /// Its format.
        format: u32,
    },

    /// Somebody holds the lock.
    #[error("the fleet is locked{}", held.as_deref().map_or_else(
        || " by a process that has not said who it is".to_owned(),
        |held| format!(": {held}")
    ))]
    LockHeld {
        /// By whom; absent in the moment between taking the lock and saying so.
        held: Option<Box<HeldLock>>,
    },
    /// The fleet was written to since the plan was made.
    #[error(
        "the fleet has changed since the plan was made (meta is at {}, the plan was made at {}{}): plan again",
        revision_or_none(*found),
        revision_or_none(*expected),
        by.as_ref().map_or_else(String::new, |by| format!("; changed last by {by}"))
    )]
    StaleMeta {
        /// `meta`'s revision that the plan was made from; none for a store without `meta`.
        expected: Option<u64>,
        /// `meta`'s revision now.
        found: Option<u64>,
        /// Who wrote last.
        by: Option<Box<Author>>,
    },
    /// Others changed the store at each attempt to take the lock.
    #[error("cannot take the fleet's lock: others were faster {attempts} times; try again")]
    LockContended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The lock was gone when it was to be released.
    #[error("the fleet's lock was lost before it was released")]
    LockLost(#[source] LockLoss),
    /// The lock to be removed is not there, or another one is.
    #[error(
        "the lock created at revision {expected} is not there any more{}",
        found.as_deref().map_or_else(String::new, |held| format!(": {held}"))
    )]
    LockChanged {
        /// The create revision named.
        expected: u64,
        /// The lock that is there.
        found: Option<Box<HeldLock>>,
    },

    /// The directory of the embedded store cannot be made or used.
    #[error("cannot {attempted} the store in {}", path.display())]
    Directory {
        /// What was to be done.
        attempted: &'static str,
        /// The directory, or the file in it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// File locks and shared memory do not work across machines.
    #[error("the store in {} is on a network file system: choose a local one, or use state \"etcd\"", path.display())]
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
    },
    /// No space left.
    #[error("cannot {attempted}: no space is left for the store in {}: free some and try again", path.display())]
    DiskFull {
        /// What was to be done.
        attempted: &'static str,
        /// The directory.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// Not allowed to write.
    #[error("cannot {attempted}: the store in {} cannot be written to: check its owner and mode", path.display())]
    NotWritable {
        /// What was to be done.
        attempted: &'static str,
        /// The directory.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// Something else, or broken.
    #[error("state.db in {} is not a store or is damaged: restore it from a copy", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// Another process keeps it busy.
    #[error(
        "cannot {attempted}: another process has kept the store in {} busy for {} s",
        path.display(),
        waited.as_secs()
    )]
    Busy {
        /// What was to be done.
        attempted: &'static str,
        /// The directory.
        path: PathBuf,
        /// For how long it was tried.
        waited: Duration,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// Made by a later version.
    #[error("the store in {} has schema {found}; this drover knows up to {known}: use a newer one", path.display())]
    NewerSchema {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// Any other failure of SQLite.
    #[error("cannot {attempted} in the store in {}", path.display())]
    Sqlite {
        /// What was to be done.
        attempted: &'static str,
        /// The directory.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
}

/// Why one etcd endpoint could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}: {cause}")]
pub struct EndpointFailure {
    /// The endpoint as in the settings.
    pub endpoint: String,
    /// What happened there.
    pub cause: EndpointCause,
}

/// What happened at an etcd endpoint.
#[derive(Debug)]
pub enum EndpointCause {
    /// Nothing, for this long.
    NoAnswer(Duration),
    /// The connection was lost right after the TLS handshake. A certificate is refused in this way too: in
    /// TLS 1.3 the client learns of that last, and the HTTP/2 library drops the alert.
    HungUp(Box<etcd_client::Error>),
    /// An error, from etcd or from the way to it.
    Etcd(Box<etcd_client::Error>),
}

impl fmt::Display for EndpointCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(waited) => write!(f, "no answer within {:.1} s", waited.as_secs_f32()),
            Self::HungUp(error) => {
                explain(error, f)?;
                f.write_str(" (after the TLS handshake: does etcd accept the certificate in cert_file?)")
            }
            Self::Etcd(error) => explain(error, f),
        }
    }
}

/// A status names its kind and hides the cause several sources down: "tcp connect error" and "Connection
/// refused" belong together.
fn explain(error: &etcd_client::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let etcd_client::Error::GRpcStatus(status) = error else {
        return write!(f, "{error}");
    };
    f.write_str(status.message())?;
    let mut root = None;
    let mut next = status.source();
    while let Some(error) = next {
        root = Some(error.to_string());
        next = error.source();
    }
    match root {
        Some(root) if root != status.message() => write!(f, ": {root}"),
        Some(_) | None => Ok(()),
    }
}

/// All failures in a row.
struct EachFailure<'a>(&'a [EndpointFailure]);

impl fmt::Display for EachFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}

fn revision_or_none(revision: Option<u64>) -> String {
    revision.map_or_else(
        || "no revision".to_owned(),
        |revision| format!("revision {revision}"),
    )
}
