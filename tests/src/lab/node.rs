//! A node: one set of namespaces with a name, an address and a directory, and what runs in it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::process::{self, MARK, Process, ProcessRef};
use super::wait::{WAIT_LONG, poll_until};
use super::{LabError, network};

const SCRIPT: &str = include_str!("node.sh");

/// The children that `node.sh` waits for.
const HOLDS: [&str; 2] = ["cat", "sleep infinity"];

/// How much of the machine's file system a node sees as its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Own `/run`, libvirt directories, `/etc/hosts` and no name servers.
    Host,
    /// Own `/etc/hosts` and no name servers.
    Plain,
    /// The machine's own files.
    Network,
}

/// What ends a node by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// The end of the process that started it, however that comes.
    Owner,
    /// Nothing but `drover-lab down`.
    Always,
}

/// A node of a lab that is running or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    lab: String,
    name: String,
    ip: Ipv4Addr,
    directory: PathBuf,
    /// Process 1 of the node's PID namespace: its end is the end of all in it.
    init: ProcessRef,
    /// The inode of the network namespace, to find what runs in it alone.
    network: String,
}

/// The end of a node that its starter holds.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    /// Closing it, also by dying, ends a node of [`Life::Owner`].
    _leash: Option<ChildStdin>,
}

impl Holder {
    /// Waits for the end of a holder whose node was killed.
    pub(crate) fn reap(&mut self) {
        // The only failure is that it was reaped before.
        let _ = self.child.wait();
    }
}

/// What a node is started with.
pub(crate) struct NodeSpec<'a> {
    pub(crate) lab: &'a str,
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
    pub(crate) directory: PathBuf,
    pub(crate) view: View,
    pub(crate) life: Life,
}

impl Node {
    /// Makes the namespaces; the node's directory must hold what its view replaces.
    pub(crate) fn start(spec: NodeSpec<'_>) -> Result<(Node, Holder), LabError> {
        let NodeSpec {
            lab,
            name,
            ip,
            directory,
            view,
            life,
        } = spec;
        for part in ["log", "daemons", "cgroup"] {
            create_dir(&directory.join(part))?;
        }
        let mut command = Command::new("unshare");
        command
            .args([
                "--net",
                "--mount",
                "--uts",
                "--pid",
                "--fork",
                "--kill-child=SIGKILL",
            ])
            .args([
                "--propagation",
                "private",
                "--",
                "/bin/sh",
                "-c",
                SCRIPT,
                "drover-lab-node",
            ])
            .arg(&name)
            .arg(&directory)
            .arg(match view {
                View::Host => "host",
                View::Plain => "plain",
                View::Network => "network",
            })
            .arg(match life {
                Life::Owner => "owner",
                Life::Always => "always",
            })
            .env(MARK, lab)
            .process_group(0)
            .stdin(match life {
                Life::Owner => Stdio::piped(),
                Life::Always => Stdio::null(),
            })
            .stdout(Stdio::piped());
        let log_path = directory.join("log/node.log");
        let log = fs::File::create(&log_path).map_err(LabError::io("create", &log_path))?;
        command.stderr(log);
        let mut child = command.spawn().map_err(|source| spawn_error(&command, source))?;
        let leash = child.stdin.take();
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(LabError::io("read the pipe of", &directory))?;
        let init = line.trim().parse().ok().and_then(ProcessRef::of);
        let network = init.and_then(|init| process::namespace(init.pid, "net"));
        let (Some(init), Some(network)) = (init, network) else {
            drop(leash);
            let _ = child.kill();
            let status = child
                .wait()
                .map_err(LabError::io("wait for the holder of", &directory))?;
            let stderr = fs::read_to_string(&log_path).map_err(LabError::io("read", &log_path))?;
            return Err(LabError::Failed {
                command: format!("unshare (node {name})"),
                status,
                stderr,
            });
        };
        let node = Node {
            lab: lab.to_owned(),
            name,
            ip,
            directory,
            init,
            network,
        };
        Ok((node, Holder { child, _leash: leash }))
    }

    /// The node's name, which is also its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the lab's bridge.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its directory, seen under the same path inside and outside: disks, logs, configuration.
    pub fn dir(&self) -> &Path {
        &self.directory
    }

    /// True while the node's namespaces are held.
    pub fn is_up(&self) -> bool {
        self.init.is_alive()
    }

    pub(crate) fn init(&self) -> ProcessRef {
        self.init
    }

