//! Bringing a lab up: checks, namespaces, wires, libvirt daemons, etcd.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::host::{Host, Listening};
use super::node::{Holder, Life, Node, NodeSpec, View, create_dir};
use super::process::ProcessRef;
use super::slots::Slot;
use super::state::{LabState, Member, Role};
use super::{AtDrop, Etcd, Lab, LabError, error, network, panics, state, teardown};

/// Addresses leave room for this many; two cores do not.
const MAX_HOSTS: u8 = 50;

const TOOLS: [&str; 11] = [
    "unshare", "nsenter", "setsid", "ip", "iptables", "tcpdump", "mount", "virsh", "libvirtd", "virtlogd",
    "qemu-img",
];

/// A lab that is being described.
#[derive(Debug, Clone, Copy)]
pub struct LabBuilder {
    hosts: u8,
    etcd: Etcd,
    life: Life,
}

impl LabBuilder {
    pub(crate) fn new() -> LabBuilder {
        LabBuilder {
            hosts: 1,
            etcd: Etcd::None,
            life: Life::Owner,
        }
    }

    /// How many hosts, `n1` to at most `n50`.
    pub fn hosts(mut self, hosts: u8) -> LabBuilder {
        assert!(
            (1..=MAX_HOSTS).contains(&hosts),
            "a lab has 1 to {MAX_HOSTS} hosts, not {hosts}"
        );
        self.hosts = hosts;
        self
    }

    /// How many etcd members.
    pub fn etcd(mut self, etcd: Etcd) -> LabBuilder {
        self.etcd = etcd;
        self
    }

    /// A lab that outlives this process and its value, until `drover-lab down`.
    pub fn detached(mut self) -> LabBuilder {
        self.life = Life::Always;
        self
    }

    /// Waits for its turn, removes abandoned labs, then brings this one up; returns when every libvirtd and every
    /// etcd member answers. On an error nothing of it is left.
    pub fn start(self) -> Result<Lab, LabError> {
        panics::remember();
        let slot = match self.life {
            Life::Owner => Some(Slot::wait()),
            Life::Always => None,
        };
        check_machine(self.etcd)?;
        for removed in teardown::remove_abandoned()? {
            eprintln!("lab: removed the abandoned lab {}", removed.id);
        }
        let id = random_uuid()?[..6].to_owned();
        let mut state = LabState {
            directory: std::env::temp_dir().join(format!("drover-lab-{id}")),
            id,
            // Also of one that stays: until it is up it has no node by which others see that it is used.
            owner: Some(ProcessRef::own()),
            members: Vec::new(),
        };
        let mut holders = Vec::new();
        match self.bring_up(&mut state, &mut holders) {
            Ok(mut lab) => {
                if let Life::Always = self.life {
                    lab.state.owner = None;
                    lab.state.write()?;
                }
                lab.holders = holders;
                lab.slot = slot;
                lab.at_drop = match self.life {
                    Life::Owner => AtDrop::TakeDown,
                    Life::Always => AtDrop::Leave,
                };
                Ok(lab)
            }
            Err(failure) => {
                if let Err(error) = teardown::remove(&state) {
                    eprintln!(
                        "lab {}: not taken down completely: {}",
                        state.id,
                        error::chain(&error)
                    );
                }
                holders.iter_mut().for_each(Holder::reap);
                Err(failure)
            }
        }
    }

    fn bring_up(&self, state: &mut LabState, holders: &mut Vec<Holder>) -> Result<Lab, LabError> {
        {
            // The end of the last other lab removes the directory that this one's state goes into.
            let _lock = state::lock()?;
            create_dir(&state.directory)?;
            state.write()?;
        }
        eprintln!(
            "lab {}: {} hosts, etcd {:?}, in {}",
            state.id,
            self.hosts,
            self.etcd,
            state.directory.display()
        );
        let hosts: Vec<(String, Ipv4Addr)> = (1..=self.hosts)
            .map(|number| (format!("n{number}"), network::host_ip(number)))
            .collect();
        let etcd: Vec<(String, Ipv4Addr)> = (1..=self.etcd.members())
            .map(|number| (format!("etcd{number}"), network::etcd_ip(number)))
            .collect();
        let client = ("client".to_owned(), network::CLIENT_IP);
        let everybody: Vec<_> = hosts.iter().chain(&etcd).chain([&client]).cloned().collect();
        let hosts_file = network::hosts_file(&everybody);

        let switch = [("switch".to_owned(), network::SWITCH_IP)];
        let plan = [
            (Role::Switch, switch.as_slice()),
            (Role::Client, std::slice::from_ref(&client)),
            (Role::Host, &hosts),
            (Role::Etcd, &etcd),
        ];
        for (role, nodes) in plan {
            for (name, ip) in nodes {
                let directory = state.directory.join(name);
                prepare(&directory, role, &hosts_file)?;
                let (lab, name) = (state.id.clone(), name.clone());
                let view = match role {
                    Role::Switch | Role::Client => View::Network,
                    Role::Host => View::Host,
                    Role::Etcd => View::Plain,
                };
                let spec = NodeSpec {
                    lab: &lab,
                    name,
                    ip: *ip,
                    directory,
                    view,
                    life: self.life,
                };
                let (node, holder) = Node::start(spec)?;
                holders.push(holder);
                state.members.push(Member { role, node });
                state.write()?;
            }
        }
        let switch = state.only(Role::Switch)?;
        network::connect(switch, state.nodes().filter(|node| *node != switch))?;

        let lab = Lab::from_state(state.clone())?;
        lab.hosts
            .iter()
            .try_for_each(|host| host.spawn_libvirtd(Listening::Nowhere))?;
        lab.etcd.start()?;
        lab.hosts.iter().try_for_each(Host::wait_libvirtd)?;
        Ok(lab)
    }
}

fn prepare(directory: &Path, role: Role, hosts_file: &str) -> Result<(), LabError> {
    let etc = directory.join("root/etc");
    create_dir(&etc)?;
    for (name, text) in [("hosts", hosts_file), ("resolv.conf", "")] {
        let path = etc.join(name);
        fs::write(&path, text).map_err(LabError::io("write", &path))?;
    }
    match role {
        Role::Host => Host::prepare(directory, &random_uuid()?),
        Role::Switch | Role::Client | Role::Etcd => Ok(()),
    }
}

fn check_machine(etcd: Etcd) -> Result<(), LabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    let for_etcd: &[&str] = match etcd {
        Etcd::None => &[],
        Etcd::Single | Etcd::Three => &["etcd", "etcdctl"],
    };
    for tool in TOOLS.iter().chain(for_etcd) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // What systems keep for root is not on every caller's PATH.
        let mut places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
        if !places.any(|place| place.join(tool).is_file()) {
            return Err(LabError::MissingTool {
                tool: (*tool).to_owned(),
            });
        }
    }
    Ok(())
}

/// A random uuid from the kernel.
pub(crate) fn random_uuid() -> Result<String, LabError> {
    const PATH: &str = "/proc/sys/kernel/random/uuid";
    Ok(fs::read_to_string(PATH)
        .map_err(LabError::io("read", PATH))?
        .trim()
        .to_owned())
}
