//! The responses that the gateway writes to a connection without Pingora, and with which the connection ends.

use crate::protocol::head_ids::HeadIds;
use crate::protocol::request_check::BadRequest;

/// The complete response to a request head that Pingora does not pass to the gateway. `more` are further header lines,
/// each ending in `\r\n`.
pub(super) fn bad_request_response(error: BadRequest, ids: &HeadIds, more: &str) -> Vec<u8> {
    let reason = match error {
        BadRequest::HeadersTooLarge => "Request Header Fields Too Large",
        BadRequest::HeadersTooSlow => "Request Timeout",
        _ => "Bad Request",
    };
    let mut body = serde_json::json!({ "message": error.message(), "cause": error.cause() });
    ids.add_to(&mut body);
    final_response(error.status(), reason, more, &ids.request_id, &body.to_string())
}

/// A complete response with `Connection: close`. `more` are further header lines, each ending in
/// `\r\n`.
pub(super) fn final_response(
    status: u16,
    reason: &str,
    more: &str,
    id: &str,
    body: &str,
) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "the Date of the response")]
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nX-Request-ID: {id}\r\nDate: {date}\r\n{more}\
         Connection: close\r\n\r\n{body}",
        body.len(),
    )
    .into_bytes()
}
