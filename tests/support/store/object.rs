//! Objects: a body and its S3 metadata.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use md5::{Digest, Md5};

/// One stored object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) body: Content,
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_disposition: Option<String>,
    /// Sent as `x-amz-meta-<name>`; names and values must be valid in a header.
    pub(crate) metadata: Vec<(String, String)>,
    /// Kept by S3 to the second. A fixed date unless set, so that runs repeat.
    pub(crate) last_modified: SystemTime,
    etag: String,
}

/// The source of an object's bytes.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Stored bytes.
    Bytes(Bytes),
    /// `length` bytes of `block` over and over: objects larger than memory.
    Repeated { block: Bytes, length: u64 },
}

impl Object {
    /// An object of these bytes, without a type.
    #[must_use]
    pub(crate) fn new(body: impl Into<Bytes>) -> Self {
        Self::of(Content::Bytes(body.into()))
    }

    /// An object of `length` bytes, which repeat `block`. An empty block stands for zeros.
    #[must_use]
    pub(crate) fn repeated(block: impl Into<Bytes>, length: u64) -> Self {
        let mut block = block.into();
        if block.is_empty() {
            block = Bytes::from_static(&[0; 4096]);
        }
        Self::of(Content::Repeated { block, length })
    }

    fn of(body: Content) -> Self {
        Self {
            etag: body.etag(),
            body,
            content_type: None,
            cache_control: None,
            content_encoding: None,
            content_disposition: None,
            metadata: Vec::new(),
            // 2025-07-01T12:00:00Z
            last_modified: SystemTime::UNIX_EPOCH + Duration::from_secs(1_751_371_200),
        }
    }

    /// With this `Content-Type`.
    #[must_use]
    pub(crate) fn typed(mut self, content_type: &str) -> Self {
        self.content_type = Some(content_type.to_owned());
        self
    }

    /// The entity tag without its quotes: the body's MD5 where the body is kept as bytes.
    #[must_use]
    pub(crate) fn etag(&self) -> &str {
        &self.etag
    }

    /// The entity tag as HTTP has it.
    #[must_use]
    pub(crate) fn quoted_etag(&self) -> String {
        format!("\"{}\"", self.etag)
    }

    /// Seconds since 1970, the precision of `Last-Modified`.
    pub(crate) fn modified_secs(&self) -> u64 {
        self.last_modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs())
    }
}

impl Content {
    /// Length in bytes.
    #[must_use]
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Repeated { length, .. } => *length,
        }
    }

    /// The first bytes of `wanted`, at most `limit`; empty at its end.
    #[must_use]
    pub(crate) fn chunk(&self, wanted: &Range<u64>, limit: usize) -> Bytes {
        let (bytes, start) = match self {
            Self::Bytes(bytes) => (bytes, wanted.start),
            Self::Repeated { block, .. } => (block, wanted.start % block.len() as u64),
        };
        let left = wanted.end.min(self.len()).saturating_sub(wanted.start);
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(limit);
        bytes.slice(start..start.saturating_add(length).min(bytes.len()))
    }

    fn etag(&self) -> String {
        match self {
            Self::Bytes(bytes) => hex::encode(Md5::digest(bytes)),
            // A multipart upload's tag is no MD5 of the body either.
            Self::Repeated { block, length } => {
                format!("{}-{length}", hex::encode(Md5::digest(block)))
            }
        }
    }
}
