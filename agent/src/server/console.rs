//! A server's console log, read from its file; virtlogd writes it, and turns it over at its limit.

use drover_proto::v1::ConsoleLogChunk;
use futures::Stream;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tonic::Status;

/// Largest piece of one message.
const CHUNK: usize = 64 << 10;

/// How often a file is looked at that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Reads the log from `offset` on (negative: so many bytes before the end); with `follow` it goes on with what
/// comes, until the caller leaves. A log that was turned over meanwhile is followed from its new beginning.
pub(super) fn read(
    path: PathBuf,
    offset: i64,
    follow: bool,
) -> impl Stream<Item = Result<ConsoleLogChunk, Status>> {
    let begin = Position::Asked(offset);
    futures::stream::try_unfold((path, begin), move |(path, position)| async move {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut at = position;
        loop {
            // The first tick is at once.
            looks.tick().await;
            let (chunk, offset) = next(&path, at).await.map_err(|source| {
                Status::unavailable(format!(
                    "the console log {} cannot be read: {source}",
                    path.display()
                ))
            })?;
            if !chunk.is_empty() {
                let then = Position::At(offset + chunk.len() as u64);
                return Ok(Some((ConsoleLogChunk { data: chunk, offset }, (path, then))));
            }
            if !follow {
                return Ok(None);
            }
            at = Position::At(offset);
        }
    })
}

#[derive(Clone, Copy)]
enum Position {
    Asked(i64),
    At(u64),
}

async fn next(path: &Path, position: Position) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(path).await?;
    let length = file.metadata().await?.len();
    let offset = match position {
        Position::Asked(offset) if offset < 0 => length.saturating_sub(offset.unsigned_abs()),
        Position::Asked(offset) => offset.unsigned_abs().min(length),
        // Shorter than what was read: it was turned over.
        Position::At(offset) if offset > length => 0,
        Position::At(offset) => offset,
    };
    file.seek(SeekFrom::Start(offset)).await?;
    let mut chunk = Vec::new();
    file.take(CHUNK as u64).read_to_end(&mut chunk).await?;
    Ok((chunk, offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;

    fn text(chunk: Option<Result<ConsoleLogChunk, Status>>) -> Option<(String, u64)> {
        let chunk = chunk?.expect("readable");
        Some((String::from_utf8(chunk.data).expect("text"), chunk.offset))
    }

    #[tokio::test]
    async fn reads_from_an_offset_from_the_end_and_onwards() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("console.log");
        std::fs::write(&path, "one two").expect("written");
        let mut all = Box::pin(read(path.clone(), 4, false));
        assert_eq!(text(all.next().await), Some(("two".to_owned(), 4)));
        assert_eq!(text(all.next().await), None);
        let mut tail = Box::pin(read(path.clone(), -3, true));
        assert_eq!(text(tail.next().await), Some(("two".to_owned(), 4)));
        std::fs::write(&path, "one two three").expect("written");
        assert_eq!(text(tail.next().await), Some((" three".to_owned(), 7)));
        std::fs::write(&path, "new").expect("turned over");
        assert_eq!(text(tail.next().await), Some(("new".to_owned(), 0)));
    }
}
