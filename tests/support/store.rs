//! An S3 server in memory that checks every signature, for the quickstart, the tests and the
//! benchmarks.
//!
//! SigV4 is verified by the crate `s3s`, not by our own code. Reads of objects are answered here,
//! so that the server can behave like Ceph RGW or like AWS ([`Manners`]). Every request is recorded
//! at the HTTP layer ([`Request`]), including those with a refused signature.

#[path = "store/access.rs"]
mod access;
#[path = "store/body.rs"]
mod body;
#[path = "store/http.rs"]
mod http;
#[path = "store/log.rs"]
mod log;
#[path = "store/manners.rs"]
mod manners;
#[path = "store/object.rs"]
mod object;
#[path = "store/operations.rs"]
mod operations;
#[path = "store/reads.rs"]
mod reads;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::net::TcpListener;

pub(crate) use self::http::Serving;
pub(crate) use self::log::Request;
pub(crate) use self::manners::Manners;
pub(crate) use self::object::Object;

use self::log::Log;

/// Objects by key, in the byte order of the keys.
type Bucket = BTreeMap<String, Arc<Object>>;

/// The server. Clones share their buckets, manners and log.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Shared>);

#[derive(Default)]
struct Shared {
    buckets: RwLock<BTreeMap<String, Bucket>>,
    manners: RwLock<Manners>,
    /// The secrets by access key: those that are accepted now.
    keys: RwLock<BTreeMap<String, String>>,
    log: Log,
}

impl Store {
    /// A store without buckets, with the manners of Ceph RGW.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Changes how reads are answered, from the next request on.
    pub(crate) fn set_manners(&self, manners: Manners) {
        *write(&self.0.manners) = manners;
    }

    /// Also accepts requests signed with this access key from now on; [`Store::serve`] names the
    /// first.
    pub(crate) fn accept_key(&self, access_key: &str, secret_key: &str) {
        write(&self.0.keys).insert(access_key.to_owned(), secret_key.to_owned());
    }

    /// Stops accepting this access key.
    pub(crate) fn refuse_key(&self, access_key: &str) {
        write(&self.0.keys).remove(access_key);
    }

    /// Creates a bucket; one that exists keeps its objects.
    pub(crate) fn create_bucket(&self, name: &str) {
        write(&self.0.buckets).entry(name.to_owned()).or_default();
    }

    /// Stores an object and returns its `ETag`, quotes included. Creates the bucket if necessary.
    pub(crate) fn put(&self, bucket: &str, key: &str, object: Object) -> String {
        let etag = object.quoted_etag();
        let object = Arc::new(object);
        write(&self.0.buckets).entry(bucket.to_owned()).or_default().insert(key.to_owned(), object);
        etag
    }

    /// Removes an object; says whether there was one.
    pub(crate) fn delete(&self, bucket: &str, key: &str) -> bool {
        write(&self.0.buckets).get_mut(bucket).is_some_and(|keys| keys.remove(key).is_some())
    }

    /// Every request since the start or the last [`Store::clear_log`], in order of arrival.
    #[must_use]
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.0.log.requests()
    }

    /// How many requests had this method and a raw path that starts with `prefix`.
    #[must_use]
    pub(crate) fn count(&self, method: &str, prefix: &str) -> usize {
        let logged = self.requests();
        logged.iter().filter(|r| r.method == method && r.path.starts_with(prefix)).count()
    }

    /// Discards the recorded requests.
    pub(crate) fn clear_log(&self) {
        self.0.log.clear();
    }

    /// Answers HTTP/1.1 on `listener` until the returned value is dropped or aborted.
    ///
    /// Buckets are addressed by path, and as `bucket.localhost:PORT` by host. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When the listener's address cannot be determined.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        access_key: &str,
        secret_key: &str,
    ) -> io::Result<Serving> {
        self.accept_key(access_key, secret_key);
        Serving::start(self, listener)
    }

    fn manners(&self) -> Manners {
        read(&self.0.manners).clone()
    }
}

/// A panic elsewhere leaves the maps whole, so a poisoned lock is still good.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
