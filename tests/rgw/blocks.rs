//! Large objects in blocks, in front of a real RGW: its answers to the requests that fetch blocks.

use crate::{gateway::Gateway, rgw::Rgw, wire::Answer};

const KIB: usize = 1024;

/// Blocks so small that an object of some of them is quickly stored.
const SMALL_BLOCKS: &[(&str, &str)] = &[
    ("S3PROXY_CACHE_MEMORY", "64MiB"),
    ("S3PROXY_CACHE_MAX_OBJECT", "64KiB"),
    ("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB"),
    ("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "256KiB"),
];

fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or("none")
}

fn large(seed: usize) -> Vec<u8> {
    (0..700 * KIB + 11).map(|at| (at.wrapping_mul(31) >> 3 ^ seed).to_le_bytes()[0]).collect()
}

#[test]
fn ranges_of_a_large_object_are_its_bytes_and_are_asked_of_rgw_once() {
    let Some(rgw) = Rgw::from_environment("blocks") else { return };
    let gateway = Gateway::start_with(&rgw, SMALL_BLOCKS);
    let (path, body) = (gateway.path("large.fits"), large(1));
    rgw.put("large.fits", &body);
    let end = body.len();
    // A suffix first: the gateway does not know how long the object is.
    let ranges = [
        (format!("bytes=-{}", 10 * KIB), end - 10 * KIB..end),
        ("bytes=100000-300000".to_owned(), 100_000..300_001),
        ("bytes=0-0".to_owned(), 0..1),
        (format!("bytes={}-", end - 1), end - 1..end),
        (format!("bytes={}-{}", 64 * KIB - 1, 64 * KIB), 64 * KIB - 1..64 * KIB + 1),
    ];
    for round in 0..2 {
        for (range, bytes) in &ranges {
            let part = gateway.ask("GET", &path, &[("Range", range)]);
            assert_eq!(part.status, 206, "{range}: {}", part.text());
            assert!(part.body == body[bytes.clone()], "{range}: other bytes");
            let place = format!("bytes {}-{}/{end}", bytes.start, bytes.end - 1);
            assert_eq!(part.header("content-range"), Some(place.as_str()), "{range}");
            let hit = status(&part).starts_with("s3proxy; hit");
            assert!(hit || round == 0, "{range}: {}", status(&part));
        }
    }
    let beyond = gateway.ask("GET", &path, &[("Range", "bytes=9999999-")]);
    let nothing = format!("bytes */{end}");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(nothing.as_str())));
    for round in 0..2 {
        let whole = gateway.ask("GET", &path, &[]);
        assert!(whole.status == 200 && whole.body == body, "round {round}: {}", status(&whole));
    }
}

#[test]
fn a_range_beyond_the_end_names_the_length_that_rgw_leaves_out() {
    let Some(rgw) = Rgw::from_environment("beyond") else { return };
    let gateway = Gateway::start_with(&rgw, SMALL_BLOCKS);
    let body = large(2);
    rgw.put("large.fits", &body);
    let beyond = gateway.ask("GET", &gateway.path("large.fits"), &[("Range", "bytes=9999999-")]);
    let nothing = format!("bytes */{}", body.len());
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(nothing.as_str())));
}

#[test]
fn rgw_reports_by_if_match_that_a_large_object_has_changed() {
    let Some(rgw) = Rgw::from_environment("versions") else { return };
    let gateway = Gateway::start_with(&rgw, SMALL_BLOCKS);
    let path = gateway.path("large.fits");
    let (old, new) = (large(3), large(4));
    rgw.put("large.fits", &old);
    let ask = |range: &str| gateway.ask("GET", &path, &[("Range", range)]);
    let first = ask("bytes=0-99");
    assert!(first.body == old[..100], "{}", status(&first));
    rgw.put("large.fits", &new);
    // Cached blocks are still fresh.
    let kept = ask("bytes=0-99");
    assert!(kept.body == old[..100], "{}", status(&kept));
    // Missing blocks belong to the new version, and so does every block from then on.
    for range in [200_000..200_100, 0..100] {
        let text = format!("bytes={}-{}", range.start, range.end - 1);
        let part = ask(&text);
        assert!(part.body == new[range], "{text}: {}", status(&part));
        assert_ne!(part.header("etag"), first.header("etag"), "{text}");
    }
    rgw.delete("large.fits");
    let gone = ask("bytes=500000-500099");
    assert_eq!(gone.status, 404, "{}", status(&gone));
}
