//! The check of one object: the steps of a request in the order of the gateway, and their results.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::connectors::TransportConnector;

use crate::check::deadline::Deadline;
use crate::check::media_type::{denied_stored_type, denied_type};
use crate::check::object::findings::{address_finding, allowed, refused, unknown_profile};
use crate::check::object_name::{ObjectName, read};
use crate::check::profile::{
    ask_step, clock_step, credentials, endpoint, judge_answer, shares_endpoint,
};
use crate::check::reach::{Reached, reach};
use crate::check::report::{CheckSection, CheckStep, Finding, StepState, Subject};
use crate::check::request::{AskError, Asker, ProbeAnswer, ProbeRequest, bucket_target, clock};
use crate::check::verdict::{Probe, StoreReply, judge_denied};
use crate::config::{Config, GatewayConfig};
use crate::mime::{KeyType, StoredVerdict};
use crate::pages::viewer::is_fits;
use crate::profile::{ContentTypeFrom, Profile};
use crate::protocol::forwarded_conditions::upstream_conditions;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::s3::credentials::Credentials;
use crate::s3::endpoint::{Endpoint, Target};
use crate::upstream::answer::{self, AnswerContext, AnswerDecision, Ask};
use crate::upstream::error_verdict;
use crate::upstream::peer_tls::PeerTls;
use crate::upstream::retry::{AttemptFailure, Attempts, NextAttempt, RetryPolicy};
use crate::upstream::retry_pause;
use crate::upstream::tunnel::Tunnel;

mod endpoints;
mod findings;
mod member;

/// The check of one object, with its steps so far.
pub(super) struct ObjectCheck<'a> {
    config: &'a Config,
    /// `None` sends no request to a store.
    connector: Option<&'a TransportConnector>,
    deadline: Deadline,
    steps: Vec<CheckStep>,
    asked: Option<CheckExchange>,
    archive: Option<ObjectAddress>,
}

/// The result of the check of one object.
pub(crate) struct Checked {
    pub section: CheckSection,
    /// The object that the argument names; else the status of the gateway's response to it.
    pub named: Result<ObjectName, u16>,
    /// The object that it stands for, if an alias applies.
    pub aliased: Option<ObjectAddress>,
    /// The archive that it is a member of, if it is one.
    pub archive: Option<ObjectAddress>,
    /// Why a client would get no object of the store; `None` also if no request was sent.
    pub refusal: Option<Refusal>,
    /// The request to the store and its answer, if one was sent.
    pub asked: Option<CheckExchange>,
}

/// The request for an object, and its answer.
pub(crate) struct CheckExchange {
    /// The time the request was signed for.
    pub at: SystemTime,
    pub answer: Option<ProbeAnswer>,
    /// How long it took.
    pub took: Duration,
    /// Of several, the endpoint that was asked last.
    pub endpoint: Endpoint,
}

impl<'a> ObjectCheck<'a> {
    pub(super) fn new(
        config: &'a Config,
        connector: Option<&'a TransportConnector>,
        deadline: Deadline,
    ) -> Self {
        Self { config, connector, deadline, steps: Vec::new(), asked: None, archive: None }
    }

    /// Runs every step, up to the first that ends the request.
    pub(super) async fn run(mut self, argument: &str) -> Checked {
        let GatewayConfig { path_prefix, bucket_validation, .. } = &self.config.gateway;
        let (mut refusal, mut aliased) = (None, None);
        let (name, named) = match read(argument, path_prefix, *bucket_validation) {
            Ok(named) => {
                let profiles = &self.config.profiles;
                let applied = profiles.aliases.apply(named.address.clone());
                let target = applied.as_ref().map_or(&named.address, |it| it.target().as_ref());
                let profile = profiles.get(target.profile.as_deref());
                let opens = profile.is_some_and(|profile| profile.opens_folders());
                self.note("address", address_finding(&named.address, named.was_cut, opens));
                let served = match &applied {
                    Ok(applied) => {
                        if let Some(object) = &applied.aliased {
                            let stands = format!("stands for {}", object.target.name());
                            self.note("alias", Finding::ok(stands));
                            aliased = Some(object.target.as_ref().clone());
                        }
                        self.serve(applied.target()).await
                    }
                    Err(error) => Err(Refusal::Address(*error)),
                };
                match served {
                    Ok(finding) => self.note("answer", finding),
                    Err(why) => {
                        self.note("answer", refused(&why));
                        refusal = Some(why);
                    }
                }
                (named.address.name(), Ok(named))
            }
            Err(not_named) => {
                self.note("address", not_named.finding);
                // The query may hold the signature of a presigned URL.
                let name = argument.split(['?', '#']).next().unwrap_or_default().to_owned();
                (name, Err(not_named.status))
            }
        };
        let section =
            CheckSection { subject: Subject::Object, name: Some(name), steps: self.steps };
        Checked { section, named, aliased, archive: self.archive, refusal, asked: self.asked }
    }

