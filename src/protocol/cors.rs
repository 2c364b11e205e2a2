//! Which responses pages of other origins may read: the CORS protocol of the Fetch standard,
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Headers to add to a response, each name once.
pub type Headers = Vec<(HeaderName, HeaderValue)>;

/// Response headers that a script may read in addition to the CORS-safelisted ones.
const EXPOSED: &str =
    "ETag, Content-Range, Accept-Ranges, Content-Length, Cache-Status, X-Request-ID";

/// Request headers that a script may set: ranges, conditions, and the CORS-safelisted ones.
const REQUESTABLE: [&str; 10] = [
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "accept",
    "accept-language",
    "content-language",
    "content-type",
];

/// The CORS configuration: which pages of other origins may read responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Exact origins (`https://a.example`), or a single `*`.
    pub origins: Vec<String>,
    /// Send `Access-Control-Allow-Credentials: true`; never together with `*`.
    pub credentials: bool,
    /// How long a browser may cache a preflight response.
    pub max_age: Duration,
}

/// The CORS headers of the response to this request: of the preflight response (status 204) for
/// OPTIONS, else of the object or error.
///
/// An origin that is not listed gets no `Access-Control-Allow-Origin`, so that the browser withholds
/// the response from the page.
#[must_use]
pub fn headers(cors: &Cors, method: &Method, request: &HeaderMap) -> Headers {
    if method == Method::OPTIONS { preflight(cors, request) } else { actual(cors, request) }
}

fn actual(cors: &Cors, request: &HeaderMap) -> Headers {
    let mut headers = Headers::new();
    if !any_origin(cors) {
        headers.push((VARY, HeaderValue::from_static("Origin")));
    }
    if allow_origin(cors, request, &mut headers) {
        headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)));
    }
    headers
}

fn preflight(cors: &Cors, request: &HeaderMap) -> Headers {
    let vary = if any_origin(cors) {
        "Access-Control-Request-Headers"
    } else {
        "Origin, Access-Control-Request-Headers"
    };
    let mut headers = vec![(VARY, HeaderValue::from_static(vary))];
    if allow_origin(cors, request, &mut headers) {
        let methods = HeaderValue::from_static("GET, HEAD, OPTIONS");
        headers.push((ACCESS_CONTROL_ALLOW_METHODS, methods));
        if let Some(names) = allowed_headers(cors, request) {
            headers.push((ACCESS_CONTROL_ALLOW_HEADERS, names));
        }
        headers.push((ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs())));
    }
    headers
}

fn any_origin(cors: &Cors) -> bool {
    cors.origins.iter().any(|origin| origin == "*")
}

/// Adds the headers that allow the request's origin to read the response; false when it is not
/// allowed.
fn allow_origin(cors: &Cors, request: &HeaderMap, headers: &mut Headers) -> bool {
    if any_origin(cors) {
        // Never with credentials: browsers and the configuration refuse this combination.
        headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")));
        return true;
    }
    let mut origins = request.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    if !cors.origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes()) {
        return false;
    }
    headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
    if cors.credentials {
        headers.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
    }
    true
}

