//! Answers without Pingora: objects and negative entries in the cache, pages, and refusals that need no
//! store. A request that is admitted here and needs a store goes on to Pingora with its admission, and with what the
//! cache has said if it was asked.

use std::io::Write as _;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::http::RequestHeader;
use pingora::proxy::{MultiRangeInfo, RangeType};

use crate::cache::{Lookup, LookupResult, Object, ObjectBody};
use crate::downstream::{ClientConnection, Exchange};
use crate::gateway::admit::Admitted;
use crate::gateway::context::{Context, ObjectRequest};
use crate::gateway::log_line::Sent;
use crate::gateway::respond::{NOT_IN_304, limit_freshness, may_have_a_body, to_not_modified};
use crate::gateway::storage::{is_age_due, part_of, refused};
use crate::gateway::{Gateway, request_id};
use crate::protocol::conditional::VALIDATORS;
use crate::protocol::connection_options::keeps_open;
use crate::protocol::selection::{Selection, select};
use crate::response::gateway_response::GatewayResponse;
use crate::response::refusal::Refusal;

/// Room for the head of a response, bytes. A longer head makes the buffer grow.
const HEAD: usize = 1024;

/// A complete response.
pub(super) struct DirectAnswer {
    ctx: Context,
    status: StatusCode,
    head: Vec<u8>,
    body: Body,
    keeps_alive: bool,
}

/// The body of a response.
enum Body {
    None,
    /// All of the object.
    Whole(std::sync::Arc<Object>),
    Bytes(Vec<Bytes>),
}

/// A response without the headers that depend on the connection.
struct Made {
    status: StatusCode,
    head: Vec<u8>,
    body: Body,
}

/// What came of a request ahead of Pingora.
pub(super) enum Ahead {
    Answer(Box<DirectAnswer>),
    /// Memory has nothing, but a tier below may: [`Gateway::answer_from_below`] waits for it.
    Below(Box<BelowMemory>),
    /// Pingora has to answer it. The admission is left for the hooks.
    HandedOver,
}

/// A request for an object that is not in memory.
pub(super) struct BelowMemory {
    ctx: Context,
    keeps_alive: bool,
}

/// What the cache has for a request.
enum InCache {
    Object(Made),
    Refused(Refusal),
}

impl Gateway {
    /// The response to a request that needs no store.
    pub(super) fn answer(&self, client: &RequestHeader, exchange: &Exchange) -> Ahead {
        let Some(keeps_alive) = keeps_alive(client).filter(|_| self.direct_hits) else {
            return Ahead::HandedOver;
        };
        let mut ctx = Context::new(self.lifecycle.start_request());
        ctx.request_id = request_id(client);
        ctx.transport = exchange.transport().clone();
        ctx.span = self.begin_span(client);
        let mut closes = false;
        let made = match self.admit(client, &mut ctx) {
            Ok(Admitted::Response(response)) => self.own(client, &mut ctx, response),
            Ok(Admitted::Folder | Admitted::HipsList) => None,
            Err(Refusal::ObjectNotFound) if ctx.folder.is_some() => None,
            Ok(Admitted::Object(object)) => {
                ctx.object = Some(object);
                let found = self.in_memory(client, &mut ctx);
                if found.is_none() && self.asks_lower_tiers(&ctx) {
                    return Ahead::Below(Box::new(BelowMemory { ctx, keeps_alive }));
                }
                self.of_cache(client, &mut ctx, found)
            }
            Err(refusal) => {
                closes = may_have_a_body(&refusal);
                let response = self.refusal_response(client, &mut ctx, refusal);
                self.own(client, &mut ctx, response)
            }
        };
        match made {
            Some(made) => Ahead::Answer(self.complete(ctx, made, keeps_alive && !closes)),
            None => {
                exchange.hand_over(ctx);
                Ahead::HandedOver
            }
        }
    }

    /// The response to a request for an object that is not in memory, if the whole of what the client gets is in a
    /// tier below: it is in memory then. Otherwise Pingora has to answer the request, as the cache has said.
    pub(super) async fn answer_from_below(
        &self,
        client: &RequestHeader,
        exchange: &Exchange,
        below: Box<BelowMemory>,
    ) -> Option<Box<DirectAnswer>> {
        let BelowMemory { mut ctx, keeps_alive } = *below;
        let wanted = ctx.object.as_ref().map(|object| std::sync::Arc::clone(&object.wanted));
        let made = match (self.cache, wanted) {
            (Some(cache), Some(wanted)) => {
                let lookup = Box::pin(cache.cache().find(&wanted)).await;
                let found = self.of_lookup(client, &mut ctx, lookup);
                self.of_cache(client, &mut ctx, found)
            }
            _ => None,
        };
        match made {
            Some(made) => Some(self.complete(ctx, made, keeps_alive)),
            None => {
                exchange.hand_over(ctx);
                None
            }
        }
    }

