//! The cached copy of an object in a running gateway, from its admin listener.

use std::net::SocketAddr;

use crate::cache::{
    Inspection, KnownMember, StoredBlocks, StoredContent, StoredEntry, StoredState,
};
use crate::check::report::Finding;

/// The answer of the running gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GatewayReport {
    /// The rules cache nothing, or no request is allowed.
    NotRequested,
    /// Neither configuration nor command line names an admin address.
    NoAdminAddress,
    Unreachable {
        admin: SocketAddr,
        why: String,
    },
    /// It has no such page or profile, or its cache is disabled.
    Refused {
        admin: SocketAddr,
        status: String,
        message: String,
    },
    Inspected {
        admin: SocketAddr,
        inspection: Box<Inspection>,
    },
}

/// Reads the answer of an admin listener.
pub(super) fn read(admin: SocketAddr, status: &str, document: &str) -> GatewayReport {
    match serde_json::from_str::<Inspection>(document) {
        Ok(inspection) if status == "200" => {
            GatewayReport::Inspected { admin, inspection: Box::new(inspection) }
        }
        _ => {
            let json = serde_json::from_str::<serde_json::Value>(document).ok();
            let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
            let message = message.unwrap_or("not an answer of the admin listener of s3proxy");
            GatewayReport::Refused { admin, status: status.to_owned(), message: message.to_owned() }
        }
    }
}

impl GatewayReport {
    /// The entry that answers requests: that in memory, else that on disk, else that of the shared tier.
    pub(super) fn serving_entry(&self) -> Option<&StoredEntry> {
        self.inspection().and_then(|found| {
            found.memory.as_ref().or(found.disk.as_ref()).or(found.shared.as_ref())
        })
    }

    /// The whole answer.
    pub(super) fn inspection(&self) -> Option<&Inspection> {
        match self {
            Self::Inspected { inspection, .. } => Some(inspection),
            _ => None,
        }
    }

    pub(super) fn finding(&self) -> Finding {
        match self {
            Self::NotRequested => Finding::skipped("not requested"),
            Self::NoAdminAddress => {
                Finding::skipped("not requested: admin.listen is off and --admin is not set")
            }
            Self::Unreachable { admin, why } => {
                Finding::skipped(format!("no gateway answers on {admin}: {why}"))
            }
            Self::Refused { admin, status, message } => Finding::warning(
                format!("{admin}: {status} {message}"),
                match status.as_str() {
                    // A guard of the admin listener, which says what it wants.
                    "403" => "ask as the message says; the other steps are not affected",
                    _ => {
                        "the configuration of the running gateway may differ from that of this command"
                    }
                },
            ),
            Self::Inspected { admin, inspection } => {
                Finding::ok(format!("{admin}: {}", describe(inspection)))
            }
        }
    }
}

fn describe(inspection: &Inspection) -> String {
    let tiers = [
        ("in memory", &inspection.memory),
        ("on disk", &inspection.disk),
        ("in the shared tier", &inspection.shared),
    ];
    let mut parts: Vec<String> = tiers
        .into_iter()
        .filter_map(|(tier, entry)| Some(format!("{tier}: {}", describe_entry(entry.as_ref()?))))
        .collect();
    if parts.is_empty() {
        parts.push("not cached".to_owned());
    }
    if inspection.fetch_under_way {
        parts.push("a fetch is in progress".to_owned());
    }
    parts.extend(inspection.member.as_ref().map(describe_member));
    parts.join("; ")
}

/// What the running gateway knows of a member, whose archive the rest is about.
fn describe_member(member: &KnownMember) -> String {
    match member {
        KnownMember::Unread => {
            "the directory of the archive that may list the member is not in memory".to_owned()
        }
        KnownMember::Missing => "the directory in memory has no such member".to_owned(),
        KnownMember::Refused { cause, message } => {
            format!("by the directory in memory: {cause}: {message}")
        }
        KnownMember::Found { offset, length, content_type, content_encoding, etag } => {
            let content_type = content_type.as_deref().unwrap_or("no accepted type");
            let coding = content_encoding.as_ref().map(|it| format!(", Content-Encoding {it}"));
            format!(
                "by the directory in memory the member has {length} bytes from byte {offset} of the archive on, \
                 {content_type}{}, ETag {etag}",
                coding.unwrap_or_default()
            )
        }
    }
}

fn describe_entry(entry: &StoredEntry) -> String {
    let what = match entry.what {
        StoredContent::Object => "whole object",
        StoredContent::Head => "metadata",
        StoredContent::Negative => "negative entry (the object does not exist)",
        StoredContent::Pass => "hit-for-pass marker (the object is not cacheable)",
    };
    let length = entry.length.map_or_else(String::new, |length| format!(", {length} bytes"));
    let etag = entry.etag.as_ref().map_or_else(String::new, |etag| format!(", ETag {etag}"));
    let blocks = entry.blocks.as_ref().map_or_else(String::new, describe_blocks);
    let age = format!("age {} s", entry.age);
    let state = match (entry.state, entry.ttl.unsigned_abs()) {
        (StoredState::Fresh, seconds) => format!("fresh for {seconds} s"),
        (StoredState::StaleWhileRevalidate, since) => {
            format!("stale for {since} s, served while it is revalidated")
        }
        (StoredState::StaleIfError, since) => {
            format!("stale for {since} s, served only if the store fails")
        }
        (StoredState::Expired, since) => {
            format!("stale for {since} s, served only after revalidation")
        }
    };
    format!("{what}{length}{etag}{blocks}, {age}, {state}")
}

