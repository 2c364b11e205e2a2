//! HTTP/2 with clients: the connection, its limits and its end. Each stream is answered as a connection of its own
//! that brings one request (`request_stream.rs`), in a task of its own; it has a place among
//! `downstream.max_connections` while it is answered, since it needs as much memory.
//! `docs/decisions/http2.md` has the reasons.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};
use log::debug;
use pingora::protocols::Peek as _;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::DownstreamConfig;
use crate::downstream::drain::{Lifecycle, NewConnection};
use crate::downstream::http2::head::as_http1;
use crate::downstream::http2::request_stream::{RequestStream, SharedConnection};
use crate::downstream::http2::turns::Ticket;
use crate::downstream::http2::wire::{Seen, Wire};
use crate::downstream::limits::ConnectionPermit;
use crate::downstream::opening::before_requests;
use crate::downstream::timer::Timer;
use crate::downstream::transport::shown;
use crate::protocol::frame_scan::RESETS;
use crate::protocol::priority::ResponsePriority;

mod ends;
mod head;
pub(super) mod request_stream;
mod turns;
mod wire;

pub use ends::{End, Http2Counts};

/// Fields of a head for which there is room besides its bytes.
const MOST_FIELDS: u32 = 128;
/// What a field of a head counts for besides its bytes (RFC 9113, section 10.5.1).
const FIELD: u32 = 32;
/// Bytes of one response that wait in `h2`, at most: more than all responses may have there, so that one which waits
/// for the socket waits for its turn.
const SEND_BUFFER: usize = 256 << 10;
/// Malformed requests, each answered with a reset, before the connection ends.
const MALFORMED: usize = 64;
/// The first bytes of the preface (RFC 9113, section 3.4). No method of HTTP/1 begins so.
const PREFACE_BEGINS: [u8; 3] = *b"PRI";
/// How long a connection that ends waits for its client, when no response is on its way.
const GOODBYE: Duration = Duration::from_secs(1);

/// HTTP/2 of a listener.
#[derive(Debug, Clone)]
pub struct Http2 {
    config: DownstreamConfig,
    lifecycle: Arc<Lifecycle>,
    counts: Arc<Http2Counts>,
}

/// A request, and what sends its response.
type ReceivedRequest = (Request<RecvStream>, SendResponse<Bytes>);

/// What a connection brings next.
enum Event {
    Request(Box<ReceivedRequest>),
    /// The client has closed it, or all that was to be done is done.
    Closed,
    Failed(h2::Error),
    /// It is to end, when its requests are answered.
    Ending(End),
    /// It ends now.
    Ended(End),
}

struct Connection<'a> {
    http2: &'a Http2,
    peer: Option<IpAddr>,
    h2: h2::server::Connection<Wire, Bytes>,
    permit: &'a ConnectionPermit,
    /// Until the first request.
    new: Option<NewConnection>,
    shared: SharedConnection,
    tasks: JoinSet<()>,
    opened: Instant,
    idle_since: Instant,
    /// It ends for this reason, when its requests are answered. Until then the client may learn it; later requests are
    /// refused.
    ending: Option<(End, Instant)>,
    head_timer: Timer,
    idle_timer: Timer,
    age_timer: Timer,
    turn_timer: Timer,
}

impl Http2 {
    /// HTTP/2 within these limits.
    #[must_use]
    pub fn new(
        config: DownstreamConfig,
        lifecycle: Arc<Lifecycle>,
        counts: Arc<Http2Counts>,
    ) -> Self {
        Self { config, lifecycle, counts }
    }

