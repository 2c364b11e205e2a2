//! The verifying store as the tests use it: one bucket `sky`, the access key of the suite, its
//! request log.

use std::net::SocketAddr;

use tokio::net::TcpListener;

pub(crate) use crate::store::{Manners, Object, Request};
use crate::store::{Serving, Store};

use crate::faulty::runtime;
use crate::gateway::{ACCESS_KEY, SECRET_KEY};

/// When every object was last modified.
pub(crate) const MODIFIED: &str = "Tue, 01 Jul 2025 12:00:00 GMT";

/// A running store with its bucket `sky`. It stops when dropped.
pub(crate) struct Origin {
    store: Store,
    serving: Serving,
}

impl Origin {
    /// The behaviour of Ceph RGW.
    pub(crate) fn start() -> Self {
        Self::with(Manners::rgw())
    }

    pub(crate) fn with(manners: Manners) -> Self {
        Self::on("127.0.0.1:0", manners)
    }

    pub(crate) fn on(address: &str, manners: Manners) -> Self {
        let store = Store::new();
        store.set_manners(manners);
        store.create_bucket("sky");
        let serving = runtime().block_on(async {
            let listener = TcpListener::bind(address).await.expect("a free port");
            store.serve(listener, ACCESS_KEY, SECRET_KEY).expect("the store serves")
        });
        Self { store, serving }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    pub(crate) fn url(&self) -> String {
        self.serving.endpoint()
    }

    /// Puts bytes into `sky`; returns the ETag, quotes included.
    pub(crate) fn put(&self, key: &str, body: impl Into<bytes::Bytes>) -> String {
        self.store.put("sky", key, Object::new(body))
    }

    pub(crate) fn put_object(&self, bucket: &str, key: &str, object: Object) -> String {
        self.store.put(bucket, key, object)
    }

    /// Removes an object of `sky`; says whether there was one.
    pub(crate) fn delete(&self, key: &str) -> bool {
        self.store.delete("sky", key)
    }

    pub(crate) fn create_bucket(&self, name: &str) {
        self.store.create_bucket(name);
    }

    /// Accepts an additional access key.
    pub(crate) fn accept_key(&self, access_key: &str, secret_key: &str) {
        self.store.accept_key(access_key, secret_key);
    }

    /// Stops accepting an access key.
    pub(crate) fn refuse_key(&self, access_key: &str) {
        self.store.refuse_key(access_key);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.store.requests()
    }

    pub(crate) fn count(&self) -> usize {
        self.store.requests().len()
    }

    pub(crate) fn clear(&self) {
        self.store.clear_log();
    }
}
