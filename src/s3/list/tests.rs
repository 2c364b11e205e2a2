//! Pages of listings as stores send them, and as hostile ones do.

use proptest::prelude::*;

use super::*;

fn page(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}</ListBucketResult>"
    )
}

fn object(key: &str) -> String {
    format!("<Contents><Key>{key}</Key><Size>7</Size></Contents>")
}

#[test]
fn a_page_of_amazon_is_read() {
    let document = page(
        "<Name>sky</Name><Prefix>a%2F</Prefix><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys>
         <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
         <NextContinuationToken>1ueGcxLPRx1Tr/XYEx=</NextContinuationToken>
         <Contents><Key>a/b+c%2Bd%0A%3C.png</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>
         <ETag>&quot;x&quot;</ETag><Size>434234</Size><StorageClass>STANDARD</StorageClass></Contents>
         <CommonPrefixes><Prefix>a/%C3%A9/</Prefix></CommonPrefixes>
         <CommonPrefixes><Prefix>a//</Prefix></CommonPrefixes>",
    );
    let expected = ListPage {
        objects: vec![ListedObject {
            key: "a/b c+d\n<.png".to_owned(),
            size: Some(434_234),
            modified: Some("2009-10-12T17:50:30Z".to_owned()),
        }],
        folders: vec!["a/é/".to_owned(), "a//".to_owned()],
        next: Some("1ueGcxLPRx1Tr/XYEx=".to_owned()),
    };
    assert_eq!(parse(document.as_bytes(), "a/"), Ok(expected));
}

/// A store that ignores `encoding-type` sends keys as they are, with the references of XML.
#[test]
fn keys_that_are_not_encoded_are_taken_as_they_are() {
    let document = page(&object("a+b%20&amp;&#x3c;&#10;&apos;"));
    let read = parse(document.as_bytes(), "").expect("a page");
    assert_eq!(read.objects[0].key, "a+b%20&<\n'");
}

#[test]
fn an_answer_that_is_not_the_page_asked_for_is_refused() {
    let many = object("a/x").repeat(MAX_ENTRIES + 1);
    let deep = "<a>".repeat(MAX_DEPTH + 1);
    for (why, document) in [
        ("empty", String::new()),
        ("no XML", "not XML".to_owned()),
        ("an error document", "<Error><Code>NoSuchKey</Code></Error>".to_owned()),
        ("cut short", page(&object("a/x")).replace("</ListBucketResult>", "")),
        ("two roots", page("").replace("</ListBucketResult>", "</ListBucketResult><a/>")),
        ("a key of another folder", page(&object("b/x"))),
        ("a key below a folder", page(&object("a/b/x"))),
        ("a folder of another", page("<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>")),
        ("the folder itself", page("<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>")),
        ("truncated without a token", page("<IsTruncated>true</IsTruncated>")),
        (
            "a token that is too long",
            page(&format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
                "t".repeat(MAX_TOKEN_BYTES + 1)
            )),
        ),
        ("an unknown entity", page(&object("a/&x;"))),
        ("a document type", format!("<!DOCTYPE x [<!ENTITY x \"y\">]>{}", page(""))),
        ("too many entries", page(&many)),
        ("too deep", page(&deep)),
        ("a broken escape", page(&format!("<EncodingType>url</EncodingType>{}", object("a/%zz")))),
        ("not UTF-8", page(&format!("<EncodingType>url</EncodingType>{}", object("a/%FF")))),
    ] {
        assert_eq!(parse(document.as_bytes(), "a/"), Err(InvalidListing), "{why}");
    }
    assert_eq!(parse(&vec![b' '; MAX_PAGE_BYTES + 1], ""), Err(InvalidListing));
    assert_eq!(parse(page("").as_bytes(), "a/"), Ok(ListPage::default()));
}

#[test]
fn the_query_is_in_the_order_in_which_it_is_signed() {
    assert_eq!(
        query("a b/", Some("x/=")),
        "continuation-token=x%2F%3D&delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000\
         &prefix=a%20b%2F"
    );
    assert_eq!(
        query("", None),
        "delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix="
    );
}

proptest! {
    #[test]
    fn no_answer_panics(document in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&document, "a/");
    }

    #[test]
    fn any_key_comes_back(name in "[^/\0]{0,40}") {
        let mut encoded = String::new();
        encode_query(format!("a/{name}").as_bytes(), &mut encoded);
        let document = page(&format!("<EncodingType>url</EncodingType>{}", object(&encoded)));
        let read = parse(document.as_bytes(), "a/").expect("a page");
        prop_assert_eq!(&read.objects[0].key, &format!("a/{name}"));
    }
}
