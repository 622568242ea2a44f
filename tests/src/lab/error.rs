//! What can go wrong in the lab, each with the object it happened to.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Why the lab could not do something.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces and libvirtd need root.
    #[error("the lab needs root (it makes namespaces and runs libvirtd): run this as root or with sudo")]
    NotRoot,
    /// A program of the system is missing.
    #[error("{tool} is not installed: run scripts/setup lab")]
    MissingTool {
        /// The program looked for on PATH.
        tool: String,
    },
    /// One of Drover's own programs has not been built.
    #[error("{} does not exist: run make build, or set DROVER_BIN_DIR to where the programs are", .path.display())]
    MissingBinary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program could not be started at all.
    #[error("cannot start `{command}`")]
    Spawn {
        /// The command line.
        command: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to stderr, or to stdout when that was empty.
        stderr: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {after:?}{}", .log.as_deref().map(|log| format!("; the end of its log:\n{log}")).unwrap_or_default())]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// The end of the log that may tell why.
        log: Option<String>,
    },
    /// A lab's own state file cannot be understood.
    #[error("the state file {} is damaged: run drover-lab down --all", .path.display())]
    BadState {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// No lab has this id, or none is running.
    #[error("no lab {id}: drover-lab status lists them, drover-lab up starts one")]
    NoSuchLab {
        /// The id asked for.
        id: String,
    },
    /// Several labs are running and none was named.
    #[error("there are several labs ({}): name one", .ids.join(", "))]
    Ambiguous {
        /// All of them.
        ids: Vec<String>,
    },
    /// The lab's start was interrupted.
    #[error("lab {id} was not brought up completely: run drover-lab down {id}")]
    Incomplete {
        /// The lab.
        id: String,
    },
    /// The lab has no node of this name.
    #[error("lab {lab} has no node {node}: drover-lab status lists them")]
    NoSuchNode {
        /// The lab's id.
        lab: String,
        /// The node asked for.
        node: String,
    },
    /// No daemon of this name was started on the node.
    #[error("no daemon {daemon} was started on {node}")]
    NoSuchDaemon {
        /// The node.
        node: String,
        /// The daemon asked for.
        daemon: String,
    },
    /// A signal could not be sent.
    #[error("cannot send {signal} to process {pid}")]
    Signal {
        /// Which signal.
        signal: nix::sys::signal::Signal,
        /// The process, as the machine numbers it.
        pid: i32,
        /// The system's answer.
        source: nix::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificate of {subject}")]
    Certificate {
        /// Whose.
        subject: String,
        /// The generator's answer.
        source: rcgen::Error,
    },
    /// A daemon ended instead of serving.
    #[error("{daemon} on {node} ended by itself; its log:\n{log}")]
    Ended {
        /// The daemon.
        daemon: String,
        /// The node.
        node: String,
        /// What it wrote.
        log: String,
    },
    /// A capture missed packets.
    #[error("the capture {} is not complete: {summary}", .path.display())]
    CaptureIncomplete {
        /// The capture file.
        path: PathBuf,
        /// What tcpdump counted.
        summary: String,
    },
    /// Processes survived the end of their lab.
    #[error("lab {id} left processes behind: {processes:?}")]
    LeftBehind {
        /// The lab.
        id: String,
        /// Their numbers.
        processes: Vec<i32>,
    },
}

impl LabError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> LabError {
        let path = path.into();
        move |source| LabError::Io { action, path, source }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a string does not fail");
        cause = error.source();
    }
    text
}
