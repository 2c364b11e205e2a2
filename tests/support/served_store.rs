//! The S3 server of the tests on a port of its own, with the runtime that it runs in.

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::gateway::{ACCESS_KEY, SECRET_KEY};
use crate::store::{Serving, Store};

/// A store that serves as long as this lives.
pub(crate) struct ServedStore {
    pub(crate) store: Store,
    pub(crate) serving: Serving,
    pub(crate) runtime: Runtime,
}

impl ServedStore {
    /// A store with this bucket, which is empty.
    pub(crate) fn start(bucket: &str) -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let store = Store::new();
        store.create_bucket(bucket);
        let serving = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            store.clone().serve(listener, ACCESS_KEY, SECRET_KEY).expect("the store serves")
        });
        Self { store, serving, runtime }
    }
}
