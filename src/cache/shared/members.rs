//! The replicas that share the engine. Each says there, once a second, up to which purge it obeys.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::cache::shared::{SharedTier, script};
use crate::engine::error::EngineError;
use crate::engine::{Engine, StreamId};

/// A replica that was silent for this long is not waited for.
const SILENT: Duration = Duration::from_secs(10);
/// A replica that was silent for this long is gone: without a good-bye, its machine failed.
const GONE: Duration = Duration::from_secs(600);
/// A list that is younger than this may lack replicas: the engine is new, or has lost its data, and they
/// have not said again that they are there. Milliseconds.
const YOUNG: u64 = 2_000;
/// How long a purge waits for the replicas, and how often it looks.
const WAIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);

/// The field of the list that has the time of its beginning: no replica has this name.
const SINCE: &str = "@since";
/// What a replica says last.
const GOOD_BYE: &str = "left";

/// Which replicas obey the purges of this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReplicaReport {
    /// Whether the purges are recorded in the engine: replicas that start later obey them, too.
    pub recorded: bool,
    /// The replicas that obey.
    pub obeyed: Vec<String>,
    /// Those that did not say so in time.
    pub missing: Vec<String>,
}

/// The replicas as this one knows them. An engine that loses its data loses its list, so a replica that is
/// not in the list is not gone: it has said good-bye, or was silent for long.
#[derive(Debug, Default)]
pub(super) struct Roster {
    heard: HashMap<String, Heard>,
    /// Whether the list may lack replicas.
    is_young: bool,
}

/// What a replica has said.
#[derive(Debug)]
struct Heard {
    /// As it stands in the list.
    text: String,
    /// Up to which purge it obeys; `None`: it is not in the list.
    obeys: Option<StreamId>,
    /// By the clock of this process: the engine's may be set, or become that of another machine.
    at: Instant,
}

/// The identity of this process among the replicas: host, process, and a number that no other has.
pub(super) fn id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "unknown" } else { host };
    format!("{host}/{}/{:x}", std::process::id(), fastrand::u64(..))
}

/// The name that operators see: host and process.
fn name_of(id: &str) -> String {
    id.rsplit_once('/').map_or(id, |(name, _)| name).to_owned()
}

impl Roster {
    /// Notes what the list in the engine says, which it did at `engine_now` by its clock, milliseconds.
    fn read(&mut self, list: &[(String, String)], engine_now: u64, now: Instant) {
        let since = list.iter().find(|(id, _)| id == SINCE);
        let since = since.and_then(|(_, since)| since.parse::<u64>().ok());
        self.is_young = since.is_none_or(|since| engine_now.saturating_sub(since) < YOUNG);
        for heard in self.heard.values_mut() {
            heard.obeys = None;
        }
        for (id, text) in list {
            let Some((what, said_at)) = said(text) else { continue };
            if what == GOOD_BYE {
                self.heard.remove(id);
                continue;
            }
            let obeys = StreamId::parse(what);
            match self.heard.get_mut(id) {
                Some(heard) if heard.text == *text => heard.obeys = obeys,
                Some(heard) => *heard = Heard { text: text.clone(), obeys, at: now },
                None => {
                    let silent = Duration::from_millis(engine_now.saturating_sub(said_at));
                    let at = now.checked_sub(silent).unwrap_or(now);
                    self.heard.insert(id.clone(), Heard { text: text.clone(), obeys, at });
                }
            }
        }
        self.heard.retain(|_, heard| now.duration_since(heard.at) < GONE);
    }

    /// Sorts the replicas by whether they obey this purge. `true` if others may still say so.
    fn judge(&self, purge: StreamId, now: Instant) -> (ReplicaReport, bool) {
        let mut report = ReplicaReport { recorded: true, ..ReplicaReport::default() };
        let mut is_waiting = self.is_young;
        for (id, heard) in &self.heard {
            if heard.obeys.is_some_and(|obeys| obeys >= purge) {
                report.obeyed.push(name_of(id));
            } else {
                is_waiting |= now.duration_since(heard.at) < SILENT;
                report.missing.push(name_of(id));
            }
        }
        report.obeyed.sort_unstable();
        report.missing.sort_unstable();
        (report, is_waiting)
    }
}

