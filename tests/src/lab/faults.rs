//! What can happen to a host beyond a killed process or a cut wire: a QEMU that does not start, and
//! a machine that loses power.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use super::LabError;
use super::host::Host;
use super::node::create_dir;
use super::wait::{WAIT_LONG, poll_until};

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// What a broken QEMU says, to be found in an error that should carry it.
pub const BROKEN_QEMU: &str = "drover-lab: this qemu is broken";

/// libvirt names a guest when it starts one, and nothing when it only asks. It hands the socket of the monitor over:
/// where nobody holds it any more when libvirt connects, libvirt tells of that and not of what was said. A second socket of
/// that path is libvirt's connection.
const BROKEN_SCRIPT: &str = r#"case "$*" in *'-name guest='*) ;; *) exec "$real" "$@" ;; esac
echo "$broken" >&2
fd=$(printf '%s' "$*" | sed -n 's/.*id=charmonitor,fd=\([0-9]*\).*/\1/p')
inode=$(readlink "/proc/$$/fd/$fd" | tr -cd '0-9')
path=$(awk -v inode="$inode" '$7 == inode { print $8 }' /proc/net/unix)
left=600
while [ $left -gt 0 ] && [ "$(awk -v path="$path" '$8 == path' /proc/net/unix | wc -l)" -lt 2 ]; do
  sleep 0.1
  left=$((left - 1))
done
exit 1
"#;

impl Host {
    /// From now on every guest of this host fails to start; libvirt's own questions to QEMU are
    /// answered as before, and guests that run go on.
    pub fn break_qemu(&self) -> Result<(), LabError> {
        let real = self.dir().join("qemu-real");
        let broken = self.dir().join("qemu-broken");
        fs::write(&real, "").map_err(LabError::io("write", &real))?;
        let script = format!(
            "#!/bin/sh\nbroken='{BROKEN_QEMU}'\nreal='{}'\n{BROKEN_SCRIPT}",
            real.display()
        );
        fs::write(&broken, script).map_err(LabError::io("write", &broken))?;
        fs::set_permissions(&broken, fs::Permissions::from_mode(0o755))
            .map_err(LabError::io("make executable", &broken))?;
        self.run("mount", ["--bind".as_ref(), QEMU.as_ref(), real.as_os_str()])?;
        self.run("mount", ["--bind".as_ref(), broken.as_os_str(), QEMU.as_ref()])
            .map(drop)
    }

    /// Undoes [`Host::break_qemu`].
    pub fn mend_qemu(&self) -> Result<(), LabError> {
        self.run(
            "umount",
            [QEMU.as_ref(), self.dir().join("qemu-real").as_os_str()],
        )
        .map(drop)
    }

    /// The host loses power: everything in it is killed at once, guests too, and what a machine
    /// forgets (`/run`) is forgotten. Disks stay. [`Host::start_libvirtd`] and
    /// [`Host::start_agent`] are its next boot.
    pub fn lose_power(&self) -> Result<(), LabError> {
        eprintln!("lab {}: power lost", self.name());
        poll_until(
            format!("the end of everything on {}", self.name()),
            WAIT_LONG,
            || {
                let mut processes = self.processes();
                processes.retain(|process| !self.belongs_to_holder(process));
                // What cannot be killed shows as the timeout of this wait.
                processes
                    .iter()
                    .for_each(|process| drop(process.process.signal(Signal::SIGKILL)));
                processes.is_empty().then_some(())
            },
        )?;
        let run = self.dir().join("root/run");
        // The directory itself is what the host's /run is bound to.
        for entry in fs::read_dir(&run).map_err(LabError::io("list", &run))?.flatten() {
            let path = entry.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(LabError::io("remove", &path))?;
        }
        create_dir(&run.join("lock"))
    }
}
