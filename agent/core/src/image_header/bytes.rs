//! Numbers at given places of a byte slice; a place outside is an error, never a panic.

use super::error::HeaderError;

/// The `N` bytes at `at`.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], HeaderError> {
    at.checked_add(N)
        .and_then(|end| bytes.get(at..end))
        .and_then(|slice| slice.try_into().ok())
        .ok_or(HeaderError::HeaderCut)
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Result<u32, HeaderError> {
    array(bytes, at).map(u32::from_be_bytes)
}

pub(super) fn be64(bytes: &[u8], at: usize) -> Result<u64, HeaderError> {
    array(bytes, at).map(u64::from_be_bytes)
}

pub(super) fn le16(bytes: &[u8], at: usize) -> Result<u16, HeaderError> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub(super) fn le32(bytes: &[u8], at: usize) -> Result<u32, HeaderError> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn le64(bytes: &[u8], at: usize) -> Result<u64, HeaderError> {
    array(bytes, at).map(u64::from_le_bytes)
}
