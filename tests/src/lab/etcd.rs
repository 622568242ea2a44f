//! The lab's etcd: none, one or three members, over TLS with client certificates.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::LabError;
use super::certificates::{self, Authority, KeyFiles};
use super::node::{Node, create_dir, output};
use super::wait::{WAIT_LONG, poll_until, with_log};

const DAEMON: &str = "etcd";
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// How many members of etcd a lab has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Etcd {
    /// No etcd: for the embedded store.
    None,
    /// One member.
    Single,
    /// Three members, of which one may fail.
    Three,
}

impl Etcd {
    pub(crate) fn members(self) -> u8 {
        match self {
            Etcd::None => 0,
            Etcd::Single => 1,
            Etcd::Three => 3,
        }
    }
}

/// The members of a lab's etcd and the files a client needs.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Node>,
    client: Node,
    certificates: PathBuf,
}

impl EtcdCluster {
    pub(crate) fn new(members: Vec<Node>, client: Node, lab: &Path) -> EtcdCluster {
        EtcdCluster {
            members,
            client,
            certificates: lab.join("etcd-pki"),
        }
    }

    /// Issues the certificates and starts every member; returns when each is healthy.
    pub(crate) fn start(&self) -> Result<(), LabError> {
        if self.members.is_empty() {
            return Ok(());
        }
        create_dir(&self.certificates)?;
        let authority = Authority::create(&self.certificates)?;
        authority.issue("client", None)?;
        for member in &self.members {
            authority.issue(member.name(), Some(member.ip()))?;
        }
        (1..=self.members.len()).try_for_each(|number| self.spawn_member(number))?;
        (1..=self.members.len()).try_for_each(|number| self.wait_member(number))
    }

    /// The members, `etcd1` first.
    pub fn members(&self) -> &[Node] {
        &self.members
    }

    /// The URLs of all members, running or not.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(client_url).collect()
    }

    /// The certificate of the authority that signed all others.
    pub fn ca_file(&self) -> PathBuf {
        certificates::ca_file(&self.certificates)
    }

    /// A client's certificate and key.
    pub fn client_files(&self) -> KeyFiles {
        certificates::key_files(&self.certificates, "client")
    }

    /// Starts a stopped member (counted from 1) on its old data and waits until it is healthy.
    pub fn start_member(&self, number: usize) -> Result<(), LabError> {
        self.spawn_member(number)?;
        self.wait_member(number)
    }

    /// Kills a member (counted from 1) outright; its data stays.
    pub fn stop_member(&self, number: usize) -> Result<(), LabError> {
        self.member(number).kill(DAEMON, Signal::SIGKILL)
    }

    /// Runs etcdctl in the client's network against all members and gives its stdout.
    pub fn etcdctl(&self, arguments: &[&str]) -> Result<String, LabError> {
        let mut command = self.etcdctl_command(&self.endpoints().join(","));
        command.args(arguments);
        eprintln!("lab client$ etcdctl {}", arguments.join(" "));
        output(command)
    }

    fn etcdctl_command(&self, endpoints: &str) -> Command {
        let files = self.client_files();
        let mut command = self.client.network_command("etcdctl");
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(endpoints);
        command.arg("--cacert").arg(self.ca_file());
        command
            .arg("--cert")
            .arg(files.cert_file)
            .arg("--key")
            .arg(files.key_file);
        command
    }

    fn member(&self, number: usize) -> &Node {
        assert!(
            (1..=self.members.len()).contains(&number),
            "the lab has no etcd member {number}"
        );
        &self.members[number - 1]
    }

    fn spawn_member(&self, number: usize) -> Result<(), LabError> {
        let member = self.member(number);
        let own = certificates::key_files(&self.certificates, member.name());
        let cluster: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{}={}", member.name(), peer_url(member)))
            .collect();
        let mut command = Command::new("etcd");
        command.args(["--name", member.name()]);
        command.arg("--data-dir").arg(member.dir().join("data"));
        command.args(["--listen-client-urls", &client_url(member)]);
        command.args(["--advertise-client-urls", &client_url(member)]);
        command.args(["--listen-peer-urls", &peer_url(member)]);
        command.args(["--initial-advertise-peer-urls", &peer_url(member)]);
        command.args(["--initial-cluster", &cluster.join(",")]);
        command.args(["--client-cert-auth", "--peer-client-cert-auth"]);
        for prefix in ["--", "--peer-"] {
            command
                .arg(format!("{prefix}trusted-ca-file"))
                .arg(self.ca_file());
            command.arg(format!("{prefix}cert-file")).arg(&own.cert_file);
            command.arg(format!("{prefix}key-file")).arg(&own.key_file);
        }
        member.spawn_daemon(DAEMON, &command).map(drop)
    }

    fn wait_member(&self, number: usize) -> Result<(), LabError> {
        let member = self.member(number);
        poll_until(format!("a healthy {}", member.name()), WAIT_LONG, || {
            let mut command = self.etcdctl_command(&client_url(member));
            command.args(["endpoint", "health"]);
            command.output().ok()?.status.success().then_some(())
        })
        .map_err(|error| with_log(error, &member.log(DAEMON)))
    }
}

fn client_url(member: &Node) -> String {
    format!("https://{}:{CLIENT_PORT}", member.ip())
}

fn peer_url(member: &Node) -> String {
    format!("https://{}:{PEER_PORT}", member.ip())
}
