//! Writes the gateway's own responses, and adds the headers that belong to a request.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    TRANSFER_ENCODING, VARY,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use crate::cache::LookupResult;
use crate::gateway::Gateway;
use crate::gateway::context::{Context, ObjectRequest};
use crate::gateway::storage::{CACHE_STATUS, cache_status, set_age};
use crate::gateway::to_https::STRICT_TRANSPORT_SECURITY;
use crate::protocol::cache_status::CacheStatus;
use crate::protocol::cors;
use crate::protocol::freshness_limit::limited;
use crate::protocol::request_id::X_REQUEST_ID;
use crate::protocol::server_timing::{self, SERVER_TIMING, TIMING_ALLOW_ORIGIN, allowed_origin};
use crate::response::gateway_response::GatewayResponse;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;

impl Gateway {
    /// The value of `Allow`.
    pub(super) fn allow(&self) -> &'static str {
        if self.reloads.cors.load().is_some() { "GET, HEAD, OPTIONS" } else { "GET, HEAD" }
    }

    /// Sets the `Age` of a cached object (RFC 9111, section 5.1).
    pub(super) fn add_age(&self, head: &mut ResponseHeader, ctx: &Context) -> Result<()> {
        let Some(lookup) = ctx.lookup() else { return Ok(()) };
        let LookupResult::Object { freshness, .. } = &lookup.what else { return Ok(()) };
        #[expect(clippy::disallowed_methods, reason = "Age counts up to the response")]
        let now = SystemTime::now();
        set_age(head, lookup, freshness.age(now))
    }

    /// Adds the headers of this request to a head.
    pub(super) fn add_request_headers(
        &self,
        client: &RequestHeader,
        head: &mut ResponseHeader,
        ctx: &Context,
    ) -> Result<()> {
        if let Some(aliased) = &ctx.aliased {
            let age = head.headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok());
            limit_freshness(head, age.unwrap_or(0), aliased.max_age)?;
        }
        let mut added = Ok(());
        self.request_headers(client, ctx, |name, value| {
            if let Ok(value) = HeaderValue::from_bytes(value)
                && let Err(error) = head.append_header(name.clone(), value)
            {
                added = Err(error);
            }
        });
        added
    }

    /// The headers of this request: `X-Request-ID`, `Strict-Transport-Security`, `Cache-Status`, `Vary`, CORS,
    /// `Server-Timing`. No stored head has them; the `Vary` of one is for its coding.
    pub(super) fn request_headers(
        &self,
        client: &RequestHeader,
        ctx: &Context,
        mut add: impl FnMut(&HeaderName, &[u8]),
    ) {
        add(&X_REQUEST_ID, ctx.request_id.as_bytes());
        if let Some(hsts) = self.to_https.hsts(&ctx.transport) {
            add(&STRICT_TRANSPORT_SECURITY, hsts.as_bytes());
        }
        if let Some(object) = &ctx.object {
            let value = cache_status(object.cache_status(), object.expected);
            add(&CACHE_STATUS, value.as_bytes());
        }
        let mut varies = ctx.depends_on_accept;
        if let Some(cors) = self.reloads.cors.load().as_ref() {
            let headers = cors::headers(cors, &client.method, &client.headers);
            if self.server_timing
                && let Some(origin) = allowed_origin(&client.method, &headers)
            {
                add(&TIMING_ALLOW_ORIGIN, origin.as_bytes());
            }
            for (name, value) in &headers {
                // One list names all that the answer depends on.
                if *name == VARY && std::mem::take(&mut varies) {
                    add(name, &[b"Accept, ", value.as_bytes()].concat());
                } else {
                    add(name, value.as_bytes());
                }
            }
        }
        if varies {
            add(&VARY, b"Accept");
        }
        if self.server_timing {
            add(&SERVER_TIMING, timing(ctx).as_bytes());
        }
    }

    /// The head of a response of the gateway itself, for this request.
    pub(super) fn response_head(
        &self,
        client: &RequestHeader,
        response: &GatewayResponse,
        ctx: &Context,
    ) -> Result<ResponseHeader> {
        let mut head = response.head()?;
        if response.content_type.is_empty() {
            head.remove_header(&CONTENT_TYPE);
        }
        if matches!(response.status, 204 | 304) {
            head.remove_header(&CONTENT_LENGTH);
        }
        self.add_request_headers(client, &mut head, ctx)?;
        Ok(head)
    }

    /// Writes a complete response. The body is left out for HEAD, 204 and 304.
    pub(super) async fn respond(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        response: &GatewayResponse,
    ) -> Result<()> {
        let head = self.response_head(session.req_header(), response, ctx)?;
        let no_body = session.req_header().method == Method::HEAD || response.body.is_empty();
        ctx.ttfb = Some(ctx.started.elapsed());
        // Pingora does not set the source of a failed write: it is the client.
        let written = session.write_response_header(Box::new(head), no_body).await;
        written.map_err(|error| error.into_down())?;
        if !no_body {
            let body = Bytes::copy_from_slice(&response.body);
            let written = session.write_response_body(Some(body), true).await;
            written.map_err(|error| error.into_down())?;
        }
        Ok(())
    }

    /// Writes a refusal and stores it for the log. Where the object does not exist, a folder may answer.
    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        refusal: Refusal,
    ) -> Result<()> {
        match ctx.folder.take() {
            Some(folder) if refusal == Refusal::ObjectNotFound => {
                Box::pin(self.open_folder(session, ctx, *folder)).await
            }
            _ => self.write_refusal(session, ctx, refusal).await,
        }
    }

    /// Writes a refusal. Closes the connection when the request may have a body, which is not read.
    pub(super) async fn write_refusal(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        refusal: Refusal,
    ) -> Result<()> {
        if may_have_a_body(&refusal) {
            session.set_keepalive(None);
        }
        let response = self.refusal_response(session.req_header(), ctx, refusal);
        self.respond(session, ctx, &response).await
    }

    /// The response of a refusal, which is stored for the log.
    pub(super) fn refusal_response(
        &self,
        client: &RequestHeader,
        ctx: &mut Context,
        refusal: Refusal,
    ) -> GatewayResponse {
        ctx.depends_on_accept = true;
        let object = ctx.address.as_deref().map(ObjectAddress::name);
        let mut response = refusal.response(object.as_deref(), self.allow(), &ctx.request_id);
        if refusal == Refusal::ObjectNotFound {
            let value = ctx.object.as_deref().and_then(cache_control_of_404);
            response.headers.extend(value.map(|value| (CACHE_CONTROL, value)));
        }
        let request_id = &ctx.request_id;
        self.refusal_as_page(client, &refusal, object.as_deref(), request_id, &mut response);
        ctx.refusal = Some(refusal);
        response
    }
}

