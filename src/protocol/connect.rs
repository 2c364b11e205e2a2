//! The head of a `CONNECT` request to a proxy, and of its answer (RFC 9110, section 9.3.6; RFC 9112).

/// The longest head of an answer that is read, bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// The request for a tunnel to `authority` (`host:port`), with the value of `Proxy-Authorization`.
#[must_use]
pub fn connect_request(authority: &str, authorization: Option<&str>) -> String {
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(value) = authorization {
        head.push_str("Proxy-Authorization: ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("User-Agent: s3proxy\r\n\r\n");
    head
}

/// What a proxy has answered so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectReply {
    /// The head has not ended.
    Incomplete,
    /// The tunnel is open: the next byte comes from the store.
    Established,
    /// The proxy refuses, with this status.
    Refused(u16),
    /// It is no answer of a proxy.
    Malformed,
}

/// Reads what a proxy has sent. A store speaks second, with TLS and without: bytes after the head are
/// not the store's.
#[must_use]
pub fn connect_reply(received: &[u8]) -> ConnectReply {
    if !(received.starts_with(b"HTTP/1.") || b"HTTP/1.".starts_with(received)) {
        return ConnectReply::Malformed;
    }
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(received) {
        Ok(httparse::Status::Partial) if received.len() < MAX_HEAD => ConnectReply::Incomplete,
        Ok(httparse::Status::Complete(end)) => match response.code {
            Some(200..=299) if end == received.len() => ConnectReply::Established,
            Some(status @ 300..=599) => ConnectReply::Refused(status),
            _ => ConnectReply::Malformed,
        },
        _ => ConnectReply::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ConnectReply::{Established, Incomplete, Malformed, Refused};
    use super::*;

    #[test]
    fn the_request_names_the_target_twice_and_the_credentials_once() {
        assert_eq!(
            connect_request("[::1]:443", Some("Basic eA==")),
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nProxy-Authorization: Basic \
             eA==\r\nUser-Agent: s3proxy\r\n\r\n"
        );
        assert!(!connect_request("h:1", None).contains("Authorization"));
    }

    #[test]
    fn an_answer_opens_a_tunnel_or_refuses_it() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: x\r\n".repeat(101));
        for (received, expected) in [
            ("", Incomplete),
            ("HT", Incomplete),
            ("HTTP/1.1 200 OK\r\n", Incomplete),
            ("HTTP/1.1 200 OK\r\n\r\n", Established),
            ("HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy\r\n\r\n", Established),
            ("HTTP/1.1 204 No Content\r\n\r\n", Established),
            ("HTTP/1.1 200\r\n\r\n", Established),
            ("HTTP/1.1 200 OK\r\n\r\nextra", Malformed),
            ("HTTP/1.1 100 Continue\r\n\r\n", Malformed),
            ("HTTP/1.1 302 Found\r\n\r\n", Refused(302)),
            ("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", Refused(407)),
            ("HTTP/1.1 503 x\r\n\r\n", Refused(503)),
            ("HTTP/1.1 999 x\r\n\r\n", Malformed),
            ("SSH-2.0-OpenSSH", Malformed),
            ("\u{15}\u{3}\u{1}", Malformed),
            (long.as_str(), Malformed),
            (many.as_str(), Malformed),
        ] {
            assert_eq!(connect_reply(received.as_bytes()), expected, "{received:.40}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_reading_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = connect_reply(&bytes);
            let mut long = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
            while long.len() < MAX_HEAD {
                long.extend_from_slice(&bytes);
                long.push(b'x');
            }
            prop_assert_ne!(connect_reply(&long), Incomplete);
        }
    }
}
