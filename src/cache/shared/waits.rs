//! Waiting for the end of another replica's lease. The engine publishes the end of a lease that somebody waits for
//! ([`super::script`]), in one channel for all replicas; a message wakes who waits, who then looks.
//!
//! No message is relied upon. Who waits is listed here before it asks for the lease, so that no message comes too
//! early; it looks by itself when the lease ends, and every [`SLOW`]. Whether messages come is known from those that
//! each replica sends to itself, once a second. While they do not come, who waits looks as often as it did
//! before there were any.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use crate::cache::key::CacheKey;
use crate::cache::shared::SharedTier;
use crate::cache::shared::queue::lease_name;
use crate::engine::ChannelEvent;

/// Between two looks while messages come.
const SLOW: Duration = Duration::from_millis(250);
/// Between two looks while no messages come: the first pause, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LAST_PAUSE: Duration = Duration::from_millis(40);
/// Messages come if the last one of this replica to itself is not older than this.
const SILENCE: Duration = Duration::from_secs(3);

/// What is said in the channel of all replicas, besides the names of leases that have ended.
pub(super) const PURGED: &str = "purged";

/// Who waits in this replica, by the names of leases.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waiting: Mutex<HashMap<String, watch::Sender<()>>>,
    /// When this replica last heard itself.
    heard: Mutex<Option<Instant>>,
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, lease: &str) -> watch::Receiver<()> {
        self.lock().entry(lease.to_owned()).or_default().subscribe()
    }

    /// One who waited for this lease waits no more.
    fn end(&self, lease: &str) {
        let mut waiting = self.lock();
        if waiting.get(lease).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(lease);
        }
    }

    /// Wakes who waits for this lease; without a name, everybody.
    fn wake(&self, lease: Option<&str>) {
        let waiting = self.lock();
        match lease {
            Some(lease) => {
                if let Some(sender) = waiting.get(lease) {
                    sender.send_replace(());
                }
            }
            None => waiting.values().for_each(|sender| {
                sender.send_replace(());
            }),
        }
    }

    fn heard_itself(&self, now: Instant) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether messages come.
    fn is_live(&self, now: Instant) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|at| now.saturating_duration_since(at) < SILENCE)
    }
}

/// Waits for the end of one lease.
#[derive(Debug)]
pub(in crate::cache) struct LeaseWait {
    tier: Arc<SharedTier>,
    lease: String,
    /// `None` once it has ended.
    ended: Option<watch::Receiver<()>>,
    /// The next pause while no messages come.
    pause: Duration,
}

impl LeaseWait {
    /// Returns when it is worth to look again: the lease has ended, or may have. `left` is how long it may still
    /// last.
    pub(in crate::cache) async fn until_due(&mut self, left: Duration) {
        let pause = if self.tier.waits.is_live(Instant::now()) {
            SLOW
        } else {
            let pause = self.pause;
            self.pause = (pause * 2).min(LAST_PAUSE);
            pause
        };
        // The engine's clock counts whole milliseconds.
        let pause = pause.min(left + Duration::from_millis(1));
        if let Some(ended) = &mut self.ended {
            let _message_or_pause = timeout(pause, ended.changed()).await;
        }
    }
}

impl Drop for LeaseWait {
    fn drop(&mut self) {
        self.ended = None;
        self.tier.waits.end(&self.lease);
    }
}

impl SharedTier {
    /// From now on no message about the lease of this object is missed, as long as messages come.
    pub(in crate::cache) fn wait(self: &Arc<Self>, key: &CacheKey, settings: u64) -> LeaseWait {
        let lease = lease_name(&self.name(key, settings));
        let ended = self.waits.begin(&lease);
        LeaseWait { tier: Arc::clone(self), lease, ended: Some(ended), pause: FIRST_PAUSE }
    }

    /// Whether messages of other replicas come.
    #[must_use]
    pub(in crate::cache) fn hears(&self) -> bool {
        self.waits.is_live(Instant::now())
    }

    /// Hears messages. Never returns.
    pub(in crate::cache) async fn listen(&self) {
        let channels = [self.channel.as_str(), self.own_channel.as_str()];
        let hear = |heard| match heard {
            ChannelEvent::Message { channel, .. } if channel == self.own_channel => {
                self.waits.heard_itself(Instant::now());
            }
            ChannelEvent::Message { text, .. } if text == PURGED => self.wake.notify_one(),
            ChannelEvent::Message { text, .. } => {
                if let Ok(lease) = std::str::from_utf8(&text) {
                    self.waits.wake(Some(lease));
                }
            }
            ChannelEvent::Gap => {
                self.waits.wake(None);
                self.wake.notify_one();
            }
        };
        self.engine.listen(&channels, hear).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_wakes_all_who_wait_for_its_lease_and_nobody_else() {
        let waits = Waits::default();
        let (one, same, other) = (waits.begin("a"), waits.begin("a"), waits.begin("b"));
        let woken = |it: &watch::Receiver<()>| it.has_changed().expect("a sender");
        waits.wake(Some("a"));
        assert!(woken(&one) && woken(&same) && !woken(&other), "also before they wait");
        waits.wake(Some("nobody"));
        assert!(!woken(&other));
        waits.wake(None);
        assert!(woken(&other));
    }

    #[test]
    fn nothing_is_kept_of_a_wait_that_has_ended() {
        let waits = Waits::default();
        let (one, same) = (waits.begin("a"), waits.begin("a"));
        drop(one);
        waits.end("a");
        assert_eq!(waits.lock().len(), 1, "another one waits");
        drop(same);
        waits.end("a");
        assert_eq!(waits.lock().len(), 0);
        waits.end("a");
    }

    #[test]
    fn messages_come_as_long_as_a_replica_hears_itself() {
        let (waits, now) = (Waits::default(), Instant::now());
        assert!(!waits.is_live(now));
        waits.heard_itself(now);
        assert!(waits.is_live(now) && waits.is_live(now + SILENCE - FIRST_PAUSE));
        assert!(!waits.is_live(now + SILENCE));
    }
}
