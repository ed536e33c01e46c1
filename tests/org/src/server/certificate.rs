//! The TLS certificate of the local org, created at start and signed by its own authority.
//!
//! Clients trust the authority, not the certificate. Every TLS library accepts this, while some
//! refuse a server certificate that is its own root.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

/// Host names of a local org, and those of Salesforce that some clients require; a proxy can
/// redirect these to the org.
const NAMES: [&str; 6] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "login.salesforce.com",
    "test.salesforce.com",
    "*.my.salesforce.com",
];

/// Validity of the certificate: enough for a long test session, and below the 398 days above which
/// some clients refuse it.
const LIFE: Duration = Duration::from_secs(365 * 86_400);

/// How long before now the validity starts, for clients with a slow clock.
const EARLIER: Duration = Duration::from_secs(86_400);

/// The certificate, its key, and the authority that signed it.
#[derive(Debug)]
pub(super) struct Certificate {
    authority_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Certificate {
    /// Creates a certificate for the loopback interface of this machine.
    ///
    /// # Errors
    ///
    /// Fails if the random source or the signature fails.
    pub(super) fn generate() -> io::Result<Self> {
        Self::try_generate().map_err(io::Error::other)
    }

    fn try_generate() -> Result<Self, rcgen::Error> {
        let authority_key = KeyPair::generate()?;
        let mut authority = params(&[], "Local Salesforce org: authority")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate()?;
        let mut leaf = params(&NAMES, "Local Salesforce org")?;
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&key, &issuer)?;
        Ok(Self {
            authority_pem,
            chain: vec![leaf.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        })
    }

    /// Returns the certificate authority (PEM) that a client has to trust.
    pub(super) fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// Returns the TLS configuration of a port with these application protocols.
    ///
    /// # Errors
    ///
    /// Fails if the TLS library refuses the certificate.
    pub(super) fn config(&self, protocols: &[&str]) -> io::Result<Arc<ServerConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(
                self.chain.clone(),
                PrivateKeyDer::Pkcs8(self.key.clone_key()),
            )
            .map_err(io::Error::other)?;
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(Arc::new(config))
    }
}

fn params(names: &[&str], title: &str) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, title);
    let now = SystemTime::now();
    params.not_before = (now - EARLIER).into();
    params.not_after = (now + LIFE).into();
    Ok(params)
}