    /// Answers the requests of a connection by `answer`, until it ends. `peer` is named in the log.
    pub(super) async fn serve<F, R>(
        &self,
        stream: Stream,
        peer: Option<IpAddr>,
        (permit, new): (&ConnectionPermit, Option<NewConnection>),
        shutdown: &ShutdownWatch,
        answer: F,
    ) where
        F: Fn(RequestStream) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let opened = Instant::now();
        let seen = Arc::<Seen>::default();
        let shared = SharedConnection {
            socket: stream.get_socket_digest(),
            id: stream.id(),
            seen: Arc::clone(&seen),
        };
        let handshake = self.builder().handshake(Wire { stream, seen });
        let deadline = opened + self.config.header_timeout;
        let Ok(Ok(h2)) = before_requests(permit, deadline, handshake).await else {
            return self.counts.count(End::NoPreface);
        };
        let connection = Connection {
            http2: self,
            peer,
            h2,
            permit,
            new,
            shared,
            tasks: JoinSet::new(),
            opened,
            idle_since: Instant::now(),
            ending: None,
            head_timer: Timer::default(),
            idle_timer: Timer::default(),
            age_timer: Timer::default(),
            turn_timer: Timer::default(),
        };
        let end = connection.run(shutdown, answer).await;
        self.counts.count(end);
        if end.asks_too_much() {
            self.counts.log(end, peer);
        }
    }

    fn builder(&self) -> Builder {
        let head = u32::try_from(self.config.header_max_bytes).unwrap_or(u32::MAX);
        let mut builder = Builder::new();
        builder
            // The limit of bytes is that of HTTP/1, and refuses with the same answer. Beyond twice as many there is
            // no answer that says why.
            .max_header_list_size(head.saturating_mul(2).saturating_add(MOST_FIELDS * FIELD))
            .max_concurrent_streams(self.config.http2_max_streams)
            // Above our own limit, which is counted by its name.
            .max_pending_accept_reset_streams(2 * RESETS as usize)
            .max_local_error_reset_streams(Some(MALFORMED))
            .max_send_buffer_size(SEND_BUFFER);
        builder
    }
}

impl Connection<'_> {
    async fn run<F, R>(mut self, shutdown: &ShutdownWatch, answer: F) -> End
    where
        F: Fn(RequestStream) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let mut shutdown = shutdown.clone();
        let mut stopped = std::pin::pin!(async move {
            let _stopped_or_gone = shutdown.wait_for(|stopped| *stopped).await;
        });
        let end = loop {
            match poll_fn(|context| self.poll_event(context, stopped.as_mut())).await {
                Event::Request(mut received) => {
                    if let Some((end, until)) = self.ending
                        && Instant::now() >= until
                    {
                        // It may send the request again, over another connection.
                        received.1.send_reset(Reason::REFUSED_STREAM);
                        while self.tasks.try_join_next().is_some() {}
                        if self.tasks.is_empty() {
                            break self.leave(end).await;
                        }
                        continue;
                    }
                    self.new = None;
                    // A request of a connection whose place was given to another is not answered.
                    if !self.permit.end_idle() {
                        break self.leave(End::Displaced).await;
                    }
                    let patience = self.http2.config.header_timeout;
                    let accepted = accept(self.shared.clone(), patience, *received);
                    let answer = answer.clone();
                    self.tasks.spawn(async move {
                        if let Some(stream) = accepted.await {
                            answer(stream).await;
                        }
                    });
                    if self.http2.lifecycle.is_draining() {
                        self.begin_to_end(End::Shutdown);
                    }
                }
                Event::Ending(end) => self.begin_to_end(end),
                Event::Closed => break self.ending.map_or(End::Closed, |(end, _)| end),
                Event::Failed(error) => {
                    // At this level only: a client must not fill the log.
                    debug!("HTTP/2 with {} failed: {error}", shown(self.peer));
                    break End::of(&error);
                }
                Event::Ended(end) => break self.leave(end).await,
            }
        };
        let is_whole = matches!(end, End::Closed | End::Idle | End::Age | End::Shutdown)
            && !self.shared.seen.is_blocked();
        self.shared.seen.turns.end(is_whole);
        // Their streams fail with the connection; each logs its request.
        self.tasks.detach_all();
        end
    }

    fn poll_event<S: Future<Output = ()>>(
        &mut self,
        context: &mut Context<'_>,
        stopped: Pin<&mut S>,
    ) -> Poll<Event> {
        let seen = &self.shared.seen;
        let handed = seen.turns.handed(context);
        let accepted = self.h2.poll_accept(context);
        seen.open_window();
        // Before the rest: of a flood no request is answered.
        if let Some(flood) = seen.flood() {
            return Poll::Ready(Event::Ended(flood.into()));
        }
        match accepted {
            Poll::Ready(Some(Ok(received))) => {
                return Poll::Ready(Event::Request(Box::new(received)));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Event::Failed(error)),
            Poll::Ready(None) => return Poll::Ready(Event::Closed),
            Poll::Pending if seen.is_blocked() => {}
            Poll::Pending => seen.turns.all_sent(handed),
        }
        while let Some(deadline) = seen.turns.called_until()
            && self.turn_timer.poll_lazily(context, deadline).is_ready()
        {
            seen.turns.call_another();
        }
        while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(context) {
            self.idle_since = Instant::now();
        }
        let config = &self.http2.config;
        if let Some(deadline) = seen.head_deadline(config.header_timeout)
            && self.head_timer.poll(context, deadline).is_ready()
        {
            return Poll::Ready(Event::Ended(End::SlowHead));
        }
        if seen.turns.is_too_slow(seen.is_blocked(), config.min_rate, Instant::now()) {
            return Poll::Ready(Event::Ended(End::SlowReader));
        }
        if self.tasks.is_empty() {
            if self.permit.poll_idle(context, self.idle_since).is_ready() {
                return Poll::Ready(Event::Ended(End::Displaced));
            }
            let most = self.ending.map_or(config.keepalive_timeout, |_| GOODBYE);
            if self.idle_timer.poll_lazily(context, self.idle_since + most).is_ready() {
                let event =
                    self.ending.map_or(Event::Ending(End::Idle), |(end, _)| Event::Ended(end));
                return Poll::Ready(event);
            }
        }
        if self.ending.is_none() {
            if stopped.poll(context).is_ready() {
                return Poll::Ready(Event::Ending(End::Shutdown));
            }
            if self.age_timer.poll(context, self.opened + config.http2_max_age).is_ready() {
                return Poll::Ready(Event::Ending(End::Age));
            }
        }
        Poll::Pending
    }

    /// Tells the client to use another connection. Requests that it has sent are answered: those that come before it has
    /// acknowledged (`h2` sends GOAWAY, then PING, and a second GOAWAY after its answer), at most for
    /// `downstream.header_timeout`.
    fn begin_to_end(&mut self, end: End) {
        if self.ending.is_none() {
            let now = Instant::now();
            self.ending = Some((end, now + self.http2.config.header_timeout));
            self.idle_since = now;
            self.h2.graceful_shutdown();
        }
    }

    /// Tells the client why the connection ends, and ends it.
    async fn leave(&mut self, end: End) -> End {
        let reason = if end.asks_too_much() { Reason::ENHANCE_YOUR_CALM } else { Reason::NO_ERROR };
        self.h2.abrupt_shutdown(reason);
        // A new connection has the place of one that is displaced.
        let wait = if end == End::Displaced { Duration::ZERO } else { GOODBYE };
        let _told_or_not = timeout(wait, poll_fn(|context| self.h2.poll_closed(context))).await;
        end
    }
}

