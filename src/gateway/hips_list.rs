//! `{prefix}/hipslist`: the surveys of listed profiles, as a node of the HiPS network lists them (HiPS 1.0, section
//! 5.2). What is said of each comes from its `properties`, by the cache.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method};
use pingora::Result;
use pingora::proxy::Session;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cache::{CacheRequest, LookupResult};
use crate::gateway::Gateway;
use crate::gateway::admit::client_of;
use crate::gateway::context::Context;
use crate::gateway::html::origin;
use crate::gateway::listing::whole;
use crate::profile::ContentTypeFrom;
use crate::profile::alias::NamedObject;
use crate::response::gateway_response::GatewayResponse;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::s3::encode::encode_path;
use crate::survey::{MAX_PROPERTIES_BYTES, Properties, hips_list_record};
use crate::trace::span::SpanParent;
use crate::upstream::Store;
use crate::upstream::client::{FetchRequest, FetchResponse};

/// Surveys whose `properties` are read at the same time.
const AT_ONCE: usize = 8;
/// A survey whose `properties` take longer is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// A survey of a listed profile.
#[derive(Clone)]
struct ListedSurvey {
    store: Arc<Store>,
    named: NamedObject,
    /// The span of the request.
    trace: Option<SpanParent>,
}

impl Gateway {
    /// Whether a listed profile names surveys.
    pub(super) fn lists_surveys(&self) -> bool {
        let stores = self.stores.load();
        stores.iter().any(|store| store.profile.listed && !store.profile.surveys.is_empty())
    }

    /// Answers with the list.
    pub(super) async fn answer_hips_list(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<()> {
        let base =
            [origin(session.req_header(), &ctx.transport).as_str(), &self.prefix, "/s3/"].concat();
        let client = client_of(session, &ctx.transport);
        let (mut records, mut is_whole) = (Vec::new(), true);
        for some in self.listed_surveys(ctx).chunks(AT_ONCE) {
            let reads: Vec<_> =
                some.iter().map(|survey| self.begin_to_read(survey, &client)).collect();
            for (survey, read) in some.iter().zip(reads) {
                let properties =
                    read.await.unwrap_or_else(|_| Err("properties: internal".to_owned()));
                let record = properties.map_err(|cause| (false, cause)).and_then(|properties| {
                    let url = [base.as_str(), &path_of(&survey.named.requested)].concat();
                    let record = hips_list_record(&properties, &url);
                    record.map_err(|missing| (true, format!("no {}", missing.join(", "))))
                });
                records.push(record.unwrap_or_else(|(is_of_survey, why)| {
                    is_whole &= is_of_survey;
                    let name = survey.named.requested.name();
                    format!("# {} is left out: {why}\n", name.replace(char::is_control, " "))
                }));
            }
        }
        let body = records.join("\n").into_bytes();
        let client = &session.req_header().headers;
        let response = list_response(body, is_whole, client);
        self.respond(session, ctx, &response).await
    }

    fn listed_surveys(&self, ctx: &Context) -> Vec<ListedSurvey> {
        let stores = self.stores.load();
        let listed = stores.iter().filter(|store| store.profile.listed);
        let folders = listed.flat_map(|store| {
            store.profile.surveys.iter().filter_map(|folder| {
                let (bucket, key) = folder.split_once('/')?;
                let (profile, bucket) = (store.profile.name.clone(), bucket.to_owned());
                Some(ObjectAddress { profile, bucket, key: key.to_owned() })
            })
        });
        let found = folders.filter_map(|folder| {
            let (named, store) = self.stores.find(folder).ok()?;
            // An alias may lead to another profile, with rules of its own.
            let store = store.filter(|store| store.profile.admits(&named.target().bucket))?;
            Some(ListedSurvey { store, named, trace: ctx.trace() })
        });
        found.collect()
    }

    fn begin_to_read(
        &self,
        survey: &ListedSurvey,
        client: &[u8],
    ) -> JoinHandle<Result<Properties, String>> {
        let (gateway, survey, client) = (self.clone(), survey.clone(), client.to_vec());
        tokio::spawn(async move { gateway.read_properties(&survey, &client).await })
    }

    /// The properties of a survey, or in a few words why there are none.
    async fn read_properties(
        &self,
        survey: &ListedSurvey,
        client: &[u8],
    ) -> Result<Properties, String> {
        let read = timeout(PATIENCE, self.read_small(survey, client)).await;
        match read {
            Ok(Ok(bytes)) => Ok(Properties::parse(&bytes)),
            Ok(Err(refusal)) => Err(format!("properties: {}", refusal.cause())),
            Err(_) => Err("properties: timeout".to_owned()),
        }
    }

    /// The bytes of `properties`, from the cache or the store.
    async fn read_small(&self, survey: &ListedSurvey, client: &[u8]) -> Result<Vec<u8>, Refusal> {
        let properties = survey.named.inside("properties").ok_or(Refusal::ObjectNotFound)?;
        let (store, address) = (Arc::clone(&survey.store), Arc::clone(properties.target()));
        let content_type = match store.profile.content_type {
            ContentTypeFrom::Origin => None,
            ContentTypeFrom::Key => match self.heads.mime.key_type(&address.key) {
                Ok(content_type) => Some(content_type),
                Err(denied) => return Err(Refusal::MediaTypeDenied(denied.map(str::to_owned))),
            },
        };
        let none = HeaderMap::new();
        let wanted = CacheRequest::new(store, address, content_type, &Method::GET, &none);
        let wanted = Arc::new(wanted.traced(survey.trace.clone()));
        if let Some(cache) = self.cache.filter(|_| wanted.rule.store) {
            match cache.cache().find(&wanted).await.what {
                LookupResult::Object { source, .. } => {
                    if source.length() > MAX_PROPERTIES_BYTES as u64 {
                        return Err(Refusal::UpstreamProtocol);
                    }
                    return whole(&source).await.map(Vec::from);
                }
                LookupResult::Refused(refusal) => return Err(refusal),
                LookupResult::Bypass => {}
            }
        }
        let shares = &wanted.store.shares;
        let Some(_share) = shares.acquire(client, self.upstream.queue_timeout).await else {
            return Err(Refusal::UserSaturated);
        };
        let request = FetchRequest::of(wanted.trace.as_ref());
        let fetched = self.client.fetch(&wanted.store, wanted.target(), &request).await;
        let FetchResponse::Object { mut body, .. } = fetched.outcome? else {
            return Err(Refusal::UpstreamProtocol);
        };
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await.map_err(|_| Refusal::UpstreamProtocol)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MAX_PROPERTIES_BYTES {
                return Err(Refusal::UpstreamProtocol);
            }
        }
        Ok(bytes)
    }
}