/// Limits how long clients may use an answer for an alias. A refusal gets no limit that it did not have.
pub(super) fn limit_freshness(head: &mut ResponseHeader, age: u64, max_age: u64) -> Result<()> {
    let is_object = matches!(head.status.as_u16(), 200 | 206 | 304);
    if !is_object && !head.headers.contains_key(CACHE_CONTROL) {
        return Ok(());
    }
    match limited(head.headers.get_all(CACHE_CONTROL).iter(), age, max_age) {
        Some(value) => head.insert_header(CACHE_CONTROL, value),
        None => Ok(()),
    }
}

/// Headers of an object that a 304 does not repeat (RFC 9110, section 15.4.5).
pub(super) const NOT_IN_304: [HeaderName; 5] =
    [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, CONTENT_ENCODING, ACCEPT_RANGES];

/// Makes the head of an object that of a 304. The others keep their order.
pub(super) fn to_not_modified(head: &mut ResponseHeader) {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    for (name, value) in head.headers.iter().filter(|(name, _)| !NOT_IN_304.contains(name)) {
        parts.headers.append(name, value.clone());
    }
    *head = ResponseHeader::from(parts);
}

/// Whether a request that is refused for this reason may have a body, which is not read.
pub(super) fn may_have_a_body(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::BadRequest(_) | Refusal::MethodNotAllowed)
}

/// `Cache-Control` of a 404: a browser need not ask again for as long as the cache holds the negative
/// entry, unless the profile forbids browsers to store anything.
pub(super) fn cache_control_of_404(object: &ObjectRequest) -> Option<HeaderValue> {
    let profile = object.wanted.store.profile.cache_control.as_ref();
    if let Some(profile) = profile.filter(|value| forbids_storing(value)) {
        return Some(profile.clone());
    }
    let seconds = match object.cache_status() {
        CacheStatus::Hit { ttl, .. } => u64::try_from(ttl).unwrap_or_default(),
        CacheStatus::Forwarded { .. } | CacheStatus::Bypass | CacheStatus::Excluded => {
            object.wanted.rule.negative_ttl.as_secs()
        }
    };
    let is_due = object.wanted.rule.store && seconds > 0;
    is_due.then(|| HeaderValue::try_from(format!("max-age={seconds}")).ok()).flatten()
}

fn forbids_storing(cache_control: &HeaderValue) -> bool {
    let text = cache_control.to_str().unwrap_or_default().to_ascii_lowercase();
    ["no-store", "no-cache", "private"].iter().any(|directive| text.contains(directive))
}

/// The value of `Server-Timing` for a response whose head is written now.
fn timing(ctx: &Context) -> String {
    let object = ctx.object.as_deref();
    let cache = object.map(ObjectRequest::cache_status);
    let store = object.and_then(ObjectRequest::store_time);
    server_timing::value(cache, store, ctx.started.elapsed())
}
