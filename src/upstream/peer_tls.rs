//! TLS of one store for Pingora's peers, where it differs from that with all stores. Connections of such stores are
//! apart from all others: Pingora's pools do not tell trusted authorities apart
//! ([`crate::upstream::resolve::EndpointAddresses::apart`]).

use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

use crate::certificate::store_tls::{ClientCertificate, StoreTls};

/// What a peer trusts and presents.
#[derive(Clone)]
pub struct PeerTls {
    authorities: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
}

impl PeerTls {
    /// In Pingora's forms. All certificates were parsed before.
    #[must_use]
    pub fn new(tls: &StoreTls) -> Self {
        let wrapped = |der: &[u8]| WrappedX509::new(der.to_vec(), parse_x509);
        let client = |client: &ClientCertificate| {
            let chain = client.chain().map(<[u8]>::to_vec).collect();
            Arc::new(CertKey::new(chain, client.key().expose().to_vec()))
        };
        Self {
            authorities: tls.authorities().map(|all| all.map(wrapped).collect()),
            client: tls.client().map(client),
        }
    }

    /// Has connections of this peer use it.
    pub fn apply(&self, peer: &mut HttpPeer) {
        peer.options.ca.clone_from(&self.authorities);
        peer.client_cert_key.clone_from(&self.client);
    }
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerTls").finish_non_exhaustive()
    }
}
