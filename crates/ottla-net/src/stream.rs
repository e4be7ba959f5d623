//! The byte stream of a connection. TLS will be a second variant: it differs in that files cannot be sent from the kernel.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, Interest};
use tokio::net::TcpStream;

/// An accepted connection's stream.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
}

impl Stream {
    /// Waits until a read may give something, so that no buffer is needed for a connection that is silent.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_read_ready(cx),
        }
    }

    /// Reads into the spare room of `buf`; 0 is the end of the stream.
    pub(crate) fn poll_read<B: BufMut + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
    ) -> Poll<io::Result<usize>> {
        match self {
            // `read_buf` keeps no state between polls.
            Self::Plain(tcp) => pin!(tcp.read_buf(&mut &mut *buf)).poll(cx),
        }
    }

    /// Writes some of `slices`; `more` says that other bytes follow at once, so that no small packet is sent for them.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        more: bool,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) if more => poll_write_io(tcp, cx, |tcp| {
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                Ok(rustix::net::sendmsg(tcp, slices, &mut SendAncillaryBuffer::default(), flags)?)
            }),
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
        }
    }

    /// Whether [`Stream::poll_send_file`] works.
    pub(crate) fn can_send_file(&self) -> bool {
        match self {
            Self::Plain(_) => true,
        }
    }

    /// Sends up to `len` bytes of a file from the page cache; 0 is the end of the file.
    pub(crate) fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => poll_write_io(tcp, cx, |tcp| {
                let mut position = offset;
                Ok(rustix::fs::sendfile(tcp, file, Some(&mut position), len)?)
            }),
        }
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
        }
    }
}

fn poll_write_io(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    mut io: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_write_ready(cx))?;
        match tcp.try_io(Interest::WRITABLE, || io(tcp)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}
