//! Listing a folder of a bucket: the query of `ListObjectsV2`, and the page of keys in its answer. What
//! a store sends is bounded and compared with the request, before anything of it is shown.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use crate::s3::encode::{decode, encode_query};

/// Keys and folders that a store is asked for at once: S3's own limit.
pub const PAGE_KEYS: usize = 1000;
/// The largest answer that is read, bytes. 1000 keys of 1024 bytes, each byte percent-encoded, take 3 MB.
pub const MAX_PAGE_BYTES: usize = 8 << 20;
/// The longest continuation token, bytes.
pub const MAX_TOKEN_BYTES: usize = 2048;

/// Entries of a page that are accepted: some stores count objects and folders apart.
const MAX_ENTRIES: usize = 2 * PAGE_KEYS;
/// Elements within each other; an answer has three.
const MAX_DEPTH: usize = 16;

/// One page of a folder: the objects and folders directly below a prefix, in the order of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    pub objects: Vec<ListedObject>,
    /// Prefixes that end with a slash.
    pub folders: Vec<String>,
    /// The continuation token of the next page; `None` on the last one.
    pub next: Option<String>,
}

/// An object in a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedObject {
    /// The whole key.
    pub key: String,
    /// Bytes, if the store says so.
    pub size: Option<u64>,
    /// `2009-10-12T17:50:30Z`, if the store says so.
    pub modified: Option<String>,
}

/// The answer is not a page of the listing that was asked for: not XML, too long, or with keys of another
/// folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidListing;

impl ListPage {
    /// Whether nothing is in the folder.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.folders.is_empty()
    }
}

/// The query for a page of the folder with this prefix, percent-encoded as it is signed. Keys are asked
/// for percent-encoded: XML has no form for some of their characters.
#[must_use]
pub fn query(prefix: &str, token: Option<&str>) -> String {
    let mut query = String::with_capacity(96 + prefix.len());
    if let Some(token) = token {
        query.push_str("continuation-token=");
        encode_query(token.as_bytes(), &mut query);
        query.push('&');
    }
    query.push_str("delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix=");
    encode_query(prefix.as_bytes(), &mut query);
    query
}

/// Reads the answer to a request for this prefix.
///
/// # Errors
/// When the answer is no such page. A page that would lose keys is an error too: one that is truncated
/// and has no usable token.
pub fn parse(document: &[u8], prefix: &str) -> Result<ListPage, InvalidListing> {
    if document.len() > MAX_PAGE_BYTES {
        return Err(InvalidListing);
    }
    let mut reader = Reader::from_reader(document);
    let mut answer = Answer::default();
    loop {
        match reader.read_event().map_err(|_| InvalidListing)? {
            Event::Start(start) => answer.open(start.local_name().as_ref())?,
            Event::Empty(start) => {
                answer.open(start.local_name().as_ref())?;
                answer.close()?;
            }
            Event::End(_) => answer.close()?,
            Event::Text(text) => {
                answer.text.push_str(&text.decode().map_err(|_| InvalidListing)?);
            }
            Event::CData(text) => {
                answer.text.push_str(&text.decode().map_err(|_| InvalidListing)?);
            }
            Event::GeneralRef(reference) => answer.text.push(character(&reference)?),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            // It could define entities.
            Event::DocType(_) => return Err(InvalidListing),
            Event::Eof => return answer.into_page(prefix),
        }
    }
}

/// The character that a reference stands for: a number, or one of the five names of XML.
fn character(reference: &BytesRef<'_>) -> Result<char, InvalidListing> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| InvalidListing)? {
        return Ok(character);
    }
    match &**reference {
        b"amp" => Ok('&'),
        b"lt" => Ok('<'),
        b"gt" => Ok('>'),
        b"quot" => Ok('"'),
        b"apos" => Ok('\''),
        _ => Err(InvalidListing),
    }
}

/// The answer so far.
#[derive(Debug, Default)]
struct Answer {
    /// The names of the open elements.
    open: Vec<Vec<u8>>,
    /// The text of the innermost element.
    text: String,
    has_root: bool,
    object: ListedObject,
    page: ListPage,
    is_truncated: bool,
    is_encoded: bool,
}

impl Answer {
    fn open(&mut self, name: &[u8]) -> Result<(), InvalidListing> {
        if self.open.is_empty() {
            if self.has_root || name != b"ListBucketResult" {
                return Err(InvalidListing);
            }
            self.has_root = true;
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(InvalidListing);
        }
        if self.open.len() == 1 {
            self.object = ListedObject::default();
        }
        self.text.clear();
        self.open.push(name.to_vec());
        Ok(())
    }

    fn close(&mut self) -> Result<(), InvalidListing> {
        let text = std::mem::take(&mut self.text);
        let path: Vec<&[u8]> = self.open.iter().skip(1).map(Vec::as_slice).collect();
        match path.as_slice() {
            [b"Contents", b"Key"] => self.object.key = text,
            [b"Contents", b"Size"] => self.object.size = text.trim().parse().ok(),
            [b"Contents", b"LastModified"] => self.object.modified = second_of(text.trim()),
            [b"Contents"] => self.page.objects.push(std::mem::take(&mut self.object)),
            [b"CommonPrefixes", b"Prefix"] => self.page.folders.push(text),
            [b"IsTruncated"] => self.is_truncated = text.trim() == "true",
            [b"NextContinuationToken"] => self.page.next = Some(text),
            [b"EncodingType"] => self.is_encoded = text.trim().eq_ignore_ascii_case("url"),
            _ => {}
        }
        let has_room = self.page.objects.len() + self.page.folders.len() <= MAX_ENTRIES;
        if has_room && self.open.pop().is_some() { Ok(()) } else { Err(InvalidListing) }
    }

    fn into_page(self, prefix: &str) -> Result<ListPage, InvalidListing> {
        let Self { open, has_root, mut page, is_truncated, is_encoded, .. } = self;
        if !has_root || !open.is_empty() {
            return Err(InvalidListing);
        }
        let usable = |token: &String| (1..=MAX_TOKEN_BYTES).contains(&token.len());
        page.next = page.next.filter(|token| is_truncated && usable(token));
        if is_truncated && page.next.is_none() {
            return Err(InvalidListing);
        }
        if is_encoded {
            for object in &mut page.objects {
                object.key = decoded(&object.key)?;
            }
            for folder in &mut page.folders {
                *folder = decoded(folder)?;
            }
        }
        // Of a store that answers something else nothing is shown.
        let objects_belong = page
            .objects
            .iter()
            .all(|object| object.key.strip_prefix(prefix).is_some_and(|name| !name.contains('/')));
        let folders_belong = page.folders.iter().all(|folder| {
            let name = folder.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('/'));
            name.is_some_and(|name| !name.contains('/'))
        });
        if objects_belong && folders_belong { Ok(page) } else { Err(InvalidListing) }
    }
}

/// A key of `encoding-type=url`: as in a form, `+` is a space.
fn decoded(text: &str) -> Result<String, InvalidListing> {
    let text = text.replace('+', " ");
    let bytes = decode(text.as_bytes()).map_err(|_| InvalidListing)?;
    String::from_utf8(bytes).map_err(|_| InvalidListing)
}

/// `2009-10-12T17:50:30Z` of `2009-10-12T17:50:30.000Z`; `None` where it is not such a time.
fn second_of(text: &str) -> Option<String> {
    let time = text.get(..19)?;
    let is_time = time.bytes().zip(b"0000-00-00T00:00:00").all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == *form,
    });
    is_time.then(|| format!("{time}Z"))
}

#[cfg(test)]
mod tests;
