//! Brings the machine's own Drover up and down.

use super::daemon::{DaemonError, Running};
use crate::pki::{Authority, PkiError};
use drover_types::{FleetName, HostName, Identity, Role, Sha256Digest};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Where libvirt's system daemon answers.
const LIBVIRT_SOCKET: &str = "/run/libvirt/libvirt-sock";
/// How long libvirtd may take to answer: it probes QEMU first.
const LIBVIRT_START: Duration = Duration::from_secs(60);
/// How long the agent may take to listen.
const LISTENS: Duration = Duration::from_secs(30);
/// How long daemons may take to end.
const END: Duration = Duration::from_secs(30);
/// Certificates of a development machine are renewed by every `up`.
const CERTIFICATE_DAYS: u32 = 90;

/// Why the machine's own Drover could not be brought up or down.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// Not root.
    #[error(
        "a host's agent needs root, for libvirt's system daemon and its guests' disks; run this with sudo"
    )]
    NotRoot,
    /// A directory or file could not be made, read or removed.
    #[error("could not use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The authority or a certificate could not be made.
    #[error("could not make the certificates")]
    Pki(#[from] PkiError),
    /// A daemon could not be started or ended.
    #[error("a daemon could not be handled")]
    Daemon(#[from] DaemonError),
    /// The agent's program is not installed.
    #[error("there is no drover-agent beside {} and none in PATH; build it with `cargo build --release`", .0.display())]
    NoAgent(PathBuf),
    /// libvirt is not installed.
    #[error("{0} is not installed; run scripts/setup")]
    NoLibvirt(&'static str),
    /// libvirtd does not answer.
    #[error("libvirtd does not answer at {LIBVIRT_SOCKET}: {0}")]
    LibvirtSilent(String),
    /// The agent ended, or does not listen.
    #[error("the agent does not answer on port {port}; its log is {}", log.display())]
    AgentSilent {
        /// Where it should listen.
        port: u16,
        /// What it said.
        log: PathBuf,
    },
    /// The fleet's name differs from the one before.
    #[error(
        "this directory already belongs to fleet {0}; bring it down with `drover dev down --purge` first"
    )]
    OtherFleet(FleetName),
    /// Servers of this agent still exist.
    #[error("servers of this machine still exist: {}; destroy them with `drover destroy` first", .0.join(", "))]
    ServersLeft(Vec<String>),
}

/// Who runs libvirt on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LibvirtState {
    /// It ran before, or the machine's service manager runs it.
    Machine,
    /// `drover dev up` started it, and `drover dev down` ends it.
    Ours,
    /// It does not run.
    Absent,
}

/// How the environment is.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The fleet, where there is one.
    pub fleet: Option<FleetName>,
    /// The agent's process, while it runs.
    pub agent_pid: Option<i32>,
    /// Where the agent listens.
    pub address: String,
    /// Where the agent keeps images and servers.
    pub data_dir: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Who runs libvirt.
    pub libvirt: LibvirtState,
}

/// What was chosen when the environment was brought up.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Choices {
    fleet: FleetName,
    port: u16,
}

/// The environment of one directory.
#[derive(Debug, Clone)]
pub struct Environment {
    dot: PathBuf,
    data_dir: PathBuf,
}

impl Environment {
    /// The name of the one host.
    pub const HOST: &'static str = "local";

    /// The environment of `directory`, up or not.
    ///
    /// # Errors
    /// Where the directory does not exist.
    pub fn of(directory: &Path) -> Result<Self, DevError> {
        let real = directory.canonicalize().map_err(|source| DevError::File {
            path: directory.to_owned(),
            source,
        })?;
        let digest = Sha256Digest::of(real.as_os_str().as_encoded_bytes()).hex();
        Ok(Self {
            dot: real.join(".drover"),
            data_dir: PathBuf::from(format!("/var/lib/drover/dev-{}", &digest[..12])),
        })
    }

    fn dev(&self) -> PathBuf {
        self.dot.join("dev")
    }

    fn agent_pid_file(&self) -> PathBuf {
        self.dev().join("agent.pid")
    }

    /// Where the agent keeps images and servers.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The operator's certificate.
    #[must_use]
    pub fn tls_dir(&self) -> PathBuf {
        self.dot.join("tls")
    }

