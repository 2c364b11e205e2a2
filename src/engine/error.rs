//! Why the engine has not done what it was asked to.

use std::fmt;

use fred::error::{Error, ErrorKind};

/// Why a command has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineError {
    /// There is no connection, or it broke.
    Connection,
    /// No answer within the time for a command.
    Timeout,
    /// The engine does not accept the user or the password, or forbids the command.
    Access,
    /// The server is a replica, or may not write.
    ReadOnly,
    /// Its memory is full.
    Full,
    /// It loads its data, or a part of the cluster is down.
    Unavailable,
    /// Any other error that it answers.
    Refused,
    /// Its answer is none to this command.
    Reply,
}

impl EngineError {
    /// All errors, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::Connection,
        Self::Timeout,
        Self::Access,
        Self::ReadOnly,
        Self::Full,
        Self::Unavailable,
        Self::Refused,
        Self::Reply,
    ];

    /// The name in metrics and messages.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Access => "access",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Reply => "reply",
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Connection => {
                "it cannot be reached: is it running, and does the network allow it?"
            }
            Self::Timeout => "it does not answer in time: is it overloaded or stopped?",
            Self::Access => "it refuses the user or the password: see cache.shared.password_file",
            Self::ReadOnly => {
                "it is a read-only replica: cache.shared.url must lead to the primary"
            }
            Self::Full => {
                "its memory is full: give it more, or set maxmemory-policy to allkeys-lru or volatile-lru"
            }
            Self::Unavailable => "it is loading its data, or a part of the cluster is down",
            Self::Refused => "it answers with an error",
            Self::Reply => "it answers with something else: is it a Valkey or Redis 6.2 or later?",
        }
    }
}

impl EngineError {
    /// The error of an answer that begins with its name.
    #[must_use]
    pub(super) fn of_answer(text: &str) -> Self {
        of(&ErrorKind::Unknown, text)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

impl std::error::Error for EngineError {}

impl From<&Error> for EngineError {
    fn from(error: &Error) -> Self {
        of(error.kind(), error.details())
    }
}

fn of(kind: &ErrorKind, details: &str) -> EngineError {
    let answer = details.trim_start().split([' ', ':']).next().unwrap_or_default();
    match answer {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => return EngineError::Access,
        "READONLY" => return EngineError::ReadOnly,
        "OOM" => return EngineError::Full,
        "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" | "BUSY" => {
            return EngineError::Unavailable;
        }
        // It cannot write its data to its disk, and so takes no more.
        "MISCONF" | "NOREPLICAS" => return EngineError::ReadOnly,
        _ => {}
    }
    match kind {
        ErrorKind::Auth => EngineError::Access,
        ErrorKind::Timeout => EngineError::Timeout,
        ErrorKind::IO
        | ErrorKind::Canceled
        | ErrorKind::Routing
        | ErrorKind::Cluster
        | ErrorKind::Sentinel
        | ErrorKind::Tls
        | ErrorKind::Backpressure => EngineError::Connection,
        ErrorKind::Protocol | ErrorKind::Parse | ErrorKind::NotFound => EngineError::Reply,
        _ => EngineError::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_engine_have_a_cause_by_their_first_word() {
        for (kind, details, error) in [
            (
                ErrorKind::Unknown,
                "READONLY You can't write against a read only replica.",
                EngineError::ReadOnly,
            ),
            (
                ErrorKind::Unknown,
                "OOM command not allowed when used memory > 'maxmemory'.",
                EngineError::Full,
            ),
            (ErrorKind::Auth, "WRONGPASS invalid username-password pair", EngineError::Access),
            (ErrorKind::Auth, "ERR invalid password", EngineError::Access),
            (
                ErrorKind::Unknown,
                "LOADING Redis is loading the dataset in memory",
                EngineError::Unavailable,
            ),
            (
                ErrorKind::Unknown,
                "MISCONF Redis is configured to save RDB snapshots",
                EngineError::ReadOnly,
            ),
            (ErrorKind::Timeout, "Request timed out.", EngineError::Timeout),
            (ErrorKind::IO, "connection refused", EngineError::Connection),
            (ErrorKind::Canceled, "Connection closed unexpectedly.", EngineError::Connection),
            (ErrorKind::InvalidCommand, "ERR unknown command", EngineError::Refused),
            (ErrorKind::Protocol, "bad frame", EngineError::Reply),
        ] {
            assert_eq!(of(&kind, details), error, "{details}");
        }
    }
}
