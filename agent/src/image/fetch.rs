//! Brings a source's bytes into a file of the cache, hashing them on the way.

use super::error::ImageError;
use super::order::{ImageOrder, ImageSource};
use super::store::{TempFile, io as io_error};
use crate::config::ImageLimits;
use drover_types::Sha256Digest;
use futures::StreamExt as _;
use hyper::body::Bytes;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use reqwest::{Client, Url};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Pieces between the network and the writing thread: enough to keep both busy.
const AHEAD: usize = 32;
/// Zeros are left out of the file in pieces of this size.
const SPARSE: usize = 64 << 10;
const READ: usize = 1 << 20;

/// Between two reports: a fetch has thousands of pieces a second, and each report goes to everybody who watches.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// The two threads that take every piece: one writes, one hashes.
struct Pieces {
    write: mpsc::Sender<Bytes>,
    hash: mpsc::Sender<Bytes>,
}

impl Pieces {
    /// False where one of them takes no more.
    async fn send(&self, piece: Bytes) -> bool {
        self.hash.send(piece.clone()).await.is_ok() && self.write.send(piece).await.is_ok()
    }
}

/// How far a fetch is: bytes done, and in all or 0.
pub(super) type Report<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// Reports now and then.
struct Pace<'a> {
    report: Report<'a>,
    last: Option<Instant>,
}

impl Pace<'_> {
    fn report(&mut self, done: u64, total: u64) {
        if self.last.is_none_or(|last| last.elapsed() >= REPORT_EVERY) {
            self.last = Some(Instant::now());
            (self.report)(done, total);
        }
    }
}

/// Fetches the order's source into `file` and checks its digest.
pub(super) async fn fetch(
    client: &Client,
    limits: &ImageLimits,
    order: &ImageOrder,
    temp: &TempFile,
    file: File,
    report: Report<'_>,
) -> Result<(), ImageError> {
    let (write_pieces, to_write) = mpsc::channel(AHEAD);
    let (hash_pieces, to_hash) = mpsc::channel(AHEAD);
    let pieces = Pieces {
        write: write_pieces,
        hash: hash_pieces,
    };
    let pace = Pace { report, last: None };
    let writer = tokio::task::spawn_blocking(move || write(to_write, &file));
    let hasher = tokio::task::spawn_blocking(move || hash(to_hash));
    let sent = async {
        let sent = match &order.source {
            ImageSource::Web(url) => send_web(client, limits, order, url, &pieces, pace).await,
            ImageSource::File(path) => send_file(limits, order, path, &pieces, pace).await,
        };
        drop(pieces);
        sent
    };
    let sent = tokio::time::timeout(limits.total_timeout, sent)
        .await
        .unwrap_or_else(|_| {
            Err(ImageError::TooSlow {
                from: order.source.clone(),
                limit: limits.total_timeout,
            })
        });
    let written = writer.await.unwrap_or_else(|fault| Err(io::Error::other(fault)));
    // A writer that failed closed the channel: its error is the cause, whatever the sender saw.
    written.map_err(io_error("write", temp.path()))?;
    sent?;
    let found = hasher
        .await
        .map_err(|fault| io_error("hash", temp.path())(io::Error::other(fault)))?;
    fail::fail_point!("after-download");
    if found == order.checksum {
        Ok(())
    } else {
        Err(ImageError::Checksum {
            from: order.source.clone(),
            found,
            expected: order.checksum,
        })
    }
}

/// Ends without an error where nobody takes the pieces: the writer has the error.
async fn send_web(
    client: &Client,
    limits: &ImageLimits,
    order: &ImageOrder,
    url: &Url,
    pieces: &Pieces,
    mut pace: Pace<'_>,
) -> Result<(), ImageError> {
    let from = &order.source;
    let web = |error: reqwest::Error| ImageError::Web {
        from: from.clone(),
        // The URL may hold a secret; `from` shows what may be shown.
        source: error.without_url(),
    };
    let response = client.get(url.clone()).send().await.map_err(web)?;
    if response.status() != http::StatusCode::OK {
        return Err(ImageError::Answer {
            from: from.clone(),
            status: response.status(),
        });
    }
    let total = response.content_length().unwrap_or(0);
    check_size(limits, from, total)?;
    let mut done = 0;
    let mut body = response.bytes_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(web)?;
        done += piece.len() as u64;
        check_size(limits, from, done)?;
        if !pieces.send(piece).await {
            return Ok(());
        }
        pace.report(done, total);
    }
    Ok(())
}

