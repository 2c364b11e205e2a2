//! The stream of an HTTP/2 connection: what `h2` reads and writes is counted on its way.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::downstream::http2::turns::ResponseTurns;
use crate::protocol::frame_scan::{Flood, FrameScan, HeadClock};
use crate::protocol::frames::SentData;

/// What was seen on the way.
#[derive(Debug, Default)]
pub(super) struct Seen {
    frames: Mutex<Frames>,
    pub(super) turns: ResponseTurns,
}

#[derive(Debug, Default)]
struct Frames {
    scan: FrameScan,
    sent: SentData,
    head: HeadClock,
    /// The last write could not be completed: bytes of `h2` wait for the socket.
    is_blocked: bool,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn flood(&self) -> Option<Flood> {
        self.lock().scan.flood()
    }

    /// When the head that has begun must be complete.
    pub(super) fn head_deadline(&self, timeout: Duration) -> Option<Instant> {
        self.lock().head.deadline(timeout)
    }

    /// `h2` has read what has arrived: responses may use the window that it brought.
    pub(super) fn open_window(&self) {
        let opened = self.lock().scan.take_opened();
        if opened > 0 {
            self.turns.opened(opened);
        }
    }

    /// Whether bytes wait for the socket.
    pub(super) fn is_blocked(&self) -> bool {
        self.lock().is_blocked
    }
}

/// The stream of a connection.
pub(super) struct Wire {
    pub(super) stream: Stream,
    pub(super) seen: Arc<Seen>,
}

impl Wire {
    /// Notes a write of these slices.
    fn wrote<'a>(&self, written: &Poll<io::Result<usize>>, slices: impl Iterator<Item = &'a [u8]>) {
        let mut frames = self.seen.lock();
        frames.is_blocked = written.is_pending();
        let Poll::Ready(Ok(bytes)) = written else { return };
        frames.scan.sent(*bytes as u64);
        let (mut left, mut data) = (*bytes, 0);
        for slice in slices {
            let taken = slice.get(..left.min(slice.len())).unwrap_or_default();
            data += frames.sent.feed(taken);
            left -= taken.len();
        }
        drop(frames);
        self.seen.turns.written(data, Instant::now());
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let now = Instant::now();
        let mut frames = self.seen.lock();
        let Frames { scan, head, .. } = &mut *frames;
        scan.feed(buffer.filled().get(before..).unwrap_or_default(), now);
        head.note(scan.in_head(), now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&written, std::iter::once(bytes));
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(&written, slices.iter().map(|slice| &**slice));
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_pending() {
            self.seen.lock().is_blocked = true;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
