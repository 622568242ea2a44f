//! Where a fleet's store is, and what is checked of that before anything is opened. Reading the settings out
//! of the configuration is left to the language.

use http::Uri;
use http::uri::InvalidUri;
use std::path::PathBuf;

/// Which store holds the fleet's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSettings {
    /// The embedded store of one machine.
    Local {
        /// Its directory, made with mode 0700 where it is missing. A relative path is taken from the working
        /// directory.
        path: PathBuf,
    },
    /// An etcd cluster, versions 3.4 to 3.6.
    Etcd {
        /// `https://host:port` of each member; `http://` only without any of the files.
        endpoints: Vec<String>,
        /// The certificates that the members' own are checked against, PEM.
        ca_file: Option<PathBuf>,
        /// The client's certificate chain, PEM.
        cert_file: Option<PathBuf>,
        /// The key of `cert_file`, PEM.
        key_file: Option<PathBuf>,
    },
}

/// Settings that cannot work, whatever the store says.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// An empty list.
    #[error("state \"etcd\" has no endpoints: name at least one, as https://host:2379")]
    NoEndpoints,
    /// Not a URL.
    #[error("{endpoint:?} in endpoints of state \"etcd\" is not a URL: write https://host:2379")]
    NotAUrl {
        /// As written.
        endpoint: String,
        /// What is wrong with it.
        source: InvalidUri,
    },
    /// A URL of another kind, or with a path.
    #[error("{endpoint:?} in endpoints of state \"etcd\" is not of the form https://host:2379")]
    NotAnEndpoint {
        /// As written.
        endpoint: String,
    },
    /// Named twice.
    #[error("{endpoint:?} is twice in endpoints of state \"etcd\"")]
    Repeated {
        /// As written.
        endpoint: String,
    },
    /// TLS without anything to check the member by.
    #[error("{endpoint:?} is reached over TLS and state \"etcd\" has no ca_file to check it by")]
    NoCa {
        /// As written.
        endpoint: String,
    },
    /// Certificates that would go unused.
    #[error("{endpoint:?} is reached without TLS and state \"etcd\" names certificates: write https://")]
    PlainWithCertificates {
        /// As written.
        endpoint: String,
    },
    /// One of a pair.
    #[error("state \"etcd\" has cert_file or key_file without the other: write both")]
    HalfAPair,
}

/// Refuses endpoints and files that cannot work together.
pub(super) fn check_etcd(
    endpoints: &[String],
    has_ca: bool,
    has_cert: bool,
    has_key: bool,
) -> Result<(), SettingsError> {
    if endpoints.is_empty() {
        return Err(SettingsError::NoEndpoints);
    }
    if has_cert != has_key {
        return Err(SettingsError::HalfAPair);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let uri: Uri = endpoint.parse().map_err(|source| SettingsError::NotAUrl {
            endpoint: endpoint.clone(),
            source,
        })?;
        let endpoint = endpoint.clone();
        let bare = uri.port().is_some() && uri.path() == "/" && uri.query().is_none();
        match uri.scheme_str() {
            Some("https") if bare && !has_ca => return Err(SettingsError::NoCa { endpoint }),
            Some("http") if bare && (has_ca || has_cert) => {
                return Err(SettingsError::PlainWithCertificates { endpoint });
            }
            Some("https" | "http") if bare => {}
            Some(_) | None => return Err(SettingsError::NotAnEndpoint { endpoint }),
        }
        if endpoints[..index].contains(&endpoint) {
            return Err(SettingsError::Repeated { endpoint });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_etcd;

    /// Endpoints, ca_file, cert_file, key_file, and what is said of them.
    type Case = (&'static [&'static str], bool, bool, bool, &'static str);

    #[test]
    fn says_what_cannot_work() {
        let cases: &[Case] = &[
            (&["https://a:2379", "https://b:2379"], true, true, true, ""),
            (&["http://127.0.0.1:2379"], false, false, false, ""),
            (&["https://[::1]:2379"], true, false, false, ""),
            (&[], true, true, true, "has no endpoints"),
            (&["https://a:2379"], false, false, false, "no ca_file"),
            (&["http://a:2379"], true, false, false, "without TLS"),
            (&["https://a:2379"], true, true, false, "write both"),
            (&["https://a"], true, true, true, "not of the form"),
            (&["a:2379"], true, true, true, "not of the form"),
            (&["ftp://a:2379"], true, true, true, "not of the form"),
            (&["https://a:2379/x"], true, true, true, "not of the form"),
            (&["https:// a"], true, true, true, "is not a URL"),
            (
                &["https://a:2379", "https://a:2379"],
                true,
                true,
                true,
                "is twice",
            ),
        ];
        for (endpoints, ca, cert, key, expected) in cases {
            let endpoints: Vec<String> = endpoints.iter().map(|&e| e.to_owned()).collect();
            let said =
                check_etcd(&endpoints, *ca, *cert, *key).map_or_else(|e| e.to_string(), |()| String::new());
            assert!(
                if expected.is_empty() {
                    said.is_empty()
                } else {
                    said.contains(expected)
                },
                "{endpoints:?}: {said:?}, expected {expected:?}"
            );
        }
    }
}