    /// Whether a tier below memory may have the object, of which memory has said nothing.
    fn asks_lower_tiers(&self, ctx: &Context) -> bool {
        // The bytes of a member of an archive are those of another object.
        let object = ctx.object.as_ref().filter(|object| object.member.is_none());
        let is_open = |object: &ObjectRequest| object.wanted.rule.store && object.lookup.is_none();
        object.is_some_and(|object| is_open(object))
            && self.cache.is_some_and(|cache| cache.cache().has_lower_tier())
    }

    fn complete(&self, ctx: Context, made: Made, keeps_alive: bool) -> Box<DirectAnswer> {
        let Made { status, mut head, body } = made;
        let keeps_alive = keeps_alive && !self.lifecycle.is_draining();
        end_head(&mut head, keeps_alive);
        Box::new(DirectAnswer { ctx, status, head, body, keeps_alive })
    }

    /// Sends a response and logs the request. Returns whether the connection stays open.
    pub(super) async fn send(
        &self,
        connection: &mut ClientConnection,
        client: &RequestHeader,
        mut answer: Box<DirectAnswer>,
    ) -> bool {
        let DirectAnswer { ctx, status, head, body, keeps_alive } = &mut *answer;
        let parts = match body {
            Body::None => &[],
            Body::Whole(object) => object.body.pieces(),
            Body::Bytes(parts) => &parts[..],
        };
        let mut body_bytes = 0;
        let sent = connection.write_response(head, parts, &mut body_bytes).await;
        if let Err(error) = &sent {
            ctx.failure = Some("client_gone");
            ctx.detail = Some(error.to_string());
        }
        let failed = sent.is_err();
        self.log_request(&Sent { client, status: Some(*status), body_bytes, failed }, ctx);
        *keeps_alive && !failed
    }

    /// A response of the gateway itself. The body is left out for HEAD.
    fn own(
        &self,
        client: &RequestHeader,
        ctx: &mut Context,
        response: GatewayResponse,
    ) -> Option<Made> {
        ctx.ttfb = Some(ctx.started.elapsed());
        let written = self.response_head(client, &response, ctx).ok()?;
        let mut head = status_line(written.status);
        written.header_to_h1_wire(&mut head);
        let body = if client.method == Method::HEAD || response.body.is_empty() {
            Body::None
        } else {
            Body::Bytes(vec![response.body.into()])
        };
        Some(Made { status: written.status, head, body })
    }

    /// The response to what the cache has.
    fn of_cache(
        &self,
        client: &RequestHeader,
        ctx: &mut Context,
        found: Option<InCache>,
    ) -> Option<Made> {
        match found? {
            InCache::Object(made) => Some(made),
            InCache::Refused(refusal) => {
                let response = self.refusal_response(client, ctx, refusal);
                self.own(client, ctx, response)
            }
        }
    }

    /// What memory has, if it has the whole of what the client gets.
    fn in_memory(&self, client: &RequestHeader, ctx: &mut Context) -> Option<InCache> {
        // The bytes of a member of an archive are those of another object.
        let object = ctx.object.as_mut().filter(|object| object.member.is_none())?;
        let cache = self.cache.filter(|_| object.wanted.rule.store)?;
        let lookup = cache.cache().find_in_memory(&object.wanted)?;
        self.of_lookup(client, ctx, lookup)
    }

    /// What the cache has by this lookup, if it is the whole of what the client gets. The lookup is kept in the
    /// request: otherwise Pingora answers by it.
    fn of_lookup(
        &self,
        client: &RequestHeader,
        ctx: &mut Context,
        mut lookup: Lookup,
    ) -> Option<InCache> {
        let object = ctx.object.as_mut()?;
        let (stored, freshness) = match &lookup.what {
            LookupResult::Object { source: ObjectBody::Stored(stored), freshness, .. } => {
                (std::sync::Arc::clone(stored), *freshness)
            }
            LookupResult::Refused(refusal) => {
                let refusal = refusal.clone();
                object.found(Some(lookup));
                // A folder may answer where there is no object: it asks the store.
                let is_final = refusal != Refusal::ObjectNotFound || ctx.folder.is_none();
                return is_final.then_some(InCache::Refused(refusal));
            }
            _ => {
                object.found(Some(lookup));
                return None;
            }
        };
        let length = stored.body.len();
        let validators =
            if object.conditional { stored.head.only(&VALIDATORS) } else { HeaderMap::new() };
        object.selection = select(
            &client.method,
            &client.headers,
            object.conditional,
            &validators,
            length,
            freshness.generated_at,
        );
        if let Some(refusal) = refused(&object.selection, length) {
            lookup.what = LookupResult::Refused(refusal.clone());
            object.found(Some(lookup));
            return Some(InCache::Refused(refusal));
        }
        let selection = object.selection.clone();
        #[expect(clippy::disallowed_methods, reason = "Age counts up to the response")]
        let age = freshness.age(SystemTime::now());
        let age = is_age_due(&lookup, age).then_some(age);
        object.found(Some(lookup));
        let max_age = ctx.aliased.as_ref().map(|aliased| aliased.max_age);
        let (mut head, status, parts) = object_head(&stored, &selection, age, max_age);
        ctx.ttfb = Some(ctx.started.elapsed());
        self.request_headers(client, ctx, |name, value| {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        });
        let body = match selection {
            _ if client.method == Method::HEAD => Body::None,
            Selection::Whole => Body::Whole(stored),
            Selection::Part(part) => Body::Bytes(bytes_of(&stored, part.start, part.end)),
            _ => parts.map_or(Body::None, |parts| Body::Bytes(multipart(&stored, &parts))),
        };
        Some(InCache::Object(Made { status, head, body }))
    }
}

