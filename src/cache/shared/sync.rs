//! Keeps a replica and the engine in step: purges of others are learned, its own are recorded.

use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use crate::cache::clock::{now, process_start};
use crate::cache::disk::record::micros;
use crate::cache::purge::pending::PurgeScope;
use crate::cache::shared::SharedTier;
use crate::cache::shared::purges::{MAX_PURGES, RecordedPurges};
use crate::cache::shared::value::EngineTime;
use crate::engine::error::EngineError;
use crate::engine::{Argument, StreamEntry, StreamId};

/// Purges that wait to be recorded, at most: more become one purge of everything.
const MAX_UNRECORDED: usize = 1000;
/// Purges that are read at once.
const BATCH: u32 = 1000;
/// More purges at once are obeyed as one of everything.
const MAX_AT_ONCE: usize = 200;
/// How far the clocks of machines are apart at most: purges from longer before the start of this process
/// cover nothing that it has fetched.
const SKEW: Duration = Duration::from_secs(600);

const OBJECT: &str = "object";
const PREFIX: &str = "prefix";

/// The purges of this replica that are not recorded yet.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    purges: Vec<(PurgeScope, Vec<u8>)>,
    /// The last one that was recorded.
    recorded: StreamId,
}

impl Unrecorded {
    fn add(&mut self, scope: PurgeScope, key: Vec<u8>) {
        let purge = (scope, key);
        if self.purges.contains(&purge) {
            return;
        }
        if self.purges.len() >= MAX_UNRECORDED {
            self.purges = vec![(PurgeScope::Prefix, Vec::new())];
        } else {
            self.purges.push(purge);
        }
    }
}

/// A purge that this replica has to obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cache) struct RemotePurge {
    pub(in crate::cache) id: StreamId,
    pub(in crate::cache) scope: PurgeScope,
    pub(in crate::cache) key: Vec<u8>,
}

/// What a look at the engine has shown.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cache) struct Polled {
    /// The purges of others since the last look.
    pub(in crate::cache) purges: Vec<RemotePurge>,
    /// The last purge, of this replica or another.
    pub(in crate::cache) last: StreamId,
    /// The engine has lost purges that this replica knew.
    pub(in crate::cache) has_lost: bool,
}

impl SharedTier {
    /// Notes a purge of this replica. From now on it uses nothing of the engine, until the purge is
    /// recorded there.
    pub(in crate::cache) fn record(&self, scope: PurgeScope, key: Vec<u8>) {
        let mut unrecorded = self.unrecorded();
        unrecorded.add(scope, key);
        self.is_synchronised.store(false, Ordering::Release);
        drop(unrecorded);
        self.wake.notify_one();
    }

    /// The last purge of this replica, if all of them are recorded.
    pub(super) fn recorded_up_to(&self) -> Option<StreamId> {
        let unrecorded = self.unrecorded();
        unrecorded.purges.is_empty().then_some(unrecorded.recorded)
    }

    /// Waits for a purge of this replica, or for this long.
    pub(in crate::cache) async fn rest(&self, pause: Duration) {
        let _woken = tokio::time::timeout(pause, self.wake.notified()).await;
    }

    /// Keeps the connections to the engine. Never returns.
    pub(in crate::cache) async fn keep_connected(&self) {
        self.engine.keep_connected().await;
    }

    /// Whether there is a connection to the engine.
    #[must_use]
    pub(in crate::cache) fn is_connected(&self) -> bool {
        self.engine.is_connected()
    }

    /// Why there is no connection, in the words of the engine or the system.
    #[must_use]
    pub(in crate::cache) fn last_failure(&self) -> Option<String> {
        self.engine.last_failure()
    }

    /// What the engine does when its memory is full; `None` if it does not say.
    pub(in crate::cache) async fn memory_policy(&self) -> Option<String> {
        self.engine.memory_policy(&self.purges_name).await
    }

    /// Looks at the engine: its clock, and the purges since the last look; in the first look those that
    /// may cover what this process has fetched, and all of them if it `has_older` answers. Purges of this
    /// replica are recorded before.
    ///
    /// # Errors
    /// The engine does not answer, or takes no purge.
    pub(in crate::cache) async fn poll(&self, has_older: bool) -> Result<Polled, EngineError> {
        self.record_all().await?;
        let sent = now();
        let server = self.engine.time(&self.purges_name).await?;
        let received = now();
        let server = UNIX_EPOCH + Duration::from_millis(server);
        let known = self.state().purges.last();
        let mut polled = Polled { purges: Vec::new(), last: known, has_lost: false };
        let mut entries = self.engine.entries(&self.purges_name, known, BATCH).await?;
        if known > StreamId::default() && entries.first().map(|entry| entry.id) != Some(known) {
            polled.has_lost = true;
            self.state_mut().purges = RecordedPurges::default();
            self.mark_lost(known).await?;
            entries = self.engine.entries(&self.purges_name, StreamId::default(), BATCH).await?;
        }
        let (is_first, first) = (known == StreamId::default(), entries.first().map(|it| it.id));
        let mut count = 0;
        loop {
            let is_full = entries.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
            let Some(last) = entries.last().map(|entry| entry.id) else { break };
            count += entries.len();
            self.learn(entries, &mut polled);
            if !is_full {
                break;
            }
            let next = StreamId(last.0, last.1.saturating_add(1));
            entries = self.engine.entries(&self.purges_name, next, BATCH).await?;
        }
        if (is_first || polled.has_lost)
            && count >= MAX_PURGES
            && let Some(first) = first
        {
            // The engine has forgotten those from before.
            self.state_mut().purges.distrust_before(first);
        }
        let clock = EngineTime { server, sent, received };
        self.state_mut().clock = Some(clock);
        if is_first && !has_older {
            let start = clock.of_local(process_start()).checked_sub(SKEW).unwrap_or(UNIX_EPOCH);
            let start = micros(start) / 1000;
            polled.purges.retain(|purge| purge.id.0 >= start);
        }
        if polled.purges.len() > MAX_AT_ONCE || polled.has_lost {
            let all = RemotePurge { id: polled.last, scope: PurgeScope::Prefix, key: Vec::new() };
            polled.purges = vec![all];
        }
        Ok(polled)
    }

