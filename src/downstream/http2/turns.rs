//! Which response of an HTTP/2 connection is sent next. Whatever has been handed to `h2` is sent in the order in
//! which it came, and so is room in the window of the connection given out; so little is handed over at a time, no
//! more than the window has room for, and the most urgent response goes first (RFC 9218). Besides, how fast the
//! client takes what the connection has for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::downstream::pace::Pace;
use crate::protocol::priority::ResponsePriority;

/// Bytes of responses that wait in `h2` for the socket, at most, but for [`FREE`].
const MOST_WAITING: usize = 128 << 10;
/// Bytes that a response hands over in one turn, at most.
const TURN: usize = 32 << 10;
/// Fewer bytes need no turn: a head, a refusal.
const FREE: usize = 4 << 10;
/// A response that has waited for this long has starved, and goes first now and then, however urgent others are.
const PATIENCE: Duration = Duration::from_secs(1);
/// One of this number of turns is for a response that has starved: on a slow line all have, and an urgent one is first
/// still.
const STARVED_OF: u32 = 4;
/// A response that does not take its turn for this long waits for its store, and keeps no other from it.
const ABSENT: Duration = Duration::from_millis(50);
/// Room in the window of a connection before its client opens it further (RFC 9113, section 6.9.2).
const INITIAL_WINDOW: i64 = 65_535;

/// The responses of one connection.
#[derive(Debug, Default)]
pub(super) struct ResponseTurns(Mutex<TurnState>);

#[derive(Debug)]
struct TurnState {
    /// Bytes of bodies handed over that are not in the socket, as far as known.
    waiting_bytes: usize,
    /// Bytes of bodies that the client still takes on this connection, with those that wait.
    window: i64,
    /// How fast it takes them.
    pace: Pace,
    /// When it took some last.
    progress: Instant,
    responses: Vec<WaitingResponse>,
    /// When a response was woken last for its turn.
    called: Option<Instant>,
    /// Turns since the last one of a response that had starved.
    unstarved: u32,
    /// Counts turns of incremental responses.
    round: u64,
    /// Counts what was handed over.
    handed: u64,
    /// All up to this count is in the socket.
    sent: u64,
    flushing: Vec<(u64, Waker)>,
    /// Of the task that writes what was handed over, and has the timer of [`ResponseTurns::called_until`].
    connection: Option<Waker>,
    /// The connection has ended, with all that was handed over in the socket or not.
    ended: Option<bool>,
}

/// A response with bytes that wait for a turn.
#[derive(Debug)]
struct WaitingResponse {
    order: Order,
    since: Instant,
    /// It has so few bytes that it needs no turn, only room.
    is_small: bool,
    waker: Waker,
    /// When it was woken for its turn.
    woken: Option<Instant>,
}

/// The order of responses: by urgency, then incremental ones in turn, the others in the order of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    urgency: u8,
    place: u64,
    stream: u32,
}

/// The place of one response among the others of its connection.
#[derive(Debug)]
pub(super) struct Ticket {
    order: Order,
    incremental: bool,
    /// The count of what this response has handed over last.
    handed: u64,
}

impl Ticket {
    /// That of the response to this stream.
    pub(super) fn new(stream: u32, priority: ResponsePriority) -> Self {
        // In the order of requests: those that are not incremental are before all rounds.
        let order = Order { urgency: priority.urgency, place: 0, stream };
        Self { order, incremental: priority.incremental, handed: 0 }
    }
}

impl WaitingResponse {
    fn is_late(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= PATIENCE
    }
}

impl Default for TurnState {
    fn default() -> Self {
        Self {
            waiting_bytes: 0,
            window: INITIAL_WINDOW,
            pace: Pace::default(),
            progress: Instant::now(),
            responses: Vec::new(),
            called: None,
            unstarved: 0,
            round: 0,
            handed: 0,
            sent: 0,
            flushing: Vec::new(),
            connection: None,
            ended: None,
        }
    }
}

impl TurnState {
    /// Bytes for which the window of the connection has room.
    fn room(&self) -> usize {
        let waiting = i64::try_from(self.waiting_bytes).unwrap_or(i64::MAX);
        usize::try_from(self.window.saturating_sub(waiting)).unwrap_or_default()
    }

    /// Whether no response has its turn now.
    fn is_full(&self) -> bool {
        self.waiting_bytes >= MOST_WAITING || self.room() == 0
    }

