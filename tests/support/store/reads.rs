//! GET and HEAD of objects: ranges and conditions, answered according to the [`Manners`].

use std::ops::Range;
use std::sync::Arc;

use ::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use ::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3Error, S3Request, S3Response, S3Result, s3_error};

use super::access::{LocalHost, check_signed};
use super::body::ObjectBody;
use super::manners::Manners;
use super::object::Object;
use super::{Store, read};

/// Answers every GET and HEAD that names a key and has no query, after `s3s` has checked the
/// signature.
pub(crate) struct Reads {
    store: Store,
    host: LocalHost,
}

impl Reads {
    pub(crate) fn new(store: Store, host: LocalHost) -> Self {
        Self { store, host }
    }

    /// The bucket and the key, decoded once, as RGW does: `/b%2Fa/b` is key `a/b` of bucket `b`.
    fn address(&self, uri: &Uri, headers: &HeaderMap) -> Option<(String, String)> {
        let path = decode(uri.path())?;
        let path = path.strip_prefix('/')?;
        let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (bucket, key) = match self.host.bucket(host) {
            Some(bucket) => (bucket, path),
            None => path.split_once('/')?,
        };
        (!bucket.is_empty() && !key.is_empty()).then(|| (bucket.to_owned(), key.to_owned()))
    }

    fn find(&self, bucket: &str, key: &str, manners: &Manners) -> S3Result<Arc<Object>> {
        let buckets = read(&self.store.0.buckets);
        let keys = buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        match keys.get(key) {
            Some(object) => Ok(Arc::clone(object)),
            None if manners.may_list => Err(s3_error!(NoSuchKey)),
            None => Err(s3_error!(AccessDenied)),
        }
    }
}

#[async_trait::async_trait]
impl S3Route for Reads {
    fn is_match(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        _: &mut Extensions,
    ) -> bool {
        (method == Method::GET || method == Method::HEAD)
            && uri.query().is_none_or(str::is_empty)
            && self.address(uri, headers).is_some()
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        match &request.credentials {
            Some(_) => check_signed(&self.store, &request.headers),
            None if self.store.manners().anonymous_reads => Ok(()),
            None => Err(s3_error!(AccessDenied, "a signature is required")),
        }
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let manners = self.store.manners();
        let (bucket, key) =
            self.address(&request.uri, &request.headers).ok_or_else(|| s3_error!(InvalidURI))?;
        let object = self.find(&bucket, &key, &manners)?;
        let length = object.body.len();
        let mut headers = HeaderMap::new();
        headers.extend(manners.extra_headers.iter().cloned());
        let (status, part) = match judge(&object, &request.headers, &manners) {
            Verdict::Whole => (StatusCode::OK, 0..length),
            Verdict::Part(part) => {
                let text = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                set(&mut headers, CONTENT_RANGE, &text);
                (StatusCode::PARTIAL_CONTENT, part)
            }
            Verdict::NotModified => {
                if manners.validators_on_304 {
                    describe_version(&object, &mut headers);
                }
                let mut response = S3Response::with_headers(Body::empty(), headers);
                response.status = Some(StatusCode::NOT_MODIFIED);
                return Ok(response);
            }
            Verdict::PreconditionFailed => return Err(s3_error!(PreconditionFailed)),
            Verdict::Unsatisfiable => {
                if manners.content_range_on_416 {
                    set(&mut headers, CONTENT_RANGE, &format!("bytes */{length}"));
                }
                return Err(unsatisfiable(headers));
            }
        };
        describe_version(&object, &mut headers);
        describe(&object, &mut headers);
        set(&mut headers, CONTENT_LENGTH, &(part.end - part.start).to_string());
        let body = if request.method == Method::HEAD {
            Body::empty()
        } else {
            Body::http_body(ObjectBody::new(object, part))
        };
        let mut response = S3Response::with_headers(body, headers);
        response.status = Some(status);
        Ok(response)
    }
}

fn unsatisfiable(mut headers: HeaderMap) -> S3Error {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let mut error = s3_error!(InvalidRange);
    error.set_headers(headers);
    error
}

