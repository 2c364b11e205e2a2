//! Probes of endpoints whose breakers are open, in the background: one task, while a store has several endpoints.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::upstream::CurrentStores;
use crate::upstream::probe::Probes;

/// The task, if there is a store for it.
#[derive(Default)]
pub(super) struct EndpointWatch(Option<JoinHandle<()>>);

impl EndpointWatch {
    /// Starts the task if a store has several endpoints, and ends it if none has.
    pub(super) fn update(&mut self, stores: &Arc<CurrentStores>, probes: &Arc<Probes>) {
        let are_several = stores.load().iter().any(|store| store.endpoints.are_several());
        match (&self.0, are_several) {
            (None, true) => {
                let watch = Arc::clone(probes).watch_endpoints(Arc::clone(stores));
                self.0 = Some(tokio::spawn(watch));
            }
            (Some(task), false) => {
                task.abort();
                self.0 = None;
            }
            (Some(_), true) | (None, false) => {}
        }
    }
}
