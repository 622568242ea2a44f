//! Locks of the operating system on one file, which end with the process that holds them. They say that
//! somebody holds; who it is stands in the database.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A held lock; dropping it, or ending the process in whatever way, lets go of it.
///
/// It belongs to the open file, not to the process (`F_OFD_SETLK`): two stores in one process exclude each
/// other too, and closing another handle of the file takes nothing away.
#[derive(Debug)]
pub(in crate::store) struct OsLock {
    _file: File,
}

impl OsLock {
    /// Takes the lock, or nothing if it is held.
    pub(super) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => Ok(Some(Self { _file: file })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes the lock, and blocks the thread until it is free.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole_file())) {
                Ok(_) => return Ok(Self { _file: file }),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether anybody holds the lock. Asking disturbs nobody who tries to take it.
    pub(super) fn is_held(path: &Path) -> io::Result<bool> {
        let file = open(path)?;
        let mut flock = whole_file();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut flock))?;
        Ok(i32::from(flock.l_type) != libc::F_UNLCK)
    }
}

/// An exclusive lock of all bytes there are and will be.
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        // The kernel wants it so for locks of an open file.
        l_pid: 0,
    }
}

/// The file stays when the lock goes: removing it would let two hold locks on two files of one name.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
