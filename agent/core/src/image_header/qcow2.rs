//! qcow2, versions 2 and 3, after QEMU's docs/interop/qcow2.rst.

use super::bytes::{array, be32, be64};
use super::error::{HeaderError, Unsupported};
use super::{HEAD_BYTES, ImageFile, ImageFormat, ImageHeader};
use drover_types::ByteSize;

/// Incompatible features: bit 0 dirty, 1 corrupt, 2 external data file, 3 compression type, 4 extended L2.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2;

/// Where the offset stands in an L1 or L2 entry: bits 9 to 55.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED_CLUSTER: u64 = 1 << 62;

/// The most entries an L1 table may have: 32 MiB of table, as QEMU allows.
const MAX_L1_BYTES: u64 = 32 << 20;
/// The largest refcount table, as QEMU allows.
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;

/// Where a qcow2's tables lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qcow2Layout {
    length: u64,
    cluster_bits: u32,
    extended_l2: bool,
    /// Where the L1 table lies.
    pub l1: TableRange,
}

/// A part of the file to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableRange {
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes; at most 32 MiB.
    pub bytes: u64,
}

impl Qcow2Layout {
    /// The L2 tables that this L1 table names, each checked to lie inside the file.
    ///
    /// # Errors
    /// When one does not, or `l1` is shorter than [`Self::l1`] says.
    pub fn l2_tables(&self, l1: &[u8]) -> Result<Vec<TableRange>, HeaderError> {
        if (l1.len() as u64) < self.l1.bytes {
            return Err(HeaderError::HeaderCut);
        }
        let bytes = 1_u64 << self.cluster_bits;
        let mut tables = Vec::new();
        for entry in l1.chunks_exact(8) {
            let offset = be64(entry, 0)? & OFFSET_MASK;
            if offset != 0 {
                self.inside("an L2 table", offset, bytes)?;
                tables.push(TableRange { offset, bytes });
            }
        }
        Ok(tables)
    }