    /// The response whose turn is next, and whether that is because it has starved.
    fn next(&self, now: Instant) -> Option<(&WaitingResponse, bool)> {
        let is_here = |it: &&WaitingResponse| {
            it.woken.is_none_or(|woken| now.saturating_duration_since(woken) < ABSENT)
        };
        let present = || self.responses.iter().filter(is_here);
        let starved = || present().filter(|it| it.is_late(now)).min_by_key(|it| it.since);
        let starved = if self.unstarved + 1 >= STARVED_OF { starved() } else { None };
        let by_order = || Some((present().min_by_key(|it| it.order)?, false));
        starved.map(|starved| (starved, true)).or_else(by_order)
    }

    /// Wakes the response whose turn is next, and those that need only room. Whether one was called that others wait for:
    /// they are passed over for it until [`ABSENT`] is over.
    fn wake_next(&mut self) -> bool {
        if self.room() == 0 {
            return false;
        }
        let now = Instant::now();
        for small in self.responses.iter_mut().filter(|it| it.is_small && it.woken.is_none()) {
            small.woken = Some(now);
            small.waker.wake_by_ref();
        }
        if self.is_full() {
            return false;
        }
        let next = self.next(now).map(|(next, _)| next.order.stream);
        let Some(next) = next.and_then(|stream| self.find(stream)) else { return false };
        let is_called = next.woken.is_none();
        next.woken.get_or_insert(now);
        next.waker.wake_by_ref();
        if is_called {
            self.called = Some(now);
        }
        is_called && self.responses.len() > 1
    }

    /// The same in the task of a response. That of the connection has the timer, and has to know of the call.
    fn wake_next_by_response(&mut self) {
        if self.wake_next()
            && let Some(connection) = &self.connection
        {
            connection.wake_by_ref();
        }
    }

    fn find(&mut self, stream: u32) -> Option<&mut WaitingResponse> {
        self.responses.iter_mut().find(|it| it.order.stream == stream)
    }

    fn remove(&mut self, stream: u32) {
        self.responses.retain(|it| it.order.stream != stream);
    }

    fn hand_over(&mut self, ticket: &mut Ticket, bytes: usize) {
        self.waiting_bytes += bytes;
        self.handed += 1;
        ticket.handed = self.handed;
    }
}

impl ResponseTurns {
    fn lock(&self) -> MutexGuard<'_, TurnState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a response that has `bytes` to send, and says how many of them it hands over now; `None` if
    /// the connection has ended. The response is woken when it may have its turn: by what another response does, by what
    /// the socket takes, by the client's window, or by the end of the connection.
    pub(super) fn poll_turn(
        &self,
        context: &mut Context<'_>,
        ticket: &mut Ticket,
        bytes: usize,
        now: Instant,
    ) -> Poll<Option<usize>> {
        let mut state = self.lock();
        if state.ended.is_some() {
            return Poll::Ready(None);
        }
        let order = ticket.order;
        if let Some(own) = state.find(order.stream) {
            own.woken = None;
        }
        let next = state.next(now).map(|(next, has_starved)| (next.order, has_starved));
        let is_own = next.is_some_and(|(next, _)| next.stream == order.stream);
        let is_next = bytes <= FREE
            || is_own
            || next.is_none_or(|(next, has_starved)| order < next && !has_starved);
        let is_full = if bytes > FREE { state.is_full() } else { state.room() == 0 };
        if !is_next || is_full {
            let waker = context.waker().clone();
            let is_small = bytes <= FREE;
            match state.find(order.stream) {
                Some(own) => (own.waker, own.is_small) = (waker, is_small),
                None => {
                    let own = WaitingResponse { order, since: now, is_small, waker, woken: None };
                    state.responses.push(own);
                }
            }
            if !is_next {
                state.wake_next_by_response();
            }
            return Poll::Pending;
        }
        let has_starved = is_own && next.is_some_and(|(_, has_starved)| has_starved);
        state.unstarved = if has_starved { 0 } else { state.unstarved.saturating_add(1) };
        state.remove(order.stream);
        let granted = bytes.min(TURN).min(state.room());
        state.hand_over(ticket, granted);
        if ticket.incremental {
            state.round += 1;
            ticket.order.place = state.round;
        }
        state.wake_next_by_response();
        Poll::Ready(Some(granted))
    }

    /// This number of bytes that a response was to hand over in its turn stays with it: its client takes no more.
    pub(super) fn give_back(&self, bytes: usize) {
        let mut state = self.lock();
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        state.wake_next_by_response();
    }

