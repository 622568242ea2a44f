//! The agents of a lab: their configuration, their start and their end.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::binaries::binary;
use super::host::Host;
use super::node::create_dir;
use super::pki::{FLEET, TlsFiles};
use super::wait::{WAIT_LONG, poll_until, with_log};
use super::{Lab, LabError};

const DAEMON: &str = "agent";
const PORT: u16 = 7443;
/// The agent's data directory as the host sees it: below what is every host's own.
const DATA: &str = "/var/lib/libvirt/drover";

/// A point at which an agent waits until this is dropped: a test says itself when it has seen enough, and needs no
/// guess of how long that takes.
#[derive(Debug)]
pub struct Hold {
    point: String,
    passes: usize,
    file: PathBuf,
}

impl Hold {
    /// As the agent reads it in its environment.
    fn setting(&self) -> String {
        format!("{}={}={}", self.point, self.passes, self.file.display())
    }

    /// Lets the agent go on.
    pub fn let_go(self) {
        drop(self);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // It is missing only where the lab's directory is, and then the agent is gone, too.
        let _ = fs::remove_file(&self.file);
    }
}

impl Lab {
    /// Issues certificates, writes `agent.hcl` and starts an agent on every host; returns when each
    /// listens. Agents that run already stay.
    pub fn start_agents(&self) -> Result<(), LabError> {
        let pki = self.pki()?;
        for host in self.hosts() {
            host.write_agent_config(&pki.issue("agent", host.name())?)?;
            host.spawn_agent(&[])?;
        }
        self.hosts().iter().try_for_each(Host::wait_agent)
    }
}

impl Host {
    /// Where this host's agent listens.
    pub fn agent_address(&self) -> SocketAddr {
        SocketAddr::from((self.ip(), PORT))
    }

    /// Where this host's agent keeps images, servers and its operation log, as everybody but the
    /// host itself finds it; the agents' own path is the same on all hosts.
    pub fn agent_data(&self) -> PathBuf {
        self.outside(Path::new(DATA))
    }

    /// The agent's configuration file.
    pub fn agent_config(&self) -> PathBuf {
        self.dir().join("agent.hcl")
    }

    /// Writes `agent.hcl` with these credentials. A test may change the file before the agent starts.
    pub fn write_agent_config(&self, tls: &TlsFiles) -> Result<(), LabError> {
        let text = format!(
            r#"host        = "{name}"
fleet       = "{FLEET}"
listen      = "{address}"
data_dir    = "{DATA}"
libvirt_uri = "qemu:///system"
# The lab's machine may list kvm and yet not run a guest under it.
virt_type   = "qemu"

tls {{
{tls}}}

images {{
  file_roots = ["/"]
}}
"#,
            name = self.name(),
            address = self.agent_address(),
            tls = tls.attributes("  "),
        );
        let data = self.agent_data();
        fs::create_dir_all(&data).map_err(LabError::io("create", data))?;
        let path = self.agent_config();
        fs::write(&path, text).map_err(LabError::io("write", &path))
    }

    /// Starts this host's agent on its configuration and waits until it listens.
    pub fn start_agent(&self) -> Result<(), LabError> {
        self.start_agent_with(&[])
    }

    /// Starts this host's agent with more in its environment, for example `FAILPOINTS`.
    pub fn start_agent_with(&self, environment: &[(&str, &str)]) -> Result<(), LabError> {
        self.spawn_agent(environment)?;
        self.wait_agent()
    }

    /// Starts this host's agent so that it waits at these points.
    pub fn start_agent_held(&self, holds: &[&Hold]) -> Result<(), LabError> {
        let holds: Vec<String> = holds.iter().map(|hold| hold.setting()).collect();
        let setting = holds.join(";");
        let environment = if holds.is_empty() {
            None
        } else {
            Some(("HOLDS", setting.as_str()))
        };
        self.start_agent_with(environment.as_slice())
    }

    /// A failpoint at which an agent that is started with it waits until it is let go on, after `passes` have passed.
    pub fn hold(&self, point: &str, passes: usize) -> Result<Hold, LabError> {
        let directory = self.dir().join("holds");
        create_dir(&directory)?;
        let file = directory.join(point);
        fs::write(&file, "").map_err(LabError::io("write", &file))?;
        Ok(Hold {
            point: point.to_owned(),
            passes,
            file,
        })
    }

    fn spawn_agent(&self, environment: &[(&str, &str)]) -> Result<(), LabError> {
        if self.runs(DAEMON) {
            return Ok(());
        }
        let mut command = Command::new(binary("drover-agent")?);
        command.arg("--config").arg(self.agent_config());
        command
            .env("RUST_BACKTRACE", "1")
            .envs(environment.iter().copied());
        self.spawn_daemon(DAEMON, &command).map(drop)
    }

    fn wait_agent(&self) -> Result<(), LabError> {
        poll_until(
            format!("listening of the agent on {}", self.name()),
            WAIT_LONG,
            || {
                // One that has ended will not listen any more: its log is worth reading now.
                (!self.runs(DAEMON)
                    || self
                        .listening_tcp_ports()
                        .is_ok_and(|ports| ports.contains(&PORT)))
                .then(|| self.runs(DAEMON))
            },
        )
        .and_then(|runs| if runs { Ok(()) } else { Err(self.ended(DAEMON)) })
        .map_err(|error| with_log(error, &self.log(DAEMON)))
    }

    /// Kills this host's agent outright; guests go on running.
    pub fn kill_agent(&self) -> Result<(), LabError> {
        self.kill(DAEMON, Signal::SIGKILL)
    }

    /// Asks this host's agent to end (SIGTERM) and waits until it has.
    pub fn stop_agent(&self) -> Result<(), LabError> {
        self.stop(DAEMON)
    }

    /// What this host's agent has written so far.
    pub fn agent_log(&self) -> Result<String, LabError> {
        let path = self.log(DAEMON);
        fs::read_to_string(&path).map_err(LabError::io("read", path))
    }
}