/// The stream of this request; `None` if the request is malformed, or was given up. A frame that says only that a
/// request ends may take `patience`.
async fn accept(
    shared: SharedConnection,
    patience: Duration,
    (request, mut respond): ReceivedRequest,
) -> Option<RequestStream> {
    let (parts, mut body) = request.into_parts();
    let has_body = match parts.method {
        _ if body.is_end_stream() => false,
        Method::GET | Method::HEAD | Method::OPTIONS => {
            match timeout(patience, body.data()).await {
                Ok(None) => false,
                Ok(Some(Err(_gone))) => return None,
                Ok(Some(Ok(bytes))) => !(bytes.is_empty() && body.is_end_stream()),
                Err(_late) => true,
            }
        }
        _ => true,
    };
    let Some(head) = as_http1(&parts, has_body) else {
        respond.send_reset(Reason::PROTOCOL_ERROR);
        return None;
    };
    let ticket = Ticket::new(respond.stream_id().as_u32(), ResponsePriority::of(&parts.headers));
    Some(RequestStream::new(shared, head, respond, ticket, has_body.then_some(body)))
}

/// Whether a connection without TLS begins with the preface of HTTP/2. `None` if it ends before.
pub(super) async fn begins_with_preface(
    stream: Stream,
    permit: &ConnectionPermit,
    deadline: Instant,
) -> Option<(Stream, bool)> {
    let mut stream = stream.into_any().downcast::<TcpStream>().ok()?;
    let mut first = [0; PREFACE_BEGINS.len()];
    // Three bytes: a request of HTTP/1 has more.
    let peeked = before_requests(permit, deadline, stream.try_peek(&mut first)).await;
    peeked.ok()?.ok()?;
    Some((stream, first == PREFACE_BEGINS))
}
