//! Reads a certificate for people: who, by whom, until when.

use super::PkiError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use std::path::Path;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What matters of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateSummary {
    /// Who it speaks for; absent for an authority.
    pub identity: Option<String>,
    /// The fleet, as the subject's organisation says.
    pub organization: Option<String>,
    /// The subject's common name.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// First moment of validity, RFC 3339.
    pub not_before: String,
    /// Last moment of validity, RFC 3339.
    pub not_after: String,
    /// Whether it is valid now.
    pub valid: bool,
    /// Whether it may sign others.
    pub authority: bool,
}

/// Reads the first certificate of a PEM file.
///
/// # Errors
/// Where the file cannot be read or holds none.
pub fn summary(path: &Path) -> Result<CertificateSummary, PkiError> {
    let text = std::fs::read(path).map_err(|source| PkiError::Read {
        path: path.to_owned(),
        source,
    })?;
    let not_one = || PkiError::NotACertificate(path.to_owned());
    let der = CertificateDer::from_pem_slice(&text).map_err(|_| not_one())?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| not_one())?;
    let moment = |seconds: i64| {
        jiff::Timestamp::from_second(seconds)
            .map(|at| at.to_string())
            .map_err(|_| not_one())
    };
    let common_name = |name: &x509_parser::x509::X509Name<'_>| {
        name.iter_common_name()
            .find_map(|n| n.as_str().ok().map(str::to_owned))
    };
    let validity = parsed.validity();
    Ok(CertificateSummary {
        identity: drover_proto::transport::peer_identity(&der)
            .ok()
            .map(|identity| identity.to_string()),
        organization: parsed
            .subject()
            .iter_organization()
            .find_map(|n| n.as_str().ok().map(str::to_owned)),
        subject: common_name(parsed.subject()).ok_or_else(not_one)?,
        issuer: common_name(parsed.issuer()).ok_or_else(not_one)?,
        not_before: moment(validity.not_before.timestamp())?,
        not_after: moment(validity.not_after.timestamp())?,
        valid: validity.is_valid(),
        authority: parsed.is_ca(),
    })
}
