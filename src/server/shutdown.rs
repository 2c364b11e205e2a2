//! The signals that end the process or reload its configuration, and the lame-duck time, in which it
//! still accepts requests while load balancers stop sending them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use async_trait::async_trait;
use log::{error, info};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config::ServerConfig;
use crate::downstream::drain::Lifecycle;
use crate::reload::Reloads;
use crate::server::upgrade;

/// A signal that ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndSignal {
    /// SIGTERM: requests in flight finish.
    Terminate,
    /// SIGINT: the process stops immediately.
    Interrupt,
    /// SIGQUIT: the sockets are handed to a new process first.
    Quit,
}

/// Waits for a signal that ends the process.
pub(super) struct ShutdownSignals {
    lifecycle: Arc<Lifecycle>,
    lame_duck: Duration,
    upgrade_sock: Option<PathBuf>,
    signals: Mutex<UnboundedReceiver<EndSignal>>,
}

impl ShutdownSignals {
    /// Receives signals from now on, before any port is open: a signal during the start is queued.
    ///
    /// `finished` receives a message on a SIGINT that follows another signal, when Pingora does not
    /// wait for signals any more.
    pub(super) fn new(
        lifecycle: Arc<Lifecycle>,
        config: &ServerConfig,
        finished: SyncSender<()>,
        reloads: Arc<Reloads>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        let (registered, answer) = sync_channel(1);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _receiver_dropped = match runtime {
                Ok(runtime) => runtime.block_on(async {
                    let signals = ProcessSignals::register();
                    let _receiver_dropped =
                        registered.send(signals.as_ref().map(|_| ()).map_err(copy));
                    if let Ok(signals) = signals {
                        signals.forward(&sender, &finished, &reloads).await;
                    }
                    Ok(())
                }),
                Err(error) => registered.send(Err(error)),
            };
        })?;
        answer.recv().unwrap_or_else(|_| Err(std::io::Error::other("no answer")))?;
        Ok(Self {
            lifecycle,
            lame_duck: config.lame_duck,
            upgrade_sock: config.upgrade_sock.clone(),
            signals: Mutex::new(receiver),
        })
    }

    /// Accepts requests for the lame-duck time.
    async fn drain(&self, signal: &str) -> ShutdownSignal {
        info!("{signal}: accepting requests for another {:?}, then draining", self.lame_duck);
        self.lifecycle.start_draining();
        tokio::time::sleep(self.lame_duck).await;
        ShutdownSignal::GracefulTerminate
    }
}

#[async_trait]
impl ShutdownSignalWatch for ShutdownSignals {
    async fn recv(&self) -> ShutdownSignal {
        loop {
            match self.signals.lock().await.recv().await {
                Some(EndSignal::Terminate) => return self.drain("SIGTERM").await,
                Some(EndSignal::Quit) => {
                    let Some(socket) = &self.upgrade_sock else {
                        return self.drain("SIGQUIT without server.upgrade_sock").await;
                    };
                    if let Err(problem) = upgrade::check(socket) {
                        error!("SIGQUIT is ignored: server.upgrade_sock: {problem}");
                        continue;
                    }
                    info!("SIGQUIT: handing the sockets over to a new process");
                    self.lifecycle.start_draining();
                    return ShutdownSignal::GracefulUpgrade;
                }
                Some(EndSignal::Interrupt) | None => {
                    info!("SIGINT: stopping immediately");
                    return ShutdownSignal::FastShutdown;
                }
            }
        }
    }
}

struct ProcessSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    /// Reloads the configuration.
    hangup: Signal,
    /// Without effect: by default they would end the process.
    user: [Signal; 2],
}

impl ProcessSignals {
    fn register() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
        })
    }

    async fn forward(
        mut self,
        sender: &UnboundedSender<EndSignal>,
        finished: &SyncSender<()>,
        reloads: &Reloads,
    ) {
        let [mut user1, mut user2] = self.user;
        let mut ending = false;
        loop {
            let signal = tokio::select! {
                _ = self.terminate.recv() => EndSignal::Terminate,
                _ = self.interrupt.recv() => EndSignal::Interrupt,
                _ = self.quit.recv() => EndSignal::Quit,
                _ = self.hangup.recv() => {
                    reloads.request_now();
                    continue;
                }
                _ = user1.recv() => {
                    info!("SIGUSR1 has no effect");
                    continue;
                }
                _ = user2.recv() => {
                    info!("SIGUSR2 has no effect");
                    continue;
                }
            };
            if ending && signal == EndSignal::Interrupt {
                info!("SIGINT: stopping immediately");
                let _finished_already = finished.try_send(());
            }
            ending = true;
            if sender.send(signal).is_err() {
                return;
            }
        }
    }
}

/// A copy of an error: `io::Error` is not `Clone`.
fn copy(error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), error.to_string())
}