fn describe_version(object: &Object, headers: &mut HeaderMap) {
    set(headers, ETAG, &object.quoted_etag());
    set(headers, LAST_MODIFIED, &httpdate::fmt_http_date(object.last_modified));
}

fn describe(object: &Object, headers: &mut HeaderMap) {
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set(headers, CONTENT_TYPE, object.content_type.as_deref().unwrap_or("binary/octet-stream"));
    for (name, value) in [
        (CACHE_CONTROL, &object.cache_control),
        (CONTENT_ENCODING, &object.content_encoding),
        (CONTENT_DISPOSITION, &object.content_disposition),
    ] {
        if let Some(value) = value {
            set(headers, name, value);
        }
    }
    for (name, value) in &object.metadata {
        if let Ok(name) = HeaderName::try_from(format!("x-amz-meta-{name}")) {
            set(headers, name, value);
        }
    }
}

/// Sets a header; a value that HTTP does not allow is left out, as the object has no other way.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// Decodes `%XX` once; `None` if the result is not UTF-8, which `s3s` has refused before.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let value = pair.filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()));
        match value.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) if byte == b'%' => {
                bytes.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// The result of the conditions and the range of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Whole,
    Part(Range<u64>),
    NotModified,
    PreconditionFailed,
    Unsatisfiable,
}

/// RFC 9110, section 13.2.2, in its order.
fn judge(object: &Object, headers: &HeaderMap, manners: &Manners) -> Verdict {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let date = |name: HeaderName| text(name).and_then(secs_of_date);
    if let Some(tags) = text(IF_MATCH) {
        if !names_tag(tags, object, manners, Comparison::Strong) {
            return Verdict::PreconditionFailed;
        }
    } else if date(IF_UNMODIFIED_SINCE).is_some_and(|date| object.modified_secs() > date) {
        return Verdict::PreconditionFailed;
    }
    if let Some(tags) = text(IF_NONE_MATCH) {
        if names_tag(tags, object, manners, Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if date(IF_MODIFIED_SINCE).is_some_and(|date| object.modified_secs() <= date) {
        return Verdict::NotModified;
    }
    match text(RANGE) {
        Some(_) if manners.honours_if_range && !if_range_holds(text(IF_RANGE), object) => {
            Verdict::Whole
        }
        Some(range) => part(range, object.body.len(), manners),
        None => Verdict::Whole,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn names_tag(tags: &str, object: &Object, manners: &Manners, comparison: Comparison) -> bool {
    if !manners.understands_tag_lists {
        return tags.trim().trim_matches('"') == object.etag();
    }
    if tags.trim() == "*" {
        return true;
    }
    let own = object.quoted_etag();
    tags.split(',').map(str::trim).any(|tag| match tag.strip_prefix("W/") {
        Some(tag) => comparison == Comparison::Weak && tag == own,
        None => tag == own,
    })
}

/// RFC 9110, section 13.1.5: a strong tag, or the exact date.
fn if_range_holds(condition: Option<&str>, object: &Object) -> bool {
    match condition.map(str::trim) {
        None => true,
        Some(tag) if tag.starts_with(['"', 'W']) && tag.contains('"') => {
            tag == object.quoted_etag()
        }
        Some(date) => secs_of_date(date) == Some(object.modified_secs()),
    }
}

fn part(range: &str, length: u64, manners: &Manners) -> Verdict {
    let wanted = match range.split_once(',') {
        Some(_) if manners.ignores_odd_ranges => return Verdict::Whole,
        Some((first, _)) => first,
        None => range,
    };
    match s3s::dto::Range::parse(wanted) {
        Err(_) if manners.ignores_odd_ranges => Verdict::Whole,
        Err(_) => Verdict::Unsatisfiable,
        Ok(range) => match range.check(length) {
            Ok(part) if !part.is_empty() => Verdict::Part(part),
            _ => Verdict::Unsatisfiable,
        },
    }
}

fn secs_of_date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(std::time::SystemTime::UNIX_EPOCH).ok().map(|age| age.as_secs())
}
