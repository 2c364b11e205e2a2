//! Configurations, and checks that apply to every report.

use s3proxy::terminal::Paint;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use s3proxy::check::report::{CheckReport, CheckStep, StepState};
use s3proxy::check::{check_all, check_object};
use s3proxy::config::{
    BlocksConfig, CacheConfig, CacheMemory, Config, DownstreamConfig, GatewayConfig, Listen,
    LogConfig, LogFormat, Profiles, ServerConfig, UpstreamConfig,
};
use s3proxy::mime::{MimePolicy, MimeSettings};
use s3proxy::profile::Profile;
use s3proxy::protocol::forwarded::ForwardedHeader;
use s3proxy::s3::credentials::{CredentialSource, Credentials, Keys};
use s3proxy::s3::endpoint::Endpoint;
use s3proxy::s3::secret::Secret;

use crate::canary;

const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "canary/SecretKey+OfTheSuite/0123456789";
const TOKEN: &str = "canary-session-token-nobody-may-see";
const SSE_KEY: &str = "canary-encryption-key-nobody-may-see";

/// The longest time for the check of one store.
const PATIENCE: Duration = Duration::from_secs(10);

/// The profile `hips` at this endpoint, with everything that is secret.
pub(crate) fn hips(endpoint: &str) -> Profile {
    let customer_key = "x-amz-server-side-encryption-customer-key";
    Profile {
        credentials: Credentials::Keys {
            keys: Keys {
                access_key_id: KEY_ID.to_owned(),
                secret_access_key: Secret::new(SECRET.to_owned()),
                session_token: Some(Secret::new(TOKEN.to_owned())),
            },
            source: CredentialSource::File {
                path: "/secrets/aws-credentials.ini".into(),
                section: "hips".to_owned(),
            },
        },
        upstream_headers: vec![(
            http::HeaderName::from_static(customer_key),
            Secret::new(SSE_KEY.to_owned()),
        )],
        ..Profile::unsigned(Some("hips"), Endpoint::parse(endpoint).expect("an endpoint"))
    }
}

/// A configuration with these named profiles, and a default profile that is not used.
pub(crate) fn config(named: Vec<Profile>) -> Config {
    let default = Profile {
        name: None,
        credentials: Credentials::Missing("AWS_ACCESS_KEY_ID is not set".to_owned()),
        upstream_headers: Vec::new(),
        ..hips("http://127.0.0.1:1")
    };
    let named = named
        .into_iter()
        .map(|profile| (profile.name.clone().expect("a named profile"), Arc::new(profile)));
    Config {
        gateway: GatewayConfig {
            listen: vec![Listen::plain(([127, 0, 0, 1], 0).into())],
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            name: "s3proxy".to_owned(),
            path_prefix: "/s3proxy".to_owned(),
            require_user: false,
            cache_max_age: 0,
            content_security_policy: true,
            server_timing: false,
            bucket_validation: true,
            credentials_file: None,
            region: "us-east-1".to_owned(),
        },
        log: LogConfig { format: LogFormat::Development, level: log::LevelFilter::Info },
        mime: MimePolicy::new(&MimeSettings::default()).expect("the default rules"),
        cors: None,
        profiles: Profiles {
            default: Some(Arc::new(default)),
            named: BTreeMap::from_iter(named),
            aliases: Arc::default(),
        },
        upstream: UpstreamConfig {
            connect_timeout: Duration::from_millis(500),
            first_byte_timeout: Duration::from_millis(500),
            read_timeout: Duration::from_millis(500),
            total_timeout: Duration::from_secs(2),
            retries: 1,
            idle_timeout: Duration::from_secs(60),
            keepalive_pool_size: 4,
            probe: false,
            dns_refresh: Duration::from_secs(30),
            max_in_flight: 16,
            client_share: 50,
            queue_timeout: Duration::from_secs(1),
            ca_file: None,
            proxy: None,
        },
        downstream: DownstreamConfig {
            header_timeout: Duration::from_secs(10),
            header_max_bytes: 16 * 1024,
            keepalive_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            min_rate: 8192,
            tcp_user_timeout: Duration::from_secs(20),
            max_connections: 100,
            max_requests_per_user: 0,
            http2_max_streams: 128,
            http2_max_age: Duration::from_secs(3600),
        },
        server: ServerConfig {
            direct_hits: true,
            threads: 1,
            lame_duck: Duration::ZERO,
            grace_period: Duration::ZERO,
            reload_interval: Duration::ZERO,
            upgrade_sock: None,
        },
        cache: CacheConfig {
            memory: CacheMemory::Bytes(0),
            disk: None,
            shared: None,
            archive_directories: 1 << 20,
            background_refreshes: 1,
            revalidate_timeout: Duration::from_secs(1),
            pin_share: 0,
            blocks: BlocksConfig { size: 1 << 20, share: 0, read_ahead: 0 },
        },
        admin_listen: None,
        admin_hosts: Vec::new(),
        admin_tls: None,
        tls: None,
        tracing: None,
    }
}

/// Checks all profiles, in time and without a secret in the output.
pub(crate) async fn all(config: &Config) -> CheckReport {
    let started = Instant::now();
    let report = check_all(config, &[]).await;
    hold_to_rules(&report, started);
    report
}

/// Checks one object, in time and without a secret in the output.
pub(crate) async fn object(config: &Config, object: &str) -> CheckReport {
    let started = Instant::now();
    let report = check_object(config, object).await;
    hold_to_rules(&report, started);
    report
}

fn hold_to_rules(report: &CheckReport, started: Instant) {
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    let debug = format!("{report:?}");
    for output in [report.to_text(Paint::Plain), report.to_json(), debug] {
        canary::search("a report", &output);
        for secret in [KEY_ID, SECRET, TOKEN, SSE_KEY, "Signature="] {
            assert!(!output.contains(secret), "{secret} is in the output:\n{output}");
        }
    }
    canary::count();
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("valid JSON");
    assert_eq!(json.get("well").and_then(|well| well.as_bool()), Some(report.is_well()));
}

/// The step of this name in the section of this name.
#[track_caller]
pub(crate) fn step<'a>(report: &'a CheckReport, section: &str, name: &str) -> &'a CheckStep {
    let section = report.sections.iter().find(|s| s.name.as_deref() == Some(section));
    let step = section.and_then(|section| section.steps.iter().find(|step| step.name == name));
    step.unwrap_or_else(|| panic!("no step {name} in:\n{}", report.to_text(Paint::Plain)))
}

/// The step has this state, and these words in its detail and fix.
#[track_caller]
pub(crate) fn assert_step(step: &CheckStep, state: StepState, detail: &str, fix: &str) {
    assert_eq!(step.finding.state, state, "{step:?}");
    assert!(step.finding.detail.contains(detail), "{detail}: {step:?}");
    assert!(step.finding.fix.as_deref().unwrap_or_default().contains(fix), "{fix}: {step:?}");
}
