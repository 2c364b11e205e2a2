//! Every key is an object of its own, and only the key selects it.

use crate::client::{Ask, encode, get, start};
use crate::hard_keys::{DOTTED_KEYS, HARD_KEYS};
use crate::store::{Manners, Object, Store};

/// The hard keys of the integration runs, and the longest that S3 allows.
fn hard_keys() -> Vec<String> {
    let mut keys: Vec<String> =
        HARD_KEYS.into_iter().chain(DOTTED_KEYS).map(str::to_owned).collect();
    keys.push("L".repeat(1020) + ".png");
    keys
}

#[tokio::test]
async fn every_hard_key_is_its_own_object() {
    let store = Store::new();
    let keys = hard_keys();
    for (number, key) in keys.iter().enumerate() {
        store.put("sky", key, Object::new(format!("object {number}")));
    }
    let serving = start(&store, Manners::rgw()).await;
    for (number, key) in keys.iter().enumerate() {
        let path = format!("/sky/{}", encode(key));
        let answer = get(&path).send(&serving).await;
        assert_eq!((answer.status, answer.text()), (200, &*format!("object {number}")), "{key:?}");
    }
    let too_long = format!("/sky/{}", "L".repeat(1025));
    assert_eq!(get(&too_long).send(&serving).await.status, 400);
}

#[tokio::test]
async fn missing_objects_are_reported_as_far_as_the_credentials_permit() {
    let store = Store::new();
    store.put("sky", "o.png", Object::new("tile"));
    let serving = start(&store, Manners::rgw()).await;
    let missing = get("/sky/missing.png").send(&serving).await;
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("<Code>NoSuchKey</Code>"), "{}", missing.text());
    let missing = get("/other/o.png").send(&serving).await;
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("<Code>NoSuchBucket</Code>"), "{}", missing.text());

    store.set_manners(Manners { may_list: false, ..Manners::rgw() });
    assert_eq!(get("/sky/missing.png").send(&serving).await.status, 403);
    assert_eq!(get("/sky/o.png").send(&serving).await.status, 200);

    assert!(store.delete("sky", "o.png"));
    assert!(!store.delete("sky", "o.png"));
    store.set_manners(Manners::rgw());
    assert_eq!(get("/sky/o.png").send(&serving).await.status, 404);
}

#[tokio::test]
async fn an_encoded_slash_ends_the_bucket_as_on_rgw() {
    let store = Store::new();
    store.put("sky", "a/b", Object::new("tile"));
    let serving = start(&store, Manners::rgw()).await;
    let ask = Ask { forged_target: Some("/sky%2Fa/b"), ..get("/sky/a/b") };
    assert_eq!(ask.send(&serving).await.status, 200);
}

#[tokio::test]
async fn a_bucket_can_be_named_by_the_host() {
    let store = Store::new();
    store.put("sky", "a/b", Object::new("tile"));
    let serving = start(&store, Manners::rgw()).await;
    let host = format!("sky.localhost:{}", serving.address().port());
    let answer = Ask { host: Some(&host), ..get("/a/b") }.send(&serving).await;
    assert_eq!((answer.status, answer.text()), (200, "tile"));
}

#[tokio::test]
async fn listings_follow_prefix_delimiter_and_pages() {
    let store = Store::new();
    for key in
        ["Norder3/Allsky.png", "Norder3/Dir0/Npix0.png", "Norder3/Dir0/Npix1.png", "index.html"]
    {
        store.put("sky", key, Object::new("x"));
    }
    let serving = start(&store, Manners::rgw()).await;
    let listing = get("/sky?delimiter=%2F&list-type=2&prefix=Norder3%2F").send(&serving).await;
    assert_eq!(listing.status, 200);
    assert!(listing.text().contains("<Key>Norder3/Allsky.png</Key>"), "{}", listing.text());
    assert!(listing.text().contains("<Prefix>Norder3/Dir0/</Prefix>"), "{}", listing.text());
    assert!(!listing.text().contains("Npix"), "{}", listing.text());
    let page = get("/sky?list-type=2&max-keys=1&start-after=Norder3%2FDir0%2FNpix0.png");
    let page = page.send(&serving).await;
    assert!(page.text().contains("Npix1"), "{}", page.text());
    assert!(page.text().contains("<IsTruncated>true</IsTruncated>"), "{}", page.text());
    // A request that a gateway must never send: the listing behind an empty key.
    assert_eq!(get("/sky/?list-type=2").send(&serving).await.status, 200);
    store.set_manners(Manners { may_list: false, ..Manners::rgw() });
    assert_eq!(get("/sky/?list-type=2").send(&serving).await.status, 403);
}
