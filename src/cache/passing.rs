//! An answer of a store that is not cached: it goes to the request that the store was asked for.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use pingora::http::ResponseHeader;

use crate::cache::fill::Truncated;
use crate::cache::stored_headers::lifetime_headers;
use crate::protocol::http_date;
use crate::upstream::client::StoreBody;

/// An object that is not cached, and the bytes of it that the store sends.
#[derive(Debug)]
pub struct PassingObject {
    /// The head of the response to a client.
    pub head: ResponseHeader,
    /// `Cache-Control` and `Expires` as the store sent them.
    pub lifetime: HeaderMap,
    /// Bytes of the whole object; `None` if its end is not known before it arrives.
    pub length: Option<u64>,
    /// The value of the store's `Age`, seconds.
    pub age: u64,
    bytes: Range<u64>,
    body: tokio::sync::Mutex<PassingBody>,
}

#[derive(Debug)]
struct PassingBody {
    /// `None`: the answer to HEAD.
    body: Option<StoreBody>,
    /// Bytes that have arrived and were not read.
    rest: Bytes,
    /// The position in the object of the next byte.
    position: u64,
}

impl PassingObject {
    /// An object with these headers of the store, of which `body` brings the bytes from a position on.
    #[must_use]
    pub(super) fn new(
        head: ResponseHeader,
        headers: &HeaderMap,
        length: Option<u64>,
        body: Option<(u64, StoreBody)>,
    ) -> Self {
        let (lifetime, age) = (lifetime_headers(headers), http_date::age(headers));
        let (start, body) = body.map_or((0, None), |(start, body)| (start, Some(body)));
        let last = match (&body, length) {
            (None, _) => start,
            // The part that was requested, or all.
            (Some(_), length) => length.unwrap_or(u64::MAX),
        };
        let passing = PassingBody { body, rest: Bytes::new(), position: start };
        Self {
            head,
            lifetime,
            length,
            age: age.unwrap_or_default(),
            bytes: start..last,
            body: tokio::sync::Mutex::new(passing),
        }
    }

    /// The same, if the body ends before the object does.
    #[must_use]
    pub(super) fn up_to(self, end: u64) -> Self {
        Self { bytes: self.bytes.start..end.min(self.bytes.end), ..self }
    }

    /// Whether the store sends all these bytes.
    #[must_use]
    pub fn has(&self, part: &Range<u64>) -> bool {
        self.bytes.start <= part.start && part.end <= self.bytes.end
    }

    /// Bytes from `position` on, not beyond `end`; `None` at the end. Positions must not descend.
    ///
    /// # Errors
    /// When the body ends or fails before these bytes have arrived.
    pub async fn read(&self, position: u64, end: u64) -> Result<Option<Bytes>, Truncated> {
        let wanted = end.saturating_sub(position);
        if wanted == 0 {
            return Ok(None);
        }
        let mut passing = self.body.lock().await;
        let PassingBody { body: Some(body), rest, position: at } = &mut *passing else {
            return Err(Truncated);
        };
        loop {
            let before = position.checked_sub(*at).ok_or(Truncated)?;
            let skipped = rest.len().min(usize::try_from(before).unwrap_or(usize::MAX));
            rest.advance(skipped);
            *at += skipped as u64;
            if !rest.is_empty() {
                let taken = rest.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
                *at += taken as u64;
                return Ok(Some(rest.split_to(taken)));
            }
            match body.next().await {
                Ok(Some(bytes)) => *rest = bytes,
                Ok(None) if self.length.is_none() => return Ok(None),
                Ok(None) | Err(_) => return Err(Truncated),
            }
        }
    }
}

/// An answer for the request that led its fetch.
#[derive(Debug, Clone)]
pub(super) struct AnswerSlot(Arc<Mutex<Option<Arc<PassingObject>>>>);

impl AnswerSlot {
    /// A slot with this answer.
    #[must_use]
    pub(super) fn new(answer: PassingObject) -> Self {
        Self(Arc::new(Mutex::new(Some(Arc::new(answer)))))
    }

    /// The answer; `None` if another request has it.
    #[must_use]
    pub(super) fn take(&self) -> Option<Arc<PassingObject>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
