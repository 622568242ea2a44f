//! Removing a lab, one's own or one that a crashed process left: processes, files, state.
//!
//! Namespaces, mounts, bridges and cables need no removing: they end with the last process in them.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;

use super::process::{self, ProcessRef};
use super::state::{self, LabState};
use super::wait::{WAIT_LONG, poll_until};
use super::{LabError, Node};

/// A lab that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The id it had.
    pub id: String,
}

/// Keeps everybody from removing labs, and from beginning new ones, until what is returned is dropped.
pub fn hold_removal() -> Result<impl Sized, LabError> {
    state::lock()
}

/// Removes every lab whose owner is gone.
pub fn remove_abandoned() -> Result<Vec<Removed>, LabError> {
    remove_where(|state| state.is_ok_and(LabState::is_abandoned))
}

/// Removes every lab of this machine, also those in use and those whose state cannot be read.
pub fn remove_all() -> Result<Vec<Removed>, LabError> {
    remove_where(|_| true)
}

fn remove_where(chosen: impl Fn(Result<&LabState, &LabError>) -> bool) -> Result<Vec<Removed>, LabError> {
    let lock = state::lock()?;
    let mut removed = Vec::new();
    for id in state::ids()? {
        let state = LabState::read(&id);
        if !chosen(state.as_ref()) {
            continue;
        }
        match state {
            Ok(state) => end(&state)?,
            Err(_) => end_unreadable(&id)?,
        }
        state::forget(&id, &lock)?;
        removed.push(Removed { id });
    }
    Ok(removed)
}

/// Removes one lab; one that is gone already is no error.
pub(crate) fn remove(state: &LabState) -> Result<(), LabError> {
    end(state)?;
    state::forget(&state.id, &state::lock()?)
}

/// Ends everything in a lab and deletes its files.
fn end(state: &LabState) -> Result<(), LabError> {
    // Found while the namespaces are certainly this lab's: their numbers are used again.
    let mut outside = BTreeMap::new();
    for node in state.nodes().filter(|node| node.is_up()) {
        for found in process::in_namespace("net", node.network()) {
            outside.insert(found.process.pid, found.process);
        }
    }
    // The end of process 1 ends all of its PID namespace, and is not seen before that is done.
    state
        .nodes()
        .map(Node::init)
        .try_for_each(|init| init.signal(Signal::SIGKILL))?;
    outside
        .values()
        .filter(|process| is_other(**process))
        .try_for_each(|process| process.signal(Signal::SIGKILL))?;
    end_marked(&state.id)?;
    poll_until(format!("the end of lab {}", state.id), WAIT_LONG, || {
        state.nodes().all(|node| !node.is_up()).then_some(())
    })?;
    match fs::remove_dir_all(&state.directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LabError::io("remove", &state.directory)(error)),
    }
}

fn end_unreadable(id: &str) -> Result<(), LabError> {
    end_marked(id)?;
    let directory = std::env::temp_dir().join(format!("drover-lab-{id}"));
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(LabError::io("remove", &directory))?;
    }
    Ok(())
}

/// Kills what carries the lab's mark until nothing does: a process may be forking just now.
fn end_marked(id: &str) -> Result<(), LabError> {
    let others = || -> Vec<ProcessRef> {
        process::marked(id)
            .into_iter()
            .filter(|process| is_other(*process))
            .collect()
    };
    poll_until(format!("the end of the processes of lab {id}"), WAIT_LONG, || {
        let left = others();
        // What cannot be killed is reported below, when it is still there.
        left.iter()
            .for_each(|process| drop(process.signal(Signal::SIGKILL)));
        left.is_empty().then_some(())
    })
    .map_err(|_| LabError::LeftBehind {
        id: id.to_owned(),
        processes: others().iter().map(|process| process.pid).collect(),
    })
}

/// A shell that was entered by `drover-lab exec` may be what takes the lab down.
fn is_other(process: ProcessRef) -> bool {
    process != ProcessRef::own()
}
