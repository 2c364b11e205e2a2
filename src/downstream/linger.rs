//! The lingering close: TCP resets a connection that is closed with unread bytes, and a reset overtakes
//! the response. So the gateway ends its own direction, and reads until the client ends the other one
//! (RFC 9112, section 9.6).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::downstream::timer::Timer;

/// The time a client has for reading the response and closing the connection.
const LINGER: Duration = Duration::from_secs(1);

/// The state of a lingering close.
#[derive(Default)]
pub(super) struct Linger {
    timer: Timer,
    has_ended: bool,
}

impl Linger {
    /// Ends the gateway's direction and discards what arrives. Ready when the client has closed the
    /// connection, or after [`LINGER`].
    pub(super) fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<()> {
        if self.has_ended {
            return Poll::Ready(());
        }
        if self.timer.started.is_none()
            && ready!(Pin::new(&mut *stream).poll_shutdown(context)).is_err()
        {
            self.has_ended = true;
            return Poll::Ready(());
        }
        let started = *self.timer.started.get_or_insert_with(Instant::now);
        let mut bytes = [0; 1024];
        loop {
            let mut unread = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(context, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {
                    // A client that never stops sending is not waited for.
                    if started.elapsed() >= LINGER {
                        break;
                    }
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(self.timer.poll(context, started + LINGER));
                    break;
                }
            }
        }
        self.has_ended = true;
        Poll::Ready(())
    }
}
