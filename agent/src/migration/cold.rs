//! The disk of a server that is off, carried as it lies: the overlay's bytes, a digest at the end, and the
//! receiver's own digest as the answer. The base under it is the destination's own copy.

use super::desk::{ColdDiskClaim, Desk};
use super::relay::{CHUNK, IN_FLIGHT};
use crate::hypervisor::JobProgress;
use crate::server::{DiskError, check_disk, rebase_disk};
use drover_proto::v1::peer_service_client::PeerServiceClient;
use drover_proto::v1::tunnel_frame::Frame;
use drover_proto::v1::{OperationProgress, TunnelChannel, TunnelClose, TunnelFrame, TunnelOpen};
use drover_types::{OperationId, Sha256Digest};
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

/// Why a disk was not carried.
#[derive(Debug, thiserror::Error)]
pub(super) enum ColdError {
    #[error("the file {} failed", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the stream between the agents broke")]
    Stream(#[source] Box<Status>),
    #[error("the other agent left before the end of the disk")]
    Left,
    #[error("the other agent sent a frame that does not belong here")]
    Frame,
    #[error("the disk arrived with digest {arrived}, it was sent with {sent:?}")]
    Digest { sent: String, arrived: Sha256Digest },
    #[error("the disk that arrived cannot be used")]
    Disk(#[source] DiskError),
}

fn on(path: &Path) -> impl Fn(io::Error) -> ColdError + '_ {
    |source| ColdError::File {
        path: path.to_owned(),
        source,
    }
}

/// Sends the overlay; ends well once the destination has it whole on its disk.
pub(super) async fn send(
    mut client: PeerServiceClient<Channel>,
    operation: OperationId,
    disk: &Path,
    desk: &Desk,
) -> Result<JobProgress, ColdError> {
    let begun = Instant::now();
    let mut file = File::open(disk).await.map_err(on(disk))?;
    let total = file.metadata().await.map_err(on(disk))?.len();
    let (outbound, frames) = mpsc::channel(IN_FLIGHT);
    let open = TunnelOpen {
        operation_id: operation.to_string(),
        channel: TunnelChannel::ColdDisk.into(),
    };
    let open = TunnelFrame {
        frame: Some(Frame::Open(open)),
    };
    outbound.try_send(open).expect("the channel was made empty above");
    let broken = |status| ColdError::Stream(Box::new(status));
    let mut answers = client
        .tunnel(ReceiverStream::new(frames))
        .await
        .map_err(broken)?
        .into_inner();
    let mut hash = Sha256::new();
    let mut done = 0_u64;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        if file.read_buf(&mut chunk).await.map_err(on(disk))? == 0 {
            break;
        }
        hash.update(&chunk);
        done += chunk.len() as u64;
        let data = TunnelFrame {
            frame: Some(Frame::Data(chunk)),
        };
        outbound.send(data).await.map_err(|_| ColdError::Left)?;
        desk.report(OperationProgress {
            phase: "copying the disk".to_owned(),
            done_bytes: done,
            total_bytes: total,
            remaining_bytes: total.saturating_sub(done),
            dirty_bytes_per_second: 0,
            elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
    let sent = Sha256Digest::from_bytes(hash.finalize().into());
    let close = TunnelFrame {
        frame: Some(Frame::Close(TunnelClose {
            digest: sent.to_string(),
        })),
    };
    outbound.send(close).await.map_err(|_| ColdError::Left)?;
    let answer = answers.next().await.ok_or(ColdError::Left)?.map_err(broken)?;
    match answer.frame {
        Some(Frame::Close(close)) if close.digest == sent.to_string() => Ok(JobProgress {
            elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            total_bytes: total,
            processed_bytes: done,
            ..JobProgress::default()
        }),
        Some(Frame::Close(close)) => Err(ColdError::Digest {
            sent: close.digest,
            arrived: sent,
        }),
        Some(Frame::Open(_) | Frame::Data(_)) | None => Err(ColdError::Frame),
    }
}

/// Receives the overlay to `disk`, on top of this host's `base`. Until all of it is there and checked it has
/// another name.
pub(super) async fn receive<S>(
    mut inbound: S,
    disk: &Path,
    base: &Path,
    _claim: ColdDiskClaim,
) -> Result<TunnelFrame, ColdError>
where
    S: Stream<Item = Result<TunnelFrame, Status>> + Unpin + Send,
{
    let incoming = disk.with_extension("incoming");
    let mut file = File::create(&incoming).await.map_err(on(&incoming))?;
    let mut hash = Sha256::new();
    let sent = loop {
        let frame = inbound.next().await.ok_or(ColdError::Left)?;
        match frame.map_err(|status| ColdError::Stream(Box::new(status)))?.frame {
            Some(Frame::Data(data)) => {
                hash.update(&data);
                file.write_all(&data).await.map_err(on(&incoming))?;
            }
            Some(Frame::Close(close)) => break close.digest,
            Some(Frame::Open(_)) | None => return Err(ColdError::Frame),
        }
    };
    file.flush().await.map_err(on(&incoming))?;
    let arrived = Sha256Digest::from_bytes(hash.finalize().into());
    if sent != arrived.to_string() {
        return Err(ColdError::Digest {
            sent: sent.chars().take(80).collect(),
            arrived,
        });
    }
    rebase_disk(&incoming, base).await.map_err(ColdError::Disk)?;
    check_disk(&incoming).await.map_err(ColdError::Disk)?;
    file.sync_all().await.map_err(on(&incoming))?;
    tokio::fs::rename(&incoming, disk).await.map_err(on(disk))?;
    if let Some(directory) = disk.parent() {
        let opened = File::open(directory).await.map_err(on(directory))?;
        opened.sync_all().await.map_err(on(directory))?;
    }
    Ok(TunnelFrame {
        frame: Some(Frame::Close(TunnelClose {
            digest: arrived.to_string(),
        })),
    })
}
