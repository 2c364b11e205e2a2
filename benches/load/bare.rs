//! A minimal Pingora proxy, to separate the cost of the framework from the cost of the gateway:
//! `bare LISTEN UPSTREAM THREADS [tls]` passes `/s3proxy/s3/profile@bucket/key` on as `/bucket/key`,
//! unsigned; with `tls` over TLS, whatever the certificate.

use std::io::Write as _;
use std::process::ExitCode;

use async_trait::async_trait;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare(std::net::SocketAddr, bool);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        #[expect(clippy::disallowed_methods, reason = "given a SocketAddr nothing is resolved")]
        let peer = HttpPeer::new(self.0, self.1, String::new());
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        let path = request.uri.path();
        let path = path.split_once('@').map_or(path, |(_, path)| path);
        request.set_raw_path(format!("/{path}").as_bytes())?;
        request.insert_header("host", self.0.to_string())
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(Ok(upstream)), Some(Ok(threads))) = (
        arguments.next(),
        arguments.next().map(|address| address.parse()),
        arguments.next().map(|threads| threads.parse()),
    ) else {
        let _stderr_closed =
            writeln!(std::io::stderr(), "usage: bare LISTEN UPSTREAM THREADS [tls]");
        return ExitCode::from(2);
    };
    let tls = arguments.next().as_deref() == Some("tls");
    let conf = ServerConf { threads, grace_period_seconds: Some(0), ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare(upstream, tls));
    service.add_listener(
        ListenerConfig::tcp(listen).l4_buffer(L4BufferSettings::new(8 * 1024, 32 * 1024)),
    );
    server.add_service(service);
    server.run_forever();
}
