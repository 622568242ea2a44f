//! What an `import` block asks for: that an existing domain becomes a server.

use super::spec::SourceLocation;
use drover_types::HostName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An existing domain: its host, and its name or UUID there. Written `HOST/DOMAIN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImportId {
    /// The host.
    pub host: HostName,
    /// Name or UUID.
    pub domain: String,
}

/// Why a text names no domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no domain of a host; write HOST/DOMAIN, for example \"n1/web\"")]
pub struct ImportIdError(String);

/// Longest name of a domain, in bytes.
const LONGEST: usize = 1024;

impl FromStr for ImportId {
    type Err = ImportIdError;

    fn from_str(text: &str) -> Result<Self, ImportIdError> {
        let bad = || ImportIdError(text.chars().take(200).collect());
        let (host, domain) = text.split_once('/').ok_or_else(bad)?;
        // libvirt refuses names with a slash or a line feed in them.
        let fits = !domain.is_empty()
            && domain.len() <= LONGEST
            && !domain.contains('/')
            && !domain.chars().any(char::is_control);
        if !fits {
            return Err(bad());
        }
        Ok(Self {
            host: host.parse().map_err(|_| bad())?,
            domain: domain.to_owned(),
        })
    }
}

impl TryFrom<String> for ImportId {
    type Error = ImportIdError;
    fn try_from(text: String) -> Result<Self, ImportIdError> {
        text.parse()
    }
}

impl From<ImportId> for String {
    fn from(id: ImportId) -> String {
        id.to_string()
    }
}

impl fmt::Display for ImportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.domain)
    }
}

/// That a domain becomes the server of some address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The domain.
    pub id: ImportId,
    /// The block; none where the command line asks for it.
    pub origin: Option<SourceLocation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_named_by_host_and_name() {
        let id: ImportId = "n1.example/old web".parse().expect("it reads");
        assert_eq!((id.host.as_str(), id.domain.as_str()), ("n1.example", "old web"));
        assert_eq!(id.to_string(), "n1.example/old web");
        for bad in ["", "n1", "n1/", "/web", "n1/a/b", "n 1/web", "n1/a\nb"] {
            assert!(bad.parse::<ImportId>().is_err(), "{bad:?} was accepted");
        }
    }
}
