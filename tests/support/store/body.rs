//! Bodies of answers: read from an object in pieces, and counted as they are sent.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::log::Entry;
use super::object::Object;

/// Small enough that an aborted answer is noticed, and that few bytes are counted that were not sent; large
/// enough to be cheap.
pub(crate) const PIECE: usize = 32 * 1024;

/// A part of an object, in pieces that share its memory.
pub(crate) struct ObjectBody {
    object: Arc<Object>,
    left: Range<u64>,
}

impl ObjectBody {
    pub(crate) fn new(object: Arc<Object>, part: Range<u64>) -> Self {
        Self { object, left: part }
    }
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.object.body.chunk(&self.left, PIECE);
        self.left.start += piece.len() as u64;
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end - self.left.start)
    }
}

/// A body that records in the log how much of it was sent.
pub(crate) struct Counted {
    body: s3s::Body,
    entry: Arc<Entry>,
}

impl Counted {
    pub(crate) fn new(body: s3s::Body, entry: Arc<Entry>) -> Self {
        if body.is_end_stream() {
            entry.completed();
        }
        Self { body, entry }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.entry.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        // The server does not ask again after the last frame of a body of known length.
        if frame.is_none() || self.body.is_end_stream() {
            self.entry.completed();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
