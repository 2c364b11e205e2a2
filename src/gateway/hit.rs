//! Opening what the cache has found: what of it the client gets is decided, and of an object in
//! blocks the first of them is at hand before the answer begins.

use std::ops::Range;
use std::sync::Arc;

use http::Method;
use pingora::cache::HitHandler;
use pingora::proxy::Session;

use crate::cache::{BlockError, Cache, Lookup, LookupResult, ObjectBody, OpenError};
use crate::gateway::context::ObjectRequest;
use crate::gateway::exchange;
use crate::gateway::storage::Reader;
use crate::protocol::cache_status::{CacheStatus, ForwardReason};
use crate::protocol::selection::{Serving, serving};

/// How often an object is looked for again that has changed when its first block came.
const MAX_LOOKS: usize = 3;

/// Opens what was found. False leaves in the object why it is not to be served from the cache.
pub(super) async fn open(
    cache: &Arc<Cache>,
    session: &Session,
    object: &mut ObjectRequest,
    handler: &mut HitHandler,
) -> bool {
    for _ in 0..MAX_LOOKS {
        let Some(found) = &mut object.found else { return false };
        let LookupResult::Object { source, freshness, arriving } = &mut found.what else {
            return false;
        };
        let client = session.req_header();
        object.serving = serving(
            &client.method,
            &client.headers,
            object.conditional,
            &source.head().headers,
            source.length(),
            freshness.generated_at,
        );
        let ObjectBody::Blocks(blocks) = source else {
            if source.is_arriving() {
                be_prompt(session);
            }
            return true;
        };
        let (blocks, arriving) = (Arc::clone(blocks), arriving.take());
        let parts = parts_of(&object.serving, &client.method, source.length());
        if parts.is_empty() {
            return true;
        }
        match cache.open(&object.wanted, &blocks, &parts, arriving).await {
            Ok(reading) => {
                object.expected = reading.expected();
                found.status = found.status.of_blocks(object.expected, !reading.is_pass_through());
                object.blocks = Some(Arc::clone(reading.counter()));
                if object.expected.store + object.expected.disk > 0 {
                    be_prompt(session);
                }
                *handler = Box::new(Reader::of_blocks(source.clone(), reading));
                return true;
            }
            Err(OpenError { error: BlockError::Refused(refusal), report }) => {
                found.what = LookupResult::Refused(refusal);
                found.status = CacheStatus::passed(ForwardReason::Partial);
                found.report = report;
                return false;
            }
            // The store has something else by now, or nothing.
            Err(_) => object.found = Some(Box::pin(look_again(cache, object, handler)).await),
        }
    }
    if let Some(found) = &mut object.found {
        found.what = LookupResult::Bypass;
        found.status = CacheStatus::passed(ForwardReason::Miss);
    }
    false
}

async fn look_again(
    cache: &Arc<Cache>,
    object: &ObjectRequest,
    handler: &mut HitHandler,
) -> Lookup {
    let found = cache.find(&object.wanted).await;
    if let LookupResult::Object { source, .. } = &found.what {
        *handler = Box::new(Reader::new(source.clone()));
    }
    found
}

/// The bytes the client gets.
fn parts_of(serving: &Serving, method: &Method, length: u64) -> Vec<Range<u64>> {
    match serving {
        _ if *method == Method::HEAD || length == 0 => Vec::new(),
        Serving::Whole => vec![Range { start: 0, end: length }],
        Serving::Part(part) => vec![part.clone()],
        Serving::Parts(parts) => parts.clone(),
        Serving::NotModified | Serving::PreconditionFailed | Serving::Unsatisfiable => Vec::new(),
    }
}

/// Head and body are not to wait for each other.
fn be_prompt(session: &Session) {
    if let Some(exchange) = exchange(session) {
        exchange.be_prompt();
    }
}
