//! Requests to providers of credentials, each with one deadline. What a provider said is in the error; nothing
//! that it issued is.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::UpstreamConfig;
use crate::s3::credentials::is_credential;
use crate::s3::endpoint::Endpoint;
use crate::s3::provider::reply::{
    MAX_REPLY_BYTES, error_text, parse_metadata, parse_process, parse_sts, shown,
};
use crate::s3::provider::sts::{FORM, role_form, signature, web_identity_form};
use crate::s3::provider::{ContainerToken, Issued, Provider, StsRole};
use crate::s3::secret::Secret;
use crate::upstream::call::{Call, CallBody, Caller};

/// How long a provider may take to issue credentials.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest file with a token that is read, bytes.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;
/// How long a token of the instance metadata may be used, seconds.
const METADATA_TOKEN_SECONDS: &str = "60";

/// Why no credentials were issued, in one line without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueError(String);

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IssueError {}

impl From<String> for IssueError {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Requests credentials of providers.
pub struct Issuer {
    caller: Caller,
    /// Whether the process ends. Each running program has a receiver.
    ended: watch::Sender<bool>,
}

impl Issuer {
    /// An issuer that trusts the certificates of the stores.
    #[must_use]
    pub fn new(config: &UpstreamConfig) -> Self {
        Self { caller: Caller::new(config), ended: watch::Sender::new(false) }
    }

    /// Requests new credentials of this provider, which may take as long as `limit`.
    ///
    /// # Errors
    /// What it said, or why there was no answer.
    pub async fn issue(&self, provider: &Provider, limit: Duration) -> Result<Issued, IssueError> {
        match timeout(limit, Box::pin(self.request(provider))).await {
            Ok(issued) => issued,
            Err(_) => Err(format!("no answer within {:.0} s", limit.as_secs_f64()).into()),
        }
    }

    /// Kills the programs that are running, for the end of the process: they would outlive it. Blocks, at
    /// most `patience`.
    pub fn end(&self, patience: Duration) {
        self.ended.send_replace(true);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        if let Ok(runtime) = runtime {
            let _killed = runtime.block_on(async { timeout(patience, self.ended.closed()).await });
        }
    }

    /// Runs a credential process, until the end of this process.
    async fn run_until_end(&self, command: &[String]) -> Result<Issued, IssueError> {
        let mut ended = self.ended.subscribe();
        let issued = tokio::select! {
            issued = run(command) => Some(issued),
            _ = ended.wait_for(|ended| *ended) => None,
        };
        // The program is killed.
        drop(ended);
        match issued {
            Some(issued) => issued,
            None => std::future::pending().await,
        }
    }

    async fn request(&self, provider: &Provider) -> Result<Issued, IssueError> {
        match provider {
            Provider::Process(command) => self.run_until_end(command).await,
            Provider::WebIdentity { role, token_file } => {
                let form = web_identity_form(role, &token(token_file).await?);
                self.ask_sts(role, &form, Vec::new()).await
            }
            Provider::Role { role, keys, external_id } => {
                let form = role_form(role, external_id.as_deref());
                let headers = signature(role, keys, &path_of(&role.sts), &form, clock());
                self.ask_sts(role, &form, headers).await
            }
            Provider::Container { endpoint, token: authorization } => {
                let authorization = match authorization {
                    ContainerToken::None => None,
                    ContainerToken::Text(text) => Some(text.clone()),
                    ContainerToken::File(path) => Some(token(path).await?),
                };
                let mut headers =
                    vec![(ACCEPT.as_str(), Secret::new("application/json".to_owned()))];
                headers.extend(authorization.map(|text| (AUTHORIZATION.as_str(), text)));
                let path = path_of(endpoint);
                let call = Call { headers, ..Call::new(&Method::GET, &path) };
                Ok(parse_metadata(&self.ask(endpoint, &call).await?, clock())?)
            }
            Provider::Instance(endpoint) => self.ask_instance(endpoint).await,
        }
    }

    async fn ask_sts(
        &self,
        role: &StsRole,
        form: &Secret,
        mut headers: Vec<(&'static str, Secret)>,
    ) -> Result<Issued, IssueError> {
        headers.push((CONTENT_TYPE.as_str(), Secret::new(FORM.to_owned())));
        let path = path_of(&role.sts);
        let call = Call {
            headers,
            body: CallBody::Secret(form),
            proxy: role.proxy.as_ref(),
            tls: role.tls.as_deref(),
            ..Call::new(&Method::POST, &path)
        };
        Ok(parse_sts(&self.ask(&role.sts, &call).await?, clock())?)
    }

    /// Version 2 of the metadata service: a token by PUT, then the name of the role, then its credentials.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
    async fn ask_instance(&self, endpoint: &Endpoint) -> Result<Issued, IssueError> {
        const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/";
        let base = &endpoint.base_path;
        let of = |method, path, headers| Call { headers, ..Call::new(method, path) };
        let ttl = Secret::new(METADATA_TOKEN_SECONDS.to_owned());
        let ttl = vec![("x-aws-ec2-metadata-token-ttl-seconds", ttl)];
        let path = format!("{base}/latest/api/token");
        let token = text(&self.ask(endpoint, &of(&Method::PUT, &path, ttl)).await?)?;
        let token = || vec![("x-aws-ec2-metadata-token", Secret::new(token.clone()))];
        let path = format!("{base}{CREDENTIALS}");
        let roles = text(&self.ask(endpoint, &of(&Method::GET, &path, token())).await?)?;
        let role = roles.lines().next().unwrap_or_default().trim();
        if role.is_empty()
            || !role.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c))
        {
            return Err("the instance has no role".to_owned().into());
        }
        let path = format!("{path}{role}");
        let body = self.ask(endpoint, &of(&Method::GET, &path, token())).await?;
        Ok(parse_metadata(&body, clock())?)
    }

