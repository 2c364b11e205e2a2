//! The signals that end the process, and the lame-duck time in which it still accepts requests
//! while load balancers take notice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::{error, info};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::lifecycle::Lifecycle;

/// SIGTERM ends gently, SIGINT at once, SIGQUIT hands the sockets to a new process.
pub(super) struct LameDuck {
    lifecycle: Arc<Lifecycle>,
    time: Duration,
}

impl LameDuck {
    pub(super) fn new(lifecycle: Arc<Lifecycle>, time: Duration) -> Self {
        Self { lifecycle, time }
    }

    async fn wait(&self) -> std::io::Result<ShutdownSignal> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        tokio::select! {
            _ = terminate.recv() => Ok(self.lame_duck(&mut interrupt).await),
            _ = interrupt.recv() => {
                info!("SIGINT: ending at once");
                Ok(ShutdownSignal::FastShutdown)
            }
            _ = quit.recv() => {
                info!("SIGQUIT: handing over to a new process");
                self.lifecycle.start_draining();
                Ok(ShutdownSignal::GracefulUpgrade)
            }
        }
    }

    async fn lame_duck(&self, interrupt: &mut Signal) -> ShutdownSignal {
        info!("SIGTERM: accepting requests for another {:?}, then ending", self.time);
        self.lifecycle.start_draining();
        tokio::select! {
            () = tokio::time::sleep(self.time) => ShutdownSignal::GracefulTerminate,
            _ = interrupt.recv() => ShutdownSignal::FastShutdown,
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for LameDuck {
    async fn recv(&self) -> ShutdownSignal {
        match self.wait().await {
            Ok(signal) => signal,
            Err(error) => {
                error!("signals cannot be received, ending: {error}");
                ShutdownSignal::FastShutdown
            }
        }
    }
}
