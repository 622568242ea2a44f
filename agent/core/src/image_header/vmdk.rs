//! VMDK: the hosted sparse kind and its stream-optimised form, in one file. After VMware's "Virtual Disk
//! Format 1.1".

use super::bytes::{array, le16, le32, le64};
use super::error::{HeaderError, Unsupported};
use super::{ImageFile, ImageFormat, ImageHeader};
use drover_types::ByteSize;

const SECTOR: u64 = 512;
/// The embedded descriptor is text of a few hundred bytes, and must lie in the part that is read.
const MAX_DESCRIPTOR_SECTORS: u64 = 126;
/// In a stream-optimised file the grain directory's place stands in a footer.
const AT_END: u64 = u64::MAX;

/// Whether the file is a descriptor that names other files.
pub(super) fn is_descriptor(head: &[u8]) -> bool {
    let start = &head[..head.len().min(512)];
    start.trim_ascii_start().starts_with(b"# Disk DescriptorFile")
}

/// Reads a VMDK's header and its embedded descriptor.
pub(super) fn read(file: ImageFile<'_>) -> Result<ImageHeader, HeaderError> {
    let head = file.head;
    if head.starts_with(b"COWD") {
        return Err(HeaderError::Unsupported(Unsupported::VmdkCowd));
    }
    if is_descriptor(head) {
        return Err(HeaderError::Unsupported(Unsupported::VmdkDescriptor));
    }
    let version = le32(head, 4)?;
    if !(1..=3).contains(&version) {
        return Err(HeaderError::Version {
            format: "VMDK",
            version,
        });
    }
    let (capacity, grain) = (le64(head, 12)?, le64(head, 20)?);
    if !grain.is_power_of_two() || !(8..=0x20_0000).contains(&grain) {
        return Err(HeaderError::Field {
            field: "grain size",
            value: grain,
        });
    }
    let (descriptor, sectors) = (le64(head, 28)?, le64(head, 36)?);
    let directory = le64(head, 56)?;
    let compression = le16(head, 77)?;
    // Line ends that a transfer as text would have altered.
    let newlines: [u8; 4] = array(head, 73)?;
    if newlines != *b"\n \r\n" {
        return Err(HeaderError::Field {
            field: "line-end check",
            value: u32::from_be_bytes(newlines).into(),
        });
    }
    if compression > 1 {
        return Err(HeaderError::Field {
            field: "compression",
            value: compression.into(),
        });
    }
    if descriptor == 0 || sectors == 0 || sectors > MAX_DESCRIPTOR_SECTORS {
        return Err(HeaderError::Field {
            field: "descriptor size",
            value: sectors,
        });
    }
    check_descriptor(file, descriptor, sectors)?;
    if directory == AT_END {
        // A stream-optimised file ends with a footer (a copy of the header) and an end-of-stream marker.
        if file.length < 3 * SECTOR || file.tail.iter().any(|byte| *byte != 0) {
            return Err(HeaderError::Outside {
                part: "footer",
                end: file.length.saturating_add(1),
                length: file.length,
            });
        }
    } else {
        let entries = le32(head, 44)?;
        if entries == 0 || entries > 512 {
            return Err(HeaderError::Field {
                field: "grain table entries",
                value: entries.into(),
            });
        }
        let tables = capacity.div_ceil(grain).div_ceil(entries.into());
        inside(
            "grain directory",
            directory,
            tables.saturating_mul(4).div_ceil(SECTOR),
            file.length,
        )?;
        let overhead = le64(head, 64)?;
        inside("metadata", 0, overhead, file.length)?;
    }
    let bytes = capacity.checked_mul(SECTOR).ok_or(HeaderError::Field {
        field: "capacity",
        value: capacity,
    })?;
    Ok(ImageHeader {
        format: ImageFormat::Vmdk,
        virtual_size: ByteSize::from_bytes(bytes),
        qcow2: None,
    })
}

fn inside(part: &'static str, sector: u64, sectors: u64, length: u64) -> Result<(), HeaderError> {
    let end = sector
        .checked_add(sectors)
        .and_then(|end| end.checked_mul(SECTOR))
        .unwrap_or(u64::MAX);
    if end > length {
        return Err(HeaderError::Outside { part, end, length });
    }
    Ok(())
}

/// The embedded descriptor must describe this file alone: one sparse extent, no parent.
fn check_descriptor(file: ImageFile<'_>, sector: u64, sectors: u64) -> Result<(), HeaderError> {
    inside("descriptor", sector, sectors, file.length)?;
    let place = |sectors: u64| usize::try_from(sectors.saturating_mul(SECTOR)).unwrap_or(usize::MAX);
    let (from, to) = (place(sector), place(sector.saturating_add(sectors)));
    let text = file.head.get(from..to).ok_or(HeaderError::Field {
        field: "descriptor offset",
        value: sector,
    })?;
    let text: Vec<u8> = text.iter().copied().take_while(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&text);
    let mut extents = 0;
    for line in text.lines().map(str::trim) {
        let value = |key: &str| {
            let (name, value) = line.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case(key)
                .then(|| value.trim().trim_matches('"').to_owned())
        };
        if let Some(kind) = value("createType")
            && !["monolithicSparse", "streamOptimized"]
                .iter()
                .any(|known| kind.eq_ignore_ascii_case(known))
        {
            return Err(HeaderError::Unsupported(Unsupported::VmdkDescriptor));
        }
        if value("parentCID").is_some_and(|parent| !parent.eq_ignore_ascii_case("ffffffff")) {
            return Err(HeaderError::Unsupported(Unsupported::Differencing));
        }
        if let Some(parent) = value("parentFileNameHint") {
            return Err(HeaderError::BackingFile(parent.chars().take(200).collect()));
        }
        let access = line.split_whitespace().next().unwrap_or_default();
        if ["RW", "RDONLY", "NOACCESS"].contains(&access) {
            extents += 1;
            // "RW <sectors> SPARSE "name""; every other kind of extent is in another file.
            if line.split_whitespace().nth(2).is_none_or(|kind| kind != "SPARSE") {
                return Err(HeaderError::ExternalData);
            }
        }
    }
    if extents == 1 {
        Ok(())
    } else {
        Err(HeaderError::ExternalData)
    }
}