fn describe_blocks(blocks: &StoredBlocks) -> String {
    let StoredBlocks { size, count, looked_for, memory, disk, kept } = blocks;
    let first =
        if looked_for < count { format!(" (of the first {looked_for})") } else { String::new() };
    format!(", {kept} of {count} blocks of {size} bytes{first}: {memory} in memory, {disk} on disk")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::StepState;

    fn admin() -> SocketAddr {
        ([127, 0, 0, 1], 9090).into()
    }

    fn kept(what: StoredContent, state: StoredState, ttl: i64) -> StoredEntry {
        let (length, etag) = (Some(17), Some("\"v1\"".to_owned()));
        StoredEntry { what, state, ttl, age: 3, length, etag, blocks: None }
    }

    #[test]
    fn an_inspection_is_described() {
        let bare =
            |what, state, ttl| StoredEntry { length: None, etag: None, ..kept(what, state, ttl) };
        let blocks =
            StoredBlocks { size: 10, count: 2, looked_for: 2, memory: 1, disk: 1, kept: 1 };
        let in_blocks = StoredEntry {
            blocks: Some(blocks),
            ..kept(StoredContent::Head, StoredState::Fresh, 9)
        };
        for (memory, disk, words) in [
            (None, None, "not cached"),
            (
                Some(kept(StoredContent::Object, StoredState::Fresh, 290)),
                None,
                "in memory: whole object, 17 bytes, ETag \"v1\", age 3 s, fresh for 290 s",
            ),
            (
                None,
                Some(in_blocks),
                "on disk: metadata, 17 bytes, ETag \"v1\", 1 of 2 blocks of 10 bytes: 1 in memory, 1 \
                 on disk, age 3 s, fresh for 9 s",
            ),
            (
                Some(bare(StoredContent::Negative, StoredState::Fresh, 60)),
                None,
                "in memory: negative entry (the object does not exist), age 3 s, fresh for 60 s",
            ),
            (
                Some(bare(StoredContent::Object, StoredState::StaleWhileRevalidate, -5)),
                None,
                "in memory: whole object, age 3 s, stale for 5 s, served while",
            ),
        ] {
            let inspection =
                Inspection { memory, disk, shared: None, fetch_under_way: false, member: None };
            let document = serde_json::to_string(&inspection).expect("JSON");
            let finding = read(admin(), "200", &document).finding();
            assert_eq!(finding.state, StepState::Ok);
            let (_, text) = finding.detail.split_once(": ").expect("the address");
            assert!(text.starts_with(words), "{text}");
        }
    }

    #[test]
    fn what_is_known_of_a_member_is_described() {
        let found = KnownMember::Found {
            offset: 40,
            length: 10,
            content_type: Some("image/png".to_owned()),
            content_encoding: None,
            etag: "\"m\"".to_owned(),
        };
        let refused =
            KnownMember::Refused { cause: "archive_damaged".into(), message: "why".into() };
        for (member, words) in [
            (found, "has 10 bytes from byte 40 of the archive on, image/png, ETag \"m\""),
            (KnownMember::Unread, "is not in memory"),
            (KnownMember::Missing, "has no such member"),
            (refused, "archive_damaged: why"),
        ] {
            let member = Some(member);
            let inspection = Inspection {
                memory: None,
                disk: None,
                shared: None,
                fetch_under_way: false,
                member,
            };
            let document = serde_json::to_string(&inspection).expect("JSON");
            let finding = read(admin(), "200", &document).finding();
            assert!(finding.detail.contains("not cached; "), "{}", finding.detail);
            assert!(finding.detail.ends_with(words), "{}", finding.detail);
        }
    }

    #[test]
    fn memory_comes_before_disk() {
        let [memory, disk] =
            [1, 2].map(|ttl| Some(kept(StoredContent::Object, StoredState::Fresh, ttl)));
        let inspection = Inspection {
            memory: memory.clone(),
            disk,
            shared: None,
            fetch_under_way: false,
            member: None,
        };
        let report = GatewayReport::Inspected { admin: admin(), inspection: Box::new(inspection) };
        assert_eq!(report.serving_entry(), memory.as_ref());
    }

    #[test]
    fn a_gateway_without_an_answer_is_no_failure() {
        for (status, document, words) in [
            ("404", r#"{"message":"unknown profile"}"#, "404 unknown profile"),
            ("409", r#"{"message":"the cache is disabled"}"#, "409 the cache is disabled"),
            ("200", "<html>", "not an answer of the admin"),
        ] {
            let finding = read(admin(), status, document).finding();
            assert_eq!(finding.state, StepState::Warning);
            assert!(finding.detail.contains(words), "{}", finding.detail);
            let fix = finding.fix.expect("a fix");
            assert!(fix.contains("configuration of the running gateway"), "{fix}");
        }
        let wants = r#"{"message":"requires a client certificate"}"#;
        let fix = read(admin(), "403", wants).finding().fix.expect("a fix");
        assert!(fix.contains("as the message says"), "{fix}");
        let unreachable = GatewayReport::Unreachable { admin: admin(), why: "refused".to_owned() };
        assert_eq!(unreachable.finding().state, StepState::Skipped);
        assert_eq!(unreachable.serving_entry(), None);
    }
}
