//! Joins a unix socket to one `Tunnel` stream, byte for byte, both ways, each way closed by itself.

use drover_proto::v1::tunnel_frame::Frame;
use drover_proto::v1::{TunnelClose, TunnelFrame};
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Bytes per message: large enough that a message costs little, small enough to keep several in flight.
pub(super) const CHUNK: usize = 256 << 10;

/// Messages that may wait for the network: with `CHUNK`, 2 MiB per stream.
pub(super) const IN_FLIGHT: usize = 8;

/// Why a stream of a migration ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    #[error("a local socket of the migration failed")]
    Socket(#[source] std::io::Error),
    #[error("the stream to the other agent broke")]
    Stream(#[source] Box<Status>),
    #[error("the other agent left")]
    Left,
    #[error("the other agent sent a frame that does not belong here")]
    Frame,
}

/// Relays until both directions are closed, or one fails; then both ends are let go, which ends the migration.
/// `closing` is cancelled as soon as either direction ends, before the end is passed on.
pub(super) async fn relay<S>(
    socket: UnixStream,
    mut inbound: S,
    outbound: Sender<TunnelFrame>,
    closing: CancellationToken,
) -> Result<(), RelayError>
where
    S: Stream<Item = Result<TunnelFrame, Status>> + Unpin + Send,
{
    let (mut read, mut write) = socket.into_split();
    // Whatever ends this, an error too.
    let _closed = closing.clone().drop_guard();
    let send = async {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            if read.read_buf(&mut chunk).await.map_err(RelayError::Socket)? == 0 {
                closing.cancel();
                let close = TunnelFrame {
                    frame: Some(Frame::Close(TunnelClose::default())),
                };
                return outbound.send(close).await.map_err(|_| RelayError::Left);
            }
            let data = TunnelFrame {
                frame: Some(Frame::Data(chunk)),
            };
            outbound.send(data).await.map_err(|_| RelayError::Left)?;
        }
    };
    let receive = async {
        loop {
            let frame = inbound.next().await.ok_or(RelayError::Left)?;
            match frame
                .map_err(|status| RelayError::Stream(Box::new(status)))?
                .frame
            {
                Some(Frame::Data(data)) => write.write_all(&data).await.map_err(RelayError::Socket)?,
                Some(Frame::Close(_)) => {
                    closing.cancel();
                    return write.shutdown().await.map_err(RelayError::Socket);
                }
                Some(Frame::Open(_)) | None => return Err(RelayError::Frame),
            }
        }
    };
    tokio::try_join!(send, receive).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn bytes_and_ends_cross_both_ways() {
        let (mut here, near) = UnixStream::pair().expect("a pair");
        let (mut there, far) = UnixStream::pair().expect("a pair");
        let (to_far, from_near) = mpsc::channel(IN_FLIGHT);
        let (to_near, from_far) = mpsc::channel(IN_FLIGHT);
        let stream = |receiver| tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok);
        let closing = CancellationToken::new();
        let near = tokio::spawn(relay(near, stream(from_far), to_far, closing.clone()));
        let far = tokio::spawn(relay(far, stream(from_near), to_near, CancellationToken::new()));
        let sent = vec![7_u8; CHUNK * 3 + 11];
        let expected = sent.clone();
        assert!(!closing.is_cancelled());
        let question = tokio::spawn(async move {
            here.write_all(&sent).await.expect("sent");
            here.shutdown().await.expect("closed");
            let mut answer = Vec::new();
            here.read_to_end(&mut answer).await.expect("read");
            answer
        });
        let mut received = Vec::new();
        there
            .read_to_end(&mut received)
            .await
            .expect("read to the end of the other side");
        assert_eq!(received, expected);
        assert!(closing.is_cancelled(), "one way has ended");
        there.write_all(b"whole").await.expect("sent");
        there.shutdown().await.expect("closed");
        assert_eq!(question.await.expect("no panic"), b"whole");
        near.await.expect("no panic").expect("a clean end");
        far.await.expect("no panic").expect("a clean end");
    }

    #[tokio::test]
    async fn a_lost_agent_closes_the_socket() {
        let (mut here, near) = UnixStream::pair().expect("a pair");
        let (to_far, from_near) = mpsc::channel(IN_FLIGHT);
        let relay = tokio::spawn(relay(
            near,
            futures::stream::empty(),
            to_far,
            CancellationToken::new(),
        ));
        assert!(matches!(relay.await.expect("no panic"), Err(RelayError::Left)));
        let mut rest = Vec::new();
        here.read_to_end(&mut rest).await.expect("the end");
        assert!(rest.is_empty());
        drop(from_near);
    }
}
