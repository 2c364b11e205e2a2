//! Pages as responses: their headers, the form that the client prefers, the page of a refusal, assets.

use std::time::SystemTime;

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HOST, IF_NONE_MATCH, REFERRER_POLICY,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;

use crate::downstream::transport::Transport;
use crate::gateway::Gateway;
use crate::gateway::folder::{parameter, path_and_query};
use crate::pages::assets;
use crate::pages::error::ErrorPage;
use crate::pages::html::{self, Site};
use crate::pages::landing::ListedProfile;
use crate::pages::viewer::{self, Viewer};
use crate::profile::globs::Globs;
use crate::protocol::accept::{Preferred, preferred};
use crate::protocol::timestamp::rfc3339;
use crate::response::gateway_response::GatewayResponse;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::upstream::Store;

/// The media type of a page.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// The headers of a page.
pub(super) fn page_headers() -> Vec<(HeaderName, HeaderValue)> {
    vec![
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(html::CONTENT_SECURITY_POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ]
}

/// A page.
pub(super) fn page(body: String) -> GatewayResponse {
    GatewayResponse {
        status: 200,
        content_type: HTML,
        body: body.into_bytes(),
        headers: page_headers(),
    }
}

/// A page with a viewer.
pub(super) fn viewer_page(viewer: Viewer, site: &Site, address: &ObjectAddress) -> GatewayResponse {
    let key = address.key.strip_suffix('/').unwrap_or(&address.key);
    let name = key.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&address.bucket);
    let mut response = page(viewer.page(site, name));
    for (header, value) in &mut response.headers {
        if *header == CONTENT_SECURITY_POLICY {
            *value = HeaderValue::from_static(viewer::CONTENT_SECURITY_POLICY);
        }
    }
    response
}

/// Whether the client is a browser that shows a page.
pub(super) fn wants_page(client: &RequestHeader) -> bool {
    preferred(&client.headers) == Preferred::Html
}

/// Scheme and host as the client named them; empty without `Host`.
pub(super) fn origin(client: &RequestHeader, transport: &Transport) -> String {
    let host = client.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if host.is_empty() {
        return String::new();
    }
    [transport.scheme(&client.headers), "://", host].concat()
}

impl Gateway {
    /// An asset of the pages; `None` if there is none of this name.
    pub(super) fn asset(&self, name: &[u8], client: &HeaderMap) -> Option<GatewayResponse> {
        let asset = self.pages.site.assets.get(name)?;
        let etag = HeaderValue::try_from(&asset.etag).ok()?;
        let named = client.get(IF_NONE_MATCH).map_or(&b""[..], HeaderValue::as_bytes);
        let is_known = named.windows(asset.etag.len()).any(|tag| tag == asset.etag.as_bytes());
        Some(GatewayResponse {
            status: if is_known { 304 } else { 200 },
            content_type: if is_known { "" } else { asset.media_type },
            body: if is_known { Vec::new() } else { asset.content.clone().into_bytes() },
            headers: vec![
                (CACHE_CONTROL, HeaderValue::from_static(assets::CACHE_CONTROL)),
                (ETAG, etag),
                (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
            ],
        })
    }

    /// Gives a refusal the form of a page, if the client is a browser. `object` is the `s3://` name of the
    /// requested object, if any.
    pub(super) fn refusal_as_page(
        &self,
        client: &RequestHeader,
        refusal: &Refusal,
        object: Option<&str>,
        request_id: &str,
        response: &mut GatewayResponse,
    ) {
        if !wants_page(client) {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "the page shows the time")]
        let now = SystemTime::now();
        // `?object` is a request for the object whose key is that of the folder.
        let of_folder = object.is_some_and(|name| name.ends_with('/'))
            && parameter(path_and_query(client).1, "object").is_none();
        let text = refusal.text(of_folder);
        let message = format!("{}.", refusal.message());
        let what = text.what.unwrap_or(&message);
        let time = rfc3339(now);
        let page = ErrorPage {
            status: response.status,
            title: text.title,
            what,
            who: text.who,
            advice: text.advice,
            object: object.unwrap_or_default(),
            cause: refusal.cause(),
            request_id,
            time: &time,
        };
        response.body = page.render(&self.pages.site).into_bytes();
        response.content_type = HTML;
        response.headers.extend(page_headers());
    }

    /// The profiles that the landing page names.
    pub(super) fn listed_profiles(&self) -> Vec<ListedProfile> {
        let stores = self.stores.load();
        let listed = stores.iter().filter(|store| store.profile.listed);
        listed.map(|store| listed_profile(store)).collect()
    }
}

fn listed_profile(store: &Store) -> ListedProfile {
    let profile = &store.profile;
    let buckets = profile.buckets.iter().flat_map(Globs::iter).map(ToString::to_string);
    let has_page = |bucket: &String| profile.listing && !bucket.contains(['*', '?']);
    let failure = store.last_outcome.last_failure();
    let success = store.last_outcome.last_success();
    let state = match failure.filter(|failure| success.is_none_or(|at| at < failure.at)) {
        Some(failure) => format!("failed: {}", failure.cause),
        None if success.is_some() => "answers".to_owned(),
        None => "not asked yet".to_owned(),
    };
    let name = profile.name.as_ref().map(|name| format!("{name}@")).unwrap_or_default();
    ListedProfile { name, state, buckets: buckets.filter(has_page).collect() }
}