    pub(crate) fn network(&self) -> &str {
        &self.network
    }

    /// A command inside the node: its network, files, host name and process numbers.
    ///
    /// Its child process is `nsenter`, which passes the exit status on but no signal; what must be
    /// killed belongs into [`Node::spawn_daemon`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.enter(&["--mount", "--uts", "--net", "--pid"], program)
    }

    /// A command in the node's network alone, with the caller's files and process numbers; its
    /// child process is the program itself.
    pub fn network_command(&self, program: impl AsRef<OsStr>) -> Command {
        self.enter(&["--net"], program)
    }

    fn enter(&self, namespaces: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("--target")
            .arg(self.init.pid.to_string())
            .args(namespaces)
            .arg("--")
            .arg(program)
            .env(MARK, &self.lab);
        command
    }

    /// Runs `work` on a thread in the node's network, and gives what it returns; threads that it
    /// starts (a runtime's, for example) are in that network too. A panic in it is passed on.
    pub fn inside_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let path = format!("/proc/{}/ns/net", self.init.pid);
        let file = fs::File::open(&path).map_err(LabError::io("open", &path))?;
        let on_thread = || {
            setns(&file, CloneFlags::CLONE_NEWNET)
                .map_err(|error| LabError::io("enter", &path)(std::io::Error::from(error)))?;
            Ok(work())
        };
        std::thread::scope(|scope| scope.spawn(on_thread).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a command inside the node to its end and gives its stdout.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String, LabError> {
        let mut command = self.command(program);
        command.args(arguments);
        eprintln!("lab {}$ {}", self.name, shown_after(&command, "--"));
        output(command)
    }

    /// Starts a command that stays, under a name by which it is killed or waited for later.
    ///
    /// Both its outputs are appended to [`Node::log`]. It belongs to the node, not to the caller:
    /// it ends with the node. Its program, arguments, environment and directory are taken from
    /// `command`; a daemon of that name that still runs is an error of the caller.
    pub fn spawn_daemon(&self, name: &str, command: &Command) -> Result<ProcessRef, LabError> {
        assert!(
            self.daemon(name).is_none_or(|old| !old.is_alive()),
            "{name} runs on {} already",
            self.name
        );
        // Without a fork of its own nsenter stays outside the PID namespace and only this shell's
        // child is inside: it is handed to the node's process 1, and its number is the machine's.
        let script = r#"log=$1 directory=$2; shift 2; cd "$directory"
setsid "$@" </dev/null >>"$log" 2>&1 & echo $!"#;
        let directory = command.get_current_dir().unwrap_or(&self.directory);
        let mut enter = self.enter(&["--mount", "--uts", "--net", "--pid", "--no-fork"], "/bin/sh");
        enter
            .args(["-c", script, "drover-lab-daemon"])
            .arg(self.log(name))
            .arg(directory);
        enter.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => enter.env(key, value),
                None => enter.env_remove(key),
            };
        }
        eprintln!("lab {}& {}", self.name, shown(command));
        let pid = output(enter)?;
        let daemon =
            pid.trim()
                .parse()
                .ok()
                .and_then(ProcessRef::of)
                .ok_or_else(|| LabError::NoSuchDaemon {
                    node: self.name.clone(),
                    daemon: name.to_owned(),
                })?;
        let file = self.daemon_file(name);
        fs::write(&file, format!("{} {}", daemon.pid, daemon.start)).map_err(LabError::io("write", &file))?;
        Ok(daemon)
    }

    /// The daemon last started under this name, running or not.
    pub fn daemon(&self, name: &str) -> Option<ProcessRef> {
        let text = fs::read_to_string(self.daemon_file(name)).ok()?;
        let (pid, start) = text.split_once(' ')?;
        Some(ProcessRef {
            pid: pid.parse().ok()?,
            start: start.parse().ok()?,
        })
    }

    /// The daemons that run, with the names they were started under, sorted.
    pub fn daemons(&self) -> Vec<(String, ProcessRef)> {
        let Ok(entries) = fs::read_dir(self.directory.join("daemons")) else {
            return Vec::new();
        };
        let mut daemons: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| self.daemon(&name).map(|process| (name, process)))
            .filter(|(_, process)| process.is_alive())
            .collect();
        daemons.sort_by(|one, other| one.0.cmp(&other.0));
        daemons
    }

    fn daemon_file(&self, name: &str) -> PathBuf {
        self.directory.join("daemons").join(name)
    }

    /// The log of a daemon.
    pub fn log(&self, daemon: &str) -> PathBuf {
        self.directory.join("log").join(format!("{daemon}.log"))
    }

    /// Sends a signal to a daemon; after SIGKILL returns only when it is gone.
    pub fn kill(&self, daemon: &str, signal: Signal) -> Result<(), LabError> {
        let process = self.daemon(daemon).ok_or_else(|| LabError::NoSuchDaemon {
            node: self.name.clone(),
            daemon: daemon.to_owned(),
        })?;
        eprintln!("lab {}: {signal} to {daemon} ({})", self.name, process.pid);
        process.signal(signal)?;
        if signal == Signal::SIGKILL {
            self.wait_gone(daemon, process)?;
        }
        Ok(())
    }

    /// Asks a daemon to end (SIGTERM) and waits until it has.
    pub fn stop(&self, daemon: &str) -> Result<(), LabError> {
        self.kill(daemon, Signal::SIGTERM)?;
        self.daemon(daemon)
            .map_or(Ok(()), |process| self.wait_gone(daemon, process))
    }

    /// True while the daemon last started under this name runs.
    pub fn runs(&self, daemon: &str) -> bool {
        self.daemon(daemon).is_some_and(ProcessRef::is_alive)
    }

    pub(crate) fn ended(&self, daemon: &str) -> LabError {
        let log =
            fs::read_to_string(self.log(daemon)).unwrap_or_else(|error| format!("(unreadable: {error})"));
        LabError::Ended {
            daemon: daemon.to_owned(),
            node: self.name.clone(),
            log,
        }
    }

    fn wait_gone(&self, daemon: &str, process: ProcessRef) -> Result<(), LabError> {
        let what = format!("the end of {daemon} on {}", self.name);
        poll_until(what, WAIT_LONG, || (!process.is_alive()).then_some(()))
    }

    /// Everything that runs in the node, its process 1 included.
    pub fn processes(&self) -> Vec<Process> {
        match process::namespace(self.init.pid, "pid") {
            Some(name) => process::in_namespace("pid", &name),
            None => Vec::new(),
        }
    }

    /// True for process 1 of the node and what it waits for: their end is the node's.
    pub(crate) fn belongs_to_holder(&self, process: &Process) -> bool {
        process.process == self.init
            || process::parent(process.process.pid) == Some(self.init.pid)
                && HOLDS.contains(&process.command.as_str())
    }

    /// The TCP ports, sorted, that anything listens on in the node, IPv4 and IPv6.
    pub fn listening_tcp_ports(&self) -> Result<Vec<u16>, LabError> {
        network::listening_tcp_ports(self.init.pid)
    }
}

