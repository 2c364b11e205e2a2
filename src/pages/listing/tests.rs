//! Folders with keys that other listings lose.

use proptest::prelude::*;

use super::*;
use crate::s3::address::ObjectAddress;

fn object(key: &str, size: u64) -> ListedObject {
    let modified = Some("2009-10-12T17:50:30Z".to_owned());
    ListedObject { key: key.to_owned(), size: Some(size), modified }
}

fn links(html: &str) -> Vec<String> {
    let parts = html.split("href=\"").skip(1);
    parts.filter_map(|part| Some(part.split('"').next()?.to_owned())).collect()
}

#[test]
fn rows_have_name_date_and_size() {
    let site = Site::new("s3proxy", "/p", "3");
    let folder = FolderPage { site: &site, bucket: "hips@sky", prefix: "a/" };
    let page = ListPage {
        folders: vec!["a/b c/".to_owned(), "a//".to_owned()],
        objects: vec![object("a/", 0), object("a/<x>\n.png", 7), object("a/..", 1)],
        next: None,
    };
    let html = folder.rows(&page);
    assert_eq!(
        links(&html),
        ["/p/s3/hips@sky/a/b%20c/", "/p/s3/hips@sky/a//", "/p/s3/hips@sky/a/%3Cx%3E%0A.png"]
    );
    assert!(html.contains("2009-10-12 17:50") && html.contains(">7<"), "{html}");
    assert!(html.contains("no URL can name this key") && !html.contains("<x>"), "{html}");
    // An object with the name of the folder that is no mere marker has a link of its own.
    let page = ListPage { objects: vec![object("a/", 9)], ..ListPage::default() };
    assert_eq!(links(&folder.rows(&page)), ["/p/s3/hips@sky/a/?object"]);
}

#[test]
fn the_folders_above_are_linked() {
    let site = Site::new("s3proxy", "", "3");
    let folder = FolderPage { site: &site, bucket: "sky", prefix: "a//b/" };
    let found = links(&folder.start());
    let above: Vec<_> = found.iter().filter(|link| link.starts_with("/s3/")).collect();
    assert_eq!(above, ["/s3/sky/", "/s3/sky/a/", "/s3/sky/a//", "/s3/sky/a//"]);
    assert_eq!(parent_of(""), None);
    assert_eq!(parent_of("a/"), Some(""));
    assert_eq!(parent_of("/"), Some(""));
}

#[test]
fn both_forms_name_the_next_page() {
    let site = Site::new("s3proxy", "/p", "3");
    let folder = FolderPage { site: &site, bucket: "sky", prefix: "" };
    let paging = Paging { is_continued: true, next: Some("t/+="), left_out: 2 };
    let html = folder.end(&paging);
    assert!(
        links(&html).contains(&"/p/s3/sky/?continuation-token=t%2F%2B%3D".to_owned()),
        "{html}"
    );
    assert!(html.contains("First page") && html.contains("not served here: 2."));
    let json = folder.json(&ListPage::default(), &paging);
    assert_eq!(json["next"], "/p/s3/sky/?continuation-token=t%2F%2B%3D&format=json");
}

proptest! {
    #[test]
    fn every_link_leads_to_its_key(name in "[^/\0]{1,40}") {
        let site = Site::new("s3proxy", "/p", "3");
        let folder = FolderPage { site: &site, bucket: "sky", prefix: "a//" };
        let key = format!("a//{name}");
        match folder.link_of(&key) {
            Some(link) => {
                let raw = link.strip_prefix("/p/s3/sky/").expect("within the bucket");
                let address = ObjectAddress::parse(b"sky", raw.as_bytes(), true);
                prop_assert_eq!(address.map(|address| address.key), Ok(key));
            }
            None => prop_assert!(name == "." || name == ".."),
        }
    }
}
