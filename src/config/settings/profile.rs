//! The settings of one profile. Their paths are within `default_profile` or `profiles.NAME`. Only the
//! endpoint and the section have variables, and these differ between the two.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use wildmatch::WildMatch;

use crate::config::credentials_from::CredentialsFrom;
use crate::config::endpoint_url::EndpointUrl;
use crate::config::kind::{self, Kind};
use crate::config::layers::{Layers, Location, Reported};
use crate::config::proxy::ProxyChoice;
use crate::config::settings::row::{Row, Setting, Shown};
use crate::config::value::DAY;
use crate::profile::globs::Globs;
use crate::profile::{ContentTypeFrom, WhichFolders};
use crate::s3::endpoint::{Addressing, Endpoint};
use crate::s3::secret::Secret;

settings! {
    /// A profile as written, without its credentials and its rules of the cache.
    #[derive(Debug, Clone)]
    pub(in crate::config) struct WrittenProfile, store at "" {
        endpoint: Option<EndpointUrl> {
            kind: kind::endpoint(),
            default: "null",
            shown: Shown::Url,
            reload: "true",
            text: "The URL of the store, with or without `key:secret@`, or `aws`. Unset: a named profile uses the endpoint of the default profile, the default profile uses AWS.",
        }
        endpoints: Vec<Endpoint> {
            kind: kind::endpoints(),
            default: "[]",
            shown: Shown::Url,
            reload: "true",
            text: "In place of `endpoint`: the URLs of several endpoints with the same objects, such as the zones of a Ceph multisite or a mirror, at most 8, without access keys. The first one that is well is asked, see [operations.md](operations.md#several-endpoints-of-one-store).",
        }
        hedge: bool {
            kind: kind::boolean(),
            default: "false",
            reload: "true",
            text: "With `endpoints`: when the first byte of an answer is later than 95 of 100 were, send the request to a second endpoint too, and take the first good answer. At most 5 % of the requests that the cache makes are sent twice, and one a second besides.",
        }
        proxy: Option<ProxyChoice> {
            kind: kind::proxy(),
            default: "null",
            shown: Shown::Url,
            reload: "true",
            text: "The proxy on the way to this store, such as `http://user:password@proxy:3128`, whatever `NO_PROXY` says; `off` connects directly. Unset: `upstream.proxy`.",
        }
        ca_file: Option<PathBuf> {
            kind: kind::optional_path(),
            default: "null",
            reload: "true",
            text: "A PEM file of CA certificates to trust towards this store, and towards the STS of its role, instead of those of `upstream.ca_file` or the system. Read again when it changes.",
        }
        client_certificate_file: Option<PathBuf> {
            kind: kind::optional_path(),
            default: "null",
            reload: "true",
            text: "A PEM file with the certificate that the gateway presents to this store, and to the STS of its role, then those of the intermediate authorities. Read again when it changes.",
        }
        client_key_file: Option<PathBuf> {
            kind: kind::optional_path(),
            default: "null",
            reload: "true",
            text: "A PEM file with the unencrypted private key of `client_certificate_file`. Read again when it changes.",
        }
        region: Option<String> {
            kind: kind::optional_region(),
            default: "null",
            reload: "true",
            text: "The region in signatures. Unset: `region` of the INI section, or else the global `region`.",
        }
        addressing: Option<Addressing> {
            kind: kind::addressing(),
            default: "null",
            reload: "true",
            text: "Whether the bucket is in the path or in the host name of a request. Unset: `virtual` for AWS, `path` for an endpoint with a URL.",
        }
        buckets: Option<Globs> {
            kind: kind::buckets(),
            default: "null",
            reload: "true",
            text: "The buckets that clients may read, such as `[rubin-*, dp1]`. Unset: every bucket.",
        }
        missing_on_403: bool {
            kind: kind::boolean(),
            default: "false",
            reload: "true",
            text: "Answer 404 when the store answers 403 with the code `AccessDenied`. Without permission to list a bucket, stores answer so for missing objects. Where the cache does not ask the store, a 403 costs a second request, for the code.",
        }
        content_type: ContentTypeFrom {
            kind: kind::content_type(),
            default: "key",
            reload: "true",
            text: "Where the media type comes from: `key` is the extension of the object key, `origin` the response of the store. It must be an accepted type in either case.",
        }
        content_security_policy: Option<bool> {
            kind: kind::optional_boolean(),
            default: "null",
            reload: "true",
            text: "Send `Content-Security-Policy: sandbox` with HTML, SVG and XML of this profile. `false` lets pages in its buckets run their scripts, with the cookies of the gateway's origin: for buckets that only trusted people write to. Unset: the global `content_security_policy`.",
        }
        response_headers: Vec<WildMatch> {
            kind: kind::response_headers(),
            default: "[]",
            reload: "true",
            text: "Further response headers of the store to forward to the client, such as `[x-amz-meta-*]`.",
        }
        request_headers: Vec<WildMatch> {
            kind: kind::request_headers(),
            default: "[]",
            reload: "true",
            text: "Request headers of the client to forward to the store, unsigned, such as `[traceparent]`. With `tracing.endpoint` a `tracestate` passes only with the trace to which it belongs. The profile is then not cached.",
        }
        upstream_headers: Vec<(HeaderName, Secret)> {
            kind: kind::upstream_headers(),
            default: "{}",
            shown: Shown::Names,
            reload: "true",
            text: "Headers to add to every request to the store and to sign, such as `{x-amz-request-payer: requester}`. The values are secrets.",
        }
        cache_control: Option<HeaderValue> {
            kind: kind::cache_control(),
            default: "null",
            reload: "true",
            text: "`Cache-Control` of the responses of this profile, such as `private, max-age=3600`, instead of the one that `cache_max_age` sets. With `no-store` or `private` the profile is not cached.",
        }
        index: Option<String> {
            kind: kind::index_name(),
            default: "null",
            reload: "true",
            text: "The object that answers for a folder, such as `index.html`: `…/survey/` is answered with `survey/index.html`. Unset: none.",
        }
        listing: bool {
            kind: kind::boolean(),
            default: "false",
            reload: "true",
            text: "Answer the URL of a folder, which ends with a slash, with a list of what is in it, if the folder has no `index` object. The access key needs `s3:ListBucket`.",
        }
        listing_ttl: Duration {
            kind: kind::time::<0, DAY>(),
            default: "1m",
            reload: "true",
            text: "How long a page of a listing is fresh in the cache.",
        }
        viewer: bool {
            kind: kind::boolean(),
            default: "false",
            reload: "true",
            text: "Show browsers a sky viewer for a folder that holds a HiPS survey (`properties`), and a page with header and picture for a FITS file. Other clients, and URLs with `?raw`, get the object.",
        }
        hips: WhichFolders {
            kind: kind::which_folders(),
            default: "false",
            reload: "true",
            text: "Answer 404, without asking the store, for tiles that the `properties` and the `Moc.fits` of their HiPS survey exclude, while both are fresh in memory. A part of these answers is verified in the background. `true`: of every survey of the profile; a list such as `[sky/dp1_v2/]`: of those in these folders.",
        }
        archives: WhichFolders {
            kind: kind::which_folders(),
            default: "false",
            reload: "true",
            text: "Serve the members of `.zip` and `.pmtiles` files as objects: `…/file.zip/Norder3/Npix0.png`, `…/file.pmtiles/3/1/2`, see [archives.md](archives.md). Members of a `.zip` must be stored without compression. `true`: of every archive of the profile; a list such as `[sky/tiles/]`: of those in these folders.",
        }
        listed: bool {
            kind: kind::boolean(),
            default: "false",
            reload: "true",
            text: "Name the profile on the landing page, with the state of its store and, with `listing`, links to its `buckets`.",
        }
        surveys: Vec<String> {
            kind: kind::folders(),
            default: "[]",
            reload: "true",
            text: "The folders of HiPS surveys that [`/s3proxy/hipslist`](folders.md#a-list-of-surveys) names, such as `[sky/dp1_v2/]`, with `listed`.",
        }
    }
}

