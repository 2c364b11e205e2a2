//! DNS lookups of the endpoints of all stores, in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::upstream::CurrentStores;
use crate::upstream::resolve::EndpointAddresses;

/// One task for each endpoint name.
#[derive(Default)]
pub(super) struct EndpointLookups(Vec<(Arc<EndpointAddresses>, JoinHandle<()>)>);

impl EndpointLookups {
    /// Starts lookups of the endpoints of these stores, and ends all others.
    pub(super) fn update(&mut self, stores: &CurrentStores, interval: Duration) {
        let stores = stores.load();
        let endpoints = stores.endpoints();
        self.0.retain(|(addresses, lookups)| {
            let is_used = endpoints.iter().any(|used| Arc::ptr_eq(used, addresses));
            if !is_used {
                lookups.abort();
            }
            is_used
        });
        for addresses in endpoints {
            if !self.0.iter().any(|(known, _)| Arc::ptr_eq(known, addresses)) {
                let refreshed = Arc::clone(addresses);
                let lookups = tokio::spawn(async move { refreshed.keep_fresh(interval).await });
                self.0.push((Arc::clone(addresses), lookups));
            }
        }
    }
}
