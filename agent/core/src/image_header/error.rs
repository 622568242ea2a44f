//! Why an image is refused. Each says what was found and what the user can do.

use drover_types::ByteSize;

/// Why an image is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file has no bytes.
    #[error("the image is empty; check its source")]
    Empty,
    /// The caller gave too few bytes.
    #[error("the image was not read far enough to be inspected; this is a fault of the agent")]
    TooLittleRead,
    /// The file ends within its header.
    #[error("the image ends within its header: it is truncated; fetch it again or check its source")]
    HeaderCut,
    /// A format that is not taken in.
    #[error("the image is {0}; convert it with `qemu-img convert -O qcow2` and use the result")]
    Unsupported(Unsupported),
    /// A version of the format that is not known.
    #[error("the image is {format} of version {version}, which is not known; convert it to qcow2 version 3")]
    Version {
        /// The format.
        format: &'static str,
        /// The version.
        version: u32,
    },
    /// It takes data from another file.
    #[error("the image has the backing file {0:?}; flatten it with `qemu-img convert` and use the result")]
    BackingFile(String),
    /// Its data is in another file.
    #[error(
        "the image keeps its data in another file; flatten it with `qemu-img convert` and use the result"
    )]
    ExternalData,
    /// Feature bits that are not known.
    #[error("the image needs features that are not known (bits {0:#x}); convert it with an older qemu-img")]
    UnknownFeatures(u64),
    /// It is encrypted.
    #[error("the image is encrypted; decrypt it with `qemu-img convert` and use the result")]
    Encrypted,
    /// It was not closed.
    #[error(
        "the image is marked as still open or damaged; run `qemu-img check -r all` on it where it was made"
    )]
    Dirty,
    /// It holds snapshots.
    #[error("the image holds {0} internal snapshots; flatten it with `qemu-img convert` and use the result")]
    Snapshots(u32),
    /// A field has a value that the format does not allow.
    #[error("the image's header says {value:#x} as {field}, which cannot be; it is damaged")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A part of it lies outside the file.
    #[error(
        "the image is truncated: its {part} ends at byte {end}, the file has {length}; fetch it again or check its source"
    )]
    Outside {
        /// What lies outside.
        part: &'static str,
        /// Where it ends.
        end: u64,
        /// The file's length.
        length: u64,
    },
    /// It could be read as two formats.
    #[error(
        "the image reads as {first} and as {second}; convert it with `qemu-img convert -f {first} -O qcow2`"
    )]
    Ambiguous {
        /// One format.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// The disk in it has no bytes.
    #[error("the disk in the image has a size of zero; check its source")]
    NoDisk,
    /// Larger than this host takes.
    #[error(
        "the disk in the image has {size}, this host takes at most {limit}; raise max_size in the images block of its agent.hcl, or use a smaller image"
    )]
    OverLimit {
        /// The disk's size.
        size: ByteSize,
        /// The limit.
        limit: ByteSize,
    },
    /// Larger than the server's disk.
    #[error("the disk in the image has {size}, the flavor's disk {disk}; choose a flavor with a larger disk")]
    OverFlavor {
        /// The disk's size.
        size: ByteSize,
        /// The flavor's disk.
        disk: ByteSize,
    },
}

/// A format that is recognised and not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// qcow, version 1.
    #[error("in the old qcow format")]
    Qcow1,
    /// QEMU enhanced disk.
    #[error("in the QED format")]
    Qed,
    /// VMDK as a descriptor of other files.
    #[error("a VMDK descriptor without the disk's data")]
    VmdkDescriptor,
    /// VMDK of ESX's old sparse kind.
    #[error("a VMDK of the old COWD kind")]
    VmdkCowd,
    /// Hyper-V's VHDX, whose tables lie beyond the part that is inspected.
    #[error("in the VHDX format")]
    Vhdx,
    /// A differencing VHD, VDI or VMDK.
    #[error("a differencing disk that needs its parent")]
    Differencing,
    /// A LUKS container.
    #[error("a LUKS container")]
    Luks,
    /// Parallels.
    #[error("in the Parallels format")]
    Parallels,
    /// Compressed.
    #[error("a compressed file (gzip, xz, zstd, bzip2 or zip) that must be unpacked first")]
    Compressed,
    /// ISO 9660.
    #[error("a CD image (ISO 9660), not a disk")]
    Iso,
    /// Bochs.
    #[error("in the Bochs format")]
    Bochs,
    /// macOS disk image.
    #[error("in Apple's DMG format")]
    Dmg,
    /// Text.
    #[error("a text file, perhaps an error page of the web server")]
    Text,
}
