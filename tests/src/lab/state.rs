//! What outlives the process that started a lab: one JSON file that names every part of it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::LabError;
use super::node::Node;
use super::process::ProcessRef;

const ROOT: &str = "/run/drover-lab";

/// Everything needed to use or remove a lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LabState {
    /// Six hexadecimal digits.
    pub(crate) id: String,
    /// The process whose end makes the lab abandoned; none for a lab that stays until `down`.
    pub(crate) owner: Option<ProcessRef>,
    /// Disks, logs and certificates.
    pub(crate) directory: PathBuf,
    /// In the order in which they were started, so that half a lab can be removed too.
    pub(crate) members: Vec<Member>,
}

/// A node and what it is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) role: Role,
    pub(crate) node: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Switch,
    Client,
    Host,
    Etcd,
}

impl LabState {
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.members.iter().map(|member| &member.node)
    }

    pub(crate) fn in_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.members
            .iter()
            .filter(move |member| member.role == role)
            .map(|member| &member.node)
    }

    pub(crate) fn only(&self, role: Role) -> Result<&Node, LabError> {
        self.in_role(role)
            .next()
            .ok_or_else(|| LabError::Incomplete { id: self.id.clone() })
    }

    /// True when nothing can use the lab any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self.owner {
            Some(owner) => !owner.is_alive(),
            None => !self.nodes().any(Node::is_up),
        }
    }

    pub(crate) fn read(id: &str) -> Result<LabState, LabError> {
        let path = file_of(id);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(LabError::NoSuchLab { id: id.to_owned() });
            }
            Err(error) => return Err(LabError::io("read", path)(error)),
        };
        serde_json::from_slice(&text).map_err(|source| LabError::BadState { path, source })
    }

    /// Writes the file whole or not at all.
    pub(crate) fn write(&self) -> Result<(), LabError> {
        let path = file_of(&self.id);
        let directory = directory_of(&self.id);
        fs::create_dir_all(&directory).map_err(LabError::io("create", &directory))?;
        let text = serde_json::to_vec_pretty(self).map_err(|source| LabError::BadState {
            path: path.clone(),
            source,
        })?;
        let partial = path.with_extension("partial");
        fs::write(&partial, text).map_err(LabError::io("write", &partial))?;
        fs::rename(&partial, &path).map_err(LabError::io("replace", &path))
    }
}

pub(crate) fn directory_of(id: &str) -> PathBuf {
    Path::new(ROOT).join(id)
}

fn file_of(id: &str) -> PathBuf {
    directory_of(id).join("state.json")
}

/// The ids that have a state directory, sorted.
pub(crate) fn ids() -> Result<Vec<String>, LabError> {
    let entries = match fs::read_dir(ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LabError::io("list", ROOT)(error)),
    };
    let mut ids: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort();
    Ok(ids)
}

/// Keeps two processes from removing abandoned labs or registering new ones at the same time;
/// released when dropped, also by a crash. The directory itself is locked: no file is left over.
pub(crate) fn lock() -> Result<Flock<fs::File>, LabError> {
    let path = Path::new("/run");
    let directory = fs::File::open(path).map_err(LabError::io("open", path))?;
    Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, error)| LabError::io("lock", path)(std::io::Error::from(error)))
}

/// Removes a lab's state, and the directory of all labs with the last one.
pub(crate) fn forget(id: &str, _lock: &Flock<fs::File>) -> Result<(), LabError> {
    let directory = directory_of(id);
    match fs::remove_dir_all(&directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(LabError::io("remove", directory)(error)),
    }
    // Fails while another lab has its state there, which is what is wanted.
    let _ = fs::remove_dir(ROOT);
    Ok(())
}
