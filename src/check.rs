//! `s3proxy check`: tests every profile, or one object. Sends the requests of the gateway to the stores,
//! and explains each result and its likely fix to an operator.
//!
//! - [`check_all`] tests every profile: its settings, the DNS name, port, certificate and clock of its
//!   store, and whether the store knows the access key.
//! - [`check_object`] does for one object what the gateway does for its URL.
//! - [`check_survey`] compares the files of a HiPS survey, in a bucket or on a disk.
//!
//! The verdicts are pure functions (`verdict`, `transport`, `object_name`, `reply`); `reach` and `request` send
//! requests. Each step has a deadline, so a check always ends.

use std::sync::Arc;
use std::time::Duration;

use pingora::connectors::{ConnectorOptions, TransportConnector};

use crate::check::deadline::Deadline;
use crate::check::object::ObjectCheck;
use crate::check::profile::ProfileCheck;
use crate::check::report::{CheckSection, CheckStep, Finding, Subject};
use crate::config::Config;
use crate::profile::Profile;
use crate::response::refusal::Refusal;
use crate::upstream::certificates::Trusted;
use crate::upstream::current_stores::obtained;

pub(crate) use crate::check::object::{CheckExchange, Checked, whole_length};
pub use crate::check::report::CheckReport;
pub(crate) use crate::check::request::{ProbeAnswer, clock};
pub use crate::check::survey::{SurveyPlace, check_survey};

mod deadline;
mod listeners;
mod media_type;
mod object;
mod object_name;
mod profile;
mod reach;
mod reply;
pub mod report;
mod request;
mod shared;
mod survey;
mod transport;
mod verdict;

/// Checks all profiles at the same time. `warnings` are those of the configuration, such as credentials
/// without an endpoint and the reverse.
pub async fn check_all(config: &Config, warnings: &[String]) -> CheckReport {
    let deadline = Deadline::start();
    let (certificates, connector) = connector(config);
    let connector = connector.map(Arc::new);
    let check = |config: &Config, profile: &Arc<Profile>| {
        let checks = ProfileCheck::at_each_endpoint(config, profile, connector.as_ref(), deadline);
        let begin = |check: ProfileCheck| (check.name(), tokio::spawn(check.run()));
        checks.into_iter().map(begin).collect::<Vec<_>>()
    };
    // Those that need no provider do not wait for one.
    let of_profile =
        |profile: &Arc<Profile>| profile.provider.is_none().then(|| check(config, profile));
    let begun: Vec<_> = config.profiles.iter().map(of_profile).collect();
    let config = &with_credentials(config, deadline.half()).await;
    let mut steps: Vec<CheckStep> = warnings.iter().map(|warning| warning_step(warning)).collect();
    if steps.is_empty() {
        steps.push(CheckStep::new("configuration", Finding::ok("no warnings")));
    }
    steps.push(certificates);
    steps.extend(listeners::certificates(config, clock()));
    let mut sections = vec![CheckSection { subject: Subject::Gateway, name: None, steps }];
    let checks = begun.into_iter().zip(config.profiles.iter());
    let checks = checks.map(|(begun, profile)| begun.unwrap_or_else(|| check(config, profile)));
    for (name, task) in checks.collect::<Vec<_>>().into_iter().flatten() {
        sections.push(task.await.unwrap_or_else(|error| {
            let finding = Finding::failed(
                format!("the check itself failed: {error}"),
                "report this as a bug of s3proxy",
            );
            let steps = vec![CheckStep::new("request", finding)];
            CheckSection { subject: Subject::Profile, name, steps }
        }));
    }
    if let Some(shared) = &config.cache.shared {
        sections.push(shared::check_shared(shared).await);
    }
    CheckReport { sections }
}

/// Does for one object what the gateway does for its URL. `object` is a URL of the gateway, its part
/// after `/s3/`, or the `s3://` name of messages and logs.
pub async fn check_object(config: &Config, object: &str) -> CheckReport {
    let deadline = Deadline::start();
    let (certificates, connector) = connector(config);
    let config = &with_credentials(config, deadline.half()).await;
    let section = match connector {
        Some(connector) => {
            ObjectCheck::new(config, Some(&connector), deadline).run(object).await.section
        }
        None => CheckSection { subject: Subject::Gateway, name: None, steps: vec![certificates] },
    };
    CheckReport { sections: vec![section] }
}

/// The results of [`check_object`] and the data they are based on. `ask` allows requests to the store.
pub(crate) async fn examine(config: &Config, object: &str, ask: bool) -> Checked {
    if !ask {
        return ObjectCheck::new(config, None, Deadline::start()).run(object).await;
    }
    let (certificates, connector) = connector(config);
    let check = ObjectCheck::new(config, connector.as_ref(), Deadline::start());
    let mut checked = check.run(object).await;
    if connector.is_none() {
        // The gateway does not start like this.
        checked.section.steps.push(certificates);
        checked.refusal = checked.refusal.or(Some(Refusal::Internal));
    }
    checked
}

/// The configuration with the credentials that the providers issue now, within `limit`. Without trusted
/// certificates none is asked.
pub(crate) async fn with_credentials(config: &Config, limit: Duration) -> Config {
    let mut config = config.clone();
    if Trusted::read(&config.upstream).is_ok() {
        config.profiles = obtained(&config.profiles, &config.upstream, limit).await;
    }
    config
}

fn warning_step(warning: &str) -> CheckStep {
    let fix = "see docs/configuration.md; s3proxy config prints the source of each value";
    CheckStep::new("configuration", Finding::warning(warning, fix))
}

/// Pingora's connector, configured like the gateway's.
fn connector(config: &Config) -> (CheckStep, Option<TransportConnector>) {
    let tls = config.profiles.iter().flat_map(|it| it.endpoints()).any(|endpoint| endpoint.tls);
    let trusted = Trusted::read(&config.upstream);
    let finding = match &trusted {
        Err(error) => Finding::failed(
            error.to_string(),
            "the gateway does not start like this: correct upstream.ca_file, or SSL_CERT_FILE and \
             SSL_CERT_DIR",
        ),
        Ok(Trusted { number: 0, place }) if tls => Finding::failed(
            format!(
                "no trusted CA certificates in {place}: every TLS connection to a store will fail"
            ),
            "set upstream.ca_file (S3PROXY_UPSTREAM_CA_FILE), or install ca-certificates",
        ),
        Ok(Trusted { number, place }) => {
            Finding::ok(format!("{number} trusted CA certificates in {place}"))
        }
    };
    let mut options = ConnectorOptions::new(1);
    let ca_file = config.upstream.ca_file.as_ref();
    options.ca_file = ca_file.map(|path| path.to_string_lossy().into_owned());
    let connector = trusted.is_ok().then(|| TransportConnector::new(Some(options)));
    (CheckStep::new("certificates", finding), connector)
}
