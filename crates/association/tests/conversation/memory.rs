//! Over a stream that is no socket, and that buffers: both roles in memory.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use packhorse_association::{AcceptorConfig, Connection, Request, RequestedAssociation, accept};
use packhorse_dicom::status::Status;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use crate::peer::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Keeps what is written until it is flushed, as TLS may.
struct Buffering {
    inner: DuplexStream,
    kept: Vec<u8>,
}

impl Buffering {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.kept))?;
            self.kept.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Buffering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Buffering {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.kept.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn an_association_runs_over_any_stream_and_flushes_what_that_keeps_back() {
    let ends = duplex(4096);
    let over = |inner| {
        Connection::over(
            Buffering {
                inner,
                kept: Vec::new(),
            },
            PEER,
        )
    };
    let (ours, theirs) = (over(ends.0), over(ends.1));
    let serving = tokio::spawn(async move {
        let mut association = accept(ours, "", &AcceptorConfig::default(), &no_raw_data)
            .await
            .unwrap();
        assert_eq!(association.proposal().peer, PEER);
        let mut stored = Vec::new();
        while let Some(request) = association.next().await.unwrap() {
            let Request::Store(mut store) = request else { panic!() };
            stored.push(whole(&mut store).await.unwrap());
            store.respond(Status::SUCCESS, None).await.unwrap();
        }
        stored
    });
    let config = requestor_config();
    let mut association = RequestedAssociation::request_over(theirs, &config, contexts())
        .await
        .unwrap();
    let data: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let command = store_rq();
    let sent = association.store(id(STORE), &command, Some(Bytes::from(data.clone())));
    assert_eq!(sent.await.unwrap().status, Status::SUCCESS);
    association.release().await.unwrap();
    assert_eq!(serving.await.unwrap(), [data]);
}
