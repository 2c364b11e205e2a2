//! `/profiles`: each profile, the last success and error of its store, and the health of its addresses,
//! without secrets.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::protocol::timestamp::rfc3339;
use crate::reload::masked_id;
use crate::s3::credentials::{CredentialSource, Credentials};
use crate::upstream::endpoints::StoreEndpoint;
use crate::upstream::health::Fault;
use crate::upstream::turns::AddressReport;
use crate::upstream::{Store, Stores};

/// The name in the path of `POST /profiles/NAME/probe`.
pub(super) fn probed<'a>(method: &Method, path: &'a [u8]) -> Option<&'a str> {
    let name = path.strip_prefix(b"/profiles/")?.strip_suffix(b"/probe")?;
    let name = std::str::from_utf8(name).ok().filter(|_| *method == Method::POST)?;
    (!name.contains('/')).then_some(name)
}

/// Every profile, the default first.
pub(super) fn report(stores: &Stores) -> Value {
    stores.iter().map(|store| of(store)).collect()
}

/// A profile as in `/profiles`, and its requests in flight, for `/status`.
pub(super) fn with_state(store: &Store) -> Value {
    let mut profile = of(store);
    if let Some(fields) = profile.as_object_mut() {
        fields.insert("in_flight".to_owned(), store.admission.in_flight().into());
        fields.insert("in_flight_limit".to_owned(), store.admission.limit().into());
    }
    profile
}

/// One profile.
pub(super) fn of(store: &Store) -> Value {
    let profile = &store.profile;
    let (credentials, key) = match &profile.credentials {
        Credentials::Keys { keys, source } => (text(source), Some(masked_id(&keys.access_key_id))),
        Credentials::Anonymous => ("none: requests are unsigned".to_owned(), None),
        Credentials::Missing(reason) => (format!("missing: {reason}"), None),
    };
    let expires = match &profile.credentials {
        Credentials::Keys { source: CredentialSource::Provider { expires, .. }, .. } => *expires,
        _ => None,
    };
    let renewal = store.issuance.as_ref().map(|issuance| issuance.state());
    let failure = store.last_outcome.last_failure().map(|failure| {
        json!({ "at": rfc3339(failure.at), "cause": failure.cause, "code": failure.code })
    });
    json!({
        "profile": profile.label(),
        "endpoint": profile.endpoint.to_string(),
        "proxy": profile.proxy.as_ref().map(ToString::to_string),
        "region": profile.region,
        "credentials": credentials,
        "key_id": key,
        "expires": expires.map(rfc3339),
        "renewal_error": renewal.and_then(|renewal| renewal.last_error),
        "last_success": store.last_outcome.last_success().map(rfc3339),
        "last_error": failure,
        "endpoints": endpoints(store),
        "addresses": reports(store).iter().map(address).collect::<Value>(),
    })
}

/// The endpoints of a store that has several, and whether requests go to them.
fn endpoints(store: &Store) -> Value {
    let endpoints = store.endpoints.iter().filter(|_| store.endpoints.are_several());
    let state = |endpoint: &Arc<StoreEndpoint>| {
        let fault = endpoint.fault();
        json!({
            "endpoint": endpoint.endpoint().to_string(),
            "breaker": if fault.is_some() { "open" } else { "closed" },
            "fault": fault.map(Fault::as_str),
        })
    };
    endpoints.map(state).collect()
}

/// The addresses of all its endpoints.
pub(super) fn reports(store: &Store) -> Vec<AddressReport> {
    store.endpoints.iter().flat_map(|endpoint| endpoint.addresses.report()).collect()
}

/// An address of the endpoint, and why it is passed over.
fn address(report: &AddressReport) -> Value {
    json!({
        "address": report.address.to_string(),
        "state": report.state.as_str(),
        "fault": report.state.fault().map(Fault::as_str),
    })
}

fn text(source: &CredentialSource) -> String {
    match source {
        CredentialSource::EndpointUrl(place) => format!("the URL of {place}"),
        CredentialSource::Environment => "AWS_ACCESS_KEY_ID".to_owned(),
        CredentialSource::File { path, section } => format!("{} [{section}]", path.display()),
        CredentialSource::Provider { provider, .. } => provider.to_string(),
    }
}
