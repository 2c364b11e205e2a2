//! The head of a record on disk, for an inspection: nothing is counted, noted as used or removed.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;

use crate::cache::disk::folder::FileRead;
use crate::cache::disk::name::FileName;
use crate::cache::disk::queue::Job;
use crate::cache::disk::{DiskTier, READ_TIME};
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;

/// A record without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// When the request was sent to the store.
    pub requested_at: SystemTime,
    /// As in its record.
    pub settings: u64,
    pub freshness: Freshness,
    pub headers: HeaderMap,
    /// Bytes of the body; zero for the head of an object in blocks.
    pub body: u64,
}

impl DiskTier {
    /// The head of the record of this key, if there is one. Must be called within a Tokio runtime; the
    /// disk is given two seconds.
    pub async fn peek(&self, key: &CacheKey) -> Option<Peeked> {
        if !self.has(key) {
            return None;
        }
        let (shared, name) = (&self.shared, FileName::of(key));
        let newer = match shared.lock().queue.find(name) {
            Some(Job::Write(record)) => {
                return (record.key == *key).then(|| Peeked {
                    requested_at: record.requested_at,
                    settings: record.settings,
                    freshness: record.freshness,
                    headers: record.headers.clone(),
                    body: record.body.len(),
                });
            }
            Some(Job::Remove) => return None,
            Some(Job::Freshen(_, freshness)) => Some(*freshness),
            None => None,
        };
        let (reader, wanted) = (Arc::clone(shared), key.clone());
        let read = tokio::task::spawn_blocking(move || {
            let head = match reader.folder.get()?.head(name) {
                Ok(FileRead::Whole(head)) => head,
                Ok(FileRead::Absent | FileRead::Larger | FileRead::Damaged(_)) | Err(_) => {
                    return None;
                }
            };
            (head.key == wanted).then_some(head)
        });
        let head = tokio::time::timeout(READ_TIME, read).await.ok()?.ok()??;
        Some(Peeked {
            requested_at: head.requested_at,
            settings: head.settings,
            freshness: newer.unwrap_or(head.freshness),
            headers: head.headers,
            body: head.body,
        })
    }
}
