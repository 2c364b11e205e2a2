//! Reading request heads and writing responses ahead of Pingora: a response that needs no store is
//! written at once, and Pingora gets only the bytes of the heads that it answers.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncWrite as _, ReadBuf};

use crate::downstream::ClientConnection;
use crate::downstream::drain::FIRST_REQUEST;
use crate::downstream::normal_head::normal;
use crate::downstream::request_head::{RequestHead, head_length, parse};
use crate::protocol::head_ids::HeadIds;

/// Bytes read at once. A longer head takes several reads.
const READ: usize = 2048;
/// Parts of a body in one system call.
const SLICES: usize = 17;

/// What a connection brings next.
#[derive(Debug)]
pub enum Received {
    /// A head that can be answered here.
    Head(Box<RequestHead>),
    /// A head of this length that only Pingora reads.
    Other(usize),
    /// Nothing: the client has left, was idle for too long, or was refused; or the process ends.
    End,
}

impl ClientConnection {
    /// Waits for the next request head, at most `idle` for its first byte. `stopped` ends the wait for a
    /// head that has not begun; a connection without any request has [`FIRST_REQUEST`] then.
    pub async fn receive<S>(&mut self, idle: Duration, mut stopped: Pin<&mut S>) -> Received
    where
        S: Future<Output = ()>,
    {
        let began = Instant::now();
        let mut end = if self.stopped { began } else { began + idle };
        loop {
            if let Some(length) = self.normalised() {
                self.exchange.next_request();
                self.new = None;
                let head = self.ahead.get(..length).unwrap_or_default();
                let Some(header) = parse(head) else {
                    self.unparsed = Some(Box::new(HeadIds::of(head)));
                    return Received::Other(length);
                };
                self.unparsed = None;
                return Received::Head(Box::new(RequestHead { header, length }));
            }
            let more = poll_fn(|context| {
                if let Poll::Ready(more) = self.poll_ahead(context) {
                    return Poll::Ready(more);
                }
                if self.heads.in_head() {
                    return Poll::Pending;
                }
                if !self.stopped && stopped.as_mut().poll(context).is_ready() {
                    self.stopped = true;
                    let patience = self.new.as_ref().map_or(Duration::ZERO, |_| FIRST_REQUEST);
                    end = end.min(Instant::now() + patience);
                }
                let is_over = self.permit.poll_idle(context, began).is_ready()
                    || self.idle_timer.poll_lazily(context, end).is_ready();
                if is_over { Poll::Ready(Ok(false)) } else { Poll::Pending }
            });
            let more = more.await;
            if !self.permit.end_idle() || !matches!(more, Ok(true)) {
                return Received::End;
            }
        }
    }

    /// The length of the first head, once all of it has arrived, in normal form.
    fn normalised(&mut self) -> Option<usize> {
        let length = head_length(&self.ahead)?;
        let Some(head) = self.ahead.get(..length).and_then(normal) else { return Some(length) };
        let normal_length = head.len();
        self.ahead.splice(..length, head);
        Some(normal_length)
    }

    /// Reads more scanned bytes; false at the end.
    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if let Some((error, ids)) = self.bad_head.take() {
            self.refuse(context, error, &ids);
        }
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        let mut bytes = [const { MaybeUninit::uninit() }; READ];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(self.poll_head(context, &mut buffer))?;
        self.ahead.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(!buffer.filled().is_empty()))
    }

    /// Removes an answered head. An idle connection keeps no buffer.
    pub fn consume(&mut self, length: usize) {
        if length < self.ahead.len() {
            self.ahead.drain(..length);
        } else {
            self.ahead = Vec::new();
        }
    }

    /// The next `length` bytes are read by Pingora.
    pub fn hand_over(&mut self, length: usize) {
        self.handed_over = length.min(self.ahead.len());
    }

    /// Gives Pingora bytes of the head that was handed over.
    pub(super) fn give_ahead(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.handed_over.min(buffer.remaining());
        buffer.put_slice(self.ahead.get(..length).unwrap_or_default());
        self.handed_over -= length;
        self.consume(length);
    }

    /// Writes a response: its head and the parts of its body, without copying them. `body_bytes` counts
    /// the bytes of the body that the client was sent.
    ///
    /// # Errors
    /// When the client has left, or does not read within the write timeout.
    pub async fn write_response(
        &mut self,
        head: &[u8],
        body: &[Bytes],
        body_bytes: &mut u64,
    ) -> io::Result<()> {
        let mut progress = Unwritten { head, body, offset: 0 };
        let mut head_bytes = head.len();
        if let Some(stream) = self.http2_stream() {
            stream.offer(body);
        }
        poll_fn(|context| {
            while !progress.is_done() {
                let written = progress.poll(&mut self.stream, context);
                let written = ready!(self.enforce_write_timeout(context, written))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.pace.wrote(written);
                let of_head = written.min(head_bytes);
                head_bytes -= of_head;
                *body_bytes += (written - of_head) as u64;
                progress.advance(written);
            }
            let flushed = Pin::new(&mut self.stream).poll_flush(context);
            self.enforce_write_timeout(context, flushed)
        })
        .await
    }
}

/// How much of a response is written.
struct Unwritten<'a> {
    head: &'a [u8],
    body: &'a [Bytes],
    /// Bytes written of the first part that is not complete.
    offset: usize,
}

impl Unwritten<'_> {
    fn is_done(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }

    fn poll(
        &self,
        stream: &mut pingora::protocols::Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let body = self.body.iter().map(|part| &**part);
        let parts = Some(self.head).filter(|head| !head.is_empty()).into_iter().chain(body);
        for (slice, part) in slices.iter_mut().zip(parts) {
            let from = if count == 0 { self.offset } else { 0 };
            *slice = IoSlice::new(part.get(from..).unwrap_or_default());
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or_default();
        Pin::new(stream).poll_write_vectored(context, slices)
    }

    fn advance(&mut self, written: usize) {
        self.offset += written;
        if self.offset >= self.head.len() {
            self.offset -= self.head.len();
            self.head = &[];
        } else {
            return;
        }
        while let [first, rest @ ..] = self.body {
            if self.offset < first.len() {
                return;
            }
            self.offset -= first.len();
            self.body = rest;
        }
    }
}
