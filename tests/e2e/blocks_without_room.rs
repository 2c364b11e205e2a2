//! Ranges of large objects for which there is no room in memory: they stream directly from the
//! store.

use crate::client::Ending;
use crate::faulty::{Faulty, OBJECT_HEADERS, Recorded, Step, answer};
use crate::gateway::{Gateway, Setup};

const LENGTH: usize = 300 * 1024;

/// Answers with a part if the range does not begin at the first byte, and with the whole object
/// otherwise.
fn parts_now_and_then(request: &Recorded, _: usize) -> Vec<Step> {
    let bytes: Vec<u8> = (b'a'..=b'z').cycle().take(LENGTH).collect();
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    let range = range.and_then(|range| range.split_once('-'));
    let range = range.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match range {
        Some((first, last)) if first > 0 => {
            let place = format!("bytes {first}-{last}/{LENGTH}");
            let headers = [&OBJECT_HEADERS[..], &[("Content-Range", &place)]].concat();
            answer(206, &headers, &bytes[first..=last])
        }
        _ => answer(200, &OBJECT_HEADERS, &bytes),
    }
}

fn without_room_for_a_block(store: &str) -> Gateway {
    Setup::new(store)
        .env("S3PROXY_CACHE_MEMORY", "4MiB")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "1MiB")
        .env("S3PROXY_CACHE_BLOCKS_SHARE", "1")
        .env("S3PROXY_CACHE_BLOCKS_READ_AHEAD", "0")
        .env("S3PROXY_CACHE_MAX_OBJECT", "64KiB")
        .tolerate("more than a third")
        .start()
}

#[test]
fn only_the_requested_part_is_passed_on_if_the_store_sends_more() {
    let store = Faulty::scripted(parts_now_and_then);
    let gateway = without_room_for_a_block(&store.url());
    let known = gateway.send("HEAD", "/s3proxy/s3/sky/a.png", &[]);
    assert_eq!(known.header("content-length"), Some("307200"));
    let one = gateway.object_with("sky/a.png", &[("range", "bytes=0-9")]);
    assert_eq!((one.status(), one.text()), (206, "abcdefghij"));
    // Bytes that arrive with one part must not be used for the next one.
    for (first, last) in [(20, 29), (2_000, 9_999), (260_000, 260_009)] {
        let range = format!("bytes=0-9,{first}-{last}");
        let answer = gateway.object_with("sky/a.png", &[("range", range.as_str())]);
        assert_eq!((answer.status(), answer.ending), (206, Ending::Whole), "{range}");
        let bytes: Vec<u8> = (b'a'..=b'z').cycle().skip(first).take(last + 1 - first).collect();
        let bytes = String::from_utf8(bytes).expect("letters");
        let (_, parts) = answer.text().split_once("0-9/307200\r\n\r\n").expect("the first part");
        assert!(parts.starts_with("abcdefghij\r\n--"), "{range}: {parts}");
        let place = format!("{first}-{last}/307200\r\n\r\n");
        let (_, part) = parts.split_once(&place).expect("the other part");
        assert!(part.starts_with(&format!("{bytes}\r\n--")), "{range}: {parts}");
    }
}
