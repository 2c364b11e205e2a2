//! A folder: as a page whose links browsers, `wget`, `rclone`, `lftp` and `fsspec` follow, or as JSON. Each
//! link is a path with its key percent-encoded once. The page can be sent in pieces, one for each page of
//! the store.

use serde_json::{Value, json};

use crate::pages::html::{Site, escape, escaped};
use crate::s3::address::check_key;
use crate::s3::encode::{encode_path, encode_query};
use crate::s3::list::{ListPage, ListedObject};

/// A folder, and where it is.
#[derive(Debug, Clone, Copy)]
pub struct FolderPage<'a> {
    pub site: &'a Site,
    /// `profile@bucket`, or the bucket alone.
    pub bucket: &'a str,
    /// The prefix of its keys: empty, or it ends with a slash.
    pub prefix: &'a str,
}

/// How one page of the listing is reached from another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paging<'a> {
    /// It is not the first page.
    pub is_continued: bool,
    /// The continuation token of the next one.
    pub next: Option<&'a str>,
    /// Objects that are left out, because their media types are not served.
    pub left_out: usize,
}

impl FolderPage<'_> {
    /// The path of a key below the bucket.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        let mut path = String::with_capacity(self.site.prefix.len() + key.len() + 64);
        path.push_str(&self.site.prefix);
        path.push_str("/s3/");
        let (profile, bucket) = self.bucket.split_once('@').unwrap_or(("", self.bucket));
        if !profile.is_empty() {
            path.push_str(profile);
            path.push('@');
        }
        encode_path(bucket.as_bytes(), &mut path);
        path.push('/');
        encode_path(key.as_bytes(), &mut path);
        path
    }

    /// The path of the next page.
    #[must_use]
    pub fn next_path(&self, token: &str) -> String {
        let mut path = self.path(self.prefix);
        path.push_str("?continuation-token=");
        encode_query(token.as_bytes(), &mut path);
        path
    }

    /// The start: heading, the folders above, the head of the table.
    #[must_use]
    pub fn start(&self) -> String {
        let title = format!("Index of {}/{}", self.bucket, self.prefix);
        let mut html = self.site.start(&title);
        html.push_str("<nav aria-label=\"Folders above\"><ol>\n");
        let mut above = vec![(self.bucket, 0)];
        let mut end = 0;
        for segment in self.prefix.split_inclusive('/') {
            end += segment.len();
            above.push((segment.trim_end_matches('/'), end));
        }
        let last = above.len() - 1;
        for (index, (name, end)) in above.into_iter().enumerate() {
            let name = if name.is_empty() { "(no name)" } else { name };
            let key = self.prefix.get(..end).unwrap_or_default();
            let (name, path) = (escaped(name), self.path(key));
            // A link of a folder to itself sends some programs in circles.
            html.push_str(&if index == last {
                format!("<li aria-current=\"page\"><bdi>{name}</bdi></li>\n")
            } else {
                format!("<li><a href=\"{path}\"><bdi>{name}</bdi></a></li>\n")
            });
        }
        html.push_str("</ol></nav>\n<h1><bdi>");
        escape(&title, &mut html);
        html.push_str(
            "</bdi></h1>\n<table>\n<thead><tr><th scope=\"col\">Name</th>\
             <th scope=\"col\" class=\"time\">Last modified</th>\
             <th scope=\"col\" class=\"number\">Size</th></tr></thead>\n<tbody>\n",
        );
        if let Some(parent) = parent_of(self.prefix) {
            let path = self.path(parent);
            html.push_str(&format!(
                "<tr><td><a href=\"{path}\">Parent Directory</a></td><td class=\"time\"></td>\
                 <td class=\"number\"></td></tr>\n"
            ));
        }
        html
    }

    /// The rows of a page: folders, then objects.
    #[must_use]
    pub fn rows(&self, page: &ListPage) -> String {
        let mut html = String::with_capacity(256 * (page.folders.len() + page.objects.len()));
        for folder in &page.folders {
            self.row(folder, self.link_of(folder), None, &mut html);
        }
        for object in &page.objects {
            if !self.is_marker(object) {
                self.row(&object.key, self.link_of(&object.key), Some(object), &mut html);
            }
        }
        html
    }

    /// An empty object that stands for the folder itself, as consoles create it.
    fn is_marker(&self, object: &ListedObject) -> bool {
        object.key == self.prefix && object.size.unwrap_or(0) == 0
    }

    /// The path that leads to a key; `None` if no URL can name it. The URL of an object whose key ends
    /// with a slash is that of a folder.
    fn link_of(&self, key: &str) -> Option<String> {
        check_key(key).ok()?;
        let path = self.path(key);
        Some(if key == self.prefix { path + "?object" } else { path })
    }

    fn row(
        &self,
        key: &str,
        path: Option<String>,
        object: Option<&ListedObject>,
        html: &mut String,
    ) {
        let name = key.strip_prefix(self.prefix).unwrap_or(key);
        let name = escaped(if name.is_empty() { "(the object of this name)" } else { name });
        html.push_str("<tr><td>");
        match path {
            Some(path) => {
                html.push_str(&format!("<a href=\"{path}\"><bdi>{name}</bdi></a>"));
            }
            None => html.push_str(&format!(
                "<bdi>{name}</bdi> <span class=\"note\">(no URL can name this key)</span>"
            )),
        }
        html.push_str("</td><td class=\"time\">");
        if let Some(modified) = object.and_then(|object| object.modified.as_deref()) {
            let (day, time) = (modified.get(..10), modified.get(11..16));
            let (day, time) = (day.unwrap_or_default(), time.unwrap_or_default());
            html.push_str(&format!("<time datetime=\"{modified}\">{day} {time}</time>"));
        }
        html.push_str("</td><td class=\"number\">");
        match object.map(|object| object.size) {
            Some(Some(size)) => html.push_str(&size.to_string()),
            Some(None) => {}
            None => html.push('-'),
        }
        html.push_str("</td></tr>\n");
    }

    /// The end: the links to the other pages.
    #[must_use]
    pub fn end(&self, paging: &Paging<'_>) -> String {
        let mut html = "</tbody>\n</table>\n".to_owned();
        if paging.left_out > 0 {
            html.push_str(&format!(
                "<p class=\"note\">Objects that are not shown, because their media types are not served \
                 here: {}.</p>\n",
                paging.left_out
            ));
        }
        if paging.is_continued || paging.next.is_some() {
            html.push_str("<nav aria-label=\"Pages\"><p>");
            if paging.is_continued {
                html.push_str(&format!("<a href=\"{}\">First page</a> ", self.path(self.prefix)));
            }
            if let Some(token) = paging.next {
                let path = self.next_path(token);
                html.push_str(&format!("<a rel=\"next\" href=\"{path}\">Next page</a>"));
            }
            html.push_str("</p></nav>\n");
        }
        html.push_str(&self.site.end());
        html
    }

    /// One page as JSON, with the same content.
    #[must_use]
    pub fn json(&self, page: &ListPage, paging: &Paging<'_>) -> Value {
        let name = |key: &str| key.strip_prefix(self.prefix).unwrap_or(key).to_owned();
        let folders = page.folders.iter().map(
            |folder| json!({ "name": name(folder), "key": folder, "url": self.link_of(folder) }),
        );
        let objects = page.objects.iter().filter(|object| !self.is_marker(object)).map(|object| {
            json!({
                "name": name(&object.key),
                "key": object.key,
                "size": object.size,
                "last_modified": object.modified,
                "url": self.link_of(&object.key),
            })
        });
        json!({
            "bucket": self.bucket,
            "prefix": self.prefix,
            "folders": folders.collect::<Vec<_>>(),
            "objects": objects.collect::<Vec<_>>(),
            "left_out": paging.left_out,
            "next": paging.next.map(|token| self.next_path(token) + "&format=json"),
        })
    }
}

/// The prefix of the folder above.
fn parent_of(prefix: &str) -> Option<&str> {
    let inner = prefix.strip_suffix('/')?;
    Some(inner.rfind('/').and_then(|slash| prefix.get(..=slash)).unwrap_or_default())
}

#[cfg(test)]
mod tests;
