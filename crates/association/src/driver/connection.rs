//! What an association runs over: TCP, TLS, or any other stream of bytes.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[cfg(feature = "tls")]
use super::tls::{PeerTls, TlsStream};

/// A stream of bytes that an association can run over. Its `shutdown` tells the peer that nothing more comes.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Transport for T {}

/// An open transport connection, before an association is on it. A [`TcpStream`] becomes one with `into`.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// `None`: the socket knows it.
    peer: Option<IpAddr>,
    #[cfg(feature = "tls")]
    tls: Option<PeerTls>,
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(stream),
            peer: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Connection {
    /// Over any stream, in memory for example. `peer` is the address that a proposal is said to come from.
    #[must_use]
    pub fn over(stream: impl Transport + 'static, peer: IpAddr) -> Self {
        Self {
            stream: Stream::Other(Box::new(stream)),
            peer: Some(peer),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn secured(stream: TlsStream, tls: PeerTls) -> Self {
        Self {
            stream: Stream::Tls(Box::new(stream)),
            peer: None,
            tls: Some(tls),
        }
    }

    /// Version, suite and the peer's certificates; `None` when the connection is without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub const fn tls(&self) -> Option<&PeerTls> {
        self.tls.as_ref()
    }

    /// The peer's address.
    ///
    /// # Errors
    /// When the socket has none any more: the peer has reset the connection.
    pub fn peer(&self) -> io::Result<IpAddr> {
        match (self.peer, self.stream.socket()) {
            (Some(peer), _) => Ok(peer),
            (None, Some(socket)) => Ok(socket.peer_addr()?.ip()),
            (None, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The stream, which delays no small write.
    pub(super) fn into_stream(self) -> io::Result<Stream> {
        if let Some(socket) = self.stream.socket() {
            socket.set_nodelay(true)?;
        }
        Ok(self.stream)
    }
}

/// One enum and no type parameter, so that associations over different streams are of one type.
pub(super) enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
    Other(Box<dyn Transport>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(stream) => stream.fmt(f),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.get_ref().0.socket().fmt(f),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

impl Stream {
    /// The socket below, if it is one.
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Some(stream.get_ref().0.socket()),
            Self::Other(_) => None,
        }
    }

    /// Not kept by the kernel, so set after every read. A kernel that has it not is only slower.
    pub(super) fn quickack(&self) {
        #[cfg(target_os = "linux")]
        if let Some(socket) = self.socket() {
            drop(socket2::SockRef::from(socket).set_tcp_quickack(true));
        }
    }

    fn inner(&mut self) -> Pin<&mut dyn Transport> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(&mut **stream),
            Self::Other(stream) => Pin::new(&mut **stream),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().inner().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().inner().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Other(stream) => stream.is_write_vectored(),
        }
    }
}