settings! {
    /// The credentials of a profile, as written in the file or in a variable of the profile.
    #[derive(Debug, Clone)]
    pub(in crate::config) struct WrittenCredentials, credentials at "credentials." {
        section: Option<String> {
            kind: kind::optional_section(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "The section of the credentials file with the access key. Unset: the section with the name of the profile; `default` for the default profile.",
        }
        anonymous: bool {
            kind: kind::boolean(),
            default: "false",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "Send unsigned requests, for public buckets. A missing access key never causes unsigned requests.",
        }
        from: Option<CredentialsFrom> {
            kind: kind::credentials_from(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "Where the credentials come from, see [credentials.md](credentials.md). Unset: the first of URL, environment and credentials file that has some.",
        }
        process: Option<String> {
            kind: kind::optional_line(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "With `from: process`: the program and its arguments. No shell runs it.",
        }
        role_arn: Option<String> {
            kind: kind::optional_line(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "The role to assume, with the access key of the profile or with `from: web_identity`. Unset: `AWS_ROLE_ARN` for `web_identity`.",
        }
        role_session_name: Option<String> {
            kind: kind::optional_line(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "The name of the session in the records of STS. Unset: `AWS_ROLE_SESSION_NAME`, or else `s3proxy`.",
        }
        external_id: Option<String> {
            kind: kind::optional_line(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "The external id that the role requires, with `role_arn` and an access key.",
        }
        web_identity_token_file: Option<PathBuf> {
            kind: kind::optional_path(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "With `from: web_identity`: the file with the token, read for each request. Unset: `AWS_WEB_IDENTITY_TOKEN_FILE`.",
        }
        sts_endpoint: Option<Endpoint> {
            kind: kind::provider_url(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "The URL of the STS for `role_arn`. Unset: the endpoint of the profile, or that of AWS in its region.",
        }
        uri: Option<Endpoint> {
            kind: kind::provider_url(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "The URL for `from: container` or `instance`. Unset: `AWS_CONTAINER_CREDENTIALS_FULL_URI` or `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`; `http://169.254.169.254` for `instance`.",
        }
        token_file: Option<PathBuf> {
            kind: kind::optional_path(),
            default: "null",
            shown: Shown::Elsewhere,
            reload: "true",
            text: "With `from: container`: the file with the authorization token, read for each request. Unset: `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` or `AWS_CONTAINER_AUTHORIZATION_TOKEN`.",
        }
    }
}
