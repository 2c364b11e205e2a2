//! Does a profile work? Its settings, the way to its store, its key, its buckets.

use std::sync::Arc;
use std::time::Instant;

use pingora::connectors::TransportConnector;

use crate::check::deadline::Deadline;
use crate::check::reach::reach;
use crate::check::report::{Finding, Section, State, Step, Subject};
use crate::check::request::{
    Answer, AskError, Asker, Request, bucket_target, clock, service_target,
};
use crate::check::transport::{judge_no_answer, speaks_tls};
use crate::check::verdict::{Question, judge, judge_clock, key_source};
use crate::config::{Config, Profiles, UpstreamConfig};
use crate::profile::Profile;
use crate::reload::masked_id;
use crate::s3::credentials::Credentials;
use crate::s3::endpoint::{Addressing, Target};

/// How many buckets of an allow list are asked for.
const MAX_BUCKETS: usize = 4;

/// What the check of one profile needs, to be run beside the others.
pub(super) struct ProfileCheck {
    profile: Arc<Profile>,
    /// Whether it is the profile of URLs without one, while there are others.
    is_spare: bool,
    shares_default_endpoint: bool,
    upstream: UpstreamConfig,
    connector: Option<Arc<TransportConnector>>,
}

impl ProfileCheck {
    pub(super) fn new(
        config: &Config,
        profile: &Arc<Profile>,
        connector: Option<Arc<TransportConnector>>,
    ) -> Self {
        let Profiles { default, named } = &config.profiles;
        let is_default = profile.name.is_none();
        Self {
            profile: Arc::clone(profile),
            is_spare: is_default && !named.is_empty(),
            shares_default_endpoint: !is_default && profile.endpoint == default.endpoint,
            upstream: config.upstream.clone(),
            connector,
        }
    }

    /// The name the section will have.
    pub(super) fn name(&self) -> Option<String> {
        self.profile.name.clone()
    }

    /// Runs every step. Ends within the deadline whatever the store does.
    pub(super) async fn run(self) -> Section {
        let profile = &*self.profile;
        let mut steps = vec![
            Step::new("endpoint", endpoint(profile, self.shares_default_endpoint)),
            Step::new("credentials", credentials(profile, self.is_spare)),
        ];
        let missing = matches!(profile.credentials, Credentials::Missing(_));
        if missing && self.is_spare {
            for name in ["dns", "tcp", "tls", "request", "clock"] {
                steps.push(Step::new(name, Finding::skipped("the profile cannot be used")));
            }
        } else {
            self.store_steps(missing, &mut steps).await;
        }
        Section { subject: Subject::Profile, name: self.name(), steps }
    }

    async fn store_steps(&self, missing: bool, steps: &mut Vec<Step>) {
        let profile = &*self.profile;
        let deadline = Deadline::start();
        let target = service_target(&profile.endpoint);
        let connector = self.connector.as_deref();
        let reached = reach(&profile.endpoint, &target, connector, &self.upstream, deadline).await;
        steps.extend(reached.steps);
        let skipped = |steps: &mut Vec<Step>, why: &str| {
            steps.push(Step::new("request", Finding::skipped(why)));
            steps.push(Step::new("clock", Finding::skipped(why)));
        };
        if missing {
            return skipped(steps, "there are no credentials to sign with");
        }
        let (Ok(socket), Some(connector)) = (reached.socket, connector) else {
            return skipped(steps, "not tried");
        };
        let tls = profile.endpoint.tls;
        let asker = Asker { connector, socket, tls, upstream: &self.upstream, deadline };
        let (step, answer) = ask_step("request", asker, Question::Service, profile, target).await;
        let is_refused = step.finding.state == State::Failed;
        steps.push(step);
        steps.push(clock_step(answer.as_ref()));
        if !is_refused {
            self.bucket_steps(asker, steps).await;
        }
    }

    /// Asks for the buckets that the allow list names literally.
    async fn bucket_steps(&self, asker: Asker<'_>, steps: &mut Vec<Step>) {
        let globs = self.profile.buckets.iter().flatten();
        let literal = globs.map(wildmatch::WildMatch::pattern).filter(|p| !p.contains(['*', '?']));
        for bucket in literal.take(MAX_BUCKETS) {
            let target = bucket_target(&self.profile, &bucket);
            let (mut step, _) =
                ask_step("bucket", asker, Question::Bucket, &self.profile, target).await;
            step.finding.detail = format!("{bucket}: {}", step.finding.detail);
            steps.push(step);
        }
    }
}

/// Puts one question and judges the answer.
pub(super) async fn ask_step(
    name: &'static str,
    asker: Asker<'_>,
    question: Question,
    profile: &Profile,
    target: Target,
) -> (Step, Option<Answer>) {
    let started = Instant::now();
    let answer = match Request::new(question, profile, target.clone(), clock()) {
        Ok(request) => asker.ask(request).await,
        Err(error) => Err(error),
    };
    let took = started.elapsed();
    let finding = judge_answer(asker, question, profile, &target, &answer).await;
    (Step::timed(name, finding, took), answer.ok())
}

/// The verdict on an answer or the lack of one; a port that wants TLS is found out.
pub(super) async fn judge_answer(
    asker: Asker<'_>,
    question: Question,
    profile: &Profile,
    target: &Target,
    answer: &Result<Answer, AskError>,
) -> Finding {
    match answer {
        Ok(answer) => {
            // Many servers answer 400 to plain requests at their port of TLS.
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

pub(super) fn clock_step(answer: Option<&Answer>) -> Step {
    let finding = match answer {
        Some(answer) => judge_clock(answer.date, answer.now),
        None => Finding::skipped("there is no answer to take the store's time from"),
    };
    Step::new("clock", finding)
}

/// Where the store is and how it is asked.
pub(super) fn endpoint(profile: &Profile, shared: bool) -> Finding {
    let addressing = match profile.addressing {
        Addressing::Path => "path",
        Addressing::Virtual => "virtual",
    };
    let shared = if shared { "; the default profile's endpoint too" } else { "" };
    let Profile { endpoint, region, .. } = profile;
    Finding::ok(format!("{endpoint}, region {region}, addressing {addressing}{shared}"))
}

/// Where the key comes from; of the key itself no more than the end of its id.
pub(super) fn credentials(profile: &Profile, is_spare: bool) -> Finding {
    match &profile.credentials {
        Credentials::Keys { keys, .. } => {
            let id = masked_id(&keys.access_key_id);
            let token = if keys.session_token.is_some() { ", with a session token" } else { "" };
            Finding::ok(format!("key id {id} from {}{token}", key_source(profile)))
        }
        Credentials::Anonymous => Finding::ok("none: requests are not signed (anonymous: true)"),
        Credentials::Missing(why) if is_spare => Finding::warning(
            format!("none, so URLs without profile@ are refused: {why}"),
            "give URLs a profile@, or the default profile credentials",
        ),
        Credentials::Missing(why) => Finding::failed(
            format!("none, so every request is refused: {why}"),
            "add aws_access_key_id and aws_secret_access_key under the profile's name to the \
             credentials file, or say anonymous: true",
        ),
    }
}
