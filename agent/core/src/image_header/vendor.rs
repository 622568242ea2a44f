//! VDI and VHD: sizes, and whether they need a parent.

use super::bytes::{be32, be64, le32, le64};
use super::error::{HeaderError, Unsupported};
use super::{ImageFile, ImageFormat, ImageHeader};
use drover_types::ByteSize;

fn header(format: ImageFormat, bytes: u64) -> ImageHeader {
    ImageHeader {
        format,
        virtual_size: ByteSize::from_bytes(bytes),
        qcow2: None,
    }
}

fn inside(part: &'static str, offset: u64, bytes: u64, length: u64) -> Result<(), HeaderError> {
    match offset.checked_add(bytes) {
        Some(end) if end <= length => Ok(()),
        end => Err(HeaderError::Outside {
            part,
            end: end.unwrap_or(u64::MAX),
            length,
        }),
    }
}

/// VirtualBox, after QEMU's block/vdi.c.
pub(super) fn vdi(file: ImageFile<'_>) -> Result<ImageHeader, HeaderError> {
    let head = file.head;
    let version = le32(head, 0x44)?;
    if version != 0x0001_0001 {
        return Err(HeaderError::Version {
            format: "VDI",
            version,
        });
    }
    match le32(head, 0x4c)? {
        1 | 2 => {}
        4 => return Err(HeaderError::Unsupported(Unsupported::Differencing)),
        other => {
            return Err(HeaderError::Field {
                field: "image type",
                value: other.into(),
            });
        }
    }
    let (map, data) = (u64::from(le32(head, 0x154)?), u64::from(le32(head, 0x158)?));
    let (size, block) = (le64(head, 0x170)?, u64::from(le32(head, 0x178)?));
    let (blocks, allocated) = (u64::from(le32(head, 0x180)?), u64::from(le32(head, 0x184)?));
    if block != 1 << 20 {
        return Err(HeaderError::Field {
            field: "block size",
            value: block,
        });
    }
    if blocks < size.div_ceil(block) || allocated > blocks {
        return Err(HeaderError::Field {
            field: "number of blocks",
            value: blocks,
        });
    }
    if uuid_set(head, 0x1a8)? || uuid_set(head, 0x1b8)? {
        return Err(HeaderError::Unsupported(Unsupported::Differencing));
    }
    inside("block map", map, blocks * 4, file.length)?;
    inside("data", data, allocated * block, file.length)?;
    Ok(header(ImageFormat::Vdi, size))
}

fn uuid_set(head: &[u8], at: usize) -> Result<bool, HeaderError> {
    Ok(le64(head, at)? != 0 || le64(head, at + 8)? != 0)
}

/// Whether VirtualBox's signature stands at its place.
pub(super) fn has_vdi_signature(head: &[u8]) -> bool {
    head.get(0x40..0x44) == Some(&[0x7f, 0x10, 0xda, 0xbe])
}

/// Whether the file ends with Virtual PC's footer, which is all that a fixed disk has.
pub(super) fn has_vhd_footer(file: ImageFile<'_>) -> bool {
    file.tail.len() >= 512 && file.tail[file.tail.len() - 512..].starts_with(b"conectix")
}

/// Virtual PC, after Microsoft's "Virtual Hard Disk Image Format Specification".
pub(super) fn vpc(file: ImageFile<'_>) -> Result<ImageHeader, HeaderError> {
    if !has_vhd_footer(file) {
        // A dynamic disk starts with a copy of the footer that its end must have too.
        return Err(HeaderError::Outside {
            part: "footer",
            end: file.length.saturating_add(512),
            length: file.length,
        });
    }
    let footer = &file.tail[file.tail.len() - 512..];
    let version = be32(footer, 12)?;
    if version != 0x0001_0000 {
        return Err(HeaderError::Version {
            format: "VHD",
            version,
        });
    }
    let sum = footer.iter().enumerate().filter(|(at, _)| !(64..68).contains(at));
    let sum = !sum.fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)));
    if be32(footer, 64)? != sum {
        return Err(HeaderError::Field {
            field: "footer checksum",
            value: be32(footer, 64)?.into(),
        });
    }
    let size = be64(footer, 48)?;
    match be32(footer, 60)? {
        2 => inside("data", size, 512, file.length)?,
        3 => {
            let dynamic = be64(footer, 16)?;
            inside("dynamic header", dynamic, 1024, file.length)?;
            let at = usize::try_from(dynamic).unwrap_or(usize::MAX);
            if file.head.get(at..at.saturating_add(8)) != Some(b"cxsparse") {
                return Err(HeaderError::Field {
                    field: "dynamic header offset",
                    value: dynamic,
                });
            }
            let (table, entries) = (be64(file.head, at + 16)?, u64::from(be32(file.head, at + 28)?));
            let block = u64::from(be32(file.head, at + 32)?);
            if !block.is_power_of_two() || block < 512 || entries.saturating_mul(block) < size {
                return Err(HeaderError::Field {
                    field: "block size",
                    value: block,
                });
            }
            inside("block table", table, entries * 4, file.length)?;
        }
        4 => return Err(HeaderError::Unsupported(Unsupported::Differencing)),
        other => {
            return Err(HeaderError::Field {
                field: "disk type",
                value: other.into(),
            });
        }
    }
    Ok(header(ImageFormat::Vpc, size))
}
