//! A host: a node with its own libvirtd, virtlogd and disks, as a machine of its own would have.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::Signal;

use super::LabError;
use super::node::{Node, create_dir};
use super::wait::{WAIT_LONG, poll_until, with_log};

const LIBVIRTD: &str = "libvirtd";
const VIRTLOGD: &str = "virtlogd";

/// What a host has in the directories of the machine that it replaces by its own (see `node.sh`).
const OWN: [&str; 5] = [
    "run/lock",
    "var/lib/libvirt/images",
    "var/cache/libvirt/qemu",
    "var/log/libvirt",
    "etc/libvirt",
];

/// The directories that a host replaces by its own.
const REPLACED: [&str; 5] = [
    "/run",
    "/var/lib/libvirt",
    "/var/cache/libvirt",
    "/var/log/libvirt",
    "/etc/libvirt",
];

/// No user separation, control groups or security labels: several libvirt daemons share them here.
const QEMU_CONF: &str = r#"user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
"#;

/// Where libvirtd can be reached beside its socket; its configuration file allows TCP, but only
/// `--listen` opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    Nowhere,
    Tcp,
}

/// One libvirt host of the lab; everything a [`Node`] can do, it can.
#[derive(Debug, Clone)]
pub struct Host {
    node: Node,
}

impl Deref for Host {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Host {
    pub(crate) fn new(node: Node) -> Host {
        Host { node }
    }

    /// Writes what the host's node replaces, before the node starts.
    pub(crate) fn prepare(directory: &Path, uuid: &str) -> Result<(), LabError> {
        let root = directory.join("root");
        for part in OWN {
            create_dir(&root.join(part))?;
        }
        write(&root.join("etc/libvirt/qemu.conf"), QEMU_CONF)?;
        // libvirt refuses to migrate between hosts of equal uuid, and takes it from the machine.
        let libvirtd = format!(
            "host_uuid = \"{uuid}\"\nauth_unix_rw = \"none\"\nunix_sock_group = \"root\"\nlisten_tls = 0\nlisten_tcp = 1\nauth_tcp = \"none\"\nlog_outputs = \"3:stderr\"\n"
        );
        write(&root.join("etc/libvirt/libvirtd.conf"), &libvirtd)?;
        copy_capabilities(
            &capabilities_cache(),
            &root.join("var/cache/libvirt/qemu/capabilities"),
        )
    }

    /// Where a file that the host itself calls `inside` (in a domain's XML, for example) is for
    /// everybody else. Every host has a `/run`, `/etc/libvirt` and `/var/lib/libvirt` of its own, so
    /// equal paths on two hosts are two files; all other paths are the machine's.
    pub fn outside(&self, inside: &Path) -> PathBuf {
        let own = REPLACED.iter().any(|replaced| inside.starts_with(replaced));
        match inside.strip_prefix("/") {
            Ok(relative) if own => self.dir().join("root").join(relative),
            Ok(_) | Err(_) => inside.to_owned(),
        }
    }

    /// libvirt's socket as the test process reaches it from outside.
    pub fn libvirt_socket(&self) -> PathBuf {
        self.outside(Path::new("/run/libvirt/libvirt-sock"))
    }

    /// Runs virsh on this host's libvirt and gives its stdout.
    pub fn virsh(&self, arguments: &[&str]) -> Result<String, LabError> {
        let connection = ["--connect", "qemu:///system", "--quiet"];
        self.run("virsh", connection.iter().chain(arguments))
    }

    /// Starts virtlogd and libvirtd and returns when libvirtd answers; what runs already stays.
    pub fn start_libvirtd(&self) -> Result<(), LabError> {
        self.spawn_libvirtd(Listening::Nowhere)?;
        self.wait_libvirtd()
    }

    /// The first half of [`Host::start_libvirtd`]: hosts can be started side by side.
    pub(crate) fn spawn_libvirtd(&self, listening: Listening) -> Result<(), LabError> {
        if !self.runs(VIRTLOGD) {
            self.spawn_daemon(VIRTLOGD, &Command::new("/usr/sbin/virtlogd"))?;
        }
        if !self.runs(LIBVIRTD) {
            // A killed libvirtd leaves its socket behind, which would look like an answer below.
            match fs::remove_file(self.libvirt_socket()) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(LabError::io("remove", self.libvirt_socket())(error)),
            }
            let mut command = Command::new("/usr/sbin/libvirtd");
            if listening == Listening::Tcp {
                command.arg("--listen");
            }
            self.spawn_daemon(LIBVIRTD, &command)?;
        }
        Ok(())
    }

    /// Starts libvirtd anew so that other hosts reach it over plain TCP, unencrypted and without
    /// asking who calls: what a migration by virsh alone needs, and Drover never.
    pub fn expose_libvirtd(&self) -> Result<(), LabError> {
        self.kill_libvirtd()?;
        self.spawn_libvirtd(Listening::Tcp)?;
        self.wait_libvirtd()
    }

    pub(crate) fn wait_libvirtd(&self) -> Result<(), LabError> {
        let what = format!("an answer of libvirtd on {}", self.name());
        let socket = self.libvirt_socket();
        poll_until(what, WAIT_LONG, || {
            if !socket.exists() {
                return None;
            }
            // Connecting waits inside libvirt until it has looked at QEMU.
            let mut virsh = self.command("virsh");
            virsh.args(["--connect", "qemu:///system", "--quiet", "list", "--all"]);
            virsh.output().ok()?.status.success().then_some(())
        })
        .map_err(|error| with_log(error, &self.log(LIBVIRTD)))?;
        copy_capabilities(
            &self.dir().join("root/var/cache/libvirt/qemu/capabilities"),
            &capabilities_cache(),
        )
    }

    /// Kills libvirtd outright; guests and virtlogd go on running.
    pub fn kill_libvirtd(&self) -> Result<(), LabError> {
        self.kill(LIBVIRTD, Signal::SIGKILL)
    }
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::io("write", path))
}

/// Copies that this process has made, for their names.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// What libvirt found out about QEMU, kept between labs: asking takes seconds, and libvirt itself
/// throws the answer away when QEMU or libvirt have changed since.
fn capabilities_cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache");
    cache.unwrap_or_else(home).join("drover/lab/qemu-capabilities")
}

fn copy_capabilities(from: &Path, to: &Path) -> Result<(), LabError> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(LabError::io("list", from)(error)),
    };
    create_dir(to)?;
    for entry in entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "xml"))
    {
        let target = to.join(entry.file_name());
        let text = fs::read(entry.path()).map_err(LabError::io("read", entry.path()))?;
        // Read and written by other labs at any moment, so replaced whole.
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let partial = target.with_extension(format!("partial-{}-{number}", std::process::id()));
        fs::write(&partial, text).map_err(LabError::io("write", &partial))?;
        fs::rename(&partial, &target).map_err(LabError::io("replace", &target))?;
    }
    Ok(())
}
