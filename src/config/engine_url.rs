//! The URL of a Valkey or Redis: one server, a cluster, or the sentinels that know the server; and what the
//! names of keys in it begin with.
//!
//! | scheme | hosts | path |
//! |---|---|---|
//! | `redis`, `rediss` | one | the number of a database, if not 0 |
//! | `redis-cluster`, `rediss-cluster` | nodes of the cluster, separated by commas | none |
//! | `redis-sentinel`, `rediss-sentinel` | sentinels, separated by commas | the name of the service, and a database |
//!
//! The schemes with `rediss` use TLS. A user is written `user@` before the hosts; the password is in a file.

use std::fmt;

use crate::config::value::{Written, all, optional, text};

/// Where the engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineUrl {
    pub tls: bool,
    pub topology: Topology,
    /// The user of the access control list; `None` is the default user.
    pub user: Option<String>,
    /// Host and port; at least one.
    pub hosts: Vec<(String, u16)>,
    /// The number of the database; 0 in a cluster.
    pub database: u8,
}

/// How the server that takes commands is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// The host of the URL.
    Single,
    /// The node that has the slot of a key.
    Cluster,
    /// Sentinels name the server of this service.
    Sentinel { service: String },
}

const SINGLE: &str = "redis";
const CLUSTER: &str = "redis-cluster";
const SENTINEL: &str = "redis-sentinel";
const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Without the user: the log and `s3proxy config` show it.
impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secure = if self.tls { "s" } else { "" };
        let kind = match self.topology {
            Topology::Single => "",
            Topology::Cluster => "-cluster",
            Topology::Sentinel { .. } => "-sentinel",
        };
        let hosts = self.hosts.iter().map(|(host, port)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        });
        write!(f, "redis{secure}{kind}://{}", hosts.collect::<Vec<_>>().join(","))
    }
}

/// Reads a URL; nothing written is `None`. No message contains a password.
pub(super) fn engine_url(written: Written<'_>) -> Result<Option<EngineUrl>, String> {
    optional(written, |written| parse(&text(written)?))
}

/// What the names of keys in an engine begin with. Braces would choose the slot of a cluster.
pub(super) fn engine_prefix(written: Written<'_>) -> Result<String, String> {
    let text = text(written)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(is_allowed) {
        Ok(text)
    } else {
        Err("must be 1 to 64 letters, digits and ._:-".to_owned())
    }
}

fn parse(url: &str) -> Result<EngineUrl, String> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| {
        "must be a URL such as redis://valkey:6379 or rediss-cluster://node-1:6379,node-2:6379"
            .to_owned()
    })?;
    let scheme = scheme.to_ascii_lowercase();
    let (tls, kind) = match scheme.strip_prefix("rediss") {
        Some(kind) => (true, format!("redis{kind}")),
        None => (false, scheme.clone()),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            return Err(
                "must not contain a password: write it into a file, and the file into password_file"
                    .to_owned(),
            );
        }
        Some((user, rest)) if !user.is_empty() && user.chars().all(|c| c.is_ascii_graphic()) => {
            (Some(user.to_owned()), rest)
        }
        Some(_) => return Err("has an empty or unreadable user before the `@`".to_owned()),
        None => (None, rest),
    };
    if rest.contains(['?', '#']) {
        return Err("must not have a query (`?`) or a fragment (`#`)".to_owned());
    }
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let default_port = if kind == SENTINEL { SENTINEL_PORT } else { SERVER_PORT };
    let hosts = all(hosts.split(',').map(|host| host_of(host, default_port)))?;
    let (topology, database) = match kind.as_str() {
        SINGLE if hosts.len() > 1 => {
            return Err(
                "names several hosts: write redis-cluster:// or redis-sentinel:// for these"
                    .to_owned(),
            );
        }
        SINGLE => (Topology::Single, database_of(path)?),
        CLUSTER if path.is_empty() => (Topology::Cluster, 0),
        CLUSTER => {
            return Err("must have no path: a cluster has one database".to_owned());
        }
        SENTINEL => {
            let (service, database) = path.split_once('/').unwrap_or((path, ""));
            if service.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err("has a name of a service with blanks in it".to_owned());
            }
            if service.is_empty() {
                return Err("needs the name of the service, such as redis-sentinel://a:26379,b:26379/mymaster"
                    .to_owned());
            }
            (Topology::Sentinel { service: service.to_owned() }, database_of(database)?)
        }
        _ => {
            return Err(
                "must begin with redis://, rediss://, redis-cluster://, rediss-cluster://, \
                        redis-sentinel:// or rediss-sentinel://"
                    .to_owned(),
            );
        }
    };
    Ok(EngineUrl { tls, topology, user, hosts, database })
}