async fn send_file(
    limits: &ImageLimits,
    order: &ImageOrder,
    path: &Path,
    pieces: &Pieces,
    mut pace: Pace<'_>,
) -> Result<(), ImageError> {
    let from = &order.source;
    let file = open_below(&limits.file_roots, from, path)?;
    let failed = |source| ImageError::File {
        from: from.clone(),
        source,
    };
    let data = file.metadata().map_err(failed)?;
    if !data.is_file() {
        return Err(ImageError::NotAFile { from: from.clone() });
    }
    let total = data.len();
    let (mut done, mut file) = (0, file);
    loop {
        check_size(limits, from, total.max(done))?;
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; READ];
            let length = file.read(&mut piece)?;
            piece.truncate(length);
            Ok((piece, file))
        });
        let (piece, again) = read
            .await
            .unwrap_or_else(|fault| Err(io::Error::other(fault)))
            .map_err(failed)?;
        file = again;
        if piece.is_empty() {
            return Ok(());
        }
        done += piece.len() as u64;
        if !pieces.send(piece.into()).await {
            return Ok(());
        }
        pace.report(done, total);
    }
}

fn check_size(limits: &ImageLimits, from: &ImageSource, bytes: u64) -> Result<(), ImageError> {
    if bytes <= limits.max_size.bytes() {
        return Ok(());
    }
    Err(ImageError::TooLarge {
        from: from.clone(),
        limit: limits.max_size,
    })
}

/// Opens a file that lies below one of the roots, with every link on the way resolved below it too. A pipe
/// or a device does not block.
fn open_below(roots: &[std::path::PathBuf], from: &ImageSource, path: &Path) -> Result<File, ImageError> {
    let failed = |source| ImageError::File {
        from: from.clone(),
        source,
    };
    let below = roots
        .iter()
        .find_map(|root| Some((root, path.strip_prefix(root).ok()?)));
    let Some((root, rest)) = below else {
        return Err(ImageError::OutsideRoots { from: from.clone() });
    };
    let within = if root == Path::new("/") {
        // Absolute links lie below this root like everything.
        ResolveFlag::RESOLVE_IN_ROOT
    } else {
        ResolveFlag::RESOLVE_BENEATH
    };
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .resolve(within | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let root = File::open(root).map_err(failed)?;
    match openat2(&root, rest, how) {
        Ok(file) => Ok(file.into()),
        Err(nix::Error::EXDEV) => Err(ImageError::OutsideRoots { from: from.clone() }),
        Err(error) => Err(failed(error.into())),
    }
}

/// Writes what comes; pieces of zeros become holes.
fn write(mut pieces: mpsc::Receiver<Bytes>, file: &File) -> io::Result<()> {
    let mut at: u64 = 0;
    while let Some(piece) = pieces.blocking_recv() {
        for part in piece.chunks(SPARSE) {
            if part.iter().any(|byte| *byte != 0) {
                file.write_all_at(part, at)?;
            }
            at += part.len() as u64;
        }
    }
    file.set_len(at)
}

/// Hashes what comes.
fn hash(mut pieces: mpsc::Receiver<Bytes>) -> Sha256Digest {
    let mut hash = Sha256::new();
    while let Some(piece) = pieces.blocking_recv() {
        hash.update(&piece);
    }
    Sha256Digest::from_bytes(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_lies_below_a_root_opens() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, outside) = (dir.path().join("images"), dir.path().join("secret"));
        std::fs::create_dir(&root).expect("made");
        std::fs::write(&outside, "s").expect("written");
        std::fs::write(root.join("good"), "g").expect("written");
        symlink("good", root.join("inside")).expect("linked");
        symlink("../secret", root.join("escape")).expect("linked");
        symlink(&outside, root.join("absolute")).expect("linked");
        let roots = [root.clone()];
        let open = |path: &Path| open_below(&roots, &ImageSource::File(path.to_owned()), path);
        for good in ["good", "inside"] {
            assert!(open(&root.join(good)).is_ok(), "{good}");
        }
        for bad in [
            root.join("escape"),
            root.join("absolute"),
            root.join("../secret"),
            outside,
        ] {
            let error = open(&bad).err();
            assert!(
                matches!(error, Some(ImageError::OutsideRoots { .. })),
                "{}: {error:?}",
                bad.display()
            );
        }
        let missing = open(&root.join("missing")).err();
        assert!(matches!(missing, Some(ImageError::File { .. })), "{missing:?}");
        let none = open_below(
            &[],
            &ImageSource::File("/etc/passwd".into()),
            Path::new("/etc/passwd"),
        );
        assert!(matches!(none, Err(ImageError::OutsideRoots { .. })));
    }
}
