//! The HTTP client for image sources: no proxies, no downgrade, the system's authorities and one's own.

use super::OpenError;
use crate::config::ImageLimits;
use reqwest::Client;
use reqwest::redirect::{Attempt, Policy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Where Debian keeps all authorities in one file.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";
const REDIRECTS: usize = 5;

/// A redirect that is not followed.
#[derive(Debug, thiserror::Error)]
enum RedirectError {
    #[error("it redirects more than {REDIRECTS} times")]
    TooMany,
    #[error("it redirects from https to {0}")]
    Downgrade(String),
}

pub(super) fn build(limits: &ImageLimits) -> Result<Client, OpenError> {
    let mut roots = RootCertStore::empty();
    match certificates(Path::new(SYSTEM)) {
        Ok(system) => {
            roots.add_parsable_certificates(system);
        }
        Err(error) => {
            tracing::warn!(%error, "no authorities in {SYSTEM}: https sources need images.extra_ca_file");
        }
    }
    if let Some(file) = &limits.extra_ca_file {
        let extra = certificates(file).map_err(|source| OpenError::ExtraCa {
            path: file.clone(),
            source,
        })?;
        for certificate in extra {
            roots
                .add(certificate)
                .map_err(|source| OpenError::ExtraCaRefused {
                    path: file.clone(),
                    source,
                })?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(OpenError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .connect_timeout(limits.connect_timeout)
        .read_timeout(limits.stall_timeout)
        .redirect(Policy::custom(redirect))
        .user_agent(concat!("drover-agent/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(OpenError::Client)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}

fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > REDIRECTS {
        attempt.error(RedirectError::TooMany)
    } else if secure && attempt.url().scheme() != "https" {
        let scheme = attempt.url().scheme().to_owned();
        attempt.error(RedirectError::Downgrade(scheme))
    } else {
        attempt.follow()
    }
}
