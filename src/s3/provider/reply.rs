//! Answers with credentials: the JSON of container, instance and process, and the XML of STS. What cannot be
//! read is an error in words that show no part of the answer but its error code and message.

use std::time::SystemTime;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

use crate::protocol::timestamp::parse_rfc3339;
use crate::s3::credentials::{Keys, is_credential};
use crate::s3::error_code::error_code;
use crate::s3::provider::Issued;
use crate::s3::secret::Secret;

/// The largest answer that is read, bytes.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;

/// The longest text of a provider that is shown, characters.
const MAX_SHOWN: usize = 200;

/// Reads the answer of a container endpoint or of the metadata of an instance.
///
/// # Errors
/// What is wrong with it.
pub fn parse_metadata(body: &[u8], now: SystemTime) -> Result<Issued, String> {
    let json: Value = serde_json::from_slice(body).map_err(|_| NOT_JSON.to_owned())?;
    // EC2 answers errors with 200.
    match json.get("Code").and_then(Value::as_str) {
        None | Some("Success") => issued(&json, "Token", now),
        Some(code) => Err(format!("it says {}", shown(code))),
    }
}

/// Reads the output of a credential process.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>
///
/// # Errors
/// What is wrong with it.
pub fn parse_process(output: &[u8], now: SystemTime) -> Result<Issued, String> {
    let json: Value = serde_json::from_slice(output).map_err(|_| NOT_JSON.to_owned())?;
    if json.get("Version").and_then(Value::as_u64) != Some(1) {
        return Err("its \"Version\" is not 1".to_owned());
    }
    issued(&json, "SessionToken", now)
}

const NOT_JSON: &str = "it is not JSON";

fn issued(json: &Value, token: &str, now: SystemTime) -> Result<Issued, String> {
    let text = |name: &str| json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    checked(text("AccessKeyId"), text("SecretAccessKey"), text(token), text("Expiration"), now)
}

/// Reads the answer of STS.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html>
///
/// # Errors
/// What is wrong with it.
pub fn parse_sts(document: &[u8], now: SystemTime) -> Result<Issued, String> {
    const NOT_XML: &str = "it is not the XML of STS";
    let mut reader = Reader::from_reader(document);
    let mut fields: [Option<String>; 4] = Default::default();
    let mut current: Option<usize> = None;
    loop {
        match reader.read_event().map_err(|_| NOT_XML.to_owned())? {
            Event::Start(start) => {
                let name = start.local_name();
                current = FIELDS.iter().position(|field| field.as_bytes() == name.as_ref());
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|_| NOT_XML.to_owned())?;
                if let Some(field) = current.and_then(|at| fields.get_mut(at)) {
                    field.get_or_insert_default().push_str(text.trim());
                }
            }
            Event::End(_) => current = None,
            Event::Eof => break,
            // They could define entities; no credential contains a character that needs one.
            Event::DocType(_) | Event::GeneralRef(_) if current.is_some() => {
                return Err(NOT_XML.to_owned());
            }
            _ => {}
        }
    }
    let [id, secret, token, expiration] = &fields;
    let texts = [id, secret, token, expiration].map(Option::as_deref);
    let [id, secret, token, expiration] = texts;
    checked(id, secret, token, expiration, now)
}

const FIELDS: [&str; 4] = ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"];

fn checked(
    id: Option<&str>,
    secret: Option<&str>,
    token: Option<&str>,
    expiration: Option<&str>,
    now: SystemTime,
) -> Result<Issued, String> {
    let (Some(id), Some(secret)) = (id, secret) else {
        return Err("it has no AccessKeyId or no SecretAccessKey".to_owned());
    };
    if ![id, secret].into_iter().chain(token).all(is_credential) {
        return Err("its access key cannot be sent in a header".to_owned());
    }
    let expires = expiration.map(|text| {
        parse_rfc3339(text).ok_or_else(|| "its Expiration is not a time of RFC 3339".to_owned())
    });
    let expires = expires.transpose()?;
    if expires.is_some_and(|expires| expires <= now) {
        return Err("its credentials have expired already: compare the clocks".to_owned());
    }
    let keys = Keys {
        access_key_id: id.to_owned(),
        secret_access_key: Secret::new(secret.to_owned()),
        session_token: token.map(|token| Secret::new(token.to_owned())),
    };
    Ok(Issued { keys, expires })
}

