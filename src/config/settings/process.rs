//! The settings of the process: its log, its threads, its end, and its listener for operators.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::log::LevelFilter;

use crate::config::LogFormat;
use crate::config::kind::{self, Kind};
use crate::config::layers::{Layers, Location, Reported};
use crate::config::settings::row::{Row, Setting, Shown};
use crate::config::value::HOUR;

settings! {
    /// The log.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct LogConfig, log at "log." {
        format: LogFormat {
            kind: kind::log_format(),
            variable: "S3PROXY_PROFILE",
            default: "development",
            text: "`development` is text for a person, `production` is one JSON object per line.",
        }
        level: LevelFilter {
            kind: kind::log_level(),
            variable: "S3PROXY_LOG_LEVEL",
            default: "INFO",
            reload: "true",
            text: "The log level: messages below it are not logged.",
        }
    }
}

settings! {
    /// The process.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ServerConfig, server at "server." {
        threads: usize {
            kind: kind::automatic_count::<1, 1024>(),
            variable: "S3PROXY_SERVER_THREADS",
            default: "null",
            text: "Threads that serve requests. Unset: one for each processor the process may use.",
        }
        lame_duck: Duration {
            kind: kind::time::<0, HOUR>(),
            variable: "S3PROXY_SERVER_LAME_DUCK",
            default: "5s",
            text: "How long requests are still accepted after SIGTERM.",
        }
        grace_period: Duration {
            kind: kind::time::<0, HOUR>(),
            variable: "S3PROXY_SERVER_GRACE_PERIOD",
            default: "15s",
            text: "How long requests in progress may take after `server.lame_duck`. Both together should be at most 25 s.",
        }
        reload_interval: Duration {
            kind: kind::time::<0, HOUR>(),
            variable: "S3PROXY_SERVER_RELOAD_INTERVAL",
            default: "2s",
            text: "How often the YAML file and the credentials file are checked for changes. A change is applied when the files have been unchanged for this time. `0`: only on SIGHUP, and when a store rejects an access key as unknown.",
        }
        direct_hits: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_SERVER_DIRECT_HITS",
            default: "true",
            text: "Whether cached objects, pages and refusals that need no store are answered in front of the framework, for less CPU, see [direct-hits.md](decisions/direct-hits.md). `false` sends every request through the framework.",
        }
        upgrade_sock: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_SERVER_UPGRADE_SOCK",
            default: "null",
            text: "The socket through which a new process takes over the listening sockets of the old one (`--upgrade`, SIGQUIT), in a folder that belongs to the user of both and has mode 700.",
        }
    }
}

settings! {
    /// The listener for operators.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::config) struct AdminConfig, admin at "admin." {
        listen: Option<SocketAddr> {
            kind: kind::optional_address(),
            variable: "S3PROXY_ADMIN_LISTEN",
            default: "127.0.0.1:9090",
            text: "The address and port for operators: metrics, status and purges. `off` for none.",
        }
        hosts: Vec<String> {
            kind: kind::host_names(),
            variable: "S3PROXY_ADMIN_HOSTS",
            default: "[]",
            text: "Names by which clients may address the admin listener, such as `[s3proxy-admin.s3proxy.svc]`, without a port. IP addresses and `localhost` always may be used. A request with another `Host` is answered 403.",
        }
    }
}
