//! The digest of a base file: SHA-256 over the SHA-256 digests of its 4 MiB pieces, in order.
//!
//! It is compared between hosts before a migration. A plain pass over the file would take as long as all
//! the rest; pieces are hashed on several threads, and holes are not read.

use drover_types::Sha256Digest;
use nix::unistd::{Whence, lseek};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

const PIECE: u64 = 4 << 20;
/// More threads than this only compete for the disk.
const THREADS: usize = 4;

/// The digest of a base file, which is on its disk then. Blocks.
pub(super) fn of_synced_base(file: &File) -> io::Result<Sha256Digest> {
    std::thread::scope(|scope| {
        // Neither waits for the other: one needs the processor, the other the disk.
        let synced = scope.spawn(|| file.sync_data());
        let digest = of_base(file);
        synced
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the syncing thread failed")))?;
        digest
    })
}

/// The digest of a base file. Blocks.
fn of_base(file: &File) -> io::Result<Sha256Digest> {
    let length = file.metadata()?.len();
    let pieces = length.div_ceil(PIECE);
    let zeros: [u8; 32] = Sha256::digest(vec![0_u8; usize::try_from(PIECE).unwrap_or_default()]).into();
    let holes = holes(file, length)?;
    let next = AtomicU64::new(0);
    let work = || -> io::Result<Vec<(u64, [u8; 32])>> {
        let mut buffer = vec![0_u8; usize::try_from(PIECE).unwrap_or_default()];
        let mut done = Vec::new();
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                return Ok(done);
            }
            let start = piece * PIECE;
            let end = (start + PIECE).min(length);
            let whole = end - start == PIECE;
            if whole && holes.iter().any(|(from, to)| *from <= start && end <= *to) {
                done.push((piece, zeros));
                continue;
            }
            let part = &mut buffer[..usize::try_from(end - start).unwrap_or_default()];
            file.read_exact_at(part, start)?;
            done.push((piece, Sha256::digest(part).into()));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(THREADS));
    let parts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a hashing thread failed")))
            })
            .collect::<io::Result<Vec<_>>>()
    })?;
    let mut parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.sort_unstable_by_key(|(piece, _)| *piece);
    let mut all = Sha256::new();
    for (_, digest) in parts {
        all.update(digest);
    }
    Ok(Sha256Digest::from_bytes(all.finalize().into()))
}

/// Where the file has no data; nothing where the file system cannot tell.
fn holes(file: &File, length: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut holes = Vec::new();
    let mut at = 0;
    let end = i64::try_from(length).map_err(io::Error::other)?;
    while at < end {
        let data = match lseek(file, at, Whence::SeekData) {
            Ok(data) => data,
            // No data from here on.
            Err(nix::Error::ENXIO) => end,
            Err(nix::Error::EINVAL) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        if data > at {
            holes.push((at.unsigned_abs(), data.unsigned_abs()));
        }
        if data >= end {
            break;
        }
        at = lseek(file, data, Whence::SeekHole)?;
    }
    Ok(holes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_written_zeros_have_the_same_digest() {
        let data = |place: u64| u8::try_from(place % 251).expect("below 251");
        let length = 3 * PIECE + 12_345;
        let sparse = tempfile::tempfile().expect("a file");
        sparse.set_len(length).expect("sized");
        let tail: Vec<u8> = (0..2 * PIECE).map(data).take(70_000).collect();
        sparse.write_all_at(&tail, 2 * PIECE + 5).expect("written");
        let full = tempfile::tempfile().expect("a file");
        let mut bytes = vec![0_u8; usize::try_from(length).expect("small")];
        let start = usize::try_from(2 * PIECE + 5).expect("small");
        bytes[start..start + tail.len()].copy_from_slice(&tail);
        full.write_all_at(&bytes, 0).expect("written");

        let expected = {
            let mut all = Sha256::new();
            for piece in bytes.chunks(usize::try_from(PIECE).expect("small")) {
                all.update(Sha256::digest(piece));
            }
            Sha256Digest::from_bytes(all.finalize().into())
        };
        assert_eq!(of_base(&sparse).expect("hashed"), expected);
        assert_eq!(of_base(&full).expect("hashed"), expected);
    }
}
