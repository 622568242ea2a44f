//! A fleet's authority for tests, and the certificates it signs.

use drover_proto::transport::{CredentialFiles, Credentials};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use std::fs;
use std::path::Path;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, in PEM.
pub(crate) struct Signed {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = parameters.self_signed(&key).expect("signed").pem();
        Self {
            issuer: Issuer::new(parameters, key),
            certificate,
        }
    }

    /// A certificate that is valid now, with these URIs.
    pub(crate) fn sign(&self, uris: &[&str]) -> Signed {
        self.sign_with(uris, |_| ())
    }

    pub(crate) fn sign_with(&self, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().expect("ASCII")))
            .collect();
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        change(&mut parameters);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("signed");
        Signed {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes a certificate where [`CredentialFiles`] say, together with the authority's.
    pub(crate) fn write(&self, directory: &Path, signed: &Signed) -> CredentialFiles {
        fs::create_dir_all(directory).expect("made");
        let files = CredentialFiles {
            ca_file: directory.join("ca.pem"),
            cert_file: directory.join("cert.pem"),
            key_file: directory.join("key.pem"),
        };
        fs::write(&files.ca_file, &self.certificate).expect("written");
        fs::write(&files.cert_file, &signed.certificate).expect("written");
        fs::write(&files.key_file, &signed.key).expect("written");
        files
    }

    /// Credentials for one identity, kept in a directory that is removed at once.
    pub(crate) fn credentials(&self, uri: &str) -> Credentials {
        let directory = tempfile::tempdir().expect("a directory");
        let files = self.write(directory.path(), &self.sign(&[uri]));
        Credentials::load(&files).expect("good credentials")
    }
}
