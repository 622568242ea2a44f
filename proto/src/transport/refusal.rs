//! Why a server ended a connection right after the handshake. With TLS 1.3 a client learns that its
//! certificate was refused only when it reads, often before the first request is sent; HTTP/2 then says no
//! more than that the connection broke.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What TLS said when the connection ended, if it said anything.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<rustls::Error>>>);

impl Refusal {
    /// Takes it out.
    pub(super) fn take(&self) -> Option<io::Error> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
            .map(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))
    }

    fn keep(&self, error: &io::Error) {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tls.clone());
        }
    }
}

/// A stream that keeps what TLS says when a read fails.
pub(super) struct WatchedStream<S> {
    inner: S,
    refusal: Refusal,
    /// What was read before the stream was handed over.
    first: io::Cursor<Vec<u8>>,
}

impl<S> WatchedStream<S> {
    pub(super) const fn new(inner: S, refusal: Refusal, first: Vec<u8>) -> Self {
        Self {
            inner,
            refusal,
            first: io::Cursor::new(first),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let at = usize::try_from(self.first.position()).unwrap_or(usize::MAX);
        if let Some(left) = self.first.get_ref().get(at..)
            && !left.is_empty()
        {
            let taken = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..taken]);
            self.first.set_position((at + taken) as u64);
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &read {
            self.refusal.keep(error);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