    /// Notes whether the engine answered. Returns whether it is left alone no longer.
    pub(in crate::cache) fn polled(&self, result: Result<(), EngineError>) -> bool {
        self.engine.probed(result);
        let unrecorded = self.unrecorded();
        let is_synchronised = result.is_ok() && unrecorded.purges.is_empty();
        self.is_synchronised.store(is_synchronised, Ordering::Release);
        drop(unrecorded);
        self.engine.is_in_use()
    }

    fn learn(&self, entries: Vec<StreamEntry>, polled: &mut Polled) {
        let now = now();
        let mut state = self.state_mut();
        for StreamEntry { id, fields } in entries {
            if id <= state.purges.last() {
                continue;
            }
            let (scope, key, by) = parts(&fields);
            state.purges.learn(id, scope, key.clone(), now);
            polled.last = id;
            if by != self.id.as_bytes() {
                polled.purges.push(RemotePurge { id, scope, key });
            }
        }
    }

    /// Records the purges of this replica, in their order.
    async fn record_all(&self) -> Result<(), EngineError> {
        loop {
            let Some((scope, key)) = self.unrecorded().purges.first().cloned() else {
                return Ok(());
            };
            let id = self.append(None, scope, &key).await?;
            let mut unrecorded = self.unrecorded();
            unrecorded.recorded = unrecorded.recorded.max(id);
            // It may have become a purge of everything meanwhile.
            if unrecorded.purges.first() == Some(&(scope, key)) {
                unrecorded.purges.remove(0);
            }
        }
    }

    /// Purges everything, after the engine has lost purges: also values that name a later purge than it
    /// has now.
    async fn mark_lost(&self, known: StreamId) -> Result<(), EngineError> {
        let next = StreamId(known.0, known.1.saturating_add(1));
        // It is refused if the engine has later purges already.
        let _refused = self.append(Some(next), PurgeScope::Prefix, &[]).await;
        self.append(None, PurgeScope::Prefix, &[]).await.map(|_| ())
    }

    async fn append(
        &self,
        id: Option<StreamId>,
        scope: PurgeScope,
        key: &[u8],
    ) -> Result<StreamId, EngineError> {
        let scope = match scope {
            PurgeScope::Object => OBJECT,
            PurgeScope::Prefix => PREFIX,
        };
        let fields: Vec<Argument> = vec![
            "scope".into(),
            scope.into(),
            "key".into(),
            Argument::Bytes(Bytes::copy_from_slice(key)),
            "by".into(),
            self.id.as_str().into(),
        ];
        let most = u32::try_from(MAX_PURGES).unwrap_or(u32::MAX);
        self.engine.append(&self.purges_name, most, id, fields).await
    }
}

/// Scope, key and author of a purge. What cannot be read is a purge of everything.
fn parts(fields: &[Bytes]) -> (PurgeScope, Vec<u8>, &[u8]) {
    let value = |name: &str| {
        let mut pairs = fields.chunks_exact(2);
        let pair = pairs.find(|pair| pair.first().is_some_and(|it| it == name.as_bytes()))?;
        pair.get(1)
    };
    let by = value("by").map_or(&b""[..], |by| by);
    match (value("scope"), value("key")) {
        (Some(scope), Some(key)) if scope == OBJECT.as_bytes() => {
            (PurgeScope::Object, key.to_vec(), by)
        }
        (Some(scope), Some(key)) if scope == PREFIX.as_bytes() => {
            (PurgeScope::Prefix, key.to_vec(), by)
        }
        _ => (PurgeScope::Prefix, Vec::new(), b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    #[test]
    fn a_record_that_cannot_be_read_purges_everything() {
        let all = (PurgeScope::Prefix, Vec::new(), &b""[..]);
        for (texts, expected) in [
            (
                &["scope", "object", "key", "a", "by", "x"][..],
                (PurgeScope::Object, b"a".to_vec(), &b"x"[..]),
            ),
            (&["key", "a/", "scope", "prefix"], (PurgeScope::Prefix, b"a/".to_vec(), b"")),
            (&["scope", "other", "key", "a", "by", "x"], all.clone()),
            (&["scope", "object"], all.clone()),
            (&["scope"], all.clone()),
            (&[], all.clone()),
        ] {
            assert_eq!(parts(&fields(texts)), expected, "{texts:?}");
        }
    }

    #[test]
    fn too_many_purges_become_one_of_everything() {
        let mut unrecorded = Unrecorded::default();
        for nth in 0..MAX_UNRECORDED {
            unrecorded.add(PurgeScope::Object, nth.to_le_bytes().to_vec());
            unrecorded.add(PurgeScope::Object, nth.to_le_bytes().to_vec());
        }
        assert_eq!(unrecorded.purges.len(), MAX_UNRECORDED, "each is listed once");
        unrecorded.add(PurgeScope::Object, b"one more".to_vec());
        assert_eq!(unrecorded.purges, [(PurgeScope::Prefix, Vec::new())]);
    }
}
