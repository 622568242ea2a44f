//! `virt_type = "auto"`: hardware virtualisation only where a throw-away guest proved that it works. The
//! answer is kept until the host boots again, in `<data_dir>/virt-type`.

use crate::hypervisor::{ProbeError, probe_kvm};
use drover_agent_core::domain::HostPath;
use drover_types::{Architecture, HypervisorType};
use std::io;
use std::path::{Path, PathBuf};

/// Why it could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum VirtTypeError {
    /// The guest could not be tried.
    #[error("the guest that tries KVM could not be run")]
    Probe(#[source] ProbeError),
    /// The kernel's boot id.
    #[error("could not read {}", path.display())]
    BootId {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The domain type of new servers. `emulator` is the one libvirt would use under KVM; none where libvirt
/// offers no KVM.
pub(super) async fn resolve(
    architecture: Architecture,
    emulator: Option<&HostPath>,
    data_dir: &Path,
) -> Result<HypervisorType, VirtTypeError> {
    let Some(emulator) = emulator else {
        return Ok(HypervisorType::Qemu);
    };
    match architecture {
        Architecture::I686 | Architecture::X86_64 => {}
        // The throw-away guest is x86 code; elsewhere a /dev/kvm that libvirt offers is believed.
        Architecture::Aarch64 | Architecture::Ppc64le | Architecture::S390x | Architecture::Riscv64 => {
            return Ok(HypervisorType::Kvm);
        }
    }
    let boot = std::fs::read_to_string(BOOT_ID).map_err(|source| VirtTypeError::BootId {
        path: BOOT_ID.into(),
        source,
    })?;
    let kept = data_dir.join("virt-type");
    if let Some(answer) = read_kept(&kept, boot.trim()) {
        return Ok(answer);
    }
    let works = probe_kvm(Path::new(emulator.as_str()), data_dir, "kvm")
        .await
        .map_err(VirtTypeError::Probe)?;
    let answer = if works {
        HypervisorType::Kvm
    } else {
        HypervisorType::Qemu
    };
    tracing::info!(
        virt_type = answer.as_str(),
        "tried whether a guest under KVM leaves its firmware"
    );
    if let Err(source) = std::fs::write(&kept, format!("{} {answer}\n", boot.trim())) {
        tracing::warn!(path = %kept.display(), %source, "the answer is not kept; it is tried again at the next start");
    }
    Ok(answer)
}

fn read_kept(path: &Path, boot: &str) -> Option<HypervisorType> {
    let text = std::fs::read_to_string(path).ok()?;
    let (kept_boot, answer) = text.trim().split_once(' ')?;
    (kept_boot == boot).then(|| answer.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of this name in `testdata`.
    fn emulator(name: &str) -> HostPath {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/inventory/testdata");
        folder.join(name).to_string_lossy().parse().expect("a path")
    }

    async fn auto(emulator: &HostPath, data_dir: &Path) -> HypervisorType {
        resolve(Architecture::X86_64, Some(emulator), data_dir)
            .await
            .expect("it is found out")
    }

    #[tokio::test]
    async fn kvm_is_taken_only_where_a_guest_left_its_firmware_and_the_answer_is_kept() {
        let directory = || tempfile::tempdir().expect("a directory");
        let (silent, speaks) = (emulator("emulator-silent"), emulator("emulator-speaks"));
        let (one, other) = (directory(), directory());
        assert_eq!(auto(&silent, one.path()).await, HypervisorType::Qemu);
        assert_eq!(auto(&speaks, other.path()).await, HypervisorType::Kvm);
        // Both would now answer otherwise.
        assert_eq!(auto(&speaks, one.path()).await, HypervisorType::Qemu);
        assert_eq!(auto(&silent, other.path()).await, HypervisorType::Kvm);
        // Of another boot of the host, the answer does not count.
        std::fs::write(one.path().join("virt-type"), "another-boot qemu\n").expect("written");
        assert_eq!(auto(&speaks, one.path()).await, HypervisorType::Kvm);
        // No file of the probe stays.
        let left = std::fs::read_dir(one.path()).expect("listed").count();
        assert_eq!(left, 1, "only the answer");
        let none = resolve(Architecture::X86_64, None, directory().path()).await;
        assert_eq!(none.expect("no probe"), HypervisorType::Qemu);
    }

    #[test]
    fn a_kept_answer_counts_for_its_boot_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("virt-type");
        assert_eq!(read_kept(&path, "one"), None);
        std::fs::write(&path, "one qemu\n").expect("written");
        assert_eq!(read_kept(&path, "one"), Some(HypervisorType::Qemu));
        assert_eq!(read_kept(&path, "two"), None);
        std::fs::write(&path, "one nonsense\n").expect("written");
        assert_eq!(read_kept(&path, "one"), None);
    }
}
