//! How records lie in the file: one line each, `<length> <crc32> <json>\n`, length and checksum as eight
//! hexadecimal digits. The file itself (append, sync, truncate) is the daemon's.
//!
//! An append that never finished leaves a tail without its newline, or one with unwritten (zero) pages in
//! it. Such a tail was never acted on, so it is dropped, and reported. Everything else that does not read
//! back is damage: dropping it could forget a `released`, so the log does not open.

use super::record::Record;
use std::ops::Range;

/// The largest record written or read, in bytes of JSON.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// `llllllll cccccccc `
const HEAD: usize = 18;

/// Why a record cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It is too large.
    #[error("a log record of {bytes} bytes is over the limit of {MAX_RECORD_BYTES}; shorten the request")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It cannot be written as JSON.
    #[error("a log record cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// The bytes of one record, ready to append.
///
/// # Errors
/// When the record is larger than [`MAX_RECORD_BYTES`].
pub fn encode(record: &Record) -> Result<Vec<u8>, EncodeError> {
    let json = serde_json::to_vec(record).map_err(EncodeError::Json)?;
    if json.len() > MAX_RECORD_BYTES {
        return Err(EncodeError::TooLarge { bytes: json.len() });
    }
    let mut line = format!("{:08x} {:08x} ", json.len(), crc32fast::hash(&json)).into_bytes();
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

/// What a log file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// The length up to which the file is good: truncate it to this before appending.
    pub valid_len: usize,
    /// How the file ends.
    pub tail: Tail,
}

/// How a log file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// After a whole record.
    Clean,
    /// In a record whose append never finished; it was dropped.
    Torn {
        /// How many bytes were dropped.
        bytes: usize,
    },
}

/// A log file that cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[error(
    "the operation log is damaged in record {index}, bytes {} to {}; do not edit it: restore it, or move it away \
     and run `drover host readmit`",
    .bytes.start, .bytes.end
)]
pub struct Damage {
    /// The number of the damaged record, from 0.
    pub index: usize,
    /// Its bytes in the file.
    pub bytes: Range<usize>,
    /// What is wrong with it.
    #[source]
    pub kind: DamageKind,
}

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum DamageKind {
    /// The line does not begin with length and checksum.
    #[error("it does not begin with a length and a checksum")]
    Head,
    /// The line is longer or shorter than it says.
    #[error("it has another length than it says")]
    Length,
    /// The checksum is another.
    #[error("its checksum is wrong")]
    Checksum,
    /// The content is none of our records.
    #[error("its content is no record of this version")]
    Content(#[source] serde_json::Error),
}

/// Reads a log file. A tail that was never completely written is dropped and reported in [`Decoded::tail`].
///
/// # Errors
/// When any other record does not read back; nothing of such a log is given out.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Damage> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let newline = rest.iter().position(|byte| *byte == b'\n');
        let end = newline.map_or(rest.len(), |newline| newline + 1);
        let last = end == rest.len();
        match newline.map_or(Err(DamageKind::Length), |newline| read_line(&rest[..newline])) {
            Ok(record) => records.push(record),
            Err(_) if last && is_torn(rest, newline) => {
                let tail = Tail::Torn { bytes: rest.len() };
                return Ok(Decoded {
                    records,
                    valid_len: at,
                    tail,
                });
            }
            Err(kind) => {
                return Err(Damage {
                    index: records.len(),
                    bytes: at..at + end,
                    kind,
                });
            }
        }
        at += end;
    }
    Ok(Decoded {
        records,
        valid_len: at,
        tail: Tail::Clean,
    })
}

fn read_line(line: &[u8]) -> Result<Record, DamageKind> {
    let (length, crc) = read_head(line).ok_or(DamageKind::Head)?;
    let json = &line[HEAD..];
    if json.len() != length {
        return Err(DamageKind::Length);
    }
    if crc32fast::hash(json) != crc {
        return Err(DamageKind::Checksum);
    }
    serde_json::from_slice(json).map_err(DamageKind::Content)
}

fn read_head(line: &[u8]) -> Option<(usize, u32)> {
    let head = line.get(..HEAD)?;
    if head[8] != b' ' || head[17] != b' ' {
        return None;
    }
    let length = usize::try_from(hex(&head[..8])?).ok()?;
    (length <= MAX_RECORD_BYTES).then_some((length, hex(&head[9..17])?))
}

fn hex(digits: &[u8]) -> Option<u32> {
    let lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if !digits.iter().all(lower) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Whether the last bytes of a file can be an append that did not finish.
fn is_torn(rest: &[u8], newline: Option<usize>) -> bool {
    let written = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    if written < rest.len() {
        // JSON holds no NUL byte: pages of this append never reached the disk.
        return true;
    }
    if newline.is_some() {
        return false;
    }
    match read_head(rest) {
        Some((length, _)) => rest.len() < HEAD + length + 1,
        None => {
            rest.len() < HEAD
                && rest.iter().enumerate().all(|(place, byte)| match place {
                    8 | 17 => *byte == b' ',
                    _ => hex(std::slice::from_ref(byte)).is_some(),
                })
        }
    }
}

#[cfg(test)]
mod tests;