    fn note(&mut self, name: &'static str, finding: Finding) {
        self.steps.push(CheckStep::new(name, finding));
    }

    /// What answers a request: an object, or for the URL of a folder its index object or its listing.
    async fn serve(&mut self, address: &ObjectAddress) -> Result<Finding, Refusal> {
        let profile = self.config.profiles.get(address.profile.as_deref());
        if let Some(profile) = profile
            && let Some(member) = profile.member_of(address)
        {
            return Box::pin(self.serve_member(profile, address, &member)).await;
        }
        let is_folder = address.key.is_empty() || address.key.ends_with('/');
        let opens = profile.filter(|profile| {
            is_folder && profile.opens_folders() && profile.admits(&address.bucket)
        });
        let Some(profile) = opens else {
            let mut answer = self.serve_object(address).await;
            if let (Ok(finding), Some(profile)) = (&mut answer, profile)
                && profile.viewer
                && is_fits(&address.key)
            {
                finding
                    .detail
                    .push_str("; a browser gets a page with header and picture, see ?raw");
            }
            return answer;
        };
        if self.lacks_credentials(profile) {
            return Err(Refusal::CredentialsMissing);
        }
        let listed = "a listing, if the access key has s3:ListBucket for the bucket";
        let others = if profile.listing { listed } else { "404: the profile lists no folders" };
        let opened = match profile.viewer {
            true => format!(
                "200: a browser gets the viewer, if the folder holds the properties of a HiPS survey; other \
                 clients, other folders and ?raw get {others}"
            ),
            false => format!("200: {listed}"),
        };
        let Some(index) = &profile.index else { return Ok(Finding::ok(opened)) };
        let key = [address.key.as_str(), index].concat();
        self.note("folder", Finding::ok(format!("the key is a folder: {key} answers for it")));
        match self.serve_object(&ObjectAddress { key, ..address.clone() }).await {
            Err(Refusal::ObjectNotFound | Refusal::MediaTypeDenied(_))
                if profile.listing || profile.viewer =>
            {
                // A folder needs no index object.
                for step in &mut self.steps {
                    if step.finding.state == StepState::Failed {
                        step.finding = Finding::ok(format!("{}; no index", step.finding.detail));
                    }
                }
                Ok(Finding::ok(opened))
            }
            answer => answer,
        }
    }

    /// Whether requests are refused. What a provider would issue is unknown if nothing is asked.
    fn lacks_credentials(&self, profile: &Profile) -> bool {
        let is_unknown = self.connector.is_none() && profile.provider.is_some();
        matches!(profile.credentials, Credentials::Missing(_)) && !is_unknown
    }

    /// The media type by the key, if it may be served.
    fn type_by_key(&mut self, key: &str) -> Result<KeyType, Refusal> {
        let mime = &self.config.mime;
        match mime.key_type(key) {
            Ok(media_type) => {
                let shown = String::from_utf8_lossy(media_type.decoded.as_bytes());
                self.note("type", Finding::ok(format!("{shown}, from the key")));
                Ok(media_type)
            }
            Err(media_type) => {
                self.note("type", denied_type(mime, key, media_type));
                Err(Refusal::MediaTypeDenied(media_type.map(str::to_owned)))
            }
        }
    }

    /// The gateway's checks before the store: key, media type, profile, bucket, credentials.
    async fn serve_object(&mut self, address: &ObjectAddress) -> Result<Finding, Refusal> {
        let config = self.config;
        let profile = config.profiles.get(address.profile.as_deref());
        if address.key.is_empty() {
            return Err(Refusal::ObjectNotFound);
        }
        let by_key = profile.is_none_or(|p| p.content_type == ContentTypeFrom::Key);
        let content_type = if by_key { Some(self.type_by_key(&address.key)?) } else { None };
        let Some(profile) = profile else {
            let known: Vec<&str> = config.profiles.named.keys().map(String::as_str).collect();
            self.note("endpoint", unknown_profile(address, &known));
            return Err(Refusal::unknown_profile(address.profile.as_deref()));
        };
        self.ask_profile(profile, address, content_type).await
    }

