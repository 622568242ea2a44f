//! An HTTP(S) server on loopback that counts its requests and can behave badly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Sends everything.
    Good,
    /// Sends half and closes.
    CutsOff,
    /// Sends half and then nothing.
    Stalls,
    /// The first time as [`Self::Stalls`], then as [`Self::Good`].
    StallsOnce,
    /// Answers 404.
    Missing,
    /// Redirects to plain HTTP on the same port.
    Downgrades,
}

/// A running server; it ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Source {
    pub(crate) async fn start(body: Vec<u8>, conduct: Conduct, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (requests, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (body, counted, opened) = (Arc::new(body), requests.clone(), open.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (body, counted, opened, tls) =
                    (body.clone(), counted.clone(), opened.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, &body, conduct, address, (&counted, &opened)).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream, &body, conduct, address, (&counted, &opened)).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            requests,
            open,
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Answers that were begun and not ended.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    body: &[u8],
    conduct: Conduct,
    address: SocketAddr,
    (requests, open): (&AtomicUsize, &AtomicUsize),
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let before = requests.fetch_add(1, Ordering::SeqCst);
    let conduct = match conduct {
        Conduct::StallsOnce if before == 0 => Conduct::Stalls,
        Conduct::StallsOnce => Conduct::Good,
        other => other,
    };
    open.fetch_add(1, Ordering::SeqCst);
    let good = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let (head, part) = match conduct {
        Conduct::Good | Conduct::StallsOnce => (good, body),
        Conduct::CutsOff | Conduct::Stalls => (good, &body[..body.len() / 2]),
        Conduct::Missing => (
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            &body[..0],
        ),
        Conduct::Downgrades => (
            format!("HTTP/1.1 302 Found\r\nlocation: http://{address}/x\r\ncontent-length: 0\r\n\r\n"),
            &body[..0],
        ),
    };
    let sent = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(part).await?;
        stream.flush().await
    };
    if sent.await.is_ok() && conduct == Conduct::Stalls {
        // Until the client goes.
        drop(stream.read_u8().await);
    }
    drop(stream.shutdown().await);
    open.fetch_sub(1, Ordering::SeqCst);
}