/// `profile@bucket/prefix` of a URL, without a slash at its end: clients add `/properties`.
fn path_of(folder: &ObjectAddress) -> String {
    let mut path = String::new();
    if let Some(profile) = &folder.profile {
        path.push_str(profile);
        path.push('@');
    }
    encode_path(folder.bucket.as_bytes(), &mut path);
    path.push('/');
    encode_path(folder.key.trim_end_matches('/').as_bytes(), &mut path);
    path.trim_end_matches('/').to_owned()
}

/// The list as a response. `is_whole`: no store has failed, so that clients may use it for a minute.
fn list_response(body: Vec<u8>, is_whole: bool, client: &HeaderMap) -> GatewayResponse {
    let digest = Sha256::digest(&body);
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{hash}\"");
    let named = client.get(IF_NONE_MATCH).map_or(&b""[..], HeaderValue::as_bytes);
    let is_known = named.windows(tag.len()).any(|it| it == tag.as_bytes());
    let cache_control = if is_whole { "max-age=60" } else { "no-cache" };
    let mut headers = vec![(CACHE_CONTROL, HeaderValue::from_static(cache_control))];
    headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (ETAG, tag)));
    GatewayResponse {
        status: if is_known { 304 } else { 200 },
        content_type: if is_known { "" } else { "text/plain; charset=utf-8" },
        body: if is_known { Vec::new() } else { body },
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_survey_is_encoded_and_has_no_slash_at_its_end() {
        for (bucket, key, expected) in [
            ("hips@sky", "dp1/", "hips@sky/dp1"),
            ("sky", "", "sky"),
            ("sky", "a b/c%/", "sky/a%20b/c%25"),
        ] {
            let folder = ObjectAddress::of_text(bucket, key.to_owned(), true).expect("an address");
            assert_eq!(path_of(&folder), expected);
        }
    }

    #[test]
    fn a_client_that_has_the_list_gets_no_body() {
        let first = list_response(b"a".to_vec(), true, &HeaderMap::new());
        assert_eq!((first.status, &first.body[..]), (200, &b"a"[..]));
        let (_, tag) = first.headers.iter().find(|(name, _)| name == ETAG).expect("a tag");
        let client = HeaderMap::from_iter([(IF_NONE_MATCH, tag.clone())]);
        assert_eq!(list_response(b"a".to_vec(), true, &client).status, 304);
        assert_eq!(list_response(b"b".to_vec(), true, &client).status, 200);
    }
}
