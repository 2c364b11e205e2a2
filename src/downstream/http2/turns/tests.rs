//! The turns of responses, by cases.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct CountedWaker(AtomicUsize);

impl std::task::Wake for CountedWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl CountedWaker {
    fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// How often it was woken since it was asked last.
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// Polls as a task of its own would, with its waker.
fn poll_as(
    task: &Arc<CountedWaker>,
    turns: &ResponseTurns,
    ticket: &mut Ticket,
    bytes: usize,
) -> Poll<Option<usize>> {
    let waker = task.waker();
    turns.poll_turn(&mut Context::from_waker(&waker), ticket, bytes, Instant::now())
}

fn ticket(stream: u32, urgency: u8, incremental: bool) -> Ticket {
    Ticket::new(stream, ResponsePriority { urgency, incremental })
}

fn poll(turns: &ResponseTurns, ticket: &mut Ticket, bytes: usize, now: Instant) -> Option<usize> {
    let mut context = Context::from_waker(Waker::noop());
    match turns.poll_turn(&mut context, ticket, bytes, now) {
        Poll::Ready(granted) => granted,
        Poll::Pending => None,
    }
}

/// Those of a connection whose window is never the limit.
fn open_turns() -> ResponseTurns {
    let turns = ResponseTurns::default();
    turns.opened(1 << 40);
    turns
}

/// The order in which the socket gets the bytes of these responses, which all have much to send.
fn order(tickets: &mut [Ticket], turns: usize) -> Vec<u32> {
    let all = open_turns();
    let now = Instant::now();
    let mut first = ticket(99, 0, false);
    // The connection is full.
    while poll(&all, &mut first, 1 << 20, now).is_some() {}
    all.leave(&first);
    for ticket in &mut *tickets {
        assert_eq!(poll(&all, ticket, 1 << 20, now), None);
    }
    let mut order = Vec::new();
    for _ in 0..turns {
        all.written(TURN, now);
        let granted: Vec<u32> = tickets
            .iter_mut()
            .filter_map(|it| {
                let granted = poll(&all, it, 1 << 20, now)?;
                assert_eq!(granted, TURN);
                Some(it.order.stream)
            })
            .collect();
        assert_eq!(granted.len(), 1, "one has its turn");
        order.extend(granted);
        for ticket in &mut *tickets {
            let _waits = poll(&all, ticket, 1 << 20, now);
        }
    }
    order
}

#[test]
fn the_most_urgent_response_goes_first() {
    let mut tickets = [ticket(1, 5, false), ticket(3, 1, false), ticket(5, 3, true)];
    assert_eq!(order(&mut tickets, 3), [3, 3, 3]);
}

#[test]
fn of_equal_urgency_incremental_responses_alternate_and_others_do_not() {
    let mut tickets = [ticket(1, 3, true), ticket(3, 3, true), ticket(5, 3, true)];
    assert_eq!(order(&mut tickets, 6), [1, 3, 5, 1, 3, 5]);
    let mut tickets = [ticket(5, 3, false), ticket(3, 3, false)];
    assert_eq!(order(&mut tickets, 3), [3, 3, 3]);
}

#[test]
fn no_response_waits_for_ever_and_urgent_ones_are_first_still() {
    let turns = open_turns();
    let now = Instant::now();
    let (mut urgent, mut other) = (ticket(1, 0, false), ticket(3, 7, false));
    while poll(&turns, &mut urgent, 1 << 20, now).is_some() {}
    assert_eq!(poll(&turns, &mut other, 1 << 20, now), None);
    turns.written(TURN, now);
    assert_eq!(poll(&turns, &mut other, 1 << 20, now), None, "the urgent one is next");
    // From now on both have waited for long, whenever one has its turn.
    let mut later = now;
    let order: Vec<_> = (0..12)
        .map(|_| {
            later += 2 * PATIENCE;
            let turn_of = |ticket| poll(&turns, ticket, 1 << 20, later).is_some();
            let had = [turn_of(&mut urgent), turn_of(&mut other)];
            assert_eq!(had.iter().filter(|had| **had).count(), 1, "one has its turn");
            assert_eq!(poll(&turns, &mut urgent, 1 << 20, later), None);
            assert_eq!(poll(&turns, &mut other, 1 << 20, later), None);
            turns.written(TURN, later);
            u8::from(had[1])
        })
        .collect();
    assert_eq!(order[4..], [1, 0, 0, 0, 1, 0, 0, 0], "{order:?}");
}

#[test]
fn few_bytes_need_no_turn_and_one_that_leaves_keeps_none() {
    let turns = open_turns();
    let now = Instant::now();
    let (mut big, mut small) = (ticket(1, 0, false), ticket(3, 7, false));
    while poll(&turns, &mut big, 1 << 20, now).is_some() {}
    assert_eq!(poll(&turns, &mut small, FREE, now), Some(FREE));
    assert_eq!(poll(&turns, &mut small, FREE + 1, now), None);
    turns.written(2 * TURN, now);
    assert_eq!(poll(&turns, &mut small, FREE + 1, now), None, "the other is before it");
    turns.leave(&big);
    assert_eq!(poll(&turns, &mut small, FREE + 1, now), Some(FREE + 1));
}

#[test]
fn a_response_is_flushed_when_the_socket_has_all_of_it() {
    let turns = open_turns();
    let now = Instant::now();
    let mut context = Context::from_waker(Waker::noop());
    let (mut first, mut second) = (ticket(1, 3, true), ticket(3, 3, true));
    assert!(turns.poll_flush(&mut context, &first).is_ready(), "it has handed over nothing");
    turns.head(&mut first);
    let handed = turns.handed(&context);
    assert_eq!(poll(&turns, &mut second, 10, now), Some(10));
    turns.all_sent(handed);
    assert!(turns.poll_flush(&mut context, &first).is_ready());
    assert!(turns.poll_flush(&mut context, &second).is_pending());
    turns.all_sent(turns.handed(&context));
    assert!(turns.poll_flush(&mut context, &second).is_ready());
    assert_eq!(turns.lock().waiting_bytes, 0, "also what was given up");
}

/// The connection wrote the end of a response in a turn that had begun before, and did not look again: the response was
/// over for its client, and in progress for the gateway.
#[test]
fn a_response_whose_end_was_written_meanwhile_is_flushed() {
    let turns = open_turns();
    let connection = Arc::<CountedWaker>::default();
    let waker = connection.waker();
    let of_connection = Context::from_waker(&waker);
    let before = turns.handed(&of_connection);
    let mut response = ticket(1, 3, true);
    turns.head(&mut response);
    turns.all_sent(before);
    let mut context = Context::from_waker(Waker::noop());
    assert!(turns.poll_flush(&mut context, &response).is_pending());
    assert_eq!(connection.take(), 1, "the connection looks again");
    turns.all_sent(turns.handed(&of_connection));
    assert!(turns.poll_flush(&mut context, &response).is_ready());
}

#[test]
fn at_the_end_of_the_connection_nobody_waits() {
    for is_whole in [true, false] {
        let turns = ResponseTurns::default();
        let mut context = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (ticket(1, 3, true), ticket(3, 3, true));
        turns.head(&mut first);
        assert!(turns.poll_flush(&mut context, &first).is_pending());
        turns.end(is_whole);
        assert_eq!(turns.poll_flush(&mut context, &first), Poll::Ready(is_whole));
        turns.head(&mut second);
        assert_eq!(turns.poll_flush(&mut context, &second), Poll::Ready(is_whole));
    }
}

/// It looked every 100 ms whether the window was open.
#[test]
fn a_response_that_waits_is_woken_by_what_lets_it_go_on() {
    let task = Arc::<CountedWaker>::default();
    let closed = || {
        let turns = ResponseTurns::default();
        let mut first = ticket(1, 3, true);
        let mut handed = 0;
        while let Some(bytes) = poll(&turns, &mut first, 1 << 20, Instant::now()) {
            handed += bytes;
        }
        turns.leave(&first);
        (turns, handed)
    };
    let (turns, handed) = closed();
    let mut waiting = ticket(3, 3, true);
    assert!(poll_as(&task, &turns, &mut waiting, 1 << 20).is_pending());
    turns.written(handed, Instant::now());
    assert_eq!(task.take(), 0, "the window is closed");
    turns.opened(100);
    assert_eq!(task.take(), 1, "the window is open");
    assert_eq!(poll_as(&task, &turns, &mut waiting, 1 << 20), Poll::Ready(Some(100)));

    let (turns, handed) = closed();
    assert!(poll_as(&task, &turns, &mut waiting, 1 << 20).is_pending());
    turns.give_back(handed);
    assert_eq!(task.take(), 1, "another response gave back what it was to hand over");

    let (turns, _) = closed();
    assert!(poll_as(&task, &turns, &mut waiting, 1 << 20).is_pending());
    turns.end(false);
    assert_eq!(task.take(), 1, "the connection has ended");
    assert_eq!(poll_as(&task, &turns, &mut waiting, 1 << 20), Poll::Ready(None));
}

#[test]
fn a_few_bytes_are_woken_by_room_alone() {
    let turns = ResponseTurns::default();
    let (big, small) = (Arc::<CountedWaker>::default(), Arc::<CountedWaker>::default());
    let (mut first, mut second) = (ticket(1, 0, false), ticket(3, 7, false));
    let now = Instant::now();
    let mut handed = 0;
    while let Poll::Ready(Some(bytes)) = poll_as(&big, &turns, &mut first, 1 << 20) {
        handed += bytes;
    }
    assert!(poll_as(&small, &turns, &mut second, 10).is_pending());
    turns.written(handed, now);
    turns.opened(100_000);
    assert_eq!((big.take(), small.take()), (1, 1));
    assert_eq!(poll_as(&small, &turns, &mut second, 10), Poll::Ready(Some(10)));
}

/// Nothing else may happen on the connection: then its timer is what passes a response over that does not come.
#[test]
fn the_connection_is_told_of_a_call_and_calls_another_response_after_it() {
    let turns = open_turns();
    let connection = Arc::<CountedWaker>::default();
    let waker = connection.waker();
    let _handed = turns.handed(&Context::from_waker(&waker));
    let (absent, present) = (Arc::<CountedWaker>::default(), Arc::<CountedWaker>::default());
    let (mut filler, mut first, mut second) =
        (ticket(1, 0, false), ticket(3, 1, false), ticket(5, 7, false));
    while poll(&turns, &mut filler, 1 << 20, Instant::now()).is_some() {}
    assert!(poll_as(&absent, &turns, &mut first, 1 << 20).is_pending());
    assert!(poll_as(&present, &turns, &mut second, 1 << 20).is_pending());
    assert_eq!(turns.called_until(), None, "none is called");
    turns.leave(&filler);
    connection.take();
    // A response gives its bytes back: there is room.
    turns.give_back(TURN);
    assert_eq!((absent.take(), present.take(), connection.take()), (1, 0, 1));
    let until = turns.called_until().expect("it is called");
    while Instant::now() < until {
        std::thread::sleep(until - Instant::now());
    }
    turns.call_another();
    assert_eq!((absent.take(), present.take()), (0, 1));
    assert!(turns.called_until().expect("another is called") > until);
    assert_eq!(poll_as(&present, &turns, &mut second, 1 << 20), Poll::Ready(Some(TURN)));
}

#[test]
fn one_that_does_not_take_its_turn_keeps_no_other_from_it() {
    let turns = open_turns();
    let now = Instant::now();
    let (mut absent, mut other) = (ticket(1, 0, false), ticket(3, 7, false));
    while poll(&turns, &mut absent, 1 << 20, now).is_some() {}
    assert_eq!(poll(&turns, &mut other, 1 << 20, now), None);
    turns.written(TURN, now);
    assert_eq!(poll(&turns, &mut other, 1 << 20, now), None);
    assert_eq!(poll(&turns, &mut other, 1 << 20, Instant::now() + ABSENT), Some(TURN));
}

#[test]
fn where_the_window_of_the_connection_is_the_limit_the_most_urgent_response_gets_it() {
    let turns = ResponseTurns::default();
    let now = Instant::now();
    let (mut bulk, mut urgent, mut small) =
        (ticket(1, 5, true), ticket(3, 1, false), ticket(5, 7, true));
    let mut granted = 0;
    while let Some(bytes) = poll(&turns, &mut bulk, 1 << 20, now) {
        granted += bytes;
    }
    assert_eq!(granted, 65_535, "no more than there is room for");
    turns.written(granted, now);
    assert_eq!(poll(&turns, &mut urgent, 1 << 20, now), None);
    assert_eq!(poll(&turns, &mut small, 1, now), None, "not a byte");
    turns.opened(1000);
    assert_eq!(poll(&turns, &mut bulk, 1 << 20, now), None, "the other is more urgent");
    assert_eq!(poll(&turns, &mut urgent, 1 << 20, now), Some(1000));
    turns.opened(100_000);
    // Its own window is closed.
    assert_eq!(poll(&turns, &mut urgent, 1 << 20, now), Some(TURN));
    turns.give_back(TURN);
    turns.leave(&urgent);
    assert_eq!(poll(&turns, &mut bulk, 1 << 20, now), Some(TURN));
    assert_eq!(turns.lock().room(), 100_000 - TURN);
}

#[test]
fn a_client_that_takes_little_of_a_connection_is_too_slow_if_responses_wait_for_it() {
    const MIN_RATE: u64 = 8192;
    // Bytes a second, whether the socket is blocked or the window closed, and whether a response waits.
    for (bytes, is_blocked, is_closed, waits, expected) in [
        (1, true, false, true, true),
        (1, false, true, true, true),
        (1, false, false, true, false),
        (1, true, true, false, false),
        (10_000, true, false, true, false),
        (10_000, false, true, true, false),
    ] {
        let turns = if is_closed { ResponseTurns::default() } else { open_turns() };
        let mut now = Instant::now();
        let (mut sent, mut waiting) = (ticket(1, 3, true), ticket(3, 3, true));
        while poll(&turns, &mut sent, 1 << 20, now).is_some() {}
        turns.leave(&sent);
        if waits {
            assert_eq!(poll(&turns, &mut waiting, 1 << 20, now), None);
        }
        let handed = turns.lock().waiting_bytes;
        turns.written(handed, now);
        let is_too_slow = (0..100).any(|_| {
            let is_too_slow = turns.is_too_slow(is_blocked, MIN_RATE, now);
            now += Duration::from_secs(1);
            turns.written(0, now);
            turns.written(bytes, now);
            is_too_slow
        });
        assert_eq!(is_too_slow, expected, "{bytes} {is_blocked} {is_closed} {waits}");
    }
}
