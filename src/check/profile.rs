//! The check of a profile: its settings, the connection to its store, its access key, its buckets.

use std::sync::Arc;
use std::time::Instant;

use pingora::connectors::TransportConnector;

use crate::check::deadline::Deadline;
use crate::check::reach::reach;
use crate::check::report::{CheckSection, CheckStep, Finding, StepState, Subject};
use crate::check::request::{
    AskError, Asker, ProbeAnswer, ProbeRequest, bucket_target, clock, service_target,
};
use crate::check::transport::{judge_no_answer, speaks_tls};
use crate::check::verdict::{Probe, judge, judge_clock, key_source};
use crate::config::{Config, Profiles, UpstreamConfig};
use crate::profile::Profile;
use crate::profile::globs::Globs;
use crate::reload::masked_id;
use crate::s3::credentials::{CredentialSource, Credentials};
use crate::s3::endpoint::{Addressing, Target};
use crate::upstream::peer_tls::PeerTls;
use crate::upstream::tunnel::Tunnel;

/// Buckets of an allow list that are tested.
const MAX_BUCKETS: usize = 4;

/// The check of one profile, which runs at the same time as others.
pub(super) struct ProfileCheck {
    profile: Arc<Profile>,
    /// Which of several endpoints is checked, from 1.
    number: Option<usize>,
    /// Whether it is the default profile and there are named ones.
    is_spare: bool,
    shares_default_endpoint: bool,
    upstream: UpstreamConfig,
    connector: Option<Arc<TransportConnector>>,
    deadline: Deadline,
}

impl ProfileCheck {
    fn new(
        config: &Config,
        profile: &Arc<Profile>,
        connector: Option<Arc<TransportConnector>>,
        deadline: Deadline,
    ) -> Self {
        let Profiles { default, named, .. } = &config.profiles;
        let is_default = profile.name.is_none();
        Self {
            profile: Arc::clone(profile),
            number: None,
            is_spare: is_default && !named.is_empty(),
            shares_default_endpoint: shares_endpoint(profile, default.as_deref()),
            upstream: config.upstream.clone(),
            connector,
            deadline,
        }
    }

    /// The same check at each endpoint of the profile.
    pub(super) fn at_each_endpoint(
        config: &Config,
        profile: &Arc<Profile>,
        connector: Option<&Arc<TransportConnector>>,
        deadline: Deadline,
    ) -> Vec<Self> {
        let check = |(number, single): (usize, Profile)| {
            let mut check = Self::new(config, &Arc::new(single), connector.cloned(), deadline);
            check.number = (!profile.further.is_empty()).then_some(number + 1);
            check
        };
        profile.at_each_endpoint().enumerate().map(check).collect()
    }

    /// The name of its section.
    pub(super) fn name(&self) -> Option<String> {
        match self.number {
            Some(number) => Some(format!("{}, endpoint {number}", self.profile.label())),
            None => self.profile.name.clone(),
        }
    }

    /// Runs every step, and ends within the deadline.
    pub(super) async fn run(self) -> CheckSection {
        let profile = &*self.profile;
        let mut steps = vec![
            CheckStep::new("endpoint", endpoint(profile, self.shares_default_endpoint)),
            CheckStep::new("credentials", credentials(profile, self.is_spare)),
        ];
        let missing = matches!(profile.credentials, Credentials::Missing(_));
        if missing && self.is_spare {
            for name in ["dns", "tcp", "tls", "request", "clock"] {
                steps
                    .push(CheckStep::new(name, Finding::skipped("the profile has no credentials")));
            }
        } else {
            self.store_steps(missing, &mut steps).await;
        }
        CheckSection { subject: Subject::Profile, name: self.name(), steps }
    }

    async fn store_steps(&self, missing: bool, steps: &mut Vec<CheckStep>) {
        let profile = &*self.profile;
        let deadline = self.deadline;
        let target = service_target(&profile.endpoint);
        let connector = self.connector.as_deref();
        let tunnel = profile.proxy.as_ref().map(|proxy| Tunnel::new(proxy, &profile.endpoint));
        let (tunnel, upstream) = (tunnel.as_ref(), &self.upstream);
        let peer_tls = profile.tls.as_deref().map(PeerTls::new);
        let peer_tls = peer_tls.as_ref();
        let endpoint = &profile.endpoint;
        let reached =
            reach(endpoint, &target, tunnel, peer_tls, connector, upstream, deadline).await;
        steps.extend(reached.steps);
        let skipped = |steps: &mut Vec<CheckStep>, why: &str| {
            steps.push(CheckStep::new("request", Finding::skipped(why)));
            steps.push(CheckStep::new("clock", Finding::skipped(why)));
        };
        if missing {
            return skipped(steps, "the profile has no credentials");
        }
        let (Ok(socket), Some(connector)) = (reached.socket, connector) else {
            return skipped(steps, "not reached");
        };
        let tls = profile.endpoint.tls;
        let asker = Asker { connector, socket, tunnel, tls, peer_tls, upstream, deadline };
        let (step, answer) = ask_step("request", asker, Probe::Service, profile, target).await;
        let is_refused = step.finding.state == StepState::Failed;
        steps.push(step);
        steps.push(clock_step(answer.as_ref()));
        if !is_refused {
            self.bucket_steps(asker, steps).await;
        }
    }

