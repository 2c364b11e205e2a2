//! The values that wait to be written. The queue is bounded; what does not fit is dropped, and no request
//! waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, Semaphore};

use crate::cache::disk::record::micros;
use crate::cache::shared::value::SharedValue;
use crate::cache::shared::{SharedTier, script};
use crate::engine::Argument;

/// Values that wait, at most, and their bytes.
const MAX_JOBS: usize = 4096;
const MAX_BYTES: u64 = 64 << 20;
/// Values that are written at the same time.
const MAX_WRITES: usize = 4;
/// Bytes of a value besides its body, estimated.
const OVERHEAD: u64 = 2048;

/// A value to write, or a lease to end.
#[derive(Debug)]
pub(super) struct WriteJob {
    pub(super) name: String,
    pub(super) value: SharedValue,
    /// By the engine's clock.
    pub(super) expires_at: SystemTime,
    /// The token of the lease of its fetch.
    pub(super) lease: Option<String>,
    /// The key of the object to purge if the value cannot be written.
    pub(super) hidden: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Queued {
    Write(Box<WriteJob>),
    /// The lease of this value, with its token.
    Release(String, String),
}

impl Queued {
    fn bytes(&self) -> u64 {
        match self {
            Self::Write(job) => OVERHEAD + job.value.record.body.len(),
            Self::Release(..) => 0,
        }
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    jobs: Mutex<Waiting>,
    work: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Queued>,
    bytes: u64,
}

impl WriteQueue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a value; `false` if there is no room.
    #[must_use]
    pub(super) fn push(&self, job: WriteJob) -> bool {
        self.add(Queued::Write(Box::new(job)))
    }

    /// Queues the end of a lease.
    pub(super) fn release(&self, name: String, token: String) {
        // Without room it ends with its time.
        let _may_be_full = self.add(Queued::Release(name, token));
    }

    fn add(&self, job: Queued) -> bool {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + job.bytes();
        if waiting.jobs.len() >= MAX_JOBS || bytes > MAX_BYTES {
            return false;
        }
        waiting.bytes = bytes;
        waiting.jobs.push_back(job);
        drop(waiting);
        self.work.notify_one();
        true
    }

    /// Values that wait, and their bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        let waiting = self.lock();
        (waiting.jobs.len() as u64, waiting.bytes)
    }

    async fn next(&self) -> Queued {
        loop {
            let work = self.work.notified();
            {
                let mut waiting = self.lock();
                if let Some(job) = waiting.jobs.pop_front() {
                    waiting.bytes -= job.bytes();
                    return job;
                }
            }
            work.await;
        }
    }
}

/// Writes what is queued, a few values at the same time. Never returns.
pub(super) async fn write(tier: &Arc<SharedTier>) {
    let permits = Arc::new(Semaphore::new(MAX_WRITES));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let job = tier.queue.next().await;
        let tier = Arc::clone(tier);
        let _runs_on = tokio::spawn(async move {
            match job {
                Queued::Write(job) => perform(&tier, *job).await,
                Queued::Release(name, token) => release(&tier, &name, &token).await,
            }
            drop(permit);
        });
    }
}

async fn perform(tier: &SharedTier, job: WriteJob) {
    let WriteJob { name, value, expires_at, lease, hidden } = job;
    let bytes = value.encode(tier.mac.as_ref()).filter(|_| tier.is_up());
    let requested_at = value.record.requested_at;
    let held = value.record.held;
    let written = match bytes {
        Some(bytes) => {
            let keys = [name.as_str(), &lease_name(&name)];
            let arguments = vec![
                Argument::Bytes(bytes.into()),
                number(micros(requested_at) / 1000),
                number(micros(expires_at) / 1000),
                lease.clone().unwrap_or_default().into(),
                tier.channel.as_str().into(),
            ];
            tier.engine.write(script::WRITE, &keys, arguments).await.ok()
        }
        None => None,
    };
    drop(held);
    // What must not be served may be an answer to a request that seems to be later.
    let is_hidden = hidden.is_none() || written == Some(1);
    if written.is_some() && is_hidden {
        tier.statistics.shared_writes.inc();
        return;
    }
    tier.statistics.shared_dropped.inc();
    if let Some(key) = hidden {
        tier.hide(key);
    }
    if let Some(token) = lease {
        release(tier, &name, &token).await;
    }
}

async fn release(tier: &SharedTier, name: &str, token: &str) {
    let arguments = vec![
        token.into(),
        Argument::Integer(super::lease::WITHOUT_LEASE),
        tier.channel.as_str().into(),
    ];
    // If it fails, the lease ends with its time.
    let _ended = tier.engine.write(script::RELEASE, &[&lease_name(name)], arguments).await;
}

/// The name of the lease of a value, in its slot.
pub(super) fn lease_name(name: &str) -> String {
    format!("{name}:lease")
}

fn number(number: u64) -> Argument {
    Argument::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