/// The two words of what a replica has said: what, and when by the engine's clock, milliseconds.
fn said(text: &str) -> Option<(&str, u64)> {
    let (what, at) = text.split_once(' ')?;
    Some((what, at.parse().ok()?))
}

/// Writes into a list of replicas what this one says, and says so in this channel.
pub(super) async fn greet(
    engine: &Engine,
    list: &str,
    channel: &str,
    id: &str,
    what: &str,
) -> Result<(), EngineError> {
    let arguments = vec![id.into(), what.into(), SINCE.into(), channel.into()];
    engine.run_aside(script::SAY, &[list], arguments).await?;
    Ok(())
}

/// The names of the replicas in a list that have not said good-bye.
pub(super) fn present(list: &[(String, String)]) -> Vec<String> {
    let is_there = |text: &str| said(text).is_some_and(|(what, _)| what != GOOD_BYE);
    let there = list.iter().filter(|(_, text)| is_there(text));
    let mut names: Vec<String> = there.map(|(id, _)| name_of(id)).collect();
    names.sort_unstable();
    names
}

impl SharedTier {
    /// Says that this replica obeys all purges up to this one.
    ///
    /// # Errors
    /// The engine does not take it.
    pub(in crate::cache) async fn say(&self, obeys: StreamId) -> Result<(), EngineError> {
        self.tell_others(&obeys.to_string()).await
    }

    async fn tell_others(&self, what: &str) -> Result<(), EngineError> {
        greet(&self.engine, &self.replicas_name, &self.own_channel, &self.id, what).await
    }

    /// Says good-bye: no purge waits for this replica any more.
    pub(in crate::cache) async fn leave(&self) {
        self.is_synchronised.store(false, Ordering::Release);
        let _may_be_down = self.tell_others(GOOD_BYE).await;
        self.engine.close().await;
    }

