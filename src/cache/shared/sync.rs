//! Keeps a replica and the engine in step: purges of others are learned, its own are recorded.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use crate::cache::clock::{now, process_start};
use crate::cache::disk::record::micros;
use crate::cache::purge::pending::PurgeScope;
use crate::cache::shared::purges::{MAX_PURGES, RecordedPurges};
use crate::cache::shared::value::EngineTime;
use crate::cache::shared::waits::PURGED;
use crate::cache::shared::{SharedTier, script};
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
    purges: VecDeque<OwnPurge>,
    /// The one that is being recorded. Another one of the same is not covered by it: replicas may have
    /// obeyed it already.
    recording: Option<OwnPurge>,
    /// The last one that was recorded.
    recorded: StreamId,
}

type OwnPurge = (PurgeScope, Vec<u8>);

impl Unrecorded {
    fn add(&mut self, scope: PurgeScope, key: Vec<u8>) {
        let purge = (scope, key);
        if self.purges.contains(&purge) {
            return;
        }
        if self.purges.len() >= MAX_UNRECORDED {
            self.purges = VecDeque::from([(PurgeScope::Prefix, Vec::new())]);
        } else {
            self.purges.push_back(purge);
        }
    }

    /// The next one to record.
    fn next(&mut self) -> Option<OwnPurge> {
        self.recording = self.recording.take().or_else(|| self.purges.pop_front());
        self.recording.clone()
    }

    /// The purge that [`Unrecorded::next`] returned is recorded.
    fn recorded(&mut self, id: StreamId) {
        self.recording = None;
        self.recorded = self.recorded.max(id);
    }

    fn is_empty(&self) -> bool {
        self.purges.is_empty() && self.recording.is_none()
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

    /// The last purge of this replica, if all of them are recorded, as far as is known.
    pub(super) fn recorded_up_to(&self) -> Option<StreamId> {
        let is_lost = self.state().lost.is_some();
        let unrecorded = self.unrecorded();
        (unrecorded.is_empty() && !is_lost).then_some(unrecorded.recorded)
    }

    /// Waits for a purge of this replica, or for this long.
    pub(in crate::cache) async fn rest(&self, pause: Duration) {
        let _woken = tokio::time::timeout(pause, self.wake.notified()).await;
    }

    /// Keeps the connection for what requests wait for, in the threads of the caller. Never returns.
    pub(in crate::cache) async fn keep_reading(&self) {
        self.engine.keep_reading().await;
    }

    /// Keeps the connection for values that are written. Never returns.
    pub(in crate::cache) async fn keep_writing(&self) {
        self.engine.keep_writing().await;
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
        let mut entries = self.engine.entries(&self.purges_name, known, BATCH).await?;
        if known > StreamId::default() && entries.first().map(|entry| entry.id) != Some(known) {
            self.lose(known);
        }
        let lost = self.state().lost;
        if let Some(last) = lost {
            self.mark_lost(last).await?;
            entries = self.engine.entries(&self.purges_name, StreamId::default(), BATCH).await?;
        }
        let mut batch = entries.len();
        while batch >= usize::try_from(BATCH).unwrap_or(usize::MAX)
            && let Some(last) = entries.last()
        {
            let next = StreamId(last.id.0, last.id.1.saturating_add(1));
            let more = self.engine.entries(&self.purges_name, next, BATCH).await?;
            batch = more.len();
            entries.extend(more);
        }
        // From here on nothing is awaited: what this replica has learned, it obeys.
        let has_lost = self.state_mut().lost.take().is_some();
        let mut polled = Polled { purges: Vec::new(), last: self.state().purges.last(), has_lost };
        let is_first = polled.last == StreamId::default();
        let (first, count) = (entries.first().map(|entry| entry.id), entries.len());
        self.learn(entries, &mut polled);
        if is_first
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
        let is_synchronised = result.is_ok() && unrecorded.is_empty();
        self.is_synchronised.store(is_synchronised, Ordering::Release);
        drop(unrecorded);
        if result.is_ok() {
            self.has_learned.store(true, Ordering::Release);
        }
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
            let Some((scope, key)) = self.unrecorded().next() else { return Ok(()) };
            let id = self.append(None, scope, &key).await?;
            let known = self.state().purges.last();
            if id <= known {
                // Replicas that obey what is lost seem to obey this.
                self.lose(known);
            }
            self.unrecorded().recorded(id);
            // Who does not hear it looks a moment later.
            let arguments = vec![self.channel.as_str().into(), PURGED.into()];
            let _may_be_forbidden =
                self.engine.run_aside(script::PUBLISH, &[&self.purges_name], arguments).await;
        }
    }

    /// Notes that the engine has lost purges, up to this one. Its values are not used until all of them
    /// are purged.
    fn lose(&self, known: StreamId) {
        self.is_synchronised.store(false, Ordering::Release);
        let mut state = self.state_mut();
        state.lost = Some(known);
        state.purges = RecordedPurges::default();
    }

    /// Purges everything, after the engine has lost purges: also values that name a later purge than it
    /// has now.
    async fn mark_lost(&self, known: StreamId) -> Result<(), EngineError> {
        let next = StreamId(known.0, known.1.saturating_add(1));
        // It is refused if the engine has later purges already.
        let _refused = self.append(Some(next), PurgeScope::Prefix, &[]).await;
        let id = self.append(None, PurgeScope::Prefix, &[]).await?;
        // It stands for those that are lost.
        let mut unrecorded = self.unrecorded();
        unrecorded.recorded = unrecorded.recorded.max(id);
        Ok(())
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

    /// The second one was taken for the first, which other replicas had obeyed already.
    #[test]
    fn a_purge_that_comes_while_the_same_is_recorded_is_recorded_as_well() {
        for (scope, key) in [(PurgeScope::Object, b"a".to_vec()), (PurgeScope::Prefix, Vec::new())]
        {
            let mut unrecorded = Unrecorded::default();
            unrecorded.add(scope, key.clone());
            let first = unrecorded.next();
            assert_eq!(first, unrecorded.next(), "the same again, after a failure");
            unrecorded.add(scope, key.clone());
            unrecorded.recorded(StreamId(1, 0));
            assert!(!unrecorded.is_empty());
            assert_eq!(unrecorded.next(), Some((scope, key)));
            unrecorded.recorded(StreamId(2, 0));
            assert!(unrecorded.is_empty() && unrecorded.recorded == StreamId(2, 0));
        }
    }
}
