//! Pinned objects are revalidated in the background before they become stale, as long as clients request them: the
//! first picture of a survey does not wait for its store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::cache::clock::now;
use crate::cache::fetch::Fetches;
use crate::cache::tiers::Tiers;

/// Revalidations that begin in one second.
const PER_SECOND: usize = 20;

/// Refreshes pinned objects. Never returns.
pub(super) async fn run(tiers: &Arc<Tiers>, fetches: &Arc<Fetches>) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tiers.any_pin().await;
        second.tick().await;
        let due = tiers.pins_to_refresh(now()).into_iter();
        // A store that fails is asked again by the requests of clients.
        let due = due.filter(|(pin, _)| pin.request.store.outage.cause().is_none());
        for (pin, entry) in due.take(PER_SECOND) {
            if !fetches.refresh(&pin, &entry) {
                break;
            }
        }
    }
}
