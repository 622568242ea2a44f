//! Plain disks: everything that is no other format, refused where it is known to be something else. Also
//! finds files that can be read as two formats, which one tool would open as this and another as that.

use super::bytes::le32;
use super::error::{HeaderError, Unsupported};
use super::{ImageFile, ImageFormat, ImageHeader, vendor};
use drover_types::ByteSize;

const SECTOR: u64 = 512;

/// What else a file can be by its first bytes.
const MAGICS: &[(&[u8], Unsupported)] = &[
    (b"QED\0", Unsupported::Qed),
    (b"LUKS\xba\xbe", Unsupported::Luks),
    (b"WithoutFreeSpace", Unsupported::Parallels),
    (b"WithouFreSpacExt", Unsupported::Parallels),
    (b"Bochs Virtual HD Image", Unsupported::Bochs),
    (b"\x1f\x8b", Unsupported::Compressed),
    (b"\xfd7zXZ\0", Unsupported::Compressed),
    (b"\x28\xb5\x2f\xfd", Unsupported::Compressed),
    (b"BZh", Unsupported::Compressed),
    (b"PK\x03\x04", Unsupported::Compressed),
    (b"7z\xbc\xaf\x27\x1c", Unsupported::Compressed),
];

/// Takes the file as a plain disk.
pub(super) fn read(file: ImageFile<'_>) -> Result<ImageHeader, HeaderError> {
    let head = file.head;
    if let Some((_, what)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(HeaderError::Unsupported(*what));
    }
    if file.tail.len() >= 512 && file.tail[file.tail.len() - 512..].starts_with(b"koly") {
        return Err(HeaderError::Unsupported(Unsupported::Dmg));
    }
    // A CD image made bootable from a stick has a partition table too, and is taken as the disk it says it is.
    if head.get(0x8001..0x8006) == Some(b"CD001") && !has_mbr(head) {
        return Err(HeaderError::Unsupported(Unsupported::Iso));
    }
    if is_text(head) {
        return Err(HeaderError::Unsupported(Unsupported::Text));
    }
    let end = file.length.div_ceil(SECTOR).saturating_mul(SECTOR);
    if end != file.length {
        return Err(HeaderError::Outside {
            part: "last sector",
            end,
            length: file.length,
        });
    }
    check_partitions(file)?;
    Ok(ImageHeader {
        format: ImageFormat::Raw,
        virtual_size: ByteSize::from_bytes(file.length),
        qcow2: None,
    })
}

fn is_text(head: &[u8]) -> bool {
    let start = &head[..head.len().min(512)];
    start
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e))
}

fn has_mbr(head: &[u8]) -> bool {
    head.get(510..512) == Some(&[0x55, 0xaa])
}

/// Partitions must lie inside the file. A boot sector without a partition table has program text in its
/// place, which no real table looks like.
fn check_partitions(file: ImageFile<'_>) -> Result<(), HeaderError> {
    const PROTECTIVE: u8 = 0xee;
    if !has_mbr(file.head) {
        return Ok(());
    }
    let entries = (0..4).map(|number| 446 + 16 * number);
    if !entries
        .clone()
        .all(|at| matches!(file.head.get(at), Some(0 | 0x80)))
    {
        return Ok(());
    }
    for at in entries {
        let kind = file.head.get(at + 4).copied().unwrap_or_default();
        let (first, sectors) = (le32(file.head, at + 8)?, le32(file.head, at + 12)?);
        if kind == 0 || kind == PROTECTIVE || sectors == 0 {
            continue;
        }
        let end = (u64::from(first) + u64::from(sectors)) * SECTOR;
        if end > file.length {
            return Err(HeaderError::Outside {
                part: "partition",
                end,
                length: file.length,
            });
        }
    }
    Ok(())
}

/// Refuses a file of this format that is also a valid start or end of another.
pub(super) fn refuse_second_format(file: ImageFile<'_>, format: ImageFormat) -> Result<(), HeaderError> {
    let first = format.as_str();
    match format {
        // A fixed VHD is a plain disk and a footer, so its partition table is as it should be.
        ImageFormat::Raw | ImageFormat::Vpc => Ok(()),
        ImageFormat::Qcow2 | ImageFormat::Vmdk | ImageFormat::Vdi => {
            if has_mbr(file.head) {
                return Err(HeaderError::Ambiguous { first, second: "raw" });
            }
            if vendor::has_vhd_footer(file) {
                return Err(HeaderError::Ambiguous { first, second: "vpc" });
            }
            if format != ImageFormat::Vdi && vendor::has_vdi_signature(file.head) {
                return Err(HeaderError::Ambiguous { first, second: "vdi" });
            }
            Ok(())
        }
    }
}
