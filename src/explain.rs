//! `s3proxy explain`: what becomes of one URL, from what was pasted to what a client gets. Beside
//! what [`crate::check`] finds of an object it shows how the URL was read, what the cache's rules are,
//! what a running gateway keeps, and the request to the store down to the string that is signed.
//!
//! What is asked is asked here; the texts are pure functions of the answers.

use std::net::SocketAddr;

use http::Method;

use crate::check::report::{Finding, State, Step};
use crate::check::{self, CheckExchange, Checked};
use crate::config::Config;
use crate::explain::cached::Running;
use crate::explain::outcome::Known;
use crate::explain::report::{Explanation, Noted};
use crate::profile::{ContentTypeFrom, Profile};
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;

mod cached;
mod key_notes;
mod outcome;
pub mod report;
mod rules;
mod signing;
mod store_answer;

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The admin address of the gateway that runs; `None` where it has none.
    pub admin: Option<SocketAddr>,
    /// Neither that gateway nor a store is asked.
    pub offline: bool,
}

/// Explains one object, as [`check::check_object`] takes it.
pub async fn explain(config: &Config, argument: &str, options: Options) -> Explanation {
    let mut checked = check::examine(config, argument, !options.offline).await;
    let steps = std::mem::take(&mut checked.section.steps);
    let name = checked.section.name.take().unwrap_or_default();
    let mut explanation = Explanation::new(name, steps);
    match &checked.named {
        Ok(named) => {
            let address = named.address.clone();
            let written = named.written.as_deref();
            explanation.note("address", key_notes::notes(written, &address.key));
            explain_object(&mut explanation, config, &address, &checked, options).await;
            explanation.address = Some(address);
        }
        Err(status) => explanation.conclude(outcome::of_no_object(*status), Vec::new()),
    }
    explanation
}

async fn explain_object(
    explanation: &mut Explanation,
    config: &Config,
    address: &ObjectAddress,
    checked: &Checked,
    options: Options,
) {
    let route = format!("an object: {}/s3/{{profile@bucket}}/{{key}}", config.gateway.path_prefix);
    explanation.put_first(Step::new("route", Finding::ok(route)));
    let profile = config.profiles.get(address.profile.as_deref());
    let by_key = profile.is_none_or(|profile| profile.content_type == ContentTypeFrom::Key);
    if by_key {
        explanation.note("type", vec![rules::media_type_rule(&config.mime, &address.key)]);
    }
    let passed = explanation.step("credentials").is_some_and(|it| it.state != State::Failed);
    let mut kept = None;
    if let Some(profile) = profile.filter(|_| passed) {
        let rule = profile.cache.of(&address.key);
        let running = if options.offline || !rule.store {
            Running::NotAsked
        } else {
            ask_gateway(options.admin, address).await
        };
        let (finding, notes) = rules::cache_rule(profile, address);
        let cache = Noted { step: Step::new("cache", finding), notes };
        let gateway = Step::new("gateway", running.finding());
        explanation.put_after("credentials", vec![cache, gateway.into()]);
        explain_store(explanation, profile, address, checked.asked.as_ref());
        explanation.kept = running.looked().cloned();
        kept = running.in_use().cloned();
    }
    let refusal = checked.refusal.as_ref();
    let answer = explanation.step("answer").cloned().unwrap_or_else(|| Finding::skipped("unknown"));
    let etag = explanation.store.as_ref().and_then(|store| store.etag.clone());
    let outcome = outcome::of_object(&Known {
        checked: answer,
        refusal,
        kept: kept.as_ref(),
        etag: etag.as_deref(),
        before_the_store: !passed,
        offline: options.offline,
    });
    let body = outcome.refusal.as_ref().map(|refusal| body(refusal, explanation.name()));
    explanation.conclude(outcome, body.into_iter().collect());
}

/// What a client reads.
fn body(refusal: &Refusal, name: &str) -> String {
    let answer = refusal.response(Some(name), "GET, HEAD", "...");
    format!("its body: {}", String::from_utf8_lossy(&answer.body))
}

/// The request to the store, and what came back.
fn explain_store(
    explanation: &mut Explanation,
    profile: &Profile,
    address: &ObjectAddress,
    asked: Option<&CheckExchange>,
) {
    let at = asked.map_or_else(check::clock, |asked| asked.at);
    let target =
        profile.endpoint.target(profile.addressing, &address.bucket, address.key.as_bytes());
    let (finding, notes) = signing::request(profile, &target, &Method::GET, at);
    explanation.put(Noted { step: Step::new("sent", finding), notes });
    if let Some((asked, answer)) = asked.and_then(|asked| Some((asked, asked.answer.as_ref()?))) {
        explanation.note("request", store_answer::lines(answer));
        explanation.store = Some(store_answer::facts(answer, asked));
    }
}

/// Asks the running gateway what it keeps.
async fn ask_gateway(admin: Option<SocketAddr>, address: &ObjectAddress) -> Running {
    let Some(admin) = admin else { return Running::NoAddress };
    let name = address.name();
    let target = name.strip_prefix("s3://").unwrap_or(&name).to_owned();
    let asked = move || crate::admin::request::ask(admin, "GET", "/cache/", &target);
    match tokio::task::spawn_blocking(asked).await {
        Ok(Ok((status, document))) => cached::read(admin, &status, &document),
        Ok(Err(error)) => Running::Silent { admin, why: error.to_string() },
        Err(error) => Running::Silent { admin, why: error.to_string() },
    }
}
