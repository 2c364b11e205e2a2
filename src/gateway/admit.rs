//! Admission of a request before any cache lookup or request to a store: HTTP checks, route, method,
//! user, address, media type and profile, in this order.

use std::sync::Arc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, LOCATION, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::cache::CacheRequest;
use crate::downstream::transport::Transport;
use crate::gateway::Gateway;
use crate::gateway::context::{ClientRequest, Context, ObjectRequest};
use crate::gateway::html::{self, origin, wants_page};
use crate::gateway::route::{Route, route};
use crate::metrics::Page;
use crate::profile::ContentTypeFrom;
use crate::profile::alias::NamedObject;
use crate::protocol::request_check::{BadRequest, inspect, target_path};
use crate::response::gateway_response::GatewayResponse;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::s3::credentials::Credentials;
use crate::trace::span::Span;
use crate::upstream::Store;

const X_AUTH_REQUEST_USER: HeaderName = HeaderName::from_static("x-auth-request-user");

/// An admitted request.
pub(super) enum Admitted {
    /// Served from the cache or a store.
    Object(Box<ObjectRequest>),
    /// No object can answer it: [`Context::folder`] does.
    Folder,
    /// The list of surveys: [`Context::lists_surveys`] is set.
    HipsList,
    /// Served by the gateway itself.
    Response(GatewayResponse),
}

impl Gateway {
    /// Admits or refuses a request by its head.
    pub(super) fn admit(
        &self,
        client: &RequestHeader,
        ctx: &mut Context,
    ) -> Result<Admitted, Refusal> {
        let target = client.raw_path();
        let readable = matches!(client.method, Method::GET | Method::HEAD);
        match inspect(client.version, target, &client.headers) {
            Err(BadRequest::Body | BadRequest::Target) if !readable => {
                return Err(Refusal::MethodNotAllowed);
            }
            inspected => inspected.map_err(Refusal::BadRequest)?,
        }
        let path_and_query = target_path(target);
        let query_start = path_and_query.iter().position(|byte| *byte == b'?');
        let (path, query) = path_and_query.split_at(query_start.unwrap_or(path_and_query.len()));
        let route = route(&self.prefix, path);
        // A browser gets the landing page, or is redirected to it; programs get the metadata.
        ctx.depends_on_accept = matches!(route, Route::Index | Route::Metadata);
        // Kubelet requests `/`, and follows no redirect to another host.
        let is_probe = route == Route::Index && !wants_page(client);
        if !is_probe && let Some(response) = self.to_https.redirect(client, &ctx.transport)? {
            return Ok(Admitted::Response(response));
        }
        if route == Route::Unknown {
            return Err(Refusal::RouteUnknown);
        }
        match route {
            Route::Object { bucket, key } => {
                ctx.event = "s3 response";
                ctx.page = Page::Object;
                if client.method == Method::OPTIONS
                    && let Some(response) = self.preflight(client)
                {
                    return Ok(Admitted::Response(response));
                }
                if !readable {
                    return Err(Refusal::MethodNotAllowed);
                }
                self.require_user(client, ctx)?;
                let permit = self.limits.start_request(user(&client.headers, &ctx.transport));
                ctx.user_permit = permit.map_err(|_| Refusal::UserSaturated)?;
                self.admit_object(client, ctx, bucket, key)
            }
            _ if !readable => Err(Refusal::MethodNotAllowed),
            Route::Index => {
                ctx.is_probe = true;
                ctx.page = Page::Index;
                if !wants_page(client) {
                    return Ok(json(&self.pages.index));
                }
                Ok(Admitted::Response(self.landing_page(client, ctx)))
            }
            Route::Metadata => {
                ctx.event = "Request for application metadata";
                ctx.page = Page::Metadata;
                self.require_user(client, ctx)?;
                if !wants_page(client) {
                    return Ok(json(&self.pages.metadata));
                }
                Ok(Admitted::Response(self.landing_page(client, ctx)))
            }
            Route::HipsList => {
                ctx.event = "Request for the list of surveys";
                ctx.page = Page::Docs;
                if !self.lists_surveys() {
                    return Err(Refusal::RouteUnknown);
                }
                self.require_user(client, ctx)?;
                let permit = self.limits.start_request(user(&client.headers, &ctx.transport));
                ctx.user_permit = permit.map_err(|_| Refusal::UserSaturated)?;
                ctx.lists_surveys = true;
                Ok(Admitted::HipsList)
            }
            Route::OpenApi => {
                ctx.page = Page::Docs;
                Ok(json(&self.pages.openapi(&origin(client, &ctx.transport))))
            }
            Route::Asset { name } => {
                ctx.page = Page::Docs;
                let asset = self.asset(name, &client.headers);
                asset.map(Admitted::Response).ok_or(Refusal::RouteUnknown)
            }
            Route::Docs => {
                ctx.page = Page::Docs;
                Ok(Admitted::Response(html::page(self.pages.docs(&origin(client, &ctx.transport)))))
            }
            Route::Redirect { add_slash } => {
                let mut path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
                if add_slash {
                    path.push(b'/');
                }
                self.redirect(client, ctx, &path, query).map(Admitted::Response)
            }
            Route::Unknown => Err(Refusal::RouteUnknown),
        }
    }

