//! Where the unix sockets of a migration lie. The paths stand in URIs that both hosts' libvirt and QEMU use, so
//! they are the same on every host: `/run/drover/migration/<operation>/`.

use drover_types::OperationId;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "/run/drover/migration";

/// The sockets of one migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sockets {
    directory: PathBuf,
}

impl Sockets {
    pub(super) fn new(operation: OperationId) -> Self {
        Self {
            directory: Path::new(DIRECTORY).join(operation.to_string()),
        }
    }

    /// libvirtd to libvirtd; at the source only.
    pub(super) fn control(&self) -> PathBuf {
        self.directory.join("control")
    }

    /// QEMU's migration stream: our listener at the source, QEMU's at the destination.
    pub(super) fn memory(&self) -> PathBuf {
        self.directory.join("memory")
    }

    /// NBD: our listener at the source, QEMU's at the destination.
    pub(super) fn disk(&self) -> PathBuf {
        self.directory.join("disk")
    }

    /// Makes an empty directory that QEMU's user (`owner`, user and group id) can use, and nobody else.
    pub(super) fn make(&self, owner: Option<(u32, u32)>) -> io::Result<()> {
        self.remove()?;
        std::fs::create_dir_all(&self.directory)?;
        // The way to it is searchable, its content is not listed.
        for parent in self
            .directory
            .ancestors()
            .skip(1)
            .take_while(|path| path.starts_with("/run/drover"))
        {
            std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o711))?;
        }
        std::fs::set_permissions(&self.directory, std::fs::Permissions::from_mode(0o700))?;
        if let Some((user, group)) = owner {
            chown(&self.directory, Some(user), Some(group))?;
        }
        Ok(())
    }

    /// Removes the sockets; none there is a success.
    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
