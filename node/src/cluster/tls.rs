//! Mutual TLS between nodes: both ends prove that they have the cluster's secret.
//!
//! TLS 1.3 with raw public keys (RFC 7250): there are no certificates, names or dates to get wrong. Every
//! node has the same Ed25519 key, derived from the secret, and accepts a peer only if the peer signs
//! the handshake with exactly this key. A stranger gets no further than the handshake; a member is
//! whoever has the secret, and may call itself what it likes.

use std::sync::Arc;

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tokio_rustls::rustls::client::AlwaysResolvesClientRawPublicKeys;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider, verify_tls13_signature_with_raw_key};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use tokio_rustls::rustls::server::AlwaysResolvesServerRawPublicKeys;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme, version,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::key::Secret;

/// PKCS#8 around a seed of Ed25519 (RFC 8410).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// SubjectPublicKeyInfo around a public key of Ed25519 (RFC 8410).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];

/// What a node needs to accept and to dial peers.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds the private key")]
pub struct Tls {
    /// For the accepting end.
    pub acceptor: TlsAcceptor,
    /// For the dialling end.
    pub connector: TlsConnector,
}

impl Tls {
    /// The TLS of the cluster with this secret.
    ///
    /// # Errors
    /// Where the TLS library refuses the derived key.
    pub fn new(secret: &Secret) -> Result<Self, Error> {
        let seed = secret.derive("tls", &[]);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|_| Error::General("the derived key is no Ed25519 key".to_owned()))?;
        let spki = [SPKI_HEAD.as_slice(), pair.public_key().as_ref()].concat();
        let pkcs8 = PrivatePkcs8KeyDer::from([PKCS8_HEAD.as_slice(), &seed].concat());
        let provider = Arc::new(crypto::ring::default_provider());
        let signing = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(pkcs8))?;
        let own = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki.clone())], signing));
        let members = Arc::new(Members { spki, provider: Arc::clone(&provider) });

        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::clone(&members) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&own))));
        // A resumed session would not prove the secret again.
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(members)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own)));
        client.resumption = tokio_rustls::rustls::client::Resumption::disabled();
        client.enable_sni = false;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    /// A name for those who must give one; nobody looks at it.
    pub(super) fn any_name() -> ServerName<'static> {
        ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]))
    }
}

/// Accepts those that have the cluster's key.
#[derive(Debug)]
struct Members {
    spki: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl Members {
    fn check(&self, presented: &CertificateDer<'_>) -> Result<(), Error> {
        if presented.as_ref() == self.spki {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    /// Against our own key, whatever the peer presented.
    fn verify(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let own = SubjectPublicKeyInfoDer::from(self.spki.as_slice());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &own, signed, algorithms)
    }
}

impl ServerCertVerifier for Members {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Members {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
