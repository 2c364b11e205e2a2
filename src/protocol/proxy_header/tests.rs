//! Headers of both versions, whole, cut at each byte, and wrong in each part.

use proptest::prelude::*;

use super::*;

fn complete(length: usize, client: Option<&str>) -> Result<ProxyHeader, BadProxyHeader> {
    let client = client.map(|text| text.parse().expect("an address"));
    Ok(ProxyHeader::Complete { length, client })
}

/// A header of version 2 with this body.
fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a length").to_be_bytes();
    [SIGNATURE.as_slice(), &[command, family], &length, body].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];

#[test]
fn lines_of_version_1_name_the_client() {
    for (line, client) in [
        ("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", Some("192.0.2.1:4711")),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            Some("255.255.255.255:65535"),
        ),
        ("PROXY TCP6 2001:db8::1 ::1 4711 0\r\n", Some("[2001:db8::1]:4711")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    ] {
        let bytes = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&bytes), complete(line.len(), client), "{line:?}");
        for end in 0..line.len() {
            assert_eq!(read(&bytes[..end]), Ok(ProxyHeader::Incomplete), "{line:?} {end}");
        }
    }
}

#[test]
fn anything_else_is_refused() {
    use BadProxyHeader::{Malformed, Missing, TooLong};
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n".as_slice(), Missing),
        (b"proxy TCP4", Missing),
        (b"PROXYTCP4", Missing),
        (&[22, 3, 1, 2, 0, 1], Missing),
        (b"\r\n\r\n\0\r\nQUIX", Missing),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\rX", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 1\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1  10.0.0.1 4711 80\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.01 10.0.0.1 4711 80\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 04711 80\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 +4711 80\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n", Malformed),
        (b"PROXY TCP4 2001:db8::1 ::1 4711 80\r\n", Malformed),
        (b"PROXY TCP6 192.0.2.1 10.0.0.1 4711 80\r\n", Malformed),
        (b"PROXY UDP4 192.0.2.1 10.0.0.1 4711 80\r\n", Malformed),
        (b"PROXY UNKNOWNX\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 \xff 80\r\n", Malformed),
        (long.as_bytes(), TooLong),
        (&header(0x11, 0x11, &V4), Malformed),
        (&header(0x22, 0x11, &V4), Malformed),
        (&header(0x21, 0x11, &V4[..11]), Malformed),
        (&header(0x21, 0x12, &V4), Malformed),
        (&header(0x21, 0x41, &V4), Malformed),
        (&header(0x21, 0x21, &V4), Malformed),
        (&header(0x21, 0x31, &V4), Malformed),
        (&header(0x21, 0x11, &[0; MAX_BYTES]), TooLong),
        (&header(0x21, 0x11, &vec![0; 65535])[..FIXED], TooLong),
        (&header(0x20, 0x00, &vec![0; 65535])[..FIXED], TooLong),
    ] {
        assert_eq!(read(bytes), Err(expected), "{bytes:?}");
    }
}

#[test]
fn headers_of_version_2_name_the_client_and_their_fields_are_skipped() {
    let v6 = [
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0; 16],
        &[0x12, 0x67, 0, 80],
    ]
    .concat();
    let fields = [V4.as_slice(), &[4, 0, 1, 0xff, 0x20, 0xff, 0xff]].concat();
    for (command, family, body, client) in [
        (0x21, 0x11, V4.to_vec(), Some("192.0.2.1:4711")),
        (0x21, 0x11, fields, Some("192.0.2.1:4711")),
        (0x21, 0x21, v6, Some("[2001:db8::1]:4711")),
        (0x21, 0x00, Vec::new(), None),
        (0x21, 0x00, vec![7; 40], None),
        (0x21, 0x31, vec![b'/'; 216], None),
        // LOCAL: a check of the proxy itself, whatever else it says.
        (0x20, 0x00, Vec::new(), None),
        (0x20, 0x11, V4.to_vec(), None),
        (0x20, 0xff, vec![1; 3], None),
    ] {
        let header = header(command, family, &body);
        let bytes = [header.as_slice(), &[22, 3, 1]].concat();
        assert_eq!(read(&bytes), complete(header.len(), client), "{header:?}");
        for end in 0..header.len() {
            assert_eq!(read(&bytes[..end]), Ok(ProxyHeader::Incomplete), "{header:?} {end}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_are_read_beyond_the_header(bytes in arbitrary_beginning()) {
        let whole = read(&bytes);
        if let Ok(ProxyHeader::Complete { length, .. }) = whole {
            prop_assert!(length <= bytes.len() && length <= MAX_BYTES);
            prop_assert_eq!(read(&bytes[..length]), whole, "what follows changed it");
        }
    }

    /// More bytes neither correct a mistake nor undo a header.
    #[test]
    fn what_was_decided_stays(bytes in arbitrary_beginning(), at in 0usize..200) {
        let part = &bytes[..at.min(bytes.len())];
        match read(part) {
            Ok(ProxyHeader::Incomplete) => {}
            decided => prop_assert_eq!(read(&bytes), decided),
        }
    }

    #[test]
    fn every_address_is_read_back(client in any::<SocketAddr>(), other in any::<SocketAddr>()) {
        let (from, to, name, family) = match (client, other) {
            (SocketAddr::V4(a), SocketAddr::V4(b)) => (a.ip().octets().to_vec(), b.ip().octets().to_vec(), "TCP4", 0x11),
            (SocketAddr::V6(a), SocketAddr::V6(b)) => (a.ip().octets().to_vec(), b.ip().octets().to_vec(), "TCP6", 0x21),
            _ => return Ok(()),
        };
        let expected = Some(SocketAddr::new(client.ip(), client.port()));
        let line = format!("PROXY {name} {} {} {} {}\r\n", client.ip(), other.ip(), client.port(), other.port());
        prop_assert_eq!(read(line.as_bytes()), Ok(ProxyHeader::Complete { length: line.len(), client: expected }));
        let body = [from, to, client.port().to_be_bytes().to_vec(), other.port().to_be_bytes().to_vec()].concat();
        let bytes = header(0x21, family, &body);
        prop_assert_eq!(read(&bytes), Ok(ProxyHeader::Complete { length: bytes.len(), client: expected }));
    }
}

/// Bytes that begin like a header, and go on in any way.
fn arbitrary_beginning() -> impl Strategy<Value = Vec<u8>> {
    let beginnings = prop_oneof![
        Just(Vec::new()),
        Just(SIGNATURE.to_vec()),
        Just([SIGNATURE.as_slice(), &[0x21, 0x11, 0]].concat()),
        Just([SIGNATURE.as_slice(), &[0x20]].concat()),
        Just(b"PROXY ".to_vec()),
        Just(b"PROXY TCP4 192.0.2.1 10.0.0.1 ".to_vec()),
        Just(b"PROXY UNKNOWN".to_vec()),
    ];
    let more = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        "[0-9. \r\n]{0,40}".prop_map(String::into_bytes),
    ];
    (beginnings, more).prop_map(|(start, more)| [start, more].concat())
}
