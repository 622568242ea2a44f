//! Real etcd clusters on loopback, with TLS made for the test. Ended by their process ids, also on a panic.

use drover::store::StoreSettings;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpSocket;

const ETCD: &str = "/usr/bin/etcd";

/// How clients reach the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Plain,
    Tls,
}

/// A running cluster.
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    /// Those of all members, also while one is stopped.
    _ports: Vec<TcpSocket>,
    directory: TempDir,
    wire: Wire,
}

pub(crate) struct Member {
    pub(crate) endpoint: String,
    arguments: Vec<String>,
    log: PathBuf,
    process: Child,
}

impl Cluster {
    pub(crate) fn start(size: usize, wire: Wire) -> Self {
        assert!(
            Path::new(ETCD).exists(),
            "{ETCD} is missing: run scripts/setup, which installs etcd-server"
        );
        let directory = TempDir::with_prefix("drover-etcd-").expect("a temporary directory");
        make_certificates(directory.path());
        let scheme = match wire {
            Wire::Plain => "http",
            Wire::Tls => "https",
        };
        let reserved: Vec<(TcpSocket, u16)> = (0..2 * size).map(|_| reserved_port()).collect();
        let ports: Vec<(u16, u16)> = reserved.chunks(2).map(|pair| (pair[0].1, pair[1].1)).collect();
        let initial: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(index, (_, peer))| format!("m{index}=http://127.0.0.1:{peer}"))
            .collect();
        let members = ports
            .iter()
            .enumerate()
            .map(|(index, (client, peer))| {
                let endpoint = format!("{scheme}://127.0.0.1:{client}");
                let mut arguments: Vec<String> = [
                    ("name", format!("m{index}")),
                    ("data-dir", path_text(&directory.path().join(format!("m{index}")))),
                    ("listen-client-urls", endpoint.clone()),
                    ("advertise-client-urls", endpoint.clone()),
                    ("listen-peer-urls", format!("http://127.0.0.1:{peer}")),
                    ("initial-advertise-peer-urls", format!("http://127.0.0.1:{peer}")),
                    ("initial-cluster", initial.join(",")),
                    ("initial-cluster-token", path_text(directory.path())),
                    ("logger", "zap".to_owned()),
                    ("log-level", "warn".to_owned()),
                ]
                .map(|(option, value)| format!("--{option}={value}"))
                .to_vec();
                if wire == Wire::Tls {
                    arguments.push("--client-cert-auth".to_owned());
                    for (option, file) in [
                        ("trusted-ca-file", "ca.pem"),
                        ("cert-file", "tls.pem"),
                        ("key-file", "tls.key"),
                    ] {
                        arguments.push(format!("--{option}={}", directory.path().join(file).display()));
                    }
                }
                let log = directory.path().join(format!("m{index}.log"));
                Member {
                    endpoint,
                    process: run(&arguments, &log),
                    arguments,
                    log,
                }
            })
            .collect();
        let cluster = Self {
            members,
            _ports: reserved.into_iter().map(|(socket, _)| socket).collect(),
            directory,
            wire,
        };
        cluster.wait_until_healthy();
        cluster
    }

    pub(crate) fn settings(&self) -> StoreSettings {
        let file = |name: &str| (self.wire == Wire::Tls).then(|| self.file(name));
        StoreSettings::Etcd {
            endpoints: self
                .members
                .iter()
                .map(|member| member.endpoint.clone())
                .collect(),
            ca_file: file("ca.pem"),
            cert_file: file("tls.pem"),
            key_file: file("tls.key"),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The version of the etcd installed here.
    pub(crate) fn version(&self) -> String {
        let output = Command::new(ETCD).arg("--version").output().expect("etcd runs");
        let text = String::from_utf8(output.stdout).expect("etcd writes text");
        let line = text.lines().next().expect("a line");
        line.trim_start_matches("etcd Version: ").to_owned()
    }

    /// Runs etcdctl against the first member.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> String {
        let output = self.run_etcdctl(&self.members[0].endpoint, arguments);
        assert!(output.status.success(), "etcdctl {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("etcdctl writes text")
    }

    /// Returns when every member answers and the cluster has a leader.
    pub(crate) fn wait_until_healthy(&self) {
        let deadline = Instant::now() + Duration::from_secs(180);
        let all: Vec<&str> = self
            .members
            .iter()
            .map(|member| member.endpoint.as_str())
            .collect();
        loop {
            let output = self.run_etcdctl(&all.join(","), &["endpoint", "health"]);
            if output.status.success() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "etcd is not healthy: {output:?}\n{}",
                fs::read_to_string(&self.members[0].log).unwrap_or_default()
            );
        }
    }

    fn run_etcdctl(&self, endpoints: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("/usr/bin/etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", endpoints]);
        if self.wire == Wire::Tls {
            for (option, file) in [
                ("--cacert", "ca.pem"),
                ("--cert", "tls.pem"),
                ("--key", "tls.key"),
            ] {
                command.arg(option).arg(self.file(file));
            }
        }
        command
            .args(arguments)
            .output()
            .expect("etcdctl runs: if it is missing, run scripts/setup")
    }
}

impl Member {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).expect("a pid"));
        kill(pid, signal).expect("the member is ours and runs");
    }

    pub(crate) fn stop(&mut self) {
        self.process.kill().expect("the member is ours");
        self.process.wait().expect("the member is ours");
    }

    pub(crate) fn start_again(&mut self) {
        self.process = run(&self.arguments, &self.log);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Either fails only if the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(arguments: &[String], log: &Path) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log file");
    Command::new(ETCD)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("etcd starts")
}

/// A port of loopback, and a socket that keeps it from everybody but a member that listens there.
fn reserved_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("etcd reuses addresses, too");
    socket
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("a port is free");
    let port = socket.local_addr().expect("it is bound").port();
    (socket, port)
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("temporary paths are text").to_owned()
}

/// Two authorities that do not know each other, and a certificate of the first for members and clients.
fn make_certificates(directory: &Path) {
    for (ca_name, leaf_name) in [("ca", "tls"), ("other-ca", "other")] {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca =
            CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let mut leaf =
            CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("names");
        leaf.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let leaf = leaf.signed_by(&key, &ca).expect("a certificate");
        let write = |name: String, text: String| fs::write(directory.join(name), text).expect("a file");
        write(format!("{ca_name}.pem"), ca.pem());
        write(format!("{leaf_name}.pem"), leaf.pem());
        write(format!("{leaf_name}.key"), key.serialize_pem());
    }
}
