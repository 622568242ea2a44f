//! Processes that outlive the command: started apart from the terminal, known by pid and start time, ended by
//! id.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A process that was started once, and how to know that a process with its pid is still it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process id.
    pub pid: i32,
    /// When it was started, in clock ticks since boot, as the kernel counts.
    pub start_ticks: u64,
}

/// Why a daemon could not be started, found or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The program could not be started.
    #[error("could not start {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the daemon could not be read or written.
    #[error("could not use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It could not be told to end.
    #[error("could not end process {pid}")]
    Signal {
        /// The process.
        pid: i32,
        /// What the system says.
        source: Errno,
    },
    /// It did not end in time.
    #[error("process {pid} did not end within {} s", patience.as_secs())]
    StillRunning {
        /// The process.
        pid: i32,
        /// How long it was waited for.
        patience: Duration,
    },
}

impl Running {
    /// Starts a program apart from this terminal, its output appended to `log`, and writes its id to
    /// `pid_file`.
    ///
    /// # Errors
    /// Where it cannot be started, or a file cannot be written; then it is not left running.
    pub fn start(command: &mut Command, log: &Path, pid_file: &Path) -> Result<Self, DaemonError> {
        let with = |path: &Path| {
            let path = path.to_owned();
            move |source| DaemonError::File { path, source }
        };
        let output = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(with(log))?;
        let errors = output.try_clone().map_err(with(log))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let started = |source| DaemonError::Start { program, source };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // A group of its own: Ctrl-C at this terminal is not for it.
            .process_group(0)
            .spawn()
            .map_err(started)?;
        let running = i32::try_from(child.id()).ok().and_then(Self::of_pid);
        let written = running.as_ref().map(|running| running.write(pid_file));
        match (running, written) {
            (Some(running), Some(Ok(()))) => Ok(running),
            (_, failed) => {
                // It is ours and a moment old: nothing of its work is lost.
                drop(child.kill());
                drop(child.wait());
                let ended = std::io::Error::other(format!("it ended at once; see {}", log.display()));
                Err(failed.and_then(Result::err).unwrap_or(DaemonError::File {
                    path: log.to_owned(),
                    source: ended,
                }))
            }
        }
    }

    /// The process that has this pid now, if there is one.
    #[must_use]
    pub fn of_pid(pid: i32) -> Option<Self> {
        start_ticks(pid).map(|start_ticks| Self { pid, start_ticks })
    }

    /// What `pid_file` names, if that very process is still alive.
    #[must_use]
    pub fn read(pid_file: &Path) -> Option<Self> {
        let text = std::fs::read(pid_file).ok()?;
        let running: Self = serde_json::from_slice(&text).ok()?;
        running.is_alive().then_some(running)
    }

    /// Writes it down.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, pid_file: &Path) -> Result<(), DaemonError> {
        let text = serde_json::to_vec(self).expect("two numbers");
        std::fs::write(pid_file, text).map_err(|source| DaemonError::File {
            path: pid_file.to_owned(),
            source,
        })
    }

    /// Whether this very process is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// Where it may not be signalled, or does not end in time.
    pub fn end(&self, patience: Duration) -> Result<(), DaemonError> {
        if !self.is_alive() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), Signal::SIGTERM) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(source) => {
                return Err(DaemonError::Signal {
                    pid: self.pid,
                    source,
                });
            }
        }
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return Err(DaemonError::StillRunning {
                    pid: self.pid,
                    patience,
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Field 22 of `/proc/<pid>/stat`; none for a process that does not exist or is a zombie.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold blanks.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_ended_by_its_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let pid_file = dir.path().join("pid");
        let mut command = Command::new("sleep");
        let running =
            Running::start(command.arg("600"), &dir.path().join("log"), &pid_file).expect("a process");
        assert_eq!(Running::read(&pid_file), Some(running.clone()));
        let other = Running {
            start_ticks: running.start_ticks + 1,
            ..running
        };
        assert!(
            !other.is_alive(),
            "another process with this pid was taken for it"
        );
        running.end(Duration::from_secs(60)).expect("it ends");
        assert_eq!(Running::read(&pid_file), None);
    }
}
