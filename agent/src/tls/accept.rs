//! Accepts connections: capped in number, with a limit on the time that a handshake may take.

use super::reload::LoadedCredentials;
use crate::limits::Limits;
use crate::operations::chain;
use drover_proto::transport::peer_identity;
use drover_types::Identity;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;

/// After an error of `accept` itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Finished connections that wait for tonic; it takes them at once.
const WAITING: usize = 16;
/// Most that is read of a refused client: its first requests, no more.
const GOODBYE_BYTES: usize = 64 << 10;

/// Who is at the other end of a connection; every request carries it in its extensions.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The identity in its certificate. Its authority was checked; its fleet and role were not yet.
    pub identity: Identity,
    /// Where it connected from.
    pub address: SocketAddr,
}

/// A connection after its handshake. Counts against the cap until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Accepts connections on one listener until it is told to stop.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    credentials: watch::Receiver<Arc<LoadedCredentials>>,
    limits: Limits,
    stop: CancellationToken,
}

impl Acceptor {
    /// An acceptor; each handshake uses the credentials that are current when it begins.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        credentials: watch::Receiver<Arc<LoadedCredentials>>,
        limits: Limits,
        stop: CancellationToken,
    ) -> Self {
        Self {
            listener,
            credentials,
            limits,
            stop,
        }
    }

    /// Accepts into the channel, whose other end [`Self::channel`] gave, until told to stop or nobody takes
    /// connections any more.
    pub async fn run(self, connections: mpsc::Sender<io::Result<Connection>>) {
        let permits = Arc::new(Semaphore::new(self.limits.connections));
        let handshakes = TaskTracker::new();
        loop {
            // Both are cancel-safe: a connection that was not yet accepted stays in the backlog.
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = self.stop.cancelled() => break,
                () = connections.closed() => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                tracing::warn!(%address, limit = self.limits.connections, "refused a connection: too many are open");
                continue;
            };
            let config = self.credentials.borrow().server.clone();
            let (limit, connections) = (self.limits.handshake, connections.clone());
            handshakes.spawn(async move {
                match tokio::time::timeout(limit, handshake(config, stream, address, permit)).await {
                    // Nobody takes it: the server is going down.
                    Ok(Some(connection)) => drop(connections.send(Ok(connection)).await),
                    Ok(None) => {}
                    Err(_) => {
                        tracing::warn!(%address, "refused a connection: its TLS handshake took too long");
                    }
                }
            });
        }
        handshakes.close();
        handshakes.wait().await;
    }

    /// The channel through which tonic gets its connections.
    #[must_use]
    pub fn channel() -> (
        mpsc::Sender<io::Result<Connection>>,
        mpsc::Receiver<io::Result<Connection>>,
    ) {
        mpsc::channel(WAITING)
    }
}

/// Lets the alert that says why reach the client: closing while its bytes are unread would reset the
/// connection, and the alert be lost with it. Bounded by the handshake's time limit and by [`GOODBYE_BYTES`].
async fn say_goodbye(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut unread = [0_u8; 1024];
    let mut read = 0;
    while let Ok(bytes @ 1..) = stream.read(&mut unread).await {
        read += bytes;
        if read > GOODBYE_BYTES {
            return;
        }
    }
}

async fn handshake(
    config: Arc<rustls::ServerConfig>,
    stream: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
) -> Option<Connection> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "could not set TCP_NODELAY");
    }
    let stream = match TlsAcceptor::from(config).accept(stream).into_fallible().await {
        Ok(stream) => stream,
        Err((error, stream)) => {
            tracing::warn!(%address, "refused a connection: {}", chain(&error));
            say_goodbye(stream).await;
            return None;
        }
    };
    // The verifier made sure that there is a certificate of our authority.
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first)?;
    match peer_identity(certificate) {
        Ok(identity) => Some(Connection {
            peer: Peer { identity, address },
            stream,
            _permit: permit,
        }),
        Err(error) => {
            tracing::warn!(%address, "refused a connection: {}", chain(&error));
            None
        }
    }
}
