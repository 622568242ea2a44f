//! The log's file: opened under an exclusive lock, its torn tail cut off, appended to with sync, compacted by
//! renaming a new file over it.

use drover_agent_core::oplog::{
    ApplyError, Damage, EncodeError, FORMAT, Record, State, Tail, compact, decode, encode, replay,
};
use drover_types::{HostName, IncarnationId};
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Disk space kept ahead of the end, so that work that was begun can be ended on a full disk.
const HEADROOM: u64 = 256 << 10;
/// A log shorter than this is not compacted.
const COMPACT_FROM: u64 = 1 << 20;
/// Compacted when this many times as long as after the last compaction.
const COMPACT_FACTOR: u64 = 4;

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another agent has it.
    #[error("{} is locked: another agent runs with this data directory", .0.display())]
    Locked(PathBuf),
    /// A system call failed.
    #[error("could not {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its content is damaged.
    #[error("the operation log {} cannot be read", path.display())]
    Damaged {
        /// The log.
        path: PathBuf,
        /// Where and how.
        source: Damage,
    },
    /// Its records do not follow from each other.
    #[error("record {index} of the operation log {} contradicts those before it", path.display())]
    Contradiction {
        /// The log.
        path: PathBuf,
        /// The record's number, from 0.
        index: usize,
        /// In what way.
        source: ApplyError,
    },
    /// A first record could not be written.
    #[error("could not begin the operation log {}", path.display())]
    Begin {
        /// The log.
        path: PathBuf,
        /// Why not.
        source: AppendError,
    },
}

