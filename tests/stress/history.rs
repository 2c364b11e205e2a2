//! All versions of one object, each with the time during which it was current.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

/// One version of an object.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) body: Bytes,
    /// Quotes included.
    pub(crate) etag: String,
    pub(crate) modified: SystemTime,
}

/// The number of last versions that clients know.
const KNOWN: usize = 5;

/// The changes and purges of an object.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The first ones are forgotten, see [`History::forget`].
    changes: Vec<Change>,
    purges: Vec<Purge>,
    forgotten: u64,
}

/// A change of an object, to another version or to a missing object.
#[derive(Debug, Clone)]
struct Change {
    /// The store had it at some moment between these.
    began: Instant,
    done: Instant,
    to: Option<Arc<Version>>,
}

#[derive(Debug, Clone, Copy)]
struct Purge {
    sent: Instant,
    answered: Instant,
}

impl History {
    /// How often it has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.forgotten + self.changes.len() as u64
    }

    /// Every version there was.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.changes.iter().filter_map(|change| change.to.as_ref())
    }

    /// Forgets versions and purges that no answer after this time may show or depend on. Clients go on
    /// knowing the last versions.
    pub(crate) fn forget(&mut self, before: Instant) {
        let old = self.changes.windows(2).take_while(|two| two[1].done < before).count();
        let forgotten = old.min(self.changes.len().saturating_sub(KNOWN));
        self.changes.drain(..forgotten);
        self.forgotten += forgotten as u64;
        self.purges.retain(|purge| purge.answered >= before);
    }

    /// Records a change that is complete now.
    pub(crate) fn changed(&mut self, began: Instant, to: Option<Arc<Version>>) {
        self.changes.push(Change { began, done: Instant::now(), to });
    }

    /// Records a purge.
    pub(crate) fn purged(&mut self, sent: Instant, answered: Instant) {
        self.purges.push(Purge { sent, answered });
    }

    /// The newest version, and one of any age: the versions that clients know.
    pub(crate) fn known(&self, random: &mut fastrand::Rng) -> Option<(Arc<Version>, Arc<Version>)> {
        let changes = self.changes.iter().rev();
        let versions = changes.filter_map(|change| change.to.as_ref());
        let recent: Vec<_> = versions.take(KNOWN).cloned().collect();
        let newest = recent.first()?;
        Some((Arc::clone(newest), Arc::clone(&recent[random.usize(..recent.len())])))
    }

    /// The versions the store had at some moment from `oldest` before `sent` until `received`, but
    /// not before the last purge that was answered when the request was sent; and all of that `lag` earlier,
    /// for a copy that follows the store. `None` stands for a missing object.
    pub(crate) fn possible(
        &self,
        oldest: Duration,
        lag: Duration,
        sent: Instant,
        received: Instant,
    ) -> Vec<Option<Arc<Version>>> {
        let purged = self.purges.iter().filter(|purge| purge.answered <= sent);
        let purged = purged.map(|purge| purge.sent).max();
        let from = sent.checked_sub(oldest).unwrap_or(sent);
        let from = purged.map_or(from, |purged| purged.max(from));
        let from = from.checked_sub(lag).unwrap_or(from);
        let mut possible = Vec::new();
        for (nth, change) in self.changes.iter().enumerate() {
            let replaced = self.changes.get(nth + 1).map(|next| next.done);
            if change.began <= received && replaced.is_none_or(|replaced| replaced >= from) {
                possible.push(change.to.clone());
            }
        }
        possible
    }
}