    /// Checks that every cluster which this L2 table names lies inside the file.
    ///
    /// # Errors
    /// When one does not.
    pub fn check_l2(&self, l2: &[u8]) -> Result<(), HeaderError> {
        let entry_bytes = if self.extended_l2 { 16 } else { 8 };
        let cluster = 1_u64 << self.cluster_bits;
        for entry in l2.chunks_exact(entry_bytes) {
            let descriptor = be64(entry, 0)?;
            if descriptor & COMPRESSED_CLUSTER != 0 {
                // The offset has 62 - (cluster_bits - 8) bits; the stream may end anywhere in its sectors.
                let bits = 70 - self.cluster_bits;
                let offset = descriptor & ((1 << bits) - 1);
                self.inside("compressed data", offset, 1)?;
            } else {
                let offset = descriptor & OFFSET_MASK;
                if offset != 0 {
                    // The last cluster of a file may be cut at a sector by an older QEMU.
                    self.inside("data", offset, 1)?;
                    if !offset.is_multiple_of(cluster) {
                        return Err(HeaderError::Field {
                            field: "the offset of a cluster",
                            value: offset,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn inside(&self, part: &'static str, offset: u64, bytes: u64) -> Result<(), HeaderError> {
        inside(part, offset, bytes, self.length)
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

/// Reads a qcow2's header.
pub(super) fn read(file: ImageFile<'_>) -> Result<ImageHeader, HeaderError> {
    let head = file.head;
    let version = be32(head, 4)?;
    let header_bytes: u64 = match version {
        1 => return Err(HeaderError::Unsupported(Unsupported::Qcow1)),
        2 => 72,
        3 => u64::from(be32(head, 100)?),
        other => {
            return Err(HeaderError::Version {
                format: "qcow2",
                version: other,
            });
        }
    };
    let cluster_bits = be32(head, 20)?;
    if !(9..=21).contains(&cluster_bits) {
        return Err(HeaderError::Field {
            field: "cluster bits",
            value: cluster_bits.into(),
        });
    }
    let cluster = 1_u64 << cluster_bits;
    if header_bytes > cluster || (version == 3 && (header_bytes < 104 || !header_bytes.is_multiple_of(8))) {
        return Err(HeaderError::Field {
            field: "header length",
            value: header_bytes,
        });
    }
    inside("header", 0, header_bytes, file.length)?;
    let features = if version == 3 { be64(head, 72)? } else { 0 };
    check_features(head, features, header_bytes)?;
    check_backing(head)?;
    match be32(head, 32)? {
        0 => {}
        1 | 2 => return Err(HeaderError::Encrypted),
        other => {
            return Err(HeaderError::Field {
                field: "encryption method",
                value: other.into(),
            });
        }
    }
    let snapshots = be32(head, 60)?;
    if snapshots != 0 {
        return Err(HeaderError::Snapshots(snapshots));
    }
    check_extensions(head, header_bytes, cluster)?;
    if version == 3 && be32(head, 96)? > 6 {
        return Err(HeaderError::Field {
            field: "refcount order",
            value: be32(head, 96)?.into(),
        });
    }
    let virtual_size = be64(head, 24)?;
    let extended_l2 = features & EXTENDED_L2 != 0;
    let l1 = l1_range(file, virtual_size, cluster_bits, extended_l2)?;
    let refcounts = be64(head, 48)?;
    let refcount_bytes = u64::from(be32(head, 56)?) << cluster_bits;
    if refcounts == 0 || !refcounts.is_multiple_of(cluster) {
        return Err(HeaderError::Field {
            field: "refcount table offset",
            value: refcounts,
        });
    }
    if refcount_bytes == 0 || refcount_bytes > MAX_REFCOUNT_TABLE_BYTES {
        return Err(HeaderError::Field {
            field: "refcount table clusters",
            value: refcount_bytes >> cluster_bits,
        });
    }
    inside("refcount table", refcounts, refcount_bytes, file.length)?;
    Ok(ImageHeader {
        format: ImageFormat::Qcow2,
        virtual_size: ByteSize::from_bytes(virtual_size),
        qcow2: Some(Qcow2Layout {
            length: file.length,
            cluster_bits,
            extended_l2,
            l1,
        }),
    })
}

fn check_features(head: &[u8], features: u64, header_bytes: u64) -> Result<(), HeaderError> {
    if features & EXTERNAL_DATA != 0 {
        return Err(HeaderError::ExternalData);
    }
    if features & !KNOWN != 0 {
        return Err(HeaderError::UnknownFeatures(features & !KNOWN));
    }
    if features & (DIRTY | CORRUPT) != 0 {
        return Err(HeaderError::Dirty);
    }
    // Byte 104 is the compression type: 0 zlib, 1 zstd.
    let [compression] = if header_bytes > 104 {
        array(head, 104)?
    } else {
        [0]
    };
    if compression > 1 || (compression == 1) != (features & COMPRESSION != 0) {
        return Err(HeaderError::Field {
            field: "compression type",
            value: compression.into(),
        });
    }
    Ok(())
}

fn check_backing(head: &[u8]) -> Result<(), HeaderError> {
    let (offset, bytes) = (be64(head, 8)?, be32(head, 16)?);
    if offset == 0 && bytes == 0 {
        return Ok(());
    }
    let name = usize::try_from(offset)
        .ok()
        .and_then(|at| head.get(at..at.checked_add(usize::try_from(bytes).ok()?.min(200))?));
    Err(HeaderError::BackingFile(
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
    ))
}

/// Header extensions lie between the header and the end of its cluster.
fn check_extensions(head: &[u8], header_bytes: u64, cluster: u64) -> Result<(), HeaderError> {
    const END: u32 = 0;
    const BACKING_FORMAT: u32 = 0xe279_2aca;
    const ENCRYPTION: u32 = 0x0537_be77;
    const DATA_FILE: u32 = 0x4441_5441;
    let end = cluster.min(HEAD_BYTES as u64);
    let mut at = header_bytes;
    while at + 8 <= end {
        let place = usize::try_from(at).map_err(|_| HeaderError::HeaderCut)?;
        // An image whose first cluster is its only content may end here.
        if place + 8 > head.len() {
            return Err(HeaderError::HeaderCut);
        }
        let (kind, bytes) = (be32(head, place)?, u64::from(be32(head, place + 4)?));
        match kind {
            END => return Ok(()),
            DATA_FILE => return Err(HeaderError::ExternalData),
            ENCRYPTION => return Err(HeaderError::Encrypted),
            BACKING_FORMAT => return Err(HeaderError::BackingFile(String::new())),
            // The names of feature bits, bitmaps and whatever comes may be passed over, by the format's rules.
            _ => {}
        }
        at += 8 + bytes.div_ceil(8) * 8;
        if at > cluster {
            return Err(HeaderError::Field {
                field: "length of a header extension",
                value: bytes,
            });
        }
    }
    Ok(())
}

fn l1_range(
    file: ImageFile<'_>,
    virtual_size: u64,
    cluster_bits: u32,
    extended_l2: bool,
) -> Result<TableRange, HeaderError> {
    let (entries, offset) = (u64::from(be32(file.head, 36)?), be64(file.head, 40)?);
    let bytes = entries * 8;
    if bytes > MAX_L1_BYTES {
        return Err(HeaderError::Field {
            field: "L1 table entries",
            value: entries,
        });
    }
    // Each L2 table fills one cluster and maps one cluster per entry.
    let l2_bits = cluster_bits - if extended_l2 { 4 } else { 3 };
    let needed = virtual_size.div_ceil(1 << (cluster_bits + l2_bits));
    if entries < needed {
        return Err(HeaderError::Field {
            field: "L1 table entries",
            value: entries,
        });
    }
    if entries > 0 && (offset == 0 || !offset.is_multiple_of(1 << cluster_bits)) {
        return Err(HeaderError::Field {
            field: "L1 table offset",
            value: offset,
        });
    }
    inside("L1 table", offset, bytes, file.length)?;
    Ok(TableRange { offset, bytes })
}
