//! Who a certificate speaks for.

use drover_types::{Identity, IdentityError};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Why a certificate speaks for nobody.
#[derive(Debug, thiserror::Error)]
pub enum PeerIdentityError {
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Malformed(#[source] x509_parser::error::X509Error),
    /// No URI, or more than one.
    #[error("a certificate needs exactly one URI in its subject alternative names, this one has {0}")]
    UriCount(usize),
    /// The URI is none of ours.
    #[error("the certificate's URI names no identity")]
    Identity(#[source] IdentityError),
}

/// Reads the identity out of a certificate's single URI SAN. Says nothing of who signed it.
///
/// # Errors
/// Where there is not exactly one URI, or it is not of the form `spiffe://<fleet>/<role>/<name>`.
pub fn peer_identity(certificate: &CertificateDer<'_>) -> Result<Identity, PeerIdentityError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| PeerIdentityError::Malformed(malformed(error)))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(PeerIdentityError::Malformed)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| {
            if let GeneralName::URI(uri) = name {
                Some(*uri)
            } else {
                None
            }
        })
        .collect();
    match uris.as_slice() {
        [uri] => uri.parse().map_err(PeerIdentityError::Identity),
        other => Err(PeerIdentityError::UriCount(other.len())),
    }
}

pub(super) fn malformed(
    error: x509_parser::nom::Err<x509_parser::error::X509Error>,
) -> x509_parser::error::X509Error {
    match error {
        x509_parser::nom::Err::Error(source) | x509_parser::nom::Err::Failure(source) => source,
        x509_parser::nom::Err::Incomplete(_) => x509_parser::error::X509Error::InvalidCertificate,
    }
}
