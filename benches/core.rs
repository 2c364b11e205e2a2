//! The cost of the pure parts of one request: parsing the address, choosing the media type,
//! signing, evaluating the answer. Run `cargo bench --bench core`.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has to stop")]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use s3proxy::gateway::route::route;
use s3proxy::mime::{MimePolicy, MimeSettings};
use s3proxy::profile::Profile;
use s3proxy::protocol::forwarded_conditions::upstream_conditions;
use s3proxy::s3::address::ObjectAddress;
use s3proxy::s3::credentials::{CredentialSource, Credentials, Keys};
use s3proxy::s3::endpoint::{Addressing, Endpoint};
use s3proxy::s3::secret::Secret;
use s3proxy::upstream::answer::{AnswerContext, Ask, decide};

const TILE: &[u8] = b"LSSTCam/runs/DRP/DP2/cosmost2/color_gri/Norder7/Dir20000/Npix29183.webp";
const ESCAPED: &[u8] = b"%E6%98%9F%E5%9B%BE/a%20b%2Bc//%25%C3%A9/%F0%9F%98%80/tile%20%281%29.png";

fn profile() -> Profile {
    let endpoint = Endpoint {
        tls: true,
        host: "s3.example.org".to_owned(),
        port: 9000,
        base_path: String::new(),
    };
    Profile {
        credentials: Credentials::Keys {
            keys: Keys {
                access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
                secret_access_key: Secret::new(
                    "an example of a secret key, 40 bytes....".to_owned(),
                ),
                session_token: None,
            },
            source: CredentialSource::Environment,
        },
        ..Profile::unsigned(Some("hips"), endpoint)
    }
}

fn address(c: &mut Criterion) {
    let path = [b"/s3proxy/s3/hips@rubin-hips-views/", TILE].concat();
    c.bench_function("route", |b| b.iter(|| route("/s3proxy", black_box(&path))));
    c.bench_function("address/tile", |b| {
        b.iter(|| ObjectAddress::parse(b"hips@rubin-hips-views", black_box(TILE), true));
    });
    c.bench_function("address/escaped", |b| {
        b.iter(|| ObjectAddress::parse(b"hips%40sky", black_box(ESCAPED), true));
    });
}

fn mime(c: &mut Criterion) {
    let policy = MimePolicy::new(&MimeSettings::default()).expect("the defaults are valid");
    for key in ["Norder7/Dir20000/Npix29183.webp", "a/b.fits.fz", "HiPS/properties", "x.unknown"] {
        c.bench_function(&format!("mime/{key}").replace("Norder7/Dir20000/", ""), |b| {
            b.iter(|| {
                black_box(policy.verdict(black_box(key)));
            });
        });
    }
}

fn sign(c: &mut Criterion) {
    let profile = profile();
    let signer = profile.signer();
    let target = profile.endpoint.target(Addressing::Path, "rubin-hips-views", TILE);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    c.bench_function("target", |b| {
        b.iter(|| profile.endpoint.target(Addressing::Path, "rubin-hips-views", black_box(TILE)));
    });
    c.bench_function("sign", |b| {
        b.iter(|| signer.sign(&Method::GET, black_box(&target), now));
    });
    c.bench_function("sign/signing key alone", |b| {
        b.iter(|| {
            aws_sigv4::sign::v4::generate_signing_key(
                black_box("an example of a secret key, 40 bytes...."),
                now,
                "us-east-1",
                "s3",
            )
        });
    });
}

fn answer(c: &mut Criterion) {
    let client = HeaderMap::new();
    let conditions = upstream_conditions(&Method::GET, &client);
    let mut store = HeaderMap::new();
    for (name, value) in [
        ("content-length", "421337"),
        ("etag", "\"2bcd3c4de20c918e19fab5c36249c70d\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("date", "Mon, 07 Nov 1994 08:49:37 GMT"),
        ("content-type", "image/webp"),
        ("x-amz-request-id", "tx00000a1b2c3d4e5f-0065f0a1b2-1234-default"),
    ] {
        store.insert(name, HeaderValue::from_static(value));
    }
    let request = AnswerContext {
        method: &Method::GET,
        headers: &client,
        ask: Ask::AsClient,
        conditional: false,
        conditions: &conditions,
        missing_on_403: false,
    };
    c.bench_function("answer/200", |b| {
        b.iter(|| decide(black_box(&request), StatusCode::OK, &store));
    });
}

criterion_group!(benches, address, mime, sign, answer);
criterion_main!(benches);
