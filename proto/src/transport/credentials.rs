//! Certificate, key and authority, loaded from files and checked before anything uses them.

use super::identity::{PeerIdentityError, malformed, peer_identity};
use drover_types::Identity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// HTTP/2, the only protocol spoken.
const ALPN: &[u8] = b"h2";

/// Where the three PEM files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The fleet's root certificate.
    pub ca_file: PathBuf,
    /// Our certificate, followed by the intermediate that signed it.
    pub cert_file: PathBuf,
    /// Our private key.
    pub key_file: PathBuf,
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read or is no PEM file.
    #[error("could not read {what} from {}", path.display())]
    Read {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// Our certificate names nobody.
    #[error("the certificate in {} names no identity of a fleet", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PeerIdentityError,
    },
    /// Our certificate is out of date, or not yet valid.
    #[error("the certificate in {} is valid from {from} to {until}, not now; issue a new one with `drover pki issue`", path.display())]
    OutOfDate {
        /// The file.
        path: PathBuf,
        /// First moment.
        from: String,
        /// Last moment.
        until: String,
    },
    /// Key and certificate do not belong together, or TLS refuses them otherwise.
    #[error("the key in {} does not fit the certificate", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The authority is not usable as one.
    #[error("the certificate in {} cannot be used as an authority", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// Credentials that were read and checked.
pub struct Credentials {
    identity: Identity,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let read = |source| CredentialsError::Read {
        what,
        path: path.to_owned(),
        source,
    };
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<_, _>>()
        .map_err(read)?;
    if all.is_empty() {
        return Err(CredentialsError::NoCertificate(path.to_owned()));
    }
    Ok(all)
}

impl Credentials {
    /// Reads and checks the three files. Blocks on them.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(files: &CredentialFiles) -> Result<Self, CredentialsError> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates("the authority's certificate", &files.ca_file)? {
            roots
                .add(certificate)
                .map_err(|source| CredentialsError::Authority {
                    path: files.ca_file.clone(),
                    source,
                })?;
        }
        let chain = certificates("a certificate", &files.cert_file)?;
        let leaf = chain.first().expect("`certificates` returns at least one");
        let in_cert_file = |source| CredentialsError::Identity {
            path: files.cert_file.clone(),
            source,
        };
        let identity = peer_identity(leaf).map_err(in_cert_file)?;
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|error| in_cert_file(PeerIdentityError::Malformed(malformed(error))))?;
        if !parsed.validity().is_valid() {
            return Err(CredentialsError::OutOfDate {
                path: files.cert_file.clone(),
                from: parsed.validity().not_before.to_string(),
                until: parsed.validity().not_after.to_string(),
            });
        }
        let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|source| CredentialsError::Read {
            what: "a private key",
            path: files.key_file.clone(),
            source,
        })?;
        let credentials = Self {
            identity,
            roots: Arc::new(roots),
            chain,
            key,
            provider,
        };
        // rustls compares key and certificate while it builds a configuration.
        credentials
            .server_config()
            .map_err(|source| CredentialsError::Key {
                path: files.key_file.clone(),
                source,
            })?;
        Ok(credentials)
    }

    /// Who we are.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// For a server: TLS 1.3, a client certificate of our authority is mandatory, no session is resumed (a
    /// resumed one would skip the look at the certificate).
    ///
    /// # Errors
    /// What rustls says where it refuses chain or key.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }

    /// For a client that means to reach exactly `expected`.
    ///
    /// # Errors
    /// What rustls says where it refuses chain or key.
    pub fn client_config(&self, expected: Identity) -> Result<Arc<ClientConfig>, rustls::Error> {
        let verifier = ExactIdentity {
            expected,
            roots: self.roots.clone(),
            provider: self.provider.clone(),
        };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// The certificate is not the one of the host that was meant.
#[derive(Debug, thiserror::Error)]
#[error("this is {found}, not {expected}")]
pub(super) struct WrongPeer {
    found: String,
    expected: Identity,
}

/// Accepts a chain of our authority whose leaf carries exactly one identity, and stops there: host names do
/// not matter, since an agent is who its certificate says, wherever it listens.
#[derive(Debug)]
struct ExactIdentity {
    expected: Identity,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ExactIdentity {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        let refuse = |found: String| {
            let wrong = WrongPeer {
                found,
                expected: self.expected.clone(),
            };
            rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(wrong))))
        };
        match peer_identity(end_entity) {
            Ok(identity) if identity == self.expected => Ok(ServerCertVerified::assertion()),
            Ok(identity) => Err(refuse(identity.to_string())),
            Err(error) => Err(refuse(format!("a certificate without identity ({error})"))),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
