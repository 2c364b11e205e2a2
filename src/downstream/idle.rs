//! Idle connections: at the limit of connections, those that have waited for a request for the longest time
//! are closed, so that new ones have a place. nginx does the same (`reusable` connections).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The most connections that are closed at once. Each close looks at all connections.
const MOST_AT_ONCE: usize = 32;
/// At most this part of the idle connections is closed at once.
const PART_AT_ONCE: usize = 8;
/// The time without another look after one that found no idle connection.
const PAUSE: Duration = Duration::from_millis(10);

/// A request is being answered.
const BUSY: u64 = 0;
/// The place was given to a new connection.
const CLAIMED: u64 = u64::MAX;

/// The marks of all open connections.
#[derive(Debug)]
pub(super) struct OpenConnections {
    started: Instant,
    marks: Mutex<Marks>,
}

#[derive(Debug, Default)]
struct Marks {
    next: u64,
    by_id: HashMap<u64, Arc<Mark>>,
    /// No idle connection was found at this time.
    none_at: Option<Instant>,
}

/// Whether a connection is idle.
#[derive(Debug)]
struct Mark {
    /// [`BUSY`], [`CLAIMED`], or since when it is idle: milliseconds since the start, at least 1.
    state: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// The mark of one connection.
#[derive(Debug)]
pub(super) struct IdleMark {
    id: u64,
    mark: Arc<Mark>,
    all: Arc<OpenConnections>,
}

impl OpenConnections {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), marks: Mutex::default() })
    }

    /// The mark of a new connection.
    pub(super) fn add(self: &Arc<Self>) -> IdleMark {
        let mark = Arc::new(Mark { state: AtomicU64::new(BUSY), waker: Mutex::default() });
        let mut marks = self.lock();
        let id = marks.next;
        marks.next += 1;
        marks.by_id.insert(id, Arc::clone(&mark));
        drop(marks);
        IdleMark { id, mark, all: Arc::clone(self) }
    }

    /// Closes some of the longest idle connections. Returns how many.
    pub(super) fn claim_longest(&self, now: Instant) -> usize {
        let mut marks = self.lock();
        if marks.none_at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
            return 0;
        }
        let idle = marks.by_id.values().filter_map(|mark| {
            let since = mark.state.load(Ordering::Relaxed);
            (since != BUSY && since != CLAIMED).then_some((since, mark))
        });
        let mut idle: Vec<_> = idle.collect();
        let count = (idle.len() / PART_AT_ONCE).clamp(1, MOST_AT_ONCE).min(idle.len());
        if let Some(last) = count.checked_sub(1) {
            idle.select_nth_unstable_by_key(last, |(since, _)| *since);
        }
        let claimed = idle.iter().take(count).filter(|(since, mark)| mark.claim(*since)).count();
        marks.none_at = (claimed == 0).then_some(now);
        claimed
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    /// Takes the place of a connection that is idle since then; false if a request has begun.
    fn claim(&self, since: u64) -> bool {
        let claimed =
            self.state.compare_exchange(since, CLAIMED, Ordering::AcqRel, Ordering::Relaxed);
        if claimed.is_ok()
            && let Some(waker) = self.waker().take()
        {
            waker.wake();
        }
        claimed.is_ok()
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdleMark {
    /// The connection is idle since `since`. Ready when its place was given to another.
    pub(super) fn poll_idle(&self, context: &mut Context<'_>, since: Instant) -> Poll<()> {
        let mut waker = self.mark.waker();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        drop(waker);
        let since = since.saturating_duration_since(self.all.started).as_millis();
        let since = u64::try_from(since).unwrap_or(CLAIMED - 2) + 1;
        let busy =
            self.mark.state.compare_exchange(BUSY, since, Ordering::AcqRel, Ordering::Acquire);
        if busy == Err(CLAIMED) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The connection is not idle any more; false if its place was given to another.
    pub(super) fn end_idle(&self) -> bool {
        let state = self.mark.state.load(Ordering::Acquire);
        let is_busy =
            || self.mark.state.compare_exchange(state, BUSY, Ordering::AcqRel, Ordering::Relaxed);
        state == BUSY || (state != CLAIMED && is_busy().is_ok())
    }

    /// Whether its place was given to another.
    pub(super) fn is_claimed(&self) -> bool {
        self.mark.state.load(Ordering::Acquire) == CLAIMED
    }
}

impl Drop for IdleMark {
    fn drop(&mut self) {
        self.all.lock().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(mark: &IdleMark, since: Instant) -> Poll<()> {
        mark.poll_idle(&mut Context::from_waker(Waker::noop()), since)
    }

    #[test]
    fn the_longest_idle_connections_are_closed_and_no_busy_one() {
        let all = OpenConnections::new();
        let at = |ms| all.started + Duration::from_millis(ms);
        let marks: Vec<_> = (0..40).map(|_| all.add()).collect();
        // All but the first four wait, the last one for the longest time.
        for (place, mark) in marks.iter().enumerate().skip(4) {
            assert!(poll(mark, at(1000 - place as u64)).is_pending());
        }
        assert_eq!(all.claim_longest(at(2000)), 4, "an eighth of those that wait");
        let claimed: Vec<_> = (0..40).filter(|place| marks[*place].is_claimed()).collect();
        assert_eq!(claimed, [36, 37, 38, 39]);
        assert!(marks[36..].iter().all(|mark| poll(mark, at(3000)).is_ready() && !mark.end_idle()));
        assert!(marks[..36].iter().all(IdleMark::end_idle), "the others go on");
        assert_eq!(all.claim_longest(at(2001)), 0, "all are busy");
        assert!(poll(&marks[0], at(2002)).is_pending());
        assert_eq!(all.claim_longest(at(2003)), 0, "none was found a moment ago");
        assert_eq!(all.claim_longest(at(2100)), 1);
        drop(marks);
        assert!(all.lock().by_id.is_empty());
    }

    /// A request that arrives at the same time is answered, or the connection is closed; never both.
    #[test]
    fn a_connection_is_claimed_or_answers_its_request() {
        let all = OpenConnections::new();
        for _ in 0..1000 {
            let mark = all.add();
            assert!(poll(&mark, all.started).is_pending());
            let (claimed, goes_on) = std::thread::scope(|scope| {
                let claimed = scope.spawn(|| all.claim_longest(Instant::now() + PAUSE * 2) == 1);
                let goes_on = mark.end_idle();
                (claimed.join().expect("no panic"), goes_on)
            });
            assert!(claimed != goes_on);
            all.lock().none_at = None;
        }
    }
}
