//! The replicas that share the engine. Each says there, once a second, up to which purge it obeys.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cache::shared::SharedTier;
use crate::engine::StreamId;
use crate::engine::error::EngineError;

/// A replica that was silent for this long is not waited for, milliseconds.
const SILENT: u64 = 10_000;
/// A replica that was silent for this long is gone, milliseconds: without a good-bye, its machine failed.
const GONE: u64 = 600_000;
/// How long a purge waits for the replicas, and how often it looks.
const WAIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);

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

/// What a replica has said: up to which purge it obeys, and when, by the engine's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: String,
    obeys: StreamId,
    /// Milliseconds since the Unix epoch.
    said_at: u64,
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

fn member(id: &str, said: &str) -> Option<Member> {
    let (obeys, said_at) = said.split_once(' ')?;
    let (obeys, said_at) = (StreamId::parse(obeys)?, said_at.parse().ok()?);
    Some(Member { name: name_of(id), obeys, said_at })
}

/// Sorts the replicas by whether they obey this purge. `true` if one of the others may still say so.
fn judge(members: &[Member], purge: StreamId, now: u64) -> (ReplicaReport, bool) {
    let mut report = ReplicaReport { recorded: true, ..ReplicaReport::default() };
    let mut is_waiting = false;
    for member in members {
        let silent = now.saturating_sub(member.said_at);
        if member.obeys >= purge {
            report.obeyed.push(member.name.clone());
        } else if silent < GONE {
            is_waiting |= silent < SILENT;
            report.missing.push(member.name.clone());
        }
    }
    (report, is_waiting)
}

impl SharedTier {
    /// Says that this replica obeys all purges up to this one.
    ///
    /// # Errors
    /// The engine does not take it.
    pub(in crate::cache) async fn say(&self, obeys: StreamId) -> Result<(), EngineError> {
        let now = self.engine.time(&self.purges_name).await?;
        self.engine.set_field(&self.replicas_name, &self.id, format!("{obeys} {now}")).await
    }

    /// Says good-bye: no purge waits for this replica any more.
    pub(in crate::cache) async fn leave(&self) {
        self.is_synchronised.store(false, Ordering::Release);
        let _may_be_down = self.engine.remove_field(&self.replicas_name, &self.id).await;
        self.engine.close().await;
    }

    /// Waits until the purges of this replica are recorded and obeyed, for some seconds.
    pub(in crate::cache) async fn obeyed(&self) -> ReplicaReport {
        let started = tokio::time::Instant::now();
        let mut last = ReplicaReport::default();
        loop {
            let purge = self.recorded_up_to();
            if let Some(purge) = purge {
                last.recorded = true;
                if let Some((report, is_waiting)) = self.ask_members(purge).await {
                    last = report;
                    if !is_waiting {
                        return last;
                    }
                }
            }
            if started.elapsed() >= WAIT {
                return last;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask_members(&self, purge: StreamId) -> Option<(ReplicaReport, bool)> {
        let now = self.engine.time(&self.purges_name).await.ok()?;
        let fields = self.engine.fields(&self.replicas_name).await.ok()?;
        let said = fields.iter().filter_map(|(id, said)| member(id, said));
        Some(judge(&said.collect::<Vec<_>>(), purge, now))
    }

    /// Removes replicas that are gone.
    pub(in crate::cache) async fn forget_gone(&self) -> Result<(), EngineError> {
        let now = self.engine.time(&self.purges_name).await?;
        for (id, said) in self.engine.fields(&self.replicas_name).await? {
            let is_gone =
                member(&id, &said).is_none_or(|it| now.saturating_sub(it.said_at) >= GONE);
            if is_gone {
                self.engine.remove_field(&self.replicas_name, &id).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_waits_for_live_replicas_and_names_silent_ones() {
        let purge = StreamId(7, 1);
        let now = 1_000_000;
        let all = [
            ("a/1/x", "7-1 999000"),
            ("b/1/x", "8-0 1000"),
            ("c/1/x", "7-0 999900"),
            ("d/1/x", "7-0 900000"),
            ("e/1/x", "7-0 1"),
            ("f/1/x", "damaged"),
        ];
        let members: Vec<Member> = all.iter().filter_map(|(id, said)| member(id, said)).collect();
        let (report, is_waiting) = judge(&members, purge, now);
        assert_eq!(report.obeyed, ["a/1", "b/1"]);
        assert_eq!(report.missing, ["c/1", "d/1"]);
        assert!(is_waiting, "c may still say so");
        let silent: Vec<Member> = members.into_iter().filter(|it| it.name != "c/1").collect();
        assert!(!judge(&silent, purge, now).1);
    }

    #[test]
    fn the_identity_of_a_process_is_its_own() {
        let (one, other) = (id(), id());
        assert_ne!(one, other);
        assert_eq!(name_of(&one), name_of(&other));
        assert!(name_of(&one).ends_with(&format!("/{}", std::process::id())));
    }
}
