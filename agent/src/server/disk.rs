//! Overlays: what a server writes, on top of an image that never changes. All by `qemu-img`, formats always
//! given, never probed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Why a disk could not be made or looked at.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// qemu-img does not start.
    #[error("could not run qemu-img to {attempt} {}; install qemu-utils", path.display())]
    Run {
        /// What was attempted.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// qemu-img refused.
    #[error("qemu-img could not {attempt} {}: {message}", path.display())]
    Refused {
        /// What was attempted.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Its words.
        message: String,
    },
    /// The disk asked for is smaller than its image.
    #[error(
        "a disk of {disk_bytes} bytes is smaller than its image, which has {image_bytes}; choose a flavor with a \
         larger disk"
    )]
    SmallerThanImage {
        /// Asked for.
        disk_bytes: u64,
        /// The image's virtual size.
        image_bytes: u64,
    },
    /// The disk asked for is smaller than the one that is there.
    #[error(
        "a disk of {found_bytes} bytes does not shrink to {disk_bytes}; choose a flavor whose disk is as large"
    )]
    WouldShrink {
        /// Asked for.
        disk_bytes: u64,
        /// There.
        found_bytes: u64,
    },
    /// qemu-img's description of a disk.
    #[error("qemu-img did not say how large {} is", path.display())]
    Described {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

/// Makes an overlay of `size` bytes on the raw file `base`. One that is there is replaced.
///
/// # Errors
/// When the disk would be smaller than its image, or qemu-img fails.
pub(crate) async fn make_overlay(
    overlay: &Path,
    base: &Path,
    base_bytes: u64,
    size: u64,
) -> Result<(), DiskError> {
    if size < base_bytes {
        return Err(DiskError::SmallerThanImage {
            disk_bytes: size,
            image_bytes: base_bytes,
        });
    }
    let mut command = Command::new("qemu-img");
    command
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(base)
        .arg("--")
        .arg(overlay);
    command.arg(size.to_string());
    run(command, "make the overlay", overlay).await.map(drop)
}

/// How large a guest sees an overlay, in bytes; one that a guest runs on, too.
///
/// # Errors
/// When qemu-img fails.
pub(crate) async fn virtual_size(overlay: &Path) -> Result<u64, DiskError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Described {
        virtual_size: u64,
    }
    let mut command = Command::new("qemu-img");
    // The guest holds the file's lock; its size is in the header, which is read whole.
    command
        .args(["info", "-U", "--output=json", "-f", "qcow2", "--"])
        .arg(overlay);
    let said = run(command, "look at", overlay).await?;
    let described: Described = serde_json::from_slice(&said).map_err(|source| DiskError::Described {
        path: overlay.to_owned(),
        source,
    })?;
    Ok(described.virtual_size)
}

/// Makes an overlay that no guest runs on larger; what is beyond the old end reads as zeros.
///
/// # Errors
/// When `size` is less than its present size, or qemu-img fails.
pub(crate) async fn grow(overlay: &Path, size: u64) -> Result<(), DiskError> {
    let mut command = Command::new("qemu-img");
    command.args(["resize", "-q", "-f", "qcow2", "--"]).arg(overlay);
    command.arg(size.to_string());
    run(command, "grow", overlay).await.map(drop)
}

/// Checks a qcow2 file's structure, which neither its size nor `qemu-img info` tell of.
///
/// # Errors
/// When it is damaged, or qemu-img fails.
pub(crate) async fn check(overlay: &Path) -> Result<(), DiskError> {
    let mut command = Command::new("qemu-img");
    command.args(["check", "-q", "-f", "qcow2", "--"]).arg(overlay);
    run(command, "check", overlay).await.map(drop)
}

/// Points an overlay that was copied from another host to this host's copy of the same base file.
///
/// # Errors
/// When qemu-img fails.
pub(crate) async fn rebase(overlay: &Path, base: &Path) -> Result<(), DiskError> {
    let mut command = Command::new("qemu-img");
    command
        .args(["rebase", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(base)
        .arg("--")
        .arg(overlay);
    run(command, "rebase", overlay).await.map(drop)
}

async fn run(mut command: Command, attempt: &'static str, path: &Path) -> Result<Vec<u8>, DiskError> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| DiskError::Run {
            attempt,
            path: path.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    let message = String::from_utf8_lossy(said).trim().chars().take(400).collect();
    Err(DiskError::Refused {
        attempt,
        path: path.to_owned(),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_overlay_is_made_checked_and_never_smaller_than_its_image() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path().join("base.raw");
        std::fs::File::create(&base)
            .and_then(|file| file.set_len(1 << 20))
            .expect("a base file");
        let overlay = directory.path().join("disk.qcow2");
        make_overlay(&overlay, &base, 1 << 20, 4 << 20)
            .await
            .expect("an overlay");
        check(&overlay).await.expect("a whole overlay");
        assert_eq!(virtual_size(&overlay).await.expect("its size"), 4 << 20);
        grow(&overlay, 6 << 20).await.expect("a larger overlay");
        assert_eq!(virtual_size(&overlay).await.expect("its size"), 6 << 20);
        let shrunk = grow(&overlay, 4 << 20).await;
        assert!(matches!(shrunk, Err(DiskError::Refused { .. })), "{shrunk:?}");
        let bytes = std::fs::read(&overlay).expect("readable");
        assert_eq!(&bytes[..4], b"QFI\xfb");
        let small = make_overlay(&overlay, &base, 1 << 20, 1 << 19).await;
        assert!(
            matches!(small, Err(DiskError::SmallerThanImage { .. })),
            "{small:?}"
        );
        std::fs::write(&overlay, &bytes[..100]).expect("a torn overlay");
        let torn = check(&overlay).await;
        assert!(matches!(torn, Err(DiskError::Refused { .. })), "{torn:?}");
    }
}
