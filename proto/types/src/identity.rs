//! Who a certificate speaks for: one SPIFFE URI, `spiffe://<fleet>/<role>/<name>`.

use crate::name::{FleetName, HostName, NameError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a certificate's holder may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A host's agent. Serves, and speaks to other agents during a migration.
    Agent,
    /// Reads only.
    Reader,
    /// Plans and applies.
    Operator,
    /// An operator who may also override (force a token, readmit a host).
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: &'static [Self] = &[Self::Agent, Self::Reader, Self::Operator, Self::Admin];

    /// The word that stands in the URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The holder of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity {
    /// The fleet whose authority signed it.
    pub fleet: FleetName,
    /// What it may do.
    pub role: Role,
    /// The host's name for an agent, a person's or a pipeline's otherwise.
    pub name: HostName,
}

/// Why a URI is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not of the form `spiffe://fleet/role/name`.
    #[error("{0:?} is not of the form spiffe://<fleet>/<role>/<name>")]
    Form(String),
    /// The role is none of ours.
    #[error("{0:?} is not a role; use agent, reader, operator or admin")]
    Role(String),
    /// A part is not a name.
    #[error("{part:?} in an identity is not a name")]
    Name {
        /// The part.
        part: String,
        /// What is wrong with it.
        source: NameError,
    },
}

impl FromStr for Identity {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let form = || IdentityError::Form(text.chars().take(200).collect());
        let rest = text.strip_prefix("spiffe://").ok_or_else(form)?;
        let mut parts = rest.split('/');
        let (Some(fleet), Some(role), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(form());
        };
        let role = Role::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == role)
            .ok_or_else(|| IdentityError::Role(role.chars().take(80).collect()))?;
        let bad = |part: &str| {
            let part = part.to_owned();
            move |source| IdentityError::Name { part, source }
        };
        Ok(Self {
            fleet: fleet.parse().map_err(bad(fleet))?,
            role,
            name: name.parse().map_err(bad(name))?,
        })
    }
}

impl TryFrom<String> for Identity {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> String {
        identity.to_string()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.fleet, self.role, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_uri() {
        let text = "spiffe://prod/agent/n1";
        let identity: Identity = text.parse().expect("an identity");
        assert_eq!(identity.role, Role::Agent);
        assert_eq!(identity.to_string(), text);
    }

    #[test]
    fn refuses_other_forms() {
        for bad in [
            "https://prod/agent/n1",
            "spiffe://prod/agent",
            "spiffe://prod/agent/n1/x",
            "spiffe://prod/root/n1",
            "spiffe:///agent/n1",
            "spiffe://prod/agent/../x",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad} was accepted");
        }
    }
}
