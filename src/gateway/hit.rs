//! `cache_hit_filter`: selects what the client gets of a cached object. For an object in blocks, the
//! first block is available before the response begins.

use std::ops::Range;
use std::sync::Arc;

use http::{Method, Version};
use pingora::cache::HitHandler;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::cache::{BlockError, Cache, Lookup, LookupResult, ObjectBody, OpenError};
use crate::downstream::client_socket::ClientSocket;
use crate::gateway::context::ObjectRequest;
use crate::gateway::exchange;
use crate::gateway::storage::{HitReader, refused};
use crate::protocol::cache_status::{CacheStatus, ForwardReason};
use crate::protocol::selection::{Selection, select};

/// The most lookups for one request: a lookup is repeated when the store had another version of the
/// object for the first block.
const MAX_LOOKUPS: usize = 3;

/// Opens a cached object. On false, `object.lookup` says why it is not served from the cache.
pub(super) async fn open_hit(
    cache: &Arc<Cache>,
    session: &Session,
    object: &mut ObjectRequest,
    handler: &mut HitHandler,
) -> bool {
    for _ in 0..MAX_LOOKUPS {
        let Some(lookup) = &mut object.lookup else { return false };
        let LookupResult::Object { source, freshness, arriving } = &mut lookup.what else {
            return false;
        };
        let client = session.req_header();
        object.selection = select(
            &client.method,
            &client.headers,
            object.conditional,
            &source.head().headers,
            source.length(),
            freshness.generated_at,
        );
        if !is_in_answer(source, &object.selection, client) {
            // The store is asked again, for what the client wants.
            lookup.what = LookupResult::Bypass;
            return false;
        }
        // The response has a body, as where the store is asked.
        if let Some(refusal) = refused(&object.selection, source.length()) {
            lookup.what = LookupResult::Refused(refusal);
            return false;
        }
        let (source, arriving) = (source.clone(), arriving.take());
        if !matches!(source, ObjectBody::Blocks(_) | ObjectBody::Member(_)) {
            if source.is_arriving() {
                flush_immediately(session);
            }
            return true;
        }
        let parts = parts_of(&object.selection, &client.method, source.length());
        if parts.is_empty() {
            return true;
        }
        let opened = match &source {
            ObjectBody::Member(member) => {
                match Box::pin(cache.open_member(&object.wanted, member, &parts)).await {
                    Ok(opened) => {
                        object.expected = opened.expected;
                        lookup.status = lookup.status.of_blocks(object.expected, true);
                        object.blocks.clone_from(&opened.counter);
                        *handler = Box::new(HitReader::of_member(opened, member.length));
                        return true;
                    }
                    Err(error) => Err(error),
                }
            }
            ObjectBody::Blocks(blocks) => {
                cache.open(&object.wanted, blocks, &parts, arriving).await
            }
            _ => return true,
        };
        match opened {
            Ok(mut reading) => {
                let socket = session.digest().and_then(|digest| digest.socket_digest.clone());
                if let Some(socket) = socket {
                    reading.watch(ClientSocket::new(socket));
                }
                object.expected = reading.expected();
                lookup.status =
                    lookup.status.of_blocks(object.expected, !reading.is_pass_through());
                object.blocks = Some(Arc::clone(reading.counter()));
                if object.expected.store + object.expected.disk > 0 {
                    flush_immediately(session);
                }
                *handler = Box::new(HitReader::of_blocks(source.clone(), reading));
                return true;
            }
            Err(OpenError { error: BlockError::Refused(refusal), report }) => {
                lookup.what = LookupResult::Refused(refusal);
                lookup.status = CacheStatus::passed(ForwardReason::Partial);
                lookup.report = report;
                return false;
            }
            // The store has another version of the object by now, or none.
            Err(_) => object.lookup = Some(Box::pin(repeat_lookup(cache, object, handler)).await),
        }
    }
    if let Some(lookup) = &mut object.lookup {
        lookup.what = LookupResult::Bypass;
        lookup.status = CacheStatus::passed(ForwardReason::Miss);
    }
    false
}

async fn repeat_lookup(
    cache: &Arc<Cache>,
    object: &ObjectRequest,
    handler: &mut HitHandler,
) -> Lookup {
    let lookup = match &object.member {
        None => cache.find(&object.wanted).await,
        Some(member) => cache.find_member(&object.wanted, member).await,
    };
    if let LookupResult::Object { source, .. } = &lookup.what {
        *handler = Box::new(HitReader::new(source.clone()));
    }
    lookup
}

/// The byte ranges that the client gets.
fn parts_of(selection: &Selection, method: &Method, length: u64) -> Vec<Range<u64>> {
    match selection {
        _ if *method == Method::HEAD || length == 0 => Vec::new(),
        Selection::Whole => vec![Range { start: 0, end: length }],
        Selection::Part(part) => vec![part.clone()],
        Selection::Parts(parts) => parts.clone(),
        Selection::NotModified | Selection::PreconditionFailed | Selection::Unsatisfiable => {
            Vec::new()
        }
    }
}

/// Whether the response can be made of this source: an answer that passes has only some bytes of the
/// object, and its length may not be known.
fn is_in_answer(source: &ObjectBody, selection: &Selection, client: &RequestHeader) -> bool {
    let ObjectBody::Passing(answer) = source else { return true };
    let has_parts = || {
        let parts = parts_of(selection, &client.method, source.length());
        parts.iter().all(|part| answer.has(part))
    };
    match selection {
        Selection::NotModified | Selection::PreconditionFailed => true,
        Selection::Whole if !source.has_length() => {
            // Without a length an old client could not distinguish a whole body from a truncated one.
            client.version >= Version::HTTP_11 && has_parts()
        }
        Selection::Whole => has_parts(),
        Selection::Part(_) | Selection::Parts(_) => source.has_length() && has_parts(),
        Selection::Unsatisfiable => source.has_length(),
    }
}

/// Sends the head without waiting for the body.
fn flush_immediately(session: &Session) {
    if let Some(exchange) = exchange(session) {
        exchange.flush_immediately();
        // A body that is still arriving may wait for the client, with the permit of its fetch.
        exchange.hold_permit();
    }
}
