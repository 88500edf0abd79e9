//! A socket that remembers what the peer said first: when a handshake fails, that says why.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are remembered: a ClientHello with a post-quantum key share has 1.8 KB.
const REMEMBERED_MAX: usize = 8192;

#[derive(Debug)]
pub(in crate::driver) struct Recorder {
    socket: TcpStream,
    /// `None`: no more is remembered.
    said: Option<Vec<u8>>,
}

impl Recorder {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            said: Some(Vec::new()),
        }
    }

    /// What the peer said first; from now on nothing is remembered.
    pub(super) fn first_words(&mut self) -> Vec<u8> {
        self.said.take().unwrap_or_default()
    }

    pub(in crate::driver) const fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl AsyncRead for Recorder {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(cx, buf);
        if let Some(said) = &mut this.said {
            let more = buf.filled().get(before..).unwrap_or_default();
            said.extend(more.iter().take(REMEMBERED_MAX - said.len()));
        }
        polled
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