    /// Waits until the purges of this replica are recorded and obeyed, for some seconds.
    pub(in crate::cache) async fn obeyed(&self) -> ReplicaReport {
        let started = tokio::time::Instant::now();
        let mut last = ReplicaReport::default();
        loop {
            if let Some(purge) = self.recorded_up_to()
                && let Some((report, is_waiting)) = self.ask_members(purge).await
            {
                last = report;
                if !is_waiting {
                    return last;
                }
            }
            if started.elapsed() >= WAIT {
                return self.unanswered(last);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What to say of a purge that the replicas have not obeyed in time: if the engine answers no more, they
    /// may all be missing.
    fn unanswered(&self, last: ReplicaReport) -> ReplicaReport {
        match self.recorded_up_to() {
            Some(purge) if last == ReplicaReport::default() => {
                let (report, _) = self.roster().judge(purge, Instant::now());
                let is_anybody = !report.obeyed.is_empty() || !report.missing.is_empty();
                ReplicaReport { recorded: is_anybody, ..report }
            }
            _ => last,
        }
    }

    /// Reads the list of replicas: a replica that knows it can name those that are missing when the engine has
    /// lost it.
    ///
    /// # Errors
    /// The engine does not answer.
    pub(in crate::cache) async fn meet(&self) -> Result<(), EngineError> {
        let engine_now = self.engine.time(&self.purges_name).await?;
        let list = self.engine.fields(&self.replicas_name).await?;
        self.roster().read(&list, engine_now, Instant::now());
        Ok(())
    }

    async fn ask_members(&self, purge: StreamId) -> Option<(ReplicaReport, bool)> {
        self.meet().await.ok()?;
        let (report, is_waiting) = self.roster().judge(purge, Instant::now());
        // The engine may have lost it since: a replica that starts then would not obey.
        let entries = self.engine.entries(&self.purges_name, purge, 1).await.ok()?;
        let recorded = entries.first().is_some_and(|entry| entry.id == purge);
        Some((ReplicaReport { recorded, ..report }, is_waiting || !recorded))
    }

    /// Removes replicas that are gone from the list.
    pub(in crate::cache) async fn forget_gone(&self) -> Result<(), EngineError> {
        let now = self.engine.time(&self.purges_name).await?;
        for (id, text) in self.engine.fields(&self.replicas_name).await? {
            let silent = |at: u64| Duration::from_millis(now.saturating_sub(at));
            let is_gone = said(&text).is_none_or(|(_, at)| silent(at) >= GONE);
            if is_gone && id != SINCE {
                self.engine.remove_field(&self.replicas_name, &id).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect()
    }

    const PURGE: StreamId = StreamId(7, 1);
    const NOW: u64 = 1_000_000;

    #[test]
    fn a_purge_waits_for_live_replicas_and_names_silent_ones() {
        let now = Instant::now();
        let mut roster = Roster::default();
        let fields = [
            (SINCE, "1"),
            ("a/1/x", "7-1 999000"),
            ("b/1/x", "8-0 500000"),
            ("c/1/x", "7-0 999900"),
            ("d/1/x", "7-0 900000"),
            ("e/1/x", "7-0 1"),
            ("f/1/x", "damaged"),
            ("g/1/x", "left 999999"),
        ];
        roster.read(&list(&fields), NOW, now);
        let (report, is_waiting) = roster.judge(PURGE, now);
        assert_eq!(report.obeyed, ["a/1", "b/1"]);
        assert_eq!(report.missing, ["c/1", "d/1"]);
        assert!(is_waiting, "c may still say so");
        let later = now + SILENT;
        assert!(!roster.judge(PURGE, later).1, "all are silent");
    }

    /// A purge that came while the list was empty was said to be obeyed by all.
    #[test]
    fn a_replica_is_waited_for_although_the_engine_has_lost_the_list() {
        let now = Instant::now();
        let mut roster = Roster::default();
        let (one, other) = (("a/1/x", "7-0 999900"), ("b/1/x", "7-0 999900"));
        roster.read(&list(&[(SINCE, "1"), one, other]), NOW, now);
        // Lost; one has said again that it is there.
        let again = ("a/1/x", "7-1 999950");
        for (fields, is_young) in
            [(&[][..], true), (&[(SINCE, "999950"), again], true), (&[(SINCE, "1"), again], false)]
        {
            roster.read(&list(fields), NOW, now);
            assert_eq!(roster.is_young, is_young, "{fields:?}");
            let (report, is_waiting) = roster.judge(PURGE, now);
            assert!(is_waiting && report.missing.contains(&"b/1".to_owned()), "{report:?}");
        }
        roster.read(&list(&[(SINCE, "1"), again, ("b/1/x", "left 999990")]), NOW, now);
        let (report, is_waiting) = roster.judge(PURGE, now);
        assert!(report.missing.is_empty() && !is_waiting, "it has said good-bye: {report:?}");
    }

    #[test]
    fn how_long_a_replica_is_silent_is_not_a_matter_of_the_engines_clock() {
        let now = Instant::now();
        let mut roster = Roster::default();
        roster.read(&list(&[(SINCE, "1"), ("a/1/x", "7-0 999900")]), NOW, now);
        // Its clock was set to a day later.
        let later = NOW + 86_400_000;
        roster.read(&list(&[(SINCE, "1"), ("a/1/x", "7-0 999900")]), later, now);
        let (report, is_waiting) = roster.judge(PURGE, now);
        assert!(is_waiting && report.missing == ["a/1"], "{report:?}");
        roster.read(&[], later, now + GONE);
        assert_eq!(roster.judge(PURGE, now + GONE).0.missing.len(), 0, "it is gone");
    }

    #[test]
    fn the_identity_of_a_process_is_its_own() {
        let (one, other) = (id(), id());
        assert_ne!(one, other);
        assert_eq!(name_of(&one), name_of(&other));
        assert!(name_of(&one).ends_with(&format!("/{}", std::process::id())));
    }
}