/// Why records were not appended. Nothing of them is in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// They do not follow from the records before them.
    #[error("the operation log refuses a record")]
    Refused(#[source] ApplyError),
    /// A record cannot be written.
    #[error("an operation log record cannot be encoded")]
    Encode(#[source] EncodeError),
    /// There is no room for a new operation.
    #[error("no room for a new operation in the operation log; free space below the data directory")]
    NoRoom(#[source] io::Error),
    /// A write failed and was taken back.
    #[error("could not write to the operation log")]
    Write(#[source] io::Error),
    /// A sync failed, or a failed write could not be taken back: what is on disk is not known.
    #[error("the operation log's disk failed; the agent must be started again")]
    Broken,
    /// The owner thread is gone.
    #[error("the operation log is closed")]
    Closed,
}

/// How long the lock may take to be free. A child that an agent had begun to start when it was killed holds the lock
/// until it becomes another program.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// An open operation log.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// Held for as long as the log is open. Apart from the log, which compaction replaces.
    _lock: File,
    state: State,
    len: u64,
    reserved_to: u64,
    compacted_len: u64,
    broken: bool,
}

impl LogFile {
    /// Opens the log at `path`, or begins one under `fresh`, and cuts off an append that did not finish. Blocks for
    /// some seconds where another has the lock.
    /// `remains` says whether this host has servers already: then a log that is not there was lost, and the
    /// new one's epochs are void until the host is readmitted.
    ///
    /// # Errors
    /// [`OpenError`]; the file is then unchanged.
    pub fn open(
        path: &Path,
        host: &HostName,
        fresh: IncarnationId,
        remains: bool,
    ) -> Result<Self, OpenError> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { what, path, source }
        };
        let lock_path = path.with_extension("lock");
        let lock = private()
            .open(&lock_path)
            .map_err(io("open the lock file", &lock_path))?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(lock_path)),
                Err(TryLockError::Error(source)) => {
                    return Err(io("lock", &lock_path)(source));
                }
            }
        }
        let file = private().open(path).map_err(io("open the operation log", path))?;
        let bytes = std::fs::read(path).map_err(io("read the operation log", path))?;
        let decoded = decode(&bytes).map_err(|source| OpenError::Damaged {
            path: path.to_owned(),
            source,
        })?;
        let state = replay(&decoded.records).map_err(|(index, source)| OpenError::Contradiction {
            path: path.to_owned(),
            index,
            source,
        })?;
        let len = decoded.valid_len as u64;
        match decoded.tail {
            Tail::Clean => {}
            Tail::Torn { bytes } => {
                tracing::warn!(
                    bytes,
                    "the operation log's last append never finished; dropped it"
                );
                file.set_len(len)
                    .map_err(io("cut the torn end off the operation log", path))?;
            }
        }
        file.sync_all().map_err(io("sync the operation log", path))?;
        sync_directory(path).map_err(io("sync the directory of", path))?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            _lock: lock,
            state,
            len,
            reserved_to: 0,
            compacted_len: len,
            broken: false,
        };
        let begin = |source| OpenError::Begin {
            path: path.to_owned(),
            source,
        };
        if log.state.incarnation().is_none() {
            let mut records = vec![Record::Opened {
                format: FORMAT,
                incarnation: fresh,
                host: host.clone(),
            }];
            if remains {
                tracing::error!(
                    "the operation log is gone but servers are here: their epochs are void; run `drover host readmit`"
                );
                records.push(Record::EpochsVoided);
            }
            log.append(&records).map_err(begin)?;
        } else if log.state.host() != Some(host) {
            let incarnation = log.state.incarnation().unwrap_or(fresh);
            let reopened = Record::Opened {
                format: FORMAT,
                incarnation,
                host: host.clone(),
            };
            // Refused by the state, with both names in its words.
            log.append(&[reopened]).map_err(begin)?;
        }
        Ok(log)
    }

    /// What the records add up to.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether it takes no more records.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Appends records, all or none, and syncs. Without records it does nothing.
    ///
    /// # Errors
    /// [`AppendError`]; file and state are then as before, except after [`AppendError::Broken`].
    pub fn append(&mut self, records: &[Record]) -> Result<(), AppendError> {
        if records.is_empty() {
            return Ok(());
        }
        if self.broken {
            return Err(AppendError::Broken);
        }
        let mut next = self.state.clone();
        let mut bytes = Vec::new();
        for record in records {
            next.apply(record).map_err(AppendError::Refused)?;
            bytes.extend(encode(record).map_err(AppendError::Encode)?);
        }
        let end = self.len + bytes.len() as u64;
        if records.iter().any(|record| matches!(record, Record::Began(_))) {
            self.reserve(end + HEADROOM).map_err(AppendError::NoRoom)?;
        }
        if let Err(source) = self.file.write_all_at(&bytes, self.len) {
            let taken_back = self.file.set_len(self.len).and_then(|()| self.file.sync_all());
            self.reserved_to = 0;
            self.broken = taken_back.is_err();
            return Err(if self.broken {
                AppendError::Broken
            } else {
                AppendError::Write(source)
            });
        }
        if let Err(error) = self.file.sync_data() {
            tracing::error!(%error, "the operation log could not be synced");
            // The kernel may have dropped the pages; another sync would say nothing about them.
            self.broken = true;
            return Err(AppendError::Broken);
        }
        self.len = end;
        self.state = next;
        if self.len > COMPACT_FROM.max(self.compacted_len.saturating_mul(COMPACT_FACTOR)) {
            self.compact();
        }
        Ok(())
    }

    /// Has disk blocks up to this offset, beyond the end of the file.
    fn reserve(&mut self, to: u64) -> io::Result<()> {
        if to <= self.reserved_to {
            return Ok(());
        }
        let to = to + HEADROOM;
        let (offset, length) = (file_offset(self.len)?, file_offset(to - self.len)?);
        match fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length) {
            Ok(()) => {
                self.reserved_to = to;
                Ok(())
            }
            // Not every file system can.
            Err(nix::Error::EOPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the file by the shortest one of the same meaning. A failure leaves the old one in use.
    fn compact(&mut self) {
        match self.write_compacted() {
            Ok((file, len)) => {
                tracing::info!(from = self.len, to = len, "compacted the operation log");
                self.file = file;
                self.len = len;
                self.reserved_to = 0;
                self.compacted_len = len;
            }
            Err(error) => {
                tracing::warn!(%error, "could not compact the operation log; it goes on growing");
                self.compacted_len = self.len;
            }
        }
    }

    fn write_compacted(&mut self) -> io::Result<(File, u64)> {
        let new = self.path.with_extension("new");
        let mut bytes = Vec::new();
        for record in compact(&self.state) {
            bytes.extend(encode(&record).map_err(io::Error::other)?);
        }
        let file = private().truncate(true).open(&new)?;
        let written = file
            .write_all_at(&bytes, 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&new, &self.path));
        if let Err(error) = written {
            // Best effort: the next compaction truncates it.
            let _left = std::fs::remove_file(&new);
            return Err(error);
        }
        if sync_directory(&self.path).is_err() {
            // Either file may be the one that a crash leaves: appending to one of them could be lost.
            self.broken = true;
        }
        Ok((file, bytes.len() as u64))
    }
}

fn file_offset(bytes: u64) -> io::Result<i64> {
    i64::try_from(bytes).map_err(io::Error::other)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    options
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
