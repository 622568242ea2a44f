//! Opens a channel to one agent.

use super::credentials::Credentials;
use super::refusal::{Refusal, WatchedStream};
use drover_types::Identity;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution, TCP and TLS together.
    pub connect: Duration,
    /// Between two HTTP/2 pings on a channel with open requests.
    pub keep_alive_interval: Duration,
    /// For the answer to such a ping; then the channel is given up.
    pub keep_alive_timeout: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(10),
        }
    }
}

/// Why no channel could be opened. Nothing was sent then: no request can have had an effect.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name does not resolve, nothing listens, or nobody answered in time.
    #[error("nothing answers at {at}")]
    Unreachable {
        /// Host and port.
        at: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something listens, but it is not whom we meant, or it does not accept us.
    #[error("{at} is not trusted as {expected}, or does not trust us")]
    Untrusted {
        /// Host and port.
        at: String,
        /// Whom we meant.
        expected: Identity,
        /// What TLS says.
        source: std::io::Error,
    },
    /// It is whom we meant, and it does not accept our certificate.
    #[error("it does not accept our certificate")]
    Refused {
        /// Host and port.
        at: String,
        /// What TLS says.
        source: std::io::Error,
    },
    /// TLS works, HTTP/2 does not.
    #[error("{at} does not speak the agents' protocol")]
    Protocol {
        /// Host and port.
        at: String,
        /// What tonic says.
        source: tonic::transport::Error,
    },
    /// Our own chain or key was refused by our side.
    #[error("our own credentials cannot be used")]
    Credentials(#[source] rustls::Error),
}

/// Connects to `host:port`, checks that it is `expected`, and gives a channel that never reconnects
/// elsewhere: when the connection breaks, its requests fail and the caller connects anew.
///
/// # Errors
/// As [`ConnectError`] says; nothing was sent in any of these cases.
pub async fn connect(
    host: &str,
    port: u16,
    expected: &Identity,
    credentials: &Credentials,
    timeouts: Timeouts,
) -> Result<Channel, ConnectError> {
    let at = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let config = credentials
        .client_config(expected.clone())
        .map_err(ConnectError::Credentials)?;
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::try_from("agent.invalid").expect("a fixed, valid DNS name"));
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
    let deadline = tokio::time::Instant::now() + timeouts.connect;

    let tcp = tokio::time::timeout_at(deadline, TcpStream::connect((host, port)))
        .await
        .unwrap_or_else(|_| Err(late()))
        .map_err(|source| ConnectError::Unreachable {
            at: at.clone(),
            source,
        })?;
    tcp.set_nodelay(true)
        .map_err(|source| ConnectError::Unreachable {
            at: at.clone(),
            source,
        })?;
    let mut tls = tokio::time::timeout_at(deadline, TlsConnector::from(config).connect(name, tcp))
        .await
        .unwrap_or_else(|_| Err(late()))
        .map_err(|source| {
            // Only what TLS itself says is about trust; a connection that breaks is a host that is gone.
            let by_tls = source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let (at, source) = (at.clone(), in_plain_words(source));
            if !by_tls {
                ConnectError::Unreachable { at, source }
            } else {
                ConnectError::Untrusted {
                    at,
                    expected: expected.clone(),
                    source,
                }
            }
        })?;

    // tonic wants a connector; ours hands out the one connection that was checked, once.
    // An HTTP/2 server speaks first. Waiting for that tells a refusal of our certificate, which with TLS 1.3
    // comes after the handshake, from a connection that broke later.
    let mut first = vec![0_u8; 4096];
    let bytes = tokio::time::timeout_at(deadline, tls.read(&mut first))
        .await
        .unwrap_or_else(|_| Err(late()))
        .and_then(|bytes| {
            if bytes == 0 {
                Err(std::io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok(bytes)
            }
        })
        .map_err(|source| {
            let at = at.clone();
            let by_tls = source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            if by_tls {
                ConnectError::Refused { at, source }
            } else {
                ConnectError::Unreachable { at, source }
            }
        })?;
    first.truncate(bytes);
    let refusal = Refusal::default();
    let watched = WatchedStream::new(tls, refusal.clone(), first);
    let connection = Arc::new(std::sync::Mutex::new(Some(TokioIo::new(watched))));
    let connector = tower::service_fn(move |_: Uri| {
        let taken = connection.lock().ok().and_then(|mut slot| slot.take());
        std::future::ready(taken.ok_or_else(|| refusal.take().unwrap_or_else(broke)))
    });
    Endpoint::from_static("http://agent.invalid")
        .http2_keep_alive_interval(timeouts.keep_alive_interval)
        .keep_alive_timeout(timeouts.keep_alive_timeout)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .connect_with_connector(connector)
        .await
        .map_err(|source| ConnectError::Protocol { at, source })
}

fn broke() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::NotConnected,
        "the connection to the agent broke",
    )
}

/// rustls shows what our own verifier said only in Rust's notation; the words are in the error itself.
fn in_plain_words(error: std::io::Error) -> std::io::Error {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(ours))) => {
            std::io::Error::new(error.kind(), ours.clone())
        }
        Some(_) | None => error,
    }
}