/// What an error answer says: the code and message of its XML or JSON, without control characters.
#[must_use]
pub fn error_text(status: u16, body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let of_json = |names: [&str; 2]| {
        let json = json.as_ref()?;
        let text = names.into_iter().find_map(|name| json.get(name)?.as_str());
        text.map(str::to_owned)
    };
    let code = error_code(body).map(str::to_owned).or_else(|| of_json(["code", "Code"]));
    let message = element(body, "Message").or_else(|| of_json(["message", "Message"]));
    let parts = [Some(status.to_string()), code, message];
    let parts = parts.into_iter().flatten().map(|part| shown(&part));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn element(document: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (message, _) = rest.split_once(&format!("</{name}>"))?;
    Some(message.to_owned())
}

/// The start of a text of a provider, safe for a log and a terminal.
#[must_use]
pub fn shown(text: &str) -> String {
    let safe = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    safe.take(MAX_SHOWN).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const NOW: u64 = 1_369_353_600;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn id_of(issued: Result<Issued, String>) -> Result<(String, Option<u64>), String> {
        issued.map(|issued| {
            let life = issued.expires.map(|at| at.duration_since(now()).expect("later").as_secs());
            (issued.keys.access_key_id, life)
        })
    }

    #[test]
    fn the_answers_of_ecs_ec2_and_a_process_are_read() {
        let ok = Ok(("ASIA1".to_owned(), Some(3600)));
        let container = r#"{"AccessKeyId":"ASIA1","SecretAccessKey":"s","Token":"t",
            "Expiration":"2013-05-24T01:00:00Z","RoleArn":"arn"}"#;
        assert_eq!(id_of(parse_metadata(container.as_bytes(), now())), ok);
        let instance = container.replacen('{', r#"{"Code":"Success","#, 1);
        assert_eq!(id_of(parse_metadata(instance.as_bytes(), now())), ok);
        let process =
            container.replacen('{', r#"{"Version":1,"#, 1).replace("Token", "SessionToken");
        assert_eq!(id_of(parse_process(process.as_bytes(), now())), ok);
        let keys = r#"{"Version":1,"AccessKeyId":"AKIA1","SecretAccessKey":"s"}"#;
        assert_eq!(id_of(parse_process(keys.as_bytes(), now())), Ok(("AKIA1".to_owned(), None)));
    }

    #[test]
    fn the_answers_of_aws_and_rgw_are_read() {
        let aws = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
            <AssumeRoleResult><AssumedRoleUser><Arn>arn:x</Arn></AssumedRoleUser><Credentials>\
            <AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s/+=</SecretAccessKey>\
            <SessionToken>t==</SessionToken><Expiration>2013-05-24T00:15:00Z</Expiration>\
            </Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let issued = parse_sts(aws.as_bytes(), now()).expect("credentials");
        assert_eq!(issued.keys.session_token, Some(Secret::new("t==".to_owned())));
        assert_eq!(id_of(Ok(issued)), Ok(("ASIA1".to_owned(), Some(900))));
        let rgw = aws.replace("00:15:00Z", "00:15:00.123456789Z");
        assert_eq!(id_of(parse_sts(rgw.as_bytes(), now())), Ok(("ASIA1".to_owned(), Some(900))));
    }

    #[test]
    fn what_is_no_credential_is_an_error_that_shows_none_of_it() {
        let fields = r#""AccessKeyId":"A","SecretAccessKey":"canary""#;
        let at = |expiration: &str| format!("{{{fields},\"Expiration\":\"{expiration}\"}}");
        for (body, said) in [
            ("canary".to_owned(), "it is not JSON"),
            ("{}".to_owned(), "it has no AccessKeyId or no SecretAccessKey"),
            (
                r#"{"AccessKeyId":"","SecretAccessKey":"canary"}"#.to_owned(),
                "it has no AccessKeyId",
            ),
            (r#"{"AccessKeyId":"A B","SecretAccessKey":"canary"}"#.to_owned(), "cannot be sent"),
            (r#"{"Code":"AssumeRoleUnauthorizedAccess"}"#.to_owned(), "it says AssumeRoleUnauth"),
            (at("2013-05-24T00:00:00Z"), "expired already"),
            (at("soon"), "not a time"),
        ] {
            let error = parse_metadata(body.as_bytes(), now()).expect_err("an error");
            assert!(error.contains(said) && !error.contains("canary"), "{body}: {error}");
        }
        for document in ["<a><b>", "garbage", "", "<!DOCTYPE a><AccessKeyId>&x;</AccessKeyId>"] {
            assert!(parse_sts(document.as_bytes(), now()).is_err(), "{document}");
        }
        assert!(parse_process(at("2014-01-01T00:00:00Z").as_bytes(), now()).is_err(), "no version");
    }

    #[test]
    fn an_error_answer_is_shown_by_code_and_message() {
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                   <Message>Not\nauthorized</Message></Error></ErrorResponse>";
        for (body, text) in [
            (xml, "403 AccessDenied Not authorized"),
            (r#"{"code":"X","message":"y"}"#, "403 X y"),
            ("<Error><Code>NoSuchEntity</Code><Message></Message></Error>", "403 NoSuchEntity"),
            ("<html>", "403"),
        ] {
            assert_eq!(error_text(403, body.as_bytes()), text);
        }
    }
}
