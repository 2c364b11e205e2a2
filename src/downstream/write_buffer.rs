//! Buffers small writes to a connection: the head and the first bytes of the body of a response are
//! sent in one system call, without copying the body.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Size of the buffer, bytes: every response head fits.
const CAPACITY: usize = 4096;

/// Written bytes that were not yet passed to the stream.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    buffered: Vec<u8>,
}

impl WriteBuffer {
    /// Writes to the stream as [`AsyncWrite::poll_write`] does, after the buffered bytes; bytes that
    /// fit into the buffer are only buffered.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.buffered.len() + bytes.len() <= CAPACITY {
            self.buffered.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        while !self.buffered.is_empty() {
            let both = [IoSlice::new(&self.buffered), IoSlice::new(bytes)];
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(context, &both))?;
            let new = self.consume(written)?;
            if new > 0 {
                return Poll::Ready(Ok(new));
            }
        }
        Pin::new(stream).poll_write(context, bytes)
    }

    /// Writes the buffered bytes to the stream and flushes it.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_flush(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.buffered.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(context, &self.buffered))?;
            self.consume(written)?;
        }
        Pin::new(stream).poll_flush(context)
    }

    /// Removes written bytes from the buffer. Returns how many of `written` were not buffered.
    fn consume(&mut self, written: usize) -> io::Result<usize> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let buffered = self.buffered.len().min(written);
        self.buffered.drain(..buffered);
        Ok(written - buffered)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream that accepts at most `width` bytes per write, and is pending at every third write.
    #[derive(Default)]
    struct NarrowStream {
        taken: Vec<u8>,
        writes: usize,
        width: usize,
    }

    impl AsyncWrite for NarrowStream {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes += 1;
            if self.writes.is_multiple_of(3) {
                return Poll::Pending;
            }
            let fits = bytes.len().min(self.width);
            self.taken.extend_from_slice(&bytes[..fits]);
            Poll::Ready(Ok(fits))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.poll_write(context, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn head_and_body_are_written_at_once() {
        let mut stream = NarrowStream { width: usize::MAX, ..NarrowStream::default() };
        let mut write_buffer = WriteBuffer::default();
        let context = &mut Context::from_waker(std::task::Waker::noop());
        assert!(write_buffer.poll_write(&mut stream, context, b"head").is_ready());
        assert_eq!(stream.writes, 0);
        let body = vec![b'x'; 2 * CAPACITY];
        let written = write_buffer.poll_write(&mut stream, context, &body);
        assert!(matches!(written, Poll::Ready(Ok(length)) if length == body.len()), "{written:?}");
        assert_eq!(stream.writes, 1);
        assert!(stream.taken.starts_with(b"headxx"));
    }

    proptest! {
        #[test]
        fn every_byte_arrives_once_and_in_order(
            sizes in proptest::collection::vec(0_usize..3 * CAPACITY, 0..12),
            width in 1_usize..2 * CAPACITY,
            flushes: u16,
        ) {
            let mut stream = NarrowStream { width, ..NarrowStream::default() };
            let mut write_buffer = WriteBuffer::default();
            let context = &mut Context::from_waker(std::task::Waker::noop());
            let mut sent = Vec::new();
            for (nth, size) in sizes.iter().enumerate() {
                let byte = |at: usize| ((nth + at) % 251).to_le_bytes()[0];
                let bytes: Vec<u8> = (0..*size).map(byte).collect();
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    if let Poll::Ready(written) = write_buffer.poll_write(&mut stream, context, rest) {
                        rest = &rest[written.expect("no error")..];
                    }
                }
                sent.extend_from_slice(&bytes);
                if flushes >> nth & 1 == 1 {
                    while write_buffer.poll_flush(&mut stream, context).is_pending() {}
                    prop_assert!(stream.taken == sent);
                }
            }
            while write_buffer.poll_flush(&mut stream, context).is_pending() {}
            prop_assert!(stream.taken == sent);
        }
    }
}