    /// Makes certificates, sees that libvirt runs, and starts the agent where it does not run. What is there
    /// already is kept; certificates are made anew each time.
    ///
    /// # Errors
    /// The first step that failed. What was started before it keeps running; `up` again goes on.
    pub fn up(&self, fleet: &FleetName, port: u16) -> Result<Status, DevError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(DevError::NotRoot);
        }
        if let Some(before) = self.choices().filter(|before| before.fleet != *fleet) {
            return Err(DevError::OtherFleet(before.fleet));
        }
        make_dir(&self.dev(), 0o700)?;
        // QEMU runs as a user of its own: it must be able to pass, and needs to list nothing.
        make_dir(&self.data_dir, 0o711)?;
        let choices = serde_json::to_vec(&Choices {
            fleet: fleet.clone(),
            port,
        })
        .expect("two plain values");
        write(&self.dev().join("dev.json"), &choices)?;
        self.certificates(fleet)?;
        self.libvirt_up()?;
        self.agent_up(fleet, port)?;
        self.status()
    }

    fn certificates(&self, fleet: &FleetName) -> Result<(), DevError> {
        let pki = self.dev().join("pki");
        let authority = match Authority::open(&pki) {
            Ok(authority) => authority,
            Err(PkiError::NoAuthority { .. }) => Authority::create(&pki, fleet)?,
            Err(error) => return Err(error.into()),
        };
        let host: HostName = Self::HOST.parse().expect("a fixed, valid name");
        for (role, name, dir) in [
            (Role::Agent, host, self.dev().join("agent-tls")),
            (
                Role::Admin,
                "dev".parse().expect("a fixed, valid name"),
                self.tls_dir(),
            ),
        ] {
            let identity = Identity {
                fleet: fleet.clone(),
                role,
                name,
            };
            authority
                .issue(&pki, &identity, CERTIFICATE_DAYS)?
                .write_to(&dir)?;
        }
        Ok(())
    }

    fn libvirt_up(&self) -> Result<(), DevError> {
        if libvirt_answers().is_ok() {
            return Ok(());
        }
        if Path::new("/run/systemd/system").exists() {
            // The machine's own service manager knows best how; if it cannot, the wait below says so.
            drop(
                Command::new("systemctl")
                    .args(["start", "libvirtd.service"])
                    .status(),
            );
        } else {
            for (program, pid_file) in [("virtlogd", "virtlogd.pid"), ("libvirtd", "libvirtd.pid")] {
                if already_runs(program) {
                    continue;
                }
                let path = in_path(program).ok_or(DevError::NoLibvirt(program))?;
                let log = self.dev().join(format!("{program}.log"));
                Running::start(&mut Command::new(path), &log, &self.dev().join(pid_file))?;
            }
        }
        let deadline = Instant::now() + LIBVIRT_START;
        loop {
            match libvirt_answers() {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() >= deadline => return Err(DevError::LibvirtSilent(why)),
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn agent_up(&self, fleet: &FleetName, port: u16) -> Result<(), DevError> {
        let config = self.dev().join("agent.hcl");
        let tls = self.dev().join("agent-tls");
        let text = format!(
            "# Written by `drover dev up`.\nhost     = \"{host}\"\nfleet    = \"{fleet}\"\nlisten   = \"127.0.0.1:{port}\"\ndata_dir = \"{data}\"\n\ntls {{\n  ca_file   = \"{tls}/ca.pem\"\n  cert_file = \"{tls}/cert.pem\"\n  key_file  = \"{tls}/key.pem\"\n}}\n\nimages {{\n  file_roots = [\"/\"]\n}}\n",
            host = Self::HOST,
            data = self.data_dir.display(),
            tls = tls.display(),
        );
        write(&config, text.as_bytes())?;
        if Running::read(&self.agent_pid_file()).is_some() {
            return Ok(());
        }
        let exe = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("drover"));
        let beside = exe.with_file_name("drover-agent");
        let agent = if beside.is_file() {
            beside
        } else {
            in_path("drover-agent").ok_or(DevError::NoAgent(exe))?
        };
        let mut command = Command::new(agent);
        command.arg("--config").arg(&config);
        let log = self.dev().join("agent.log");
        let agent = Running::start(&mut command, &log, &self.agent_pid_file())?;
        // Whatever is asked next finds it listening.
        let deadline = Instant::now() + LISTENS;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if !agent.is_alive() || Instant::now() >= deadline {
                return Err(DevError::AgentSilent { port, log });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How it is.
    ///
    /// # Errors
    /// None at present; files that cannot be read count as absent.
    pub fn status(&self) -> Result<Status, DevError> {
        let choices = self.choices();
        let ours = Running::read(&self.dev().join("libvirtd.pid")).is_some();
        let libvirt = match (ours, Path::new(LIBVIRT_SOCKET).exists()) {
            (true, _) => LibvirtState::Ours,
            (false, true) => LibvirtState::Machine,
            (false, false) => LibvirtState::Absent,
        };
        Ok(Status {
            address: format!(
                "127.0.0.1:{}",
                choices
                    .as_ref()
                    .map_or(drover_core::model::Endpoint::DEFAULT_PORT, |c| c.port)
            ),
            fleet: choices.map(|choices| choices.fleet),
            agent_pid: Running::read(&self.agent_pid_file()).map(|running| running.pid),
            data_dir: self.data_dir.clone(),
            log: self.dev().join("agent.log"),
            libvirt,
        })
    }

    /// Ends the agent, and the daemons of libvirt that `up` had started where no guest runs any more; what the
    /// machine's service manager runs stays. With `purge` the images, certificates and the embedded store go too;
    /// refused while servers of this agent exist.
    ///
    /// # Errors
    /// Where a daemon does not end, or something cannot be removed. `down` again goes on.
    pub fn down(&self, purge: bool) -> Result<(), DevError> {
        let servers = self.servers_left()?;
        if purge && !servers.is_empty() {
            return Err(DevError::ServersLeft(servers));
        }
        if let Some(agent) = Running::read(&self.agent_pid_file()) {
            agent.end(END)?;
        }
        remove(&self.agent_pid_file())?;
        if !guests_run() {
            for name in ["libvirtd.pid", "virtlogd.pid"] {
                let pid_file = self.dev().join(name);
                if let Some(daemon) = Running::read(&pid_file) {
                    daemon.end(END)?;
                }
                remove(&pid_file)?;
            }
        }
        if purge {
            for dir in [&self.data_dir, &self.dot] {
                match std::fs::remove_dir_all(dir) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(source) => {
                        return Err(DevError::File {
                            path: dir.clone(),
                            source,
                        });
                    }
                }
            }
            if let Some(all) = self.data_dir.parent() {
                // Others may have theirs there, and then it stays.
                drop(std::fs::remove_dir(all));
            }
        }
        Ok(())
    }

    fn servers_left(&self) -> Result<Vec<String>, DevError> {
        let dir = self.data_dir.join("servers");
        match std::fs::read_dir(&dir) {
            Ok(entries) => Ok(entries
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(DevError::File { path: dir, source }),
        }
    }

    fn choices(&self) -> Option<Choices> {
        serde_json::from_slice(&std::fs::read(self.dev().join("dev.json")).ok()?).ok()
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), DevError> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let failed = |source| DevError::File {
        path: path.to_owned(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

fn write(path: &Path, content: &[u8]) -> Result<(), DevError> {
    std::fs::write(path, content).map_err(|source| DevError::File {
        path: path.to_owned(),
        source,
    })
}

fn remove(path: &Path) -> Result<(), DevError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(DevError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Asks the system daemon for its version.
fn libvirt_answers() -> Result<(), String> {
    if !Path::new(LIBVIRT_SOCKET).exists() {
        return Err("there is no socket".to_owned());
    }
    let output = Command::new("virsh")
        .args(["-c", "qemu:///system", "version"])
        .output()
        .map_err(|error| format!("virsh: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// Whether any guest runs on this machine's libvirt; where that cannot be told, yes.
fn guests_run() -> bool {
    if !Path::new(LIBVIRT_SOCKET).exists() {
        return false;
    }
    let listed = Command::new("virsh")
        .args(["-c", "qemu:///system", "list", "--uuid"])
        .output();
    listed.map_or(true, |output| {
        !output.status.success() || !output.stdout.trim_ascii().is_empty()
    })
}

/// Whether a daemon runs that is not ours, by the pid file that it keeps itself.
fn already_runs(program: &str) -> bool {
    std::fs::read_to_string(format!("/run/{program}.pid"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .and_then(Running::of_pid)
        .is_some_and(|running| {
            std::fs::read_link(format!("/proc/{}/exe", running.pid)).is_ok_and(|exe| exe.ends_with(program))
        })
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}
