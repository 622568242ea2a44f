//! Certificates for the lab's etcd; Drover's own are issued by `drover pki`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::LabError;

/// A certificate and its key as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// The certificate.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// An authority whose root exists only while the lab is made.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
}

pub(crate) fn ca_file(directory: &Path) -> PathBuf {
    directory.join("ca.pem")
}

pub(crate) fn key_files(directory: &Path, name: &str) -> KeyFiles {
    KeyFiles {
        cert_file: directory.join(format!("{name}.pem")),
        key_file: directory.join(format!("{name}.key")),
    }
}

impl Authority {
    /// Makes a new authority and writes its certificate into `directory`.
    pub(crate) fn create(directory: &Path) -> Result<Authority, LabError> {
        let failed = |source| LabError::Certificate {
            subject: "the lab's authority".to_owned(),
            source,
        };
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "drover lab etcd CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        write(&ca_file(directory), &certificate.pem())?;
        Ok(Authority {
            issuer: Issuer::new(params, key),
            directory: directory.to_owned(),
        })
    }

    /// Issues a certificate for `name` and the address it serves on, if it serves.
    pub(crate) fn issue(&self, name: &str, address: Option<Ipv4Addr>) -> Result<KeyFiles, LabError> {
        let failed = |source| LabError::Certificate {
            subject: name.to_owned(),
            source,
        };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(address) = address {
            params
                .subject_alt_names
                .push(SanType::IpAddress(IpAddr::V4(address)));
        }
        // etcd's own gateway uses its server certificate as a client.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let files = key_files(&self.directory, name);
        write(&files.cert_file, &certificate.pem())?;
        write(&files.key_file, &key.serialize_pem())?;
        Ok(files)
    }
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::io("write", path))
}
