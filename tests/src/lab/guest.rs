//! The small guest image in a lab, and a guest run and moved by plain virsh: what Drover is compared
//! with, and what its tests must be able to see when Drover does not hide it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::binaries::source_file;
use super::host::Host;
use super::node::output;
use super::wait::{poll_until, with_log};
use super::{Lab, LabError};

/// Where plain guests' files are, as each host sees it.
const IMAGES: &str = "/var/lib/libvirt/images";

/// A guest that virsh started, unknown to Drover.
#[derive(Debug, Clone)]
pub struct PlainGuest {
    /// The domain's name.
    pub name: String,
    /// The domain's uuid, which the guest prints.
    pub uuid: String,
}

impl Lab {
    /// The guest image (raw, 64 MiB, bootable), made at the first call; see `scripts/guest-image`.
    pub fn guest_image(&self) -> Result<PathBuf, LabError> {
        let path = self.directory().join("images/guest.img");
        if !path.exists() {
            let mut command = Command::new(source_file("scripts/guest-image"));
            command.arg(&path);
            eprintln!("lab $ scripts/guest-image {}", path.display());
            output(command)?;
        }
        Ok(path)
    }

    /// Boots the guest image on a host with qemu-img and virsh alone.
    pub fn start_plain_guest(&self, host: &Host, name: &str) -> Result<PlainGuest, LabError> {
        self.start_plain_guest_as(host, name, &super::start::random_uuid()?)
    }

    /// As [`Lab::start_plain_guest`], with a uuid of the test's choice.
    pub fn start_plain_guest_as(&self, host: &Host, name: &str, uuid: &str) -> Result<PlainGuest, LabError> {
        let guest = PlainGuest {
            name: name.to_owned(),
            uuid: uuid.to_owned(),
        };
        guest.make_disk(host, &self.guest_image()?)?;
        let xml = guest.file("xml");
        std::fs::write(host.outside(&xml), guest.xml()).map_err(LabError::io("write", &xml))?;
        host.virsh(&["create", &xml.display().to_string()])?;
        Ok(guest)
    }

    /// Moves a running plain guest with its disk over plain TCP, and says how long virsh took.
    /// The libvirtd of the host that it moves to is started anew beforehand where it does not listen.
    pub fn migrate_plain_guest(
        &self,
        guest: &PlainGuest,
        from: &Host,
        to: &Host,
    ) -> Result<Duration, LabError> {
        if !to.listening_tcp_ports()?.contains(&LIBVIRT_TCP) {
            to.expose_libvirtd()?;
        }
        guest.make_disk(to, &self.guest_image()?)?;
        let target = format!("qemu+tcp://{}/system", to.ip());
        let begin = Instant::now();
        from.virsh(&[
            "migrate",
            "--live",
            "--p2p",
            "--copy-storage-inc",
            "--migrate-disks",
            "vda",
            "--abort-on-error",
            &guest.name,
            &target,
        ])?;
        Ok(begin.elapsed())
    }
}

const LIBVIRT_TCP: u16 = 16509;

impl PlainGuest {
    /// Its overlay (qcow2) on a host.
    pub fn disk(&self, host: &Host) -> PathBuf {
        host.outside(&self.file("qcow2"))
    }

    /// What it has written on its console while it ran on a host.
    pub fn console(&self, host: &Host) -> PathBuf {
        host.outside(&self.file("console"))
    }

    fn file(&self, kind: &str) -> PathBuf {
        Path::new(IMAGES).join(format!("{}.{kind}", self.name))
    }

    fn make_disk(&self, host: &Host, image: &Path) -> Result<(), LabError> {
        let arguments = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"];
        let (base, disk) = (
            image.display().to_string(),
            self.file("qcow2").display().to_string(),
        );
        host.run(
            "qemu-img",
            arguments.iter().copied().chain([base.as_str(), disk.as_str()]),
        )
        .map(drop)
    }

    /// Waits for the guest's word that it is up, and checks that it is this guest's.
    pub fn wait_ready(&self, host: &Host, within: Duration) -> Result<String, LabError> {
        wait_for_line(
            &self.console(host),
            &format!("drover-guest: ready uuid={}", self.uuid),
            within,
        )
    }

    fn xml(&self) -> String {
        let PlainGuest { name, uuid } = self;
        let (disk, console) = (self.file("qcow2"), self.file("console"));
        let (disk, console) = (disk.display(), console.display());
        format!(
            "<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='file'><source path='{console}'/></serial>
  </devices>
</domain>
"
        )
    }
}

/// Waits for a line in a growing file that holds `text`, and gives the first such line.
pub fn wait_for_line(path: &Path, text: &str, within: Duration) -> Result<String, LabError> {
    poll_until(
        format!("a line with {text:?} in {}", path.display()),
        within,
        || {
            let bytes = std::fs::read(path).ok()?;
            let written = String::from_utf8_lossy(&bytes);
            // The last line may be half written.
            let whole = &written[..=written.rfind('\n')?];
            whole
                .lines()
                .find(|line| line.contains(text))
                .map(|line| line.trim_end().to_owned())
        },
    )
    .map_err(|error| with_log(error, path))
}

/// The last number that the guest has counted to on its console; none before its first line.
pub fn last_count(console: &Path) -> Option<u64> {
    let bytes = std::fs::read(console).ok()?;
    let written = String::from_utf8_lossy(&bytes);
    let whole = &written[..=written.rfind('\n')?];
    whole.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("drover-guest: count=")?;
        rest.split_whitespace().next()?.parse().ok()
    })
}