    /// The rest of these checks, and the request to the store.
    async fn ask_profile(
        &mut self,
        profile: &Profile,
        address: &ObjectAddress,
        content_type: Option<KeyType>,
    ) -> Result<Finding, Refusal> {
        let config = self.config;
        let shared = shares_endpoint(profile, config.profiles.default.as_deref());
        self.note("endpoint", endpoint(profile, shared));
        self.note("allowed", allowed(profile, &address.bucket));
        if !profile.admits(&address.bucket) {
            return Err(Refusal::BucketNotAllowed);
        }
        let finding = match &profile.provider {
            Some(provider) if self.connector.is_none() => {
                Finding::skipped(format!("{provider} is not asked"))
            }
            _ => credentials(profile, false),
        };
        self.note("credentials", finding);
        if self.lacks_credentials(profile) {
            return Err(Refusal::CredentialsMissing);
        }
        match self.connector {
            Some(connector) => self.ask_endpoints(connector, address, profile, content_type).await,
            None => Ok(Finding::skipped(
                "the gateway does not refuse the request; no request is sent to the store",
            )),
        }
    }

    async fn ask_store(
        &mut self,
        connector: &TransportConnector,
        address: &ObjectAddress,
        profile: &Profile,
        content_type: Option<KeyType>,
    ) -> Result<Finding, Refusal> {
        let deadline = self.deadline;
        let upstream = &self.config.upstream;
        let target =
            profile.endpoint.target(profile.addressing, &address.bucket, address.key.as_bytes());
        let tunnel = profile.proxy.as_ref().map(|proxy| Tunnel::new(proxy, &profile.endpoint));
        let tunnel = tunnel.as_ref();
        let (endpoint, connected) = (&profile.endpoint, Some(connector));
        let peer_tls = profile.tls.as_deref().map(PeerTls::new);
        let peer_tls = peer_tls.as_ref();
        let mut reached =
            reach(endpoint, &target, tunnel, peer_tls, connected, upstream, deadline).await;
        self.steps.append(&mut reached.steps);
        let socket = reached.socket.clone()?;
        let tls = profile.endpoint.tls;
        let asker = Asker { connector, socket, tunnel, tls, peer_tls, upstream, deadline };

        let started = Instant::now();
        let Attempted { asker, at, answer, failed } =
            self.attempt(asker, &reached, profile, &target).await?;
        let took = started.elapsed();
        let mut finding = judge_answer(asker, Probe::Object, profile, &target, &answer).await;
        if let Some(failed) = failed {
            finding.detail.push_str(&format!("; attempt 1 failed: {failed}"));
        }
        let mut bucket_step = None;
        if let Ok(answer) = &answer
            && is_denied(&answer.reply)
        {
            let target = bucket_target(profile, &address.bucket);
            let (step, bucket) = ask_step("bucket", asker, Probe::Bucket, profile, target).await;
            if let Some(bucket) = bucket {
                finding = judge_denied(profile, &answer.reply, &bucket.reply);
            }
            bucket_step = Some(step);
        }
        self.steps.push(CheckStep::timed("request", finding, took));
        self.steps.push(clock_step(answer.as_ref().ok()));
        self.steps.extend(bucket_step);
        let (answer, failure) = match answer {
            Ok(answer) => (Some(answer), None),
            Err(error) => (None, Some(error.refusal())),
        };
        let asked = CheckExchange { at, answer, took, endpoint: profile.endpoint.clone() };
        let decided = match (&asked.answer, failure) {
            (Some(answer), _) => self.answer(profile, content_type, answer),
            (None, failure) => Err(failure.unwrap_or(Refusal::Internal)),
        };
        self.asked = Some(asked);
        decided
    }

