//! Renewal of credentials in the background: one task for each provider, so that there is one request at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::upstream::CurrentStores;
use crate::upstream::current_stores::request;
use crate::upstream::issuance::Issuance;
use crate::upstream::issue::{Issuer, clock};
use crate::upstream::probe::Probes;

/// How often a task compares the clock with the end of its credentials.
const WATCH: Duration = Duration::from_secs(30);

/// The tasks of all providers in force.
pub(super) struct Renewals {
    issuer: Arc<Issuer>,
    stores: Arc<CurrentStores>,
    probes: Arc<Probes>,
    tasks: Vec<(Arc<Issuance>, Arc<Notify>, JoinHandle<()>)>,
}

impl Renewals {
    /// No task yet.
    pub(super) fn new(
        issuer: &Arc<Issuer>,
        stores: &Arc<CurrentStores>,
        probes: &Arc<Probes>,
    ) -> Self {
        Self {
            issuer: Arc::clone(issuer),
            stores: Arc::clone(stores),
            probes: Arc::clone(probes),
            tasks: Vec::new(),
        }
    }

    /// Starts tasks for the providers in force, and ends those of others.
    pub(super) fn update(&mut self) {
        let issuances = self.stores.issuances();
        self.tasks.retain(|(issuance, _, task)| {
            let is_used = issuances.iter().any(|used| Arc::ptr_eq(used, issuance));
            if !is_used {
                task.abort();
            }
            is_used
        });
        for issuance in issuances {
            if !self.tasks.iter().any(|(known, _, _)| Arc::ptr_eq(known, &issuance)) {
                let early = Arc::new(Notify::new());
                let task = Renewal {
                    issuer: Arc::clone(&self.issuer),
                    stores: Arc::clone(&self.stores),
                    probes: Arc::clone(&self.probes),
                    issuance: Arc::clone(&issuance),
                    early: Arc::clone(&early),
                };
                self.tasks.push((issuance, early, tokio::spawn(task.run())));
            }
        }
    }

    /// Renews all credentials now: a store has refused an access key.
    pub(super) fn renew_now(&self) {
        for (_, early, _) in &self.tasks {
            early.notify_one();
        }
    }
}

/// The renewal of one provider's credentials.
struct Renewal {
    issuer: Arc<Issuer>,
    stores: Arc<CurrentStores>,
    probes: Arc<Probes>,
    issuance: Arc<Issuance>,
    early: Arc<Notify>,
}

impl Renewal {
    async fn run(self) {
        let mut pause = self.issuance.pause();
        loop {
            self.wait(pause).await;
            pause = request(&self.issuer, &self.issuance).await;
            let before = self.stores.load();
            self.stores.refill();
            if self.issuance.state().succeeded == 1 {
                self.probes.start(Some(&before), &self.stores.load());
            }
        }
    }

    async fn wait(&self, pause: Option<Duration>) {
        let due = pause.map(|pause| Instant::now() + pause);
        loop {
            let watch = Instant::now() + WATCH;
            let next = due.map_or(watch, |due| due.min(watch));
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.early.notified() => return,
            }
            if due.is_some_and(|due| due <= Instant::now()) || self.issuance.is_overdue(clock()) {
                return;
            }
        }
    }
}
