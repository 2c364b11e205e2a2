//! StoredContent a running gateway keeps of an object, as its admin listener tells it.

use std::net::SocketAddr;

use crate::cache::{Inspection, StoredBlocks, StoredContent, StoredEntry, StoredState};
use crate::check::report::Finding;

/// The word of the running gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Running {
    /// Nothing is kept by the rules, or nobody is to be asked.
    NotAsked,
    /// The configuration gives it no admin address.
    NoAddress,
    Silent {
        admin: SocketAddr,
        why: String,
    },
    /// It has no such page or profile, or its cache is off.
    Refused {
        admin: SocketAddr,
        what: String,
    },
    Told {
        admin: SocketAddr,
        looked: Box<Inspection>,
    },
}

/// Reads the answer of an admin listener.
pub(super) fn read(admin: SocketAddr, status: &str, document: &str) -> Running {
    match serde_json::from_str::<Inspection>(document) {
        Ok(looked) if status == "200" => Running::Told { admin, looked: Box::new(looked) },
        _ => {
            let json = serde_json::from_str::<serde_json::Value>(document).ok();
            let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
            let what = message.unwrap_or("an answer that is none of s3proxy's admin listener");
            Running::Refused { admin, what: format!("{status} {what}") }
        }
    }
}

impl Running {
    /// StoredContent requests are served from, where there is something.
    pub(super) fn in_use(&self) -> Option<&StoredEntry> {
        self.looked().and_then(|looked| looked.memory.as_ref().or(looked.disk.as_ref()))
    }

    /// All that it told.
    pub(super) fn looked(&self) -> Option<&Inspection> {
        match self {
            Self::Told { looked, .. } => Some(looked),
            _ => None,
        }
    }

    pub(super) fn finding(&self) -> Finding {
        match self {
            Self::NotAsked => Finding::skipped("not asked"),
            Self::NoAddress => {
                Finding::skipped("not asked: admin.listen is off, and --admin names none")
            }
            Self::Silent { admin, why } => {
                Finding::skipped(format!("no gateway answers on {admin}: {why}"))
            }
            Self::Refused { admin, what } => Finding::warning(
                format!("{admin}: {what}"),
                "the gateway that runs may have another configuration than this command",
            ),
            Self::Told { admin, looked } => Finding::ok(format!("{admin}: {}", words(looked))),
        }
    }
}

fn words(looked: &Inspection) -> String {
    let tiers = [("in memory", &looked.memory), ("on disk", &looked.disk)];
    let mut parts: Vec<String> = tiers
        .into_iter()
        .filter_map(|(tier, kept)| Some(format!("{tier} {}", kept_words(kept.as_ref()?))))
        .collect();
    if parts.is_empty() {
        parts.push("nothing is kept of it".to_owned());
    }
    if looked.fetch_under_way {
        parts.push("it is being fetched".to_owned());
    }
    parts.join("; ")
}

fn kept_words(kept: &StoredEntry) -> String {
    let what = match kept.what {
        StoredContent::Object => "the whole object",
        StoredContent::Head => "its head",
        StoredContent::Negative => "that it is missing",
        StoredContent::Pass => "that it is not for the cache",
    };
    let length = kept.length.map_or_else(String::new, |length| format!(", {length} bytes"));
    let etag = kept.etag.as_ref().map_or_else(String::new, |etag| format!(", ETag {etag}"));
    let blocks = kept.blocks.as_ref().map_or_else(String::new, blocks_words);
    let age = format!("{} s old", kept.age);
    let state = match (kept.state, kept.ttl.unsigned_abs()) {
        (StoredState::Fresh, seconds) => format!("fresh for {seconds} s more"),
        (StoredState::StaleWhileRevalidate, since) => {
            format!("stale since {since} s, served while the store is asked again")
        }
        (StoredState::StaleIfError, since) => {
            format!("stale since {since} s, served only if the store fails")
        }
        (StoredState::Expired, since) => {
            format!("stale since {since} s, not served unless confirmed")
        }
    };
    format!("{what}{length}{etag}{blocks}, {age}, {state}")
}