/// The requested header names that the gateway supports.
fn allowed_headers(cors: &Cors, request: &HeaderMap) -> Option<HeaderValue> {
    let lines = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let asked = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let asked: Vec<_> = asked.map(str::trim).collect();
    // A listed page may send a token to an authenticating proxy in front of the gateway; the gateway
    // neither reads nor forwards it.
    let token = (!any_origin(cors)).then_some(&"authorization");
    let names = REQUESTABLE
        .iter()
        .chain(token)
        .filter(|name| asked.iter().any(|asked| asked.eq_ignore_ascii_case(name)));
    let names: Vec<_> = names.copied().collect();
    if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const EXPOSE: &str = "access-control-expose-headers: ETag, Content-Range, Accept-Ranges, \
                          Content-Length, Cache-Status, X-Request-ID";
    const METHODS: &str = "access-control-allow-methods: GET, HEAD, OPTIONS";
    const MAX_AGE: &str = "access-control-max-age: 600";
    const VARY_ORIGIN: &str = "vary: Origin";
    const VARY_BOTH: &str = "vary: Origin, Access-Control-Request-Headers";
    const CREDENTIALS: &str = "access-control-allow-credentials: true";
    const A: &str = "https://a.example";
    const ALLOW_A: &str = "access-control-allow-origin: https://a.example";

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        Cors { origins, credentials, max_age: Duration::from_mins(10) }
    }

    fn lines(cors: &Cors, method: &Method, request: &[(&str, &str)]) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in request {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            map.append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        let headers = headers(cors, method, &map);
        let text = |value: &HeaderValue| value.to_str().expect("visible ASCII").to_owned();
        headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
    }

    #[test]
    fn only_a_listed_origin_may_read_the_response() {
        let listed = cors(&[A, "https://b.example:8443"], false);
        for method in [Method::GET, Method::HEAD] {
            for (request, expected) in [
                (vec![("origin", A)], vec![VARY_ORIGIN, ALLOW_A, EXPOSE]),
                (
                    vec![("origin", "https://b.example:8443")],
                    vec![
                        VARY_ORIGIN,
                        "access-control-allow-origin: https://b.example:8443",
                        EXPOSE,
                    ],
                ),
                (vec![], vec![VARY_ORIGIN]),
                (vec![("origin", "https://b.example")], vec![VARY_ORIGIN]),
                (vec![("origin", "http://a.example")], vec![VARY_ORIGIN]),
                (vec![("origin", "https://a.example.evil")], vec![VARY_ORIGIN]),
                (vec![("origin", "https://x.a.example")], vec![VARY_ORIGIN]),
                (vec![("origin", "https://a.example/")], vec![VARY_ORIGIN]),
                (vec![("origin", "null")], vec![VARY_ORIGIN]),
                (vec![("origin", "*")], vec![VARY_ORIGIN]),
                (vec![("origin", "")], vec![VARY_ORIGIN]),
                (vec![("origin", A), ("origin", A)], vec![VARY_ORIGIN]),
                (vec![("origin", "https://a.example https://e.evil")], vec![VARY_ORIGIN]),
            ] {
                assert_eq!(lines(&listed, &method, &request), expected, "{method} {request:?}");
            }
        }
    }

    #[test]
    fn a_star_allows_every_origin_and_never_credentials() {
        let expected = ["access-control-allow-origin: *", EXPOSE];
        for credentials in [false, true] {
            let star = cors(&["*"], credentials);
            for request in [vec![], vec![("origin", A)], vec![("origin", "null")]] {
                assert_eq!(lines(&star, &Method::GET, &request), expected, "{request:?}");
            }
        }
    }

    #[test]
    fn credentials_are_allowed_to_listed_origins_where_configured() {
        let with = cors(&[A], true);
        let expected = [VARY_ORIGIN, ALLOW_A, CREDENTIALS, EXPOSE];
        assert_eq!(lines(&with, &Method::GET, &[("origin", A)]), expected);
        let other = [("origin", "https://b.example")];
        assert_eq!(lines(&with, &Method::GET, &other), [VARY_ORIGIN]);
        let expected = [VARY_BOTH, ALLOW_A, CREDENTIALS, METHODS, MAX_AGE];
        assert_eq!(lines(&with, &Method::OPTIONS, &[("origin", A)]), expected);
    }

    #[test]
    fn a_preflight_allows_ranges_conditions_and_safe_headers_only() {
        let listed = cors(&[A], false);
        for (asked, allowed) in [
            (vec!["range"], Some("range")),
            (vec!["Range"], Some("range")),
            (vec!["if-none-match,range"], Some("range, if-none-match")),
            (vec!["if-none-match", "range"], Some("range, if-none-match")),
            (vec!["range,range"], Some("range")),
            (
                vec!["if-match, if-modified-since, if-none-match, if-range, if-unmodified-since"],
                Some("if-range, if-match, if-none-match, if-modified-since, if-unmodified-since"),
            ),
            (vec!["accept,content-type"], Some("accept, content-type")),
            (
                vec!["authorization, range, x-amz-acl, x-forwarded-for"],
                Some("range, authorization"),
            ),
            (vec!["Authorization"], Some("authorization")),
            (vec!["*"], None),
            (vec!["range; x"], None),
            (vec![""], None),
            (vec![], None),
        ] {
            let mut request = vec![("origin", A), ("access-control-request-method", "GET")];
            request.extend(asked.iter().map(|line| ("access-control-request-headers", *line)));
            let allow = allowed.map(|names| format!("access-control-allow-headers: {names}"));
            let mut expected = vec![VARY_BOTH, ALLOW_A, METHODS];
            expected.extend(allow.as_deref());
            expected.push(MAX_AGE);
            assert_eq!(lines(&listed, &Method::OPTIONS, &request), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_preflight_allows_a_token_to_listed_origins_only() {
        let request = [("origin", A), ("access-control-request-headers", "authorization, range")];
        let any = lines(&cors(&["*"], false), &Method::OPTIONS, &request);
        assert!(any.contains(&"access-control-allow-headers: range".to_owned()), "{any:?}");
    }

    #[test]
    fn a_preflight_of_another_origin_allows_nothing() {
        let request = [
            ("origin", "https://b.example"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "range"),
        ];
        assert_eq!(lines(&cors(&[A], true), &Method::OPTIONS, &request), [VARY_BOTH]);
        assert_eq!(lines(&cors(&[], true), &Method::OPTIONS, &request), [VARY_BOTH]);
        let star = [
            "vary: Access-Control-Request-Headers",
            "access-control-allow-origin: *",
            METHODS,
            "access-control-allow-headers: range",
            MAX_AGE,
        ];
        assert_eq!(lines(&cors(&["*"], false), &Method::OPTIONS, &request), star);
    }

    proptest! {
        #[test]
        fn only_a_listed_origin_is_ever_named(origin in "(https://a[.]example)?[a-z:/.*]{0,3}") {
            let names = lines(&cors(&[A], true), &Method::GET, &[("origin", &origin)]);
            prop_assert_eq!(names.len() > 1, origin == A);
        }
    }
}
