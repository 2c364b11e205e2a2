//! Faults of RGW itself, shown by direct requests: the reasons for workarounds in the gateway.
//!
//! A failure here is not a fault of the gateway: this RGW behaves differently, and a workaround of
//! the gateway may be unnecessary. Observed with 16.2.15.

use crate::rgw::{Rgw, encode};

const CONTENT: &[u8] = b"0123456789";

#[test]
fn rgw_ignores_if_range() {
    let Some(rgw) = Rgw::from_environment("quirk-if-range") else { return };
    rgw.put("o.png", CONTENT);
    let answer = rgw.get("o.png", &[("Range", "bytes=0-1"), ("If-Range", "\"other\"")]);
    assert_eq!(answer.status, 206, "RGW understands If-Range now");
}

#[test]
fn rgw_sends_304_without_an_etag() {
    let Some(rgw) = Rgw::from_environment("quirk-304") else { return };
    rgw.put("o.png", CONTENT);
    let etag = rgw.get("o.png", &[]).header("etag").expect("an ETag").to_owned();
    let answer = rgw.get("o.png", &[("If-None-Match", &etag)]);
    assert_eq!(answer.status, 304);
    assert_eq!(answer.header("etag"), None, "RGW sends an ETag with 304 now");
}

#[test]
fn rgw_compares_if_none_match_as_one_string() {
    let Some(rgw) = Rgw::from_environment("quirk-none-match") else { return };
    rgw.put("o.png", CONTENT);
    let etag = rgw.get("o.png", &[]).header("etag").expect("an ETag").to_owned();
    for value in [format!("\"other\", {etag}"), format!("W/{etag}"), "*".to_owned()] {
        let answer = rgw.get("o.png", &[("If-None-Match", &value)]);
        assert_eq!(answer.status, 200, "RGW understands If-None-Match: {value} now");
    }
}

#[test]
fn rgw_answers_odd_ranges_oddly() {
    let Some(rgw) = Rgw::from_environment("quirk-range") else { return };
    rgw.put("o.png", CONTENT);
    let malformed = rgw.get("o.png", &[("Range", "bytes=abc")]);
    assert_eq!(malformed.status, 416, "RGW ignores a malformed Range now");
    let several = rgw.get("o.png", &[("Range", "bytes=0-1,5-6")]);
    assert_eq!(
        (several.status, several.text().as_str()),
        (206, "01"),
        "RGW answers several ranges now"
    );
}

#[test]
fn rgw_reads_an_encoded_slash_after_the_bucket_as_the_end_of_the_bucket() {
    let Some(rgw) = Rgw::from_environment("quirk-slash") else { return };
    rgw.put("a/b.png", CONTENT);
    // Sent as /bucket%2Fa/b.png under the signature of /bucket/a/b.png.
    let answer =
        rgw.ask_as(&format!("/{}/a/b.png", rgw.bucket), &format!("/{}%2Fa/b.png", rgw.bucket));
    assert_eq!((answer.status, answer.body.as_slice()), (200, CONTENT));
}

#[test]
fn rgw_lists_a_bucket_for_an_empty_key_and_obeys_the_query() {
    let Some(rgw) = Rgw::from_environment("quirk-list") else { return };
    rgw.put("o.png", CONTENT);
    let listing = rgw.ask("GET", &format!("/{}/", rgw.bucket), &[], b"");
    assert_eq!(listing.status, 200);
    assert!(listing.text().contains("<Key>o.png</Key>"), "{}", listing.text());
    let path = format!("/{}/{}?response-content-type=text%2Fhtml", rgw.bucket, encode("o.png"));
    let typed = rgw.ask("GET", &path, &[], b"");
    assert_eq!((typed.status, typed.header("content-type")), (200, Some("text/html")));
}

/// The other tests of this directory trust RGW to verify what the gateway signs.
#[test]
fn rgw_verifies_signatures() {
    let Some(mut rgw) = Rgw::from_environment("quirk-signature") else { return };
    rgw.put("o.png", CONTENT);
    rgw.put("p.png", CONTENT);
    let [o, p] = ["o", "p"].map(|name| format!("/{}/{name}.png", rgw.bucket));
    assert_eq!(rgw.ask_as(&o, &o).status, 200);
    assert_eq!(rgw.ask_as(&o, &p).status, 403, "another path than the signed one");
    assert_eq!(rgw.ask_as(&o, &format!("{o}?acl")).status, 403, "a query that was not signed");
    rgw.secret_key.push('x');
    assert_eq!(rgw.ask_as(&o, &o).status, 403, "a wrong secret");
}
