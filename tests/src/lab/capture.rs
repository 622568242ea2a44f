//! What crosses the lab's bridge, written down by tcpdump, and questions about it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::node::{Node, output, spawn_error};
use super::state::Role;
use super::wait::{WAIT_LONG, poll_until, with_log};
use super::{Lab, LabError, network};

/// The kernel's buffer for tcpdump: all that a migration sends fits, should tcpdump not have its turn
/// on a busy machine meanwhile.
const BUFFER_KIB: &str = "262144";

/// A capture that is running.
#[derive(Debug)]
pub struct Capture {
    switch: Node,
    client: Node,
    daemon: String,
    path: PathBuf,
}

/// A finished capture.
#[derive(Debug)]
pub struct Captured {
    path: PathBuf,
}

impl Lab {
    /// Writes every packet between nodes into `<lab>/captures/<name>.pcap` from now on.
    pub fn capture(&self, name: &str) -> Result<Capture, LabError> {
        let switch = self.state.only(Role::Switch)?.clone();
        let directory = self.directory().join("captures");
        super::node::create_dir(&directory)?;
        let path = directory.join(format!("{name}.pcap"));
        let daemon = format!("tcpdump-{name}");
        let mut command = Command::new("tcpdump");
        // Whole packets, each in the file once it was read, and by root: tcpdump's own user may not
        // write there. Not in immediate mode: it would cut the buffer into slots of the largest packet
        // that may be, so few that a burst fills them (libpcap's TPACKET_V2).
        command.args(["-i", network::BRIDGE, "-n", "-s", "0", "-B", BUFFER_KIB]);
        command.args(["-U", "-Z", "root", "-w"]).arg(&path);
        switch.spawn_daemon(&daemon, &command)?;
        let log = switch.log(&daemon);
        poll_until("tcpdump listening", WAIT_LONG, || {
            std::fs::read_to_string(&log)
                .ok()?
                .contains("listening on")
                .then_some(())
        })
        .map_err(|error| with_log(error, &log))?;
        Ok(Capture {
            switch,
            client: self.client().clone(),
            daemon,
            path,
        })
    }
}

impl Capture {
    /// Stops tcpdump where it is, as a busy machine may: packets wait in the kernel's buffer.
    pub fn pause(&self) -> Result<(), LabError> {
        self.switch.kill(&self.daemon, Signal::SIGSTOP)
    }

    /// Lets a paused tcpdump go on.
    pub fn resume(&self) -> Result<(), LabError> {
        self.switch.kill(&self.daemon, Signal::SIGCONT)
    }

    /// Ends the capture when it holds everything sent until now; an error when a packet was missed,
    /// since then the absence of a text would prove nothing.
    pub fn finish(self) -> Result<Captured, LabError> {
        let log = self.switch.log(&self.daemon);
        let captured = Captured { path: self.path };
        // tcpdump sees packets in the order of the bridge, so this one comes after all others.
        let mark = format!("end-of-{}", self.daemon);
        let mut last = self.client.network_command("bash");
        let script = format!("echo {mark} >/dev/udp/{}/9", network::SWITCH_IP);
        last.args(["-c", &script]);
        output(last)?;
        poll_until(
            format!("the last packet in {}", captured.path.display()),
            WAIT_LONG,
            || captured.contains(&mark).ok()?.then_some(()),
        )
        .map_err(|error| with_log(error, &log))?;
        self.switch.kill(&self.daemon, Signal::SIGINT)?;
        let text = poll_until("the summary of tcpdump", WAIT_LONG, || {
            std::fs::read_to_string(&log)
                .ok()
                .filter(|text| text.contains("dropped by kernel"))
        })
        .map_err(|error| with_log(error, &log))?;
        if text.lines().any(|line| line == "0 packets dropped by kernel") {
            return Ok(captured);
        }
        Err(LabError::CaptureIncomplete {
            path: captured.path,
            summary: text.trim().to_owned(),
        })
    }
}

impl Captured {
    /// The capture file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True when `text` stands in one packet. Text that crosses from one packet into the next is
    /// missed, so look for something that was sent many times.
    pub fn contains(&self, text: &str) -> Result<bool, LabError> {
        let mut command = Command::new("grep");
        command
            .args(["--text", "--quiet", "--fixed-strings", "--regexp", text])
            .arg(&self.path);
        command.stdin(Stdio::null()).env("LC_ALL", "C");
        let done = command.output().map_err(|source| spawn_error(&command, source))?;
        match done.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(LabError::Failed {
                command: format!("grep {}", self.path.display()),
                status: done.status,
                stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
            }),
        }
    }

    /// How many packets match a tcpdump filter, for example `tcp and host 10.77.0.11`.
    pub fn packets(&self, filter: &str) -> Result<usize, LabError> {
        let mut command = Command::new("tcpdump");
        command
            .args(["-n", "-q", "-Z", "root", "-r"])
            .arg(&self.path)
            .arg(filter);
        output(command).map(|lines| lines.lines().count())
    }
}
