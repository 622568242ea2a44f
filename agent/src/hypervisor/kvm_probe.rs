//! Whether hardware virtualisation really works here. `/dev/kvm` alone proves nothing: under some hypervisors
//! it opens, and the guest then dies between firmware and boot sector. So a guest is run that lives for
//! milliseconds: QEMU itself, without libvirt, without network, with nothing on the disk but a boot sector that
//! enters protected mode, returns through `iret` and writes a line to QEMU's debug port.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// Firmware and boot sector take less than a second with KVM.
const LIMIT: Duration = Duration::from_secs(10);

/// SeaBIOS ignores a smaller disk.
const DISK_BYTES: usize = 1 << 20;

const SAID: &[u8] = b"drover: left the firmware\n";

/// The boot sector, loaded at 0x7c00:
///
/// ```text
/// .code16        cli; cld; xorw %ax,%ax; movw %ax,%ds; lgdtl gdtr
///                movl %cr0,%eax; orb $1,%al; movl %eax,%cr0; ljmpl $8,$protected
/// .code32
/// protected:     movw $16,%ax; movw %ax,%ds; movw %ax,%es; movw %ax,%ss; movl $0x7000,%esp
///                pushfl; pushl $8; pushl $after; iretl
/// after:         movl $text,%esi; movl $27,%ecx; movw $0x402,%dx; rep outsb
/// stop:          hlt; jmp stop
/// text:          .ascii "\ndrover: left the firmware\n"
/// gdt:           null, flat code, flat data
/// gdtr:          .word 23; .long gdt
/// ```
const BOOT_SECTOR: &[u8] = &[
    0xfa, 0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0x66, 0x0f, 0x01, 0x16, 0x80, 0x7c, 0x0f, 0x20, 0xc0, 0x0c, 0x01,
    0x0f, 0x22, 0xc0, 0x66, 0xea, 0x1c, 0x7c, 0x00, 0x00, 0x08, 0x00, 0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8,
    0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x70, 0x00, 0x00, 0x9c, 0x6a, 0x08, 0x68, 0x34, 0x7c, 0x00, 0x00,
    0xcf, 0xbe, 0x47, 0x7c, 0x00, 0x00, 0xb9, 0x1b, 0x00, 0x00, 0x00, 0x66, 0xba, 0x02, 0x04, 0xf3, 0x6e,
    0xf4, 0xeb, 0xfd, 0x0a, 0x64, 0x72, 0x6f, 0x76, 0x65, 0x72, 0x3a, 0x20, 0x6c, 0x65, 0x66, 0x74, 0x20,
    0x74, 0x68, 0x65, 0x20, 0x66, 0x69, 0x72, 0x6d, 0x77, 0x61, 0x72, 0x65, 0x0a, 0x8d, 0xb6, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xcf,
    0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x93, 0xcf, 0x00, 0x17, 0x00, 0x68, 0x7c,
];

/// Why the probe itself could not be made; its answer is then unknown.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The disk of the throw-away guest.
    #[error("could not write the probe's disk {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The emulator does not start.
    #[error("could not run {}", emulator.display())]
    Emulator {
        /// The program.
        emulator: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Whether a guest run with `accelerator` (`kvm`) gets past its firmware on this host. `emulator` is the
/// x86_64 QEMU; `directory` takes a small file for the time of the call.
///
/// # Errors
/// When the probe could not be made; a guest that does not come up is `Ok(false)`.
pub async fn probe_kvm(emulator: &Path, directory: &Path, accelerator: &str) -> Result<bool, ProbeError> {
    probe(emulator, directory, accelerator, LIMIT).await
}

async fn probe(
    emulator: &Path,
    directory: &Path,
    accelerator: &str,
    limit: Duration,
) -> Result<bool, ProbeError> {
    let path = directory.join("kvm-probe.img");
    write_disk(&path).map_err(|source| ProbeError::Disk {
        path: path.clone(),
        source,
    })?;
    let said = run(emulator, &path, accelerator, limit).await;
    if let Err(source) = std::fs::remove_file(&path) {
        tracing::debug!(path = %path.display(), %source, "the probe's disk stays behind");
    }
    said.map_err(|source| ProbeError::Emulator {
        emulator: emulator.to_owned(),
        source,
    })
}

fn write_disk(path: &Path) -> std::io::Result<()> {
    let mut sector = vec![0_u8; DISK_BYTES];
    sector[..BOOT_SECTOR.len()].copy_from_slice(BOOT_SECTOR);
    sector[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::File::create(path)?.write_all(&sector)
}

async fn run(emulator: &Path, disk: &Path, accelerator: &str, limit: Duration) -> std::io::Result<bool> {
    // A comma in a file name is doubled in QEMU's options.
    let file = disk.display().to_string().replace(',', ",,");
    let mut guest = Command::new(emulator)
        .args([
            "-accel",
            accelerator,
            "-machine",
            "q35",
            "-m",
            "32",
            "-display",
            "none",
        ])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-chardev",
            "stdio,id=debug",
        ])
        .args(["-device", "isa-debugcon,iobase=0x402,chardev=debug"])
        .args([
            "-drive",
            &format!("file={file},format=raw,if=none,id=boot,readonly=off"),
        ])
        .args(["-device", "ide-hd,drive=boot"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut output = guest.stdout.take().expect("stdout was asked for above");
    let listen = async {
        let mut heard = Vec::new();
        let mut chunk = [0_u8; 4096];
        loop {
            let count = output.read(&mut chunk).await?;
            if count == 0 {
                return Ok(false);
            }
            heard.extend_from_slice(&chunk[..count]);
            if heard.windows(SAID.len()).any(|window| window == SAID) {
                return Ok(true);
            }
        }
    };
    let said = tokio::time::timeout(limit, listen).await.unwrap_or(Ok(false));
    guest.kill().await?;
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_sector_fits_and_says_what_is_listened_for() {
        assert!(BOOT_SECTOR.len() <= 446);
        assert!(BOOT_SECTOR.windows(SAID.len()).any(|window| window == SAID));
    }

    #[tokio::test]
    async fn a_software_guest_leaves_its_firmware_and_a_missing_emulator_is_an_error() {
        let emulator = Path::new("/usr/bin/qemu-system-x86_64");
        assert!(
            emulator.exists(),
            "qemu-system-x86 is not installed; run scripts/setup"
        );
        let directory = tempfile::tempdir().expect("a directory");
        // Emulated by a busy machine it takes longer than where it counts.
        let patience = Duration::from_secs(120);
        let left = probe(emulator, directory.path(), "tcg", patience)
            .await
            .expect("the probe runs");
        assert!(left, "software emulation always leaves the firmware");
        let rest = std::fs::read_dir(directory.path()).expect("readable").count();
        assert_eq!(rest, 0, "the probe leaves nothing behind");
        let missing = probe_kvm(Path::new("/nonexistent/qemu"), directory.path(), "kvm").await;
        assert!(matches!(missing, Err(ProbeError::Emulator { .. })), "{missing:?}");
    }
}
