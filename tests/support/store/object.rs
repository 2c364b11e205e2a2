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
    /// One after the other: objects larger than memory.
    Runs(Vec<Run>),
}

/// `length` bytes of `block` over and over.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    block: Bytes,
    length: u64,
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
        Self::of_runs([(block, length)])
    }

    /// An object of blocks, each repeated up to its length, one after the other.
    #[must_use]
    pub(crate) fn of_runs<B: Into<Bytes>>(runs: impl IntoIterator<Item = (B, u64)>) -> Self {
        let runs = runs.into_iter().map(|(block, length)| {
            let block = block.into();
            let block = if block.is_empty() { Bytes::from_static(&[0; 4096]) } else { block };
            Run { block, length }
        });
        Self::of(Content::Runs(runs.collect()))
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
            Self::Runs(runs) => runs.iter().map(|run| run.length).sum(),
        }
    }

    /// The first bytes of `wanted`, at most `limit`; empty at its end.
    #[must_use]
    pub(crate) fn chunk(&self, wanted: &Range<u64>, limit: usize) -> Bytes {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let end = wanted.end.min(wanted.start.saturating_add(limit));
        match self {
            Self::Bytes(bytes) => slice(bytes, wanted.start, end),
            Self::Runs(runs) => {
                let mut first = 0;
                for Run { block, length } in runs {
                    let within = wanted.start.saturating_sub(first);
                    if within < *length {
                        let start = within % block.len() as u64;
                        let left = end.min(first + length).saturating_sub(wanted.start);
                        return slice(block, start, start.saturating_add(left));
                    }
                    first += length;
                }
                Bytes::new()
            }
        }
    }

    fn etag(&self) -> String {
        match self {
            Self::Bytes(bytes) => hex::encode(Md5::digest(bytes)),
            // A multipart upload's tag is no MD5 of the body either.
            Self::Runs(runs) => {
                let mut digest = Md5::new();
                for run in runs {
                    digest.update(&run.block);
                    digest.update(run.length.to_be_bytes());
                }
                format!("{}-{}", hex::encode(digest.finalize()), runs.len())
            }
        }
    }
}

/// The bytes from `start` to `end`, as far as there are any.
fn slice(bytes: &Bytes, start: u64, end: u64) -> Bytes {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    let start = place(start);
    bytes.slice(start..place(end).max(start))
}