fn blocks_words(blocks: &StoredBlocks) -> String {
    let StoredBlocks { size, count, looked_for, memory, disk, kept } = blocks;
    let first =
        if looked_for < count { format!(" (of the first {looked_for})") } else { String::new() };
    format!(", {kept} of {count} blocks of {size} bytes{first}: {memory} in memory, {disk} on disk")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::State;

    fn admin() -> SocketAddr {
        ([127, 0, 0, 1], 9090).into()
    }

    fn kept(what: StoredContent, state: StoredState, ttl: i64) -> StoredEntry {
        let (length, etag) = (Some(17), Some("\"v1\"".to_owned()));
        StoredEntry { what, state, ttl, age: 3, length, etag, blocks: None }
    }

    #[test]
    fn what_is_kept_is_told_in_words() {
        let bare =
            |what, state, ttl| StoredEntry { length: None, etag: None, ..kept(what, state, ttl) };
        let blocks =
            StoredBlocks { size: 10, count: 2, looked_for: 2, memory: 1, disk: 1, kept: 1 };
        let in_blocks = StoredEntry {
            blocks: Some(blocks),
            ..kept(StoredContent::Head, StoredState::Fresh, 9)
        };
        for (memory, disk, words) in [
            (None, None, "nothing is kept of it"),
            (
                Some(kept(StoredContent::Object, StoredState::Fresh, 290)),
                None,
                "in memory the whole object, 17 bytes, ETag \"v1\", 3 s old, fresh for 290 s more",
            ),
            (
                None,
                Some(in_blocks),
                "on disk its head, 17 bytes, ETag \"v1\", 1 of 2 blocks of 10 bytes: 1 in memory, 1 \
                 on disk, 3 s old, fresh for 9 s more",
            ),
            (
                Some(bare(StoredContent::Negative, StoredState::Fresh, 60)),
                None,
                "in memory that it is missing, 3 s old, fresh for 60 s more",
            ),
            (
                Some(bare(StoredContent::Object, StoredState::StaleWhileRevalidate, -5)),
                None,
                "in memory the whole object, 3 s old, stale since 5 s, served while",
            ),
        ] {
            let looked = Inspection { memory, disk, fetch_under_way: false };
            let document = serde_json::to_string(&looked).expect("JSON");
            let finding = read(admin(), "200", &document).finding();
            assert_eq!(finding.state, State::Ok);
            let (_, said) = finding.detail.split_once(": ").expect("who says it");
            assert!(said.starts_with(words), "{said}");
        }
    }

    #[test]
    fn memory_comes_before_disk() {
        let [memory, disk] =
            [1, 2].map(|ttl| Some(kept(StoredContent::Object, StoredState::Fresh, ttl)));
        let looked = Inspection { memory: memory.clone(), disk, fetch_under_way: false };
        let told = Running::Told { admin: admin(), looked: Box::new(looked) };
        assert_eq!(told.in_use(), memory.as_ref());
    }

    #[test]
    fn a_gateway_that_does_not_know_is_no_failure() {
        for (status, document, words) in [
            ("404", r#"{"message":"there is no such profile"}"#, "404 there is no such profile"),
            ("409", r#"{"message":"the cache is off"}"#, "409 the cache is off"),
            ("200", "<html>", "none of s3proxy's"),
        ] {
            let finding = read(admin(), status, document).finding();
            assert_eq!(finding.state, State::Warning);
            assert!(finding.detail.contains(words), "{}", finding.detail);
        }
        let silent = Running::Silent { admin: admin(), why: "refused".to_owned() };
        assert_eq!(silent.finding().state, State::Skipped);
        assert_eq!(silent.in_use(), None);
    }
}
