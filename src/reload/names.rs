//! The names of endpoints that are looked up in the background: those of the stores there are.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::upstream::CurrentStores;
use crate::upstream::resolve::EndpointAddresses;

/// The lookups of names that are kept up.
#[derive(Default)]
pub(super) struct Names(Vec<(Arc<EndpointAddresses>, JoinHandle<()>)>);

impl Names {
    /// Looks up the names of these stores, and no others.
    pub(super) fn keep(&mut self, stores: &CurrentStores, every: Duration) {
        let stores = stores.load();
        let asked = stores.endpoints();
        self.0.retain(|(addresses, lookups)| {
            let stays = asked.iter().any(|asked| Arc::ptr_eq(asked, addresses));
            if !stays {
                lookups.abort();
            }
            stays
        });
        for addresses in asked {
            if !self.0.iter().any(|(known, _)| Arc::ptr_eq(known, addresses)) {
                let looked_up = Arc::clone(addresses);
                let lookups = tokio::spawn(async move { looked_up.keep_fresh(every).await });
                self.0.push((Arc::clone(addresses), lookups));
            }
        }
    }
}
