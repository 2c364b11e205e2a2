//! `s3proxy check`: does it work, and if not, why? Asks the stores as the gateway would, and
//! explains what it finds to the person who runs it.
//!
//! - [`check_all`] looks at every profile: its settings, its store's name, port, certificate and
//!   clock, and whether the store knows the key.
//! - [`check_object`] does for one object what the gateway does for its URL.
//!
//! The verdicts themselves are pure functions (`verdict`, `transport`, `object_name`, `reply`); `reach`
//! and `request` connect and send. Each step has a deadline, so a check always ends.

use std::sync::Arc;

use pingora::connectors::{ConnectorOptions, TransportConnector};

use crate::check::object::ObjectCheck;
use crate::check::profile::ProfileCheck;
use crate::check::report::{Finding, Section, Step, Subject};
use crate::config::Config;
use crate::response::refusal::Refusal;
use crate::upstream::certificates::Trusted;

pub(crate) use crate::check::object::{CheckExchange, Checked, whole_length};
pub use crate::check::report::Report;
pub(crate) use crate::check::request::{ProbeAnswer, clock};

mod deadline;
mod object;
mod object_name;
mod profile;
mod reach;
mod reply;
pub mod report;
mod request;
mod transport;
mod verdict;

/// Checks every profile, all at the same time. `warnings` are those of the configuration, among
/// them the orphans: credentials without endpoint and the reverse.
pub async fn check_all(config: &Config, warnings: &[String]) -> Report {
    let (certificates, connector) = connector(config);
    let connector = connector.map(Arc::new);
    let mut steps: Vec<Step> = warnings.iter().map(|warning| warning_step(warning)).collect();
    if steps.is_empty() {
        steps.push(Step::new("configuration", Finding::ok("nothing looks unintended")));
    }
    steps.push(certificates);
    let mut sections = vec![Section { subject: Subject::Gateway, name: None, steps }];
    let checks = config.profiles.iter().map(|profile| {
        let check = ProfileCheck::new(config, profile, connector.clone());
        (check.name(), tokio::spawn(check.run()))
    });
    for (name, task) in checks.collect::<Vec<_>>() {
        sections.push(task.await.unwrap_or_else(|error| {
            let finding = Finding::failed(
                format!("the check itself failed: {error}"),
                "report this to the authors of s3proxy",
            );
            let steps = vec![Step::new("request", finding)];
            Section { subject: Subject::Profile, name, steps }
        }));
    }
    Report { sections }
}

/// Does for one object what the gateway does for its URL. `object` is a URL of the gateway, the
/// part of it behind `/s3/`, or an `s3://` name as messages and logs have it.
pub async fn check_object(config: &Config, object: &str) -> Report {
    let (certificates, connector) = connector(config);
    let section = match connector {
        Some(connector) => ObjectCheck::new(config, Some(&connector)).run(object).await.section,
        None => Section { subject: Subject::Gateway, name: None, steps: vec![certificates] },
    };
    Report { sections: vec![section] }
}

/// What [`check_object`] finds, with all that led to it. `ask` says whether a store may be asked.
pub(crate) async fn examine(config: &Config, object: &str, ask: bool) -> Checked {
    if !ask {
        return ObjectCheck::new(config, None).run(object).await;
    }
    let (certificates, connector) = connector(config);
    let mut checked = ObjectCheck::new(config, connector.as_ref()).run(object).await;
    if connector.is_none() {
        // The gateway would not start.
        checked.section.steps.push(certificates);
        checked.refusal = checked.refusal.or(Some(Refusal::Internal));
    }
    checked
}

fn warning_step(warning: &str) -> Step {
    let fix = "see docs/configuration.md, and s3proxy config for where each value comes from";
    Step::new("configuration", Finding::warning(warning, fix))
}

/// Pingora's connector as the gateway has it.
fn connector(config: &Config) -> (Step, Option<TransportConnector>) {
    let tls = config.profiles.iter().any(|profile| profile.endpoint.tls);
    let trusted = Trusted::read(&config.upstream);
    let finding = match &trusted {
        Err(error) => Finding::failed(
            error.to_string(),
            "the gateway cannot start like this: correct upstream.ca_file, or SSL_CERT_FILE and \
             SSL_CERT_DIR",
        ),
        Ok(Trusted { number: 0, place }) if tls => Finding::failed(
            format!("{place} has no trusted certificates, so no TLS store is believed"),
            "set upstream.ca_file (S3PROXY_UPSTREAM_CA_FILE), or install ca-certificates",
        ),
        Ok(Trusted { number, place }) => Finding::ok(format!("{number} trusted, from {place}")),
    };
    let mut options = ConnectorOptions::new(1);
    let ca_file = config.upstream.ca_file.as_ref();
    options.ca_file = ca_file.map(|path| path.to_string_lossy().into_owned());
    let connector = trusted.is_ok().then(|| TransportConnector::new(Some(options)));
    (Step::new("certificates", finding), connector)
}
