//! Processes as the machine numbers them: who is alive, who belongs to a lab, signals.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::LabError;

/// Every process that a lab starts carries this variable with the lab's id, so that what survives
/// a crash outside any PID namespace (a command in the client's network) is still found.
pub(crate) const MARK: &str = "DROVER_LAB_PROCESS";

/// One certain process: its number and its start, so that a number used again is not mistaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// The process's number outside all lab namespaces.
    pub pid: i32,
    /// Its start, in clock ticks since the machine's boot.
    pub start: u64,
}

impl ProcessRef {
    /// The process that has this number now.
    pub fn of(pid: i32) -> Option<ProcessRef> {
        let (_, start) = stat(pid)?;
        Some(ProcessRef { pid, start })
    }

    /// The calling process.
    pub fn own() -> ProcessRef {
        let pid = Pid::this().as_raw();
        ProcessRef::of(pid).expect("a running process has an entry in /proc")
    }

    /// True while the very process runs; a zombie does not.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start && state != 'Z' && state != 'X')
    }

    /// Sends `signal`; a process that is gone already is no error.
    pub fn signal(self, signal: Signal) -> Result<(), LabError> {
        if !self.is_alive() {
            return Ok(());
        }
        match nix::sys::signal::kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
            Err(source) => Err(LabError::Signal {
                signal,
                pid: self.pid,
                source,
            }),
        }
    }
}

/// A process inside a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Which one, by the machine's own numbering.
    pub process: ProcessRef,
    /// Its command line, arguments joined by spaces.
    pub command: String,
}

/// State letter and start time.
fn stat(pid: i32) -> Option<(char, u64)> {
    let fields = stat_fields(pid)?;
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

/// The parent's number.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    stat_fields(pid)?.get(1)?.parse().ok()
}

/// The fields of `/proc/<pid>/stat` after the name, which may hold spaces.
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &text[text.rfind(')')? + 1..];
    Some(after_name.split_whitespace().map(str::to_owned).collect())
}

/// The inode that names a namespace of a process, for example of kind `net` or `pid`.
pub(crate) fn namespace(pid: i32, kind: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
    link.to_str().map(str::to_owned)
}

fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Every process whose namespace of `kind` is `name`, zombies aside.
pub(crate) fn in_namespace(kind: &str, name: &str) -> Vec<Process> {
    let mut found: Vec<Process> = all_pids()
        .into_iter()
        .filter(|pid| namespace(*pid, kind).as_deref() == Some(name))
        .filter_map(describe)
        .collect();
    found.sort_by_key(|process| process.process.pid);
    found
}

/// Every living process that was started by the lab `id`, wherever it is.
pub(crate) fn marked(id: &str) -> Vec<ProcessRef> {
    let mark = format!("{MARK}={id}");
    all_pids()
        .into_iter()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|text| {
                text.split(|byte| *byte == 0)
                    .any(|entry| entry == mark.as_bytes())
            })
        })
        .filter_map(ProcessRef::of)
        .filter(|process| process.is_alive())
        .collect()
}

fn describe(pid: i32) -> Option<Process> {
    let process = ProcessRef::of(pid).filter(|process| process.is_alive())?;
    let raw = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = raw
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| std::ffi::OsStr::from_bytes(part).to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    Some(Process { process, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_alive_and_a_reused_number_is_not() {
        let own = ProcessRef::own();
        assert!(own.is_alive());
        let other = ProcessRef {
            start: own.start + 1,
            ..own
        };
        assert!(!other.is_alive());
        assert!(
            other.signal(Signal::SIGKILL).is_ok(),
            "a process that is gone is no error"
        );
    }

    #[test]
    fn own_process_is_found_in_its_namespace() {
        let pid = std::process::id() as i32;
        let name = namespace(pid, "net").unwrap();
        let found = in_namespace("net", &name);
        assert_eq!(
            found.iter().filter(|process| process.process.pid == pid).count(),
            1
        );
    }
}