    /// Makes the attempts that the gateway would make. The last one counts.
    async fn attempt<'b>(
        &mut self,
        asker: Asker<'b>,
        reached: &Reached,
        profile: &Profile,
        target: &Target,
    ) -> Result<Attempted<'b>, Refusal> {
        let mut attempts = Attempts::start(RetryPolicy::of(asker.upstream), Instant::now());
        let mut failed = None;
        loop {
            let pause = attempts.pause(retry_pause(), Instant::now());
            if !pause.is_zero() {
                tokio::time::sleep(asker.deadline.at_most(pause)).await;
            }
            let socket = reached.next_address(attempts.tried())?;
            let asker = Asker { socket, ..asker };
            attempts.begin(socket, Instant::now());
            let has_untried = reached.has_untried(attempts.tried());
            let at = clock();
            let answer = match ProbeRequest::new(Probe::Object, profile, target.clone(), at) {
                Ok(request) => {
                    if attempts.made() == 1 {
                        self.note("sent", Finding::ok(request.describe(asker.tls)));
                    }
                    let left = attempts.time_left(Instant::now());
                    // The time for all steps is shorter than that of a request: an address that does
                    // not answer leaves half of it to the next one.
                    let limit = if has_untried { asker.deadline.half() } else { left };
                    asker.ask(request, left.min(limit)).await
                }
                Err(error) => Err(error),
            };
            let failure = match &answer {
                Err(error) => Some((error.failure().clone(), error.to_string())),
                Ok(answer) => match decide(profile, answer) {
                    AnswerDecision::RefuseUnlessRetried(refusal) => {
                        Some((AttemptFailure::Answer(refusal), answer.reply.said()))
                    }
                    _ => None,
                },
            };
            match failure {
                Some((failure, said))
                    if attempts.failed(&failure, has_untried, Instant::now())
                        == NextAttempt::Again =>
                {
                    failed = Some(said);
                }
                _ => return Ok(Attempted { asker, at, answer, failed }),
            }
        }
    }

    /// The answer to the client, by the gateway's own decision.
    fn answer(
        &mut self,
        profile: &Profile,
        by_key: Option<KeyType>,
        answer: &ProbeAnswer,
    ) -> Result<Finding, Refusal> {
        let is_empty = is_empty(answer);
        match decide(profile, answer) {
            AnswerDecision::Deliver(_) | AnswerDecision::Empty => {}
            AnswerDecision::Refuse(refusal) | AnswerDecision::RefuseUnlessRetried(refusal) => {
                return Err(refusal);
            }
            AnswerDecision::NotModified
            | AnswerDecision::AskAgain(_)
            | AnswerDecision::ReadCode => {
                return Err(Refusal::UpstreamProtocol);
            }
        }
        let content_type = match by_key {
            Some(content_type) => content_type.of(&answer.headers),
            None => match self.config.mime.stored_verdict(&answer.headers) {
                StoredVerdict::Allowed(content_type) => content_type,
                StoredVerdict::Denied(media_type) => {
                    self.note("type", denied_stored_type(media_type.as_deref()));
                    return Err(Refusal::MediaTypeDenied(media_type));
                }
            },
        };
        let shown = String::from_utf8_lossy(content_type.as_bytes());
        let length = if is_empty { Some("0".to_owned()) } else { whole_length(&answer.headers) };
        let length = length.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
        let user = self.user_note();
        Ok(Finding::ok(format!("200 {shown}{length}{user}")))
    }
}

impl ObjectCheck<'_> {
    /// What a request without a user gets, where one is required.
    fn user_note(&self) -> &'static str {
        match self.config.gateway.require_user {
            true => "; 422 without X-Auth-Request-User (require_user)",
            false => "",
        }
    }
}

/// The attempts for one object.
struct Attempted<'a> {
    /// At the address of the last attempt.
    asker: Asker<'a>,
    at: SystemTime,
    answer: Result<ProbeAnswer, AskError>,
    /// The answer or error of the attempt before the last.
    failed: Option<String>,
}

/// What the head of the answer means for a plain GET of a client.
fn decide(profile: &Profile, answer: &ProbeAnswer) -> AnswerDecision {
    let Ok(status) = StatusCode::from_u16(answer.reply.status) else {
        return AnswerDecision::Refuse(Refusal::Internal);
    };
    if is_empty(answer) {
        return AnswerDecision::Empty;
    }
    let mut headers = HeaderMap::new();
    headers.insert(http::header::RANGE, HeaderValue::from_static("bytes=0-0"));
    let context = AnswerContext {
        method: &Method::GET,
        headers: &headers,
        ask: Ask::AsClient,
        conditions: &upstream_conditions(&Method::GET, &headers),
        conditional: false,
    };
    match answer::decide(&context, status, &answer.headers) {
        AnswerDecision::ReadCode => AnswerDecision::Refuse(error_verdict::of_document(
            answer.reply.status,
            &answer.headers,
            answer.reply.code.as_deref(),
            profile.missing_on_403,
        )),
        decision => decision,
    }
}

/// Only the check asks for a range: a plain GET of an empty object is 200.
fn is_empty(answer: &ProbeAnswer) -> bool {
    answer.reply.status == 416
}

/// A 403 that the bucket's own answer may explain.
fn is_denied(reply: &StoreReply) -> bool {
    reply.status == 403 && reply.code.as_deref() == Some("AccessDenied")
}

/// The length of the object in `Content-Range: bytes 0-0/N`, or of a store that sends it whole.
pub(crate) fn whole_length(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let length = match text(http::header::CONTENT_RANGE) {
        Some(range) => range.rsplit('/').next(),
        None => text(http::header::CONTENT_LENGTH),
    };
    length.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).map(str::to_owned)
}