pub(crate) fn create_dir(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path).map_err(LabError::io("create", path))
}

/// Runs a command to its end; its stdout, or an error with its stderr.
pub(crate) fn output(mut command: Command) -> Result<String, LabError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| spawn_error(&command, source))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LabError::Failed {
        command: shown(&command),
        status: output.status,
        stderr: if stderr.is_empty() { stdout } else { stderr },
    })
}

pub(crate) fn spawn_error(command: &Command, source: std::io::Error) -> LabError {
    if source.kind() == std::io::ErrorKind::NotFound {
        return LabError::MissingTool {
            tool: command.get_program().to_string_lossy().into_owned(),
        };
    }
    LabError::Spawn {
        command: shown(command),
        source,
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn shown_after(command: &Command, separator: &str) -> String {
    let words: Vec<_> = command
        .get_args()
        .skip_while(|word| *word != separator)
        .skip(1)
        .collect();
    words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Feeds a command's stdin and runs it to its end.
pub(crate) fn feed(mut command: Command, input: &str) -> Result<(), LabError> {
    use std::io::Write as _;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| spawn_error(&command, source))?;
    let mut pipe = child.stdin.take().expect("stdin was asked to be a pipe");
    let written = pipe.write_all(input.as_bytes());
    drop(pipe);
    let mut stderr = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut stderr)
            .map_err(LabError::io("read the errors of", shown(&command)))?;
    }
    let status = child.wait().map_err(LabError::io("wait for", shown(&command)))?;
    if !status.success() {
        return Err(LabError::Failed {
            command: shown(&command),
            status,
            stderr,
        });
    }
    written.map_err(LabError::io("write to", shown(&command)))
}
