//! Messages of the engine, through a connection of its own. The engine keeps none for a listener that is away: a
//! caller that waits for one has to look for itself from time to time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _};
use fred::prelude::Value;

use crate::engine::{Engine, connect};

/// How often it is seen to that messages come.
const TICK: Duration = Duration::from_secs(1);
/// After this silence the channels are subscribed to again: the server may have lost the subscription.
const AGAIN: Duration = Duration::from_secs(3);
/// After this silence the connection is made again: a network that drops packets tells nobody.
const ANEW: Duration = Duration::from_secs(15);

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEvent {
    Message {
        channel: String,
        text: Bytes,
    },
    /// Messages may have been missed.
    Gap,
}

impl Engine {
    /// Hears what is published in these channels, in a cluster through one of its nodes, which has the messages
    /// of all. Something has to be published at least once a second: silence is taken for a fault. Must be called
    /// within a Tokio runtime, and never returns.
    pub async fn listen(&self, channels: &[&str], mut hear: impl FnMut(ChannelEvent) + Send) {
        let mut messages = self.listens.message_rx();
        let mut connects = self.listens.reconnect_rx();
        let connection = connect::keep(&self.listens);
        let events = async {
            let mut ticks = tokio::time::interval(TICK);
            // Since the last message, or the last attempt to get any.
            let (mut heard_at, mut tried_at) = (Instant::now(), Instant::now());
            loop {
                tokio::select! {
                    message = messages.recv() => match message {
                        Ok(message) => {
                            heard_at = Instant::now();
                            let text = match message.value {
                                Value::Bytes(text) => text,
                                other => other.into_string().unwrap_or_default().into(),
                            };
                            hear(ChannelEvent::Message { channel: message.channel.to_string(), text });
                        }
                        Err(error) if is_over(&error) => return std::future::pending().await,
                        Err(_) => hear(ChannelEvent::Gap),
                    },
                    Ok(_) = connects.recv() => {
                        self.subscribe(channels).await;
                        hear(ChannelEvent::Gap);
                    }
                    _ = ticks.tick() => {
                        let silence = heard_at.elapsed().min(tried_at.elapsed());
                        if silence >= AGAIN && self.listens.is_connected() {
                            tried_at = Instant::now();
                            if heard_at.elapsed() >= ANEW {
                                heard_at = Instant::now();
                                let _connects_later = self.listens.force_reconnection().await;
                            } else {
                                self.subscribe(channels).await;
                            }
                        }
                    }
                }
            }
        };
        tokio::join!(connection, events);
    }

    async fn subscribe(&self, channels: &[&str]) {
        let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
        // Without a connection it is tried again when there is one.
        let _tried_again = self.listens.subscribe(channels).await;
    }
}

fn is_over(error: &tokio::sync::broadcast::error::RecvError) -> bool {
    matches!(error, tokio::sync::broadcast::error::RecvError::Closed)
}