    /// A head is handed over, which needs no turn.
    pub(super) fn head(&self, ticket: &mut Ticket) {
        self.lock().hand_over(ticket, 0);
    }

    /// Ready when all that this response has handed over is in the socket, or the connection has ended; false if
    /// bytes are lost.
    pub(super) fn poll_flush(&self, context: &mut Context<'_>, ticket: &Ticket) -> Poll<bool> {
        let mut state = self.lock();
        if state.sent >= ticket.handed {
            return Poll::Ready(true);
        }
        if let Some(is_whole) = state.ended {
            return Poll::Ready(is_whole);
        }
        let waker = context.waker();
        if !state.flushing.iter().any(|(at, it)| *at == ticket.handed && it.will_wake(waker)) {
            state.flushing.push((ticket.handed, waker.clone()));
            // It may have written these bytes already, in a turn that had begun before they were handed over. Then nothing
            // else makes it look again, and say that they are in the socket.
            if let Some(connection) = &state.connection {
                connection.wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// The response has ended, or was given up.
    pub(super) fn leave(&self, ticket: &Ticket) {
        let mut state = self.lock();
        state.remove(ticket.order.stream);
        state.wake_next_by_response();
    }

    /// Until when the others wait for a response that was called; `None` if none waits for it.
    pub(super) fn called_until(&self) -> Option<Instant> {
        let state = self.lock();
        let called = state.called.filter(|_| state.responses.len() > 1 && !state.is_full())?;
        Some(called + ABSENT)
    }

    /// That time is over: another response is called, if it has not come.
    pub(super) fn call_another(&self) {
        let mut state = self.lock();
        state.called = None;
        state.wake_next();
    }

    /// The socket has taken this number of bytes of bodies. What else it takes, such as answers to PING, is no
    /// progress.
    pub(super) fn written(&self, bytes: usize, now: Instant) {
        if bytes == 0 {
            return;
        }
        let mut state = self.lock();
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        state.window -= i64::try_from(bytes).unwrap_or(i64::MAX);
        state.pace.resume(now);
        state.pace.wrote(bytes);
        state.progress = now;
        state.wake_next();
    }

    /// The client has opened the window of the connection.
    pub(super) fn opened(&self, bytes: u64) {
        let mut state = self.lock();
        state.window = state.window.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        state.wake_next();
    }

    /// When the connection last had something taken from it.
    pub(super) fn progress(&self) -> Instant {
        self.lock().progress
    }

    /// All that the socket takes now is in it, or it `is_blocked`. Whether responses wait for a client that takes
    /// less than `min_rate` bytes per second of this connection, in the sense of [`Pace::is_too_slow`].
    pub(super) fn is_too_slow(&self, is_blocked: bool, min_rate: u64, now: Instant) -> bool {
        let mut state = self.lock();
        let is_wanted = !state.responses.is_empty() || !state.flushing.is_empty();
        let is_closed = state.window <= 0 && state.waiting_bytes == 0;
        if is_wanted && (is_blocked || is_closed) {
            return state.pace.is_too_slow(min_rate, now);
        }
        state.pace.resume(now);
        false
    }

    /// What has been handed over so far, for [`ResponseTurns::all_sent`]. The task of the connection, which asks, is woken
    /// when a response waits for that.
    pub(super) fn handed(&self, context: &Context<'_>) -> u64 {
        let mut state = self.lock();
        let waker = context.waker();
        if !state.connection.as_ref().is_some_and(|it| it.will_wake(waker)) {
            state.connection = Some(waker.clone());
        }
        state.handed
    }

    /// All that had been handed over at that count is in the socket, or was given up.
    pub(super) fn all_sent(&self, handed: u64) {
        let mut state = self.lock();
        state.sent = state.sent.max(handed);
        // Of a response that was given up, no byte is written.
        if state.handed == handed {
            state.waiting_bytes = 0;
        }
        let sent = state.sent;
        state.flushing.retain(|(at, waker)| {
            let is_sent = *at <= sent;
            if is_sent {
                waker.wake_by_ref();
            }
            !is_sent
        });
        state.wake_next();
    }

    /// The connection has ended: nobody waits any more.
    pub(super) fn end(&self, is_whole: bool) {
        let mut state = self.lock();
        state.ended = Some(is_whole);
        state.connection = None;
        state.waiting_bytes = 0;
        for (_, waker) in std::mem::take(&mut state.flushing) {
            waker.wake();
        }
        for waiting in std::mem::take(&mut state.responses) {
            waiting.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
