//! `s3proxy explain`: traces how one URL is handled, from the argument to the response to a client. In
//! addition to the steps of [`crate::check`] it shows how the URL is read, the rules of the cache, the
//! cached copy of a running gateway, and the request to the store with the string that is signed.
//!
//! This file sends the requests; the texts are pure functions of the answers.

use http::{HeaderValue, Method};

use crate::admin::replicas::Replica;
use crate::cache::Cache;
use crate::cache::memory::limit::budget;
use crate::check::report::{CheckStep, Finding, StepState};
use crate::check::{self, CheckExchange, Checked};
use crate::config::Config;
use crate::explain::cached::GatewayReport;
use crate::explain::outcome::Evidence;
use crate::explain::report::{AnnotatedStep, Explanation};
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

/// Which servers `explain` sends requests to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The admin listener of the running gateway; `None` if it has none.
    pub admin: Option<Replica>,
    /// No request to that gateway or to a store.
    pub offline: bool,
}

/// Explains one object; the argument is that of [`check::check_object`]. Unless `offline`, the configuration
/// has the credentials that its providers issued (`check::with_credentials`).
pub async fn explain(config: &Config, argument: &str, options: &Options) -> Explanation {
    let mut checked = check::examine(config, argument, !options.offline).await;
    let steps = std::mem::take(&mut checked.section.steps);
    let name = checked.section.name.take().unwrap_or_default();
    let mut explanation = Explanation::new(name, steps);
    match &checked.named {
        Ok(named) => {
            let written = named.written.as_deref();
            explanation.note("address", key_notes::notes(written, &named.address.key));
            let address = checked.aliased.as_ref().unwrap_or(&named.address);
            Box::pin(explain_object(&mut explanation, config, address, &checked, options)).await;
            let redirects = config.tls.as_ref().is_some_and(|tls| tls.redirect_port.is_some());
            if redirects && argument.starts_with("http://") {
                let note =
                    "asked by http, clients are redirected to https first (tls.redirect_to_https)";
                explanation.note("route", vec![note.to_owned()]);
            }
            explanation.address = Some(named.address.clone());
            explanation.aliased = checked.aliased.as_ref().map(ObjectAddress::name);
        }
        Err(status) => explanation.conclude(outcome::no_object(*status), Vec::new()),
    }
    explanation
}

async fn explain_object(
    explanation: &mut Explanation,
    config: &Config,
    address: &ObjectAddress,
    checked: &Checked,
    options: &Options,
) {
    let route = format!("an object: {}/s3/{{profile@bucket}}/{{key}}", config.gateway.path_prefix);
    explanation.put_first(CheckStep::new("route", Finding::ok(route)));
    let profile = config.profiles.get(address.profile.as_deref());
    // Of a member of an archive the rest is about the archive.
    let stored = checked.archive.as_ref().unwrap_or(address);
    let by_key = profile.is_none_or(|profile| profile.content_type == ContentTypeFrom::Key);
    if by_key && explanation.step("type").is_some() {
        explanation.note("type", vec![rules::media_type_rule(&config.mime, &address.key)]);
    }
    let by_key_type = by_key.then(|| config.mime.key_type(&address.key));
    if let (Some(profile), Some(Ok(key_type))) = (profile, by_key_type) {
        explanation.note("type", rules::sandbox(profile, &key_type.decoded));
    }
    let has_credentials =
        explanation.step("credentials").is_some_and(|it| it.state != StepState::Failed);
    let mut cached = None;
    if let Some(profile) = profile.filter(|_| has_credentials) {
        let rule = profile.cache.of(&stored.key);
        let report = if options.offline || !rule.store {
            GatewayReport::NotRequested
        } else {
            inspect_gateway(options.admin.as_ref(), address).await
        };
        let memory = budget(config);
        let whole = Cache::max_object_of(memory, &config.cache, rule);
        let (finding, notes) =
            rules::cache_rule(profile, stored, whole, config.cache.blocks.share > 0);
        let cache = AnnotatedStep { step: CheckStep::new("cache", finding), notes };
        let gateway = CheckStep::new("gateway", report.finding());
        explanation.put_after("credentials", vec![cache, gateway.into()]);
        explain_store(explanation, profile, stored, checked.asked.as_ref());
        explanation.cached = report.inspection().cloned();
        cached = report.serving_entry().cloned();
    }
    let refusal = checked.refusal.as_ref();
    let checked_answer =
        explanation.step("answer").cloned().unwrap_or_else(|| Finding::skipped("unknown"));
    let etag = explanation.store.as_ref().and_then(|store| store.etag.clone());
    let answer = outcome::of_object(&Evidence {
        checked: checked_answer,
        refusal,
        cached: cached.as_ref().filter(|_| checked.archive.is_none()),
        etag: etag.as_deref(),
        decided_before_store: !has_credentials,
        offline: options.offline,
    });
    let mut notes: Vec<_> =
        answer.refusal.iter().map(|refusal| body(refusal, explanation.name())).collect();
    let stored_type = explanation.store.as_ref().and_then(|store| store.content_type.as_deref());
    if let (Some(profile), Some(stored), false) = (profile, stored_type, by_key)
        && let Ok(stored) = HeaderValue::from_str(stored)
    {
        notes.extend(rules::sandbox(profile, &stored));
    }
    explanation.conclude(answer, notes);
}

/// The body that a client receives.
fn body(refusal: &Refusal, name: &str) -> String {
    let answer = refusal.response(Some(name), "GET, HEAD", "...");
    format!("body: {}", String::from_utf8_lossy(&answer.body))
}

/// The request to the store, and its answer.
fn explain_store(
    explanation: &mut Explanation,
    profile: &Profile,
    address: &ObjectAddress,
    exchange: Option<&CheckExchange>,
) {
    let at = exchange.map_or_else(check::clock, |exchange| exchange.at);
    let mut at_each = profile.at_each_endpoint();
    let asked =
        at_each.find(|it| exchange.is_some_and(|exchange| exchange.endpoint == it.endpoint));
    let profile = asked.as_ref().unwrap_or(profile);
    let target =
        profile.endpoint.target(profile.addressing, &address.bucket, address.key.as_bytes());
    let (finding, notes) = signing::request(profile, &target, &Method::GET, at);
    explanation.put(AnnotatedStep { step: CheckStep::new("sent", finding), notes });
    if let Some((exchange, answer)) =
        exchange.and_then(|exchange| Some((exchange, exchange.answer.as_ref()?)))
    {
        explanation.note("request", store_answer::lines(answer));
        explanation.store = Some(store_answer::facts(answer, exchange));
    }
}

/// Requests the cached copy from the running gateway.
async fn inspect_gateway(replica: Option<&Replica>, address: &ObjectAddress) -> GatewayReport {
    let Some(replica) = replica.cloned() else { return GatewayReport::NoAdminAddress };
    let Some(admin) = replica.addresses.first().copied() else {
        return GatewayReport::NoAdminAddress;
    };
    let name = address.name();
    let target = name.strip_prefix("s3://").unwrap_or(&name).to_owned();
    let request = move || crate::admin::request::send(&replica, "GET", "/cache/", &target);
    match tokio::task::spawn_blocking(request).await {
        Ok(Ok((status, document))) => cached::read(admin, &status, &document),
        Ok(Err(error)) => GatewayReport::Unreachable { admin, why: error.to_string() },
        Err(error) => GatewayReport::Unreachable { admin, why: error.to_string() },
    }
}
