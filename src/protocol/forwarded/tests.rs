//! Who is the client, by tables of headers, and by whatever a client may write.

use proptest::prelude::*;

use super::*;
use crate::protocol::headers_of;

const PROXY: &str = "10.0.0.1";

fn trusted(header: ForwardedHeader) -> TrustedProxies {
    let networks = ["10.0.0.0/8", "fd00::/8"].iter().filter_map(|text| Network::parse(text));
    TrustedProxies { networks: networks.collect(), header }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn client(header: ForwardedHeader, name: &str, lines: &[&str]) -> String {
    let pairs: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
    trusted(header).client(&headers_of(&pairs), address(PROXY)).to_string()
}

#[test]
fn the_last_address_that_is_not_of_a_trusted_proxy_is_the_client() {
    for (lines, expected) in [
        (&["192.0.2.1"][..], "192.0.2.1"),
        (&[], PROXY),
        (&["192.0.2.9, 192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.9, 192.0.2.1, 10.0.0.7"], "192.0.2.1"),
        (&["192.0.2.9", "192.0.2.1", "10.0.0.7,10.0.0.8"], "192.0.2.1"),
        (&["10.0.0.3, 10.0.0.7"], "10.0.0.3"),
        (&["192.0.2.1:4711"], "192.0.2.1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1, ,"], "192.0.2.1"),
        // Nobody knows who wrote what stands before such an entry.
        (&["192.0.2.1, unknown"], PROXY),
        (&["192.0.2.1, unknown, 10.0.0.7"], "10.0.0.7"),
        (&["192.0.2.1, 10.0.0.7 "], "192.0.2.1"),
        (&["192.0.2.1, 192.0.2.2.3"], PROXY),
        (&[""], PROXY),
    ] {
        assert_eq!(
            client(ForwardedHeader::XForwardedFor, "x-forwarded-for", lines),
            expected,
            "{lines:?}"
        );
        assert_eq!(client(ForwardedHeader::XForwardedFor, "forwarded", lines), PROXY, "{lines:?}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_has_it() {
    for (lines, expected) in [
        (&["for=192.0.2.1"][..], "192.0.2.1"),
        (&[], PROXY),
        (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
        (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
        (&["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17"),
        (&["for=192.0.2.43,for=\"10.0.0.7\"; proto=https"], "192.0.2.43"),
        (&["for=192.0.2.43", "for=10.0.0.7"], "192.0.2.43"),
        (&["for=\"192.0.2.1\\:47\""], "192.0.2.1"),
        (&["host=\"a,b;for=192.0.2.9\";for=192.0.2.1"], "192.0.2.1"),
        (&["for=192.0.2.43, for=_hidden"], PROXY),
        (&["for=\"192.0.2.1:_a.b\""], "192.0.2.1"),
        (&["for=\"[2001:db8::1]:_x\""], "2001:db8::1"),
        (&["for=\"[::ffff:192.0.2.1]\""], "192.0.2.1"),
        // Section 6 has other forms of addresses and ports.
        (&["for=\"2001:db8::1\""], PROXY),
        (&["for=\"::1\""], PROXY),
        (&["for=\"[192.0.2.1]\""], PROXY),
        (&["for=\"[2001:db8::1]80\""], PROXY),
        (&["for=\"[2001:db8::1]:\""], PROXY),
        (&["for=\"192.0.2.1:\""], PROXY),
        (&["for=\"192.0.2.1:123456\""], PROXY),
        (&["for=\"192.0.2.1:_\""], PROXY),
        (&["for=\"192.0.2.1:_a b\""], PROXY),
        (&["for=192.0.2.43, for=unknown, for=10.0.0.7"], "10.0.0.7"),
        (&["for=192.0.2.43, by=10.0.0.9"], PROXY),
        // What a client wrote must not hide what proxies have added.
        (&["for=192.0.2.43;x=\", for=192.0.2.1"], PROXY),
        (&["for=192.0.2.43;x=\", host=\"\";for=192.0.2.1"], PROXY),
        (&["for=192.0.2.43;for=192.0.2.44"], PROXY),
        (&["for= 192.0.2.43"], PROXY),
        (&["for"], PROXY),
        (&["for=192.0.2.1;"], "192.0.2.1"),
        (&[",, for=192.0.2.1 ,"], "192.0.2.1"),
    ] {
        assert_eq!(client(ForwardedHeader::Forwarded, "forwarded", lines), expected, "{lines:?}");
        assert_eq!(
            client(ForwardedHeader::Forwarded, "x-forwarded-for", lines),
            PROXY,
            "{lines:?}"
        );
    }
}

#[test]
fn the_scheme_is_that_of_the_client() {
    let scheme = |header, pairs: &[(&str, &str)]| trusted(header).scheme(&headers_of(pairs));
    let x = ForwardedHeader::XForwardedFor;
    let address = ("x-forwarded-for", "192.0.2.1");
    assert_eq!(scheme(x, &[address, ("x-forwarded-proto", "HTTPS")]), Some("https"));
    assert_eq!(scheme(x, &[address, ("x-forwarded-proto", "http")]), Some("http"));
    assert_eq!(scheme(x, &[address, ("x-forwarded-proto", "gopher")]), None);
    assert_eq!(scheme(x, &[("x-forwarded-proto", "https")]), None, "as in 2.0.1");
    let forwarded = ForwardedHeader::Forwarded;
    let lines = (
        "forwarded",
        "for=192.0.2.9;proto=http, for=192.0.2.1;proto=https, for=10.0.0.7;proto=http",
    );
    assert_eq!(scheme(forwarded, &[lines]), Some("https"));
    assert_eq!(scheme(forwarded, &[("x-forwarded-proto", "https")]), None);
    assert_eq!(scheme(x, &[lines]), None);
}

/// A list of schemes was none that is known, so that requests over TLS were redirected again and again.
#[test]
fn a_list_of_schemes_is_read_as_the_list_of_addresses_in_one_line_or_several() {
    let (one, two) = ("192.0.2.1", "192.0.2.9, 192.0.2.1, 10.0.0.7");
    for (addresses, schemes, expected) in [
        (two, &["https, https"][..], Some("https")),
        // The first proxy has received it over TLS, and passed it on without.
        (two, &["https, http"], Some("https")),
        (two, &["http,https"], Some("http")),
        // What the client has written stands before that.
        (two, &["https, http, https"], Some("http")),
        (two, &["http, https, http"], Some("https")),
        (one, &["https, http"], Some("http")),
        (one, &["http, https"], Some("https")),
        // One value for the whole way, or for its beginning.
        (two, &["https"], Some("https")),
        (two, &[" , HTTPS\t,"], Some("https")),
        ("192.0.2.1, 10.0.0.7, 10.0.0.8", &["https, http"], Some("https")),
        (two, &["gopher, https"], None),
        (two, &["https, gopher"], Some("https")),
        (two, &["https http"], None),
        (two, &[","], None),
        ("unknown", &["https, https"], None),
        ("192.0.2.1, unknown, 10.0.0.7", &["https, http"], Some("http")),
        ("10.0.0.3, 10.0.0.7", &["https, http"], Some("https")),
    ] {
        let line = schemes.join(",");
        let split: Vec<&str> = line.split(',').collect();
        for lines in [schemes, &split[..]] {
            let mut pairs = vec![("x-forwarded-for", addresses)];
            pairs.extend(lines.iter().map(|line| ("x-forwarded-proto", *line)));
            let found = trusted(ForwardedHeader::XForwardedFor).scheme(&headers_of(&pairs));
            assert_eq!(found, expected, "{addresses} {lines:?}");
        }
    }
}

#[test]
fn an_element_that_hides_the_client_has_its_scheme_all_the_same() {
    for (lines, expected) in [
        (&["for=_hidden;proto=https"][..], Some("https")),
        (&["for=unknown;proto=https, for=10.0.0.7;proto=http"], Some("https")),
        (&["proto=https"], Some("https")),
        (&["for=192.0.2.9;proto=https, for=_hidden"], None),
        (&["for=192.0.2.9;proto=https", "for=_hidden;proto=http"], Some("http")),
        (
            &["for=192.0.2.9;proto=https, for=_hidden;proto=http, for=10.0.0.7;proto=https"],
            Some("http"),
        ),
        (&["for=192.0.2.1, for=10.0.0.7;proto=https"], None),
        (&["for=192.0.2.1;proto=https;x=\""], None),
    ] {
        let pairs: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
        let found = trusted(ForwardedHeader::Forwarded).scheme(&headers_of(&pairs));
        assert_eq!(found, expected, "{lines:?}");
    }
}

proptest! {
    /// Whatever a client writes: what the trusted proxy adds after it decides.
    #[test]
    fn no_client_chooses_its_address(written in "[ -~]{0,80}", separate in any::<bool>()) {
        let added = "198.51.100.17";
        let allowed = [added, PROXY];
        let both = [written.clone(), format!("{written}, {added}")];
        let lines: Vec<&str> = if separate { vec![&both[0], added] } else { vec![&both[1]] };
        let found = client(ForwardedHeader::XForwardedFor, "x-forwarded-for", &lines);
        prop_assert_eq!(&found, added, "{:?}", lines);
        let element = format!("for={added}");
        let line = format!("{written}, {element}");
        let lines: Vec<&str> = if separate { vec![&both[0], &element] } else { vec![&line] };
        let found = client(ForwardedHeader::Forwarded, "forwarded", &lines);
        prop_assert!(allowed.contains(&found.as_str()), "{lines:?}: {found}");
    }

    /// The same with the characters that have a meaning.
    #[test]
    fn no_client_chooses_its_address_by_quotes(
        written in prop::collection::vec(
            prop_oneof![Just("for=192.0.2.43"), Just("\""), Just("\\"), Just(";"), Just(","), Just("x="), Just("host=")],
            0..12,
        ),
        added in prop_oneof![
            Just("for=198.51.100.17"),
            Just("for=\"198.51.100.17:80\";by=\"10.0.0.1\""),
            Just("by=\"_a\";for=198.51.100.17;host=\"\""),
        ],
    ) {
        let line = format!("{}, {added}", written.concat());
        let found = client(ForwardedHeader::Forwarded, "forwarded", &[&line]);
        prop_assert!(["198.51.100.17", PROXY].contains(&found.as_str()), "{line}: {found}");
    }
}
