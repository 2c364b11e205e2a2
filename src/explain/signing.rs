//! The request to the store as it is sent and signed, without secrets: for comparison with the values in
//! the answer of a store (`SignatureDoesNotMatch`).

use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};

use crate::check::report::Finding;
use crate::profile::Profile;
use crate::reload::masked_id;
use crate::s3::credentials::Credentials;
use crate::s3::endpoint::Target;
use crate::s3::sign::workings::{REDACTED, Workings};

/// Headers whose values are not secret.
const SHOWN: [&str; 2] = ["x-amz-content-sha256", "x-amz-date"];

/// Method and URL, and the lines of the headers, the canonical request and the string to sign.
pub(super) fn request(
    profile: &Profile,
    target: &Target,
    method: &Method,
    at: SystemTime,
) -> (Finding, Vec<String>) {
    let scheme = if profile.endpoint.tls { "https" } else { "http" };
    let line = format!("{method} {scheme}://{}{}", target.host, target.path);
    let signer = profile.signer();
    let Ok(headers) = signer.sign(method, target, at) else {
        let fix = "a configured header value or access key contains characters that are invalid in headers";
        return (Finding::failed(format!("{line}: cannot be signed"), fix), Vec::new());
    };
    let workings = signer.workings(method, target, at);
    let mut lines = vec![format!("host: {}", target.host)];
    for (name, value) in &headers {
        let value = match (&workings, name) {
            (Some(workings), name) if *name == AUTHORIZATION => authorization(profile, workings),
            (_, name) if SHOWN.contains(&name.as_str()) => text(value),
            _ => REDACTED.to_owned(),
        };
        lines.push(format!("{name}: {value}"));
    }
    lines.push("(unsigned, added because explain reads one byte: range: bytes=0-0)".to_owned());
    if let Some(workings) = &workings {
        lines.push("canonical request:".to_owned());
        lines.extend(workings.canonical_request.split('\n').map(indented));
        lines.push("string to sign:".to_owned());
        lines.extend(workings.string_to_sign.split('\n').map(indented));
    }
    (Finding::ok(line), lines)
}

fn indented(line: &str) -> String {
    format!("| {line}")
}

fn text(value: &HeaderValue) -> String {
    value.to_str().unwrap_or(REDACTED).to_owned()
}

/// The header with the end of the access key id, and without the signature.
fn authorization(profile: &Profile, workings: &Workings) -> String {
    let id = match &profile.credentials {
        Credentials::Keys { keys, .. } => masked_id(&keys.access_key_id),
        Credentials::Anonymous | Credentials::Missing(_) => REDACTED.to_owned(),
    };
    let Workings { scope, signed_headers, .. } = workings;
    format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed_headers}, \
         Signature={REDACTED}"
    )
}