    fn admit_object(
        &self,
        client: &RequestHeader,
        ctx: &mut Context,
        bucket: &[u8],
        key: &[u8],
    ) -> Result<Admitted, Refusal> {
        let address =
            ObjectAddress::parse(bucket, key, self.bucket_validation).map_err(Refusal::Address)?;
        let (named, store) = self.stores.find(address).map_err(Refusal::Address)?;
        ctx.set_name(&named);
        if let Some(store) = &store
            && let Some(member) = store.profile.member_of(named.target())
        {
            admit_store(ctx, store, named.target())?;
            return self.admit_member(client, store, &named, member).map(Admitted::Object);
        }
        if let Some(store) = store.as_ref().filter(|store| store.profile.opens_folders()) {
            admit_store(ctx, store, named.target())?;
            return self.admit_where_folders_open(client, ctx, store, &named);
        }
        self.admit_address(client, ctx, store.as_ref(), &named).map(Admitted::Object)
    }

    /// Admits a request for this object, which the context names.
    pub(super) fn admit_address(
        &self,
        client: &RequestHeader,
        ctx: &mut Context,
        store: Option<&Arc<Store>>,
        named: &NamedObject,
    ) -> Result<Box<ObjectRequest>, Refusal> {
        let address = Arc::clone(named.target());
        if address.key.is_empty() {
            // An empty key would list the bucket.
            return Err(Refusal::ObjectNotFound);
        }
        let by_key = store.is_none_or(|store| store.profile.content_type == ContentTypeFrom::Key);
        let content_type = match self.heads.mime.key_type(&address.key) {
            _ if !by_key => None,
            Ok(content_type) => Some(content_type),
            Err(media_type) => {
                return Err(Refusal::MediaTypeDenied(media_type.map(str::to_owned)));
            }
        };
        let store = store.ok_or_else(|| Refusal::unknown_profile(address.profile.as_deref()))?;
        admit_store(ctx, store, &address)?;
        let client = ClientRequest::of(client);
        let store = Arc::clone(store);
        let wanted = CacheRequest::new(store, address, content_type, client.method, client.headers);
        let trace = ctx.trace();
        let is_looked_up = self.cache.is_some() && wanted.rule.store;
        let span = trace.as_ref().filter(|_| is_looked_up).and_then(|it| it.part("cache lookup"));
        let wanted = wanted.traced(span.as_ref().map(Span::parent).or(trace));
        let mut object = ObjectRequest::new(wanted, &client, self.attempts());
        object.lookup_span = span;
        Ok(Box::new(object))
    }

    fn landing_page(&self, client: &RequestHeader, ctx: &Context) -> GatewayResponse {
        html::page(self.pages.landing(&origin(client, &ctx.transport), &self.listed_profiles()))
    }

    fn require_user(&self, client: &RequestHeader, ctx: &Context) -> Result<(), Refusal> {
        if !self.require_user || user(&client.headers, &ctx.transport).is_some() {
            Ok(())
        } else if ctx.transport.has_certificate {
            Err(Refusal::UserNotInCertificate)
        } else {
            Err(Refusal::UserMissing)
        }
    }

    /// The response to a CORS preflight request; `None` for other requests, or without CORS. Its
    /// headers are added to every response later.
    fn preflight(&self, client: &RequestHeader) -> Option<GatewayResponse> {
        let headers = &client.headers;
        if !headers.contains_key(ORIGIN) || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        self.reloads.cors.load().as_ref()?;
        Some(GatewayResponse {
            status: 204,
            content_type: "",
            body: Vec::new(),
            headers: Vec::new(),
        })
    }

    /// 307 to another path of the gateway; the query is unchanged.
    pub(super) fn redirect(
        &self,
        client: &RequestHeader,
        ctx: &Context,
        path: &[u8],
        query: &[u8],
    ) -> Result<GatewayResponse, Refusal> {
        let headers = &client.headers;
        let host = headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
        let scheme = ctx.transport.scheme(headers);
        let mut location = Vec::new();
        if !host.is_empty() {
            location.extend_from_slice(format!("{scheme}://").as_bytes());
            location.extend_from_slice(host);
        }
        location.extend_from_slice(path);
        location.extend_from_slice(query);
        let location = HeaderValue::from_bytes(&location)
            .map_err(|_| Refusal::BadRequest(BadRequest::Target))?;
        Ok(GatewayResponse {
            status: 307,
            content_type: "",
            body: Vec::new(),
            headers: vec![(LOCATION, location)],
        })
    }
}

/// Whether the store serves this bucket and has an access key.
fn admit_store(ctx: &mut Context, store: &Store, address: &ObjectAddress) -> Result<(), Refusal> {
    if !store.profile.admits(&address.bucket) {
        return Err(Refusal::BucketNotAllowed);
    }
    if let Credentials::Missing(searched) = &store.profile.credentials {
        ctx.detail = Some(searched.clone());
        return Err(Refusal::CredentialsMissing);
    }
    Ok(())
}

/// The user: the name in the client's certificate, if it has presented one, else `X-Auth-Request-User`. A client with
/// a certificate that names nobody cannot name itself.
pub(super) fn user<'a>(headers: &'a HeaderMap, transport: &'a Transport) -> Option<&'a [u8]> {
    if transport.has_certificate {
        return transport.user.as_deref().map(str::as_bytes);
    }
    headers.get(X_AUTH_REQUEST_USER).map(HeaderValue::as_bytes)
}

/// The client, for its share of permits: the user, else the address that trusted proxies name, else that of the
/// connection.
pub(super) fn client_of(session: &Session, transport: &Transport) -> Vec<u8> {
    if let Some(user) = user(&session.req_header().headers, transport) {
        return [b"user ", user].concat();
    }
    let address = transport.client(&session.req_header().headers);
    address.map(|address| address.to_string()).unwrap_or_default().into_bytes()
}

fn json(body: &str) -> Admitted {
    let (content_type, body) = ("application/json", body.as_bytes().to_vec());
    Admitted::Response(GatewayResponse { status: 200, content_type, body, headers: Vec::new() })
}
