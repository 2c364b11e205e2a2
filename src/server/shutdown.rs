//! The signals that end the process or have it read its configuration again, and the lame-duck time in
//! which it still accepts requests while load balancers take notice.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use async_trait::async_trait;
use log::info;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::downstream::drain::Lifecycle;
use crate::reload::Reloads;

/// A signal that ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// SIGTERM: gently.
    Terminate,
    /// SIGINT: at once.
    Interrupt,
    /// SIGQUIT: after handing the sockets to a new process.
    Quit,
}

/// Waits for the end of the process.
pub(super) struct LameDuck {
    lifecycle: Arc<Lifecycle>,
    time: Duration,
    signals: Mutex<UnboundedReceiver<End>>,
}

impl LameDuck {
    /// Receives signals from here on, before any port is open: one that comes while the server
    /// starts is kept for it.
    ///
    /// `ended` is told of a SIGINT that follows another signal, when Pingora no longer listens.
    pub(super) fn new(
        lifecycle: Arc<Lifecycle>,
        time: Duration,
        ended: SyncSender<()>,
        reloads: Arc<Reloads>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        let (registered, answer) = sync_channel(1);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _server_is_gone = match runtime {
                Ok(runtime) => runtime.block_on(async {
                    let signals = Signals::register();
                    let _nobody_waits = registered.send(signals.as_ref().map(|_| ()).map_err(copy));
                    if let Ok(signals) = signals {
                        signals.forward(&sender, &ended, &reloads).await;
                    }
                    Ok(())
                }),
                Err(error) => registered.send(Err(error)),
            };
        })?;
        answer.recv().unwrap_or_else(|_| Err(std::io::Error::other("no answer")))?;
        Ok(Self { lifecycle, time, signals: Mutex::new(receiver) })
    }

    /// Serves on for the lame-duck time.
    async fn lame_duck(&self) -> ShutdownSignal {
        info!("SIGTERM: accepting requests for another {:?}, then ending", self.time);
        self.lifecycle.start_draining();
        tokio::time::sleep(self.time).await;
        ShutdownSignal::GracefulTerminate
    }
}

#[async_trait]
impl ShutdownSignalWatch for LameDuck {
    async fn recv(&self) -> ShutdownSignal {
        match self.signals.lock().await.recv().await {
            Some(End::Terminate) => self.lame_duck().await,
            Some(End::Quit) => {
                info!("SIGQUIT: handing over to a new process");
                self.lifecycle.start_draining();
                ShutdownSignal::GracefulUpgrade
            }
            Some(End::Interrupt) | None => {
                info!("SIGINT: ending at once");
                ShutdownSignal::FastShutdown
            }
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    /// Has the configuration read again.
    hangup: Signal,
}

impl Signals {
    fn register() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn forward(
        mut self,
        sender: &UnboundedSender<End>,
        ended: &SyncSender<()>,
        reloads: &Reloads,
    ) {
        let mut ending = false;
        loop {
            let end = tokio::select! {
                _ = self.terminate.recv() => End::Terminate,
                _ = self.interrupt.recv() => End::Interrupt,
                _ = self.quit.recv() => End::Quit,
                _ = self.hangup.recv() => {
                    reloads.request_now();
                    continue;
                }
            };
            if ending && end == End::Interrupt {
                info!("SIGINT: ending at once");
                let _told_already = ended.try_send(());
            }
            ending = true;
            if sender.send(end).is_err() {
                return;
            }
        }
    }
}

/// An error can be told in one place only; this tells it in another.
fn copy(error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), error.to_string())
}
