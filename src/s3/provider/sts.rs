//! Requests to STS, the Security Token Service: forms that are sent by POST. `AssumeRole` is signed
//! (Signature Version 4, service `sts`), `AssumeRoleWithWebIdentity` is not.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>

use std::time::SystemTime;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use sha2::{Digest as _, Sha256};

use crate::protocol::timestamp::amz_date_time;
use crate::s3::credentials::Keys;
use crate::s3::encode::encode_query;
use crate::s3::provider::StsRole;
use crate::s3::secret::Secret;
use crate::s3::sign::string_to_sign;

/// The media type of the form, which is signed.
pub const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The form of `AssumeRoleWithWebIdentity`. It holds the token.
#[must_use]
pub fn web_identity_form(role: &StsRole, token: &Secret) -> Secret {
    form("AssumeRoleWithWebIdentity", role, &[("WebIdentityToken", token.expose())])
}

/// The form of `AssumeRole`.
#[must_use]
pub fn role_form(role: &StsRole, external_id: Option<&str>) -> Secret {
    let external = external_id.map(|id| ("ExternalId", id));
    form("AssumeRole", role, external.as_slice())
}

fn form(action: &str, role: &StsRole, further: &[(&str, &str)]) -> Secret {
    let fields = [
        ("Action", action),
        ("Version", "2011-06-15"),
        ("RoleArn", &role.arn),
        ("RoleSessionName", &role.session_name),
    ];
    let mut text = String::new();
    for (name, value) in fields.iter().chain(further) {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        encode_query(value.as_bytes(), &mut text);
    }
    Secret::new(text)
}

/// The signed headers of a POST of this form to STS, besides `Host` and `Content-Type`.
#[must_use]
pub fn signature(
    role: &StsRole,
    keys: &Keys,
    path: &str,
    form: &Secret,
    now: SystemTime,
) -> Vec<(&'static str, Secret)> {
    let date_time = amz_date_time(now);
    let date = date_time.get(..8).unwrap_or_default();
    let token = keys.session_token.as_ref().map(Secret::expose);
    let (token_line, token_name) = match token {
        Some(token) => (format!("x-amz-security-token:{token}\n"), ";x-amz-security-token"),
        None => (String::new(), ""),
    };
    let names = format!("content-type;host;x-amz-date{token_name}");
    let host = role.sts.authority();
    let body = hash(form.expose().as_bytes());
    let canonical = format!(
        "POST\n{path}\n\ncontent-type:{FORM}\nhost:{host}\nx-amz-date:{date_time}\n{token_line}\n{names}\n\
         {body}"
    );
    let scope = format!("{date}/{}/sts/aws4_request", role.region);
    let to_sign = string_to_sign(&date_time, &scope, &canonical);
    let key = generate_signing_key(keys.secret_access_key.expose(), now, &role.region, "sts");
    let signature = calculate_signature(key, to_sign.as_bytes());
    let id = &keys.access_key_id;
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    let mut headers = vec![("x-amz-date", Secret::new(date_time))];
    headers.extend(keys.session_token.clone().map(|token| ("x-amz-security-token", token)));
    headers.push(("authorization", Secret::new(authorization)));
    headers
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::s3::endpoint::Endpoint;

    fn role() -> StsRole {
        StsRole {
            arn: "arn:aws:iam::1:role/a b".to_owned(),
            session_name: "s3proxy".to_owned(),
            sts: Endpoint::parse("http://127.0.0.1:8000").expect("an endpoint"),
            proxy: None,
            tls: None,
            region: "us-east-1".to_owned(),
        }
    }

    #[test]
    fn forms_are_percent_encoded() {
        let form = web_identity_form(&role(), &Secret::new("a.b-c_d=".to_owned()));
        assert_eq!(
            form.expose(),
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%20b\
             &RoleSessionName=s3proxy&WebIdentityToken=a.b-c_d%3D"
        );
        assert!(role_form(&role(), Some("x/y")).expose().ends_with("&ExternalId=x%2Fy"));
    }

    /// As AWS's own signer computes it.
    #[test]
    fn the_signature_is_that_of_awss_signer() {
        use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
        let now = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let form = role_form(&role(), None);
        for token in [None, Some("session/token=")] {
            let keys = Keys {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: Secret::new("wJalr".to_owned()),
                session_token: token.map(|token| Secret::new(token.to_owned())),
            };
            let identity = aws_credential_types::Credentials::new(
                "AKIDEXAMPLE",
                "wJalr",
                token.map(str::to_owned),
                None,
                "test",
            )
            .into();
            let params = aws_sigv4::sign::v4::SigningParams::builder()
                .identity(&identity)
                .region("us-east-1")
                .name("sts")
                .time(now)
                .settings(SigningSettings::default())
                .build()
                .expect("parameters")
                .into();
            let headers = [("content-type", FORM), ("host", "127.0.0.1:8000")];
            let body = SignableBody::Bytes(form.expose().as_bytes());
            let request =
                SignableRequest::new("POST", "http://127.0.0.1:8000/", headers.into_iter(), body)
                    .expect("a request");
            let (instructions, _) = sign(request, &params).expect("signed").into_parts();
            let theirs = instructions
                .headers()
                .find(|(name, _)| *name == "authorization")
                .map(|(_, value)| value.to_owned())
                .expect("a signature");
            let ours = signature(&role(), &keys, "/", &form, now);
            let ours = ours.last().map(|(_, value)| value.expose().to_owned());
            assert_eq!(ours.as_deref(), Some(theirs.as_str()), "{token:?}");
        }
    }
}