/// Status line and lines of the head of a cached object; its status; and its parts, if there are several. `age` is the
/// value of `Age`, if that is due; `max_age` the time for which clients may use it if an alias was requested; both
/// seconds.
fn object_head(
    stored: &Object,
    selection: &Selection,
    age: Option<u64>,
    max_age: Option<u64>,
) -> (Vec<u8>, StatusCode, Option<MultiRangeInfo>) {
    let as_stored = match selection {
        Selection::Whole => Some(StatusCode::OK),
        Selection::NotModified => Some(StatusCode::NOT_MODIFIED),
        _ => None,
    };
    // The lines are sent as they are stored, where that is possible.
    if let (Some(status), None) = (as_stored, max_age) {
        let mut head = status_line(status);
        match status {
            StatusCode::OK => head.extend_from_slice(stored.head.lines()),
            _ => stored.head.write_without(&NOT_IN_304, &mut head),
        }
        if let Some(age) = age {
            let _never_fails = write!(head, "Age: {age}\r\n");
        }
        return (head, status, None);
    }
    let mut changed = stored.head.to_response();
    if *selection == Selection::NotModified {
        to_not_modified(&mut changed);
    }
    let parts = match part_of(selection, stored.body.len(), &mut changed) {
        RangeType::Multi(parts) => Some(parts),
        RangeType::None | RangeType::Single(_) | RangeType::Invalid => None,
    };
    if let Some(age) = age {
        let _of_a_valid_value = changed.insert_header(AGE, HeaderValue::from(age));
    }
    if let Some(max_age) = max_age {
        let _of_a_valid_value = limit_freshness(&mut changed, age.unwrap_or(0), max_age);
    }
    let mut head = status_line(changed.status);
    changed.header_to_h1_wire(&mut head);
    (head, changed.status, parts)
}

/// The body of `multipart/byteranges`, as Pingora writes it (RFC 9110, section 14.6).
fn multipart(stored: &Object, parts: &MultiRangeInfo) -> Vec<Bytes> {
    let (boundary, length) = (&parts.boundary, stored.body.len());
    let content_type = parts.content_type.as_deref().unwrap_or_default();
    let mut body = Vec::new();
    for range in &parts.ranges {
        let (first, last) = (range.start, range.end - 1);
        body.push(Bytes::from(format!(
            "\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\
             Content-Range: bytes {first}-{last}/{length}\r\n\r\n"
        )));
        body.append(&mut bytes_of(stored, range.start as u64, range.end as u64));
    }
    body.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    body
}

fn bytes_of(stored: &Object, start: u64, end: u64) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut position = start;
    while let Some(bytes) = stored.body.read(position, end) {
        position += bytes.len() as u64;
        parts.push(bytes);
    }
    parts
}

fn status_line(status: StatusCode) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
    head
}

/// Adds the headers of the connection, and ends the head.
fn end_head(head: &mut Vec<u8>, keeps_alive: bool) {
    #[expect(clippy::disallowed_methods, reason = "the Date of the response")]
    let date = httpdate::HttpDate::from(SystemTime::now());
    let connection = if keeps_alive { "keep-alive" } else { "close" };
    let _never_fails = write!(head, "Date: {date}\r\nConnection: {connection}\r\n\r\n");
}

/// Whether the connection stays open after a request without a body; `None` for requests that only
/// Pingora understands (RFC 9112, section 9.3).
fn keeps_alive(client: &RequestHeader) -> Option<bool> {
    let headers = &client.headers;
    let is_readable = matches!(client.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let other = [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT, UPGRADE];
    if !is_readable || other.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    Some(keeps_open(client.version, headers))
}