    /// The body of an answer of status 200.
    async fn ask(&self, endpoint: &Endpoint, call: &Call<'_>) -> Result<Vec<u8>, IssueError> {
        let (status, body) = self.caller.call(endpoint, call).await?;
        match status {
            200 => Ok(body),
            _ => Err(format!("it answered {}", error_text(status, &body)).into()),
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

/// The path of an endpoint, which is `/` if it has none.
fn path_of(endpoint: &Endpoint) -> String {
    if endpoint.base_path.is_empty() { "/".to_owned() } else { endpoint.base_path.clone() }
}

fn text(body: &[u8]) -> Result<String, IssueError> {
    let text = std::str::from_utf8(body).ok().filter(|text| !text.contains('\0'));
    Ok(text.ok_or_else(|| "its answer is no text".to_owned())?.trim().to_owned())
}

/// The token in a file, which is read each time.
async fn token(path: &Path) -> Result<Secret, IssueError> {
    let shown = path.display().to_string();
    let path = path.to_owned();
    let read = spawn_blocking(move || {
        use io::Read as _;
        let mut text = String::new();
        std::fs::File::open(path)?.take(MAX_TOKEN_BYTES).read_to_string(&mut text)?;
        Ok::<_, io::Error>(text)
    });
    let text = read.await.map_err(io::Error::other).flatten();
    let text = text.map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let token = text.trim();
    if !is_credential(token) {
        return Err(format!("{shown} does not hold a token").into());
    }
    Ok(Secret::new(token.to_owned()))
}

/// Runs a credential process and reads its output. It ends with the request, and when it prints too much.
async fn run(command: &[String]) -> Result<Issued, IssueError> {
    let (program, arguments) = command.split_first().ok_or_else(|| "no program".to_owned())?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be run: {error}"))?;
    let (printed, errors) =
        tokio::try_join!(bounded(child.stdout.take()), bounded(child.stderr.take()))?;
    let status = child.wait().await.map_err(|error| format!("it cannot be awaited: {error}"))?;
    if !status.success() {
        let errors = String::from_utf8_lossy(&errors);
        let last = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(format!("it ended with {status}: {}", shown(last)).into());
    }
    Ok(parse_process(&printed, clock())?)
}

/// All that a pipe of a program holds, until its end.
async fn bounded(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, IssueError> {
    let mut read = Vec::new();
    let Some(pipe) = pipe else { return Ok(read) };
    let most = u64::try_from(MAX_REPLY_BYTES).unwrap_or(u64::MAX);
    let done = pipe.take(most.saturating_add(1)).read_to_end(&mut read).await;
    done.map_err(|error| format!("its output cannot be read: {error}"))?;
    if read.len() > MAX_REPLY_BYTES {
        return Err(format!("it printed more than {MAX_REPLY_BYTES} bytes").into());
    }
    Ok(read)
}

/// The time, which signatures hold and expirations are compared with.
#[expect(clippy::disallowed_methods, reason = "credentials expire by the clock")]
pub(crate) fn clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    /// All that a program printed was held until its end: memory without a bound.
    #[tokio::test]
    async fn a_program_that_prints_without_an_end_is_ended() {
        for script in ["exec yes", "exec yes >&2", "yes & exec yes >&2"] {
            let ended = timeout(TIMEOUT / 2, run(&shell(script))).await;
            let error = ended.expect("in time").expect_err("no credentials");
            assert_eq!(error.to_string(), "it printed more than 65536 bytes", "{script}");
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed_with_its_request() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let command = shell(&format!("echo $$ > '{}'; exec sleep 600", file.display()));
        let mut running = Box::pin(run(&command));
        let pid = loop {
            assert!(timeout(Duration::from_millis(5), &mut running).await.is_err(), "it has ended");
            let written = std::fs::read_to_string(&file).unwrap_or_default();
            if written.ends_with('\n') {
                break written.trim().to_owned();
            }
        };
        drop(running);
        // Ended, or ended and not yet waited for.
        let is_alive = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("State:") && !status.contains("State:\tZ")
        };
        let killed = async {
            while is_alive() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(TIMEOUT, killed).await.is_ok(), "process {pid} goes on");
    }
}
