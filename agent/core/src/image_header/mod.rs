//! What an image file is, told from its first and last bytes, before qemu-img or anything else touches it.
//!
//! qemu-img follows a qcow2's backing file and data file out of the image, and says "ok" of a truncated
//! one. So the header is read here, strictly: what is not understood is refused, and every table must lie
//! inside the file. [`inspect`] needs the first 64 KiB and the last 512 bytes; for a qcow2 the daemon then
//! reads the L1 table and each L2 table where [`Qcow2Layout`] says and has them checked too, so that data
//! cut off anywhere is found.

mod bytes;
mod error;
mod qcow2;
mod raw;
mod vendor;
mod vmdk;

pub use error::{HeaderError, Unsupported};
pub use qcow2::{Qcow2Layout, TableRange};

use drover_types::ByteSize;
use serde::{Deserialize, Serialize};

/// How much of the file's start [`inspect`] reads at most, in bytes.
pub const HEAD_BYTES: usize = 64 << 10;
/// How much of the file's end [`inspect`] reads, in bytes.
pub const TAIL_BYTES: usize = 512;

/// The format of an image, by qemu-img's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// Plain bytes.
    Raw,
    /// QEMU's own.
    Qcow2,
    /// VMware's, in one file.
    Vmdk,
    /// VirtualBox's.
    Vdi,
    /// Virtual PC's (`.vhd`).
    Vpc,
}

impl ImageFormat {
    /// qemu-img's word, to be given explicitly in every call.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Vpc => "vpc",
        }
    }
}

/// The parts of a file that are read.
#[derive(Debug, Clone, Copy)]
pub struct ImageFile<'a> {
    /// Its first bytes: [`HEAD_BYTES`], or all of a shorter file.
    pub head: &'a [u8],
    /// Its last bytes: [`TAIL_BYTES`], or all of a shorter file.
    pub tail: &'a [u8],
    /// Its length in bytes.
    pub length: u64,
}

/// What an image may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// The largest virtual disk this host takes in.
    pub virtual_size: ByteSize,
    /// The flavor's disk, when the image is for a server.
    pub flavor_disk: Option<ByteSize>,
}

/// An image that may be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHeader {
    /// Its format.
    pub format: ImageFormat,
    /// The size of the disk in it.
    pub virtual_size: ByteSize,
    /// Where a qcow2's tables lie, to be checked next.
    pub qcow2: Option<Qcow2Layout>,
}

/// Tells the format and refuses what is unsafe, unknown, truncated or too large.
///
/// # Errors
/// The first reason found; each says what to do.
pub fn inspect(file: ImageFile<'_>, limits: ImageLimits) -> Result<ImageHeader, HeaderError> {
    if file.length == 0 {
        return Err(HeaderError::Empty);
    }
    if (file.head.len() as u64) < file.length.min(HEAD_BYTES as u64)
        || (file.tail.len() as u64) < file.length.min(TAIL_BYTES as u64)
    {
        return Err(HeaderError::TooLittleRead);
    }
    let header = recognise(file)?;
    check_size(&header, limits)?;
    Ok(header)
}

fn recognise(file: ImageFile<'_>) -> Result<ImageHeader, HeaderError> {
    let head = file.head;
    let header = if head.starts_with(b"QFI\xfb") {
        qcow2::read(file)?
    } else if head.starts_with(b"KDMV") || head.starts_with(b"COWD") || vmdk::is_descriptor(head) {
        vmdk::read(file)?
    } else if vendor::has_vdi_signature(head) {
        vendor::vdi(file)?
    } else if head.starts_with(b"vhdxfile") {
        return Err(HeaderError::Unsupported(Unsupported::Vhdx));
    } else if head.starts_with(b"conectix") || vendor::has_vhd_footer(file) {
        vendor::vpc(file)?
    } else {
        raw::read(file)?
    };
    raw::refuse_second_format(file, header.format)?;
    Ok(header)
}

fn check_size(header: &ImageHeader, limits: ImageLimits) -> Result<(), HeaderError> {
    let size = header.virtual_size;
    if size.bytes() == 0 {
        return Err(HeaderError::NoDisk);
    }
    if size > limits.virtual_size {
        return Err(HeaderError::OverLimit {
            size,
            limit: limits.virtual_size,
        });
    }
    match limits.flavor_disk {
        Some(disk) if size > disk => Err(HeaderError::OverFlavor { size, disk }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