    /// Tests the buckets that the allow list names literally.
    async fn bucket_steps(&self, asker: Asker<'_>, steps: &mut Vec<CheckStep>) {
        let globs = self.profile.buckets.iter().flat_map(Globs::iter);
        let literal = globs.map(wildmatch::WildMatch::pattern).filter(|p| !p.contains(['*', '?']));
        for bucket in literal.take(MAX_BUCKETS) {
            let target = bucket_target(&self.profile, &bucket);
            let (mut step, _) =
                ask_step("bucket", asker, Probe::Bucket, &self.profile, target).await;
            step.finding.detail = format!("{bucket}: {}", step.finding.detail);
            steps.push(step);
        }
    }
}

/// Sends one request and judges the answer.
pub(super) async fn ask_step(
    name: &'static str,
    asker: Asker<'_>,
    question: Probe,
    profile: &Profile,
    target: Target,
) -> (CheckStep, Option<ProbeAnswer>) {
    let started = Instant::now();
    let answer = match ProbeRequest::new(question, profile, target.clone(), clock()) {
        Ok(request) => asker.ask(request, asker.upstream.total_timeout).await,
        Err(error) => Err(error),
    };
    let took = started.elapsed();
    let finding = judge_answer(asker, question, profile, &target, &answer).await;
    (CheckStep::timed(name, finding, took), answer.ok())
}

/// The verdict on an answer, or on its absence; detects a port that expects TLS.
pub(super) async fn judge_answer(
    asker: Asker<'_>,
    question: Probe,
    profile: &Profile,
    target: &Target,
    answer: &Result<ProbeAnswer, AskError>,
) -> Finding {
    match answer {
        Ok(answer) => {
            // Many servers answer 400 to plain HTTP on their TLS port.
            let odd = answer.reply.status == 400 && answer.reply.code.is_none();
            if odd && !asker.tls && asker.speaks_tls(target).await {
                return speaks_tls();
            }
            judge(question, profile, &answer.reply)
        }
        Err(error) => {
            let tls = error.may_be_tls() && !asker.tls && asker.speaks_tls(target).await;
            judge_no_answer(error, tls)
        }
    }
}

pub(super) fn clock_step(answer: Option<&ProbeAnswer>) -> CheckStep {
    let finding = match answer {
        Some(answer) => judge_clock(answer.date, answer.now),
        None => Finding::skipped("no answer with the time of the store"),
    };
    CheckStep::new("clock", finding)
}

/// The endpoint, region and addressing.
pub(super) fn endpoint(profile: &Profile, shared: bool) -> Finding {
    let addressing = match profile.addressing {
        Addressing::Path => "path",
        Addressing::Virtual => "virtual",
    };
    let shared = if shared { "; same endpoint as the default profile" } else { "" };
    let Profile { endpoint, region, further, .. } = profile;
    let proxy = profile.proxy.as_ref();
    let proxy = proxy.map(|proxy| format!(", through the proxy {proxy}")).unwrap_or_default();
    let then: String = further.iter().map(|way| format!(", then {}", way.endpoint)).collect();
    let tls = profile.tls.as_ref().map(|tls| format!(", with {tls}")).unwrap_or_default();
    let detail =
        format!("{endpoint}{proxy}{then}{tls}, region {region}, addressing {addressing}{shared}");
    match profile.client_certificate_fault(clock()) {
        Some(fault) => Finding::warning(
            format!("{detail}; {fault}"),
            "renew the client certificate, unless the clock of this machine is wrong",
        ),
        None => Finding::ok(detail),
    }
}

/// Whether this is a named profile at the endpoint of the default profile.
pub(super) fn shares_endpoint(profile: &Profile, default: Option<&Profile>) -> bool {
    profile.name.is_some() && default.is_some_and(|default| default.endpoint == profile.endpoint)
}

/// How long credentials of a provider are valid.
fn validity(credentials: &Credentials) -> String {
    let Credentials::Keys { source: CredentialSource::Provider { expires, .. }, .. } = credentials
    else {
        return String::new();
    };
    match expires.map(|expires| expires.duration_since(clock()).unwrap_or_default()) {
        Some(left) => format!(", valid for {} s", left.as_secs()),
        None => ", which does not expire".to_owned(),
    }
}

/// The source of the access key, and the end of its id.
pub(super) fn credentials(profile: &Profile, is_spare: bool) -> Finding {
    match &profile.credentials {
        Credentials::Keys { keys, .. } => {
            let id = masked_id(&keys.access_key_id);
            let token = if keys.session_token.is_some() { ", with a session token" } else { "" };
            let valid = validity(&profile.credentials);
            Finding::ok(format!("access key {id} from {}{token}{valid}", key_source(profile)))
        }
        Credentials::Anonymous => Finding::ok("none: requests are unsigned (anonymous: true)"),
        Credentials::Missing(why) if is_spare => Finding::warning(
            format!("none: URLs without profile@ are refused: {why}"),
            "use URLs with profile@, or add credentials for the default profile",
        ),
        Credentials::Missing(why) => {
            let advice = profile.provider.as_ref().map(|provider| provider.advice());
            Finding::failed(
                format!("none: every request is refused: {why}"),
                advice.unwrap_or(
                    "add aws_access_key_id and aws_secret_access_key under the profile's name to the \
                     credentials file, or set anonymous: true",
                ),
            )
        }
    }
}
