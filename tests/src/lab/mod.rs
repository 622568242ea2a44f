//! One lab: its parts, how it is brought up and how it goes away.
//!
//! Every node (the hosts `n1`…, the etcd members `etcd1`…, the `client` and the `switch`) is a set
//! of namespaces of its own, so nothing is added to the machine's own network, mounts or host
//! name, several labs exist at once on equal addresses, and killing a node's holder ends
//! everything in it. The test process stays outside and enters a node for each command.
//!
//! State is under `/run/drover-lab/<id>/`, everything else in one directory under the system's
//! temporary directory. Needs root and the packages of `scripts/setup lab`.

mod agents;
mod binaries;
mod capture;
mod certificates;
mod copies;
mod environment;
mod error;
mod etcd;
mod faults;
mod fleet;
mod guest;
mod host;
mod network;
mod node;
mod panics;
mod pki;
mod process;
mod slots;
mod start;
mod state;
mod teardown;
mod wait;
mod workspace;

pub use agents::Hold;
pub use binaries::binary;
pub use capture::{Capture, Captured};
pub use certificates::KeyFiles;
pub use copies::{Copies, CopyWatch};
pub use error::LabError;
pub use etcd::{Etcd, EtcdCluster};
pub use faults::BROKEN_QEMU;
pub use fleet::Store;
pub use guest::{PlainGuest, last_count, wait_for_line};
pub use host::Host;
pub use node::Node;
pub use pki::{FLEET, Pki, TlsFiles};
pub use process::{Process, ProcessRef};
pub use start::LabBuilder;
pub use teardown::{Removed, hold_removal, remove_abandoned, remove_all};
pub use wait::{WAIT_LONG, poll_until};
pub use workspace::{Finished, Workspace};

use std::path::Path;
use std::process::Command;

use node::Holder;
use slots::Slot;
use state::{LabState, Role};

/// A running lab; dropping the one that started it takes all of it down.
#[derive(Debug)]
pub struct Lab {
    state: LabState,
    client: Node,
    hosts: Vec<Host>,
    etcd: EtcdCluster,
    /// Present only in the process that started the lab and owns its life.
    holders: Vec<Holder>,
    at_drop: AtDrop,
    /// Of the process that started it, so long as it owns its life; the last to go.
    slot: Option<Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtDrop {
    TakeDown,
    Leave,
}

impl Lab {
    /// Begins the description of a lab; one host and no etcd unless told otherwise.
    pub fn builder() -> LabBuilder {
        LabBuilder::new()
    }

    /// Opens the lab `id` that another process has started; dropping it leaves the lab running.
    pub fn attach(id: &str) -> Result<Lab, LabError> {
        Lab::from_state(LabState::read(id)?)
    }

    /// The ids of the labs of this machine, sorted, running or abandoned.
    pub fn ids() -> Result<Vec<String>, LabError> {
        state::ids()
    }

    fn from_state(state: LabState) -> Result<Lab, LabError> {
        let client = state.only(Role::Client)?.clone();
        let hosts = state.in_role(Role::Host).cloned().map(Host::new).collect();
        let members = state.in_role(Role::Etcd).cloned().collect();
        let etcd = EtcdCluster::new(members, client.clone(), &state.directory);
        Ok(Lab {
            state,
            client,
            hosts,
            etcd,
            holders: Vec::new(),
            at_drop: AtDrop::Leave,
            slot: None,
        })
    }

    /// Six hexadecimal digits, different for each lab.
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// The process whose end makes this lab abandoned; none for a detached one.
    pub fn owner(&self) -> Option<u32> {
        self.state.owner.and_then(|owner| u32::try_from(owner.pid).ok())
    }

    /// The lab's own directory: disks, logs, certificates. It is removed with the lab and is seen
    /// under the same path by every node.
    pub fn directory(&self) -> &Path {
        &self.state.directory
    }

    /// The hosts in order: `n1`, `n2`…
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host called `name`.
    ///
    /// # Panics
    /// When the lab has no such host: a mistake in the test itself.
    pub fn host(&self, name: &str) -> &Host {
        self.hosts
            .iter()
            .find(|host| host.name() == name)
            .unwrap_or_else(|| panic!("the lab has {} hosts, none is {name:?}", self.hosts.len()))
    }

    /// The etcd members, possibly none.
    pub fn etcd(&self) -> &EtcdCluster {
        &self.etcd
    }

    /// The node that commands of the operator's side run in.
    pub fn client(&self) -> &Node {
        &self.client
    }

    /// A command that runs in the client's network, in the caller's own directory and file system.
    ///
    /// The process is the program itself (no wrapper in between), so killing the child kills it.
    pub fn client_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.client.network_command(program)
    }

    /// Leaves the lab running when this value is dropped, until `drover-lab down`.
    pub fn keep(&mut self) {
        self.at_drop = AtDrop::Leave;
    }

    /// Takes the lab down now and says what went wrong, which dropping it cannot.
    pub fn down(mut self) -> Result<(), LabError> {
        self.at_drop = AtDrop::Leave;
        self.take_down()
    }

    fn take_down(&mut self) -> Result<(), LabError> {
        let removed = teardown::remove(&self.state);
        for mut holder in self.holders.drain(..) {
            holder.reap();
        }
        removed
    }

    /// Every node: switch, client, hosts, etcd members.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.state.nodes()
    }

    /// The node called `name`, of whatever kind.
    pub fn node(&self, name: &str) -> Result<&Node, LabError> {
        self.state
            .nodes()
            .find(|node| node.name() == name)
            .ok_or_else(|| LabError::NoSuchNode {
                lab: self.state.id.clone(),
                node: name.to_owned(),
            })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        panics::show_again();
        if self.at_drop == AtDrop::TakeDown
            && let Err(error) = self.take_down()
        {
            eprintln!(
                "lab {}: not taken down completely: {}",
                self.state.id,
                error::chain(&error)
            );
        }
    }
}