fn host_of(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let refused =
        || format!("has a host that is none: {text:?}; write host, host:port or [::1]:port");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(refused)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| refused())?;
            match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if port.is_empty() => (host, None),
                None => return Err(refused()),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || (!text.starts_with('[') && !host.chars().all(is_name)) {
        return Err(refused());
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(refused)?,
        None => default_port,
    };
    Ok((host.to_owned(), port))
}

fn database_of(path: &str) -> Result<u8, String> {
    match path {
        "" => Ok(0),
        number => number
            .parse()
            .map_err(|_| format!("has a path that is no number of a database: {number:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Option<EngineUrl>, String> {
        engine_url(Written::Text(url))
    }

    #[test]
    fn servers_clusters_and_sentinels_are_read() {
        let sentinel = |service: &str| Topology::Sentinel { service: service.to_owned() };
        for (url, tls, topology, user, hosts, database, shown) in [
            ("redis://h", false, Topology::Single, None, "h:6379", 0, "redis://h:6379"),
            ("rediss://u@h:1/3", true, Topology::Single, Some("u"), "h:1", 3, "rediss://h:1"),
            ("redis://[::1]:7", false, Topology::Single, None, "::1:7", 0, "redis://[::1]:7"),
            ("redis://[::1]", false, Topology::Single, None, "::1:6379", 0, "redis://[::1]:6379"),
            (
                "rediss-cluster://a,b:7",
                true,
                Topology::Cluster,
                None,
                "a:6379 b:7",
                0,
                "rediss-cluster://a:6379,b:7",
            ),
            (
                "redis-sentinel://a,b:2/main/4",
                false,
                sentinel("main"),
                None,
                "a:26379 b:2",
                4,
                "redis-sentinel://a:26379,b:2",
            ),
        ] {
            let found = read(url).expect("a valid URL").expect("an engine");
            let as_text: Vec<_> = found.hosts.iter().map(|(h, p)| format!("{h}:{p}")).collect();
            assert_eq!((found.tls, &found.topology), (tls, &topology), "{url}");
            assert_eq!(found.user.as_deref(), user, "{url}");
            assert_eq!((as_text.join(" ").as_str(), found.database), (hosts, database), "{url}");
            assert_eq!(found.to_string(), shown);
        }
        assert_eq!(read(""), Ok(None));
    }

    #[test]
    fn mistakes_are_named_and_no_password_is_repeated() {
        for (url, message) in [
            ("valkey:6379", "must be a URL such as"),
            ("http://h", "must begin with redis://"),
            ("redis://user:hush@h", "must not contain a password"),
            ("redis://:hush@h", "must not contain a password"),
            ("redis://@h", "has an empty or unreadable user"),
            ("redis://a,b", "names several hosts"),
            ("redis://h/x", "no number of a database"),
            ("redis://h/256", "no number of a database"),
            ("redis://h?db=1", "must not have a query"),
            ("redis://", "has a host that is none"),
            ("redis://h:0", "has a host that is none"),
            ("redis://h:x", "has a host that is none"),
            ("redis://[h]:1", "has a host that is none"),
            ("redis-cluster://a/1", "must have no path"),
            ("redis-sentinel://a", "needs the name of the service"),
        ] {
            let error = read(url).expect_err(url);
            assert!(error.starts_with(message) || error.contains(message), "{url}: {error}");
            assert!(!error.contains("hush"), "{url}: {error}");
        }
    }
}
